"""Inputs of studies from the histograms of a run."""

import json

import numpy as np
import pytest
import yaml

from analysis import statistics_cli
from analysis.cli_common import prepare
from analysis.scan_inputs import run_inputs
from data.errors import ConfigError
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj

MASSES = [2600, 3000, 3400]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A configuration whose histograms are filled: 20,000 falling events, every fourth one selected in window B3."""
    folder = tmp_path_factory.mktemp("search")
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"data.root": None}}
    (folder / "data.root").touch()  # only its histograms are read
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    config = {
        "run": {"output": str(folder / "out"), "seed": 6},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "methods": {"cwola": {}},
        "scan": {
            "masses": MASSES,
            "fit_start": 2000,
            "fit_stop": 6000,
            "function": "dijet2",
            "minuit": False,
        },
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    run = prepare(folder / "search.yaml", None, None, None)
    labels = [f"cwola_{window.name}" for window in run.config.windows()]
    histograms = empty_histograms(["data"], labels, variations=["nominal"])
    mjj = 2000 + np.random.default_rng(4).exponential(450, 20_000)
    for label in ("inclusive", *labels):
        kept = mjj[::4] if label != "inclusive" else mjj
        table = {"mjj": kept, "region": np.zeros(kept.size), "weight": np.ones(kept.size)}
        fill_mjj(histograms["mjj"], table, "data", label, np.full(kept.size, 1, dtype=np.int64))
    write_histograms(run.root / "histograms" / "mock.h5", histograms)
    return folder / "search.yaml", labels


def test_a_selection_has_its_spectrum_and_the_masses_of_its_window(search):
    path, labels = search
    run = prepare(path, None, None, None)
    whole = run_inputs(run)
    assert whole.masses == tuple(MASSES)
    assert whole.spectrum.n_events == 20_000
    parts = [run_inputs(run, label) for label in labels]
    assert all(part.spectrum.n_events == 5000 for part in parts)
    assert sorted(mass for part in parts for mass in part.masses) == MASSES
    assert whole.config == run.config.scan


def test_unknown_selections_are_named(search):
    path, labels = search
    with pytest.raises(
        ConfigError, match=rf"--selection cwola_C9: the configuration has inclusive, {labels[0]}"
    ):
        run_inputs(prepare(path, None, None, None), "cwola_C9")


def test_bias_and_toys_of_a_configuration(search, tmp_path, capsys):
    path, labels = search
    options = ["--selection", labels[0], "--toys", "20"]
    run_command("bias", str(path), *options, "--alternative", "alternative4")
    root = path.parent / "out"
    result = json.loads((root / "bias.json").read_text())
    assert result["criteria"]["seed"] == 6
    assert {row["mass"] for row in result["pulls"]} == set(
        run_inputs(prepare(path, None, None, None), labels[0]).masses
    )
    assert (root / "plots" / "bias_pulls.png").is_file()
    run_command("toys", str(path), *options, "--out", str(tmp_path / "toys.json"), "--max-z")
    toys = json.loads((tmp_path / "toys.json").read_text())
    assert np.shape(toys["counts"]) == (20, 1000)
    assert sum(toys["expected"]) == pytest.approx(5000, rel=0.02)
    assert len(toys["max_z"]) == 20
    assert "20 pseudo-experiments of dijet2" in capsys.readouterr().out


def run_command(*arguments):
    statistics_cli.app(list(arguments), standalone_mode=False)
