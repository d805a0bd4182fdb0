"""No bit of any output depends on chunk size, workers, order of files or truth labels."""

import hashlib
import shutil
from typing import ClassVar

import numpy as np
import pytest

import models
from data.eventid import batch_number, fold_of
from processors import scorers
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_histograms, run_skim
from processors.skim import read_features

N_EVENTS = {"a": 1300, "b": 0, "c": 8000}


class FakeMethod:
    """Stands in for a trained method: scores and votes follow from each event's own values."""

    inputs: ClassVar[tuple[str, ...]] = ("tau21_j1", "m_j1")
    signal_region = (2000.0, 2500.0)
    low_band = (1600.0, 2000.0)
    high_band = (2500.0, 3000.0)

    def evaluate(self, table, *, trained_on=None):
        return self.score(table), self.fold_votes(table, trained_on=trained_on)

    def score(self, table):
        return np.clip(table["tau21_j1"].astype(np.float64), 0, 1)

    def fold_votes(self, table, *, trained_on):
        selected = self.score(table) > 0.8
        if trained_on:
            return np.where(selected, 5, 0)
        fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
        return np.where(selected, 5, np.where(table["m_j1"] > 50, fold, 0))


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for kind in ("data", "simulation"):
        first = 1
        for number, (name, n) in enumerate(N_EVENTS.items()):
            path = folder / f"{kind}_{name}.root"
            simulation = kind == "simulation"
            made[kind, name] = make_nano_file(
                path, n, number, simulation=simulation, label=simulation, first_event=first
            )
            first += n
    return made


@pytest.fixture
def scorer_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cwola" / "B3"
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text("{}")
    monkeypatch.setattr(models, "load", lambda folder: FakeMethod(), raising=False)
    scorers.load.cache_clear()
    yield folder
    scorers.load.cache_clear()


def both_passes(out, files, kind, make_sample, processing, scorer_folder):
    sample = make_sample(files, kind=kind)
    skim = run_skim(sample, processing, EventOptions(), out)
    trained_on = tuple(scorer_folder) if kind == "data" else ()
    spectra = run_histograms(
        sample, processing, EventOptions(), scorer_folder, trained_on=trained_on, out_root=out
    )
    assert skim.cutflow == spectra.cutflow
    assert skim.account == spectra.account
    digests = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*skim.outputs, *spectra.outputs]
    }
    return digests, skim.cutflow


@pytest.mark.parametrize("kind", ["data", "simulation"])
def test_chunk_size_and_order_of_files(tmp_path, files, make_sample, scorer_folder, kind):
    mine = [path for (of, _), path in files.items() if of == kind]
    bundles = {"cwola_B3": scorer_folder}
    whole = both_passes(tmp_path / "whole", mine, kind, make_sample, ProcessingConfig(), bundles)
    for chunk_size in (1000, 7777):
        processing = ProcessingConfig(chunk_size=chunk_size)
        out = tmp_path / str(chunk_size)
        assert both_passes(out, mine, kind, make_sample, processing, bundles) == whole
    # The loop goes by path: new names are a new order.
    renamed = [shutil.copy(path, tmp_path / f"{9 - number}.root") for number, path in enumerate(mine)]
    processing = ProcessingConfig(chunk_size=7777)
    assert both_passes(tmp_path / "renamed", renamed, kind, make_sample, processing, bundles) == whole
    assert whole[1][-1]["events"] > 1500


def test_workers(tmp_path, files, make_sample):
    """Weighted simulation, in two processes."""
    mine = [path for (of, _), path in files.items() if of == "simulation"]
    one = both_passes(tmp_path / "one", mine, "simulation", make_sample, ProcessingConfig(), {})
    processing = ProcessingConfig(chunk_size=1000, executor="futures", workers=2)
    assert both_passes(tmp_path / "two", mine, "simulation", make_sample, processing, {}) == one


def test_weights_are_spread_and_signed(tmp_path, files, make_sample):
    """The tests above would prove nothing about weights that are all equal."""
    mine = [path for (of, _), path in files.items() if of == "simulation"]
    run_skim(make_sample(mine, kind="simulation"), ProcessingConfig(), EventOptions(), tmp_path)
    weight = read_features(tmp_path / "features" / "mock")["weight"]
    assert (weight < 0).mean() > 0.05
    assert len(np.unique(weight)) > 500


def test_labels_change_nothing(tmp_path, make_nano_file, make_sample, scorer_folder):
    bundles = {"cwola_B3": scorer_folder}
    for kind in ("data", "simulation"):
        results, tables = [], []
        for label in (True, False):
            name = f"{kind}_{label}"
            path = make_nano_file(
                tmp_path / f"{name}.root", 1500, 3, simulation=kind == "simulation", label=label
            )
            out = tmp_path / name
            results.append(both_passes(out, [path], kind, make_sample, ProcessingConfig(), bundles))
            tables.append(read_features(out / "features" / "mock"))
        with_label, without = tables
        assert ("label" in with_label) == (kind == "simulation")
        assert list(without) == [column for column in with_label if column != "label"]
        assert all(np.array_equal(with_label[column], without[column]) for column in without)
        if kind == "data":
            assert results[0] == results[1]
        else:
            assert results[0][0]["histograms/mock.h5"] == results[1][0]["histograms/mock.h5"]
