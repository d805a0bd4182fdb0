"""The report's part on limits with retraining: figures and tables from ``limits.json``."""

from collections.abc import Iterator

from analysis.limit_plots import retraining_figure, significance_figure
from analysis.limit_record import (
    DiscoveryPoint,
    InjectionPoint,
    LimitPoint,
    LimitRecord,
    SelectionLimits,
    SignalLimits,
)
from analysis.plots.style import PlotLabel
from analysis.published_significances import CITATION, PUBLISHED, PublishedSignificances
from analysis.report.figures import Drawn
from analysis.report.limit_uncertainties import uncertainty_table
from analysis.report.numbers import MISSING, between, count, fixed, percent, significant, with_error
from analysis.report.retraining_charts import exclusion_chart, significance_chart
from analysis.report.tables import Table
from processors.scorers import INCLUSIVE

SECTION = "retraining"
_MEDIAN = 2
_STATUS = {
    "all_excluded": "below the smallest injection",
    "not_excluded": "above the largest injection",
    "not_excluded_at_top": "above the largest injection",
    "below_smallest": "below the smallest injection",
    "not_reached": "above the largest injection",
    "weak": "not reached",
}


def draw_retraining(record: LimitRecord | None, label: PlotLabel) -> Iterator[Drawn]:
    """Draw the limits with retraining, one figure at a time.

    Parameters
    ----------
    record
        The content of ``limits.json``, or None.
    label
        What stands above each plot.

    Yields
    ------
    Drawn
        Of every signal the significances of all selections, then each method that was trained again.
    """
    published = None if record is None or record.published is None else PUBLISHED[record.published]
    for signal, limits in record.signals.items() if record is not None else ():
        if any(z is not None for one in limits.selections.values() for point in one.points for z in point.z):
            yield Drawn(
                SECTION,
                f"significance_{signal}",
                significance_figure(limits, label, (signal,), published),
                f"Local p-value found for {signal} injected into the data, against its cross section: median of the "
                f"trainings, bars from the lowest to the highest.{_reading(limits, published)}",
                f"Local p-values of {', '.join(limits.selections)} against the injected cross section of {signal}.",
                significance_chart(limits, published),
            )  # fmt: skip
        for name, found in limits.selections.items():
            if not found.retrained or found.observed is None:
                continue
            yield Drawn(
                SECTION,
                f"retraining_{name}_{signal}",
                retraining_figure(found, label, (name, signal)),
                f"{name} trained on the data with {signal} injected. Above: its efficiency for the signal. Below: the "
                "cross section that this efficiency excludes; a cross section is excluded where it lies above its own. "
                f"Observed limit: {_with_unit(found.observed)}.",
                f"Efficiency of {name} for {signal} against the injected cross section, and the cross section it "
                f"excludes; observed limit {_with_unit(found.observed)}.",
                exclusion_chart(found),
            )


def retraining_tables(record: LimitRecord | None) -> list[Table]:
    """Limits by both rules, discovery cross sections, and the injections; none without a record.

    Parameters
    ----------
    record
        Limits with retraining.

    Returns
    -------
    list of Table
        Cross sections in fb.
    """
    if record is None:
        return []
    limits, discovery = [], []
    tables = []
    for signal, one in record.signals.items():
        for name, found in one.selections.items():
            limits.append((signal, name, *_limit_row(found)))
            discovery.append((signal, name, *(_discovery(point) for point in found.discovery)))
            tables.append(_injections(found, f"{name}, {signal}"))
            if found.uncertainties is not None:
                tables.append(uncertainty_table(found.uncertainties, f"{name}, {signal}"))
    head = (
        "Signal",
        "Selection",
        "Observed",
        "68 % interval",
        "Expected",
        "Observed, grid",
        "Expected, grid",
        "Signal uncertainty",
    )
    return [
        Table(
            "95 % CL upper limits on the cross section × B in fb: the crossing of σ = σ_excl(σ), with the interval from the "
            "efficiency's error; grid: the published rule, which knows the injected cross sections only (ties to the larger one).",
            head,
            tuple(limits),
            text_columns=2,
        ),
        Table(
            "Cross sections × B in fb at which a significance is expected, with the interval from the efficiency's error.",
            ("Signal", "Selection", "3σ", "5σ"),
            tuple(discovery),
            text_columns=2,
        ),
        *tables,
    ]  # fmt: skip


def expected_sensitivity(record: LimitRecord | None) -> str:
    """What a search that trains again with each signal is sensitive to, in sentences; empty without a record."""
    sentences = []
    for signal, one in (record.signals if record is not None else {}).items():
        known = {name: found for name, found in one.selections.items() if found.observed is not None}
        limits = [f"{_with_unit(found.expected[_MEDIAN])} ({name})" for name, found in known.items()]
        reached = {
            name: found.discovery[-1] for name, found in known.items() if found.discovery[-1].status == "ok"
        }
        five = [f"{significant(point.cross_section_fb)} fb ({name})" for name, point in reached.items()]
        if limits:
            found = (
                f"where 5σ are expected: {', '.join(five)}"
                if five
                else "no injected cross section is expected to reach 5σ"
            )
            sentences.append(
                f"For {signal}, with the methods trained again on each injected cross section, the median expected 95 % CL upper "
                f"limit is {', '.join(limits)}; {found}."
            )
    return " ".join(sentences)


def _reading(limits: SignalLimits, published: PublishedSignificances | None) -> str:
    """What else the reader of the significances has to know."""
    given = [name for name, one in limits.selections.items() if not one.retrained and name != INCLUSIVE]
    words = f" Not trained again, the same for any data: {', '.join(given)}." if given else ""
    if published is not None and not published.z.keys().isdisjoint(limits.selections):
        words += (
            f" Published: those of {CITATION}, for {published.title}, {significant(published.luminosity_ifb)} fb⁻¹ of "
            "other data and another signal."
        )
    return words


def _limit_row(found: SelectionLimits) -> tuple[str, ...]:
    if found.observed is None:
        return (MISSING,) * 6
    median = found.expected[_MEDIAN]
    return (
        _limit(found.observed),
        between(found.observed.crossing_low_fb, found.observed.crossing_high_fb),
        _limit(median),
        significant(found.observed.grid_tie_fb),
        significant(median.grid_tie_fb),
        MISSING if found.signal_uncertainty is None else percent(found.signal_uncertainty),
    )


def _limit(point: LimitPoint) -> str:
    return significant(point.crossing_fb) if point.status == "ok" else _STATUS[point.status]


def _with_unit(point: LimitPoint) -> str:
    return f"{_limit(point)} fb" if point.status == "ok" else _limit(point)


def _discovery(point: DiscoveryPoint) -> str:
    if point.status != "ok":
        return _STATUS[point.status]
    return f"{significant(point.cross_section_fb)} ({between(point.low_fb, point.high_fb)})"


def _injections(found: SelectionLimits, what: str) -> Table:
    rows = tuple(_injection(point) for point in found.points)
    head = ("σ [fb]", "Events", "Efficiency", "Spread of one training", "Z expected", "Z of each training")
    return Table(f"Injections of {what}.", head, rows, text_columns=0, folded=True)


def _injection(point: InjectionPoint) -> tuple[str, ...]:
    return (
        f"{point.cross_section_fb:g}",
        count(point.injected),
        with_error(point.efficiency, point.error),
        significant(point.spread, 2),
        fixed(point.asimov_z),
        ", ".join(fixed(z) for z in point.z),
    )
