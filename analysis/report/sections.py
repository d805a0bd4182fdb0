"""The parts of the page that are of a selection, a window or a comparison: words, tables and charts put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from analysis.report import tables
from analysis.report.charts import Chart, draw_chart
from analysis.report.event_display import anomalous_table
from analysis.report.look_elsewhere import global_p_values
from analysis.report.numbers import MISSING, count, fixed, percent, significant, with_error
from analysis.report.record import RunRecord, ScanPoint, fit_label, largest_excess, readable
from analysis.report.retraining import expected_sensitivity
from analysis.report.study_charts import (
    feature_chart,
    feature_title,
    flatness_chart,
    improvement_chart,
    simulation_chart,
    training_chart,
)
from analysis.report.tables import Table
from analysis.study_record import FeatureShape, Flatness, Matrices, MethodStudy
from analysis.windows import window
from processors.scorers import INCLUSIVE


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
    """The result of the run in two sentences: largest excess, and what the run was sensitive to."""
    best: tuple[str, ScanPoint] | None = None
    for name, points in record.scan.selections.items():
        found = largest_excess(points)
        if found is not None and (best is None or (found.z or 0.0) > (best[1].z or 0.0)):
            best = (name, found)
    if best is None:
        return "No mass has a valid fit, so there is no result."
    name, point = best
    where = f" in window {point.window}" if point.window else ""
    words = (
        f"The largest excess is that of {readable(name)} at {point.mass:g} GeV{where}: {fixed(point.z)} standard deviations, "
        f"local p₀ {significant(point.p0, 2)}"
    )
    over = global_p_values(record.scan).get(name)
    words += f", global p {over}." if over else "."
    return " ".join(
        filter(None, (words, _sensitivity(record, point.mass), expected_sensitivity(record.limits)))
    )


def _sensitivity(record: RunRecord, mass: float) -> str:
    """Median expected limits of all selections at a mass."""
    found = []
    for name, points in record.scan.selections.items():
        here = next((point for point in points if point.mass == mass and point.valid), None)
        expected = None if here is None else here.limit_expected_fb
        if expected is not None and expected[2] is not None:
            found.append(f"{significant(expected[2])} fb ({readable(name)})")
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
        training=tuple(_training(name, used, one) for used, one in studies.items() if one.training),
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
    caption = (
        f"{label}: fraction of the data that is selected, beside the signal region; flat within the errors where the selection "
        f"does not follow the mass and no signal lies there: χ²/ndf = {found.chi2:.1f}/{found.dof}, p = {significant(found.p_value, 2)}. A smooth "
        "trend is taken up by the fit of the spectrum, a bump would not be."
    )
    chart = flatness_chart(found, window(used).signal_region)
    return shown_chart(f"flatness_{name}_{used}", chart, caption, f"Sculpting test of {label}. {caption}")


def _training(name: str, used: str, found: MethodStudy) -> Shown:
    label = readable(fit_label(name, used))
    members = ", ".join(f"{part} {curve.members}" for part, curve in found.training.items())
    caption = (
        f"{label}: validation loss of the networks of all folds ({members}): median, and the band that holds all. It ends "
        "where less than half of them still train."
    )
    return shown_chart(
        f"training_{name}_{used}", training_chart(found.training), caption, f"Training curves of {caption}"
    )


def flatness_table(name: str, studies: Mapping[str, MethodStudy]) -> Table:
    """The sculpting tests of a method: χ² and slope in each window."""
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
            f"{feature_title(name)}: {sum(found.data):.0f} events of data against {sum(found.simulation):.0f} simulated, with "
            "their ratio.",
        )
        for name, found in record.studies.simulation.items()
    ]


def comparison_parts(record: RunRecord) -> tuple[list[Shown], list[Table]]:
    """Significance improvements by window, and how alike methods are."""
    figures, found = [], []
    for used, study in record.studies.windows.items():
        curves = {
            f"{readable(method)}, {sample}" if len(one.improvement) > 1 else readable(method): curve
            for method, one in study.methods.items()
            for sample, curve in one.improvement.items()
        }
        if curves:
            samples = dict.fromkeys(sample for one in study.methods.values() for sample in one.improvement)
            best = {name: max(curve.value) for name, curve in curves.items()}
            words = "; ".join(f"{name} {significant(value)}" for name, value in best.items())
            caption = f"Window {used}: significance improvement of {', '.join(samples)}. Largest: {words}."
            figures.append(shown_chart(f"improvement_{used}", improvement_chart(curves), caption, caption))
        for sample, matrices in study.alike.items():
            found += matrix_tables(used, sample, matrices, folded=sample != record.scan.sample)
    return figures, found


def matrix_tables(used: str, sample: str, matrices: Matrices, *, folded: bool) -> list[Table]:
    """Complementarity of the methods in a window: correlation of scores, and overlap of what they select."""
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
