"""HEPData submissions: HEPData's validator accepts them, tables hold the numbers of scan.json and fits.json."""

import builtins
import json
import tarfile

import pytest
import yaml

from analysis.exports.hepdata import build_submission, validate_archive, write_submission
from analysis.limit_record import LimitRecord
from data.errors import ConfigError, InputError


def row(mass, **changes):
    known = {
        "mass": mass, "z": 1.5, "p0": 0.0668, "signal_yield": 30.0, "signal_yield_error": 20.0,
        "limit_observed": 70.0, "limit_expected": [20.0, 28.0, 40.0, 58.0, 80.0],
        "limit_observed_fb": 7.0, "limit_expected_fb": [2.0, 2.8, 4.0, 5.8, 8.0],
        "efficiency": 0.25, "valid": True, "message": None,
    }  # fmt: skip
    return known | changes


INVALID = row(3200.0, valid=False, message="no fit") | dict.fromkeys(
    ("z", "p0", "signal_yield", "signal_yield_error", "limit_observed", "limit_expected", "limit_observed_fb",
     "limit_expected_fb", "efficiency")
)  # fmt: skip
SCAN = {
    "sample": "mock", "region": "signal", "sqrt_s": 13000.0, "luminosity_ifb": 12.9877,
    "selections": {"inclusive": [row(3000.0), row(3100.0, z=0.0, p0=0.5), INVALID], "cwola": [row(3000.0, limit_observed_fb=None)]},
}  # fmt: skip
FITS = {
    "inclusive": {
        "mass": 3000.0, "function": "dijet3", "edges": [2332.0, 2438.0, 2546.0], "observed": [50, 40],
        "background": [48.0, 41.5], "background_error": [2.0, 1.5],
        "signal_fits": {"3000": {"background": [47.0, 41.0], "signal": [1.0, 3.0]}},
    },
    "cwola_A3": None,
}  # fmt: skip


@pytest.fixture
def run_folder(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    (root / "scan.json").write_text(json.dumps(SCAN))
    (root / "fits.json").write_text(json.dumps(FITS))
    return root


@pytest.fixture
def tables(tmp_path, run_folder):
    folder = tmp_path / "hepdata"
    assert write_submission(folder, run_folder)[0] == folder / "submission.tar.gz"
    return {path.stem: yaml.safe_load(path.read_text()) for path in (folder / "tables").glob("*_*.yaml")}


def test_one_table_of_each_kind_for_every_method(tables):
    assert set(tables) == {
        "significance_inclusive", "significance_cwola", "limits_in_events_inclusive", "limits_in_events_cwola",
        "limits_in_fb_inclusive", "signal_efficiency_inclusive", "signal_efficiency_cwola", "spectrum_inclusive",
    }  # fmt: skip


def test_limits_have_units_qualifiers_and_bands(tables):
    table = tables["limits_in_fb_inclusive"]
    assert table["independent_variables"][0]["header"] == {"name": "Resonance mass", "units": "GeV"}
    assert [entry["value"] for entry in table["independent_variables"][0]["values"]] == [3000.0, 3100.0]
    observed, expected = table["dependent_variables"]
    assert observed["header"]["units"] == "fb"
    assert {"name": "SQRT(S)", "value": 13000.0, "units": "GeV"} in observed["qualifiers"]
    assert {"name": "METHOD", "value": "inclusive"} in observed["qualifiers"]
    assert expected["values"][0] == {
        "value": 4.0,
        "errors": [
            {"asymerror": {"minus": -1.2, "plus": 1.8}, "label": "1 s.d."},
            {"asymerror": {"minus": -2.0, "plus": 4.0}, "label": "2 s.d."},
        ],
    }


def test_significances_of_valid_masses(tables):
    p_value, z, signal = tables["significance_inclusive"]["dependent_variables"]
    assert [entry["value"] for entry in p_value["values"]] == [0.0668, 0.5]
    assert [entry["value"] for entry in z["values"]] == [1.5, 0.0]
    assert signal["values"][0]["errors"] == [{"symerror": 20.0, "label": "fit"}]


def test_p_values_that_no_toy_reaches_are_said_to_be_bounds():
    remark = "p0 is an upper bound: none of 1000 toys reaches the observed q0"
    bound = row(3100.0, z=3.09, p0=1 / 1001, message=remark)
    scan = SCAN | {"selections": {"inclusive": [row(3000.0), bound], "cwola": [row(3000.0)]}}
    said = {table.name: table.description for table in build_submission(scan, {}).tables}
    # 1 − 0.05^(1/1000)
    assert "at 95% confidence level there: 3100 GeV (p < 0.003)." in said["Significance inclusive"]
    assert "confidence level" not in said["Significance cwola"]


def test_spectrum_has_bins_and_both_fits(tables):
    table = tables["spectrum_inclusive"]
    assert table["independent_variables"][0]["values"][0] == {"low": 2332.0, "high": 2438.0}
    observed, background, total = table["dependent_variables"]
    assert [entry["value"] for entry in observed["values"]] == [50, 40]
    assert background["values"][1] == {"value": 41.5, "errors": [{"symerror": 1.5, "label": "fit"}]}
    assert [entry["value"] for entry in total["values"]] == [48.0, 44.0]


def test_the_archive_holds_every_table_and_replaces_an_older_one(tmp_path, run_folder):
    folder = tmp_path / "hepdata"
    write_submission(folder, run_folder)
    (folder / "tables" / "old.yaml").write_text("{}")
    written = write_submission(folder, run_folder)
    with tarfile.open(written[0]) as archive:
        assert sorted(archive.getnames()) == sorted(path.name for path in written[1:])
    assert "old.yaml" not in {path.name for path in written}


def limit_point(value):
    return {"n_excluded": 50.0, "status": "ok", "crossing_fb": value, "crossing_low_fb": 0.8 * value,
            "crossing_high_fb": 1.3 * value, "grid_fb": value, "grid_tie_fb": value}  # fmt: skip


def limit_record(**changes):
    """A ``limits.json`` of one signal and one retrained method."""
    point = {"cross_section_fb": 10.0, "injected": 100, "efficiency": 0.3, "error": 0.02, "spread": 0.05,
             "efficiencies": (0.3,), "z": (2.0,), "asimov_z": 2.1, "asimov_z_error": 0.1}  # fmt: skip
    selection = {
        "retrained": True, "message": None, "points": [point, point | {"cross_section_fb": 20.0, "efficiency": 0.4}],
        "curve": None, "chi2": 0.5, "fb_per_event": 0.1, "signal_uncertainty": 0.1, "uncertainties": None,
        "n_excluded_without": (50.0,),
        "observed": limit_point(12.0), "expected": [limit_point(value) for value in (4.0, 6.0, 8.0, 11.0, 15.0)],
        "discovery": [],
    }  # fmt: skip
    signal = {"mass": 3000.0, "window": "A3", "acceptance": 0.6, "selections": {"cwola": selection | changes}}
    return {"sample": "mock", "region": "signal", "luminosity_ifb": 12.9877, "sqrt_s": 13000.0, "study": False,
            "published": None, "signals": {"xyy": signal}}  # fmt: skip


def test_limits_with_retraining_are_there_where_the_run_has_them(tmp_path, run_folder):
    (run_folder / "limits.json").write_text(json.dumps(limit_record()))
    write_submission(tmp_path / "hepdata", run_folder)
    folder = tmp_path / "hepdata" / "tables"
    table = yaml.safe_load((folder / "limits_with_retraining_xyy.yaml").read_text())
    assert table["independent_variables"][0]["values"] == [{"value": "cwola"}]
    observed, expected = table["dependent_variables"]
    band = {"asymerror": {"minus": -2.4, "plus": 3.6}, "label": "efficiency"}
    assert observed["values"] == [{"value": 12.0, "errors": [band]}]
    assert expected["values"][0]["value"] == 8.0
    assert expected["values"][0]["errors"][1]["asymerror"] == {"minus": -4.0, "plus": 7.0}
    table = yaml.safe_load((folder / "efficiency_with_retraining_xyy_cwola.yaml").read_text())
    assert [entry["value"] for entry in table["independent_variables"][0]["values"]] == [10.0, 20.0]
    assert table["dependent_variables"][0]["values"][1]["errors"] == [
        {"symerror": 0.02, "label": "trainings"}
    ]


def test_a_method_without_a_crossing_has_no_limit_with_retraining():
    open_ended = limit_point(12.0) | {"status": "not_excluded_at_top"}
    record = LimitRecord.parse(json.loads(json.dumps(limit_record(observed=open_ended))), "limits.json")
    names = [table.name for table in build_submission(SCAN, FITS, record).tables]
    assert "Limits with retraining xyy" not in names
    assert "Efficiency with retraining xyy cwola" in names


def test_an_invalid_submission_is_refused_with_the_validators_message(tmp_path):
    broken = tmp_path / "submission.yaml"
    broken.write_text("comment: no tables\n---\nname: Limits\ndata_file: missing.yaml\n")
    with tarfile.open(tmp_path / "submission.tar.gz", "w:gz") as archive:
        archive.add(broken, "submission.yaml")
    with pytest.raises(
        InputError, match=r"HEPData would refuse this submission; correct it:\n.*submission.yaml"
    ):
        validate_archive(tmp_path / "submission.tar.gz")


def test_nothing_valid_is_nothing_to_submit():
    with pytest.raises(InputError, match=r"sample 'mock': no mass is valid"):
        build_submission(SCAN | {"selections": {"inclusive": [INVALID]}}, {"inclusive": None})


def test_an_unfinished_run_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no scan.json; run `oddjet scan`"):
        write_submission(tmp_path / "hepdata", tmp_path)


def test_the_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "hepdata_lib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"need the package hepdata_lib; .*pip install 'oddjet\[export\]'"):
        build_submission(SCAN, FITS)
