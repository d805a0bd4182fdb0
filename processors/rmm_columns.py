"""The column ``rmm``: objects of a chunk's selected events, and their rapidity–mass matrix."""

from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.types import IntArray
from processors.chunks import Chunk
from processors.config import MatrixConfig
from processors.event_objects import event_objects
from processors.ragged import offsets_of, ranges
from processors.rapidity_mass_matrix import (
    FULL_SLOTS,
    SYMBOLS,
    compact_index,
    rapidity_mass_matrix,
    reduced_index,
)

_FIELDS = {
    "small_jet": ("pt", "eta", "phi", "mass", "b_score"),
    "muon": ("pt", "eta", "phi", "mass", "isolation"),
    "electron": ("pt", "eta", "phi", "mass", "isolation"),
    "photon": ("pt", "eta", "phi", "isolation"),
}


def matrix_shape(config: MatrixConfig) -> tuple[int, ...]:
    """Shape of the column ``rmm`` for one event."""
    side = 1 + FULL_SLOTS * len(SYMBOLS)
    return {"full": (side, side), "reduced": (len(reduced_index()),), "compact": (len(compact_index()),)}[
        config.form
    ]


class Matrices:
    """The rapidity–mass matrices of a chunk's events, each computed once.

    Parameters
    ----------
    chunk
        The chunk.
    config
        Form, and selection of the objects.
    sqrt_s
        Centre-of-mass energy, GeV.
    """

    def __init__(self, chunk: Chunk, config: MatrixConfig, sqrt_s: float) -> None:
        self._chunk, self._config, self._sqrt_s = chunk, config, sqrt_s
        self._row = np.full(chunk.size, -1, dtype=np.int64)
        self._known = rapidity_mass_columns(chunk, np.zeros(0, dtype=np.int64), config, sqrt_s)

    def of(self, entry: IntArray) -> npt.NDArray[np.float32]:
        """The matrices of some events.

        Parameters
        ----------
        entry
            Positions of the events in the chunk, shape (n,).

        Returns
        -------
        array (n, …) of float32
            Of ``matrix_shape``; masses and energies over √s.
        """
        new = np.unique(entry[self._row[entry] < 0])
        self._row[new] = len(self._known) + np.arange(len(new))
        found = rapidity_mass_columns(self._chunk, new, self._config, self._sqrt_s)
        self._known = np.concatenate([self._known, found])
        return self._known[self._row[entry]]


def rapidity_mass_columns(
    chunk: Chunk, entry: IntArray, config: MatrixConfig, sqrt_s: float
) -> npt.NDArray[np.float32]:
    """Rapidity–mass matrix of some events of a chunk.

    Parameters
    ----------
    chunk
        The chunk.
    entry
        Positions of the events, shape (n_events,).
    config
        Form, and selection of the objects.
    sqrt_s
        Centre-of-mass energy, GeV.

    Returns
    -------
    array (n_events, …) float32
        Of ``matrix_shape``.

    Raises
    ------
    InputError
        If a branch holds NaN or inf.
    """
    if not len(entry):
        return np.zeros((0, *matrix_shape(config)), dtype=np.float32)
    jets, muons, electrons, photons = (
        _objects(chunk, entry, prefix, fields) for prefix, fields in _FIELDS.items()
    )
    met = ak.zip({name: chunk.role(f"met_{name}")[entry] for name in ("pt", "phi")})
    objects = event_objects(jets, muons, electrons, photons, met, config.objects)
    matrix: npt.NDArray[np.float32] = rapidity_mass_matrix(objects, sqrt_s=sqrt_s, form=config.form)
    return matrix


def _objects(chunk: Chunk, entry: IntArray, prefix: str, fields: tuple[str, ...]) -> Any:
    """One collection of some events."""
    columns = {}
    for field in fields:
        role = f"{prefix}_{field}"
        values, counts = chunk.jagged(chunk.schema.roles[role])
        wanted = counts[entry]
        rows = ranges(offsets_of(counts)[entry], wanted)
        chunk.check_finite(role, values[rows], np.repeat(entry, wanted))
        columns[field] = ak.unflatten(values[rows], wanted)
    return ak.zip(columns)
