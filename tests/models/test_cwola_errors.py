"""Wrong use ends in one clear message."""

import numpy as np
import pytest

import models
from data.errors import ConfigError, InputError, TrainingError


def change(table, name, value):
    return dict(table) | {name: value}


@pytest.mark.parametrize("name", ["tau32_j2", "mjj"])
def test_a_missing_column_is_named(quick, table, name):
    lacking = {key: values for key, values in table.items() if key != name}
    with pytest.raises(InputError, match=f"column '{name}' is missing"):
        quick().fit(lacking)


def test_a_missing_pt_names_the_remedy(quick, table):
    lacking = {key: values for key, values in table.items() if key != "pt_j2"}
    with pytest.raises(TrainingError, match=r"'pt_j2' is missing.*pt_bins=0"):
        quick().fit(lacking)
    quick(pt_bins=0).fit(lacking)


def test_a_constant_column_is_named(quick, table):
    with pytest.raises(TrainingError, match=r"column deepb_j1: the same value in all \d+ training events"):
        quick().fit(change(table, "deepb_j1", np.zeros(len(table["mjj"]))))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(quick, table, trained, value):
    bad = table["m_j2"].copy()
    bad[17] = value
    for use in (quick().fit, trained.score):
        with pytest.raises(
            InputError, match="column 'm_j2': 1 of 4150 values are NaN or infinite, the first in row 17"
        ):
            use(change(table, "m_j2", bad))


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("m_j1", np.full(4150, 1e39), "beyond the range of float32"),
        ("m_j1", np.zeros(3), r"another length than 'mjj' .*m_j1 \(3\).*give each one entry an event"),
        ("m_j1", np.full(4150, "a"), "expected one number an event"),
        ("m_j1", np.zeros((4150, 2)), "expected one number an event"),
        ("event", np.arange(3), "another length"),
    ],
)
def test_a_column_of_the_wrong_kind_is_named(quick, table, name, value, match):
    with pytest.raises(InputError, match=match):
        quick().fit(change(table, name, value))


def test_doubled_events_and_weights_are_refused(quick, table):
    twice = {name: np.append(values, values[:1]) for name, values in table.items()}
    with pytest.raises(
        TrainingError, match="1 events stand twice in the training sample, the first is run 1"
    ):
        quick().fit(twice)
    with pytest.raises(TrainingError, match="all have weight 1"):
        quick().fit(change(table, "weight", np.full(4150, 0.5)))


@pytest.mark.parametrize(
    ("low", "high", "match"),
    [
        (20_000, 30_000, r"holds none of the 4150 events \(23\d\d … \d+ GeV\); choose another window"),
        (3600, 60_000, "hold .* 0 events"),
    ],
)
def test_a_window_outside_the_data_is_named(table, low, high, match):
    method = models.create("cwola", signal_region=(low, high))
    with pytest.raises(TrainingError, match=match):
        method.fit(table)


def test_an_empty_side_band_is_named(quick, table, rows_of):
    with pytest.raises(
        TrainingError, match=r"window 2500-3000-3600-4400 GeV: the lower side band.* hold 0, "
    ):
        quick().fit(rows_of(table, table["mjj"] > 3000))


def test_fewer_events_than_folds_need_is_an_error(quick, table, rows_of):
    with pytest.raises(TrainingError, match=r"fold 0 holds \d+ \+ \d+ side-band events.*needs 100"):
        quick(working_point=0.01).fit(rows_of(table, slice(0, 400)))
    with pytest.raises(TrainingError, match=r"inner split \d of fold \d holds|fold \d holds"):
        quick(working_point=0.5).fit(rows_of(table, slice(0, 60)))


def test_no_event_at_all_is_an_error(quick, table, rows_of):
    with pytest.raises(TrainingError, match="none of the 0 events"):
        quick().fit(rows_of(table, slice(0, 0)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"features": ["label", "m_j1"]}, "label may not be used"),
        ({"features": ["m_j1", "m_j1"]}, "name each input once"),
        ({"features": []}, "name each input once"),
        ({"features": ["m_j1", "delta_m"], "scope": "jet"}, "delta_m belong to no jet; use scope: event"),
        ({"clasifier": "trees"}, "did you mean 'classifier'"),
        ({"classifier": "forest"}, "classifier"),
        ({"trees": {"leafs": 3}}, "unknown key 'trees.leafs'; did you mean 'leaves'"),
        ({"trees": {"bins": 256}}, "trees.bins"),
    ],
)
def test_wrong_options_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        models.create("cwola", signal_region=(3000, 3600), **options)
    with pytest.raises(ConfigError, match=match):
        models.check_options("cwola", options, "demo.yaml: methods.cwola")


def test_wrong_arguments_are_named(quick, table):
    with pytest.raises(ConfigError, match="unknown method 'cwolla'; did you mean 'cwola'"):
        models.create("cwolla", signal_region=(3000, 3600))
    with pytest.raises(ConfigError, match=r"demo: unknown method 'x'; known methods: .*cwola"):
        models.check_options("x", {}, "demo")
    with pytest.raises(ConfigError, match="working_point is the fraction kept"):
        models.create("cwola", signal_region=(3000, 3600), working_point=1)
    with pytest.raises(ConfigError, match="seed must be"):
        models.create("cwola", signal_region=(3000, 3600), seed=-1)
    with pytest.raises(TrainingError, match="workers must be at least 1"):
        quick().fit(table, workers=0)


def test_an_untrained_method_says_so(quick, table, tmp_path):
    for use in (lambda m: m.score(table), lambda m: m.save(tmp_path)):
        with pytest.raises(TrainingError, match="method 'cwola' is not trained"):
            use(quick())
