"""The part of the page that compares methods: significance improvements, and how alike they are."""

from collections.abc import Mapping

from analysis.report.labels import readable
from analysis.report.numbers import MISSING, count, fixed, percent, significant, with_error
from analysis.report.record import RunRecord
from analysis.report.sections import Shown, shown_chart
from analysis.report.study_charts import improvement_chart
from analysis.report.tables import Table
from analysis.study_record import Improvement, Matrices


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
                f"Window {used}: significance improvement of {', '.join(samples)} over {_reference(curves)}. Largest: {words}. "
                "Bands and errors: one standard deviation of the numbers of events that pass; the largest value of a curve "
                "is in part a fluctuation."
            )
            figures.append(shown_chart(f"improvement_{used}", improvement_chart(curves), caption, caption))
        for sample, matrices in study.alike.items():
            found += matrix_tables(used, sample, matrices, folded=sample != record.scan.sample)
    return figures, found


def _largest_gain(curve: Improvement) -> str:
    """The largest improvement, and the background efficiency where it is reached; without a cut it is 1."""
    best = max(range(len(curve.value)), key=lambda k: curve.value[k])
    if curve.background_efficiency[best] == 1.0:
        return "1, that of no cut"
    return f"{with_error(curve.value[best], curve.error[best])} at {percent(curve.background_efficiency[best], 2)}"


def _reference(curves: Mapping[str, Improvement]) -> str:
    """What the background efficiency is of; all methods of a window have the same."""
    one = next(iter(curves.values()))
    events = count(one.background_events)
    if one.reference == "simulation":
        return f"simulated background of the signal region (effective number of events {events})"
    return f"data of the side bands ({events} events)"


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
