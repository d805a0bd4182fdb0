"""What methods share that learn the density of the side bands and interpolate it into the signal region."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.eventid import N_FOLDS, inner_split
from data.types import BoolArray, FloatArray
from models.arrays import Arrays, below, prefixed
from models.atoms import Atoms
from models.density import DensityProblem, FlowSettings, check_density, train_densities
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.interpolation import CATHODE_INPUTS, side_band_rows
from models.jobs import Training
from models.options import FeatureOptions
from models.preprocessing import Inputs, input_matrix
from models.transforms import Transform

ATOMS = "atoms/"


class OuterDensityOptions(FeatureOptions):
    """Options of methods of densities."""

    features: tuple[str, ...] = CATHODE_INPUTS
    """Input columns; by default those of CATHODE in CMS-EXO-22-026. Values that many events share, such as counts, are
    spread over the ranks that they fill: a density needs continuous inputs."""
    side_bands: Literal["window", "all"] = "window"
    """Where the background is learnt: in the window's two side bands, or everywhere outside the signal region."""
    flow: FlowSettings = FlowSettings()


class OuterDensityMethod(FoldedMethod):
    """A method with a conditional density of the side bands."""

    options: OuterDensityOptions

    def problems(
        self,
        sample: TrainingSample,
        chosen: BoolArray,
        atoms: Sequence[Atoms],
        transforms: Sequence[Transform] | None = None,
    ) -> list[DensityProblem]:
        """One density problem a fold, of the chosen rows that lie in other folds.

        Parameters
        ----------
        sample
            The data.
        chosen
            Mask of its rows.
        atoms
            Of the inputs, one a fold.
        transforms
            Transforms of the inputs, one a fold; by default new ones are fitted.
        """
        x, mjj = input_matrix(sample.columns, self.inputs), sample.columns["mjj"]
        problems = []
        for fold in range(N_FOLDS):
            split = inner_split(sample.batch, fold)
            rows = chosen & (split >= 0)
            transform = None if transforms is None else transforms[fold]
            continuous = atoms[fold].spread(x[rows], mjj[rows])
            problems.append(
                DensityProblem(continuous, mjj[rows], sample.weight[rows], split[rows], transform)
            )
        return problems

    def outer_densities(self, sample: TrainingSample) -> Training[list[Arrays]]:
        """Density of the side bands and the atoms of its inputs, one a fold."""
        bands = side_band_rows(sample.columns["mjj"], self.window, self.options.side_bands)
        x = input_matrix(sample.columns, self.inputs)
        atoms = [Atoms.fit(x[bands & (sample.fold != fold)]) for fold in range(N_FOLDS)]
        seeds = [self.seeds(fold, "background") for fold in range(N_FOLDS)]
        problems = self.problems(sample, bands, atoms)
        densities = yield from train_densities(self.options.flow, problems, seeds)
        return [
            prefixed(ATOMS, own.arrays()) | density for own, density in zip(atoms, densities, strict=True)
        ]

    def atoms(self, density: Arrays) -> Atoms:
        """Atoms of the inputs of a density of `outer_densities`."""
        return Atoms.from_arrays(below(density, ATOMS), len(self.inputs))

    def continuous(self, density: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Inputs of events as a density of `outer_densities` sees them, without atoms."""
        return self.atoms(density).spread(input_matrix(columns, self.inputs), columns["mjj"])

    def check_outer(self, density: Arrays) -> None:
        """Raise ValueError where arrays are not what `outer_densities` gives."""
        self.atoms(density)
        check_density(density, self.options.flow, len(self.inputs))

    def nearest_mass(self, mjj: FloatArray) -> FloatArray:
        """The mass of the signal region nearest to each mjj (GeV).

        A density of the signal region means nothing elsewhere. Ratios are taken there for all events, so that an event
        of the side bands is judged as if it lay at the edge of the signal region.
        """
        low, high = self.window.signal
        return np.clip(mjj, low, high)
