"""Cutflow, N − 1, regions and blinding against a plain loop over events."""

import json
import math

import awkward as ak
import numpy as np
import pydantic
import pytest
import uproot
import vector

from data.errors import ConfigError
from data.samples import year
from processors.config import ProcessingConfig, SelectionConfig
from processors.event_options import EventOptions
from processors.run import run_histograms, run_skim
from processors.selection import REGIONS
from processors.skim import read_features

GOLDEN = {"297050": [[1, 4], [7, 9]], "297052": [[2, 30]]}


def hand_region(pair, delta_eta, mjj, third_pt):
    """Signal, validation (CMS EXO-22-026, section on validation in the side band in Δη), wide, or nothing."""
    if delta_eta < 1.3:
        return "signal"
    first, second = (jet["pt"] for jet in pair)
    r = 2 * first * second * (math.cosh(delta_eta) + 1) / mjj**2
    balanced = abs(first - second) / (first + second) <= 0.1 and 0.95 <= r <= 1
    if 2.0 < delta_eta < 2.5 and third_pt < 300 and not balanced:
        return "validation"
    return "wide" if delta_eta > 1.4 else "none"


def hand_pair(jets, regions, spec, pt_min):
    """Decisions on the two hardest of some jets; None where there are not two."""
    hardest = sorted(jets, key=lambda jet: -jet["pt"])
    if len(hardest) < 2:
        return None
    pair = hardest[:2]
    total = sum(
        (
            vector.obj(pt=jet["pt"], eta=jet["eta"], phi=jet["phi"], mass=max(jet["msoftdrop"], 0))
            for jet in pair
        ),
        vector.obj(px=0.0, py=0.0, pz=0.0, E=0.0),
    )
    mjj = total.mass
    delta_eta = abs(pair[0]["eta"] - pair[1]["eta"])
    region = hand_region(pair, delta_eta, mjj, hardest[2]["pt"] if len(hardest) > 2 else 0.0)
    steps = {"jet_pt": all(jet["pt"] > pt_min for jet in pair)}
    if spec.hem_veto:
        steps["hem_veto"] = not any(-3.2 < jet["eta"] < -1.3 and -1.57 < jet["phi"] < -0.87 for jet in pair)
    steps |= {"mjj": mjj > 1200, "delta_eta": region in regions}
    return {"steps": steps, "region": region, "delta_eta": delta_eta, "mjj": mjj}


def hand_events(paths, spec, regions, golden=None, pt_min=300):
    """Each event's decisions: flags, pair of tight jets, pair of any jets."""
    events = []
    for path in paths:
        for event in ak.to_list(uproot.open({path: None})["Events"].arrays()):
            jets = [
                {key: event[f"FatJet_{key}"][jet] for key in ("pt", "eta", "phi", "msoftdrop", "jetId")}
                for jet in range(len(event["FatJet_pt"]))
                if abs(event["FatJet_eta"][jet]) < 2.5
            ]
            flags = {}
            if golden is not None:
                block = event["luminosityBlock"]
                flags["golden_json"] = any(a <= block <= b for a, b in golden.get(str(event["run"]), []))
            flags["trigger"] = any(event[name] for name in spec.triggers if name in event)
            flags["noise_filters"] = all(event[name] for name in spec.filters)
            events.append(
                {
                    "id": event["event"],
                    "weight": event.get("genWeight", 1.0),
                    "flags": flags,
                    "pair": hand_pair([jet for jet in jets if jet["jetId"] & 2], regions, spec, pt_min),
                    "any": hand_pair(jets, regions, spec, pt_min),
                }
            )
    return events


def hand_decisions(event, *, blind):
    """Whether an event passes each step, and whether it may be looked at."""
    pair = event["pair"]
    hidden = blind and pair is not None and pair["delta_eta"] < 1.3
    passed = {**event["flags"], "two_jets": pair is not None}
    if blind:
        passed["blind"] = pair is not None and not hidden
    return passed | (pair["steps"] if pair else {}), not hidden


def passes_with_any_jets(event, *, blind):
    """All cuts but the identification of the jets."""
    pair = event["any"]
    if pair is None or (blind and pair["delta_eta"] < 1.3):
        return False
    return all(event["flags"].values()) and all(pair["steps"].values())


def hand_cutflow(events, *, blind=False):
    """Step to events, weighted, N − 1 and weighted N − 1, counted one event at a time."""
    counts = {}
    decisions = [(event, *hand_decisions(event, blind=blind)) for event in events]
    steps = max((list(passed) for _, passed, _ in decisions), key=len)
    for number, step in enumerate(["all", *steps]):
        before = steps[:number]
        up_to = [
            event["weight"] for event, passed, _ in decisions if all(passed.get(name) for name in before)
        ]
        others = [name for name in steps if name != step]
        but_one = [
            event["weight"]
            for event, passed, visible in decisions
            if visible
            and (
                passes_with_any_jets(event, blind=blind)
                if step == "two_jets"
                else all(passed.get(name) for name in others)
            )
        ]
        but_one = [] if step in {"all", "blind"} else but_one
        counts[step] = [len(up_to), math.fsum(up_to), len(but_one), math.fsum(but_one)]
    return counts


def check_cutflow(ours, expected, factor, tolerance):
    assert [step["step"] for step in ours] == list(expected)
    for step in ours:
        hand = expected[step["step"]]
        assert step["events"] == hand[0], step
        assert step["weighted"] == pytest.approx(hand[1] * factor, abs=tolerance), step
        assert step.get("n_minus_1_events", 0) == hand[2], step
        assert step.get("n_minus_1_weighted", 0.0) == pytest.approx(hand[3] * factor, abs=tolerance), step


def skim(sample, out, *, processing=None, **selection):
    options = EventOptions(SelectionConfig(**selection))
    return run_skim(sample, processing or ProcessingConfig(chunk_size=700), options, out)


@pytest.mark.parametrize("year_name", ["2017", "2018"])
def test_data_with_golden_json(tmp_path, make_nano_file, make_sample, year_name):
    path = make_nano_file(tmp_path / "a.root", 2000, 11, year_name=year_name)
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    sample = make_sample([path], year=year_name, golden_json=tmp_path / "golden.json")
    # With CMS's 300 GeV the cut on pT would cut nothing that the cut on mjj does not.
    result = skim(sample, tmp_path, jet_pt_min=600)
    expected = hand_cutflow(hand_events([path], year(year_name), {"signal"}, GOLDEN, pt_min=600))
    check_cutflow(result.cutflow, expected, 1.0, 0.0)
    assert ("hem_veto" in expected) == (year_name == "2018")
    for step, (_, _, others, _) in expected.items():  # each cut cuts something, or the test shows nothing
        assert step == "all" or 0 < expected["delta_eta"][0] < others, step


def test_weighted_simulation(tmp_path, make_nano_file, make_sample):
    files = [
        make_nano_file(tmp_path / f"{n}.root", 900, n, simulation=True, first_event=1000 * n) for n in (1, 2)
    ]
    sample = make_sample(files, kind="simulation", luminosity_ifb=2.0)
    result = skim(sample, tmp_path)
    events = hand_events(files, year("2017"), {"signal"})
    # σ L / Σ genEventSumw; the Runs trees of these files hold twice the sum.
    factor = 0.37 * 1000 * 2.0 / (2 * sum(event["weight"] for event in events))
    check_cutflow(result.cutflow, hand_cutflow(events), factor, 1e-5 * factor * len(events))


def side_band(columns):
    """Most pairs wide, half of them back to back and balanced, some with a third jet."""
    rng = np.random.default_rng(3)
    jets = columns["FatJet"]
    counts = ak.to_numpy(ak.num(jets))
    at = np.cumsum(counts) - counts
    pt, eta, phi, m = (
        ak.to_numpy(ak.flatten(jets[name])).copy() for name in ("pt", "eta", "phi", "msoftdrop")
    )
    for first in at[counts >= 2]:
        middle, distance = (
            rng.uniform(-1.0, 1.0),
            rng.choice([1.0, 1.35, 1.5, 1.9, 2.2, 2.4, 2.7]) + rng.normal(0, 0.05),
        )
        eta[first : first + 2] = middle + distance / 2, middle - distance / 2
        pt[first] *= 2.0
        if rng.random() < 0.7:
            pt[first + 1] = pt[first] * rng.uniform(0.75, 1.0)
            phi[first + 1] = phi[first] + np.pi
            m[first : first + 2] = rng.uniform(0, 0.4 * pt[first], 2)
    new = {"pt": pt, "eta": eta, "phi": (phi + np.pi) % (2 * np.pi) - np.pi, "msoftdrop": m}
    for name, values in new.items():
        columns["FatJet"] = ak.with_field(columns["FatJet"], ak.unflatten(values, counts), name)


@pytest.fixture(scope="module")
def wide_file(tmp_path_factory, make_nano_file):
    return make_nano_file(tmp_path_factory.mktemp("wide") / "a.root", 1800, 4, change=side_band)


@pytest.mark.parametrize(
    ("selection", "regions"),
    [
        ({}, {"signal"}),
        ({"region": "validation"}, {"validation"}),
        ({"train_wide": True}, {"signal", "validation", "wide"}),
        ({"region": "validation", "train_wide": True}, {"validation", "wide"}),
        ({"region": "validation", "train_wide": True, "blind": True}, {"validation", "wide"}),
    ],
)
def test_regions(tmp_path, wide_file, make_sample, selection, regions):
    sample = make_sample([wide_file])
    result = skim(sample, tmp_path, **selection)
    events = hand_events([wide_file], year("2017"), regions)
    check_cutflow(result.cutflow, hand_cutflow(events, blind=selection.get("blind", False)), 1.0, 0.0)
    expected = {
        event["id"]: event["pair"]["region"]
        for event in events
        if event["pair"] and all(event["flags"].values()) and all(event["pair"]["steps"].values())
    }
    table = read_features(tmp_path / "features" / "mock")
    found = dict(zip(table["event"].tolist(), [REGIONS[code] for code in table["region"]], strict=True))
    assert found == expected
    for region in regions:
        assert list(expected.values()).count(region) > 20
    spectra = run_histograms(
        sample,
        ProcessingConfig(),
        EventOptions(SelectionConfig(**selection)),
        {},
        trained_on=(),
        out_root=tmp_path,
    )
    mjj = spectra.histograms["mjj"]
    filled = {name: mjj[{"region": name}].sum(flow=True).value for name in mjj.axes["region"]}
    assert filled == {region: list(expected.values()).count(region) for region in regions}
    assert spectra.cutflow == result.cutflow


def test_the_side_band_has_every_kind_of_event(wide_file):
    """The test above would prove little if one of the side band's conditions never decided."""
    events = [
        event["any"] for event in hand_events([wide_file], year("2017"), {"validation"}) if event["any"]
    ]
    near = [event for event in events if 2.0 < event["delta_eta"] < 2.5 and event["mjj"] > 1200]
    regions = [event["region"] for event in near]
    assert min(regions.count("validation"), regions.count("wide")) > 50


@pytest.fixture
def other_signal_region(tmp_path, wide_file, make_nano_file):
    """The wide file once more, but all numbers of jets in events with |Δη| < 1.3 are others."""
    events = hand_events([wide_file], year("2017"), {"validation"})
    hidden = np.array([event["pair"] is not None and event["pair"]["delta_eta"] < 1.3 for event in events])
    assert hidden.sum() > 150

    def change(columns):
        side_band(columns)
        jets, rows = columns["FatJet"], ak.to_numpy(ak.num(columns["FatJet"]))
        inside = np.repeat(hidden, rows)
        rng = np.random.default_rng(8)
        # Jets that are not identified go anywhere, the others stay in the signal region.
        loose = inside & (ak.to_numpy(ak.flatten(jets["jetId"])) & 2 == 0)
        for name, changed in (
            (
                "pt",
                np.where(
                    loose, 2000 + rng.exponential(1000, inside.size), 400 + rng.exponential(2000, inside.size)
                ),
            ),
            ("eta", np.where(loose, 1.1, rng.uniform(-0.6, 0.6, inside.size))),
            ("msoftdrop", rng.exponential(300, inside.size)),
            ("tau2", rng.uniform(0, 1, inside.size)),
        ):
            flat = np.where(inside, changed, ak.to_numpy(ak.flatten(jets[name])))
            jets = ak.with_field(jets, ak.unflatten(flat, rows), name)
        columns["FatJet"] = jets

    return make_nano_file(tmp_path / "other.root", 1800, 4, change=change)


def test_blind_data_do_not_depend_on_the_signal_region(tmp_path, wide_file, other_signal_region, make_sample):
    results = []
    for number, path in enumerate((wide_file, other_signal_region)):
        out, sample = tmp_path / str(number), make_sample([path])
        selection = SelectionConfig(region="validation", train_wide=True, blind=True)
        options = EventOptions(selection)
        first = run_skim(sample, ProcessingConfig(), options, out)
        second = run_histograms(sample, ProcessingConfig(), options, {}, trained_on=(), out_root=out)
        content = [path.read_bytes() for path in (*first.outputs, *second.outputs)]
        results.append((first.cutflow, second.cutflow, content))
        assert read_features(out / "features" / "mock")["delta_eta"].min() >= 1.3
    assert results[0][0] == results[1][0]
    assert results[0] == results[1]


def test_simulation_is_not_blinded(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 600, simulation=True)
    result = skim(make_sample([path], kind="simulation"), tmp_path, region="validation", blind=True)
    assert "blind" not in [step["step"] for step in result.cutflow]


def test_blind_search_of_the_signal_region_is_refused():
    with pytest.raises(pydantic.ValidationError, match="blind is true, but the region searched is signal"):
        SelectionConfig(blind=True)
    with pytest.raises(ConfigError, match=r"selection: .*set region: validation or blind: false"):
        SelectionConfig.parse({"blind": True}, "selection")
    with pytest.raises(ConfigError, match=r"wide_delta_eta_min .* lies below delta_eta_max .*raise it"):
        SelectionConfig.parse({"wide_delta_eta_min": 1.2}, "selection")
