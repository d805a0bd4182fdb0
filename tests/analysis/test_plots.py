import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats

from analysis.plots.scan import LimitCurve, WindowSpan, limit_figure, p_value_figure
from analysis.plots.score import ScoreShape, score_figure
from analysis.plots.spectrum import (
    SignalOverlay,
    SpectrumData,
    poisson_interval,
    selection_figure,
    spectrum_figure,
)
from analysis.plots.style import PlotLabel, new_figure, plot_style, save_figure, scientific
from data.errors import InputError

LABEL = PlotLabel("simulation", 12.3, 13000.0)
MASSES = np.arange(2900.0, 3900.0, 100.0)
WINDOWS = (WindowSpan("B3", 2900, 3100), WindowSpan("A4", 3200, 3500), WindowSpan("B4", 3600, 3800))


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def spectrum_data(edges, **changes):
    background = 1e4 * np.exp(-np.arange(len(edges) - 1) / 3.0)
    observed = np.round(background)
    content = {
        "edges": edges,
        "observed": observed,
        "background": background,
        "background_error": 0.02 * background,
        "pull": (observed - background) / np.sqrt(background),
    }
    return SpectrumData(**(content | changes))


@pytest.fixture
def edges():
    return np.array([2232.0 * 1.04**i for i in range(31)])


def test_poisson_interval_matches_published_table():
    # N. Gehrels, Astrophys. J. 303 (1986) 336, Tables 1 and 2, one sigma.
    counts = np.array([0.0, 1.0, 10.0])
    down, up = poisson_interval(counts)
    np.testing.assert_allclose(counts + up, [1.841, 3.300, 14.27], rtol=5e-4)
    np.testing.assert_allclose(counts - down, [0.0, 0.173, 6.891], rtol=2e-3)


def test_spectrum_has_units_label_and_limits(edges):
    overlay = SignalOverlay(3000.0, np.full(30, 2.0), np.full(30, 1.0))
    data = spectrum_data(edges, window=(2725.0, 3331.0), overlay=overlay, notes=("cwola B3",))
    main, lower = spectrum_figure(data, LABEL).axes
    assert main.get_ylabel() == "Events / 100 GeV"
    assert main.get_yscale() == "log"
    assert main.get_xlim() == lower.get_xlim() == (edges[0], edges[-1])
    assert lower.get_xlabel().endswith("[GeV]")
    assert lower.get_ylabel() == "Pull"
    assert legend(main)[:3] == ["Observed", "Background fit", "Fit uncertainty"]
    assert set(legend(main)[3:]) == {"Signal region 2725–3331 GeV", "Signal + background, 3000 GeV"}
    assert texts(main)[1:3] == ["oddjet", "simulation"]
    assert texts(main)[3] == "12.3 fb$^{-1}$ (13 TeV)"
    assert texts(main)[0] == "cwola B3"


def test_no_collaboration_is_named(edges):
    for axes in spectrum_figure(spectrum_data(edges), LABEL).axes:
        assert "CMS" not in " ".join(texts(axes))


def test_uniform_bins_name_their_width():
    main, _ = spectrum_figure(spectrum_data(np.arange(2200.0, 3200.0, 50.0)), LABEL).axes
    assert main.get_ylabel() == "Events / 50 GeV"


def test_density_per_100_gev_is_drawn(edges):
    data = spectrum_data(edges)
    main, _ = spectrum_figure(data, LABEL).axes
    drawn = main.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, data.observed * 100 / np.diff(edges))


def test_pull_axis_holds_every_pull(edges):
    pull = np.zeros(30)
    pull[4], pull[7] = -7.5, np.nan
    _, lower = spectrum_figure(spectrum_data(edges, pull=pull), LABEL).axes
    assert lower.get_ylim()[0] < -7.5
    assert lower.get_ylim()[1] > 7.5


def test_empty_bins_beyond_the_last_event_have_no_bar(edges):
    observed = np.zeros(30)
    observed[:12] = 5
    observed[3] = 0
    main, _ = spectrum_figure(spectrum_data(edges, observed=observed), LABEL).axes
    assert len(main.containers[0].lines[0].get_xdata()) == 12


def test_spectrum_without_events_is_drawn(edges):
    main, _ = spectrum_figure(spectrum_data(edges, observed=np.zeros(30)), LABEL).axes
    assert np.all(np.isfinite(main.get_ylim()))


def test_selection_figure_shows_percentage(edges):
    before = 1e5 * np.exp(-np.arange(30) / 3.0)
    main, lower = selection_figure(edges, before, {"cwola B3": 0.01 * before}, LABEL).axes
    assert legend(main) == ["Before selection", "cwola B3"]
    assert lower.get_ylabel() == "Selected [%]"
    points = lower.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(points, 1.0)
    # Bins in which fewer than four events are expected to pass are left out.
    assert len(points) == np.count_nonzero(before >= 400)
    assert lower.get_ylim() == pytest.approx((0.0, 1.5))


def test_score_shapes_are_normalised():
    edges = np.linspace(0, 1, 11)
    region = ScoreShape(np.arange(1.0, 11.0), np.arange(1.0, 11.0))
    bands = ScoreShape(10 * np.arange(1.0, 11.0), 10 * np.arange(1.0, 11.0))
    figure = score_figure(edges, region, bands, LABEL, signals={"xyy": region}, notes=("cwola B3",))
    main, lower = figure.axes
    assert legend(main) == ["Signal region", "Side bands", "xyy"]
    assert main.containers[0].lines[0].get_ydata().sum() == pytest.approx(1.0)
    np.testing.assert_allclose(lower.containers[0].lines[0].get_ydata(), 1.0)
    assert main.get_ylabel() == "Fraction of events / bin"
    assert lower.get_xlabel() == "Anomaly score"
    assert lower.get_xlim() == (0.0, 1.0)


def test_fractions_have_binomial_uncertainties():
    share, error = ScoreShape(np.array([90.0, 10.0, 0.0]), np.array([90.0, 10.0, 0.0])).normalised()
    np.testing.assert_allclose(error, np.sqrt(share * (1 - share) / 100))
    # Weights of 2 and 1: 10 events of weight 2 among 30.
    share, error = ScoreShape(np.array([20.0, 20.0]), np.array([40.0, 20.0])).normalised()
    np.testing.assert_allclose(error, np.sqrt(0.25 * 40 + 0.25 * 20) / 40)


@pytest.mark.parametrize("empty", [0, 1])
def test_score_without_events_names_the_region(empty):
    shapes = [ScoreShape(np.ones(5), np.ones(5)) for _ in range(2)]
    shapes[empty] = ScoreShape(np.zeros(5), np.zeros(5))
    where = ("signal region", "side bands")[empty]
    with pytest.raises(InputError, match=rf"no events in the {where} \(cwola B3\); fill it again"):
        score_figure(np.linspace(0, 1, 6), *shapes, LABEL, notes=("cwola B3",))


def test_p_values_have_sigma_lines_gaps_and_windows():
    cwola = np.full(10, 0.3)
    cwola[1], cwola[4] = 1e-9, np.nan
    figure = p_value_figure(MASSES, {"inclusive": np.full(10, 0.4), "cwola": cwola}, LABEL, WINDOWS)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 1e-9
    assert axes.get_xlim() == (2850.0, 3850.0)
    assert [t for t in texts(axes) if "sigma" in t] == [rf"{i}$\sigma$" for i in range(1, 6)]
    assert {"B3", "A4", "B4"} <= set(texts(axes))
    assert legend(axes) == ["inclusive", "cwola"]
    drawn = next(line for line in axes.lines if line.get_label() == "cwola").get_ydata()
    assert np.isnan(drawn[4])
    heights = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(heights, stats.norm.sf([1, 2, 3, 4, 5]))


def test_p_values_that_no_toy_reaches_are_open_points():
    cwola, bounds = np.full(10, 0.3), np.zeros(10, dtype=bool)
    cwola[3], bounds[3] = 1.5e-4, True
    curves = {"inclusive": np.full(10, 0.4), "cwola": cwola}
    (axes,) = p_value_figure(
        MASSES, curves, LABEL, bounds={"inclusive": np.zeros(10, bool), "cwola": bounds}
    ).axes
    assert legend(axes) == ["inclusive", "cwola", "95 % CL limit"]
    (drawn,) = (
        line for line in axes.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    )
    np.testing.assert_array_equal(np.isfinite(drawn.get_ydata()), bounds)
    assert drawn.get_color() == axes.lines[-3].get_color()


def test_p_values_of_quiet_data_show_four_sigma_lines():
    (axes,) = p_value_figure(MASSES, {"inclusive": np.full(10, 0.4)}, LABEL).axes
    assert len([t for t in texts(axes) if "sigma" in t]) == 4


def test_one_mass_without_valid_fit_is_drawn():
    (axes,) = p_value_figure(np.array([3000.0]), {"inclusive": np.array([np.nan])}, LABEL).axes
    assert axes.get_xlim() == (2950.0, 3050.0)


@pytest.fixture
def curve():
    median = 100.0 * (3000 / MASSES) ** 5
    expected = np.outer(median, [0.5, 0.7, 1.0, 1.4, 2.0])
    expected[3] = np.nan
    return LimitCurve(MASSES, np.where(np.arange(10) == 3, np.nan, 1.2 * median), expected)


@pytest.mark.parametrize(("unit", "words"), [("events", "Signal events"), ("fb", "[fb]")])
def test_limits_have_bands_and_units(curve, unit, words):
    (axes,) = limit_figure(curve, LABEL, unit=unit, notes=("cwola",), windows=WINDOWS).axes
    assert axes.get_ylabel().endswith(words)
    assert axes.get_xlabel().endswith("[GeV]")
    assert legend(axes) == [
        *("Observed", "Median expected", r"Expected $\pm 1\sigma$", r"Expected $\pm 2\sigma$")
    ]
    low, high = axes.get_ylim()
    assert low < np.nanmin(curve.expected)
    assert high > np.nanmax(curve.expected)
    assert "95% CL upper limits\ncwola" in texts(axes)


def test_limits_are_compared_with_a_reference(curve):
    (axes,) = limit_figure(curve, LABEL, unit="fb", reference=("inclusive", curve)).axes
    assert "Median expected, inclusive" in legend(axes)


def test_isolated_limit_keeps_a_visible_band(curve):
    expected = curve.expected.copy()
    expected[5] = np.nan  # mass 4 now stands between two invalid ones
    (axes,) = limit_figure(LimitCurve(MASSES, curve.observed, expected), LABEL, unit="fb").axes
    bars = [c for c in axes.collections if len(c.get_paths()) and c.get_linewidth()[0] == 10]
    assert len(bars) == 2
    assert bars[0].get_paths()[0].vertices[0][0] == MASSES[4]
    (dash,) = [line for line in axes.lines if line.get_marker() == "_"]
    assert dash.get_xydata().tolist() == [[MASSES[4], expected[4, 2]]]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (PlotLabel(), ""),
        (PlotLabel(sqrt_s=13600.0), "13.6 TeV"),
        (PlotLabel(luminosity_ifb=138.0), "138 fb$^{-1}$"),
        (PlotLabel(luminosity_ifb=138.0, sqrt_s=13000.0), "138 fb$^{-1}$ (13 TeV)"),
    ],
)
def test_conditions(label, text):
    assert label.conditions() == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.423, "0.42"), (0.0, "0"), (3.21e-5, r"3.2 \times 10^{-5}"), (12.0, "12")]
)
def test_scientific(value, text):
    assert scientific(value) == text


def test_files_are_the_same_to_the_byte(tmp_path, edges):
    first = save_figure(spectrum_figure(spectrum_data(edges), LABEL), tmp_path / "a", "mjj")
    second = save_figure(spectrum_figure(spectrum_data(edges), LABEL), tmp_path / "b", "mjj")
    assert [path.name for path in first] == ["mjj.pdf", "mjj.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"%PDF")
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert b"CreationDate" not in first[0].read_bytes()
    assert all(path.stat().st_size > 8000 for path in first)


def test_style_is_left_as_it_was_and_pyplot_knows_no_figure(edges):
    before = dict(mpl.rcParams)
    with plot_style():
        new_figure()
    spectrum_figure(spectrum_data(edges), LABEL)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
