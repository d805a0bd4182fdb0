"""`oddjet inspect` says of every kind of file what it holds."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.inspect_cli import fact_lines
from analysis.inspect_files import inspect
from data.errors import ConfigError, InputError
from data.manifest import Manifest
from models.bundle import Header, serialise, write_bundle
from tests.analysis.report_folder import make_run_folder
from tests.analysis.test_hepdata import limit_record

EXAMPLES = Path(__file__).parents[2] / "analysis" / "examples"
MANIFEST = Manifest(
    stage="skim",
    config_hash="ab",
    code_version="0.1.0+1",
    inputs={"a.root": "cd"},
    entries_expected=7,
    entries_read=7,
    outputs={"scan.json": "ef", "features/mock/part_00000.parquet": "01"},
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = make_run_folder(tmp_path_factory.mktemp("inspect") / "run")
    MANIFEST.write(folder / "manifests" / "skim.mock.json")
    return folder


@pytest.fixture
def table(tmp_path):
    columns = {
        "mjj": [2000.0, 3000.0, 2500.0],
        "region": pa.array([0, 1, 0], pa.int8()),
        "rmm": [[1.0], [2.0], [3.0]],
    }
    folder = tmp_path / "features" / "mock"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "part_00000.parquet", row_group_size=2)
    return folder


@pytest.fixture
def bundle(tmp_path):
    content, digest = serialise({"0.weight": np.zeros((2, 3))})
    header = Header(
        method="cwola",
        signal_region=(2632, 3000),
        low_band=(2230, 2632),
        high_band=(3000, 3331),
        working_point=0.01,
        seed=3,
        options={"classifier": "trees"},
        inputs=("m_j1", "m_j2"),
        folds={"identified_by": "event id", "hashed": ()},
        calibration={"score": "s", "ranks": "r", "decorrelation": "d", "threshold": "t"},
        thresholds=(0.9, 0.91, 0.92, 0.93, 0.94),
        training={
            "table_hash": "0" * 64, "rows": 90, "rows_low": 30, "rows_signal": 40, "rows_high": 20, "versions": {"numpy": "2.0.0"},
        },
        weights_sha256=digest,
    )  # fmt: skip
    write_bundle(tmp_path / "B3", header, content)
    return tmp_path / "B3"


def test_a_file_of_events(tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 60, simulation=True, trees={"Runs": None})
    found = inspect(str(path))
    assert found["kind"] == "simulated events"
    assert (found["entries"], found["tree"], found["format"]) == (60, "Events", "NanoAOD-like, TTree")
    assert (found["runs"], found["generated_sums"], found["resonance_gev"]) == ([297050, 297051], False, None)
    assert (found["jets"], found["constituents"], found["rapidity_mass_matrix"]) == ("stored", False, False)
    assert found["year"].startswith("2017")


def test_events_that_cannot_be_searched(tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 60, drop=("FatJet",), trees={"Runs": None})
    found = inspect(str(path))
    assert found["kind"] == "recorded events"
    assert found["search"].startswith(f"not possible: file '{path}' has no branch")
    assert "jets" not in found


def test_a_feature_table_and_the_folder_of_all(table):
    found = inspect(str(table))
    assert found == inspect(str(table / "part_00000.parquet"))
    assert found == {
        "kind": "feature table",
        "rows": 3,
        "files": 1,
        "columns": {"mjj": [2000.0, 3000.0], "region": [0, 1], "rmm": "list<element: double>"},
    }
    assert inspect(str(table.parent)) == {"kind": "feature tables of a run", "rows": {"mock": 3}}


def test_a_damaged_table_is_named(table):
    (table / "part_00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        InputError, match=r"part_00000\.parquet: not a readable Parquet file .*; run `oddjet skim` again"
    ):
        inspect(str(table))


def test_a_damaged_page_of_a_table_is_named(table):
    path = table / "part_00000.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"part_00000\.parquet: not a readable Parquet file .*; run `oddjet skim` again"
    ):
        inspect(str(table))


def test_a_trained_method(bundle):
    found = inspect(str(bundle))
    assert found == inspect(str(bundle / "bundle.json"))
    assert (found["kind"], found["method"], found["inputs"]) == ("trained method", "cwola", ["m_j1", "m_j2"])
    assert (found["signal_region"], found["rows"], found["numbers"]) == ([2632.0, 3000.0], 90, 6)
    assert found["thresholds"] == [0.9, 0.91, 0.92, 0.93, 0.94]
    assert found["versions"] == {"numpy": "2.0.0"}


def test_histograms(run_folder):
    found = inspect(str(run_folder / "histograms" / "mock.h5"))["histograms"]
    assert set(found["mjj"]) == {"bins", "process", "region", "selection", "variation", "sum_of_weights"}
    assert found["mjj"]["bins"] == {"mjj": 3200}
    assert found["mjj"]["selection"][0] == "inclusive"
    assert found["mjj"]["sum_of_weights"] > 0


def test_the_result_of_a_scan(run_folder):
    found = inspect(str(run_folder / "scan.json"))
    assert (found["kind"], found["sample"], found["luminosity_ifb"]) == ("result of a scan", "mock", 12.3)
    assert found["selections"]["cwola"]["masses"] - found["selections"]["cwola"]["valid"] == 2
    rows = json.loads((run_folder / "scan.json").read_text())["selections"]["inclusive"]
    assert found["selections"]["inclusive"]["largest_excess"]["z"] == max(row["z"] for row in rows)


def test_a_p_value_that_is_a_bound_is_told_with_its_remark(run_folder, tmp_path):
    scan = json.loads((run_folder / "scan.json").read_text())
    remark = "p0 is an upper bound: none of 1000 toys reaches the observed q0"
    scan["selections"]["inclusive"][1] |= {"z": 9.0, "message": remark}
    (tmp_path / "scan.json").write_text(json.dumps(scan))
    found = inspect(str(tmp_path / "scan.json"))["selections"]
    assert found["inclusive"]["largest_excess"]["message"] == remark
    assert "message" not in found["cwola"]["largest_excess"]


def test_account_and_studies(run_folder):
    account = json.loads((run_folder / "account.json").read_text())
    found = inspect(str(run_folder / "account.json"))
    assert (found["processed"], found["files"], found["incomplete_files"]) == (250000, 2, [])
    account["files"][1]["processed"] -= 1
    (run_folder / "less.json").write_text(json.dumps(account))
    assert inspect(str(run_folder / "less.json"))["incomplete_files"] == ["mock_1.root"]
    studies = inspect(str(run_folder / "studies.json"))
    assert all(window["methods"] for window in studies["windows"].values())


def test_limits(tmp_path):
    (tmp_path / "limits.json").write_text(json.dumps(limit_record()))
    found = inspect(str(tmp_path / "limits.json"))
    assert found["limits_fb"] == {"xyy": {"cwola": {"observed": 12.0, "expected": 8.0}}}
    (tmp_path / "limits.json").write_text(
        json.dumps(limit_record(observed=None, expected=[], message="no fit"))
    )
    assert inspect(str(tmp_path / "limits.json"))["limits_fb"] == {"xyy": {"cwola": {"invalid": "no fit"}}}


WORKSPACE = {
    "channels": [{"name": "mjj", "samples": [{"name": "signal", "data": [1, 2], "modifiers": []}]}],
    "observations": [{"name": "mjj", "data": [5, 6]}],
    "measurements": [{"name": "resonance", "config": {"poi": "mu", "parameters": []}}],
    "version": "1.0.0",
}


def test_a_workspace(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(WORKSPACE))
    assert inspect(str(tmp_path / "w.json")) == {
        "kind": "HistFactory workspace",
        "channels": {"mjj": {"bins": 2, "observed": 11, "samples": ["signal"]}},
        "parameter_of_interest": {"resonance": "mu"},
        "version": "1.0.0",
    }
    (tmp_path / "w.json").write_text(json.dumps(WORKSPACE | {"observations": []}))
    with pytest.raises(InputError, match="channel 'mjj' has no observation; add it to 'observations'"):
        inspect(str(tmp_path / "w.json"))


def test_a_manifest(run_folder):
    found = inspect(str(run_folder / "manifests" / "skim.mock.json"))
    assert (found["kind"], found["stage"], found["entries_read"]) == ("manifest of a stage", "skim", 7)
    assert found["inputs"] == ["a.root"]


CUTFLOW = [{"step": "all", "events": 9, "weighted": 9.0}, {"step": "trigger", "events": 4, "weighted": 4.0}]


def test_what_trainings_of_the_limits_leave(tmp_path):
    sources = [
        {"name": "jes", "up": 0.1, "down": -0.1, "relevance": 1.0, "feature": "m_j1", "retrained": True}
    ]
    documents = {
        "cwola.injection": {"cross_section_fb": 5.0, "fit_range": [2000.0, 4000.0], "message": None},
        "cwola.retraining": {
            "cross_section_fb": 5.0, "efficiencies": [0.2, 0.3], "sources": sources, "background": None,
        },
    }  # fmt: skip
    found = {}
    for name, content in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        found[name] = inspect(str(tmp_path / f"{name}.json"))
    assert found["cwola.injection"] == {"kind": "best injection", **documents["cwola.injection"]}
    assert found["cwola.retraining"]["kind"] == "trainings with varied signals"
    assert found["cwola.retraining"]["sources"] == {"jes": {"up": 0.1, "down": -0.1, "retrained": True}}


def test_a_selection_without_a_fit(tmp_path):
    (tmp_path / "fits.json").write_text('{"inclusive": null}')
    assert inspect(str(tmp_path / "fits.json")) == {
        "kind": "fits of the background",
        "selections": {"inclusive": {"invalid": True}},
    }


def test_the_cutflow(tmp_path):
    (tmp_path / "cutflow.json").write_text(json.dumps({"mock": CUTFLOW}))
    found = inspect(str(tmp_path / "cutflow.json"))
    assert found == {"kind": "cutflow", "events": {"mock": {"all": 9, "trigger": 4}}}
    counts = {"expected": 9, "processed": 9, "without_particles": 0}
    (tmp_path / "mock.json").write_text(json.dumps({**counts, "cutflow": CUTFLOW, "luminosity": None}))
    assert inspect(str(tmp_path / "mock.json")) == {
        "kind": "record of pass 2 over a sample", **counts, "events": {"all": 9, "trigger": 4},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "w.json",
            {"channels": [{"name": "a"}], "observations": [], "measurements": [], "version": "1"},
            r"w\.json: HistFactory workspace without the key 'samples'; it was damaged .*: write it again",
        ),
        (
            "a.json",
            {"files": [], "expected": 1, "processed": 1},
            r"a\.json: account of the events without the key 'complete'; it was damaged",
        ),
        (
            "a.json",
            {"sample": "a", "masses": [1], "selections": [1]},
            r"a\.json: result of a scan with another value than belongs there \('list' object has no attribute",
        ),
        (
            "a.json",
            {"files": None, "expected": 1, "processed": 1, "complete": True},
            r"a\.json: account of the events with another value than belongs there \(object of type 'NoneType'",
        ),
        ("fits.json", {"a": 1}, r"fits\.json: fits of the background with another value than belongs there"),
        (
            "w.json",
            {"workspaces": [{"selection": "a", "mass": "x", "file": "b"}]},
            r"w\.json: index of the workspaces with another value than belongs there \(Unknown format code 'g'",
        ),
        ("cutflow.json", [1], r"cutflow\.json: cutflow with another value than belongs there"),
    ],
)
def test_a_damaged_document_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        inspect(str(tmp_path / name))


def test_a_spectrum():
    found = inspect(str(EXAMPLES / "spectrum.json"))
    assert found["kind"] == "spectrum"
    assert found["bins"] > 1
    assert found["events"] > 0


def test_a_run_folder(run_folder):
    found = inspect(str(run_folder))
    assert found["kind"] == "run folder"
    lost = ["features/mock/part_00000.parquet"]
    assert found["stages_done"] == {"skim.mock": {"entries": 7, "lost_outputs": lost}}
    assert found["result"]["processed"] == 250000
    assert "scan.json" in found["files"]
    assert "histograms/" in found["files"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            "x",
            r"a\.txt: oddjet does not know such a file; give a ROOT file of events .*, or a run folder",
        ),
        ("a.yaml", "x: 1", r"a\.yaml: `oddjet plan` says what a configuration does.*; give a ROOT file of"),
        (
            "a.json",
            '{"x": 1}',
            r"a\.json: none of the JSON files that oddjet knows; known: HistFactory workspace, manifest",
        ),
        ("a.json", "[1]", r"a\.json: none of the JSON files"),
        ("a.json", '{"x": ', r"a\.json: not valid JSON"),
    ],
)
def test_an_unknown_file_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        inspect(str(tmp_path / name))


def test_what_is_not_there_and_an_unknown_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere: does not exist; give a ROOT file"):
        inspect(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="oddjet does not know what this folder holds; give a ROOT file"):
        inspect(str(tmp_path))
    (tmp_path / "a.json").write_text('{"stage": "skim", "config_hash": "a", "outputs": {}, "more": 1}')
    with pytest.raises(ConfigError, match="unknown key 'more'"):
        inspect(str(tmp_path / "a.json"))


def test_the_command_says_it_in_words_and_as_json(table):
    said = CliRunner().invoke(app, ["inspect", str(table)]).stdout.splitlines()
    assert said == [
        f"{table}: feature table",
        "  rows   3",
        "  files  1",
        "  columns",
        "    mjj     2000, 3000",
        "    region  0, 1",
        "    rmm     list<element: double>",
    ]
    told = CliRunner().invoke(app, ["inspect", str(table), "--json"]).stdout
    assert json.loads(told) == inspect(str(table))


def test_long_lists_are_cut_and_nothing_is_said():
    assert list(
        fact_lines({"many": list(range(2000, 2014)), "none": [], "so": True, "n": 12345, "x": 0.123456789})
    ) == [
        "  many  2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007, 2008, 2009, 2010, 2011 … and 2 more",
        "  none  none",
        "  so    yes",
        "  n     12,345",
        "  x     0.123457",
    ]
