"""Feature tables with all variations: the same events and weights as the histograms of pass 2."""

import numpy as np
import pytest

from data.errors import InputError
from processors.config import ProcessingConfig
from processors.corrections.config import CorrectionsConfig
from processors.event_options import EventOptions
from processors.histogram_io import read_histograms
from processors.merging import merge_tables
from processors.run import run_histograms, run_skim, run_varied_skim
from processors.skim import read_features
from processors.varied_skim import read_varied

SECTION = {
    "jes": {"relative_uncertainty": 0.03},
    "jms": {"uncertainty": 0.02},
    "scale": True,
    "prefiring": True,
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory, make_nano_file, add_correction_branches, make_sample):
    path = tmp_path_factory.mktemp("varied") / "a.root"
    make_nano_file(path, 800, 21, simulation=True, change=add_correction_branches)
    return make_sample([path], kind="simulation")


@pytest.fixture(scope="module")
def options():
    return EventOptions(corrections={"2017": CorrectionsConfig.parse(SECTION, "corrections.2017")}, seed=5)


@pytest.fixture(scope="module")
def written(sample, options, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    run_varied_skim(sample, ProcessingConfig(chunk_size=300), options, out)
    return out


def test_every_variation_has_the_spectrum_of_pass_2(sample, options, written):
    tables = read_varied(written / "varied" / sample.name)
    assert set(tables) == set(options.variations(sample))
    run_histograms(sample, ProcessingConfig(chunk_size=300), options, {}, trained_on=(), out_root=written)
    histogram = read_histograms(written / "histograms" / f"{sample.name}.h5")["mjj"]
    edges = histogram.axes["mjj"].edges
    for name, table in tables.items():
        inside = table["region"] == 0
        here = histogram[
            {"process": sample.process, "region": "signal", "selection": "inclusive", "variation": name}
        ]
        found = np.histogram(table["mjj"][inside], edges, weights=table["weight"][inside])[0]
        assert found == pytest.approx(here.values(), rel=1e-9), name
    assert not np.array_equal(tables["jes_up"]["pt_j1"], tables["nominal"]["pt_j1"])
    assert tables["mur_up"]["pt_j1"] is tables["nominal"]["pt_j1"]
    assert not any(column.startswith("weight_") for table in tables.values() for column in table)


def test_rows_of_other_regions_are_not_read(tmp_path):
    for number, (name, extra) in enumerate({"nominal": ["weight_mur_up"], "jes_up": []}.items()):
        ids = {"run": np.ones(6, np.uint32), "luminosity_block": np.ones(6, np.uint32)}
        ids |= {"event": np.arange(6, dtype=np.uint64), "region": np.array([0, 1, 2, 2, 1, 0], np.int8)}
        table = ids | {column: np.arange(6.0) + 10 * number for column in ("mjj", "weight", *extra)}
        empty = {column: values[:0] for column, values in table.items()}
        merge_tables([table], tmp_path / name, empty, "signal", unique=False)
    chosen = read_varied(tmp_path, ["validation", "wide"])
    assert {name: table["mjj"].tolist() for name, table in chosen.items()} == {
        "nominal": [1, 2, 3, 4],
        "jes_up": [11, 12, 13, 14],
        "mur_up": [1, 2, 3, 4],
    }
    assert read_varied(tmp_path, ["signal"])["mur_up"]["weight"].tolist() == [0, 5]
    assert len(read_varied(tmp_path)["jes_up"]["mjj"]) == 6


def test_the_nominal_table_is_that_of_pass_1(sample, options, written):
    run_skim(sample, ProcessingConfig(), options, written)
    plain = read_features(written / "features" / sample.name)
    nominal = read_varied(written / "varied" / sample.name)["nominal"]
    assert set(nominal) == set(plain)
    assert all(np.array_equal(nominal[name], plain[name]) for name in plain)


def test_chunks_change_no_bit_and_old_tables_go(sample, options, written, tmp_path):
    run_varied_skim(sample, ProcessingConfig(chunk_size=5000), options, tmp_path)
    folder = tmp_path / "varied" / sample.name
    files = sorted(path.relative_to(tmp_path) for path in folder.rglob("*.parquet"))
    assert {path.parts[2] for path in files} == {"nominal", "jes_up", "jes_down", "jms_up", "jms_down"}
    assert all((tmp_path / path).read_bytes() == (written / path).read_bytes() for path in files)
    run_varied_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)
    assert [path.name for path in folder.iterdir()] == ["nominal"]


def test_without_tables_or_events_it_says_so(sample, tmp_path, make_nano_file, make_sample):
    with pytest.raises(InputError, match=r"varied/mock: no varied feature tables; run `oddjet limit`"):
        read_varied(tmp_path / "varied" / "mock")

    def nothing(columns):
        columns["FatJet"] = columns["FatJet"][:, :0]
        columns["SubJet"] = columns["SubJet"][:, :0]

    path = make_nano_file(tmp_path / "b.root", 50, 3, simulation=True, change=nothing)
    with pytest.raises(InputError, match="no event is selected, so nothing of it varies"):
        run_varied_skim(make_sample([path], kind="simulation"), ProcessingConfig(), EventOptions(), tmp_path)
