import logging
import os
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from processors import merging
from processors.columns import columns
from processors.config import FeaturesConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_skim
from processors.skim import read_features
from processors.tables import gather, sorted_rows


def test_table_is_what_the_design_says(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 600, simulation=True, label=True)
    run_skim(make_sample([path], kind="simulation"), ProcessingConfig(), EventOptions(), tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    assert {name: values.dtype for name, values in table.items()} == columns(FeaturesConfig(), label=True)
    assert all(np.isfinite(values).all() for values in table.values())
    assert (table["delta_m"] >= 0).all()
    assert (table["m_j1"] >= table["m_j2"]).all()
    for name in ("lsf3_j1", "lsf3_j2", "deepb_j1", "deepb_j2"):
        assert ((table[name] >= 0) & (table[name] <= 1)).all()
    assert (table["rho_j1"] == (table["m_j1"].astype(float) / table["pt_j1"]).astype(np.float32)).all()
    metadata = pq.read_metadata(tmp_path / "features" / "mock" / "part_00000.parquet")
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def test_sorted_by_event_id(tmp_path, make_nano_file, make_sample):
    files = [
        make_nano_file(tmp_path / f"{name}.root", 500, 1, first_event=first)
        for name, first in (("a", 900), ("b", 1))
    ]
    run_skim(make_sample(files), ProcessingConfig(chunk_size=100), EventOptions(), tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    ids = list(zip(*(table[name].tolist() for name in ("run", "luminosity_block", "event")), strict=True))
    assert ids == sorted(ids)
    assert len(ids) == len(set(ids)) > 100


def test_equal_ids_are_ordered_by_contents():
    base = {name: np.zeros(4, dtype=kind) for name, kind in columns(FeaturesConfig(), label=False).items()}
    base["mjj"] = np.array([3.0, 1.0, 2.0, 1.0])
    base["event"] = np.array([7, 7, 7, 5], dtype=np.uint64)
    rows = [{name: values[k : k + 1] for name, values in base.items()} for k in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        parts = [rows[k] for k in order]
        table = gather(parts, sorted_rows(parts))
        assert table["mjj"].tolist() == [1.0, 1.0, 2.0, 3.0]
        assert table["event"].tolist() == [5, 7, 7, 7]


def test_long_tables_are_split_and_old_files_go(tmp_path, make_nano_file, make_sample, monkeypatch):
    path = make_nano_file(tmp_path / "a.root", 800)
    sample = make_sample([path])
    whole = run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)
    before = read_features(tmp_path / "features" / "mock")
    monkeypatch.setattr(merging, "ROWS_PER_FILE", 50)
    split = run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)
    assert len(split.outputs) > len(whole.outputs) == 1
    after = read_features(tmp_path / "features" / "mock")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    monkeypatch.undo()
    run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)
    assert sorted((tmp_path / "features" / "mock").iterdir()) == whole.outputs
    assert [path.name for path in (tmp_path / "features").iterdir()] == ["mock"]  # no scratch is left


def check_named(message, twice):
    assert (
        f"sample 'mock': {len(twice)} selected events have the run:luminosityBlock:event of another"
        in message
    )
    named = [int(number) for number in re.findall(r"29705\d:\d+:(\d+)", message)]
    assert len(named) == 5
    assert set(named) < set(twice)


def test_duplicates_in_two_files(tmp_path, make_nano_file, make_sample, caplog):
    """The ids of 250 events stand in two files: an error in data, said in simulation, whose generators count anew."""
    for kind in ("data", "simulation"):
        files = [
            make_nano_file(
                tmp_path / f"{kind}_{n}.root", 500, n, simulation=kind == "simulation", first_event=first
            )
            for n, first in ((1, 1), (2, 251))
        ]
        sample = make_sample(files, kind=kind)
        processing = ProcessingConfig(chunk_size=200)
        selected = [
            set(
                read_features(
                    run_skim(
                        make_sample([file], kind=kind, name=file.stem), processing, EventOptions(), tmp_path
                    )
                    .outputs[0]
                    .parent
                )["event"].tolist()
            )
            for file in files
        ]
        twice = sorted(selected[0] & selected[1])
        assert 2 < len(twice) < 250
        if kind == "data":
            with pytest.raises(
                InputError, match="; primary datasets overlap or a file is there twice"
            ) as caught:
                run_skim(sample, processing, EventOptions(), tmp_path)
            check_named(str(caught.value), twice)
            assert not (tmp_path / "features" / "mock").exists()
            continue
        with caplog.at_level(logging.WARNING, logger="oddjet"):
            run_skim(sample, processing, EventOptions(), tmp_path)
        (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
        check_named(record.getMessage(), twice)
        table = read_features(tmp_path / "features" / "mock")
        assert len(table["event"]) == len(selected[0]) + len(selected[1])


def test_missing_and_damaged_tables(tmp_path):
    with pytest.raises(InputError, match="no feature table; run `oddjet skim`"):
        read_features(tmp_path)
    (tmp_path / "part_00000.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match=r"part_00000\.parquet: not a readable Parquet file"):
        read_features(tmp_path)


def test_real_pfnano_file(tmp_path, make_sample):
    if "ODDJET_DATA" not in os.environ:
        pytest.skip("ODDJET_DATA is not set: no CMS test files")
    path = Path(os.environ["ODDJET_DATA"]) / "cms" / "pfnano.root"
    sample = make_sample({path: 10}, kind="simulation")
    result = run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)
    steps = {step["step"]: step["events"] for step in result.cutflow}
    assert steps["all"] == steps["trigger"] == 10
    assert steps["noise_filters"] == steps["jet_pt"] == steps["mjj"] == 9  # one event fails a filter
    table = read_features(tmp_path / "features" / "mock")
    assert len(table["mjj"]) == steps["delta_eta"] >= 5
    assert table["mjj"].min() > 2500
    assert table["mjj"].max() < 3400
    # This file has no FatJet_nConstituents: the constituents themselves were counted.
    assert (table["n_pf_j1"] > 5).all()
    assert (table["n_pf_j1"] < 250).all()
