"""The report's words about local and global significances."""

import math

from scipy.stats import norm

from analysis.report.numbers import at_least, at_most, count, fixed, significant, with_error
from analysis.report.record import GlobalEntry, Scan, ScanPoint, largest_excess
from analysis.toy_bounds import limit_of_none


def local_z(point: ScanPoint) -> str:
    """Local significance of a mass, e.g. ``4.21``; ``> 3.61``, at 95 % CL, where no toy was as extreme as the data."""
    if point.is_bound and point.told_z is not None:
        return f"> {at_least(point.told_z, 2)}"
    return fixed(point.told_z)


def local_p(point: ScanPoint) -> str:
    """Local p-value of a mass, e.g. ``0.012``; ``< 1.5 × 10⁻⁴``, at 95 % CL, where no toy was as extreme as the data."""
    if point.is_bound and point.told_p0 is not None:
        return f"< {at_most(point.told_p0, 2)}"
    return significant(point.told_p0, 2)


def level(point: ScanPoint) -> str:
    """`` at 95 % CL`` behind numbers of `local_z` and `local_p` that are limits; else empty."""
    return " at 95 % CL" if point.is_bound else ""


def signed(number: str) -> str:
    """A number of `local_z` or `local_p` behind its sign, that of equality where it has none of its own."""
    return number if number[0] in "<>" else f"= {number}"


def largest_of_all(scan: Scan) -> tuple[str, ScanPoint] | None:
    """The selection and the mass of the largest local significance; None where no fit is valid."""
    best: tuple[str, ScanPoint] | None = None
    for name, points in scan.selections.items():
        found = largest_excess(points)
        if found is not None and (best is None or (found.z or 0.0) > (best[1].z or 0.0)):
            best = (name, found)
    return best


def global_p_values(scan: Scan) -> dict[str, str]:
    """The global p-value of each selection, in words; empty where no pseudo-experiments were made."""
    if scan.look_elsewhere is None:
        return {}
    return {name: _p_value(entry) for name, entry in scan.look_elsewhere.selections.items()}


def over_methods(scan: Scan) -> str | None:
    """A sentence on the largest excess of all methods; None where there is but one."""
    found = None if scan.look_elsewhere is None else scan.look_elsewhere.over_methods
    if found is None:
        return None
    return (
        f"Over all selections, in toys that share events between them as the data do, the global p of the largest excess "
        f"is {_p_value(found)}."
    )


def global_significance(scan: Scan) -> str:
    """What the largest excess is worth after all places that were looked at, as the end of a sentence.

    Parameters
    ----------
    scan
        With a valid fit at one mass at least.

    Returns
    -------
    str
        From pseudo-experiments where there are some: over all selections, or over the masses of the only one. Else the
        bound of Boole: among n tests a p-value as small as p turns up by chance with a probability of n p at most,
        however the tests hang together.
    """
    best = largest_of_all(scan)
    toys = scan.look_elsewhere
    if toys is not None and best is not None:
        entry, over = toys.over_methods, "all selections and masses"
        if entry is None:
            entry, over = toys.selections.get(best[0]), f"the masses of {best[0]}"
        if entry is not None and entry.p_global is not None:
            return _worth(entry, entry.p_global, over)
    tests = sum(len(points) for points in scan.selections.values())
    bound = math.inf if best is None or best[1].told_p0 is None else tests * best[1].told_p0
    if tests == 1:
        return "the only place looked at, so that the global significance is the local one"
    if bound >= 0.5:
        return (
            f"which may well be chance after a look at {count(tests)} places: the local p₀ times their number bounds the global "
            f"one by {'1' if bound >= 1 else at_most(bound, 2)} only"
        )
    return (
        f"global significance at least {at_least(float(norm.isf(bound)), 1)}σ (p at most {at_most(bound, 2)}"
        f"{level(best[1]) if best else ''}: the local one times the {count(tests)} places looked at)"
    )


def _worth(entry: GlobalEntry, p_global: float, over: str) -> str:
    """Significance and p-value of pseudo-experiments, as the end of a sentence."""
    if p_global >= 0.5:
        return f"which is no excess over {over} (global p = {_p_value(entry)})"
    if p_global == 0:
        least = at_least(float(norm.isf(limit_of_none(entry.n_toys))), 1)
        return f"global significance over {over} above {least}σ at 95 % CL (p {_p_value(entry)})"
    return f"global significance over {over} {fixed(float(norm.isf(p_global)), 1)}σ (p = {_p_value(entry)})"


def _p_value(entry: GlobalEntry) -> str:
    if entry.p_global is None:
        return f"none: {entry.message}"
    bound = f"Gross–Vitells {significant(entry.gross_vitells, 2)}"
    if entry.p_global == 0:
        most = at_most(limit_of_none(entry.n_toys), 2)
        return f"below {most} at 95 % CL (none of {count(entry.n_toys)} toys is as extreme; {bound})"
    return f"{with_error(entry.p_global, entry.p_global_error)} ({entry.n_toys} toys; {bound})"
