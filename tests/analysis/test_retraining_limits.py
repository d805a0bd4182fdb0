"""Limits with retraining from tables: crossings by hand, the published rule, every status, bad input.

The rules are those of CMS-EXO-22-026, arXiv:2412.03747, appendix B.
"""

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import brentq

from analysis.efficiency_curve import EfficiencyCurve
from analysis.published_significances import PUBLISHED
from analysis.retraining_limits import (
    EfficiencyTable,
    TableLimits,
    discovery_cross_section,
    excluded_cross_sections,
    grid_limits,
    linear_crossing,
    reach,
    table_limits,
)
from data.errors import ConfigError, InputError

TABLE = {
    "rows": [[10, 0.1], [20, 0.2], [40, 0.4]],
    "n_excluded": 50.0,
    "luminosity_ifb": 10.0,
    "preselection_efficiency": 0.5,
}


def limits(tmp_path, **changes):
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**TABLE, **changes}))
    return table_limits(path)


def test_a_crossing_by_hand(tmp_path):
    # reach = 50 / (10 · 0.5) = 10 fb; σ_excl = 10 / ε = 100, 50, 25 fb. ε = σ / 100 fb between the injections, so that
    # σ² / 100 fb = 10 fb at σ = √1000 fb. The grid: max(10, 100), max(20, 50), max(40, 25) = 40 at best.
    found = limits(tmp_path)
    assert found["status"] == "ok"
    assert found["crossing_fb"] == pytest.approx(np.sqrt(1000.0), rel=1e-12)
    assert found["grid_fb"] == found["grid_tie_fb"] == 40.0
    assert set(found) == {"status", "crossing_fb", "grid_fb", "grid_tie_fb"}
    # Half of the signal is lost elsewhere: reach 20 fb, nothing of the grid is excluded.
    found = limits(tmp_path, other_efficiency=0.5)
    assert found == {"status": "not_excluded", "crossing_fb": None, "grid_fb": 50.0, "grid_tie_fb": 50.0}


def test_a_flat_efficiency_needs_no_injection(tmp_path):
    found = limits(tmp_path, rows=[[0, 0.4], [10, 0.4], [60, 0.4]])
    assert found["crossing_fb"] == pytest.approx(25.0, rel=1e-12)
    assert found["grid_fb"] == 25.0  # min(max(0, 25), max(10, 25), max(60, 25))


def test_a_falling_efficiency_is_crossed_where_the_product_rises(tmp_path):
    # ε from 0.8 at 10 fb to 0.5 at 40 fb: σ (0.9 − σ / 100) = 10 fb at σ = 45 − √1025 = 12.984… fb.
    found = limits(tmp_path, rows=[[10, 0.8], [40, 0.5]])
    assert found["crossing_fb"] == pytest.approx(45 - np.sqrt(1025.0), rel=1e-12)


def test_every_status(tmp_path):
    low, high = [[1, 0.1], [2, 0.1]], [[30, 0.5], [60, 0.5]]
    assert limits(tmp_path, rows=low)["status"] == "not_excluded"
    found = limits(tmp_path, rows=high)
    assert (found["status"], found["crossing_fb"], found["grid_fb"]) == ("all_excluded", None, 30.0)
    found = limits(tmp_path, rows=[*low, [40, 0.5], [50, 0.1]])
    assert (found["status"], found["grid_fb"]) == ("not_excluded_at_top", 40.0)
    # σ (0.1 + 0.4 (σ − 2)/38) = 10 fb between 2 fb, not excluded, and 40 fb, excluded: the last upward crossing.
    assert found["crossing_fb"] == pytest.approx(
        np.max(np.roots([0.4 / 38, 0.1 - 0.8 / 38, -10.0])), rel=1e-9
    )
    found = limits(tmp_path, rows=[[40, 0.5], [50, 0.1]])  # crossed downwards only
    assert (found["status"], found["crossing_fb"]) == ("not_excluded_at_top", None)
    # An excluded point stands exactly on the line: σ ≥ σ_excl.
    assert limits(tmp_path, rows=[[10, 0.1], [20, 0.5]])["crossing_fb"] == pytest.approx(20.0)


def test_an_isolated_excluded_point_is_no_limit(tmp_path):
    """One lucky training at 15 fb: the published rule takes it, the last crossing lies between 40 and 60 fb."""
    rows = [[5, 0.05], [15, 0.7], [25, 0.1], [40, 0.2], [60, 0.5]]
    found = limits(tmp_path, rows=rows)
    assert found["status"] == "ok"
    assert found["grid_fb"] == 15.0
    slope = 0.3 / 20
    expected = brentq(lambda sigma: sigma * (0.2 + slope * (sigma - 40)) - 10, 40, 60)
    assert found["crossing_fb"] == pytest.approx(expected, rel=1e-9)
    # With its error the lucky training counts for little in the monotone curve.
    with_errors = limits(tmp_path, rows=[[s, e, 0.3 if s == 15 else 0.02] for s, e in rows])
    assert with_errors["crossing_fb"] == pytest.approx(expected, rel=0.05)
    assert with_errors["crossing_low_fb"] < with_errors["crossing_fb"] < with_errors["crossing_high_fb"]


def test_ties_within_ten_percent_go_to_the_larger_injection():
    sigma, eff = np.array([20.0, 22.0, 26.0]), np.array([0.5, 0.5, 0.5])
    found = grid_limits(sigma, eff, 10.0)
    assert (found.smallest, found.injection) == (20.0, 20.0)
    assert (found.tie, found.tie_injection) == (22.0, 22.0)
    # Exactly ten percent ties; the tie's value is its own.
    found = grid_limits(np.array([10.0, 11.0, 11.1]), np.ones(3), 1.0)
    assert found.tie == 11.0


def test_no_efficiency_no_limit(tmp_path):
    found = limits(tmp_path, rows=[[10, 0.0], [20, 0.0]])
    assert found == {"status": "not_excluded", "crossing_fb": None, "grid_fb": None, "grid_tie_fb": None}
    np.testing.assert_array_equal(excluded_cross_sections(np.array([0.0, 0.5]), 10.0), [np.inf, 20.0])


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"rows": [[10, 0.1], [20, 1.2]]}, InputError, r"row 2 \(20 fb\): efficiency 1.2; give a share between 0 and 1"),
        ({"rows": [[10, -0.1], [20, 0.2]]}, InputError, r"row 1 \(10 fb\): efficiency -0.1"),
        ({"rows": [[20, 0.1], [10, 0.2]]}, InputError, "row 2: cross section 10 fb; .* increase"),
        ({"rows": [[10, 0.1], [10, 0.2]]}, InputError, "row 2: cross section 10 fb"),
        ({"rows": [[-1, 0.1], [10, 0.2]]}, InputError, "row 1: cross section -1 fb"),
        ({"rows": [[10, 0.1]]}, ConfigError, "key 'rows'.* at least 2"),
        ({"rows": [[10, 0.1], [20, 0.2, 0.01]]}, InputError, "some have an error and some have none"),
        ({"rows": [[10, 0.1, 0.01], [20, 0.2, 0.0]]}, InputError, r"row 2 \(20 fb\): error 0 of the efficiency"),
        ({"rows": [[10, 0.1], [20, "0.2"]]}, ConfigError, r"key 'rows.1.1': expected a number, found \"0.2\"[^\n]*$"),
        ({"rows": [[10, 0.1], [20, float("nan")]]}, ConfigError, r"key 'rows.1.1': expected a finite number, found nan$"),
        ({"rows": [[10, 0.1], [20]]}, ConfigError, r"key 'rows.1': expected at least 2 entries, found 1$"),
        ({"rows": [[10, 0.1], [20, None]]}, ConfigError, "rows.1"),
        ({"n_excluded": 0}, ConfigError, "n_excluded"),
        ({"luminosity_ifb": -1}, ConfigError, "luminosity_ifb"),
        ({"preselection_efficiency": 1.5}, ConfigError, "preselection_efficiency"),
        ({"other_efficiency": 0}, ConfigError, "other_efficiency"),
        ({"luminosity": 3}, ConfigError, "unknown key 'luminosity'; did you mean 'luminosity_ifb'"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(tmp_path, changes, error, match):
    with pytest.raises(error, match=match) as raised:
        limits(tmp_path, **changes)
    assert "table.json" in str(raised.value)


def test_files_that_are_no_table(tmp_path):
    with pytest.raises(InputError, match=r"none.json: cannot be read"):
        table_limits(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"rows": [[1, 0.')
    with pytest.raises(InputError, match="not valid JSON"):
        table_limits(tmp_path / "half.json")
    (tmp_path / "nan.json").write_text(json.dumps({**TABLE, "n_excluded": float("nan")}))
    with pytest.raises(ConfigError, match="n_excluded"):
        table_limits(tmp_path / "nan.json")


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"n_excluded": 0.0}, "n_excluded = 0"), ({"preselection_efficiency": 2.0}, "of at most 1")],
)
def test_reach_refuses_what_is_impossible(changes, match):
    usual = {"n_excluded": 5.0, "luminosity_ifb": 10.0, "preselection_efficiency": 0.5}
    assert reach(**usual) == 1.0
    with pytest.raises(InputError, match=match):
        reach(**(usual | changes))


def test_schemas_describe_input_and_output(tmp_path):
    assert set(EfficiencyTable.model_json_schema()["required"]) == {
        "rows",
        "n_excluded",
        "luminosity_ifb",
        "preselection_efficiency",
    }
    assert TableLimits.parse(limits(tmp_path), "result").status == "ok"


@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 1)), min_size=2, max_size=8),
    st.floats(0.01, 300),
)
def test_the_crossing_on_any_table(steps, reach_fb):
    """Against the definition: excluded from the crossing on, to the end, and not just below it."""
    sigma = np.cumsum([step for step, _ in steps])
    eff = np.array([value for _, value in steps])
    found = linear_crossing(sigma, eff, reach_fb)
    excluded = sigma >= excluded_cross_sections(eff, reach_fb)
    statuses = {(True, True): "all_excluded", (False, False): "not_excluded"}
    upward = [i for i in range(sigma.size - 1) if excluded[i + 1] and not excluded[i]]
    assert (found.value is None) == (not upward)
    if upward:
        assert sigma[upward[-1]] <= found.value <= sigma[upward[-1] + 1]
        assert found.value * np.interp(found.value, sigma, eff) == pytest.approx(reach_fb, rel=1e-6)
    if found.status != "ok":
        expected = statuses.get((bool(excluded.all()), bool(excluded.any())), "not_excluded_at_top")
        assert found.status == expected
        assert found.status != "not_excluded_at_top" or not excluded[-1]
        return
    assert excluded[sigma > found.value * (1 + 1e-9)].all()
    below = np.flatnonzero(sigma < found.value)
    assert not excluded[below[-1]] or np.isclose(sigma[below[-1]], found.value)
    grid = grid_limits(sigma, eff, reach_fb)
    assert grid.smallest <= sigma[sigma >= found.value * (1 - 1e-9)][0] * (1 + 1e-9)
    assert grid.smallest <= grid.tie <= 1.1 * grid.smallest * (1 + 1e-12)


def planted(sigma):
    return 0.02 + 0.5 / (1 + (25.0 / sigma) ** 4)


def test_the_monotone_curve_finds_a_planted_one():
    rng = np.random.default_rng(4)
    sigma = np.array([5.0, 12.0, 18.0, 24.0, 30.0, 40.0, 60.0])
    error = np.full(7, 0.02)
    truth = brentq(lambda value: value * planted(value) - 8.0, 5, 60)
    inside, pulls = [], []
    for seed in range(40):
        curve = EfficiencyCurve.fit(
            sigma, planted(sigma) + error * rng.standard_normal(7), error, replicas=150, seed=seed
        )
        grid = np.linspace(5, 60, 200)
        assert np.all(np.diff(curve.at(grid)) >= -1e-12)
        low, high = curve.crossing_interval(8.0)
        inside.append(low <= truth <= high)
        pulls.append((curve.crossing(8.0).value - truth) / ((high - low) / 2))
    # 68 % of 40 is 27 ± 3.
    assert 18 <= sum(inside) <= 36
    assert abs(np.mean(pulls)) < 0.5


def test_the_curve_passes_through_points_that_rise():
    sigma, eff = np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.3, 0.35])
    curve = EfficiencyCurve.fit(sigma, eff, np.full(3, 0.01))
    np.testing.assert_allclose(curve.at(sigma), eff, rtol=1e-12)
    assert curve.chi2 == 0.0
    assert curve.crossing(0.05).status == "all_excluded"
    assert curve.crossing(2.0).status == "not_excluded"
    assert curve.crossing_interval(0.05) == (None, None)
    low, high = curve.band(sigma)
    np.testing.assert_allclose(high - low, 0.02, rtol=0.2)
    with pytest.raises(InputError, match="from 1 to 5 fb only"):
        curve.at(np.array([6.0]))


def test_points_that_fall_are_pooled_by_their_errors():
    # (0.4 · 100 + 0.2 · 25) / 125 = 0.36 for both.
    curve = EfficiencyCurve.fit(np.array([1.0, 2.0]), np.array([0.4, 0.2]), np.array([0.1, 0.2]))
    np.testing.assert_allclose(curve.values, 0.36)
    assert curve.chi2 == pytest.approx(0.04**2 / 0.01 + 0.16**2 / 0.04)


@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(0, 1), st.floats(0.001, 0.3)), min_size=2, max_size=7)
)
@example(
    [
        (1.0, 1.7e-297, 0.25),
        (1.0, 1.7e-297, 0.25),
        (1.0, 1.7e-297, 0.0010000000000000002),
        (1.0, 1.7e-297, 0.25),
    ]
)
def test_the_curve_rises_whatever_the_points(rows):
    sigma = np.cumsum([row[0] for row in rows])
    eff, error = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    curve = EfficiencyCurve.fit(sigma, eff, error, replicas=5)
    grid = np.linspace(sigma[0], sigma[-1], 50)
    values = curve.at(np.clip(grid, sigma[0], sigma[-1]))
    assert np.all(np.diff(values) >= -1e-9)
    assert -1e-9 <= values.min() <= values.max() <= 1 + 1e-9


@pytest.mark.parametrize(
    ("sigma", "eff", "error", "match"),
    [
        ([1.0], [0.1], [0.1], "two points or more"),
        ([1.0, 2.0], [0.1], [0.1], "each with an efficiency"),
        ([2.0, 1.0], [0.1, 0.2], [0.1, 0.1], "must increase"),
        ([1.0, 2.0], [0.1, 0.2], [0.1, np.nan], "row 2 .2 fb.: error nan"),
    ],
)
def test_no_curve_of_bad_points(sigma, eff, error, match):
    with pytest.raises(InputError, match=match):
        EfficiencyCurve.fit(np.array(sigma), np.array(eff), np.array(error))


@pytest.mark.parametrize(
    ("signal", "selection", "three", "five"),
    [
        ("xyy_80_170", "tnt", 9.7, 12.8),
        ("xyy_80_170", "cathode", 6.9, 9.3),
        ("xyy_80_170", "cathode_b", 8.4, 11.4),
        ("xyy_80_170", "quak", 5.3, 10.8),
        ("wprime_bprime_400", "cwola", 54.4, 93.0),
        ("wprime_bprime_400", "tnt", 42.8, 65.0),
        ("wprime_bprime_400", "cathode_b", 43.5, 81.0),
        ("wprime_bprime_400", "quak", 48.1, 93.0),
        ("wprime_bprime_400", "prong3", 55.5, 92.0),
    ],
)
def test_discovery_cross_sections_of_the_published_significances(signal, selection, three, five):
    """Cross sections of 3 and 5 standard deviations read off the published curves (arXiv:2412.03747, figure 2)."""
    published = PUBLISHED[signal]
    sigma, z = np.array(published.cross_sections), np.array(published.z[selection])
    assert discovery_cross_section(sigma, z, 3.0).value == pytest.approx(three, abs=0.2)
    assert discovery_cross_section(sigma, z, 5.0).value == pytest.approx(five, abs=0.5)


def test_rules_of_the_discovery_cross_section():
    sigma = np.array([5.0, 10.0, 20.0])
    assert discovery_cross_section(sigma, np.array([1.0, 2.0, 3.9]), 3.0).status == "weak"
    # 4 ≤ Z < 5: the point (23, 5.175) is added, 5 lies at 20 + 3 · 0.5 / 0.675.
    found = discovery_cross_section(sigma, np.array([1.0, 2.0, 4.5]), 5.0)
    assert found.value == pytest.approx(20 + 3 * 0.5 / 0.675)
    assert discovery_cross_section(sigma, np.array([1.0, 2.0, 4.1]), 5.0).status == "not_reached"
    assert discovery_cross_section(sigma, np.array([3.5, 4.0, 6.0]), 3.0).status == "below_smallest"
    # Without its first point, of Z below 0.1, the curve begins above 3.
    assert discovery_cross_section(sigma, np.array([0.05, 4.0, 6.0]), 3.0).status == "below_smallest"
    with pytest.raises(InputError, match="not finite"):
        discovery_cross_section(sigma, np.array([0.05, np.nan, 6.0]), 3.0)
