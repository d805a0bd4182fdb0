"""What is read of the feature tables of a run: the rows of a region, the columns of a method, no more memory."""

import dataclasses
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import models
from analysis.run import method_columns, searched_table, training_tables
from analysis.training_tables import beside, columns_read, searched
from analysis.windows import window_of
from data.errors import InputError
from processors import merging
from processors.columns import columns
from processors.config import FeaturesConfig, MatrixConfig
from processors.merging import merge_tables
from processors.skim import read_features

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}


def random_table(rows, features, seed=0, kinds=(0, 1, 2)):
    """A feature table of numbers that mean nothing."""
    random = np.random.default_rng(seed)
    table = {
        name: np.abs(random.normal(size=(rows, *kind.shape))).astype(kind.base) + kind.base.type(1)
        for name, kind in columns(features, label=True).items()
    }
    order = random.permutation(rows)
    return table | {
        "mjj": random.uniform(2500, 4400, rows),
        "region": random.choice(kinds, rows).astype(np.int8),
        "run": np.ones(rows, np.uint32),
        "luminosity_block": (order // 50).astype(np.uint32),
        "event": order.astype(np.uint64),
        "weight": np.ones(rows),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A feature table of three files, several row groups each."""
    monkeypatch.setattr(merging, "ROWS_PER_GROUP", 70)
    monkeypatch.setattr(merging, "ROWS_PER_FILE", 300)
    table = random_table(801, FeaturesConfig())
    empty = {name: values[:0] for name, values in table.items()}
    merge_tables([table], tmp_path / "features" / "mock", empty, "mock", unique=True)
    return tmp_path / "features" / "mock"


def same(table, other):
    assert list(table) == list(other)
    for name, values in table.items():
        assert values.dtype == other[name].dtype
        assert np.array_equal(values, other[name])


def test_rows_and_columns_are_those_of_the_whole_table(folder):
    whole = read_features(folder)
    assert len(whole["mjj"]) == 801
    same(read_features(folder, regions=["signal"]), searched(whole, "signal"))
    same(read_features(folder, regions=["validation", "wide"]), beside(whole, "signal"))
    same(read_features(folder, regions=[]), {name: values[:0] for name, values in whole.items()})
    names = ["tau21_j1", "mjj", "event", "none_of_these"]
    some = read_features(folder, names, ["wide"])
    same(some, {name: whole[name][whole["region"] == 2] for name in ("event", "mjj", "tau21_j1")})
    same(read_features(folder, ["region"]), {"region": whole["region"]})


def test_a_run_reads_the_region_that_it_searches(folder):
    root = folder.parent.parent
    window = window_of(3000.0)
    run = SimpleNamespace(
        root=root, data=SimpleNamespace(name="mock"), further_samples=lambda method: {"signal": ("mock", "mock")},
        config=SimpleNamespace(
            selection=SimpleNamespace(region="validation"), methods={"cwola": {"features": ["m_j1", "tau21_j2"]}},
            run=SimpleNamespace(seed=1), windows=lambda: [window],
        ),
    )  # fmt: skip
    whole = read_features(folder)
    names = method_columns(run, ["cwola"])
    assert names >= {"mjj", "weight", "run", "luminosity_block", "event", "m_j1", "tau21_j2"}
    assert not names & {"eta_j1", "region", "label"}
    table, further = training_tables(run, "cwola")
    expected = {name: values for name, values in searched(whole, "validation").items() if name in names}
    same(table, expected)
    same(searched_table(run, "mock", names), expected)
    assert list(further) == ["signal"]
    assert further["signal"]["prior"].tolist() == [0] * len(table["mjj"]) + [1] * len(table["mjj"])
    run.config.methods = {"autoencoder": {}}
    run.further_samples = lambda method: {}
    names = method_columns(run, ["autoencoder"])
    wide = training_tables(run, "autoencoder")[1]["wide"]
    same(wide, {name: values for name, values in beside(whole, "validation").items() if name in names})
    assert len(wide["mjj"]) == np.count_nonzero(whole["region"] == 2)


@pytest.mark.parametrize("name", models.available())
def test_other_columns_change_nothing_of_a_training(name):
    """The training sample, all its columns, folds and weights, is the same from the columns that are read."""
    method = models.create(name, **WINDOW, working_point=0.05)
    names = columns_read(method)
    features = FeaturesConfig(
        constituents="constituents_j1" in names,
        rapidity_mass_matrix=MatrixConfig() if "rmm" in names else None,
    )
    data = random_table(2500, features)
    further = {
        key: random_table(2500, features, 1) | {"prior": np.arange(2500) % 2} for key in type(method).takes
    }

    def read(table):
        return {column: values for column, values in table.items() if column in names}

    whole = method.tables(data, further)
    projected = method.tables(read(data), {key: read(table) for key, table in further.items()})
    assert projected.table_hash == whole.table_hash
    assert projected.further_hashes == whole.further_hashes
    for field in dataclasses.fields(whole.sample):
        mine, all_columns = getattr(projected.sample, field.name), getattr(whole.sample, field.name)
        assert str(mine) == str(all_columns)


def test_memory_is_that_of_what_is_returned(tmp_path, monkeypatch):
    """Rows of one region and few columns; beside them one row group of these columns."""
    monkeypatch.setattr(merging, "ROWS_PER_GROUP", 2000)
    features = FeaturesConfig()
    table = random_table(60_000, features, kinds=(0, 1, 1, 1))
    empty = {name: values[:0] for name, values in table.items()}
    merge_tables([table], tmp_path / "mock", empty, "mock", unique=True)
    all_bytes = sum(values.nbytes for values in table.values())
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        found = read_features(tmp_path / "mock", ["mjj", "m_j1", "tau21_j1"], ["signal"])
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
    returned = sum(values.nbytes for values in found.values())
    assert most < 1.3 * returned + 2000 * 40
    assert pool.max_memory() < 2000 * 200
    assert most + pool.max_memory() < all_bytes / 8


def test_damage_inside_a_file_is_named(folder):
    path = folder / "part_00001.parquet"
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(2).column(4).data_page_offset + 20
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"part_00001\.parquet: not a readable Parquet file .*; run `oddjet skim` again"
    ):
        read_features(folder)
