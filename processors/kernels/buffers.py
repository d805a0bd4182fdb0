"""From awkward arrays jets × particles to the flat float64 buffers that the kernels read, and checks on the way."""

from typing import Any, NamedTuple

import awkward as ak
import numpy as np

from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray

ALIASES: dict[str, tuple[str, ...]] = {
    "pt": ("pt", "rho"),
    "eta": ("eta",),
    "phi": ("phi",),
    "mass": ("mass", "m", "M", "tau"),
    "energy": ("E", "energy", "e", "t"),
    "px": ("px", "x"),
    "py": ("py", "y"),
    "pz": ("pz", "z"),
}
"""Names of a quantity in plain records, in coffea's and in vector's."""


class FlatJets(NamedTuple):
    """Particles of all jets end to end.

    Attributes
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV).
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    """

    px: FloatArray
    py: FloatArray
    pz: FloatArray
    e: FloatArray
    offsets: IntArray


def flat_column(values: Any, name: str) -> tuple[Any, IntArray]:
    """Flatten an awkward array jets × particles of numbers.

    Parameters
    ----------
    values : awkward array (n_jets, particles)
        Numbers or booleans.
    name : str
        What they are, for the message.

    Returns
    -------
    column : array (n_particles,)
    offsets : array (n_jets + 1,)

    Raises
    ------
    InputError
        If a value is missing (None).
    """
    counts = ak.to_numpy(ak.num(values, axis=1)).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    flat = ak.flatten(values, axis=1)
    missing = ak.to_numpy(ak.is_none(flat))
    if missing.any():
        raise InputError(_of_particle(int(np.argmax(missing)), offsets, name, "missing", "ak.drop_none"))
    return ak.to_numpy(ak.drop_none(flat)), offsets


def _of_particle(row: int, offsets: IntArray, name: str, value: str, remedy: str) -> str:
    """Message on one particle, by jet and place in the jet."""
    jet = int(np.searchsorted(offsets, row, side="right")) - 1
    return f"{name} of particle {row - offsets[jet]} in jet {jet} is {value}: drop the particle or jet ({remedy})"


def _refuse(bad: BoolArray, column: FloatArray, offsets: IntArray, name: str) -> None:
    """Raise on the first ``bad`` row."""
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(_of_particle(row, offsets, name, f"{column[row]:g}", "particles[mask]"))


def _columns(particles: Any) -> tuple[dict[str, FloatArray], IntArray]:
    """Take the momentum columns that the records have, as finite float64."""
    fields = set(ak.fields(particles))
    names = {
        q: next(a for a in aliases if a in fields) for q, aliases in ALIASES.items() if fields & {*aliases}
    }
    columns: dict[str, FloatArray] = {}
    offsets = np.zeros(1, dtype=np.int64)
    for quantity, name in names.items():
        values, offsets = flat_column(particles[name], name)
        columns[quantity] = values.astype(np.float64)
        _refuse(~np.isfinite(columns[quantity]), columns[quantity], offsets, name)
        if quantity in {"pt", "energy"}:
            _refuse(columns[quantity] < 0.0, columns[quantity], offsets, name)
    return columns, offsets


def flat_weights(weights: Any, jets: FlatJets) -> FloatArray:
    """Flatten the weights of the particles of jets.

    Parameters
    ----------
    weights : awkward array (n_jets, particles)
        Weights of the momenta, such as PUPPI's.
    jets : FlatJets
        The particles.

    Returns
    -------
    array (n_particles,)

    Raises
    ------
    InputError
        If there is not one weight for each particle, or one is missing, not finite or negative; the message names
        the jet.
    """
    n_jets = len(jets.offsets) - 1
    if len(weights) != n_jets:
        msg = f"weights hold {len(weights)} jets, the particles {n_jets}: give one list a jet"
        raise InputError(msg)
    if not len(jets.px) and weights.ndim == 1:
        return jets.px
    if weights.ndim != 2:
        msg = f"weights must be an array jets × particles of numbers, not {weights.type}"
        raise InputError(msg)
    values, offsets = flat_column(weights, "weight")
    if not np.array_equal(offsets, jets.offsets):
        counts, expected = np.diff(offsets), np.diff(jets.offsets)
        jet = int(np.argmax(counts != expected))
        msg = f"weights of jet {jet} are {counts[jet]} for {expected[jet]} particles: give one weight a particle"
        raise InputError(msg)
    column: FloatArray = values.astype(np.float64)
    _refuse(~(np.isfinite(column) & (column >= 0.0)), column, offsets, "weight")
    return column


def flat_jets(particles: Any, weights: Any | None = None) -> FlatJets:
    """Flatten the particles of jets.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        Momenta as ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad), vector's and coffea's other
        names included. A slightly negative mass (CMS packs masses so) is minus the root of −m².
    weights : awkward array (n_jets, particles), optional
        Weights of the four-momenta, such as PUPPI's, at least 0.

    Returns
    -------
    FlatJets

    Raises
    ------
    InputError
        If the array is not jets × particles, a component is not there, or a value is missing, not finite, or a
        negative pT, energy or weight, or if there is not one weight for each particle; the message names the jet.
    """
    jets = _unweighted(particles)
    if weights is None:
        return jets
    weight = flat_weights(weights, jets)
    return FlatJets(jets.px * weight, jets.py * weight, jets.pz * weight, jets.e * weight, jets.offsets)


def _unweighted(particles: Any) -> FlatJets:
    """Flatten the particles of jets as they are."""
    fields = ak.fields(particles)
    if not fields and particles.ndim <= 2 and ak.count(particles, axis=None) == 0:
        empty = np.zeros(0, dtype=np.float64)
        return FlatJets(empty, empty, empty, empty, np.zeros(len(particles) + 1, dtype=np.int64))
    if not fields or particles.ndim != 2:
        msg = f"particles must be an array jets × particles of momentum records, not {particles.type}"
        raise InputError(msg)
    columns, offsets = _columns(particles)
    if {"pt", "eta", "phi"} <= columns.keys():
        px, py = columns["pt"] * np.cos(columns["phi"]), columns["pt"] * np.sin(columns["phi"])
        with np.errstate(over="ignore", invalid="ignore"):
            pz = columns["pt"] * np.sinh(columns["eta"])
        _refuse(~np.isfinite(pz), columns["eta"], offsets, "eta")
    elif {"px", "py", "pz"} <= columns.keys():
        px, py, pz = columns["px"], columns["py"], columns["pz"]
    else:
        msg = f"particles have no pt, eta, phi and no px, py, pz, only {', '.join(fields)}; name their fields so"
        raise InputError(msg)
    if "energy" in columns:
        return FlatJets(px, py, pz, columns["energy"], offsets)
    if "mass" not in columns:
        msg = f"particles have neither a mass nor an energy E, only {', '.join(fields)}; add one of them"
        raise InputError(msg)
    energy2 = px * px + py * py + pz * pz + columns["mass"] * np.abs(columns["mass"])
    return FlatJets(px, py, pz, np.sqrt(np.maximum(energy2, 0.0)), offsets)
