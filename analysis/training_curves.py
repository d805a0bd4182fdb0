"""How the networks of a trained method learned: the losses that its bundle keeps, of training and validation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.study_record import Numbers, TrainingCurve
from models.jobs import LOSSES, TREES


def training_curves(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, dict[str, TrainingCurve]]:
    """Losses of each part of a method, the members of all folds together.

    Parameters
    ----------
    arrays
        Those of a bundle: ``foldN/losses/KIND/PART/validation`` and ``…/training``, float (members, epochs), ∞ after a
        member's end.

    Returns
    -------
    dict
        Kind of network to its parts, each with its losses up to the epoch that half of the members reach; empty where
        there are none.
    """
    parts: dict[tuple[str, str], dict[str, list[npt.NDArray[np.float64]]]] = {}
    for name in sorted(arrays):
        fold, _, path = name.partition("/")
        if fold.startswith("fold") and path.startswith(LOSSES):
            kind, part, which = path.removeprefix(LOSSES).split("/")
            histories = parts.setdefault((kind, part), {"validation": [], "training": []})
            histories[which].append(np.asarray(arrays[name], dtype=np.float64))
    found: dict[str, dict[str, TrainingCurve]] = {}
    for (kind, part), histories in parts.items():
        curve = _curve(_joined(histories["validation"]), _joined(histories["training"]), kind)
        if curve is not None:
            found.setdefault(kind, {})[part] = curve
    return found


def _joined(histories: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """The members of all folds, shape (members, epochs); not-a-number after a member's end."""
    longest = max(history.shape[1] for history in histories)
    padded = [
        np.pad(history, ((0, 0), (0, longest - history.shape[1])), constant_values=np.nan)
        for history in histories
    ]
    losses = np.concatenate(padded)
    losses[~np.isfinite(losses)] = np.nan
    return losses


def _curve(
    losses: npt.NDArray[np.float64], training: npt.NDArray[np.float64], kind: str
) -> TrainingCurve | None:
    """None where not even half of the members have a finite loss after one epoch."""
    going = np.isfinite(losses).sum(axis=0)
    losses = losses[:, : int(np.count_nonzero(going >= len(losses) / 2))]
    if not losses.shape[1]:
        return None
    low, median, high = np.nanquantile(losses, [0.0, 0.5, 1.0], axis=0)
    return TrainingCurve(
        members=len(losses),
        first=0 if kind == TREES else 1,
        median=_plain(median),
        low=_plain(low),
        high=_plain(high),
        training=_plain(np.nanmedian(training[:, : losses.shape[1]], axis=0)),
    )


def _plain(values: npt.NDArray[np.float64]) -> Numbers:
    return tuple(values.tolist())
