"""Limits with retraining in a few lines of text, for the terminal."""

from pathlib import Path

from analysis.limit_record import LimitPoint, LimitRecord, SelectionLimits
from data.files import read_json

_WHERE = {
    "all_excluded": "below the smallest injection",
    "not_excluded": "above the largest injection",
    "not_excluded_at_top": "above the largest injection",
}


def limit_lines(root: Path) -> list[str]:
    """Observed and expected limit of each signal and selection, and where 5 standard deviations are expected.

    Parameters
    ----------
    root
        A run folder with ``limits.json``.
    """
    lines = []
    for signal, limits in _record(root).signals.items():
        lines.append(f"{signal}, {limits.mass:g} GeV: 95 % CL limits on the cross section")
        lines += [f"  {name:<10} {_line(found)}" for name, found in limits.selections.items()]
    return [*lines, f"  in full: {root / 'limits.json'}, {root / 'plots'}"]


def invalid_limits(root: Path) -> list[str]:
    """Selections without a limit, as ``SELECTION, SIGNAL: reason``."""
    return [
        f"{name}, {signal}: {found.message}"
        for signal, limits in _record(root).signals.items()
        for name, found in limits.selections.items()
        if found.observed is None
    ]


def _record(root: Path) -> LimitRecord:
    path = root / "limits.json"
    return LimitRecord.parse(read_json(path), str(path))


def _line(found: SelectionLimits) -> str:
    if found.observed is None:
        return "no valid fit"
    text = f"{_limit(found.observed)} (expected {_limit(found.expected[2])})"
    five = found.discovery[-1]
    if five.cross_section_fb is not None:
        text += f", {five.z:g}σ expected at {five.cross_section_fb:.3g} fb"
    return text


def _limit(point: LimitPoint) -> str:
    return f"{point.crossing_fb:.3g} fb" if point.status == "ok" else _WHERE[point.status]
