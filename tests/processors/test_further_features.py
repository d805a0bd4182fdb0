"""Further columns: in the table as from the functions themselves, in every variation, and refused by name."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import models
from analysis.training_tables import check_columns
from data.errors import ConfigError, InputError
from processors import further, scorers
from processors.columns import columns
from processors.config import FeaturesConfig, JetsConfig, ProcessingConfig
from processors.corrections.config import CorrectionsConfig
from processors.event_options import EventOptions
from processors.features import further_columns
from processors.further import Feature, chosen_features, event_feature, jet_feature, known_features
from processors.jet_table import write_jet_table
from processors.look import check_same_sources
from processors.run import run_histograms, run_skim, run_varied_skim
from processors.selection import Dijets
from processors.skim import read_features
from processors.varied_skim import read_varied

MINI = Path(__file__).parents[2] / "data" / "mini"
SHIPPED = ("d2", "jet_charge", "n2", "pt_dispersion")
HEAT = ("Jet_heat", "Jet_warmth")


@pytest.fixture(autouse=True)
def own_features(monkeypatch):
    """What a test declares is forgotten after it."""
    known_features()
    monkeypatch.setattr(further, "_FEATURES", {**further._FEATURES})


@pytest.fixture
def hot():
    """A feature of the event of a branch with two names, and one of the jets of another column."""
    event_feature("heat", "stored heat of the event", branches={"heat": HEAT})(
        lambda chunk, jets, dijets: chunk.role("heat")[dijets.entry]
    )
    jet_feature("tau42", "tau4 over tau2", made_of=("tau4", "tau2"))(
        lambda chunk, jets, jet: jets.of("tau4", jet) / (jets.of("tau2", jet) + 1e-6)
    )


def with_heat(name="Jet_heat"):
    def change(columns):
        columns[name] = np.arange(len(columns["event"]), dtype=np.float32)

    return change


def options(*names, **features):
    return EventOptions(features=FeaturesConfig(further=names, **features))


def test_those_that_come_with_oddjet_are_the_values_of_the_jet_table(tmp_path, make_sample):
    sample = make_sample([MINI / "three_prong_particles_0.root"], kind="simulation")
    contents = []
    for size in (170, 10_000):
        processing = ProcessingConfig(particle_chunk_size=size)
        result = run_skim(sample, processing, options(*SHIPPED), tmp_path)
        contents.append(result.outputs[0].read_bytes())
    assert contents[0] == contents[1]
    table = read_features(tmp_path / "features" / "mock")
    assert list(table) == pq.read_schema(result.outputs[0]).names
    write_jet_table(next(iter(sample.files)), tmp_path / "jets.parquet", JetsConfig())
    jets = pq.read_table(tmp_path / "jets.parquet")
    keys = zip(*(jets[name].to_pylist() for name in ("event", "pt", "eta")), strict=True)
    of = {key: row for row, key in enumerate(keys)}
    assert len(table["mjj"]) > 20
    for jet in ("j1", "j2"):
        names = ("event", f"pt_{jet}", f"eta_{jet}")
        rows = [of[key] for key in zip(*(table[name].tolist() for name in names), strict=True)]
        for name in SHIPPED:
            expected = jets[name].to_numpy()[rows]
            assert table[f"{name}_{jet}"].dtype == np.float32
            np.testing.assert_allclose(table[f"{name}_{jet}"], expected, rtol=1e-5, atol=1e-6)
            assert len(np.unique(expected)) > 10


class Cut:
    """A method that cuts at the median of a further feature."""

    inputs = ("tau42_j1",)
    signal_region, low_band, high_band = (2000.0, 2500.0), (1600.0, 2000.0), (2500.0, 3000.0)

    def raw(self, table):
        return table["tau42_j1"] > 0.4

    def evaluate(self, table, *, trained_on=None):
        return self.raw(table).astype(np.float64), np.where(self.raw(table), 5, 0)


def test_columns_of_events_and_of_other_columns_in_both_passes(
    tmp_path, hot, make_nano_file, make_sample, monkeypatch
):
    sample = make_sample([make_nano_file(tmp_path / "a.root", 300, change=with_heat())])
    events = options("heat", "tau42")
    run_skim(sample, ProcessingConfig(chunk_size=70), events, tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    assert len(table["mjj"]) > 40
    assert np.array_equal(table["heat"], table["event"] - 1)
    ratio = table["tau4_j1"].astype(np.float64) / (table["tau2_j1"].astype(np.float64) + 1e-6)
    np.testing.assert_allclose(table["tau42_j1"], ratio, rtol=1e-6)
    monkeypatch.setattr(models, "load", lambda folder: Cut())
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "bundle.json").write_text("{}")
    scorers.load.cache_clear()
    cut = {"cut_B3": bundle}
    spectra = run_histograms(sample, ProcessingConfig(), events, cut, trained_on=(), out_root=tmp_path)
    scorers.load.cache_clear()
    filled = {name: spectra.histograms["mjj"][{"selection": name}] for name in ("inclusive", "cut_B3")}
    assert filled["inclusive"].sum(flow=True).value == len(table["mjj"])
    assert filled["cut_B3"].sum(flow=True).value == np.count_nonzero(Cut().raw(table)) > 0


def test_pass_two_makes_only_what_a_method_reads(tmp_path, make_nano_file, make_sample):
    calls = []
    event_feature("counted", "counts its calls")(lambda chunk, jets, dijets: calls.append(1) or dijets.mjj)
    sample = make_sample([make_nano_file(tmp_path / "a.root", 50)])
    run_histograms(sample, ProcessingConfig(), options("counted"), {}, trained_on=(), out_root=tmp_path)
    assert not calls
    run_skim(sample, ProcessingConfig(), options("counted"), tmp_path)
    assert calls


def test_a_variation_of_the_jets_varies_what_is_made_of_them(tmp_path, make_nano_file, make_sample):
    jet_feature("twice_pt", "twice the pT, GeV")(lambda chunk, jets, jet: 2 * jets.of("pt", jet))
    sample = make_sample([make_nano_file(tmp_path / "a.root", 300, simulation=True)], kind="simulation")
    scale = CorrectionsConfig.parse({"jes": {"relative_uncertainty": 0.1}}, "test.yaml")
    events = EventOptions(features=FeaturesConfig(further=("twice_pt",)), corrections={"2017": scale})
    run_varied_skim(sample, ProcessingConfig(), events, tmp_path)
    tables = read_varied(tmp_path / "varied" / "mock")
    assert {"nominal", "jes_up", "jes_down"} == set(tables)
    for table in tables.values():
        assert np.array_equal(table["twice_pt_j1"], 2 * table["pt_j1"])
    assert tables["jes_up"]["twice_pt_j1"].max() > 1.05 * tables["nominal"]["twice_pt_j1"].max()


def test_what_files_lack_is_told_before_the_loop(tmp_path, hot, make_nano_file, make_sample):
    plain = make_sample([make_nano_file(tmp_path / "plain.root", 50)])
    with pytest.raises(
        InputError,
        match=r"no branch Jet_heat or Jet_warmth \(needed for the feature heat\).*take heat out of features\.further",
    ):
        run_skim(plain, ProcessingConfig(), options("heat", "tau42"), tmp_path)
    with pytest.raises(
        InputError, match=r"no branch PFCands_pt or PFCand_pt .*, or take d2, n2 out of features\.further"
    ):
        run_skim(plain, ProcessingConfig(), options("n2", "d2"), tmp_path)
    warm = make_sample([make_nano_file(tmp_path / "warm.root", 50, change=with_heat("Jet_warmth"))])
    hot_file = make_sample([make_nano_file(tmp_path / "hot.root", 50, change=with_heat())])
    with pytest.raises(
        InputError, match=r"has heat from Jet_heat, file .* from Jet_warmth; use files of one"
    ):
        check_same_sources([hot_file, warm], options("heat"))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"further": ["tau24"]}, r"there is no feature 'tau24'; did you mean 'tau42'\?"),
        ({"further": ["xyz"]}, r"there is no feature 'xyz'; choose among d2, .*heat, .*jet_charge"),
        ({"further": ["d2", "d2"]}, r"'d2' is named twice; leave one out"),
        ({"further": ["tau42"], "without": ["tau4"]}, r"'tau42' in further is made of tau4, which without"),
    ],
)
def test_wrong_configurations_are_refused(hot, section, message):
    with pytest.raises(ConfigError, match=message):
        FeaturesConfig.parse(section, "test.yaml")


@pytest.mark.parametrize("name", ["mjj", "label", "rmm"])
def test_a_second_column_of_a_name_is_refused(name):
    event_feature(name, "a second one")(lambda chunk, jets, dijets: dijets.mjj)
    with pytest.raises(ConfigError, match=f"'{name}' would be a second column '{name}'; rename the feature"):
        options(name)


def test_clustered_jets_have_no_stored_branches():
    jet_feature("area", "area of the jet", branches={"area": ("FatJet_area",)})(
        lambda chunk, jets, jet: jets.of("area", jet)
    )
    jets = JetsConfig(source="particles")
    with pytest.raises(ConfigError, match=r"'area' is made of FatJet_area, which clustered jets do not have"):
        EventOptions(jets=jets, features=FeaturesConfig(further=("area",)))
    EventOptions(features=FeaturesConfig(further=("area",)))


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("two words", {}, "a name is letters, digits and underscores"),
        (
            "weight_of",
            {},
            "its column weight_of_j1 begins with weight_, as those of varied weights do; rename it",
        ),
        ("weight", {}, "feature 'weight': its column weight_j1 begins with weight_"),
        (
            "d2",
            {},
            r"'d2' is declared twice, by processors\.further_features\.particle_shapes\.d2 and .*; rename one",
        ),
        (
            "odd",
            {"branches": {"label": ("Jet_pt",)}},
            "the role 'label' stands for Generator_label; rename it",
        ),
        ("odd", {"branches": {"pt": ("Jet_pt",)}}, "the role 'pt' stands for FatJet_pt; rename it"),
        ("odd", {"branches": {"heat": ("Jet_pt",)}}, "the role 'heat' stands for Jet_heat or Jet_warmth"),
        ("odd", {"made_of": ("mjj",)}, "made_of names 'mjj'; choose among tau1"),
    ],
)
def test_declarations_that_contradict_what_there_is(hot, name, declared, message):
    with pytest.raises(ValueError, match=message):
        jet_feature(name, "odd", **declared)(lambda chunk, jets, jet: jet)


@pytest.mark.parametrize("second", ["warmth", "other"])
def test_a_file_declares_a_name_once(second):
    def declare(name, module):
        def values(chunk, jets, jet):
            return jet

        values.__module__, values.__qualname__ = module, name
        jet_feature("warmth", "how warm")(values)
        return values

    declare("warmth", "a_file")
    with pytest.raises(ValueError, match=rf"twice, by a_file\.warmth and a_file\.{second}; rename one"):
        declare(second, "a_file")
    further._FEATURES.pop("warmth")
    declare("warmth", "__main__")
    again = declare("warmth", "__main__")  # as a cell that is run again
    assert known_features()["warmth"].values is again
    with pytest.raises(ValueError, match=r"twice, by __main__\.warmth and __main__\.other"):
        declare("other", "__main__")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda chunk, jets, jet: np.where(jet == 1, np.nan, 0.0), r"is nan in entry 1005; give it a number"),
        (lambda chunk, jets, jet: np.full(len(jet), 1e39), r"is 1e\+39 in entry 1003; give it a number"),
        (lambda chunk, jets, jet: np.zeros((len(jet), 2)), r"gives float64 of shape \(4, 2\) for 4 jets"),
        (lambda chunk, jets, jet: np.array(["a"] * len(jet)), r"gives <U1 of shape \(4,\) for 4 jets"),
    ],
)
def test_functions_that_give_no_column(read_events, chunk_of, values, message):
    chunk = chunk_of(read_events(MINI / "qcd_particles_0.root", 9))
    pairs = Dijets(
        np.array([3, 5]),
        np.array([0, 1]),
        np.array([2, 3]),
        np.zeros(2),
        np.zeros(2),
        np.zeros(2, dtype=np.int8),
    )
    declared = Feature("odd", "jet", values, "odd", {}, particles=False, made_of=())
    with pytest.raises(InputError, match=rf"a\.root.*: feature 'odd' of .*test_further_features {message}"):
        further_columns(declared, chunk, None, pairs)


def test_a_method_that_reads_one_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"'n2_j1', which is written .* set features\.further: \[d2, n2\]"):
        check_columns("cwola", ["n2_j1", "d2_j1"], FeaturesConfig(further=("d2",)), "search.yaml")
    check_columns("cwola", ["n2_j1", "d2_j1"], FeaturesConfig(further=("d2", "n2")), "search.yaml")


def test_columns_come_in_the_order_of_the_configuration(hot):
    names = list(columns(FeaturesConfig(further=("tau42", "heat"), constituents=True), label=True))
    first = names.index("delta_m") + 1
    assert names[first:] == ["tau42_j1", "tau42_j2", "heat", "constituents_j1", "constituents_j2", "label"]
    assert next(one.summary for one in chosen_features(("heat", "d2"))) == "stored heat of the event"


def test_a_table_of_jets_takes_features_of_jets(tmp_path, hot, make_nano_file):
    path, out = str(make_nano_file(tmp_path / "a.root", 50)), tmp_path / "jets.parquet"
    write_jet_table(path, out, JetsConfig(), further=("tau42",))
    table = pq.read_table(out)
    ratio = table["tau4"].to_numpy().astype(np.float64) / (table["tau2"].to_numpy().astype(np.float64) + 1e-6)
    np.testing.assert_allclose(table["tau42"].to_numpy(), ratio, rtol=1e-6)
    jet_feature("area", "area", branches={"area": ("FatJet_area",)})(
        lambda chunk, jets, jet: jets.of("area", jet)
    )
    refused = {
        "heat": (ConfigError, "'heat' is of events, a table of jets has none"),
        "area": (InputError, r"no branch FatJet_area \(needed for the feature area\).* or do without area"),
        "d2": (InputError, r"no branch PFCands_pt .* or do without d2"),
    }
    for name, (kind, message) in refused.items():
        with pytest.raises(kind, match=message):
            write_jet_table(path, out, JetsConfig(), further=(name,))
    lost = str(make_nano_file(tmp_path / "b.root", 50, drop=("FatJet_tau4",)))
    write_jet_table(lost, out, JetsConfig())
    assert "tau4" not in pq.read_table(out).column_names
    needs = r"no branch FatJet_tau4 \(needed for the feature tau42\)\. .* or do without tau42"
    with pytest.raises(InputError, match=needs):
        write_jet_table(lost, out, JetsConfig(), further=("tau42",))
    clustered = JetsConfig(source="particles")
    with pytest.raises(ConfigError, match="'area' is made of FatJet_area, which clustered jets do not have"):
        write_jet_table(path, out, clustered, further=("area",))
    with pytest.raises(ConfigError, match="'d2': a table of jets has this column in any case"):
        write_jet_table(str(MINI / "three_prong_particles_0.root"), out, clustered, further=("d2",))
