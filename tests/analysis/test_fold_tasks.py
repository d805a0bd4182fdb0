"""Training on workers: the bundles are those of a training at home."""

import logging
import re

import numpy as np
import pytest
import yaml

from analysis import fold_tasks
from analysis.config import load_config
from analysis.pipeline import skim, train
from analysis.run import Run, training_tables, untrained
from data.errors import IncompleteError, TrainingError
from models.fold_training import FoldTraining
from models.tasks import part_header
from processors.executors import InlinePool, close_clients
from processors.tasks import Outcome

METHODS = {
    "linear_autoencoder": {"features": ["m_j1", "m_j2", "tau21_j1", "tau21_j2"], "decorrelate": "none"},
    "cwola": {"features": ["m_j1", "tau21_j1"], "scope": "event", "pt_bins": 0, "trees": {"bags": 1, "iterations": 4}},
}  # fmt: skip
CONFIG = {
    "run": {"seed": 3},
    "samples": "samples.yaml",
    "search": {"data": "mock"},
    "methods": METHODS,
    "scan": {"masses": [3000], "fit_start": 1960},
}  # fmt: skip


def _spectrum(columns):
    """Two central jets back to back, of all masses."""
    rng, n = np.random.default_rng(7), len(columns["event"])
    import awkward as ak

    mjj = 1900 + rng.exponential(450, n)
    jets = columns["FatJet"]
    flat = {name: rng.uniform(0.1, 0.5, 2 * n) for name in ("tau1", "tau2", "tau3", "tau4")}
    flat |= {"msoftdrop": rng.exponential(60, 2 * n), "mass": rng.exponential(60, 2 * n) + 90}
    flat |= {"lsf3": 0.01 * rng.random(2 * n), "jetId": np.full(2 * n, 6)}
    flat |= {"nConstituents": rng.integers(20, 120, 2 * n), "pt": np.repeat(mjj / 2, 2)}
    flat |= {"subJetIdx1": np.tile([0, 2], n), "subJetIdx2": np.tile([1, 3], n)}
    flat |= {"eta": np.tile([0.05, -0.05], n), "phi": np.tile([0.0, np.pi], n)}
    columns["FatJet"] = ak.zip({name: ak.unflatten(flat[name], np.full(n, 2)) for name in jets.fields})
    score = next(iter(columns["SubJet"].fields))
    columns["SubJet"] = ak.zip({score: ak.unflatten(rng.random(4 * n), np.full(n, 4))})


@pytest.fixture(scope="module")
def skimmed(tmp_path_factory, make_nano_file):
    """Gives a run with features in a folder of its own."""
    folder = tmp_path_factory.mktemp("skimmed")
    make_nano_file(folder / "data.root", 5000, seed=1, label=True, change=_spectrum)
    mock = {
        "kind": "data",
        "process": "data",
        "year": "2017",
        "luminosity_ifb": 2.0,
        "files": {"data.root": 5000},
    }
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": mock}}))
    (folder / "search.yaml").write_text(yaml.safe_dump(CONFIG))

    def made(name, *settings):
        run = Run(*load_config(folder / "search.yaml", (f"run.output={folder / name}", *settings)))
        skim(run)
        return run

    return made


def bundles(run):
    files = sorted((run.root / "models").rglob("*.*"))
    return {str(file.relative_to(run.root)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def expected(skimmed):
    run = skimmed("home")
    train(run)
    return bundles(run)


def train_away(run):
    for method in run.config.methods:
        fold_tasks.train_in_pool(run, method, run.config.windows())


def test_methods_trained_on_workers_are_those_trained_at_home(skimmed, expected):
    run = skimmed("away")
    train_away(run)
    assert not (run.root / "models").exists()
    train(run, only_merge=True)
    assert bundles(run) == expected
    assert not (run.root / "partials").exists()


def test_a_second_try_trains_only_what_is_lacking(skimmed, expected, monkeypatch):
    run = skimmed("twice")
    trained, done = fold_tasks.train_fold, []

    def failing(model, tables, wanted):
        fold = wanted.fold
        done.append((model.name, fold))
        if fold == 3 and done.count(("linear_autoencoder", 3)) == 1 and model.name != "cwola":
            return Outcome(error=TrainingError("as planned"))
        return trained(model, tables, wanted)

    monkeypatch.setattr(fold_tasks, "train_fold", failing)
    with pytest.raises(TrainingError, match="as planned"):
        train_away(run)
    before = len(list((run.root / "partials").rglob("*.partial")))
    train_away(run)
    assert done.count(("linear_autoencoder", 3)) == 2
    assert len(done) == 11
    assert before < len(list((run.root / "partials").rglob("*.partial"))) == 10
    train(run, only_merge=True)
    assert bundles(run) == expected


def test_an_error_of_a_training_names_its_task(skimmed, monkeypatch):
    def refuse(*_, **__):
        msg = "too few events"
        raise TrainingError(msg)

    monkeypatch.setattr(fold_tasks, "train_together", refuse)
    wanted = r"training of method 'cwola' in .*, fold 0: too few events"
    with pytest.raises(TrainingError, match=wanted):
        train_away(skimmed("failing"))


def test_folds_that_nobody_trained_are_named(skimmed):
    run = skimmed("lacking")
    train_away(run)
    for file in list((run.root / "partials").rglob("*.partial"))[:1]:
        file.unlink()
    with pytest.raises(IncompleteError, match=r"1 of 5 folds are missing \(\d\)"):
        train(run, only_merge=True)


def test_parts_of_an_earlier_training_are_left_alone(skimmed, expected):
    """Trained with another seed first, and not collected: what is kept of it does not refuse the present one."""
    earlier = skimmed("earlier", "run.seed=4")
    train_away(earlier)
    run = skimmed("earlier")
    train_away(run)
    assert len(list((run.root / "partials").rglob("*.partial"))) == 20
    train(run, only_merge=True)
    assert bundles(run) == expected
    assert not (run.root / "partials").exists()


def test_a_method_shares_its_tables_once_whatever_its_windows(skimmed, monkeypatch):
    windows = ("scan.masses=[2700, 3000]", f"methods={{linear_autoencoder: {METHODS['linear_autoencoder']}}}")
    home, run = skimmed("both at home", *windows), skimmed("both away", *windows)
    train(home)
    shared, made = [], []
    share, tables = InlinePool.share, FoldTraining.tables
    monkeypatch.setattr(InlinePool, "share", lambda pool, value: shared.append(value) or share(pool, value))
    monkeypatch.setattr(FoldTraining, "tables", lambda *given: made.append(given[0]) or tables(*given))
    train_away(run)
    assert len(run.config.windows()) == 2
    assert len(made) == 1
    assert len({id(value) for value in shared}) == 1
    train(run, only_merge=True)
    assert bundles(run) == bundles(home)


def test_tables_too_small_for_one_of_the_windows_are_refused(skimmed):
    run = skimmed("small", "scan.masses=[2700, 5000]", f"methods={{cwola: {METHODS['cwola']}}}")
    with pytest.raises(TrainingError, match=r"window [\d.-]+ GeV.* holds? ") as home:
        train(run)
    with pytest.raises(TrainingError, match=f"^{re.escape(str(home.value))}$"):
        train_away(run)


def test_a_worker_with_other_libraries_trains_nothing(skimmed):
    run = skimmed("libraries")
    table, further = training_tables(run, "cwola")
    model = untrained(run, "cwola", run.config.windows()[0], run.config.run.seed)
    tables = model.tables(table, further)
    header = part_header(model, tables, 1)
    other = header.model_copy(update={"versions": header.versions | {"numpy": "1.0"}})
    outcome = fold_tasks.train_fold(model, tables, other)
    assert isinstance(outcome.error, IncompleteError)
    assert re.search(
        r"with other libraries \(versions.numpy is .*, expected 1.0\); install", str(outcome.error)
    )
    code = header.model_copy(update={"code_version": "2.0+x"})
    outcome = fold_tasks.train_fold(model, tables, code)
    assert isinstance(outcome.error, IncompleteError)
    assert "this run 2.0+x" in str(outcome.error)


@pytest.mark.slow
def test_workers_of_dask_train_the_same_bits(skimmed, expected, caplog):
    caplog.set_level(logging.WARNING)
    dask = "processing.dask={cluster: local, wait: 200}"
    run = skimmed("dask", "processing.executor=dask", "processing.workers=2", dask)
    try:
        train(run)
    finally:
        close_clients()
    assert bundles(run) == expected
