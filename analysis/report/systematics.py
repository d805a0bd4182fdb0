"""The report's part on the uncertainties of the signal: a plot a selection, and tables by simulated mass."""

from collections.abc import Iterator, Mapping, Sequence

from analysis.plots.style import PlotLabel
from analysis.plots.systematics import source_name, systematics_figure
from analysis.report.bars import Bar, Bars
from analysis.report.figures import Drawn
from analysis.report.labels import fit_label, readable
from analysis.report.numbers import MISSING, change, percent
from analysis.report.record import (
    MassSystematics,
    RunRecord,
    SelectionSystematics,
    Systematics,
    YieldShift,
    largest_excess,
)
from analysis.report.tables import Table
from analysis.systematics import SourceShift

CLEARLY_MORE = 1.25
"""A mean moved by so many times the fits' own uncertainty is worth a word: binning and tails alone move the mean of the
selected signal by some more than the peak."""


def draw_systematics(record: RunRecord, label: PlotLabel) -> Iterator[Drawn]:
    """Draw the uncertainties of each selection of the scan, at the mass of its largest excess.

    Parameters
    ----------
    record
        The run.
    label
        What stands above each plot.

    Yields
    ------
    Drawn
        One a selection whose uncertainties are known there.
    """
    for name, points in record.scan.selections.items():
        best = largest_excess(points)
        if best is None:
            continue
        used = fit_label(name, best.window)
        selection = record.systematics.selections.get(used)
        there = [one for one in selection.masses if one.mass == best.mass] if selection else []
        if not there:
            continue
        one = there[0]
        figure = systematics_figure(
            [_shift(source) for source in one.sources],
            label,
            notes=(readable(used), rf"$\mathit{{m}}_{{X}}$ = {one.mass:g} GeV"),
        )
        used_by = "They enter the limits" if record.systematics.in_limits else "They do not enter the limits"
        totals = f"−{percent(one.down)}, +{percent(one.up)}"
        yield Drawn(
            "systematics",
            f"systematics_{name}",
            figure,
            f"{readable(used)}, {one.mass:g} GeV: uncertainties by change of yield: relative change of the selected signal's "
            "yield at ±1 standard deviation of each source, with the trained selection fixed; the largest first, which is "
            f"not the order of what they do to the fitted signal; total in quadrature {totals}. {used_by}."
            + _beyond_fit(one, record.systematics),
            f"Bars of the signal yield's uncertainties of {readable(used)} at {one.mass:g} GeV, the largest first: "
            f"{_largest(one)}; total {totals}.",
            chart=_bars(one),
            owner=name,
        )


def _bars(one: MassSystematics) -> Bars:
    """The total, then the sources, the largest first, in per cent."""
    ordered = sorted(one.sources, key=lambda source: (-max(abs(source.up), abs(source.down)), source.name))
    total = Bar("Total", 100 * one.up, -100 * one.down, total=True)
    bars = [Bar(plain_name(source.name), 100 * source.up, 100 * source.down) for source in ordered]
    return Bars((total, *bars), "Change of signal yield [%]")


def _beyond_fit(one: MassSystematics, fitted: Systematics) -> str:
    """Names the sources that move the mean of the signal clearly more than the fits let the peak move.

    Nothing where the limits do not use the uncertainties. What the fits allow is a number of the configuration, given apart
    from the sources.
    """
    larger = [source for source in one.sources if abs(source.mean) > CLEARLY_MORE * fitted.jes]
    if not larger or not fitted.in_limits:
        return ""
    named = ", ".join(f"{plain_name(source.name)} {percent(abs(source.mean))}" for source in larger)
    return (
        f" The mean of the selected signal in the fit range changes by {named}, more than the {percent(fitted.jes)} that the "
        "fits let the peak move (systematics.jes)."
    )


def _shift(source: YieldShift) -> SourceShift:
    return SourceShift(source.name, "given", source.up, source.down)


def _largest(one: MassSystematics) -> str:
    ordered = sorted(one.sources, key=lambda source: -max(abs(source.up), abs(source.down)))
    return ", ".join(
        f"{plain_name(source.name)} {both_changes(source.up, source.down)}" for source in ordered[:3]
    )


def both_changes(first: float, second: float) -> str:
    """Relative changes up and down, signs included, in per cent.

    Parameters
    ----------
    first, second
        0.1 is 10 % more.

    Returns
    -------
    str
        E.g. ``+1.2 / −1.1 %``.
    """
    return f"{change(100 * first, 1)} / {change(100 * second, 1)} %"


def systematics_tables(selections: Mapping[str, SelectionSystematics]) -> list[Table]:
    """One table a selection: sources against simulated masses; folded from the second on.

    Parameters
    ----------
    selections
        By label.

    Returns
    -------
    list of Table
        Changes in per cent.
    """
    tables: list[Table] = []
    for label, selection in selections.items():
        # Without simulation all masses have the same uncertainties.
        shown = selection.signals or selection.masses[:1]
        if shown:
            tables.append(_table(label, shown, simulated=bool(selection.signals), folded=bool(tables)))
    return tables


def _table(label: str, shown: Sequence[MassSystematics], *, simulated: bool, folded: bool) -> Table:
    names = list(dict.fromkeys(source.name for one in shown for source in one.sources))
    rows = []
    for name in names:
        found = [next((source for source in one.sources if source.name == name), None) for one in shown]
        changes = (MISSING if one is None else both_changes(one.up, one.down) for one in found)
        rows.append((plain_name(name), *changes))
    rows.append(("Total", *(both_changes(one.up, -one.down) for one in shown)))
    head = ("Source", *(f"{one.mass:g} GeV" if simulated else "All masses" for one in shown))
    caption = (
        f"{readable(label)}: relative change of the selected signal's yield in the fit range at +1 / −1 standard deviation of "
        "each source."
    )
    return Table(caption, head, tuple(rows), folded=folded)


def plain_name(name: str) -> str:
    """A source in the page's own letters, which know no mathematics."""
    return "μR, μF" if name == "scales" else source_name(name)
