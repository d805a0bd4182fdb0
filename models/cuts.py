"""Rectangular cuts as a score: how far inside the cuts an event lies."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.types import FloatArray
from models.arrays import Arrays
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Training
from models.options import MethodOptions
from models.regions import HIGH, LOW


class CutOptions(MethodOptions):
    """Options of methods whose selection is a fixed set of cuts."""

    decorrelate: Literal["none"] = "none"
    """A fixed cut cannot follow mjj."""


class ProngOptions(CutOptions):
    """Options of a conventional selection of two jets with prongs."""

    ratio_below: float = pydantic.Field(gt=0)
    """Largest ratio of N-subjettiness of either jet."""
    mass_above: float = pydantic.Field(default=50.0, gt=0)
    """Smallest soft-drop mass of either jet, GeV."""


def box_margin(
    columns: Mapping[str, npt.NDArray[Any]],
    names: tuple[str, ...],
    lower: FloatArray,
    upper: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Distance of each event to the nearest face of a box, in units of each column's scale.

    Parameters
    ----------
    columns
        Values by name.
    names
        Columns of the box.
    lower, upper
        Its faces, shape (columns,); −∞ and ∞ where there is none, not everywhere.
    scale
        Positive, same shape.

    Returns
    -------
    numpy.ndarray
        float64, one an event: above 0 exactly for the events with lower < value < upper in every column.
    """
    margin = np.full(len(columns[names[0]]), np.inf)
    for name, low, high, unit in zip(names, lower, upper, scale, strict=True):
        values = np.asarray(columns[name], dtype=np.float64)
        margin = np.minimum(margin, np.minimum(values - low, high - values) / unit)
    return margin


class ProngSelection(FoldedMethod):
    """Base of the conventional selections: both jets below a ratio of N-subjettiness and above a mass."""

    fixed_cut = 0.0
    family = "reference"
    flat = False
    bands = (LOW, HIGH)
    score_is = "distance to the nearest cut, relative to it"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}
    options: ProngOptions

    def train_fold(
        self,
        sample: TrainingSample,
        extras: Mapping[str, TrainingSample],
        fold: int,
    ) -> Training[Arrays]:
        """Nothing is learnt; see `FoldTraining.train_fold`."""
        yield from ()
        return {}

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Relative distance to the nearest cut of both jets, above 0 where the selection keeps the event."""
        mass, ratio = self.options.mass_above, self.options.ratio_below
        # The inputs are the two masses, then the two ratios.
        lower = np.array([mass, mass, -np.inf, -np.inf])
        upper = np.array([np.inf, np.inf, ratio, ratio])
        return box_margin(columns, self.inputs, lower, upper, np.array([mass, mass, ratio, ratio]))

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        if fold:
            msg = f"'{self.name}' learns nothing, but the bundle holds {', '.join(sorted(fold))}"
            raise ValueError(msg)
