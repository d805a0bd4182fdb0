"""The parts of the page that are of a selection, a window or a comparison: words, tables and charts put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import tables
from analysis.report.charts import draw_chart
from analysis.report.event_display import anomalous_table
from analysis.report.look_elsewhere import global_significance, largest_of_all, local_p, local_z, signed
from analysis.report.marks import Chart
from analysis.report.numbers import MISSING, count, fixed, percent, significant, with_error
from analysis.report.record import RunRecord, ScanPoint, fit_label, readable
from analysis.report.retraining import expected_sensitivity
from analysis.report.study_charts import (
    feature_chart,
    feature_title,
    flatness_chart,
    improvement_chart,
    simulation_chart,
    simulation_scale,
    training_chart,
)
from analysis.report.tables import Table
from analysis.study_record import FeatureShape, Flatness, Improvement, Matrices, MethodStudy
from analysis.windows import window
from processors.scorers import INCLUSIVE

_FLAT = 0.01
"""Probability of χ² below which a selected fraction is called not flat."""


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
        Figures: spectra with their fits; scores and flatness; losses of the trainings.
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
        f"(p₀ {signed(local_p(point))}), "
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
    return f"Without signal, the median expected limit there is {', '.join(found)}." if found else ""


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
    labels = [fit_label(name, None if name == INCLUSIVE else used) for used in _windows(points)]
    fits = {label: record.fits[label] for label in labels if label in record.fits}
    flat = [_flat(name, used, one.flatness) for used, one in studies.items() if one.flatness is not None]
    events = [anomalous_table(fit_label(name, used), one.anomalous) for used, one in studies.items()]
    return SelectionPart(
        name=name,
        title="Without selection" if name == INCLUSIVE else f"Method {readable(name)}",
        words=_words(name, studies),
        spectra=tuple(own["spectra"]),
        scores=(*own["scores"], *flat),
        training=tuple(shown for used, one in studies.items() for shown in _training(name, used, one)),
        tables=(
            tables.scan_table(points, readable(name)),
            *tables.fit_tables(fits),
            *([flatness_table(name, studies)] if flat else []),
        ),
        anomalous=tuple(table for table in events if table is not None),
    )


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
    verdict = (
        "The fraction is compatible with flat."
        if found.p_value >= _FLAT
        else "The fraction is not flat: the selection follows the mass, or signal lies beside the signal region. The fit of "
        "the spectrum takes up a smooth trend, not a bump."
    )
    caption = (
        f"{label}: fraction of the data that is selected, beside the signal region; error bars: binomial, for the flat "
        f"fraction. χ²/ndf = {found.chi2:.1f}/{found.dof}, p = {significant(found.p_value, 2)}. {verdict}"
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
        what = "boosted ensembles" if next(iter(parts.values())).first == 0 else f"networks ({kind})"
        caption = (
            f"{label}: validation loss of the {what} of all folds, in number {members}. Line: median of those that still "
            "train; band: all of them. It ends where less than half of them still train."
        )
        shown = {(f"{label}, {kind}" if not several else part): curve for part, curve in parts.items()}
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


def comparison_parts(record: RunRecord) -> tuple[list[Shown], list[Table]]:
    """Significance improvements by window, and how alike methods are.

    Parameters
    ----------
    record
        The run.

    Returns
    -------
    shown, tables
        Charts, and tables of pairs of methods.
    """
    figures, found = [], []
    for used, study in record.studies.windows.items():
        curves = {
            f"{readable(method)}, {sample}" if len(one.improvement) > 1 else readable(method): curve
            for method, one in study.methods.items()
            for sample, curve in one.improvement.items()
        }
        if curves:
            samples = dict.fromkeys(sample for one in study.methods.values() for sample in one.improvement)
            words = "; ".join(f"{name} {_largest_gain(curve)}" for name, curve in curves.items())
            caption = (
                f"Window {used}: significance improvement of {', '.join(samples)}. Largest: {words}; the errors are those of "
                "the numbers of events that pass."
            )
            figures.append(shown_chart(f"improvement_{used}", improvement_chart(curves), caption, caption))
        for sample, matrices in study.alike.items():
            found += matrix_tables(used, sample, matrices, folded=sample != record.scan.sample)
    return figures, found


def _largest_gain(curve: Improvement) -> str:
    """The largest improvement, and the background efficiency where it is reached."""
    best = max(range(len(curve.value)), key=lambda k: curve.value[k])
    return f"{with_error(curve.value[best], curve.error[best])} at {percent(curve.background_efficiency[best], 2)}"


def matrix_tables(used: str, sample: str, matrices: Matrices, *, folded: bool) -> list[Table]:
    """Complementarity of the methods in a window: correlation of scores, and overlap of what they select.

    Parameters
    ----------
    used
        Name of the window.
    sample
        Whose events are compared.
    matrices
        Of n methods, shape (n, n).
    folded
        Whether a reader opens them on demand.

    Returns
    -------
    list of Table
        Correlations; overlaps.
    """
    names = tuple(readable(name) for name in matrices.methods)
    where = f"window {used}, {sample} in the signal region"
    correlation = tuple(
        (name, *(fixed(value) for value in row))
        for name, row in zip(names, matrices.correlation, strict=True)
    )
    overlap = tuple(
        (name, *(_share(value, both) for value, both in zip(row, counts, strict=True)))
        for name, row, counts in zip(names, matrices.overlap, matrices.both, strict=True)
    )
    return [
        Table(f"Rank correlation of the scores, {where}.", ("", *names), correlation, folded=folded),
        Table(
            f"Overlap of the selected events, {where}: selected by both over selected by either, and events selected by both.",
            ("", *names),
            overlap,
            folded=folded,
        ),
    ]


def _share(value: float | None, both: float) -> str:
    events = count(both) if both == round(both) else significant(both)
    return MISSING if value is None else f"{percent(value, 2)} ({events})"
