import pytest

from data.errors import ConfigError
from processors.config import ProcessingConfig, SelectionConfig


def test_defaults_are_those_of_the_paper():
    cuts = SelectionConfig()
    assert (cuts.jet_pt_min, cuts.jet_eta_max, cuts.mjj_min, cuts.delta_eta_max) == (300, 2.5, 1200, 1.3)


@pytest.mark.parametrize(
    ("section", "options", "message"),
    [
        (ProcessingConfig, {"chunk_size": 0}, "chunk_size"),
        (ProcessingConfig, {"executor": "dusk"}, "executor"),
        (ProcessingConfig, {"workers": 2}, "set executor: futures"),
        (ProcessingConfig, {"chunksize": 5}, "did you mean 'chunk_size'"),
        (SelectionConfig, {"jet_pt_min": -1}, "jet_pt_min"),
        (SelectionConfig, {"mjj_min": 1000}, "mjj_min"),
        (SelectionConfig, {"delta_eta": 1.3}, "did you mean 'delta_eta_max'"),
    ],
)
def test_nonsense_is_refused(section, options, message):
    with pytest.raises(ConfigError, match=message):
        section.parse(options, "test.yaml")
