"""``oddjet export`` on a finished run: every format is written, and read back by the programs it is for."""

import json

import numpy as np
import pyhf
import pytest
import yaml
from typer.testing import CliRunner

from analysis.cli import app
from analysis.cli_common import prepare
from analysis.export_cli import by_method
from analysis.search import analyse_run
from analysis.workspace_index import read_workspaces
from data.errors import InputError
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj

# pyhf 0.7.6 resolves its schemas by a class that jsonschema 4.18 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")
MASSES = [2900, 3000]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A scanned run: 10,000 falling events, every fourth one selected in both windows of a method."""
    folder = tmp_path_factory.mktemp("search")
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"data.root": None}}
    (folder / "data.root").touch()  # only its histograms are read
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    options = {
        "run": {"output": str(folder / "out")},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "methods": {"cwola": {}},
        "scan": {
            "masses": MASSES, "fit_start": 2200, "fit_stop": 5000, "function": "dijet2", "minuit": False,
            "calculator": "asymptotic", "nuisances": True,
        },
    }  # fmt: skip
    (folder / "search.yaml").write_text(yaml.safe_dump(options))
    run = prepare(folder / "search.yaml", None, None, None)
    labels = [f"cwola_{window.name}" for window in run.config.windows()]
    histograms = empty_histograms(["data"], labels, variations=["nominal"])
    mjj = 2200 + np.random.default_rng(4).exponential(400, 10_000)
    for label in ("inclusive", *labels):
        kept = mjj[mjj < 7000] if label == "inclusive" else mjj[mjj < 7000][::4]
        table = {"mjj": kept, "region": np.zeros(kept.size), "weight": np.ones(kept.size)}
        fill_mjj(histograms["mjj"], table, "data", label, np.full(kept.size, 1, dtype=np.int64))
    write_histograms(run.root / "histograms" / "mock.h5", histograms)
    analyse_run(run.root, run.config, run.samples)
    return folder / "search.yaml", run.root


def export(search, *options):
    result = CliRunner().invoke(app, ["export", str(search[0]), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return search[1] / "exports"


def test_the_index_says_what_the_workspaces_cannot(search):
    stored = read_workspaces(search[1])
    inclusive = [entry for entry in stored if entry.facts.selection == "inclusive"]
    assert [entry.facts.mass for entry in inclusive] == MASSES
    for entry in stored:
        samples = entry.workspace["channels"][0]["samples"]
        assert len(samples[0]["data"]) == len(entry.facts.edges) - 1
        assert sum(samples[0]["data"]) == pytest.approx(entry.facts.signal_events)
        names = [modifier["name"] for modifier in samples[0]["modifiers"]]
        assert names == ["jes", "jer", "luminosity", "mu"]
        assert entry.facts.exact_at["background_1"] > 0
        assert (search[1] / entry.facts.file).stem == entry.facts.name


def test_methods_gather_their_windows(search):
    found = by_method(read_workspaces(search[1]))
    assert set(found) == {"inclusive", "cwola"}
    assert [entry.facts.mass for entry in found["cwola"]] == MASSES


def test_patch_sets_of_every_method(search):
    folder = export(search, "--patchset") / "patchset"
    for method in ("inclusive", "cwola"):
        background = json.loads((folder / method / "background_only.json").read_text())
        patchset = pyhf.PatchSet(json.loads((folder / method / "patchset.json").read_text()))
        assert method in patchset.description
        for mass in MASSES:
            patched = patchset.apply(background, (float(mass),))
            (own,) = (search[1] / "workspaces").glob(f"{method}*_{mass}.json")
            assert dict(patched) == json.loads(own.read_text())


def test_cards_and_configurations_for_every_workspace(search):
    folder = export(search, "--combine", "--cabinetry")
    names = {entry.facts.name for entry in read_workspaces(search[1])}
    assert {path.stem for path in (folder / "combine").glob("*.txt")} == names
    assert {path.stem for path in (folder / "combine").glob("*.root")} == names
    assert {path.name for path in (folder / "cabinetry").iterdir()} == names
    for name in names:
        config = yaml.safe_load((folder / "cabinetry" / name / "config.yml").read_text())
        assert config["General"]["POI"] == "mu"


def test_hepdata_submission(search):
    folder = export(search, "--hepdata") / "hepdata"
    assert (folder / "submission.tar.gz").is_file()
    assert {"significance_inclusive.yaml", "limits_in_events_cwola.yaml", "spectrum_inclusive.yaml"} <= {
        path.name for path in (folder / "tables").iterdir()
    }


def test_model_independent_limits(search):
    folder = export(search, "--model-independent") / "model_independent"
    table = json.loads((folder / "inclusive.json").read_text())
    assert table["selection"] == "inclusive"
    assert {row["mass"] for row in table["limits"]} == set(MASSES)
    for row in table["limits"]:
        assert row["limit_observed_fb"] == pytest.approx(row["limit_observed"] / 41.5)


def test_a_run_without_workspaces_is_named(tmp_path, search):
    with pytest.raises(InputError, match=r"no workspaces.json; run `oddjet scan`"):
        read_workspaces(tmp_path)
    (tmp_path / "workspaces.json").write_text('{"workspaces": []}')
    with pytest.raises(InputError, match=r"no mass of the scan is valid"):
        read_workspaces(tmp_path)
    (tmp_path / "workspaces.json").write_text((search[1] / "workspaces.json").read_text())
    with pytest.raises(InputError, match=r"workspace 'workspaces/inclusive_2900.json' is missing"):
        read_workspaces(tmp_path)
