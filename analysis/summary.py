"""The result of a run in a few lines of text, for the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.files import read_json


def summary_lines(root: Path) -> list[str]:
    """Largest local excess of each selection, the event account, and where the report is.

    Parameters
    ----------
    root
        A finished run folder.
    """
    scan, account = read_json(root / "scan.json"), read_json(root / "account.json")
    lines = [f"{scan['sample']}: {account['processed']:,} of {account['expected']:,} events processed"]
    lines += [f"  {_excess(name, rows)}" for name, rows in scan["selections"].items()]
    page = root / "report" / "index.html"
    return [*lines, f"  report: {page}"] if page.is_file() else lines


def invalid_masses(root: Path) -> list[str]:
    """Masses whose fit is not valid, as ``SELECTION at MASS GeV: reason``."""
    selections = read_json(root / "scan.json")["selections"]
    return [
        f"{name} at {row['mass']:g} GeV: {row['message']}"
        for name, rows in selections.items()
        for row in rows
        if not row["valid"]
    ]


def _excess(name: str, rows: Sequence[dict[str, Any]]) -> str:
    valid = [row for row in rows if row["valid"]]
    if not valid:
        return f"{name:<10} no valid fit"
    best = max(valid, key=lambda row: row["z"])
    return (
        f"{name:<10} largest excess at {best['mass']:g} GeV: local Z = {best['z']:.2f}, p0 = {best['p0']:.2g}"
        " (no look-elsewhere correction)"
    )
