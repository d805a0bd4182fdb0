import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plots.score import ScoreShape
from analysis.report.charts import BOTTOM, LEFT, RIGHT, RIGHT_OF_WORDS, TOP, WIDTH, Axis, draw_chart, reach
from analysis.report.marks import Band, Chart, Line, Panel, Points, Steps
from analysis.report.record import ScanPoint
from analysis.report.scan_charts import limit_chart
from analysis.report.shape_charts import shape_chart
from analysis.report.study_charts import flatness_chart, simulation_chart
from analysis.report.ticks import linear_ticks, log_ticks
from analysis.report.tips import tip_attributes
from analysis.study_record import FeatureComparison, Flatness
from tests.analysis.svg_reading import lines_of, tips_of

EDGES = np.array([0.0, 1.0, 2.0, 4.0])
VALUES = np.array([3.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-5.2, 5.2, ["−4", "−2", "0", "2", "4"]),
        (0, 12.5, ["0.0", "2.5", "5.0", "7.5", "10.0", "12.5"]),
        (0, 1.4, ["0.00", "0.25", "0.50", "0.75", "1.00", "1.25"]),
        (0, 61000, ["0", "20k", "40k", "60k"]),
        (0, 2400, ["0", "500", "1000", "1500", "2000"]),
    ],
)
def test_linear_ticks(low, high, words):
    assert [word for _, word in linear_ticks(low, high)] == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1e-8, 2, ["10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "1"]),
        (0.5, 2e4, ["1", "10", "10²", "10³", "10⁴"]),
        (3, 60, ["5", "10", "20", "50"]),
        (8, 150, ["10", "20", "50", "100"]),
        (1, 1e7, ["1", "10²", "10⁴", "10⁶"]),
    ],
)
def test_log_ticks(low, high, words):
    assert [word for _, word in log_ticks(low, high)] == words


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_linear_ticks_say_where_they_stand(low, size):
    ticks = linear_ticks(low, low + size)
    assert 1 <= len(ticks) <= 8
    for place, word in ticks:
        number = float(word.replace("−", "-").replace("k", "e3"))
        assert number == pytest.approx(place, abs=1e-6 * max(size, 1e-9))


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=8), st.booleans())
def test_a_range_holds_every_value_and_can_be_drawn(values, log):
    low, high = reach([np.array(values, dtype=float)], log=log)
    assert low < high
    if log:
        assert low > 0
    for value in values:
        if np.isfinite(value) and abs(value) < 1e150 and (value > 1e-150 if log else True):
            assert low <= value <= high


def chart(**changes):
    marks = (
        Steps(EDGES, VALUES, "fit <1>", "blue", low=VALUES - 0.5, high=VALUES + 0.5),
        Points(EDGES[:3], VALUES, "data", "ink", VALUES - 1, VALUES + 1),
        Line(EDGES, np.array([1.0, np.nan, 2.0, 3.0]), "line", "red", dashed=True),
        Band(EDGES, EDGES - 1, EDGES + 1, "band", "inner"),
    )
    given = {
        "panels": (
            Panel(marks, "Events", (0.0, 5.0), levels=((2.0, "two"),)),
            Panel((), "Pull", (-1.0, 1.0), height=60),
        ),
        "title": "Mass & more",
        "range": (0.0, 4.0),
        "spans": ((1.0, 2.0, "region"),),
        "tips": ((0.0, 1.0, "one\n<b>"), (1.0, 4.0, "two")),
    } | changes
    return Chart(**given)


def svg_of(text):
    return ET.fromstring(re.search(r"<svg.*</svg>", text, re.DOTALL).group())  # noqa: S314 - our own


def test_words_are_escaped_and_each_label_has_one_key():
    text = str(draw_chart(chart(), 'alt "words" & <more>'))
    root = svg_of(text)
    assert root.get("aria-label") == 'alt "words" & <more>'
    assert [told for _, _, told in tips_of(text)] == ["one\n<b>", "two"]
    assert re.findall(r"</i>([^<]*)</li>", text) == ["fit &lt;1&gt;", "data", "line", "band"]


def test_bins_and_points_stand_where_the_axes_say():
    text = str(draw_chart(chart(), "x" * 50))
    root = svg_of(text)
    inner = WIDTH - LEFT - RIGHT_OF_WORDS
    places = [end for left, right, _ in tips_of(text) for end in (left, right)]
    expected = [LEFT, LEFT + inner / 4, LEFT + inner / 4, LEFT + inner]
    assert places == pytest.approx(expected, abs=0.5)
    y = Axis(0.0, 5.0, TOP + 210, TOP)
    dots = next(one for one in root.iter("path") if one.get("class") == "dots ink").get("d")
    assert dots.startswith(f"M{LEFT:.0f} {y(3.0):.0f}h0")
    assert root.get("viewBox") == f"0 0 480 {TOP + 210 + 12 + 60 + BOTTOM:g}"


def test_gaps_stay_gaps_and_lone_points_are_dots():
    line = Line(np.arange(5.0), np.array([1.0, 2.0, np.nan, 3.0, np.nan]), "line", "red")
    found = chart(panels=(Panel((line,), "y", (0.0, 4.0)),), range=(0.0, 4.0))
    root = svg_of(str(draw_chart(found, "x" * 50)))
    path = next(one for one in root.iter("path") if one.get("class") == "line red").get("d")
    x, y = Axis(0.0, 4.0, LEFT, WIDTH - RIGHT), Axis(0.0, 4.0, TOP + 210, TOP)
    (places,) = lines_of(path)
    np.testing.assert_allclose(places, [(x(0.0), y(1.0)), (x(1.0), y(2.0))], atol=0.1)
    dots = next(one for one in root.iter("path") if one.get("class") == "dots red").get("d")
    assert dots.count("M") == 1


def test_bins_without_a_number_are_gaps_of_a_histogram():
    values = np.array([1.0, np.nan, 2.0])
    for low, high in ((None, None), (values - 0.5, values + 0.5)):
        steps = Steps(EDGES, values, "pull", "grey", low=low, high=high)
        root = svg_of(str(draw_chart(chart(panels=(Panel((steps,), "y", (-1.0, 5.0)),)), "x" * 50)))
        drawn = {
            (one.get("class") or "").split()[0]: one.get("d") for one in root.iter("path") if one.get("class")
        }
        shown = ("line",) if low is None else ("line", "area")
        x = Axis(0.0, 4.0, LEFT, WIDTH - RIGHT)
        for kind in shown:
            places = [place for line in lines_of(drawn[kind]) for place, _ in line]
            assert drawn[kind].count("M") == 2
            assert not [place for place in places if x(1.0) + 1 < place < x(2.0) - 1]
            assert {round(x(end)) for end in EDGES} == set(places)


def classes(text, name):
    return [one for one in svg_of(text).iter() if (one.get("class") or "").split()[:1] == [name]]


def test_points_beyond_the_axis_are_arrows_at_its_end():
    points = Points(EDGES[:3], np.array([9.0, 2.0, -3.0]), "data", "red", EDGES[:3], EDGES[:3] + 10)
    text = str(draw_chart(chart(panels=(Panel((points,), "y", (0.0, 5.0)),)), "x" * 50))
    (arrows,) = classes(text, "arrow")
    assert arrows.get("d").count("M") == 2
    (dots,) = classes(text, "dots")
    assert dots.get("d").count("M") == 1
    assert f"{TOP + 8:.1f}" in arrows.get("d")
    far = Points(EDGES[:1], np.array([np.inf]), "data", "red")
    text = str(draw_chart(chart(panels=(Panel((far,), "y", (0.0, 5.0)),)), "x" * 50))
    assert len(classes(text, "arrow")) == 1
    assert "inf" not in text


def test_words_of_lines_that_would_touch_are_left_out():
    levels = ((2.0, "first"), (2.1, "touches"), (4.0, "apart"))
    text = str(draw_chart(chart(panels=(Panel((), "y", (0.0, 5.0), levels=levels),)), "x" * 50))
    assert len(classes(text, "level")) == 3
    words = {one.text: one for one in classes(text, "level-word")}
    assert words.keys() == {"first", "apart"}
    # Beside the frame, so that no point is hidden.
    (frame,) = classes(text, "frame")
    right = float(frame.get("x")) + float(frame.get("width"))
    assert all(right < float(one.get("x")) < WIDTH - 20 for one in words.values())


def test_long_numbers_beside_an_axis_have_room_before_its_title():
    line = Line(EDGES, np.ones(4), "line", "red")
    for limits in ((0.0, 5.0), (2e-4, 9e-4)):
        text = str(draw_chart(chart(panels=(Panel((line,), "y", limits, log=limits[0] > 0),)), "x" * 50))
        numbers = classes(text, "end")
        assert float(numbers[0].get("x")) - 8.6 * max(len(one.text) for one in numbers) > 13 + 6
    assert max(len(one.text) for one in numbers) == 8


def test_limits_at_one_mass_have_bands_of_some_width():
    limits = {"limit_observed": 30.0, "limit_expected": (10.0, 14.0, 20.0, 28.0, 38.0)}
    found = limit_chart([ScanPoint(mass=3000, valid=True, **limits)], "events", ())
    areas = [one.get("d") for one in classes(str(draw_chart(found, "x" * 50)), "area")]
    assert len(areas) == 2
    for area in areas:
        places = [x for line in lines_of(area) for x, _ in line]
        assert max(places) - min(places) == WIDTH - LEFT - RIGHT


def test_points_of_a_bin_across_the_signal_region_stand_beside_it():
    found = Flatness(
        edges=(2000.0, 2700.0, 3400.0, 4000.0), fraction=(0.1,) * 3, error=(0.01,) * 3, mean=0.1, chi2=1.0, dof=2,
        p_value=0.6, slope=0.0, slope_error=1.0, slope_p_value=1.0,
    )  # fmt: skip
    (panel,) = flatness_chart(found, (2725.0, 3331.0)).panels
    points = panel.marks[-1]
    assert points.x.tolist() == [2350.0, (3331 + 3400) / 2, 3700.0]


def test_the_ratio_shows_the_uncertainty_of_both_and_peaks_are_logarithmic():
    region = ScoreShape(np.array([10.0, 30.0, 0.0]), np.array([10.0, 30.0, 0.0]))
    beside = ScoreShape(np.array([100.0, 100.0, 800.0]), np.array([100.0, 100.0, 800.0]))
    found = shape_chart(EDGES, region, beside, {}, "mass")
    assert found.panels[0].log
    band, points = found.panels[1].marks
    # Of n among N, binomial: √((1 − n/N)/n) relative.
    np.testing.assert_allclose(band.high - 1, np.sqrt([0.9 / 100, 0.9 / 100, 0.2 / 800]))
    np.testing.assert_allclose(points.y, [2.5, 7.5, np.nan])
    np.testing.assert_allclose((points.high - points.low)[:2] / 2, np.sqrt(0.25 * 0.75 / 40) / 0.1)
    flat = ScoreShape(np.full(3, 50.0), np.full(3, 50.0))
    assert not shape_chart(EDGES, flat, flat, {}, "mass").panels[0].log


def test_simulation_is_scaled_to_the_data():
    found = FeatureComparison(
        edges=(0.0, 1.0, 2.0), data=(30.0, 10.0), simulation=(200.0, 200.0), variance=(400.0, 400.0)
    )
    upper, lower = simulation_chart("m_j1", found).panels
    steps, _ = upper.marks
    assert steps.values.tolist() == [20.0, 20.0]
    np.testing.assert_allclose(steps.high - steps.values, 2.0)
    band, points = lower.marks
    np.testing.assert_allclose(points.y, [1.5, 0.5])
    np.testing.assert_allclose(points.high - points.y, np.sqrt([30, 10]) / 20)
    np.testing.assert_allclose(band.high, 1.1)


def test_a_long_line_does_not_drift_though_its_steps_are_rounded():
    x, y = np.linspace(0, 4, 1000), 2 + np.sin(np.linspace(0, 9, 1000))
    found = chart(panels=(Panel((Line(x, y, "line", "red"),), "y", (0.0, 4.0)),))
    (line,) = classes(str(draw_chart(found, "x" * 50)), "line")
    (places,) = lines_of(line.get("d"))
    across, up = Axis(0.0, 4.0, LEFT, WIDTH - RIGHT), Axis(0.0, 4.0, TOP + 210, TOP)
    expected = [(across(a), up(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    np.testing.assert_allclose(places, expected, atol=0.051)


def test_steps_of_a_histogram_stand_at_their_heights():
    found = chart(panels=(Panel((Steps(EDGES, VALUES, "n", "grey"),), "y", (0.0, 5.0)),))
    (line,) = classes(str(draw_chart(found, "x" * 50)), "line")
    x, y = Axis(0.0, 4.0, LEFT, WIDTH - RIGHT), Axis(0.0, 5.0, TOP + 210, TOP)
    expected = [(x(a), y(b)) for a, b in [(0, 3), (1, 3), (1, 0), (2, 0), (2, 1), (4, 1)]]
    np.testing.assert_allclose(lines_of(line.get("d")), [expected], atol=0.51)


def test_words_that_all_bins_share_are_written_once():
    told = [
        (60 + k, 61 + k, f"{k} – {k + 1} GeV\nobserved {10 * k} #{k} \u202f3\u202f× 10⁻⁵") for k in range(50)
    ]
    told.append((110, 111, 'no <valid> "fit" & so on\n\nempty line, two  blanks'))
    text = tip_attributes(told)
    assert tips_of(text) == told
    assert text.count("observed") == 1
    assert tip_attributes([]) == ""


def test_a_tab_in_a_tip_is_a_space():
    told = [(60, 61, "signal\tregion\t5 GeV"), (61, 62, "next 7 GeV")]
    assert tips_of(tip_attributes(told)) == [(60, 61, "signal region 5 GeV"), (61, 62, "next 7 GeV")]


def test_a_bin_without_an_end_of_its_band_is_a_gap_of_the_band_alone():
    low, high = VALUES - 0.5, VALUES + 0.5
    low[0], high[1] = np.nan, np.nan
    found = chart(panels=(Panel((Steps(EDGES, VALUES, "n", "grey", low=low, high=high),), "y", (-1.0, 5.0)),))
    text = str(draw_chart(found, "x" * 50))
    (area,), (line,) = classes(text, "area"), classes(text, "line")
    x, y = Axis(0.0, 4.0, LEFT, WIDTH - RIGHT), Axis(-1.0, 5.0, TOP + 210, TOP)
    (outline,) = lines_of(area.get("d"))
    expected = [(x(a), y(b)) for a, b in [(2, 1.5), (4, 1.5), (4, 0.5), (2, 0.5)]]
    np.testing.assert_allclose(outline, expected, atol=0.51)
    (whole,) = lines_of(line.get("d"))
    assert whole[-1][0] - whole[0][0] == pytest.approx(x(4.0) - x(0.0), abs=0.51)


def test_values_without_a_logarithm_are_left_out():
    points = Points(EDGES[:3], np.array([0.0, 1.0, -2.0]), "data", "ink")
    found = chart(panels=(Panel((points,), "y", (0.1, 10.0), log=True),))
    dots = next(
        one for one in svg_of(str(draw_chart(found, "x" * 50))).iter("path") if one.get("class") == "dots ink"
    )
    assert dots.get("d").count("M") == 1
