"""How the networks of a trained method learned: the losses that its bundle keeps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.study_record import Numbers, TrainingCurve
from models.trees import HISTORY


def training_curves(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, TrainingCurve]:
    """Validation losses of each part of a method, the members of all folds together.

    Parameters
    ----------
    arrays
        Those of a bundle: ``foldN/PART/history``, float (members, epochs), ∞ after a member's end.

    Returns
    -------
    dict
        Part to its losses, up to the epoch that half of the members reach; empty where there are none.
    """
    parts: dict[str, list[npt.NDArray[np.float64]]] = {}
    for name in sorted(arrays):
        fold, _, path = name.partition("/")
        if not fold.startswith("fold") or path.rpartition("/")[2] != HISTORY:
            continue
        part = path.rpartition("/")[0].removesuffix("/network").removesuffix("network")
        parts.setdefault(part or "network", []).append(np.asarray(arrays[name], dtype=np.float64))
    return {part: _curve(histories) for part, histories in parts.items()}


def _curve(histories: list[npt.NDArray[np.float64]]) -> TrainingCurve:
    longest = max(history.shape[1] for history in histories)
    padded = [
        np.pad(history, ((0, 0), (0, longest - history.shape[1])), constant_values=np.nan)
        for history in histories
    ]
    losses = np.concatenate(padded)
    losses[~np.isfinite(losses)] = np.nan
    going = np.isfinite(losses).sum(axis=0)
    losses = losses[:, : int(np.count_nonzero(going >= len(losses) / 2))]
    low, median, high = np.nanquantile(losses, [0.0, 0.5, 1.0], axis=0)
    return TrainingCurve(members=len(losses), median=_plain(median), low=_plain(low), high=_plain(high))


def _plain(values: npt.NDArray[np.float64]) -> Numbers:
    return tuple(values.tolist())
