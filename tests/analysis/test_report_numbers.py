import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report import numbers, tables
from analysis.report.record import Scan, largest_excess


def test_largest_excess_ignores_invalid_and_takes_the_lower_mass():
    points = [
        {"mass": 2900, "z": 9.0, "valid": False},
        {"mass": 3100, "z": 2.0, "valid": True},
        {"mass": 3000, "z": 2.0, "valid": True},
    ]
    scan = Scan(masses=(2900,), selections={"a": points}, sqrt_s=13000, sample="mock", region="signal")
    assert largest_excess(scan.selections["a"]).mass == 3000
    assert largest_excess(scan.selections["a"][:1]) is None


def test_windows_are_listed_once_a_method():
    points = [{"mass": mass, "window": "B3", "valid": True} for mass in (2900, 3000)]
    scan = Scan(
        masses=(2900, 3000), selections={"cwola": points}, sqrt_s=13000, sample="mock", region="signal"
    )
    (row,) = tables.window_table(scan, {"cwola_B3": 0.00987}).rows
    assert row[:3] == ("cwola", "B3", "2230 – 2725")
    assert row[5:] == ("1.00 %", "0.987 %", "2900, 3000")


def test_changes_ends_and_counts():
    assert [numbers.change(value, 1) for value in (1.24, -1.26, -0.01, 0.0)] == ["+1.2", "−1.3", "0.0", "0.0"]
    assert numbers.between(0.1234, 5.0) == "0.123 – 5.00"
    assert numbers.between(None, float("inf")) == "– – –"
    assert [numbers.counted(k, "file") for k in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert numbers.counted(1200, "mass", "masses") == "1\u202f200 masses"


def test_limits_are_rounded_to_their_own_side():
    assert [numbers.at_least(value, 1) for value in (4.9503, 5.0, 0.3, 4.0001, -0.04)] == [
        "4.9",
        "5.0",
        "0.3",
        "4.0",
        "−0.1",
    ]
    assert [numbers.at_most(value, 2) for value in (3.706e-7, 3 * 0.1, 0.0991, 0.999, 4e-4)] == [
        "3.8 × 10⁻⁷",
        "0.30",
        "0.10",
        "1.0",
        "4.0 × 10⁻⁴",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0123, "0.0123"),
        (4.5678, "4.57"),
        (1234.9, "1\u202f235"),
        (99.96, "100"),
        (3.24e-5, "3.24 × 10⁻⁵"),
        (-0.5, "−0.500"),
        (9.999e-4, "0.00100"),
        (2.5e7, "2.50 × 10⁷"),
    ],
)
def test_significant(value, text):
    assert numbers.significant(value) == text


@given(st.floats(1e-300, 1e12))
def test_significant_keeps_three_digits(value):
    text = (
        numbers.significant(value)
        .translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        .replace("\u202f", "")
    )
    assert float(text.replace(" × 10", "e")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (205.3, 47.9, "205 ± 48"),
        (2.512, 8.71, "2.5 ± 8.7"),
        (1e4, 1234.0, "10\u202f000 ± 1\u202f234"),
        (-3.0, 0.996, "−3.0 ± 1.0"),
        (5.0, None, "5.00"),
        (5.0, 0.0, "5.00"),
        (-0.04, 3.0, "0.0 ± 3.0"),
        (None, 1.0, "–"),
    ],
)
def test_with_error(value, error, text):
    assert numbers.with_error(value, error) == text
