"""What methods share that learn the density of the side bands and interpolate it into the signal region."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from data.eventid import N_FOLDS, inner_split
from data.types import BoolArray, FloatArray
from models.arrays import Arrays
from models.density import DensityProblem, FlowSettings, train_densities
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.interpolation import CATHODE_INPUTS, side_band_rows
from models.jobs import Training
from models.options import FeatureOptions
from models.preprocessing import input_matrix
from models.transforms import Transform


class OuterDensityOptions(FeatureOptions):
    """Options of methods of densities."""

    features: tuple[str, ...] = CATHODE_INPUTS
    """Input columns; by default those of CATHODE in CMS-EXO-22-026. A density needs continuous inputs."""
    side_bands: Literal["window", "all"] = "window"
    """Where the background is learnt: in the window's two side bands, or everywhere outside the signal region."""
    flow: FlowSettings = FlowSettings()


class OuterDensityMethod(FoldedMethod):
    """A method with a conditional density of the side bands."""

    options: OuterDensityOptions

    def problems(
        self, sample: TrainingSample, chosen: BoolArray, transforms: Sequence[Transform] | None = None
    ) -> list[DensityProblem]:
        """One density problem a fold, of the chosen rows that lie in other folds.

        Parameters
        ----------
        sample
            The data.
        chosen
            Mask of its rows.
        transforms
            Transforms of the inputs, one a fold; by default new ones are fitted.
        """
        x, mjj = input_matrix(sample.columns, self.inputs), sample.columns["mjj"]
        problems = []
        for fold in range(N_FOLDS):
            split = inner_split(sample.batch, fold)
            rows = chosen & (split >= 0)
            transform = None if transforms is None else transforms[fold]
            problems.append(DensityProblem(x[rows], mjj[rows], sample.weight[rows], split[rows], transform))
        return problems

    def outer_densities(self, sample: TrainingSample) -> Training[list[Arrays]]:
        """Density of the side bands, one a fold."""
        bands = side_band_rows(sample.columns["mjj"], self.window, self.options.side_bands)
        seeds = [self.seeds(fold, "background") for fold in range(N_FOLDS)]
        return (yield from train_densities(self.options.flow, self.problems(sample, bands), seeds))

    def nearest_mass(self, mjj: FloatArray) -> FloatArray:
        """The mass of the signal region nearest to each mjj (GeV).

        A density of the signal region means nothing elsewhere. Ratios are taken there for all events, so that an event
        of the side bands is judged as if it lay at the edge of the signal region.
        """
        low, high = self.window.signal
        return np.clip(mjj, low, high)
