"""The report's words about global significances."""

from analysis.report.numbers import significant, with_error
from analysis.report.record import GlobalEntry, Scan


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


def _p_value(entry: GlobalEntry) -> str:
    if entry.message is not None or entry.p_global is None:
        return f"none: {entry.message}"
    bound = f"Gross–Vitells {significant(entry.gross_vitells, 2)}"
    if entry.p_global == 0:
        return f"below 1/{entry.n_toys} (no toy is as extreme; {bound})"
    return f"{with_error(entry.p_global, entry.p_global_error)} ({entry.n_toys} toys; {bound})"
