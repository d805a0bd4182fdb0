"""Values that cannot be used are named, with what to do instead."""

import numpy as np
import pytest

import models
from data.errors import InputError
from models.arrays import take
from models.complementarity import complementarity_by_class
from models.intervals import clopper_pearson
from models.preprocessing import array_column, input_matrix


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="module 'models' has no attribute 'fit_alone'"):
        _ = models.fit_alone


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (None, "array 'w' is missing"),
        (np.zeros(3), r"array 'w' is float64 of shape \(3,\), expected float32 of shape \(None, 2\)"),
        (np.zeros((3, 1), np.float32), r"array 'w' is float32 of shape \(3, 1\), expected float32 of shape"),
    ],
)
def test_arrays_of_a_bundle_are_named(array, match):
    with pytest.raises(ValueError, match=match):
        take({} if array is None else {"w": array}, "w", "float32", None, 2)


def test_columns_of_an_array_an_event_hold_numbers():
    with pytest.raises(InputError, match="column 'image': expected numbers, found <U1"):
        array_column({"image": np.full((3, 2), "a")}, "image")
    values = np.zeros((3, 2))
    values[1, 1] = np.nan
    with pytest.raises(
        InputError, match=r"'image': 1 of 3 rows hold .* the first is row 1; remove these events"
    ):
        array_column({"image": values}, "image")


def test_columns_of_different_length_are_named():
    with pytest.raises(InputError, match="column 'b' has 2 rows, column 'a' 3; give each one entry an event"):
        input_matrix({"a": np.zeros(3), "b": np.zeros(2)}, ("a", "b"))


def test_an_efficiency_that_cannot_be_is_given_with_its_events():
    with pytest.raises(
        InputError, match=r"passed 3 of total 2: an efficiency needs .*; leave out what holds"
    ):
        clopper_pearson([1, 3], 2)


def test_labels_are_those_of_the_events():
    scores = {"a": np.zeros(3), "b": np.zeros(3)}
    kept = {name: np.ones(3, dtype=bool) for name in scores}
    with pytest.raises(InputError, match="label: 2 events, but scores, selections or weight hold another"):
        complementarity_by_class(scores, kept, [0, 1])
