"""The feature columns: one row a selected event, the same in both passes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import FloatArray, IntArray
from processors.chunks import Chunk
from processors.columns import EVENT_COLUMNS, JET_COLUMNS, RATIOS, Columns, columns
from processors.config import FeaturesConfig
from processors.further import Feature, chosen_features
from processors.jets import Jets
from processors.resolve import absent_columns
from processors.rmm_columns import Matrices
from processors.root_files import named
from processors.selection import Dijets, soft_drop_mass

TAU_FLOOR = 1e-6
"""Added to the denominator of ratios of N-subjettiness."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


def as_float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Round to float32: the one function for the inputs of training and of scoring.

    Parameters
    ----------
    values
        Any shape.

    Returns
    -------
    array of float32
        Of the same shape and unit.
    """
    return np.asarray(values, dtype=np.float32)


def _tau_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Ratio of N-subjettiness values, τ_a / (τ_b + 10⁻⁶)."""
    return numerator / (denominator + TAU_FLOOR)


class ColumnMaker:
    """Makes the feature tables of a chunk, one a variation; a matrix of an event is computed once for all of them.

    Parameters
    ----------
    chunk
        The chunk.
    features
        Columns that are left out or added.
    sqrt_s
        Centre-of-mass energy, GeV.
    """

    def __init__(self, chunk: Chunk, features: FeaturesConfig, sqrt_s: float) -> None:
        self.chunk = chunk
        self._features = features
        matrix = features.rapidity_mass_matrix
        self._matrices = None if matrix is None else Matrices(chunk, matrix, sqrt_s)

    def table(self, jets: Jets, dijets: Dijets, weight: FloatArray) -> Columns:
        """The feature table of selected events; see `feature_table`.

        Parameters
        ----------
        jets, dijets
            The jets of the chunk, and the selected events.
        weight
            Expected number of events of each, shape (n_events,).

        Returns
        -------
        dict
            Column to its array, shape (n_events, …), in the order of ``columns``.
        """
        made = feature_table(self.chunk, jets, dijets, weight, self._features)
        if self._matrices is not None:
            made["rmm"] = self._matrices.of(dijets.entry)
        return {name: made[name] for name in columns(self._features, label="label" in made)}


def feature_table(
    chunk: Chunk, jets: Jets, dijets: Dijets, weight: FloatArray, features: FeaturesConfig
) -> Columns:
    """The feature table of a chunk's selected events.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets.
    dijets
        The selected events.
    weight
        float64, one an event.
    features
        Columns that are left out or added.

    Returns
    -------
    dict
        Column name to array, in the order of ``columns`` but for the rapidity–mass matrix, which is not of jets
        alone; masses and momenta in GeV, angles in rad.

    Raises
    ------
    InputError
        If a value is NaN or inf, a subjet index points nowhere, or a further feature gives what is no column.
    """
    entry = dijets.entry
    table: Columns = {
        name: chunk.role(name)[entry].astype(EVENT_COLUMNS[name])
        for name in ("run", "luminosity_block", "event")
    }
    table |= {
        "weight": weight,
        "mjj": dijets.mjj,
        "delta_eta": dijets.delta_eta,
        "region": dijets.region,
    }
    both = (("j1", dijets.heavy), ("j2", dijets.light))
    absent = absent_columns(features.without)
    for suffix, jet in both:
        for name, values in jet_features(jets, jet, absent).items():
            table[f"{name}_{suffix}"] = as_float32(values)
    masses = [soft_drop_mass(jets.of("m", jet)) for jet in (dijets.heavy, dijets.light)]
    table["delta_m"] = as_float32(masses[0] - masses[1])
    for feature in chosen_features(features.further):
        table |= further_columns(feature, chunk, jets, dijets)
    if features.constituents:
        table |= {f"constituents_{suffix}": jets.constituents(jet) for suffix, jet in both}
    if "label" in chunk.schema.roles:
        table["label"] = chunk.role("label")[entry].astype(np.int32)
    return table


def further_columns(feature: Feature, chunk: Chunk, jets: Jets, dijets: Dijets) -> Columns:
    """The columns of a further feature.

    Parameters
    ----------
    feature
        The feature.
    chunk, jets
        The chunk and its jets.
    dijets
        The n selected events.

    Returns
    -------
    dict
        Column name to float32 (n,), in the feature's own unit.

    Raises
    ------
    InputError
        If a value is not finite in float32, or there is not one for each jet or event.
    """
    if feature.of == "event":
        return {
            feature.name: checked_values(feature, feature.values(chunk, jets, dijets), chunk, dijets.entry)
        }
    jet = np.concatenate([dijets.heavy, dijets.light])
    entry = np.concatenate([dijets.entry, dijets.entry])
    values = checked_values(feature, feature.values(chunk, jets, jet), chunk, entry)
    return dict(zip(feature.columns(), np.split(values, 2), strict=True))


def checked_values(feature: Feature, values: Any, chunk: Chunk, entry: IntArray) -> npt.NDArray[np.float32]:
    """The values of a further feature as float32, checked.

    Parameters
    ----------
    feature
        The feature.
    values
        What its function gave.
    chunk
        The chunk that they are of.
    entry
        Entry of each jet or event that the function was asked for.

    Returns
    -------
    array
        One value for each of the entries.

    Raises
    ------
    InputError
        If a value is not finite in float32, or there is not one for each entry.
    """
    where = f"{named(chunk.file, chunk.sample)}: feature '{feature.name}' of {feature.values.__module__}"
    found = np.asarray(values)
    if found.shape != entry.shape or found.dtype.kind not in "fiub":
        msg = (
            f"{where} gives {found.dtype} of shape {found.shape} for {len(entry)} {feature.of}s; one number each is "
            "wanted: correct its function"
        )
        raise InputError(msg)
    bad = np.flatnonzero(~(np.abs(found.astype(np.float64)) <= FLOAT32_MAX))
    if len(bad):
        at = chunk.start + int(entry[bad[0]])
        msg = f"{where} is {found[bad[0]]} in entry {at}; give it a number there in its function"
        raise InputError(msg)
    return as_float32(found)


def jet_features(jets: Jets, jet: IntArray, absent: frozenset[str]) -> dict[str, FloatArray]:
    """The feature columns of some jets.

    Parameters
    ----------
    jets
        The jets of a chunk.
    jet
        Positions in the row of jets, shape (n,).
    absent
        Columns that are left out.

    Returns
    -------
    dict
        Column of ``JET_COLUMNS`` to float64 values.
    """
    stored = ("pt", "eta", "phi", "tau1", "tau2", "tau3", "tau4", "n_pf", "lsf3")
    out: dict[str, FloatArray] = {
        name: jets.of(name, jet).astype(np.float64) for name in stored if name not in absent
    }
    if "m" not in absent:
        out["m"] = soft_drop_mass(jets.of("m", jet))
        out["rho"] = out["m"] / out["pt"]
    for a, b in RATIOS:
        if f"tau{a}{b}" not in absent:
            out[f"tau{a}{b}"] = _tau_ratio(out[f"tau{a}"], out[f"tau{b}"])
    if "lsf3" in out:
        out["lsf3"] = np.clip(out["lsf3"], 0.0, 1.0)
    if "deepb" not in absent:
        out["deepb"] = jets.b_score(jet)
    return {name: out[name] for name in JET_COLUMNS if name in out}
