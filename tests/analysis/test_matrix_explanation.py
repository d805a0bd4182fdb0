"""Scores of the rapidity–mass matrix are explained object by object."""

import numpy as np
import pytest

from analysis.explanation import explain, rarity
from analysis.matrix_explanation import MATRIX, exchanged, matrix_objects
from analysis.method_study import ordinary_events
from data.eventid import ID_COLUMNS
from processors.rapidity_mass_matrix import cell_names, compact_index, reduced_index

NAMES = reduced_index()
ET, PAIR, MT = (NAMES.index(name) for name in ("et(j1)", "m(j1,mu2)", "mt(b3)"))


class Matrix:
    """A method whose rarity is a sum of three cells of the matrix, one of one object and two of two."""

    inputs = (MATRIX,)

    def score(self, table, *, trained_on):
        assert trained_on
        assert set(table["event"]) == {7}
        x = table[MATRIX].astype(np.float64)
        return 1 - 10.0 ** -(x[:, ET] + 2 * x[:, PAIR] + 3 * x[:, MT])


def table_of(rng, rows):
    table = {name: np.full(rows, 7) for name in (*ID_COLUMNS, "mjj")}
    return table | {MATRIX: rng.uniform(0, 0.1, (rows, len(NAMES))).astype(np.float32)}


def test_a_cell_counts_half_for_each_of_its_objects():
    rng = np.random.default_rng(5)
    beside, event = table_of(rng, 60), table_of(rng, 1)
    event[MATRIX][0, [ET, PAIR, MT]] = 0.9, 0.8, 0.7
    ordinary = ordinary_events(beside, Matrix.inputs)
    found = explain(Matrix(), event, ordinary, 1e-9)
    shares = {one.feature: one.rarity for one in found.contributions}
    et, pair, mt = (
        factor * (float(event[MATRIX][0, cell]) - ordinary.events[MATRIX][:, cell].mean(dtype=np.float64))
        for factor, cell in ((1, ET), (2, PAIR), (3, MT))
    )
    # A cell of two objects changes with the later of the two, which in half of all orders is the one, else the other.
    expected = {
        "leading small jet": et + pair / 2,
        "muons": pair / 2,
        "missing momentum": mt / 2,
        "b jets": mt / 2,
    }
    for name in ("second small jet", "other small jets", "electrons", "photons"):
        expected[name] = 0.0
    assert shares == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert found.message is None
    assert found.contributions[0].feature == "leading small jet"
    rare = float(rarity(Matrix().score(event, trained_on=True), 1e-9)[0])
    assert found.typical + sum(shares.values()) == pytest.approx(rare, rel=1e-6)


@pytest.mark.parametrize("names", [cell_names(), np.array(NAMES), np.array(compact_index())])
def test_every_cell_of_every_form_tells_of_its_objects(names):
    objects = matrix_objects(names.shape)
    assert np.sum(list(objects.values()), axis=0).min() == 1
    told = {name: {one for one in objects if objects[one][place]} for place, name in np.ndenumerate(names)}
    assert told["met"] == {"missing momentum"}
    if "mt(j1)" in told:
        assert told["mt(j1)"] == {"missing momentum", "leading small jet"}
        assert told["m(j2,mu1)"] == {"second small jet", "muons"}
        assert told["h(j3,j7)"] == {"other small jets"}
        assert told["hl(g2)"] == {"photons"}
        assert told["et(j1)"] == {"leading small jet"}
        assert told["det(j2)"] == {"leading small jet", "second small jet"}
        assert told["det(j3)"] == {"second small jet", "other small jets"}
        assert told["det(j10)"] == {"other small jets"}
        assert told["det(b2)"] == {"b jets"}
    else:
        assert told["t(j)"] == {"missing momentum", "small jets"}
        assert told["h(j,b)"] == {"small jets", "b jets"}


def test_another_shape_is_none_of_the_matrix():
    assert matrix_objects((5,)) == {}
    assert matrix_objects(()) == {}


def test_a_cell_is_taken_over_with_the_last_of_its_objects():
    own, others = np.ones((2, 2)), np.zeros((3, 2, 2))
    objects = np.array([[[True, True], [False, False]], [[False, True], [True, False]]])
    coalitions = np.array([[False, False], [True, False], [True, True]])
    found = exchanged(own, others, objects, coalitions)
    assert found.shape == (9, 2, 2)
    assert found[0].tolist() == [[0, 0], [0, 1]]  # what tells of no object is the event's own
    assert found[3].tolist() == [[1, 0], [0, 1]]
    assert found[8].tolist() == [[1, 1], [1, 1]]
