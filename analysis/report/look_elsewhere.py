"""The report's words about global significances."""

from analysis.report.numbers import significant, with_error
from analysis.report.record import GlobalEntry, Scan


def global_p_values(scan: Scan) -> dict[str, str]:
    """The global p-value of each selection, in words; empty where no pseudo-experiments were made."""
    if scan.look_elsewhere is None:
        return {}
    return {name: _p_value(entry) for name, entry in scan.look_elsewhere.selections.items()}


def over_methods(scan: Scan) -> str | None:
    """A sentence on the largest excess of all selections; None where there is but one."""
    found = None if scan.look_elsewhere is None else scan.look_elsewhere.over_methods
    if found is None or found.p_global is None:
        return None
    least = significant(found.p_global_correlated, 2)
    most = with_error(found.p_global, found.p_global_error)
    return (
        f"Over all selections the global p of the largest excess is {most} if they fluctuate independently, and no "
        f"less than {least} if they share their events."
    )


def _p_value(entry: GlobalEntry) -> str:
    if entry.message is not None or entry.p_global is None:
        return f"none: {entry.message}"
    bound = f"Gross–Vitells {significant(entry.gross_vitells, 2)}"
    if entry.p_global == 0:
        return f"below 1/{entry.n_toys} (no toy is as extreme; {bound})"
    return f"{with_error(entry.p_global, entry.p_global_error)} ({entry.n_toys} toys; {bound})"
