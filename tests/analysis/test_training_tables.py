import numpy as np
import pytest

import models
from analysis.training_tables import beside, check_columns, check_tables, searched, stacked
from data.errors import ConfigError, InputError
from processors.config import FeaturesConfig, MatrixConfig


def table(regions, **columns):
    code = np.array(regions, dtype=np.int8)
    return {"mjj": np.arange(len(code), dtype=np.float64), "region": code, **columns}


def test_the_searched_region_and_what_lies_beside_it():
    everything = table([0, 1, 2, 1, 0])
    assert searched(everything, "signal")["mjj"].tolist() == [0, 4]
    assert beside(everything, "signal")["mjj"].tolist() == [1, 2, 3]
    assert searched(everything, "validation")["mjj"].tolist() == [1, 3]
    # A search of the validation region never trains on the signal region.
    assert beside(everything, "validation")["mjj"].tolist() == [2]


def test_samples_are_stacked_without_labels_and_numbered():
    first, second = table([0, 0], label=np.array([1, 1])), table([0])
    both = stacked([first, second])
    assert set(both) == {"mjj", "region", "prior"}
    assert both["mjj"].tolist() == [0, 1, 0]
    assert both["prior"].tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="simulated table 2 has no column 'm_j1', which the first has"):
        stacked([table([0], m_j1=np.zeros(1)), second])


@pytest.mark.parametrize(
    ("takes", "configured", "message"),
    [
        (
            {"signal": True},
            (),
            "'x' is trained on a table 'signal', .*; name simulated signals in search.signals",
        ),
        ({"signal": True, "background": True}, ("signal",), "'background', .* in search.background"),
        ({"wide": True}, ("signal",), "set selection.train_wide: true, or remove the method"),
        ({"signal": False, "wide": False}, (), None),
        ({"signal": True}, ("signal",), None),
    ],
)
def test_a_table_that_is_needed_must_be_configured(takes, configured, message):
    if message is None:
        check_tables("x", takes, configured, "search.yaml")
        return
    with pytest.raises(ConfigError, match=message):
        check_tables("x", takes, configured, "search.yaml")


@pytest.mark.parametrize(
    ("features", "needed", "message"),
    [
        ({}, ["m_j1", "tau21_j2", "delta_m", "mjj"], None),
        ({}, ["rmm"], r"the rapidity–mass matrix; set features\.rapidity_mass_matrix: \{form: reduced\}"),
        ({"rapidity_mass_matrix": MatrixConfig()}, ["rmm"], None),
        ({}, ["constituents_j2"], r"the constituents of the jets; set features\.constituents: true"),
        ({"constituents": True}, ["constituents_j1", "constituents_j2"], None),
        (
            {"without": ("lsf3",)},
            ["m_j1", "lsf3_j1"],
            "the columns lsf3_j1, which features.without leaves out; .*, or remove the method$",
        ),
        (
            {},
            ["tau21_j3"],
            r"column 'tau21_j3', which is none of a feature table; did you mean 'tau21_j[12]'\?$",
        ),
        ({}, ["zzz"], r"column 'zzz', which is none of a feature table; choose among run, "),
        # Truth labels are no input, whatever a sample's files hold.
        ({}, ["label"], "column 'label', which is none of a feature table"),
    ],
)
def test_a_column_that_is_read_must_be_written(features, needed, message):
    config = FeaturesConfig(**features)
    if message is None:
        check_columns("x", needed, config, "search.yaml")
        return
    with pytest.raises(ConfigError, match=f"search.yaml: method 'x' needs .*{message}"):
        check_columns("x", needed, config, "search.yaml")


@pytest.mark.parametrize("name", models.available())
def test_every_method_reads_what_the_widest_configuration_writes(name):
    features = FeaturesConfig(constituents=True, rapidity_mass_matrix=MatrixConfig())
    check_columns(name, models.check_options(name, {}, name), features, "search.yaml")
    assert set(models.describe(name).takes) <= {"signal", "background", "wide"}
