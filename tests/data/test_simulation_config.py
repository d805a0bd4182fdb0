import pytest

from data.errors import ConfigError
from data.simulation.config import SimulationConfig


def recipe(**changes):
    base = {
        "seed": 1,
        "year": "2017",
        "processes": {
            "qcd": {"type": "qcd", "mhat_edges": [1000, 1500]},
            "xyy": {"type": "xyy", "mass": 3000, "mass_y": 400, "mass_y_prime": 170},
        },
        "samples": {"mock": {"process": "qcd", "kind": "data", "generate": 10, "run": 1}},
    }
    return {**base, **changes}


def parse(**changes):
    return SimulationConfig.parse(recipe(**changes), "recipe.yaml")


def sample(**changes):
    return {"process": "qcd", "kind": "data", "generate": 10, "run": 1, **changes}


def test_multiparton_interactions_are_on_by_default():
    assert parse().generator.multiparton_interactions


def test_the_last_slice_is_open():
    assert parse().processes["qcd"].slices() == ((1000.0, 1500.0), (1500.0, -1.0))


def test_a_process_is_labelled_without_the_resonance_mass():
    assert parse().processes["xyy"].label() == "xyy_400_170"


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match=r"recipe.yaml: unknown key 'skim.mjj_mim'; did you mean 'mjj_min'"):
        parse(skim={"mjj_mim": 3})


@pytest.mark.parametrize("edges", [[1500, 1000], [10, 1000], [1000, 1000]])
def test_edges_that_do_not_ascend_are_refused(edges):
    with pytest.raises(ConfigError, match="edges must ascend and begin at 50 GeV"):
        parse(processes={"qcd": {"type": "qcd", "mhat_edges": edges}})


@pytest.mark.parametrize(
    ("process", "message"),
    [
        ({"type": "xyy", "mass": 500, "mass_y": 400, "mass_y_prime": 200}, "must lie below mass = 500"),
        (
            {"type": "wprime_bprime_top", "mass": 600, "mass_b_prime": 500},
            "173 GeV must lie below mass = 600",
        ),
    ],
)
def test_a_closed_decay_is_refused(process, message):
    with pytest.raises(ConfigError, match=message):
        parse(processes={"qcd": {"type": "qcd", "mhat_edges": [1000]}, "signal": process})


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({"a": sample(process="qdc")}, "needs process 'qdc', which is not in 'processes'"),
        (
            {"a": sample(), "b": sample()},
            "samples 'a' and 'b' share run 1, and event ids must be unique; give",
        ),
        (
            {"a": sample(cross_section_pb=1)},
            "remove 'cross_section_pb', the cross section of a background is computed",
        ),
        ({"a": sample(process="xyy")}, "add 'cross_section_pb', a signal's cross section is a choice"),
        (
            {"a": sample(kind="simulation", plant={"process": "xyy", "generated": 3})},
            "'plant' needs a background of kind 'data'",
        ),
        ({"a": sample(plant={"process": "none", "generated": 3})}, "needs process 'none'"),
    ],
)
def test_inconsistent_samples_are_refused(samples, message):
    with pytest.raises(ConfigError, match=message):
        parse(samples=samples)
