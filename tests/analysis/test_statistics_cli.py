"""``oddjet scan|limit|bias|toys`` on files of other people's: exit codes, messages, results."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest

import analysis
from analysis import statistics_cli
from analysis.json_schemas import schema
from analysis.workspace_index import read_workspaces
from data.files import read_json
from tests.command_line import told as oddjet

EXAMPLES = Path(analysis.__file__).with_name("examples")
COUNTS = np.round(3000 * np.exp(-np.arange(30) / 3.5)).astype(int).tolist()


@pytest.fixture
def spectrum(tmp_path):
    """Writes a spectrum file with some keys changed."""

    def write(**changes):
        content = {
            "edges": {"lo": 2000, "width": 100, "n": 40},
            "counts": COUNTS,
            "masses": [2800, 3000],
            **changes,
        }
        path = tmp_path / "spectrum.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("command", ["scan", "limit"])
def test_a_spectrum_gives_a_result(monkeypatch, capsys, tmp_path, spectrum, command):
    out = tmp_path / "new" / "result.json"
    code, text = oddjet(monkeypatch, capsys, command, "--spectrum", spectrum(bumphunter=True), "--out", out)
    assert code == 0, text
    result = json.loads(out.read_text())
    jsonschema.Draft202012Validator(schema("result")).validate(result)
    assert set(result["masses"]) == {"2800", "3000"}
    assert result["masses"]["3000"]["limit_expected"] == sorted(result["masses"]["3000"]["limit_expected"])
    assert (result["bumphunter"] is not None) == (command == "scan")
    assert "3000 GeV: Z = " in text


def test_workspaces_of_a_spectrum(monkeypatch, capsys, tmp_path, spectrum):
    out, folder = tmp_path / "result.json", tmp_path / "new"
    chosen = ("--spectrum", spectrum(), "--out", out, "--workspaces", folder)
    code, text = oddjet(monkeypatch, capsys, "scan", *chosen)
    assert code == 0, text
    stored = read_workspaces(folder)
    assert [one.facts.file for one in stored] == [f"workspaces/spectrum_{mass}.json" for mass in (2800, 3000)]
    for one in stored:
        bins = len(one.facts.edges) - 1
        assert one.workspace["observations"][0]["data"] == (COUNTS + 10 * [0])[:bins]
        assert read_json(out)["masses"][f"{one.facts.mass:g}"]["range"] == [2000, 100 * bins + 2000]


def test_workspaces_go_with_a_spectrum_into_a_folder_of_their_own(monkeypatch, capsys, tmp_path, spectrum):
    (tmp_path / "run" / "manifests").mkdir(parents=True)
    chosen = ("--out", tmp_path / "result.json", "--workspaces", tmp_path / "run")
    code, text = oddjet(monkeypatch, capsys, "scan", "--spectrum", spectrum(), *chosen)
    assert (code, (tmp_path / "result.json").exists()) == (1, False)
    assert "run is a run folder, which has workspaces of its own; give another" in text
    (tmp_path / "file").write_text("x")
    place = ("--out", tmp_path / "result.json", "--workspaces", tmp_path / "file")
    code, text = oddjet(monkeypatch, capsys, "scan", "--spectrum", spectrum(), *place)
    assert (code, (tmp_path / "result.json").exists()) == (1, False)
    assert "file is a file; give the name of a folder" in text
    code, text = oddjet(monkeypatch, capsys, "scan", tmp_path / "search.yaml", *chosen)
    assert code == 1
    assert "--workspaces goes with --spectrum; leave it out, a run writes them into its folder" in text


def test_a_table_of_efficiencies_gives_limits(monkeypatch, capsys, tmp_path):
    """The crossing solves σ · ε(σ) = N/(L ε_pre) with ε linear between (2, 0.05) and (5, 0.21)."""
    out = tmp_path / "limit.json"
    table = EXAMPLES / "efficiency_table.json"
    code, text = oddjet(monkeypatch, capsys, "limit", "--efficiency-table", table, "--out", out)
    assert code == 0, text
    result = json.loads(out.read_text())
    root = max(np.roots([0.16 / 3, 0.05 - 2 * 0.16 / 3, -60 / (138 * 0.55)]).real)
    assert result == {"status": "ok", "crossing_fb": pytest.approx(root), "grid_fb": 5.0, "grid_tie_fb": 5.0}
    assert f"ok, {root:.4g} fb" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": [5, -1]}, r"spectrum\.json: spectrum: the count -1 in bin 2100–2200 GeV is negative"),
        ({"counts": [5, 0.5]}, r"count 0\.5 in bin 2100–2200 GeV is not a whole number"),
        ({"counts": []}, r"spectrum\.json: spectrum: no events between 2000 and 6000 GeV"),
        ({"edges": [2000, 2100, 2050], "counts": [5, 5]}, r"edges must increase, but 2100 GeV is followed by 2050 GeV"),
        ({"masses": [1500]}, r"spectrum\.json: mass 1500 GeV lies outside the fit range 2000–6000 GeV"),
        ({"masses": [7000]}, r"mass 7000 GeV lies outside"),
        ({"mass": [3000]}, r"unknown key 'mass'; did you mean 'masses'\?"),
        ({"fit": {"function": "dijet7"}}, r"function 'dijet7' is unknown; known functions: dijet2"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_message_and_exit_code_one(
    monkeypatch, capsys, tmp_path, spectrum, changes, message
):
    out = tmp_path / "result.json"
    code, text = oddjet(monkeypatch, capsys, "scan", "--spectrum", spectrum(**changes), "--out", out)
    assert code == 1
    assert text.count("error:") == 1
    assert "Traceback" not in text
    assert re.search(message, text), text
    assert not out.exists()


def test_too_few_events_give_a_result_without_numbers_and_exit_code_one(
    monkeypatch, capsys, tmp_path, spectrum
):
    out = tmp_path / "result.json"
    code, text = oddjet(monkeypatch, capsys, "scan", "--spectrum", spectrum(counts=[1, 1]), "--out", out)
    assert code == 1
    assert "2 events between 2000 and 6000 GeV are too few for a fit" in text
    assert all(not row["valid"] and row["z"] is None for row in read_json(out)["masses"].values())


ENDING = {
    "candidates": ["own"],
    "own_functions": {"own": {"expression": "(1 - 3*x)**a / x**b", "start": {"a": 5, "b": 5}}},
}


def test_a_mass_without_a_valid_fit_is_written_flagged_and_told(monkeypatch, capsys, tmp_path, spectrum):
    out = tmp_path / "result.json"
    code, text = oddjet(
        monkeypatch, capsys, "scan", "--spectrum", spectrum(fit=ENDING, bumphunter=True), "--out", out
    )
    assert code == 1
    assert text.count("error:") == 1
    assert re.search(
        r"not everything is valid \(see .*result\.json\): 2800, 3000 GeV: .*must be positive in the fit range",
        text,
    )
    rows = json.loads(out.read_text())["masses"]
    assert [row["valid"] for row in rows.values()] == [False, False]
    assert rows["3000"]["z"] is None
    assert rows["3000"]["limit_observed"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan"], r"give one of CONFIG\.yaml, --spectrum; given: none"),
        (["scan", "a.yaml", "--spectrum", "b.json"], r"given: CONFIG\.yaml, --spectrum"),
        (["limit"], r"give one of CONFIG\.yaml, --spectrum, --efficiency-table; given: none"),
        (["limit", "--spectrum", "a.json", "--efficiency-table", "b.json"], r"given: --spectrum, --efficiency-table"),
        (["limit", "--spectrum", "a.json", "--study"], r"--study goes with CONFIG\.yaml, not with --spectrum"),
        (["bias"], r"given: none"),
        (["toys", "--out", "a.json"], r"given: none"),
        (["toys", "--spectrum", "a.json", "--out", "a.csv"], r"ends in \.json or \.parquet"),
        (["toys", "--spectrum", "a.json"], r"give --out FILE with a name that ends in"),
        (["scan", "--spectrum", "a.json"], r"give --out RESULT\.json"),
        (["scan", "--spectrum", "a.json", "--out", "a.json"], r"--out a\.json is the file that is read"),
        (["scan", "--spectrum", "a.json", "--out", "."], r"--out \. is a folder; give the name of a file"),
        (["scan", "--spectrum", "a.json", "--out", "b.json", "--set", "run.seed=1"], r"--set goes with CONFIG\.yaml"),
        (["bias", "--spectrum", "a.json", "--out", "b.json", "--selection", "x"], r"--selection goes with CONFIG"),
        (["scan", "--spectrum", "none.json", "--out", "b.json"], r"none\.json: cannot be read"),
        (["limit", "--efficiency-table", "none.json", "--out", "b.json"], r"none\.json: cannot be read"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_told(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text = oddjet(monkeypatch, capsys, *arguments)
    assert code == 1
    assert text.count("error:") == 1
    assert re.search(message, text), text


def test_a_study_of_biases_is_written_and_drawn(monkeypatch, capsys, tmp_path, spectrum):
    out = tmp_path / "bias.json"
    code, text = oddjet(
        monkeypatch, capsys, "bias", "--spectrum", spectrum(masses=[3000]), "--out", out, "--toys", 20,
        "--alternative", "alternative3", "--alternative", "alternative4", "--seed", 9,
    )  # fmt: skip
    assert code == 0, text
    result = json.loads(out.read_text())
    jsonschema.Draft202012Validator(schema("bias")).validate(result)
    assert result["criteria"]["toys"] == 20
    assert result["criteria"]["seed"] == 9
    assert {row["alternative"] for row in result["pulls"]} == {"alternative3", "alternative4"}
    for name in ("bias_pulls", "bias_spurious"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.pdf").is_file()
    assert "largest mean pull" in text


def test_toys_are_written(monkeypatch, capsys, tmp_path, spectrum):
    file = spectrum(**{"global": {"masses": {"lo": 2600, "hi": 3400, "step": 400}, "toys": 10}, "seed": 4})
    for name in ("toys.json", "toys.parquet"):
        code, text = oddjet(
            monkeypatch, capsys, "toys", "--spectrum", file, "--out", tmp_path / name, "--toys", 30, "--max-z"
        )
        assert code == 0, text
    content = json.loads((tmp_path / "toys.json").read_text())
    assert np.shape(content["counts"]) == (30, 40)
    assert content["masses"] == [2600, 3000, 3400]
    assert content["seed"] == 4
    assert pq.read_table(tmp_path / "toys.parquet")["max_z"].to_pylist() == content["max_z"]
    assert "30 pseudo-experiments of dijet" in text


@pytest.mark.parametrize("command", ["scan", "limit", "bias", "toys"])
def test_help_shows_a_valid_spectrum_file(monkeypatch, capsys, command):
    code, text = oddjet(monkeypatch, capsys, command, "--help")
    assert code == 0
    example = (EXAMPLES / "spectrum.json").read_text()
    assert " ".join(example.split()) in text


def test_help_of_limit_shows_a_valid_table(monkeypatch, capsys):
    _, text = oddjet(monkeypatch, capsys, "limit", "--help")
    assert " ".join((EXAMPLES / "efficiency_table.json").read_text().split()) in text


def test_limits_of_a_configuration_are_those_of_the_pipeline(monkeypatch, capsys, tmp_path):
    called = []
    monkeypatch.setattr(statistics_cli, "prepare", lambda path, *_: SimpleNamespace(root=path))
    monkeypatch.setattr(
        "analysis.limit_pipeline.run_limits", lambda run, study: called.append((run.root, study))
    )
    monkeypatch.setattr("analysis.limit_summary.limit_lines", lambda root: [f"limits of {root.name}"])
    monkeypatch.setattr("analysis.limit_summary.invalid_limits", lambda root: [])
    code, text = oddjet(monkeypatch, capsys, "limit", tmp_path / "search.yaml", "--study")
    assert (code, text) == (0, "limits of search.yaml")
    assert called == [(tmp_path / "search.yaml", True)]
    monkeypatch.setattr(
        "analysis.limit_summary.invalid_limits", lambda root: ["cwola at 3000 GeV: no crossing"]
    )
    code, text = oddjet(monkeypatch, capsys, "limit", tmp_path / "search.yaml")
    assert code == 1
    assert "no limit for every selection; see the reason of each: cwola at 3000 GeV: no crossing" in text
