import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError
from data.samples import year
from data.simulation.config import Jets, Skim
from data.simulation.detector import Candidates
from data.simulation.flavour import b_score, hadron_flavour, subjet_flavour
from data.simulation.generator import Particles
from data.simulation.jets import cluster, dijet_mass, rank_in_event, tight_id
from data.simulation.nanoaod import _threshold, reconstruct
from data.simulation.processes import EarlyVeto
from data.simulation.veto import may_pass, pair_mass, parton_jets

NOTHING = np.zeros(0)
NO_HEAVY = Particles(*[np.zeros(0, dtype=np.int64)] * 2, *[NOTHING] * 4)


def candidates(*events, pdg_id=211):
    """Massless candidates from lists of (pT, η, φ), one list an event."""
    rows = np.array([row for event in events for row in event], dtype=np.float64).reshape(-1, 3)
    pt, eta, phi = rows.T
    identity = np.full(len(rows), pdg_id)
    offsets = np.concatenate(([0], np.cumsum([len(event) for event in events]))).astype(np.int64)
    return Candidates(
        offsets,
        identity,
        (identity == 211).astype(np.int64),
        pt * np.cos(phi),
        pt * np.sin(phi),
        pt * np.sinh(eta),
        pt * np.cosh(eta),
    )


def test_jets_are_sorted_and_know_their_constituents():
    found = cluster(
        candidates([(300, 0, 0)], [(200, 0, 0), (500, 1, 2), (50, 1.1, 2.1), (20, 0, -2)]), 0.8, 100
    )
    assert found.event.tolist() == [0, 1, 1]
    assert np.hypot(found.px, found.py)[1] == pytest.approx(549.5, abs=1)
    assert [
        sorted(found.members[a:b].tolist()) for a, b in zip(found.offsets, found.offsets[1:], strict=False)
    ] == [
        [0],
        [2, 3],
        [1],
    ]
    assert rank_in_event(found.event).tolist() == [0, 0, 1]
    assert found[np.array([False, True, False])].members.tolist() == found.members[1:3].tolist()


def test_dijet_mass_of_back_to_back_jets():
    assert dijet_mass(
        np.array([[100.0, 100.0]]), np.zeros((1, 2)), np.array([[0.0, np.pi]]), np.zeros((1, 2))
    ) == pytest.approx(200)


@pytest.mark.parametrize(
    ("pdg_id", "word"),
    [(211, 6), (22, 0), (130, 0)],
)
def test_identity_of_jets_of_one_kind_of_particle(pdg_id, word):
    particles = candidates([(300, 0, 0), (100, 0.1, 0.1)], pdg_id=pdg_id)
    assert tight_id(cluster(particles, 0.8, 100), particles).tolist() == [word]


def run_reconstruct(events, **skim):
    settings_2017 = (Jets(), Skim(**skim), year("2017"))
    return reconstruct(cluster(events, 0.8, 170), events, NO_HEAVY, settings_2017, np.random.default_rng(1))


DIJET = [(600, 0.3, 0.0), (150, 0.6, 0.2), (500, -0.3, 3.1), (120, -0.5, 3.0)]


def test_the_skim_keeps_events_in_order_and_drops_the_rest():
    far = [(600, 0.3, 0.0), (600, -1.9, 3.1)]
    found = run_reconstruct(candidates(far, DIJET, [(900, 0, 0)], [], DIJET), mjj_min=1000, delta_eta_max=1.3)
    assert found.passed.tolist() == [1, 4]
    assert found.events.collections["FatJet"].counts.tolist() == [2, 2]
    assert found.jets.event.tolist() == [1, 1, 4, 4]


def test_subjets_are_found_by_their_index():
    found = run_reconstruct(candidates(DIJET, [(700, 0, 0), *DIJET[2:]]))
    fat, sub = found.events.collections["FatJet"], found.events.collections["SubJet"]
    # The first jet of the second event is one particle: nothing to decluster.
    assert fat.fields["subJetIdx1"].tolist() == [0, 2, -1, 0]
    assert fat.fields["subJetIdx2"].tolist() == [1, 3, -1, 1]
    assert sub.counts.tolist() == [4, 2]
    assert set(fat.fields["nConstituents"].tolist()) == {1, 2}


def test_triggers_are_thresholds_on_the_stored_jets():
    low = [(480, 0.3, 0.0), (450, -0.3, 3.1)]
    found = run_reconstruct(candidates(low, DIJET))
    assert found.events.columns["HLT_AK8PFJet500"].tolist() == [False, True]
    assert found.events.columns["HLT_PFHT1050"].tolist() == [False, True]
    assert found.events.columns["Flag_goodVertices"].all()


def test_no_event_passes_and_nothing_breaks():
    found = run_reconstruct(candidates([(900, 0, 0)]), mjj_min=5000)
    assert len(found.passed) == 0
    assert len(found.events) == 0


def test_a_trigger_without_a_threshold_is_refused():
    with pytest.raises(ConfigError, match="trigger 'HLT_Mu' names no threshold"):
        _threshold("HLT_Mu")


PARTON = st.tuples(st.floats(1, 1000), st.floats(-3, 3), st.floats(-3.1, 3.1)).map(
    lambda p: (p[0] * math.cos(p[2]), p[0] * math.sin(p[2]), p[0] * math.sinh(p[1]), p[0] * math.cosh(p[1]))
)


@settings(max_examples=40, deadline=None)
@given(partons=st.lists(PARTON, min_size=1, max_size=8))
def test_jets_of_partons_are_those_of_fastjet(partons):
    rows = [
        (math.hypot(p[0], p[1]), math.asinh(p[2] / math.hypot(p[0], p[1])), math.atan2(p[1], p[0]))
        for p in partons
    ]
    oracle = cluster(candidates(rows), 0.8, 1e-3)
    pt = sorted((math.hypot(jet[0], jet[1]) for jet in parton_jets(partons, 0.8)), reverse=True)
    expected = np.hypot(oracle.px, oracle.py)
    expected = expected[expected > 1e-2]
    assert pt[: len(expected)] == pytest.approx(expected.tolist(), rel=1e-5)


def test_the_early_veto_keeps_an_event_that_any_leading_pair_can_save():
    veto = EarlyVeto(mjj_min=1900, delta_eta_max=1.0)
    jets = [(1000.0, 0.0, 0.0, 1000.0), (-900.0, 300.0, 0.0, 948.7), (-200.0, -1100.0, 3000.0, 3201.6)]
    assert may_pass(jets, veto)
    assert not may_pass([jets[0], jets[2]], veto)
    assert not may_pass(jets[:1], veto)
    assert pair_mass(jets[0], jets[1]) == pytest.approx(1924, abs=2)


def test_scores_reproduce_the_published_working_points():
    uniform = np.linspace(0, 1, 100_001)[1:]
    for flavour, efficiencies in {
        5: (0.84, 0.68, 0.50),
        4: (0.41, 0.12, 0.024),
        0: (0.11, 0.011, 0.001),
    }.items():
        score = b_score(np.full(len(uniform), flavour), uniform)
        assert score.min() >= 0
        assert score.max() <= 1
        # CMS, arXiv:1712.07158: loose, medium, tight.
        for cut, efficiency in zip((0.1522, 0.4941, 0.8001), efficiencies, strict=True):
            assert (score > cut).mean() == pytest.approx(efficiency, rel=0.02)


def test_flavours_of_hadrons():
    assert hadron_flavour(np.array([511, -521, 5122, 421, -4122, 443])).tolist() == [5, 5, 5, 4, 4, 4]


def hadron(event, pdg_id, eta, phi):
    return event, pdg_id, 10 * math.cos(phi), 10 * math.sin(phi), 10 * math.sinh(eta), 10 * math.cosh(eta) + 1


def test_a_hadron_gives_its_flavour_to_the_nearest_subjet_of_its_event():
    heavy = Particles(
        *map(
            np.array, zip(hadron(0, 421, 0.05, 0), hadron(0, 511, 0.25, 0), hadron(2, 511, 0, 0), strict=True)
        )
    )
    event = np.array([0, 0, 1, 2])
    eta, phi = np.array([0.0, 0.3, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 0.0])
    assert subjet_flavour(event, eta, phi, heavy).tolist() == [4, 5, 0, 0]
    assert subjet_flavour(event, eta, phi, NO_HEAVY).tolist() == [0, 0, 0, 0]
