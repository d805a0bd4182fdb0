"""``oddjet models`` as its users meet it."""

import json
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
import yaml

import models
from analysis import cli
from analysis.comparison import Settings, compare, labelled
from analysis.config import load_config
from analysis.method_facts import FAMILIES, all_facts, options_of, plain, story
from analysis.models_cli import method_options, read_table
from analysis.run import Run
from data.errors import ConfigError, InputError
from data.manifest import Manifest
from data.sections import Section

TREES = {"bags": 1, "iterations": 20, "patience": 5}
SMALL = ("--set", f"cwola.trees={TREES}", "--set", "cwola.pt_bins=0")
POOL = pa.proxy_memory_pool(pa.default_memory_pool())
"""Counts what is taken; it must outlive all that lies in it."""
FEATURES = ("m_j1", "m_j2", "tau21_j1", "tau21_j2")


@pytest.fixture
def oddjet(monkeypatch, capsys):
    """Runs ``oddjet models ARGUMENTS``; gives exit code and text in one line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["oddjet", "models", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code or 0, " ".join((captured.out + captured.err).split())

    return run


def events(background, signal, seed):
    """Falling masses of background, a peak of signal at 3.5 TeV with heavier jets of two prongs."""
    rng = np.random.default_rng(seed)
    rows = background + signal
    label = (np.arange(rows) >= background).astype(np.int32)
    mjj = np.r_[2700 + rng.exponential(800, background), rng.normal(3500, 80, signal)]
    table = {"mjj": mjj, "label": label}
    for jet in ("j1", "j2"):
        table[f"m_{jet}"] = np.where(label, rng.normal(250, 60, rows), rng.exponential(120, rows) + 20)
        table[f"tau21_{jet}"] = np.where(label, rng.normal(0.4, 0.1, rows), rng.normal(0.55, 0.15, rows))
        table[f"pt_{jet}"] = mjj / 2
    return table


def write(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data.parquet", events(6000, 250, 1))


@pytest.fixture
def judged_file(tmp_path):
    return write(tmp_path / "test.parquet", events(8000, 1500, 2))


def command(*arguments):
    window = ("--signal-region", "3300,3700", "--features", ",".join(FEATURES), "--trainings", "2")
    return ("compare", "--method", "cwola", *arguments, *window, *SMALL)


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_the_list_holds_every_method(oddjet, arguments):
    code, text = oddjet(*arguments)
    assert code == 0
    assert all(f"{name} " in text for name in models.available())
    assert "supervised reference 4 features, signal table, background table no" in text


def test_every_method_says_what_it_is():
    for one in all_facts():
        assert one.family in FAMILIES
        assert one.needs
        text = " ".join(story(models.describe(one.name)).split())
        assert "Parameters" not in text
        for word in ("*Assumes*", "*Is blind to*", "References"):
            assert word in text, (one.name, word)


@pytest.mark.parametrize("name", models.available())
def test_every_method_is_described(oddjet, name):
    code, text = oddjet("describe", name)
    assert code == 0
    assert all(
        word in text for word in ("Is blind to", "preset quick", "preset paper", "option default", "reads")
    )
    for key in models.describe(name).options_type.model_fields:
        assert re.search(rf"\b{key}\b", text), key


class Inner(Section):
    """A section inside."""

    depth: int = 3
    """How deep
    it goes."""


class Outer(Inner):
    """A section that another one is in, with a default of its own."""

    inner: Inner = Inner(depth=5)
    rate: float = pydantic.Field(default=1e-3, gt=0)
    names: tuple[str, ...] = ("a", "b")
    """Of ``things``."""


def test_options_come_from_the_sections():
    found = [(option.key, option.default, option.text) for option in options_of(Outer)]
    assert found == [
        ("depth", "3", "How deep it goes."),
        ("rate", "0.001", ""),
        ("names", "[a, b]", "Of things."),
        ("inner.depth", "5", "How deep it goes."),
    ]
    assert [plain(value) for value in (None, True, 0.5)] == ["null", "true", "0.5"]


def test_a_comparison_writes_numbers_and_plots(oddjet, data, judged_file, tmp_path):
    out = tmp_path / "out"
    code, text = oddjet(*command(data, "--test", judged_file, "--out", out, "--method", "prong2"))
    assert code == 0, text
    assert "cwola: max SIC" in text
    names = ("sic", "roc", "selected_fraction", "complementarity_background", "complementarity_signal")
    assert {path.name for path in out.iterdir()} == {
        "comparison.json", *(f"{name}.{kind}" for name in names for kind in ("pdf", "png"))
    }  # fmt: skip
    found = json.loads((out / "comparison.json").read_text())
    cwola, prong2 = found["methods"]["cwola"], found["methods"]["prong2"]
    assert cwola["max_sic"]["median"] > 2
    assert cwola["cpu_seconds"]["median"] > 0
    assert len(cwola["max_sic"]["values"]) == 2
    # A fixed cut is the same in each training.
    assert prong2["auc"]["low"] == prong2["auc"]["high"] > 0.8
    assert found["complementarity"]["signal"]["methods"] == ["cwola", "prong2"]


def test_labels_of_the_training_table_change_nothing():
    test = labelled(events(4000, 700, 2), trained_on=None)
    options = {"features": FEATURES, "trees": TREES, "pt_bins": 0}
    settings = Settings((3300, 3700), {"cwola": options}, trainings=1)
    table = events(6000, 250, 1)
    turned = table | {"label": 1 - table["label"]}
    first, second = (compare(settings, one, {}, test).methods["cwola"] for one in (table, turned))
    assert first.auc == second.auc
    assert first.max_sic == second.max_sic
    assert first.max_sic.median > 2


def test_without_a_test_table_events_are_judged_by_their_own_fold():
    table = events(6000, 250, 1)
    options = {"features": FEATURES, "trees": TREES, "pt_bins": 0}
    settings = Settings((3300, 3700), {"cwola": options}, trainings=1)
    found = compare(settings, table, {}, labelled(table, trained_on=True)).methods["cwola"].auc.median
    method = models.create("cwola", signal_region=(3300, 3700), seed=0, **options)
    method.fit({name: column for name, column in table.items() if name != "label"})
    inside = (table["mjj"] >= 3300) & (table["mjj"] < 3700)
    score = method.score(table, trained_on=True)[inside]
    signal = table["label"][inside] == 1
    # The area under the curve is the Mann–Whitney statistic.
    above = (score[signal][:, None] > score[~signal]).mean()
    ties = (score[signal][:, None] == score[~signal]).mean()
    assert found == pytest.approx(above + ties / 2, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--method", "cathod"), r"unknown method 'cathod'; did you mean 'cathode"),
        (("--signal-region", "3300"), "--signal-region: write two masses in GeV, e.g. 3300,3700; found '3300'"),
        (("--method", "idealised"), "'idealised' is trained on a table 'background', .*; give --background FILE"),
        (("--background", "gone.parquet"), r"gone\.parquet: not a readable Parquet file"),
        (("--test", "gone.parquet"), r"gone\.parquet: not a readable Parquet file"),
        (("--preset", "quik"), "oddjet models compare: unknown preset 'quik'"),
        (("--set", "tnt.classifier=mlp"), "--set tnt.classifier=mlp: write METHOD.option=value with one of .* cwola"),
        (("--set", "cwola.clasifier=mlp"), "unknown key 'clasifier'; did you mean 'classifier'"),
        (("--signal-region", "9300,9700"), "9300"),
    ],
)  # fmt: skip
def test_wrong_use_ends_in_one_message(oddjet, data, tmp_path, change, message):
    code, text = oddjet(*command(data, "--out", tmp_path / "out"), *change)
    assert code == 1
    assert re.search(f"error: .*{message}", text), text
    assert not (tmp_path / "out").exists()


def test_no_method_or_no_label_is_named(oddjet, data, tmp_path):
    code, text = oddjet("compare", data, "--signal-region", "3300,3700", "--out", tmp_path / "out")
    assert (code, "--method: name at least one of" in text) == (1, True)
    write(data, {key: column for key, column in events(600, 25, 1).items() if key != "label"})
    code, text = oddjet(*command(data, "--out", tmp_path / "out"))
    assert (code, "the table of test events has no column 'label'" in text) == (1, True)
    assert oddjet("describe", "cwolla")[1].endswith("unknown method 'cwolla'; did you mean 'cwola'?")


def test_features_are_for_methods_whose_inputs_are_free():
    found = method_options(["cwola", "prong2"], "m_j1, m_j2", "quick", ["prong2.mass_above=60"])
    assert found == {
        "cwola": {"features": ["m_j1", "m_j2"], "preset": "quick"},
        "prong2": {"preset": "quick", "mass_above": 60},
    }
    with pytest.raises(ConfigError, match="unknown method 'x'"):
        method_options(["x"], None, None, [])


@pytest.fixture
def run(tmp_path):
    """A run folder with two trained methods in window A4 and what scoring needs."""
    samples = {
        "mock": {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": 1}},
        "sig": {
            "kind": "simulation", "process": "xyy", "year": "2017", "files": {"b.root": 1},
            "cross_section_pb": 1.0, "mass": 3500,
        },
    }  # fmt: skip
    for name in "ab":
        (tmp_path / f"{name}.root").write_bytes(b"")
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}))
    config = {
        "run": {"output": str(tmp_path / "run")},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["sig"]},
        "methods": {"cwola": {"features": list(FEATURES), "trees": TREES, "pt_bins": 0}, "prong2": {}},
        "scan": {"masses": [3500]},
    }
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(config))
    run = Run(*load_config(path))
    for name, counts in {"mock": (8000, 100, 1), "sig": (0, 500, 2)}.items():
        table = events(*counts)
        rows = len(table["mjj"])
        table |= {"weight": np.ones(rows), "region": np.zeros(rows, dtype=np.int8)}
        table |= {"run": np.ones(rows, dtype=np.uint32), "luminosity_block": np.ones(rows, dtype=np.uint32)}
        table["event"] = np.arange(rows, dtype=np.uint64) + counts[2] * 100_000
        del table["label"]
        write(tmp_path / "run" / "features" / name / "part_00000.parquet", table)
        if name == "mock":
            data = table
    for method, window in run.tasks():
        trained = models.create(
            method, signal_region=window.signal_region, low_band=window.low_band,
            high_band=window.high_band, working_point=0.05, **config["methods"][method],
        ).fit(data)  # fmt: skip
        trained.save(run.root / "models" / method / window.name)
        stage = f"train {method} {window.name}"
        done = {
            "stage": stage,
            "config_hash": "",
            "code_version": "",
            "entries_expected": 0,
            "entries_read": 0,
        }
        Manifest(**done, inputs={}, outputs={}).write(run.manifest(stage))
    return path, run


def test_the_methods_of_a_run_are_compared_without_labels(oddjet, run, tmp_path):
    path, made = run
    code, text = oddjet("compare", path, "--out", tmp_path / "out")
    assert code == 0, text
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())["A4"]
    assert set(found["complementarity"]) == {"mock", "sig"}
    assert found["complementarity"]["mock"]["methods"] == ["cwola", "prong2"]
    matrix = np.array(found["complementarity"]["mock"]["rank_correlation"])
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    assert -1 < matrix[0, 1] == matrix[1, 0] < 1
    low, high = found["signal_region"]
    test = found["sculpting"]["prong2"]
    assert 0 <= test["p_value"] <= 1
    assert test["edges"][0] < low < high < test["edges"][-1]
    assert (tmp_path / "out" / "complementarity_A4_mock.png").is_file()
    assert (tmp_path / "out" / "selected_fraction_A4.pdf").is_file()

    code, text = oddjet("compare", path, "--out", tmp_path / "out", "--method", "cwola")
    assert (code, "--method is for tables" in text) == (1, True)
    code, text = oddjet("compare", path, "--out", tmp_path / "out", "--set", "methods={prong2: {}}")
    assert (code, "methods of this run: prong2; a comparison needs two" in text) == (1, True)
    made.manifest("train prong2 A4").unlink()
    code, text = oddjet("compare", path, "--out", tmp_path / "out")
    assert (code, "stage 'train prong2 A4' is not done; run `oddjet train`" in text) == (1, True)


def test_columns_and_rows_that_nobody_needs_are_not_read(tmp_path):
    """Memory is that of what is returned and a few row groups of it; a damaged column beside it does not matter."""
    rows, wide = 200_000, 40
    table = events(rows, 0, 3) | {"region": (np.arange(rows) % 4 != 0) * np.int8(2)}
    values = np.random.default_rng(0).normal(size=rows * wide).astype(np.float32)
    path = tmp_path / "run" / "part_00000.parquet"
    path.parent.mkdir()
    whole = pa.table(table).append_column("constituents_j1", pa.FixedSizeListArray.from_arrays(values, wide))
    pq.write_table(whole, path, row_group_size=2000)
    content = bytearray(path.read_bytes())
    for group in range(100):
        column = pq.read_metadata(path).row_group(group).column(whole.num_columns - 1)
        place = column.dictionary_page_offset or column.data_page_offset
        content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    try:
        read = read_table(path.parent, {"mjj", "m_j1", "label", "none_of_these"}, ["signal"])
        found = {name: values.copy() for name, values in read.items()}
    finally:
        pa.set_memory_pool(before)
    assert {name: values.tolist() for name, values in found.items()} == {
        name: table[name][::4].tolist() for name in ("mjj", "label", "m_j1")
    }
    assert POOL.max_memory() < 8 * sum(values.nbytes for values in found.values()) < values.nbytes / 2
    with pytest.raises(InputError, match=r"run: not a readable Parquet file .*check the path"):
        read_table(path.parent, {"constituents_j1"}, ["signal"])
