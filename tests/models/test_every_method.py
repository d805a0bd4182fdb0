"""What every method must do, whatever it is made of."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import models
from data.errors import InputError, TrainingError
from data.eventid import batch_number, fold_of
from data.partials import PartialStore
from models.arrays import below, prefixed
from models.bundle import read_bundle
from models.driver import train_together
from models.jobs import LOSSES
from models.quantile_regression import DECORRELATION
from models.tasks import collect_parts, train_parts

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
UNTRAINED = {"prong2", "prong3"}
"""Fixed cuts: nothing is learned."""
NAMES = sorted(set(models.available()) - {"combination", "union"})
"""Combinations of these have tests of their own."""
SCORE = """
import sys
import numpy as np
import models
for line in sys.stdin:
    source, bundle, result = line.split()
    with np.load(source) as file:
        table = dict(file)
    np.savez(result, *models.load(bundle).evaluate(table))
    print("done", flush=True)
"""


def rows_of(table, chosen):
    return {name: values[chosen] for name, values in table.items()}


def make(name, **options):
    return models.create(name, **(WINDOW | {"working_point": 0.05, "seed": 3, "preset": "quick"} | options))


def needed(name):
    """Tables that a method needs, of toys with the columns that it reads."""
    arrays = [column for column in make(name).inputs if column == "rmm" or column.startswith("constituents")]
    return tuple(arrays), [key for key, must in models.describe(name).takes.items() if must]


class Trained:
    """A method trained once for all tests of this module."""

    def __init__(self, name, make_table):
        arrays, keys = needed(name)
        self.name = name
        rows = 1500 if arrays else 4000
        self.table = make_table(rows, rows // 25, arrays=arrays)
        simulated = {
            "signal": rows_of(made := make_table(50, 600, 21, arrays=arrays), made["label"] == 1),
            "background": make_table(rows, 0, 22, arrays=arrays),
        }
        self.further = {key: simulated[key] for key in keys}
        self.other = make_table(300, 60, 23, arrays=arrays)
        self.method = make(name).fit(self.table, **self.further)


@pytest.fixture(scope="module", params=NAMES)
def trained(request, full_tables):
    return Trained(request.param, full_tables)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Scores a table with a bundle in another process, which lives in another folder."""
    root = str(Path(models.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCORE],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=os.environ | {"PYTHONPATH": root},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def score(*paths):
            process.stdin.write(" ".join(map(str, paths)) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        yield score


def test_scores_are_ranks_and_the_working_point_is_kept(trained):
    method = trained.method
    score, votes = method.evaluate(trained.table, trained_on=True)
    assert score.dtype == np.float64
    assert np.all((score >= 0) & (score <= 1))
    assert set(np.unique(votes)) <= {0, 5}
    if method.fixed_cut is None and method.calibrated_on == "side bands":
        region = method.window.of(trained.table["mjj"])
        low, high = (np.mean(votes[region == band] == 5) for band in (0, 2))
        assert 0.5 * (low + high) == pytest.approx(0.05, abs=0.02)
    score, votes = method.evaluate(trained.other, trained_on=False)
    assert np.all((score >= 0) & (score <= 1))
    assert set(np.unique(votes)) <= set(range(6))


def test_a_saved_bundle_scores_the_same_bits_elsewhere_and_in_any_chunking(trained, elsewhere, tmp_path):
    method = trained.method
    method.save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    columns = ("mjj", *method.inputs)
    both = {name: np.concatenate([trained.table[name][:700], trained.other[name]]) for name in columns}
    np.savez(tmp_path / "table.npz", **both)
    elsewhere(tmp_path / "table.npz", tmp_path / "moved", tmp_path / "scores.npz")
    score, votes = method.evaluate(both)
    with np.load(tmp_path / "scores.npz") as found:
        np.testing.assert_array_equal(found["arr_0"], score)
        np.testing.assert_array_equal(found["arr_1"], votes)
    for start, stop in ((0, 1), (1, 8), (650, 790)):
        part = method.evaluate(rows_of(both, slice(start, stop)))
        np.testing.assert_array_equal(part[0], score[start:stop])
        np.testing.assert_array_equal(part[1], votes[start:stop])
    empty = method.evaluate(rows_of(both, slice(0, 0)))
    assert empty[0].shape == empty[1].shape == (0,)
    again = tmp_path / "again"
    models.load(tmp_path / "moved").save(again)
    for file in again.iterdir():
        assert file.read_bytes() == (tmp_path / "moved" / file.name).read_bytes()


def bundle(method, folder):
    method.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def trained_fold(name, table, further, fold):
    """The arrays of one fold of a method, and the tables; a fifth of the time that all folds take."""
    method = make(name)
    tables = method.tables(table, further)
    return train_together([method.recorded_fold(tables.sample, tables.extras, fold)])[0], tables


def whole_fold(method, fold):
    """The arrays of a fold with its losses, as its training gives them: without those of the calibration."""
    state = method._trained
    losses = {name: each for name, each in state.losses[fold].items() if f"/{DECORRELATION}/" not in name}
    return {**state.folds[fold], **prefixed(LOSSES, losses)}


def test_a_fold_trained_alone_is_that_of_the_whole_method(trained, tmp_path):
    """One fold of each method, another one of each; the method made of folds is the method."""
    fold = NAMES.index(trained.name) % 5
    folds = [whole_fold(trained.method, number) for number in range(5)]
    alone, tables = trained_fold(trained.name, trained.table, trained.further, fold)
    assert alone.keys() == folds[fold].keys()
    for name, values in alone.items():
        np.testing.assert_array_equal(values, folds[fold][name])
    folds[fold] = alone
    assembled = make(trained.name).assemble(tables, folds)
    assert bundle(assembled, tmp_path / "parts") == bundle(trained.method, tmp_path / "whole")


@pytest.mark.slow
def test_all_folds_trained_one_by_one_are_those_of_the_whole_method(trained, tmp_path):
    method, store = make(trained.name), PartialStore(tmp_path)
    tables = method.tables(trained.table, trained.further)
    folds = collect_parts(
        method, tables, [path for fold in range(5) for path in train_parts(method, tables, [fold], store)]
    )
    for number, alone in enumerate(folds):
        whole = whole_fold(trained.method, number)
        assert alone.keys() == whole.keys()
        assert all(np.array_equal(alone[name], whole[name]) for name in alone)


def needs_jobs(trained):
    """Whether networks or trees are trained; what some methods learn is computed at once."""
    method = make(trained.name)
    tables = method.tables(trained.table, trained.further)
    return next(method.train_fold(tables.sample, tables.extras, 0), None) is not None


def test_losses_of_all_networks_are_kept(trained, tmp_path):
    trained.method.save(tmp_path)
    _, arrays = read_bundle(tmp_path)
    for fold in range(5):
        losses = below(arrays, f"fold{fold}/{LOSSES}")
        flat = getattr(trained.method.options, "decorrelate", "none") == "quantile"
        kept = [name for name in losses if name == f"quantile network/{DECORRELATION}/validation"]
        assert len(kept) == flat
        assert all(len(losses[name]) == 1 for name in kept)  # the network of the fold's own events
        assert len(losses) > 2 * flat or not needs_jobs(trained)
        assert bool(losses) == (flat or needs_jobs(trained))
        for name, values in losses.items():
            kind, part, which = name.split("/")
            assert kind == kind.lower()
            assert part
            other = {"training": "validation", "validation": "training"}[which]
            assert np.array_equal(np.isfinite(values), np.isfinite(losses[f"{kind}/{part}/{other}"]))
            assert not np.array_equal(values, losses[f"{kind}/{part}/{other}"])
            assert values.dtype == np.float32
            assert values.ndim == 2
            ends = np.isfinite(values).sum(axis=1)
            assert np.all(ends >= 1)
            # Once a member has ended there is nothing more of it.
            assert np.array_equal(np.isfinite(values), np.arange(values.shape[1]) < ends[:, None])


def test_labels_are_never_read_and_the_order_of_rows_changes_no_bit(trained):
    if trained.name in UNTRAINED:
        pytest.skip("learns nothing")
    order = np.random.default_rng(0).permutation(len(trained.table["mjj"]))
    shuffled = rows_of(trained.table, order)
    shuffled["label"] = np.full(len(order), np.nan)
    further = {
        key: rows_of(table, np.random.default_rng(1).permutation(len(table["mjj"])))
        for key, table in trained.further.items()
    }
    again, tables = trained_fold(trained.name, shuffled, further, fold := (NAMES.index(trained.name) + 2) % 5)
    folds = [whole_fold(trained.method, number) for number in range(5)]
    assert again.keys() == folds[fold].keys()
    for name, values in again.items():
        np.testing.assert_array_equal(values, folds[fold][name])
    again = make(trained.name).assemble(tables, folds)
    np.testing.assert_array_equal(again.score(trained.other), trained.method.score(trained.other))
    np.testing.assert_array_equal(
        again.score(shuffled, trained_on=True), trained.method.score(trained.table, trained_on=True)[order]
    )


def test_networks_of_a_fold_never_saw_its_events(trained):
    """Arrays of fold 1 are the same when the contents of fold 1 are others."""
    if trained.name in UNTRAINED:
        pytest.skip("learns nothing")

    def changed(table):
        fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
        own = np.flatnonzero(fold == 1)
        mixed = np.random.default_rng(5).permutation(own)
        return {
            name: values
            if name in {"mjj", "run", "luminosity_block", "event"}
            else _replaced(values, own, mixed)
            for name, values in table.items()
        }

    further = {key: changed(table) for key, table in trained.further.items()}
    theirs = trained_fold(trained.name, changed(trained.table), further, 1)[0]
    mine = whole_fold(trained.method, 1)
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not np.array_equal(mine[name], theirs[name], equal_nan=True)]
    # What ranks a part of the score is calibrated on the fold's own events, as the threshold is.
    assert all("/rank/" in name for name in different), different


def _replaced(values, own, mixed):
    values = values.copy()
    values[own] = values[mixed]
    return values


def test_wrong_tables_are_named(trained):
    table, further = trained.table, trained.further
    inputs = trained.method.inputs
    name = next((name for name in inputs if table[name].ndim == 1), inputs[0])
    fresh = make(trained.name)
    with pytest.raises(InputError, match=f"column '{name}' is missing"):
        fresh.fit({key: values for key, values in table.items() if key != name}, **further)
    bad = table[name].copy()
    bad[17] = np.nan
    with pytest.raises(InputError, match=f"column '{name}': 1 of .* NaN or infinite"):
        fresh.fit(table | {name: bad}, **further)
    if table[name].ndim == 1 and trained.name not in UNTRAINED:
        with pytest.raises(TrainingError, match=f"{name}: the same value in all"):
            fresh.fit(
                table | {name: np.zeros_like(bad)},
                **{key: other | {name: np.zeros_like(other[name])} for key, other in further.items()},
            )
    with pytest.raises(TrainingError, match="nonsense"):
        fresh.fit(table, **further, nonsense=table)
    for key in further:
        lacking = {other: values for other, values in further.items() if other != key}
        with pytest.raises(TrainingError, match=f"pass {key}=|{key}=…"):
            fresh.fit(table, **lacking)


def test_a_window_outside_the_data_and_too_few_events_are_named(trained):
    options = {"signal_region": (20_000, 25_000), "low_band": None, "high_band": None}
    with pytest.raises(TrainingError, match=r"holds none of the \d+ events"):
        make(trained.name, **options).fit(trained.table, **trained.further)
    if trained.name in UNTRAINED:
        return
    few = {key: rows_of(table, slice(0, 30)) for key, table in trained.further.items()}
    with pytest.raises(TrainingError, match=r"holds|hold"):
        make(trained.name).fit(rows_of(trained.table, slice(0, 30)), **few)


def test_every_method_describes_itself(trained):
    method = models.describe(trained.name)
    for word in ("assumes", "is blind to"):
        assert word in " ".join(method.__doc__.lower().split())
    assert "arXiv" in method.__doc__ or "References" in method.__doc__
    # Nothing else makes a score flat: the latent space does where background is the same at every mjj.
    flat = (
        method.options_type.parse({}, trained.name).decorrelate == "quantile" or trained.name == "lacathode"
    )
    assert method.flat is flat
    assert set(method.presets) == {"quick", "paper"}
    assert method.family in {"weak supervision", "unsupervised", "hybrid", "event level", "reference"}
    for preset in ("default", "quick", "paper"):
        models.create(trained.name, signal_region=(3000, 3600), preset=preset)


def test_commands_that_need_no_network_do_not_wait_for_its_libraries():
    code = "import sys, analysis.cli; sys.exit(bool({'torch', 'sklearn'} & set(sys.modules)))"
    root = str(Path(models.__file__).parent.parent)
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": root})


def test_all_the_names_of_the_interface_are_there():
    expected = (
        "cwola tnt cathode cathode_b lacathode cvae anode r_anode llp vae_qr autoencoder conv_autoencoder "
        "linear_autoencoder normalised_autoencoder quak quak_autoencoder rmm_autoencoder kde flow_density supervised "
        "idealised prong2 prong3 random_grid_search"
    )
    assert set(expected.split()) <= set(models.available())
