"""The whole analysis of a spectrum file, from its document to the result document."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis.bumphunter import hunt
from analysis.look_elsewhere import global_significance
from analysis.result_document import BumpHunterResult, GlobalResult
from analysis.results import MassResult, ScanResult
from analysis.scan import scan
from analysis.scan_inputs import ScanInputs, document_inputs
from analysis.signal_shape import SignalModel
from analysis.signal_template import Signal
from analysis.spectrum import sum_between
from analysis.spectrum_document import SpectrumDocument, mass_key
from analysis.workspace_index import write_index, write_workspaces
from data.errors import FitError, InputError

Progressing = Callable[[int, int], None]
_TOYS = 1000
"""Pseudo-experiments of BumpHunter where the document does not say how many."""
_LABEL = "spectrum"
"""Begins the names of workspaces."""


def run_document(
    document: SpectrumDocument,
    *,
    limits: bool = True,
    look_elsewhere: bool = True,
    workers: int = 1,
    progress: Progressing | None = None,
    workspaces: Path | None = None,
) -> dict[str, Any]:
    """Analyse a spectrum as its document asks.

    Parameters
    ----------
    document
        Spectrum, masses, signal and options.
    limits
        Compute limits.
    look_elsewhere
        Do what the document asks with ``global`` and ``bumphunter``.
    workers
        Threads for pseudo-experiments; the result does not depend on them.
    progress
        Called with how many steps are done and of how many.
    workspaces
        Folder for ``workspaces/spectrum_MASS.json``, a HistFactory workspace of each valid mass, and their index
        ``workspaces.json``; None: none are written.

    Returns
    -------
    dict
        Plain values as `ResultDocument`; a mass whose fit failed is in it, not valid. F-test, background and BumpHunter
        are those of the mass with the largest Z (of the first mass if none is valid).

    Raises
    ------
    ConfigError, InputError
        See `document_inputs`; also if a mass lies outside the fit range.
    """
    inputs = document_inputs(document, limits=limits)
    wanted = (
        document
        if look_elsewhere
        else document.model_copy(update={"look_elsewhere": None, "bumphunter": False})
    )
    total = 1 + (wanted.look_elsewhere is not None) + wanted.bumphunter
    report = progress or (lambda _done, _total: None)
    report(0, total)
    result = scan(inputs.spectrum, inputs.masses, inputs.signal, inputs.config, workers=workers)
    reference = result.reference or result.points[0]
    report(1, total)
    overall = _global(wanted, inputs, workers)
    report(total - wanted.bumphunter, total)
    bumps = _bumps(wanted, reference, workers)
    if workspaces is not None:
        write_index(workspaces, write_workspaces(workspaces, _LABEL, result))
    report(total, total)
    return _result(document, inputs, result) | {"global": overall, "bumphunter": bumps}


def _result(document: SpectrumDocument, inputs: ScanInputs, result: ScanResult) -> dict[str, Any]:
    reference = result.reference or result.points[0]
    return {
        "f_test": _f_test(reference),
        "background": _background(reference),
        "masses": {mass_key(point.mass): _mass_entry(point, inputs.signal) for point in result.points},
        "sqrt_s": document.sqrt_s,
        "n_events": inputs.spectrum.n_events,
        "seed": document.seed,
    }


def invalid_lines(result: dict[str, Any]) -> list[str]:
    """What of a result is not valid, and why; one line a reason: ``2000, 2500 GeV: reason``."""
    by_reason: dict[str, list[str]] = {}
    for key, entry in result["masses"].items():
        if not entry["valid"]:
            reason = str(entry["message"]).removeprefix(f"mass {float(key):g} GeV: ")
            by_reason.setdefault(reason, []).append(key)
    failed = [result[key] for key in ("global", "bumphunter") if result[key] is not None]
    messages = [str(entry["message"]) for entry in failed if entry["message"] is not None]
    return [f"{', '.join(masses)} GeV: {reason}" for reason, masses in by_reason.items()] + messages


def _global(document: SpectrumDocument, inputs: ScanInputs, workers: int) -> dict[str, Any] | None:
    asked = document.look_elsewhere
    if asked is None:
        return None
    # Scans of toys use the asymptotic q0; only its distribution is by toys.
    config = inputs.config.model_copy(update={"calculator": "asymptotic"})
    try:
        found = global_significance(
            inputs.spectrum,
            inputs.signal,
            config,
            asked.masses.masses(),
            asked.toys,
            document.seed,
            workers,
        )
    except FitError as error:
        return dict.fromkeys(GlobalResult.model_fields) | {"message": f"global significance: {error}"}
    return found.to_dict() | {"message": found.message}


def _bumps(document: SpectrumDocument, reference: MassResult, workers: int) -> dict[str, Any] | None:
    if not document.bumphunter:
        return None
    empty = dict.fromkeys(BumpHunterResult.model_fields)
    if reference.background is None:
        return empty | {"message": f"BumpHunter: no background could be fitted; {reference.message}"}
    n_toys = document.look_elsewhere.toys if document.look_elsewhere else _TOYS
    try:
        found = hunt(reference.background, n_toys, document.seed, workers=workers)
    except (FitError, InputError) as error:
        return empty | {"message": str(error)}
    return found.to_dict() | {"message": None}


def _f_test(reference: MassResult) -> dict[str, Any]:
    accepted = [step for step in reference.steps if step.accepted]
    chosen = accepted[-1] if accepted else None
    return {
        "chosen": chosen.n if chosen else None,
        "chi2": chosen.chi2 if chosen else None,
        "ndf": chosen.ndf if chosen else None,
        "mass": reference.mass,
        "steps": [step.to_dict() for step in reference.steps],
    }


def _background(reference: MassResult) -> dict[str, Any] | None:
    fit = reference.background
    if fit is None:
        return None
    chi2, ndf, p = fit.goodness
    log_norm, parameters = fit.model.published(fit.minimum.theta)
    index = fit.coarse_index
    return {
        "function": fit.function,
        "chi2": chi2,
        "ndf": ndf,
        "fit_p": p,
        "parameters": parameters.tolist(),
        "log_norm": log_norm,
        "range": [fit.spectrum.lo, fit.spectrum.hi],
        "coarse_edges": fit.spectrum.edges[index].tolist(),
        "observed": sum_between(fit.spectrum.counts, index).tolist(),
        "expected": sum_between(fit.expected, index).tolist(),
    }


def _mass_entry(point: MassResult, signal: Signal) -> dict[str, Any]:
    row = point.row()
    keys = (
        "z", "p0", "p0_calculator", "signal_yield", "signal_yield_error", "limit_observed", "limit_expected", "function", "fit_p",
        "signal_fit_p",
    )  # fmt: skip
    fit = point.background
    remark = signal.extrapolated(point.mass) if isinstance(signal, SignalModel) else None
    return {
        **{key: row[key] for key in keys},
        "calculator": row["calculator"] or row["p0_calculator"],
        "range": None if fit is None else [fit.spectrum.lo, fit.spectrum.hi],
        "valid": row["valid"],
        "message": "; ".join(text for text in (row["message"], remark) if text) or None,
    }
