"""Folds trained one by one, kept as files, collected, checked and made into a method."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import models
from data.errors import IncompleteError, InputError, PartialError, TrainingError
from data.partials import SUFFIX, PartialStore, dump, read_partial
from models import tasks
from models.tasks import collect_kept, collect_parts, part_header, train_parts

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
NAMES = ("mjj", "m_j1", "m_j2", "tau21_j1", "tau21_j2")


def make(name="linear_autoencoder", **options):
    settings = WINDOW | {"working_point": 0.05, "seed": 3, "features": NAMES[1:]} | options
    return models.create(name, **settings)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def bundle(method, folder):
    method.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def small(tables):
    table = tables(2000, 50, seed=1)
    return {name: table[name] for name in (*NAMES, "run", "luminosity_block", "event")}


@pytest.fixture(scope="module")
def ready(small):
    return make().tables(small, {})


@pytest.fixture(scope="module")
def trained_parts(ready, tmp_path_factory):
    """Files of all folds, and where they are."""
    store = PartialStore(tmp_path_factory.mktemp("parts"))
    return store, train_parts(make(), ready, range(5), store)


def test_parts_make_the_method_that_was_never_taken_apart(small, ready, trained_parts, tmp_path):
    store, files = trained_parts
    assert sorted(store.folder.rglob(f"*{SUFFIX}")) == sorted(files)
    folds = collect_parts(make(), ready, reversed(files))
    assert bundle(make().assemble(ready, folds), tmp_path / "parts") == bundle(
        make().fit(small), tmp_path / "whole"
    )


def test_folds_trained_together_or_alone_are_the_same_files(ready, trained_parts, tmp_path):
    _, files = trained_parts
    alone, pair = PartialStore(tmp_path / "alone"), PartialStore(tmp_path / "pair")
    (first,) = train_parts(make(), ready, [3], alone)
    fourth, third = train_parts(make(), ready, [4, 3], pair)
    assert first.name == third.name == files[3].name
    assert first.read_bytes() == third.read_bytes() == files[3].read_bytes()
    assert fourth.read_bytes() == files[4].read_bytes()


def test_what_is_kept_is_not_trained_again_and_what_is_damaged_is(ready, tmp_path, monkeypatch, caplog):
    store = PartialStore(tmp_path)
    files = train_parts(make(), ready, range(5), store)
    content = [file.read_bytes() for file in files]
    asked = []
    train_fold = type(make()).train_fold

    def counted(self, sample, extras, fold):
        asked.append(fold)
        return train_fold(self, sample, extras, fold)

    monkeypatch.setattr(type(make()), "train_fold", counted)
    files[1].write_bytes(content[1][:-9])
    files[4].unlink()
    assert train_parts(make(), ready, range(5), store) == files
    assert asked == [1, 4]
    assert str(files[1]) in caplog.text
    assert [file.read_bytes() for file in files] == content


def test_rows_in_another_order_are_the_same_table(small, ready):
    order = np.random.default_rng(0).permutation(len(small["mjj"]))
    shuffled = make().tables({name: values[order] for name, values in small.items()}, {})
    assert part_header(make(), shuffled, 2) == part_header(make(), ready, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 4}, "another seed .seed is 3, expected 4."),
        ({"working_point": 0.1}, "another working point .working_point is 0.05, expected 0.1."),
        ({"latent": 1}, r"other options .options\.latent is 0, expected 1."),
        ({"decorrelate": "none"}, r"other options .options\.decorrelate is quantile, expected none."),
        ({"high_band": (3600.0, 4500.0)}, r"another window .high_band is \[3600.0, 4400.0\]"),
    ],
)
def test_parts_of_another_training_are_refused(ready, trained_parts, options, message):
    _, files = trained_parts
    with pytest.raises(InputError, match=rf"{files[0].name}: this part .* fold 0, .*{message}"):
        collect_parts(make(**options), ready, files)


def test_parts_of_another_method_are_refused(small, trained_parts):
    _, files = trained_parts
    other = make("autoencoder")
    with pytest.raises(
        InputError, match=r"another method .method is linear_autoencoder, expected autoencoder"
    ):
        collect_parts(other, other.tables(small, {}), files)


def test_parts_of_another_table_or_code_or_libraries_are_refused(small, trained_parts, monkeypatch):
    _, files = trained_parts
    one_less = make().tables({name: values[1:] for name, values in small.items()}, {})
    with pytest.raises(InputError, match=rf"{files[0].name}: .*trained on another table"):
        collect_parts(make(), one_less, files)
    same = make().tables(small, {})
    monkeypatch.setattr(tasks, "code_version", lambda: "2.0+changed")
    with pytest.raises(InputError, match=r"by other code .code_version is .*, expected 2.0\+changed"):
        collect_parts(make(), same, files)
    monkeypatch.undo()
    monkeypatch.setattr(tasks, "versions", lambda: models.versions() | {"torch": "1.0"})
    with pytest.raises(InputError, match=r"other libraries .versions\.torch is .*, expected 1.0"):
        collect_parts(make(), same, files)


def test_folds_that_are_missing_or_there_twice_are_named(ready, trained_parts, tmp_path):
    _, files = trained_parts
    with pytest.raises(
        IncompleteError, match=r"'linear_autoencoder' in 2500-.*2 of 5 folds are missing .1, 4."
    ):
        collect_parts(make(), ready, [files[fold] for fold in (0, 2, 3)])
    again = tmp_path / "again.partial"
    again.write_bytes(files[2].read_bytes())
    with pytest.raises(InputError, match=rf"again.partial: fold 2 .* is in .*{files[2].name} already"):
        collect_parts(make(), ready, [*files, again])


def test_a_store_may_hold_parts_of_other_trainings(ready, trained_parts, tmp_path):
    """Of an earlier seed, which nobody collected."""
    _, files = trained_parts
    store = PartialStore(tmp_path)
    train_parts(make(seed=4), ready, [0, 3], store)
    for file in files[:3]:
        store.put(file.stem, file.read_bytes())
    wanted = r"2 of 5 folds are missing .3, 4.(.|\n)*fold [03] is not counted: .*another seed .seed is 4, expected 3."
    with pytest.raises(IncompleteError, match=wanted):
        collect_kept(make(), ready, store)
    train_parts(make(), ready, [3, 4], store)
    assert len(store.files()) == 7
    for kept, whole in zip(
        collect_kept(make(), ready, store), collect_parts(make(), ready, files), strict=True
    ):
        assert_same(kept, whole)


def test_a_damaged_part_of_another_training_does_not_hide_what_is_missing(ready, trained_parts, tmp_path):
    _, files = trained_parts
    store = PartialStore(tmp_path)
    for file in files[:3]:
        store.put(file.stem, file.read_bytes())
    (other,) = train_parts(make(seed=4), ready, [0], store)
    other.write_bytes(other.read_bytes()[:-5])
    with pytest.raises(
        IncompleteError, match=r"2 of 5 folds are missing .3, 4.(.|\n)*damaged partial result"
    ):
        collect_kept(make(), ready, store)
    other.write_bytes(dump({"lund": []}))
    with pytest.raises(IncompleteError, match=r"2 of 5 folds are missing .3, 4.(.|\n)*is no trained fold"):
        collect_kept(make(), ready, store)


@pytest.mark.parametrize("place", [3, 120, 2000, -1])
def test_a_changed_byte_is_noticed(ready, trained_parts, tmp_path, place):
    content = bytearray(trained_parts[1][0].read_bytes())
    content[place] ^= 1
    broken = tmp_path / "broken.partial"
    broken.write_bytes(content)
    with pytest.raises(PartialError, match=r"broken.partial: damaged"):
        collect_parts(make(), ready, [broken])


def test_whole_files_of_something_else_are_named(ready, trained_parts, tmp_path):
    other = tmp_path / "other.partial"
    other.write_bytes(dump({"events": 5}))
    with pytest.raises(InputError, match=r"other.partial: .*no trained fold"):
        collect_parts(make(), ready, [other])
    tree = read_partial(trained_parts[1][0])
    other.write_bytes(dump(tree | {"arrays": {**tree["arrays"], "network/mean": np.zeros(3)}}))
    with pytest.raises(InputError, match=r"other.partial: array 'mean' is float64 .*train the fold again"):
        collect_parts(make(), ready, [other])


@pytest.mark.parametrize("fold", [-1, 5])
def test_there_are_five_folds(ready, fold, tmp_path):
    with pytest.raises(
        TrainingError, match=rf"'linear_autoencoder': there is no fold {fold}; choose from 0 … 4"
    ):
        train_parts(make(), ready, [0, fold], PartialStore(tmp_path))
    assert not list(tmp_path.iterdir())


def test_assembling_wants_five_folds_of_this_method(ready, trained_parts):
    method = make()
    folds = collect_parts(method, ready, trained_parts[1])
    with pytest.raises(InputError, match="'linear_autoencoder' is made of 5 folds, found 4"):
        method.assemble(ready, folds[:4])
    with pytest.raises(
        InputError, match=r"'linear_autoencoder', fold 2: array .* is missing; train the fold"
    ):
        method.assemble(ready, [*folds[:2], {}, *folds[3:]])
    with pytest.raises(InputError, match=r"'linear_autoencoder', fold 0: array 'directions' is .* expected"):
        make(latent=1).assemble(ready, folds)


def _train(method, small, folder, fold):
    return train_parts(method, method.tables(small, {}), [fold], PartialStore(folder))


@pytest.mark.slow
def test_parts_trained_by_other_processes_are_the_same_files(small, tmp_path):
    """Also of methods whose networks and trees train in several rounds."""
    for method in (make("cathode", preset="quick"), make("normalised_autoencoder", preset="quick")):
        folders = [tmp_path / method.name / place for place in ("pool", "here")]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(_train, method, small, folders[0], fold) for fold in range(5)]
            there = [path for future in futures for path in future.result()]
        ready = method.tables(small, {})
        here = train_parts(method, ready, range(5), PartialStore(folders[1]))
        assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here]
        assert len(collect_parts(method, ready, there)) == 5


def test_untrained_methods_and_tables_can_be_sent_to_other_processes(ready, trained_parts, tmp_path):
    """As the pools of processes and dask do it."""
    method, tables = pickle.loads(pickle.dumps((make(), ready)))  # noqa: S301 - our own bytes
    (file,) = train_parts(method, tables, [1], PartialStore(tmp_path))
    assert file.read_bytes() == trained_parts[1][1].read_bytes()
