"""The result of a run in a few lines of text, for the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import norm

from analysis.report.numbers import at_least, at_most, with_error
from analysis.toy_bounds import limit_of_none, local_limit
from data.files import read_json


def summary_lines(root: Path) -> list[str]:
    """Largest local excess of each selection, the event account, and where the report is.

    Parameters
    ----------
    root
        A finished run folder.
    """
    scan, account = read_json(root / "scan.json"), read_json(root / "account.json")
    number = f"{account['processed']:,} of {account['expected']:,}"
    lines = [f"{scan['sample']} searched; {number} events of all samples processed"]
    found = scan.get("global", {}).get("selections", {})
    lines += [f"  {_excess(name, rows, found.get(name))}" for name, rows in scan["selections"].items()]
    page = root / "report" / "index.html"
    return [*lines, f"  report: {page}"] if page.is_file() else lines


def summary_document(root: Path) -> dict[str, Any]:
    """The same for programs.

    Parameters
    ----------
    root
        A finished run folder.

    Returns
    -------
    dict
        ``selections``: of each, the row of `scan.json` with the largest local significance (null where no fit is
        valid) and its global p-value, null where there is none.
    """
    scan, account = read_json(root / "scan.json"), read_json(root / "account.json")
    found = scan.get("global", {}).get("selections", {})
    page = root / "report" / "index.html"
    selections = {}
    for name, rows in scan["selections"].items():
        valid = [row for row in rows if row["valid"]]
        best = max(valid, key=lambda row: row["z"], default=None)
        selections[name] = {"largest_excess": best, "p_global": found.get(name, {}).get("p_global")}
    return {
        "run": str(root),
        "sample": scan["sample"],
        "expected": account["expected"],
        "processed": account["processed"],
        "selections": selections,
        "invalid": invalid_masses(root),
        "limits": str(root / "limits.json") if (root / "limits.json").is_file() else None,
        "report": str(page) if page.is_file() else None,
    }


def invalid_masses(root: Path) -> list[str]:
    """Masses whose fit is not valid, as ``SELECTION at MASS GeV: reason``."""
    selections = read_json(root / "scan.json")["selections"]
    return [
        f"{name} at {row['mass']:g} GeV: " + str(row["message"]).removeprefix(f"mass {row['mass']:g} GeV: ")
        for name, rows in selections.items()
        for row in rows
        if not row["valid"]
    ]


def _excess(name: str, rows: Sequence[dict[str, Any]], look_elsewhere: dict[str, Any] | None) -> str:
    valid = [row for row in rows if row["valid"]]
    if not valid:
        return f"{name:<10} no valid fit"
    best = max(valid, key=lambda row: row["z"])
    line = f"{name:<10} largest excess at {best['mass']:g} GeV: local {_local(best)}"
    if look_elsewhere is None:
        return f"{line} (no look-elsewhere correction)"
    if look_elsewhere["message"] is not None:
        return f"{line} (no global p-value: {look_elsewhere['message']})"
    return f"{line}, global {_global(look_elsewhere)}"


def _local(row: Mapping[str, Any]) -> str:
    """Local significance and p-value of a mass; limits where no toy was as extreme as the data."""
    limit = local_limit(row["p0"], row.get("message"))
    if limit is None:
        return f"Z = {row['z']:.2f}, p0 = {row['p0']:.2g}"
    return f"Z > {at_least(float(norm.isf(limit)), 2)}, p0 < {at_most(limit, 2)} at 95 % CL"


def _global(entry: Mapping[str, Any]) -> str:
    """A p-value counted in toys with its error; a limit where none was as extreme as the data."""
    if entry["p_global"] == 0:
        return f"p < {at_most(limit_of_none(entry['n_toys']), 2)} at 95 % CL"
    return f"p = {entry['p_global']:.2g} ± {entry['p_global_error']:.1g}"


def result_lines(result: dict[str, Any]) -> list[str]:
    """The result of a spectrum in a few lines.

    Parameters
    ----------
    result
        As `analysis.result_document.ResultDocument`.
    """
    background, lines = result["background"], []
    if background is not None:
        p = "without ndf" if background["fit_p"] is None else f"p = {background['fit_p']:.2g}"
        lines.append(
            f"background {background['function']}: χ² = {background['chi2']:.1f}, ndf = {background['ndf']}, {p}"
        )
    for mass, row in result["masses"].items():
        text = "no valid fit"
        if row["valid"]:
            text = f"{_local(row)}, {with_error(row['signal_yield'], row['signal_yield_error'])} events"
        if row["limit_observed"] is not None:
            text += f", limit {row['limit_observed']:.4g} (expected {row['limit_expected'][2]:.4g})"
        lines.append(f"  {mass} GeV: {text}")
    for name, what in (("global", "global significance"), ("bumphunter", "BumpHunter")):
        found = result[name]
        if found is not None and found["p_global"] is not None:
            lines.append(f"{what}: {_global(found)}")
    return lines


def bias_lines(result: dict[str, Any]) -> list[str]:
    """The result of a bias study in a few lines.

    Parameters
    ----------
    result
        As `analysis.bias.bias_study` gives it.
    """
    pulls = [row for row in result["pulls"] if row["pull_mean"] is not None]
    lines = [
        f"not used: {name}: {row['message']}"
        for name, row in result["alternatives"].items()
        if row["message"]
    ]
    if pulls:
        worst = max(pulls, key=lambda row: abs(row["pull_mean"]))
        lines.append(
            f"largest mean pull: {worst['pull_mean']:+.2f} ± {worst['pull_mean_error']:.2f} at {worst['mass']:g} GeV, "
            f"{worst['alternative']}, {worst['injected_sigma']:g} σ injected"
        )
    largest = result["max_spurious_ratio"]
    lines.append(
        f"largest spurious signal: {largest['signal_yield']:.3g} events ({largest['ratio']:+.2f} σ) at {largest['mass']:g} GeV, "
        f"{largest['alternative']}"
    )
    return [*lines, "passed" if result["passed"] else "not passed: see the rows with passed = false"]
