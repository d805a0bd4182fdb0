"""The feature columns: one row a selected event, the same in both passes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.types import FloatArray, IntArray
from processors.chunks import Chunk, Jets
from processors.selection import Dijets, soft_drop_mass

TAU_FLOOR = 1e-6
"""Added to the denominator of ratios of N-subjettiness."""
RATIOS = ((2, 1), (3, 2), (4, 3), (4, 1))
EVENT_COLUMNS: dict[str, str] = {
    "run": "uint32",
    "luminosity_block": "uint32",
    "event": "uint64",
    "weight": "float64",
    "mjj": "float64",
    "delta_eta": "float64",
    "region": "int8",
}
"""Columns of every event with their types."""
JET_COLUMNS = (
    *("pt", "eta", "phi", "m", "rho", "tau1", "tau2", "tau3", "tau4"),
    *(f"tau{a}{b}" for a, b in RATIOS),
    *("lsf3", "deepb", "n_pf"),
)
"""Columns of each jet, float32; in the table they end in ``_j1`` and ``_j2``."""

Columns = dict[str, npt.NDArray[Any]]


def columns(*, label: bool) -> dict[str, str]:
    """All columns of a feature table with their types, in order."""
    jets = {f"{name}_{jet}": "float32" for jet in ("j1", "j2") for name in JET_COLUMNS}
    return {**EVENT_COLUMNS, **jets, "delta_m": "float32"} | ({"label": "int32"} if label else {})


def as_float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Round to float32: the one function for the inputs of training and of scoring."""
    return np.asarray(values, dtype=np.float32)


def tau_ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Ratio of N-subjettiness values, τ_a / (τ_b + 10⁻⁶)."""
    return numerator / (denominator + TAU_FLOOR)


def feature_table(chunk: Chunk, jets: Jets, dijets: Dijets, weight: FloatArray) -> Columns:
    """The feature table of a chunk's selected events.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets.
    dijets
        The selected events.
    weight
        float64, one an entry of the chunk.

    Returns
    -------
    dict
        Column name to array, in the order of ``columns``; masses and momenta in GeV, angles in rad.

    Raises
    ------
    InputError
        If a value is NaN or inf, or a subjet index points nowhere.
    """
    entry = dijets.entry
    table: Columns = {
        name: chunk.role(name)[entry].astype(EVENT_COLUMNS[name])
        for name in ("run", "luminosity_block", "event")
    }
    table |= {
        "weight": weight[entry],
        "mjj": dijets.mjj,
        "delta_eta": dijets.delta_eta,
        "region": dijets.region,
    }
    for suffix, jet in (("j1", dijets.heavy), ("j2", dijets.light)):
        for name, values in _jet_features(chunk, jets, jet).items():
            table[f"{name}_{suffix}"] = as_float32(values)
    masses = [soft_drop_mass(jets.of("m", jet)) for jet in (dijets.heavy, dijets.light)]
    table["delta_m"] = as_float32(masses[0] - masses[1])
    if "label" in chunk.schema.roles:
        table["label"] = chunk.role("label")[entry].astype(np.int32)
    return table


def _jet_features(chunk: Chunk, jets: Jets, jet: IntArray) -> dict[str, FloatArray]:
    out: dict[str, FloatArray] = {
        name: jets.of(name, jet).astype(np.float64)
        for name in ("pt", "eta", "phi", "tau1", "tau2", "tau3", "tau4", "n_pf")
    }
    out["m"] = soft_drop_mass(jets.of("m", jet))
    out["rho"] = out["m"] / out["pt"]
    for a, b in RATIOS:
        out[f"tau{a}{b}"] = tau_ratio(out[f"tau{a}"], out[f"tau{b}"])
    out["lsf3"] = np.clip(jets.of("lsf3", jet).astype(np.float64), 0.0, 1.0)
    out["deepb"] = _largest_b_score(chunk, jets, jet)
    return {name: out[name] for name in JET_COLUMNS}


def _largest_b_score(chunk: Chunk, jets: Jets, jet: IntArray) -> FloatArray:
    """Largest b-tag score of a jet's subjets, 0 where it has none; NanoAOD marks failures by negative scores."""
    scores, counts = chunk.jagged(chunk.schema.roles["b_score"])
    first = np.cumsum(counts) - counts
    entry = jets.entry[jet]
    largest = np.zeros(len(jet))
    for role in ("subjet1", "subjet2"):
        index = jets.of(role, jet).astype(np.int64)
        wrong = np.flatnonzero(index >= counts[entry])
        if len(wrong):
            chunk.refuse(
                role, f"points to subjet {index[wrong[0]]}, which is not there", int(entry[wrong[0]])
            )
        has = np.flatnonzero(index >= 0)
        score = scores[first[entry[has]] + index[has]]
        chunk.check_finite("b_score", score, entry[has])
        largest[has] = np.maximum(largest[has], score.astype(np.float64))
    return largest
