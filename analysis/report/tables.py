"""The report's tables: rows of ready strings, and the summary of each selection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.report.labels import fit_label, readable
from analysis.report.look_elsewhere import level, local_p, local_z
from analysis.report.numbers import MISSING, count, counted, fixed, interval, percent, significant, with_error
from analysis.report.record import (
    BackgroundFit,
    Scan,
    ScanPoint,
    largest_excess,
)
from analysis.windows import window
from processors.scorers import INCLUSIVE


@dataclass(frozen=True)
class Table:
    """A table of strings.

    Attributes
    ----------
    caption
        One sentence that says what the table holds.
    head
        Column titles.
    rows
        One string a column.
    text_columns
        How many columns from the left hold words rather than numbers.
    folded
        Whether the reader opens it on demand, because it can be long.
    words
        Further columns that hold words, and many of them, by number.
    stacked
        Whether the last column stands below the others where the page is narrow.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    folded: bool = False
    words: tuple[int, ...] = ()
    stacked: bool = False

    def is_word(self, column: int) -> bool:
        """Whether a column holds words rather than numbers."""
        return column < self.text_columns or column in self.words


@dataclass(frozen=True)
class Excess:
    """The largest excess of one selection, as strings.

    Attributes
    ----------
    selection
        Its name.
    found
        Whether any mass has a valid fit; the other strings are dashes where none has.
    z, p0, mass, window, events
        Local significance, local p-value, mass (GeV), window and fitted signal events.
    limits
        (what, observed, median expected) at that mass: in events, and in fb where known.
    tested
        Masses tested, in words.
    invalid
        How many of them have no valid fit.
    """

    selection: str
    found: bool
    z: str
    p0: str
    mass: str
    window: str | None
    events: str
    limits: tuple[tuple[str, str, str], ...]
    tested: str
    invalid: int


def excesses(scan: Scan) -> list[Excess]:
    """The largest excess of each selection, in the order of the scan."""
    return [_excess(name, points) for name, points in scan.selections.items()]


def _excess(name: str, points: tuple[ScanPoint, ...]) -> Excess:
    best = largest_excess(points)
    invalid = sum(not point.valid for point in points)
    if best is None:
        dashes = dict.fromkeys(("z", "p0", "mass", "events"), MISSING)
        return Excess(
            selection=name,
            found=False,
            window=None,
            limits=(),
            tested=_tested(points),
            invalid=invalid,
            **dashes,
        )
    limits = [("events", significant(best.limit_observed), significant(_median(best.limit_expected)))]
    if best.limit_observed_fb is not None:
        limits.append(
            ("fb", significant(best.limit_observed_fb), significant(_median(best.limit_expected_fb)))
        )
    return Excess(
        selection=name,
        found=True,
        z=local_z(best),
        p0=f"{local_p(best)}{level(best)}",
        mass=f"{best.mass:g}",
        window=best.window,
        events=with_error(best.signal_yield, best.signal_yield_error),
        limits=tuple(limits),
        tested=_tested(points),
        invalid=invalid,
    )


def _tested(points: Sequence[ScanPoint]) -> str:
    return f"{counted(len(points), 'mass', 'masses')} tested"


def _median(expected: tuple[float | None, ...] | None) -> float | None:
    return None if expected is None else expected[2]


def window_table(scan: Scan, kept: Mapping[str, float | None]) -> Table | None:
    """The windows in which methods were tested, or None where nothing but the inclusive scan was made.

    Parameters
    ----------
    scan
        The scan.
    kept
        Label of a selection to the share of the data that it keeps in the side bands; see `side_band_share`.

    Returns
    -------
    Table or None
        One row a method and window: mass intervals in GeV, working point, share kept, masses tested.
    """
    rows = []
    for name, points in scan.selections.items():
        for used in dict.fromkeys(point.window for point in points):
            if used is None or name == INCLUSIVE:
                continue
            here = window(used)
            masses = [f"{point.mass:g}" for point in points if point.window == used]
            bands = (interval(*here.low_band), interval(*here.signal_region), interval(*here.high_band))
            shares = percent(here.working_point), percent(kept.get(fit_label(name, used)))
            rows.append((name, used, *bands, *shares, ", ".join(masses)))
    regions = ("Low band", "Signal region", "High band")
    head = ("Method", "Window", *regions, "Working point", "Side bands kept", "Masses tested")
    caption = (
        "Windows: dijet masses in GeV. Working point: the share of the background that a selection is set to keep; one of "
        "fixed cuts does not know it. Side bands kept: the share of the data that it does keep there, in the mean of both."
    )
    return Table(caption, head, tuple(rows), text_columns=2) if rows else None


def fit_tables(fits: Mapping[str, BackgroundFit]) -> list[Table]:
    """Quality of each background-only fit, and the F-tests that chose the functions.

    Parameters
    ----------
    fits
        By label of the selection.

    Returns
    -------
    list of Table
        Ranges in GeV, functions, χ²; none where no fit is valid.
    """
    if not fits:
        return []
    quality = tuple(
        (
            readable(label),
            fit.function,
            interval(*fit.range),
            count(sum(fit.observed)),
            f"{fixed(fit.chi2, 1)} / {fit.ndf}",
            significant(fit.fit_p, 2),
        )
        for label, fit in fits.items()
    )
    steps = tuple(
        (
            readable(label),
            str(step.n),
            fixed(step.chi2, 1),
            count(step.ndf),
            significant(step.p, 2),
            significant(step.p_f, 2),
        )
        for label, fit in fits.items()
        for step in fit.f_test
    )
    tables = [
        Table(
            "Background-only fits.",
            ("Selection", "Function", "Range [GeV]", "Events", "χ² / ndf", "p"),
            quality,
            text_columns=2,
        )
    ]
    if steps:
        head = ("Selection", "Parameters", "χ²", "ndf", "p of χ²", "p of the F-test")
        caption = (
            "F-tests: how many shape parameters each spectrum needs. Each function is tested against the last one before it "
            "that was taken."
        )
        tables.append(Table(caption, head, steps, folded=True))
    return tables


def scan_table(points: Sequence[ScanPoint], name: str) -> Table:
    """Local significance and fitted yield of one selection at every mass.

    Parameters
    ----------
    points
        Tested masses, GeV.
    name
        Of the selection.

    Returns
    -------
    Table
        One row a mass.
    """
    rows = tuple(
        (
            f"{point.mass:g}",
            point.window or MISSING,
            local_z(point),
            local_p(point),
            with_error(point.signal_yield, point.signal_yield_error),
            point.function or MISSING,
            significant(point.fit_p, 2),
            significant(point.signal_fit_p, 2),
        )
        for point in points
    )
    head = (
        "Mass [GeV]",
        "Window",
        "Local Z",
        "Local p₀",
        "Signal events",
        "Function",
        "p of background fit",
        "p with signal",
    )
    shown = _without_empty(head, rows, keep=(0, 2, 3, 4))
    limits = (
        " Behind < and >: limits at 95 % CL, where no toy is as extreme as the data."
        if any(point.is_bound for point in points)
        else ""
    )
    return Table(f"{name}: scan. A dash stands where the fit is not valid.{limits}", *shown, text_columns=0)


def remark_table(scan: Scan) -> Table | None:
    """What the fits have to say: why a mass is not valid, and remarks on valid ones; None where nothing.

    Parameters
    ----------
    scan
        All selections.

    Returns
    -------
    Table or None
        One row a mass with a remark; None if none has one.
    """
    rows = tuple(
        (name, f"{point.mass:g}", "yes" if point.valid else "no", point.message)
        for name, points in scan.selections.items()
        for point in points
        if point.message
    )
    head = ("Selection", "Mass [GeV]", "Valid", "Remark")
    caption = "Remarks of the fits."
    return Table(caption, head, rows, text_columns=3, words=(3,), stacked=True) if rows else None


def limit_tables(points: Sequence[ScanPoint], name: str) -> list[Table]:
    """Observed and expected limits of one selection at every mass: in events, and in fb where known.

    Parameters
    ----------
    points
        Tested masses, GeV.
    name
        Of the selection.

    Returns
    -------
    list of Table
        Limits in events, and in fb where they are known.
    """
    caption = f"{name}: upper limits at 95 % confidence level"
    head = ("Mass [GeV]", "Observed", "Expected", "±1σ", "±2σ")
    events = tuple(
        (f"{point.mass:g}", significant(point.limit_observed), *_expected(point.limit_expected))
        for point in points
    )
    tables = [Table(f"{caption}, signal events.", head, events, text_columns=0)]
    if any(point.limit_observed_fb is not None for point in points):
        cross_sections = tuple(
            (
                f"{point.mass:g}",
                significant(point.limit_observed_fb),
                *_expected(point.limit_expected_fb),
                percent(point.efficiency),
            )
            for point in points
        )
        tables.append(
            Table(
                f"{caption} on the cross section × B, fb.",
                (*head, "Efficiency"),
                cross_sections,
                text_columns=0,
            )
        )
    return tables


def _expected(values: tuple[float | None, ...] | None) -> tuple[str, str, str]:
    """Median, and the ends of both bands."""
    if values is None or len(values) != 5 or None in values:
        return MISSING, MISSING, MISSING
    low2, low1, median, high1, high2 = (significant(value) for value in values)
    return median, f"{low1} – {high1}", f"{low2} – {high2}"


def _without_empty(
    head: tuple[str, ...], rows: tuple[tuple[str, ...], ...], keep: tuple[int, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Drop columns that hold nothing at any mass, such as limits in fb where no efficiency is known."""
    used = [i for i in range(len(head)) if i in keep or any(row[i] != MISSING for row in rows)]
    return tuple(head[i] for i in used), tuple(tuple(row[i] for i in used) for row in rows)


def provenance_table(provenance: Mapping[str, Any]) -> Table:
    """Versions, hashes and seeds: nested entries by their dotted path.

    Parameters
    ----------
    provenance
        What is told of the run.

    Returns
    -------
    Table
        One row a fact.
    """
    rows = tuple(_flatten(provenance, ""))
    return Table("Versions, hashes and seeds.", ("Entry", "Value"), rows, text_columns=2)


def _flatten(value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        items = [(f"{path}.{key}" if path else str(key), inner) for key, inner in value.items()]
        return [row for key, inner in items for row in _flatten(inner, key)]
    if isinstance(value, list | tuple):
        return [(path, ", ".join(str(item) for item in value) or MISSING)]
    return [(path, MISSING if value is None or value == {} else str(value))]


def conditions(scan: Scan) -> str:
    """Sample, luminosity and energy of a scan in one line."""
    luminosity = "" if scan.luminosity_ifb is None else f", {significant(scan.luminosity_ifb)} fb⁻¹"
    low, high = min(scan.masses), max(scan.masses)
    place = f"from {low:g} to {high:g} GeV" if low < high else f"at {low:g} GeV"
    tested = f"{counted(len(scan.masses), 'mass', 'masses')} {place}"
    region = "" if scan.region == "signal" else f", region {scan.region} (signal region not opened)"
    return f"Sample {scan.sample}{luminosity}, √s = {scan.sqrt_s / 1000:g} TeV{region}; {tested}"
