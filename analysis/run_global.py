"""Global significances of a run: of each method over its masses and windows, and over all methods."""

import logging
from collections.abc import Mapping
from typing import Any

from analysis.joint_toys import Overlaps
from analysis.look_elsewhere import MethodsSignificance, methods_significance, stitched_significance
from analysis.pseudo_experiments import ScannedSelection
from analysis.results import ScanResult
from data.errors import FitError

_LOG = logging.getLogger("oddjet")


def global_document(
    scans: Mapping[str, Mapping[str, ScanResult]],
    n_toys: int,
    seed: int,
    workers: int = 1,
    *,
    shared: Overlaps | None,
) -> dict[str, Any]:
    """Entry ``global`` of ``scan.json``.

    Parameters
    ----------
    scans
        Method to the scans of its selections, by their labels.
    n_toys
        Pseudo-experiments.
    seed
        Of their random numbers.
    workers
        Threads; results do not depend on it.
    shared
        Events of the data by the set of selections that they pass; None: independent toys.

    Returns
    -------
    dict
        ``selections``: method to its significance as `GlobalSignificance.to_dict`, with a ``message`` (None where all is
        well; only the message where there is no significance) and the labels of selections without a valid mass,
        ``selections_left_out``; ``over_methods``: as `MethodsSignificance.to_dict`, None if fewer than two methods have
        one.
    """
    usable: dict[str, list[ScannedSelection]] = {}
    left_out: dict[str, list[str]] = {}
    for method, results in scans.items():
        valid = [label for label, result in results.items() if any(point.valid for point in result.points)]
        usable[method] = [ScannedSelection.from_scan(label, results[label]) for label in valid]
        left_out[method] = [label for label in results if label not in valid]
    with_valid = {name: found for name, found in usable.items() if found}
    together = _together(with_valid, n_toys, seed, workers, shared)
    entries = {}
    for method, selections in usable.items():
        if together is not None and method in together.single:
            entry = {**together.single[method].to_dict(), "message": None}
        else:
            entry = _alone(method, selections, n_toys, seed, workers, shared)
        entries[method] = {**entry, "selections_left_out": left_out[method]}
    over = together.to_dict() if together is not None and len(together.single) > 1 else None
    return {"selections": entries, "over_methods": over}


def _together(
    methods: Mapping[str, list[ScannedSelection]],
    n_toys: int,
    seed: int,
    workers: int,
    shared: Overlaps | None,
) -> MethodsSignificance | None:
    """All methods from the same toys; None where the toys of one of them fail."""
    if not methods:
        return None
    try:
        return methods_significance(methods, n_toys, seed, shared=shared, workers=workers)
    except FitError as error:
        _LOG.warning("no global significance over all methods: %s", error)
        return None


def _alone(
    method: str,
    selections: list[ScannedSelection],
    n_toys: int,
    seed: int,
    workers: int,
    shared: Overlaps | None,
) -> dict[str, Any]:
    if not selections:
        return {"message": f"{method}: no mass is valid"}
    try:
        found = stitched_significance(selections, n_toys, seed, shared=shared, workers=workers)
    except FitError as error:
        return {"message": f"{method}: {error}"}
    return {**found.to_dict(), "message": None}
