"""Array types shared by every package."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Table = Mapping[str, npt.NDArray[Any]]
"""A feature table: column name to one-dimensional array, all of one length."""
