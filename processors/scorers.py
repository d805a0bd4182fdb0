"""Trained methods inside the event loop: loaded once a process, asked once a chunk."""

import functools
import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

import models
from data.errors import InputError
from data.files import hash_json, sha256_file
from data.types import FloatArray, IntArray, Table

INCLUSIVE = "inclusive"
"""Label of the selection that keeps every event."""
FOLDS = 5
"""Each event has this many votes; a weight × votes / 5 is its share in a selection."""
BANDS = ("low", "signal", "high", "outside")
"""Bands of a method's window on the axis ``band``."""


class Scorer(Protocol):
    """What pass 2 needs of a trained method; masses in GeV."""

    @property
    def signal_region(self) -> tuple[float, float]:
        """Edges of the signal region."""
        ...

    @property
    def low_band(self) -> tuple[float, float]:
        """Edges of the lower side band."""
        ...

    @property
    def high_band(self) -> tuple[float, float]:
        """Edges of the upper side band."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that the method reads."""
        ...

    def evaluate(self, table: Table, *, trained_on: bool | None = None) -> tuple[FloatArray, IntArray]:
        """Judge events.

        Parameters
        ----------
        table
            The columns of ``inputs`` and ``mjj`` (GeV), shape (n_events, …).
        trained_on
            Whether the method was trained on this sample, where each event is judged by its own fold.

        Returns
        -------
        score
            Shape (n_events,), a rank in [0, 1].
        votes
            Shape (n_events,), number of folds that select the event.
        """
        ...


@dataclass(frozen=True)
class ScorerReference:
    """A trained method by folder and content: small to send, and never confused with a later training."""

    label: str
    folder: str
    digest: str


def refer(scorers: Mapping[str, Path], trained_on: Collection[str] = ()) -> tuple[ScorerReference, ...]:
    """References to bundles, sorted by label.

    Parameters
    ----------
    scorers
        Label of the selection to the bundle's folder.
    trained_on
        Labels of those that were trained on the sample to be scored.

    Raises
    ------
    InputError
        If a folder holds no bundle, a label is reserved, or ``trained_on`` names another one.
    """
    if INCLUSIVE in scorers:
        msg = f"'{INCLUSIVE}' is the label of all events; give the method another one"
        raise InputError(msg)
    unknown = sorted(set(trained_on).difference(scorers))
    if unknown:
        msg = f"trained_on names the selection '{unknown[0]}'; the selections are: {', '.join(sorted(scorers)) or 'none'}"
        raise InputError(msg)
    references = []
    for label, folder in sorted(scorers.items()):
        files = sorted(path for path in folder.glob("*") if path.is_file())
        if not files:
            msg = f"{folder}: no trained method for selection '{label}'; run `oddjet train` first"
            raise InputError(msg)
        digest = hash_json({path.name: sha256_file(path) for path in files})
        references.append(ScorerReference(label, str(folder), digest))
    return tuple(references)


def import_methods() -> None:
    """Import what trained methods need: seconds, and hundreds of megabytes, that no chunk should be charged with."""
    # the methods themselves import these libraries only where they first use them
    for name in ("models.folded", "torch", "sklearn.ensemble", "models.kernels.forest"):
        importlib.import_module(name)


@functools.cache
def load(reference: ScorerReference) -> Scorer:
    """The method behind a reference, loaded once a process."""
    scorer: Scorer = models.load(Path(reference.folder))
    return scorer


def judge(scorer: Scorer, label: str, table: Table, *, trained_on: bool) -> tuple[FloatArray, IntArray]:
    """Score and votes of each event, checked.

    Parameters
    ----------
    scorer, label
        The method, and the label of its selection.
    table
        The features, shape (n_events, …).
    trained_on
        Whether the method was trained on this sample.

    Returns
    -------
    score
        float64, rank in [0, 1].
    votes
        int64, folds that select the event: 0 … 5; 0 or 5 for the sample that was trained on.

    Raises
    ------
    InputError
        If the method needs a column that is not there, or gives something else.
    """
    missing = [name for name in scorer.inputs if name not in table]
    if missing:
        columns = ", ".join(missing)
        msg = f"selection '{label}': its method needs the columns {columns}, which the features have not; train it again"
        raise InputError(msg)
    given = scorer.evaluate(table, trained_on=trained_on)
    score, votes = np.asarray(given[0], dtype=np.float64), np.asarray(given[1])
    if score.shape != table["mjj"].shape or not ((score >= 0) & (score <= 1)).all():
        msg = f"selection '{label}': the method's scores are not one number in [0, 1] for each event; train it again"
        raise InputError(msg)
    allowed = (0, FOLDS) if trained_on else range(FOLDS + 1)
    if votes.shape != table["mjj"].shape or not np.isin(votes, list(allowed)).all():
        msg = f"selection '{label}': the method's votes are not one of {list(allowed)} for each event; train it again"
        raise InputError(msg)
    return score, votes.astype(np.int64)


def band_of(scorer: Scorer, mjj: FloatArray) -> npt.NDArray[np.int64]:
    """Band of each event; lower edges belong to the band.

    Parameters
    ----------
    scorer
        The method.
    mjj
        Dijet mass (GeV), shape (n_events,).

    Returns
    -------
    array (n_events,) of int64
        Position in ``BANDS``.
    """
    band = np.full(len(mjj), len(BANDS) - 1, dtype=np.int64)
    edges = (scorer.low_band, scorer.signal_region, scorer.high_band)
    for number, (low, high) in enumerate(edges):
        band[(mjj >= low) & (mjj < high)] = number
    return band
