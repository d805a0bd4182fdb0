"""The parts of the page that are of a selection, a window or a comparison: words, tables and charts put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import tables
from analysis.report.charts import draw_chart
from analysis.report.event_display import anomalous_table
from analysis.report.figures import window_spans
from analysis.report.labels import fit_label, readable
from analysis.report.look_elsewhere import (
    global_significance,
    largest_of_all,
    level,
    local_p,
    local_z,
    signed,
)
from analysis.report.marks import Chart
from analysis.report.numbers import MISSING, count, fixed, percent, significant, with_error
from analysis.report.record import RunRecord, ScanPoint, largest_excess
from analysis.report.retraining import expected_sensitivity
from analysis.report.scan_charts import p_value_chart
from analysis.report.study_charts import (
    feature_chart,
    feature_title,
    flatness_chart,
    simulation_chart,
    simulation_scale,
    training_chart,
)
from analysis.report.tables import Table
from analysis.study_record import FeatureShape, Flatness, MethodStudy
from analysis.windows import window
from processors.scorers import INCLUSIVE

_FLAT = 0.01
"""Probability below which a selected fraction is called not flat: twice the smaller one of χ² and of the slope."""


@dataclass(frozen=True)
class Shown:
    """A figure of the page.

    Attributes
    ----------
    name
        Its address in the page, and of what is saved of it the file name without suffix.
    body
        HTML.
    caption
        What stands below it; empty where the axes say all.
    saved
        Whether it stands beside the page as PDF and PNG too.
    """

    name: str
    body: Markup
    caption: str
    saved: bool = False


@dataclass(frozen=True)
class SelectionPart:
    """The part of the page on one selection.

    Attributes
    ----------
    name, title, words
        Its address, heading and first paragraph.
    spectra, scores, training
        Figures: the scan, and spectra with their fits; scores and flatness; losses of the trainings.
    tables, anomalous
        Scan, fits and flatness; the most anomalous events.
    """

    name: str
    title: str
    words: str
    spectra: tuple[Shown, ...]
    scores: tuple[Shown, ...]
    training: tuple[Shown, ...]
    tables: tuple[Table, ...]
    anomalous: tuple[Table, ...]


def shown_chart(name: str, chart: Chart, caption: str, alt: str) -> Shown:
    """A chart that the page alone has."""
    return Shown(name, draw_chart(chart, alt), caption)


def headline(record: RunRecord) -> str:
    """The result of the run in a few sentences: largest excess, local and global, and what the run was sensitive to."""
    best = largest_of_all(record.scan)
    if best is None:
        return "No mass has a valid fit, so there is no result."
    name, point = best
    where = f" in window {point.window}" if point.window else ""
    words = (
        f"The largest excess is that of {readable(name)} at {point.mass:g} GeV{where}: local significance {local_z(point)}σ "
        f"(p₀ {signed(local_p(point))}){level(point)}, "
        f"{global_significance(record.scan)}."
    )
    return " ".join(
        filter(None, (words, _sensitivity(record, point.mass), expected_sensitivity(record.limits)))
    )


def _sensitivity(record: RunRecord, mass: float) -> str:
    """Median expected limits of all selections at a mass: in fb, or in events where no cross section is known."""
    found = []
    for name, points in record.scan.selections.items():
        here = next((point for point in points if point.mass == mass and point.valid), None)
        if here is None:
            continue
        for values, unit in ((here.limit_expected_fb, "fb"), (here.limit_expected, "signal events")):
            if values is not None and values[2] is not None:
                found.append(f"{significant(values[2])} {unit} ({readable(name)})")
                break
    return (
        f"Without signal, the median expected 95 % CL upper limit there is {', '.join(found)}."
        if found
        else ""
    )


def selection_parts(
    record: RunRecord, images: Mapping[str, Sequence[tuple[str, Shown]]]
) -> list[SelectionPart]:
    """One part a selection of the scan.

    Parameters
    ----------
    record
        The run.
    images
        Section to its figures, each with the selection that it belongs to.
    """
    return [_part(record, name, points, images) for name, points in record.scan.selections.items()]


def _part(
    record: RunRecord,
    name: str,
    points: tuple[ScanPoint, ...],
    images: Mapping[str, Sequence[tuple[str, Shown]]],
) -> SelectionPart:
    own = {
        section: [shown for owner, shown in images.get(section, ()) if owner == name]
        for section in ("spectra", "scores")
    }
    studies = {used: one.methods[name] for used, one in record.studies.windows.items() if name in one.methods}
    labels = [fit_label(name, used) for used in _windows(points)]
    fits = {label: record.fits[label] for label in labels if label in record.fits}
    flat = [_flat(name, used, one.flatness) for used, one in studies.items() if one.flatness is not None]
    events = [
        anomalous_table(fit_label(name, used), one.anomalous, one.ranked_in) for used, one in studies.items()
    ]
    return SelectionPart(
        name=name,
        title="Without selection" if name == INCLUSIVE else f"Method {readable(name)}",
        words=_words(name, studies),
        spectra=(*_p_values(record, name, points), *own["spectra"]),
        scores=(*own["scores"], *flat),
        training=tuple(shown for used, one in studies.items() for shown in _training(name, used, one)),
        tables=(
            tables.scan_table(points, readable(name)),
            *tables.fit_tables(fits),
            *([flatness_table(name, studies)] if flat else []),
        ),
        anomalous=tuple(table for table in events if table is not None),
    )


def _p_values(record: RunRecord, name: str, points: tuple[ScanPoint, ...]) -> tuple[Shown, ...]:
    """Local p-values of a selection, beside those without any; none of a single mass or without a valid fit."""
    best = largest_excess(points)
    if len(points) < 2 or best is None:
        return ()
    whole = record.scan.selections.get(INCLUSIVE)
    curves = {name: points} if name == INCLUSIVE or whole is None else {INCLUSIVE: whole, name: points}
    other = "; dashed: without selection" if len(curves) > 1 else ""
    found = f"the smallest is p₀ {signed(local_p(best))} (Z {signed(local_z(best))}){level(best)}, at {best.mass:g} GeV"
    caption = (
        f"{readable(name)}: local p-value of the background-only hypothesis against resonance mass{other}. No look-elsewhere "
        "correction is applied."
    )
    chart = p_value_chart(curves, record.scan.masses, window_spans(points))
    return (shown_chart(f"p_values_{name}", chart, caption, f"{caption} Of {readable(name)}, {found}."),)


def _windows(points: Sequence[ScanPoint]) -> list[str | None]:
    return list(dict.fromkeys(point.window for point in points))


def _words(name: str, studies: Mapping[str, MethodStudy]) -> str:
    if name == INCLUSIVE:
        return "The whole dijet spectrum after the event selection, fitted and tested as it is."
    if not studies:
        return ""
    kept = ", ".join(
        f"{count(one.selected)} of {count(one.in_signal_region)} in {used}" for used, one in studies.items()
    )
    return f"Events of the signal region that are selected: {kept}."


def _flat(name: str, used: str, found: Flatness) -> Shown:
    label = readable(fit_label(name, used))
    worst = min(1.0, 2.0 * min(found.p_value, found.slope_p_value))
    verdict = (
        "The fraction is compatible with flat."
        if worst >= _FLAT
        else "The fraction is not flat: the selection follows the mass, or signal lies beside the signal region. The fit of "
        "the spectrum takes up a smooth trend, not a bump."
    )
    caption = (
        f"{label}: fraction of the data that is selected, beside the signal region; error bars: binomial, for the flat "
        f"fraction. χ²/ndf = {found.chi2:.1f}/{found.dof}, p = {significant(found.p_value, 2)}; slope "
        f"{with_error(found.slope, found.slope_error)}, p = {significant(found.slope_p_value, 2)}; of the smaller of both, "
        f"p = {significant(worst, 2)}. {verdict}"
    )
    chart = flatness_chart(found, window(used).signal_region)
    return shown_chart(f"flatness_{name}_{used}", chart, caption, f"Sculpting test of {label}. {caption}")


def _training(name: str, used: str, found: MethodStudy) -> list[Shown]:
    """A chart for each kind of network, for losses of different kinds do not compare."""
    label = readable(fit_label(name, used))
    charts = []
    for number, (kind, parts) in enumerate(found.training.items()):
        several = len(parts) > 1
        members = ", ".join(
            f"{part}: {curve.members}" if several else str(curve.members) for part, curve in parts.items()
        )
        trees = next(iter(parts.values())).first == 0
        what = "boosted ensembles" if trees else f"networks ({kind})"
        # While an epoch goes on the network still learns, and noise that trains it is on.
        mean = "" if trees else ", in the mean over each epoch"
        caption = (
            f"{label}: losses of the {what} of all folds, in number {members}. Line: median validation loss of those that "
            f"still train; band: all of them. Dashed: their median training loss{mean}; a validation loss that rises while "
            "it falls is over-training. Both end where less than half still train."
        )
        # Parts without a name of their own are numbered.
        shown = {
            (f"{label}, {kind}" if not several and part.isdigit() else part): curve
            for part, curve in parts.items()
        }
        charts.append(
            shown_chart(
                f"training_{name}_{used}_{number}",
                training_chart(shown),
                caption,
                f"Training curves. {caption}",
            )
        )
    return charts


def flatness_table(name: str, studies: Mapping[str, MethodStudy]) -> Table:
    """The sculpting tests of a method: χ² and slope in each window.

    Parameters
    ----------
    name
        Of the method.
    studies
        Window to what is known of the method there.

    Returns
    -------
    Table
        One row a window.
    """
    rows = []
    for used, one in studies.items():
        found = one.flatness
        if found is None:
            rows.append((used, *[MISSING] * 5))
            continue
        rows.append(
            (
                used,
                percent(found.mean),
                f"{fixed(found.chi2, 1)} / {found.dof}",
                significant(found.p_value, 2),
                with_error(found.slope, found.slope_error),
                significant(found.slope_p_value, 2),
            )
        )
    caption = (
        f"{readable(name)}: sculpting tests. The slope is the change of the selected fraction over the whole mass range, "
        "relative to its mean."
    )
    head = ("Window", "Mean selected", "χ² / ndf", "p of χ²", "Slope", "p of the slope")
    return Table(caption, head, tuple(rows))


def feature_parts(record: RunRecord) -> list[tuple[str, list[Shown]]]:
    """Windows with the charts of their features."""
    return [
        (used, [_feature(used, name, shape) for name, shape in study.features.items()])
        for used, study in record.studies.windows.items()
        if study.features
    ]


def _feature(used: str, name: str, shape: FeatureShape) -> Shown:
    title = feature_title(name)
    alt = (
        f"Window {used}, {title}: shapes in the signal region ({sum(shape.signal_region):.0f} events) and in the side bands "
        f"({sum(shape.side_bands):.0f} events), with their ratio."
    )
    return shown_chart(f"feature_{used}_{name}", feature_chart(name, shape), "", alt)


def simulation_parts(record: RunRecord) -> list[Shown]:
    """Charts of the features in data and simulated background."""
    return [
        shown_chart(
            f"simulation_{name}",
            simulation_chart(name, found),
            "",
            f"{feature_title(name)}: {sum(found.data):.0f} events of data against simulated background that is scaled to as "
            "many, with their ratio.",
        )
        for name, found in record.studies.simulation.items()
    ]


def simulation_words(record: RunRecord) -> str:
    """How the simulated background is scaled; empty without one."""
    found = next(iter(record.studies.simulation.values()), None)
    if found is None:
        return ""
    return (
        f"Simulated background is scaled to the {count(sum(found.data))} events of the data, by {significant(simulation_scale(found))}: "
        f"its own cross sections and luminosity give {count(sum(found.simulation))}. Shaded: its statistical uncertainty."
    )
