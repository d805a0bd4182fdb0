"""The columns of a feature table: their names, their types, and which of them a search has."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError
from processors.config import FeaturesConfig
from processors.further import chosen_features
from processors.resolve import absent_columns

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

RESERVED = frozenset({"constituents_j1", "constituents_j2", "rmm", "label", "prior"})
"""Columns that a table may have beside the standard ones, and what a training adds to it."""

Columns = dict[str, npt.NDArray[Any]]


N_CONSTITUENTS = 100
"""Particles of a jet that are kept, the hardest ones."""
CONSTITUENTS = (N_CONSTITUENTS, 3)
"""Shape of the columns ``constituents_j1`` and ``_j2`` of one event."""


def columns(features: FeaturesConfig, *, label: bool) -> dict[str, np.dtype[Any]]:
    """All columns of a feature table with their types, in order; arrays an event are subarray types.

    Raises
    ------
    ConfigError
        If a further feature has the name of another column.
    """
    absent = absent_columns(features.without)
    kinds = dict(EVENT_COLUMNS)
    kinds |= {
        f"{name}_{jet}": "float32" for jet in ("j1", "j2") for name in JET_COLUMNS if name not in absent
    }
    types = {name: np.dtype(kind) for name, kind in {**kinds, "delta_m": "float32"}.items()}
    for feature in chosen_features(features.further):
        taken = [name for name in feature.columns() if name in types or name in RESERVED]
        if taken:
            msg = f"features.further: '{feature.name}' would be a second column '{taken[0]}'; rename the feature"
            raise ConfigError(msg)
        types |= dict.fromkeys(feature.columns(), np.dtype("float32"))
    if features.constituents:
        types |= {f"constituents_{jet}": np.dtype(("float32", CONSTITUENTS)) for jet in ("j1", "j2")}
    if features.rapidity_mass_matrix is not None:
        from processors.rmm_columns import matrix_shape  # noqa: PLC0415 - numba takes seconds to import

        types["rmm"] = np.dtype(("float32", matrix_shape(features.rapidity_mass_matrix)))
    return types | ({"label": np.dtype("int32")} if label else {})
