"""What the report says of its figures: verdicts, references, caveats."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest

from analysis.plots.style import PlotLabel
from analysis.report.event_tables import luminosity_tables
from analysis.report.limit_words import limit_words
from analysis.report.record import Account, BackgroundFit, read_record
from analysis.report.scan_charts import spectrum_chart
from analysis.report.sections import selection_parts
from analysis.report.side_by_side import comparison_parts
from analysis.report.study_charts import improvement_chart, training_chart
from analysis.report.systematics import draw_systematics
from tests.analysis.report_folder import make_run_folder
from tests.analysis.svg_reading import tips_of


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return read_record(make_run_folder(tmp_path_factory.mktemp("words")))


def with_scan(record, change):
    """The record with every point of its scan changed."""
    scan = record.scan
    selections = {
        name: tuple(point.model_copy(update=change(name, point)) for point in points)
        for name, points in scan.selections.items()
    }
    return dataclasses.replace(record, scan=scan.model_copy(update={"selections": selections}))


def with_method(record, **update):
    """The record with something else known of cwola in B3."""
    window = record.studies.windows["B3"]
    method = window.methods["cwola"].model_copy(update=update)
    window = window.model_copy(update={"methods": {"cwola": method}})
    windows = record.studies.windows | {"B3": window}
    return dataclasses.replace(record, studies=record.studies.model_copy(update={"windows": windows}))


def part_of(record, name):
    return next(part for part in selection_parts(record, {}) if part.name == name)


@pytest.mark.parametrize(
    ("p_values", "words"),
    [
        ((0.062, 6.4e-4), "of the smaller of both, p = 0.0013. The fraction is not flat"),
        ((6.4e-4, 0.5), "of the smaller of both, p = 0.0013. The fraction is not flat"),
        ((0.03, 0.006), "of the smaller of both, p = 0.012. The fraction is compatible with flat."),
        ((0.8, 0.9), "of the smaller of both, p = 1.0. The fraction is compatible with flat."),
    ],
)
def test_a_slope_alone_makes_a_fraction_not_flat(record, p_values, words):
    found = record.studies.windows["B3"].methods["cwola"].flatness
    update = {"p_value": p_values[0], "slope_p_value": p_values[1]}
    part = part_of(with_method(record, flatness=found.model_copy(update=update)), "cwola")
    (caption,) = [shown.caption for shown in part.scores if shown.name == "flatness_cwola_B3"]
    assert words in caption


def test_every_selection_shows_its_scan(record):
    captions = {}
    for name in ("inclusive", "cwola"):
        (shown,) = [shown for shown in part_of(record, name).spectra if shown.name == f"p_values_{name}"]
        captions[name] = shown.caption
        assert len(tips_of(shown.body)) == 10
        assert "3000 GeV" in shown.body
    assert "dashed: without selection" in captions["cwola"]
    assert "dashed" not in captions["inclusive"]
    alone = with_scan(record, lambda name, point: {"valid": name == "inclusive" or point.mass == 2900})
    assert part_of(alone, "cwola").spectra[0].name == "p_values_cwola"
    nothing = with_scan(record, lambda name, _: {"valid": name == "inclusive"})
    assert part_of(nothing, "cwola").spectra == ()


def test_limits_say_how_they_are_made_and_what_they_are_worth(record):
    plain = limit_words(record)
    assert "CLs with the profile likelihood ratio q̃, by asymptotic formulae." in plain
    assert "the efficiency of one training holds only for the signal that its data had in them" in plain
    assert "a section limits in the configuration" in plain
    toys = with_scan(record, lambda _, point: {"calculator": "toys" if point.mass == 2900 else "asymptotic"})
    assert "by asymptotic formulae, at 2 of 20 masses and selections by toys." in limit_words(toys)
    assert "q̃, by toys." in limit_words(with_scan(record, lambda *_: {"calculator": "toys"}))
    events = limit_words(with_scan(record, lambda *_: {"limit_observed_fb": None}))
    assert "σ × B" not in events
    inclusive = {"selections": {"inclusive": record.scan.selections["inclusive"]}}
    only = dataclasses.replace(record, scan=record.scan.model_copy(update=inclusive))
    assert limit_words(only).endswith("over luminosity and efficiency.")
    assert limit_words(with_scan(record, lambda *_: {"calculator": None})) == "No mass has a limit."


def test_sections_without_luminosity_are_shown():
    sections = {
        "sections_certified": 900, "sections_processed": 800, "fraction": 0.889, "certified_ifb": 2.0,
        "luminosity_ifb": 1.5, "sections_without_luminosity": 37,
    }  # fmt: skip
    account = {"files": [], "expected": 1, "processed": 1, "complete": True, "luminosity": {"data": sections}}
    (table,) = luminosity_tables(Account.model_validate(account))
    assert table.head[-1] == "Processed without luminosity"
    assert table.rows[0][-1] == "37"
    unknown = sections | {"sections_without_luminosity": None}
    (table,) = luminosity_tables(Account.model_validate(account | {"luminosity": {"data": unknown}}))
    assert table.rows[0][-1] == "–"


@pytest.mark.parametrize("edges", [(2000.0, 2020.0, 3000.0), (2000.0, 2980.0, 3000.0)])
def test_the_axis_of_a_spectrum_holds_the_density_of_unequal_bins(edges):
    fit = BackgroundFit(
        range=(2000.0, 3000.0), function="dijet2", chi2=1.0, ndf=1, fit_p=0.5, edges=edges, observed=(40.0, 50.0),
        background=(45.0, 44.0), background_error=(1.0, 1.0), pull=(0.1, None),
    )  # fmt: skip
    panel = spectrum_chart(fit, None, None).panels[0]
    data = panel.marks[-1]
    assert panel.range[1] > np.max(data.high)
    assert panel.range[1] < 4 * np.max(data.high)


def test_improvement_shows_errors_chance_and_what_it_is_over(record):
    curve = record.studies.windows["B3"].methods["cwola"].improvement["signal_3000"]
    drawn = improvement_chart({"cwola": curve})
    band, chance, line = drawn.panels[0].marks
    np.testing.assert_allclose((band.high - band.low) / 2, curve.error)
    np.testing.assert_allclose(chance.y, np.sqrt(chance.x))
    np.testing.assert_allclose(line.y, curve.value)
    assert drawn.title == "Background efficiency (side bands)"
    assert "of the signal kept" in drawn.tips[0][2]
    other = curve.model_copy(update={"reference": "simulation", "background_events": 431.7})
    assert improvement_chart({"cwola": other}).title == "Background efficiency (simulated background)"
    figures, _ = comparison_parts(with_method(record, improvement={"signal_3000": other}))
    assert (
        "over simulated background of the signal region (effective number of events 432)"
        in figures[0].caption
    )


def test_training_losses_stand_beside_those_of_validation(record):
    parts = record.studies.windows["B3"].methods["cwola"].training["spline flow"]
    panel = training_chart(parts).panels[0]
    _, training, validation = panel.marks
    assert (training.dashed, validation.dashed) == (True, False)
    assert training.y.tolist() == [5.5, 2.8, 1.6]
    assert panel.range[0] < 1.5
    assert "in training 2.800" in training_chart(parts).tips[1][2]


def test_sources_of_uncertainty_have_their_names_in_words(record):
    for drawn in draw_systematics(record, PlotLabel("simulation", None, 13000.0)):
        plt.close(drawn.figure)
        assert "Lund plane, prongs" in drawn.alt
        assert "lund_prongs" not in drawn.alt
        assert "uncertainties by change of yield" in drawn.caption


def test_sources_that_move_the_peak_more_than_the_fit_lets_it_are_named(record):
    def captions(systematics):
        drawn = list(
            draw_systematics(
                dataclasses.replace(record, systematics=systematics), PlotLabel("simulation", None, 13000.0)
            )
        )
        for one in drawn:
            plt.close(one.figure)
        return [one.caption for one in drawn]

    used = record.systematics.model_copy(update={"in_limits": True})
    words = (
        "The mean of the selected signal in the fit range changes by Jet energy scale 1.40 %, more than the 1.00 % that the "
        "fits let the peak move (systematics.jes)."
    )
    found = captions(used)
    assert found
    assert all(words in one for one in found)
    # 1.1 times what the fits allow is within what binning and tails do.
    for silent in (record.systematics, used.model_copy(update={"jes": 0.014 / 1.1})):
        assert not any("The mean of the selected signal" in one for one in captions(silent))
