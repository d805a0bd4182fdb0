import math

import awkward as ak
import numpy as np
import pytest
import uproot
import vector
from hypothesis import given
from hypothesis import strategies as st

from data.samples import year
from processors.config import ProcessingConfig, SelectionConfig
from processors.event_options import EventOptions
from processors.run import run_skim
from processors.selection import (
    dijet_mass,
    heavier_first,
    in_hem,
    leading_pair,
    region_of,
    soft_drop_mass,
)
from processors.skim import read_features

PT = st.floats(200, 3000)
ETA = st.floats(-2.5, 2.5)
PHI = st.floats(-math.pi, math.pi)
MASS = st.floats(0, 500)


@given(st.tuples(PT, PT), st.tuples(ETA, ETA), st.tuples(PHI, PHI), st.tuples(MASS, MASS))
def test_dijet_mass_agrees_with_vector(pt, eta, phi, mass):
    ours = dijet_mass(*[tuple(np.array([value]) for value in pair) for pair in (pt, eta, phi, mass)])
    jets = [vector.obj(pt=p, eta=e, phi=f, mass=m) for p, e, f, m in zip(pt, eta, phi, mass, strict=True)]
    total = jets[0] + jets[1]
    # The difference of squares loses digits where the mass is small against the energy.
    assert ours[0] ** 2 == pytest.approx(max(total.m2, 0.0), abs=1e-9 * total.E**2)


def test_dijet_mass_back_to_back():
    pair = dijet_mass(
        (np.array([1000.0]), np.array([1000.0])),
        (np.zeros(1), np.zeros(1)),
        (np.zeros(1), np.full(1, np.pi)),
        (np.zeros(1), np.zeros(1)),
    )
    assert pair[0] == pytest.approx(2000.0, rel=1e-14)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(1, 1000, width=32), st.booleans()), max_size=5), min_size=1, max_size=8
    )
)
def test_leading_pair_is_the_two_hardest_good_jets(events):
    pt = np.array([jet[0] for event in events for jet in event], dtype=np.float64)
    good = np.array([jet[1] for event in events for jet in event], dtype=bool)
    entry = np.array([number for number, event in enumerate(events) for _ in event], dtype=np.int64)
    found = leading_pair(pt, entry, good, len(events))
    expected = []
    for number in range(len(events)):
        mine = [jet for jet in range(len(pt)) if entry[jet] == number and good[jet]]
        if len(mine) >= 2:
            ordered = sorted(mine, key=lambda jet: (-pt[jet], jet))
            third = pt[ordered[2]] if len(ordered) > 2 else 0.0
            expected.append((number, *ordered[:2], third))
    assert [(*map(int, row[:3]), row[3]) for row in zip(*found, strict=True)] == expected


def test_heavier_jet_comes_first_and_ties_keep_the_order():
    mass = np.array([10.0, 20.0, 30.0, 30.0])
    pair = (np.array([0, 2]), np.array([1, 3]))
    heavy, light = heavier_first(pair, tuple(mass[jet] for jet in pair))
    assert heavy.tolist() == [1, 2]
    assert light.tolist() == [0, 3]


def test_hem_sector():
    eta = np.array([-2.0, -2.0, 2.0, -1.3, -3.3])
    phi = np.array([-1.0, 1.0, -1.0, -1.0, -1.0])
    assert in_hem(eta, phi).tolist() == [True, False, False, False, False]


def test_soft_drop_mass_of_a_jet_without_subjets():
    assert soft_drop_mass(np.array([-1.0, 3.5], dtype=np.float32)).tolist() == [0.0, 3.5]


def test_region_edge_is_outside():
    delta_eta = np.array([0.0, 1.2999, 1.3, 1.4, 1.41, 2.2, 2.2])
    validation = np.array([False, False, False, False, False, True, False])
    assert region_of(delta_eta, validation, SelectionConfig()).tolist() == [0, 0, -1, -1, 2, 1, 2]


def _by_hand(path, spec):
    """The selection again, event by event, as one reads it in the paper."""
    tree = ak.to_list(uproot.open({path: None})["Events"].arrays())
    rows = {}
    for event in tree:
        if not any(event[name] for name in spec.triggers) or not all(event[name] for name in spec.filters):
            continue
        jets = [
            jet
            for jet in range(len(event["FatJet_pt"]))
            if event["FatJet_jetId"][jet] & 2
            and event["FatJet_pt"][jet] > 300
            and abs(event["FatJet_eta"][jet]) < 2.5
        ]
        jets = sorted(jets, key=lambda jet, event=event: -event["FatJet_pt"][jet])[:2]
        if len(jets) < 2:
            continue
        if spec.hem_veto and any(
            -3.2 < event["FatJet_eta"][jet] < -1.3 and -1.57 < event["FatJet_phi"][jet] < -0.87
            for jet in jets
        ):
            continue
        masses = [max(event["FatJet_msoftdrop"][jet], 0) for jet in jets]
        vectors = [
            vector.obj(
                pt=event["FatJet_pt"][jet], eta=event["FatJet_eta"][jet], phi=event["FatJet_phi"][jet], mass=m
            )
            for jet, m in zip(jets, masses, strict=True)
        ]
        mjj = (vectors[0] + vectors[1]).mass
        if mjj > 1200 and abs(vectors[0].eta - vectors[1].eta) < 1.3:
            j1, j2 = sorted(jets, key=lambda jet, event=event: -event["FatJet_msoftdrop"][jet])
            scores = [
                event[f"SubJet_{spec.b_score}"][event[f"FatJet_subJetIdx{k}"][j1]]
                for k in (1, 2)
                if event[f"FatJet_subJetIdx{k}"][j1] >= 0
            ]
            rows[event["event"]] = {
                "mjj": mjj,
                "pt_j2": event["FatJet_pt"][j2],
                "tau21_j1": event["FatJet_tau2"][j1] / (event["FatJet_tau1"][j1] + 1e-6),
                "deepb_j1": max([0.0, *scores]),
                "lsf3_j2": min(event["FatJet_lsf3"][j2], 1.0),
                "n_pf_j1": event["FatJet_nConstituents"][j1],
                "delta_m": max(event["FatJet_msoftdrop"][j1], 0) - max(event["FatJet_msoftdrop"][j2], 0),
            }
    return rows


@pytest.mark.parametrize("year_name", ["2017", "2018"])
def test_selection_and_features_agree_with_a_plain_loop(tmp_path, make_nano_file, make_sample, year_name):
    path = make_nano_file(tmp_path / "a.root", 1500, 5, year_name=year_name)
    sample = make_sample([path], year=year_name)
    result = run_skim(sample, ProcessingConfig(chunk_size=400), EventOptions(), tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    expected = _by_hand(path, year(year_name))
    assert len(expected) > 200
    assert set(table["event"].tolist()) == set(expected)
    for name in ("mjj", "pt_j2", "tau21_j1", "deepb_j1", "lsf3_j2", "n_pf_j1", "delta_m"):
        ours = dict(zip(table["event"].tolist(), table[name].tolist(), strict=True))
        assert ours == pytest.approx({key: row[name] for key, row in expected.items()}, rel=2e-7, abs=1e-5), (
            name
        )
    assert ("hem_veto" in [step["step"] for step in result.cutflow]) == (year_name == "2018")
    counts = [step["events"] for step in result.cutflow]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 1500
    assert counts[-1] == len(expected)
