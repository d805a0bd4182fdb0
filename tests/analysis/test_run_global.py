"""Global significances of a run: the entry of scan.json, and what report and summary say of it."""

import json

import numpy as np
import pytest

from analysis import look_elsewhere
from analysis.functions import density
from analysis.joint_toys import Overlaps
from analysis.pseudo_experiments import scan_toys
from analysis.report.look_elsewhere import global_p_values, over_methods
from analysis.report.record import Scan
from analysis.results import MassResult, ScanResult
from analysis.run_global import global_document
from analysis.scan import ScanConfig, scan
from analysis.spectrum import Spectrum
from analysis.summary import summary_lines

EDGES = np.arange(1460.0, 5001.0, 20.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
SHAPE = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
# Half of the events of the methods' selections are the same, all of them among the inclusive ones.
OVERLAPS = Overlaps.of(
    {
        "inclusive": np.ones(60),
        "cwola_B2": np.arange(60) < 20,
        "cwola_B3": abs(np.arange(60) - 20) < 10,
        "tnt_B4": np.arange(60) > 40,
    }
)
INVALID = ScanResult((MassResult(4000.0, None, (), None, None, "did not converge"),))


def scanned(masses, seed):
    counts = np.random.default_rng(seed).poisson(SHAPE * 8000 / SHAPE.sum())
    return scan(Spectrum(EDGES, counts), masses, None, ScanConfig(fit_stop=5000, limits=False, minuit=False))


@pytest.fixture(scope="module")
def document():
    scans = {
        "inclusive": {"inclusive": scanned([2400, 3000], 1)},
        "cwola": {"cwola_B2": scanned([2400], 2), "cwola_B3": scanned([3000], 3), "cwola_B4": INVALID},
        "tnt": {"tnt_B4": INVALID},
    }
    return json.loads(json.dumps(global_document(scans, 200, seed=1, shared=OVERLAPS), allow_nan=False))


def test_every_method_has_its_own_and_all_have_one(document):
    selections = document["selections"]
    assert list(selections) == ["inclusive", "cwola", "tnt"]
    assert (selections["inclusive"]["correlation"], selections["inclusive"]["n_toys"]) == (
        "one selection",
        200,
    )
    cwola = selections["cwola"]
    assert (cwola["correlation"], cwola["selections_left_out"]) == ("shared events", ["cwola_B4"])
    assert cwola["message"] is None
    assert selections["tnt"] == {"message": "tnt: no mass is valid", "selections_left_out": ["tnt_B4"]}
    together = document["over_methods"]
    assert together["methods"] == ["inclusive", "cwola"]
    assert together["max_z"] == max(selections[name]["max_z"] for name in together["methods"])
    assert together["correlation"] == "shared events"


def test_one_method_alone_has_nothing_to_combine():
    found = global_document({"inclusive": {"inclusive": scanned([3000], 1)}}, 50, seed=1, shared=None)
    assert found["over_methods"] is None
    assert found["selections"]["inclusive"]["n_toys"] == 50
    assert global_document({"a": {"a": INVALID}}, 50, seed=1, shared=None)["over_methods"] is None


def test_functions_that_run_away_beyond_their_fit_range_do_no_harm():
    counts = np.random.default_rng(2).poisson(SHAPE * 8000 / SHAPE.sum())
    steep = {"expression": "(1 - x)**a / x**b * (1 + exp((m - 3300) / 5))", "start": {"a": 9.3, "b": 4.8}}
    options = {"function": "steep", "own_functions": {"steep": steep}, "limits": False, "minuit": False}
    short = scan(
        Spectrum(EDGES, counts), [2400], None, ScanConfig.model_validate({"fit_stop": 3000, **options})
    )
    found = global_document(
        {"inclusive": {"inclusive": scanned([3000], 1)}, "steep": {"steep_B2": short}},
        60,
        seed=1,
        shared=None,
    )
    assert found["selections"]["steep"]["message"] is None
    assert found["over_methods"]["n_toys"] == 60


def test_too_many_failed_toys_of_one_method_leave_the_others(monkeypatch):
    def with_failures(selections, n_toys, seed, **options):
        toys = scan_toys(selections, n_toys, seed, **options)
        rare = [selection.name == "rare_A1" for selection in selections]
        toys.converged[:5, rare] = False
        return toys

    monkeypatch.setattr(look_elsewhere, "scan_toys", with_failures)
    scans = {"inclusive": {"inclusive": scanned([3000], 1)}, "rare": {"rare_A1": scanned([2400], 2)}}
    found = global_document(scans, 150, seed=1, shared=None)
    assert (
        "the fits of 5 of 150 pseudo-experiments did not converge" in found["selections"]["rare"]["message"]
    )
    assert found["selections"]["inclusive"]["n_toys"] == 150
    assert found["over_methods"] is None


def test_report_says_p_value_bound_and_reason(document):
    scan_document = {
        "masses": [3000], "selections": {}, "sqrt_s": 13000, "sample": "mock", "region": "signal",
    }  # fmt: skip
    plain = Scan.model_validate(scan_document)
    assert global_p_values(plain) == {}
    assert over_methods(plain) is None
    shown = Scan.model_validate(scan_document | {"global": document})
    words = global_p_values(shown)
    assert "(200 toys; Gross–Vitells" in words["inclusive"]
    assert words["tnt"] == "none: tnt: no mass is valid"
    assert over_methods(shown).startswith(
        "Over all selections, in toys that share events between them as the data do, the global p of the largest excess is "
    )
    assert "(200 toys; Gross–Vitells" in over_methods(shown)
    none = {"p_global": 0.0, "p_global_error": 0.01, "n_toys": 200, "gross_vitells": 2e-4}
    rare = Scan.model_validate(scan_document | {"global": {"selections": {"a": none}}})
    bound = "below 0.015 at 95 % CL (none of 200 toys is as extreme; Gross–Vitells 2.0 × 10⁻⁴)"  # 1 - 0.05^(1/200)
    assert global_p_values(rare) == {"a": bound}


def test_summary_says_global_p_or_that_there_is_none(tmp_path, document):
    row = {"mass": 3000.0, "z": 2.0, "p0": 0.023, "valid": True}
    content = {"sample": "mock", "selections": {"inclusive": [row], "tnt": [row], "vae": [row]}}
    (tmp_path / "account.json").write_text(json.dumps({"processed": 1, "expected": 1}))
    (tmp_path / "scan.json").write_text(json.dumps(content | {"global": document}))
    inclusive, tnt, vae = summary_lines(tmp_path)[1:]
    p = document["selections"]["inclusive"]["p_global"]
    assert f"global p = {p:.2g} ±" in inclusive
    assert tnt.endswith("(no global p-value: tnt: no mass is valid)")
    assert vae.endswith("(no look-elsewhere correction)")


def test_summary_gives_limits_where_no_toy_is_as_extreme(tmp_path):
    """1 − 0.05^(1/n) is 0.0149 of 200 toys, and 1.4977e-4 (Z = 3.616) of 20000."""
    remark = "p0 is an upper bound: none of 20000 toys reaches the observed q0"
    row = {"mass": 3000.0, "z": 3.89, "p0": 1 / 20001, "valid": True, "message": f"few events; {remark}"}
    counted = {"selections": {"inclusive": {"p_global": 0.0, "n_toys": 200, "message": None}}}
    (tmp_path / "account.json").write_text(json.dumps({"processed": 1, "expected": 1}))
    (tmp_path / "scan.json").write_text(
        json.dumps({"sample": "mock", "selections": {"inclusive": [row]}, "global": counted})
    )
    (line,) = summary_lines(tmp_path)[1:]
    assert line.endswith("local Z > 3.61, p0 < 1.5 × 10⁻⁴ at 95 % CL, global p < 0.015 at 95 % CL")
