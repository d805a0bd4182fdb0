from pathlib import Path

import pytest
import yaml

from analysis.cli import DEMOS
from analysis.config import load_config, override_key
from analysis.run import Run
from analysis.scan_config import ScanConfig
from data.errors import ConfigError

SAMPLES = {
    "mock": {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": 1}},
    "sig_3000": {
        "kind": "simulation", "process": "xyy", "year": "2017", "files": {"b.root": 1},
        "cross_section_pb": 1.0, "mass": 3000,
    },
    "twin_3000": {
        "kind": "simulation", "process": "xyy", "year": "2017", "files": {"e.root": 1},
        "cross_section_pb": 1.0, "mass": 3000,
    },
    "other": {"kind": "data", "process": "data", "year": "2017", "files": {"d.root": 1}},
    "qcd": {"kind": "simulation", "process": "qcd", "year": "2017", "files": {"c.root": 1}, "cross_section_pb": 1.0},
}  # fmt: skip
CONFIG = {
    "run": {"output": "out", "seed": 1},
    "samples": "samples.yaml",
    "search": {"data": "mock", "signals": ["sig_3000"]},
    "methods": {"cwola": {"classifier": "trees"}},
    "scan": {"masses": {"start": 2900, "stop": 3200, "step": 100}, "fit_start": 2232},
}


@pytest.fixture
def write(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.root").write_bytes(b"")
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": SAMPLES}))

    def write_config(**changes):
        path = tmp_path / "search.yaml"
        path.write_text(yaml.safe_dump({**CONFIG, **changes}))
        return path

    return write_config


def test_a_configuration_names_its_samples_masses_and_windows(write):
    config, samples = load_config(write())
    assert list(samples) == ["mock", "sig_3000"]
    assert config.scan.masses == (2900, 3000, 3100, 3200)
    assert [window.name for window in config.windows()] == ["B3", "A4"]
    assert config.scan.fit_start == 2232
    assert isinstance(config.scan, ScanConfig)


def test_background_is_read_after_the_signals_and_presets_are_options(write):
    search = {"data": "mock", "signals": ["sig_3000"], "background": ["qcd"]}
    methods = {"idealised": {"preset": "quick"}, "quak": {}}
    config, samples = load_config(write(search=search, methods=methods))
    assert list(samples) == ["mock", "sig_3000", "qcd"]
    assert config.search.tables() == {"signal": ("sig_3000",), "background": ("qcd",)}
    assert Run(config, samples).filled.keys() == {"mock", "sig_3000"}


def test_the_command_line_wins_over_the_file(write):
    config, _ = load_config(write(), ("run.seed=7", "scan.masses=[3000]", "processing.chunk_size=10"))
    assert (config.run.seed, config.scan.masses, config.processing.chunk_size) == (7, (3000,), 10)


def test_overriding_leaves_the_mapping_alone():
    mapping = {"run": {"seed": 1}}
    assert override_key(mapping, "run.seed=2") == {"run": {"seed": 2}}
    assert mapping == {"run": {"seed": 1}}


def test_what_is_wrong_only_with_an_override_is_told_of_it(write):
    with pytest.raises(
        ConfigError, match=r"with --set run\.seed=two: key 'run\.seed': expected a whole number, found two"
    ):
        load_config(write(), ("run.seed=two",))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.seed", r"--set run\.seed: write section\.key=value"),
        (".seed=1", "write section.key=value"),
        ("samples.x=1", "'samples' is not a section"),
        ("run.seed=[1", "the value is not valid YAML"),
        ("run.sed=1", r"unknown key 'run\.sed'; did you mean 'seed'\?"),
    ],
)
def test_wrong_overrides_are_named(write, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(), (override,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"serch": {}}, r"search\.yaml: unknown key 'serch'; did you mean 'search'\?"),
        ({"search": {"data": "moc"}}, r"sample 'moc' is not defined in samples\.yaml; known samples: mock"),
        ({"search": {"data": "qcd"}}, "'qcd' is simulation; name a sample of kind 'data'"),
        (
            {"search": {"data": "mock", "signals": ["qcd"]}},
            "signal 'qcd' must be of kind 'simulation' with a 'mass'",
        ),
        (
            {"search": {"data": "mock", "signals": ["sig_3000", "twin_3000"]}},
            "signals 'sig_3000' and 'twin_3000' are both of 3000 GeV; name one of them in search.signals",
        ),
        ({"methods": {"inclusive": {}}}, "'inclusive' is scanned always and is no method; remove it"),
        (
            {"search": {"data": "mock", "background": ["mock"]}},
            "sample 'mock' stands twice in search; name it once",
        ),
        (
            {"search": {"data": "mock", "background": ["other"]}},
            "background 'other' must be of kind 'simulation'; data are searched",
        ),
        (
            {"methods": {"idealised": {}}},
            r"method 'idealised' is trained on a table 'background', .* in search\.background, or remove the method",
        ),
        (
            {"search": {"data": "mock"}, "methods": {"quak": {}}},
            r"method 'quak' is trained on a table 'signal', .* in search\.signals, or remove the method",
        ),
        (
            {"methods": {"rmm_autoencoder": {}}},
            r"'rmm_autoencoder' needs .*set features\.rapidity_mass_matrix",
        ),
        (
            {"methods": {"conv_autoencoder": {}}},
            r"'conv_autoencoder' needs .*set features\.constituents: true",
        ),
        ({"methods": {"cwola": {"features": ["tau21_j3"]}}}, "column 'tau21_j3'.*did you mean 'tau21_j"),
        ({"methods": {"cwola": {"preset": "quik"}}}, r"methods\.cwola: unknown preset 'quik'"),
        ({"methods": {"cwolla": {}}}, "cwolla.*cwola"),
        ({"methods": {"cwola": {"clasifier": "trees"}}}, "clasifier.*classifier"),
        ({"scan": {"masses": []}}, r"key 'scan\.masses'"),
        ({"scan": {"masses": [3000, 3000]}}, "the mass 3000 stands twice"),
        ({"scan": {"masses": {"start": 1, "stop": 2}}}, r"scan\.masses"),
        ({"scan": {"masses": [900]}}, "mass 900 GeV has no window"),
        (
            {"scan": {"masses": [3000], "fit_strat": 2232}},
            "unknown key 'scan.fit_strat'; did you mean 'fit_start'",
        ),
        ({"selection": {"jet_pt_min": -1}}, "greater than 0"),
        ({"processing": {"chunksize": 5}}, "did you mean 'chunk_size'"),
        (
            {"corrections": {"2018": {"scale": True}}},
            r"search\.yaml: corrections\.2018 corrects no sample of this search .those that it could are of ",
        ),
        ({"corrections": {"2077": {"scale": True}}}, "year '2077' is unknown"),
        ({"corrections": {2017: {"scale": True}}}, r"key 'corrections\.2017': .* put it in quotes: \"2017\""),
    ],
)
def test_wrong_configurations_are_named(write, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(**changes))


def test_corrections_of_the_years_that_are_searched(write):
    config, _ = load_config(write(corrections={"2017": {"scale": True}}))
    assert config.corrections["2017"].scale


@pytest.mark.parametrize("region", [None, "signal", "validation"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": None}, "key 'run': expected a mapping of keys to values, found nothing"),
        ({"run": {"output": 3}}, r"key 'run\.output'"),
        ({"selection": None}, "key 'selection': expected a mapping of keys to values, found nothing"),
        ({"scan": None}, "key 'scan': expected a mapping of keys to values, found nothing"),
        ({"scan": [3000]}, "key 'scan': expected a mapping of keys to values, found list"),
        (
            {"scan": {"masses": [3000], "fit_start": "abc"}},
            r"key 'scan\.fit_start': expected a number, found abc",
        ),
        ({"scan": {"masses": 3000}}, r"key 'scan\.masses'"),
    ],
)
def test_empty_and_wrong_sections_are_named_in_every_region(write, changes, message, region):
    with pytest.raises(ConfigError, match=message):
        load_config(write(**changes), region=region)


def test_validation_wins_over_an_unblinded_region_of_the_file(write):
    """The file alone would be refused: the region searched cannot be blind."""
    path = write(selection={"region": "signal", "blind": True})
    with pytest.raises(ConfigError, match="blind is true"):
        load_config(path)
    config, _ = load_config(path, region="validation")
    assert (config.selection.region, config.selection.blind) == ("validation", True)


@pytest.mark.parametrize("name", DEMOS)
def test_the_shipped_configurations_are_valid(name):
    config, samples = load_config(DEMOS[name])
    assert config.run.output == Path("output") / name
    assert samples[config.search.data].kind == "data"
