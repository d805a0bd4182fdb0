"""What methods share that learn the density of the side bands and interpolate it into the signal region."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.eventid import inner_split
from data.types import BoolArray, FloatArray
from models.arrays import Arrays, below, prefixed
from models.atoms import Atoms
from models.density import DensityProblem, FlowSettings, check_density, train_densities
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
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

    def problem(
        self,
        sample: TrainingSample,
        chosen: BoolArray,
        fold: int,
        atoms: Atoms,
        transform: Transform | None = None,
    ) -> DensityProblem:
        """The density problem of the chosen rows that lie in other folds.

        Parameters
        ----------
        sample
            The data.
        chosen
            Mask of its rows, shape (rows,).
        fold
            The fold held out.
        atoms
            Of the inputs.
        transform
            Of the inputs; by default a new one is fitted.

        Returns
        -------
        DensityProblem
            Inputs without atoms, float32, shape (events, inputs).
        """
        split = inner_split(sample.batch, fold)
        rows = chosen & (split >= 0)
        x, mjj = input_matrix(sample.columns, self.inputs)[rows], sample.columns["mjj"][rows]
        return DensityProblem(atoms.spread(x, mjj), mjj, sample.weight[rows], split[rows], transform)

    def outer_density(self, sample: TrainingSample, fold: int) -> Training[Arrays]:
        """A fold's density of the side bands and the atoms of its inputs.

        Parameters
        ----------
        sample
            The data.
        fold
            The fold held out.

        Returns
        -------
        dict
            What `check_outer` demands: ``atoms/…`` and a trained density.

        Raises
        ------
        TrainingError
            If the side bands hold too few events outside the fold.
        """
        bands = side_band_rows(sample.columns["mjj"], self.window, self.options.side_bands)
        atoms = Atoms.fit(input_matrix(sample.columns, self.inputs)[bands & (sample.fold != fold)])
        problem = self.problem(sample, bands, fold, atoms)
        seed, rows = self.seeds(fold, "background"), most_rows(sample.fold[bands])
        (density,) = yield from train_densities(self.options.flow, [problem], [seed], rows)
        return prefixed(ATOMS, atoms.arrays()) | density

    def atoms(self, density: Arrays) -> Atoms:
        """Atoms of the inputs of a density.

        Parameters
        ----------
        density
            What `outer_density` gives.

        Returns
        -------
        Atoms
            Of the inputs that have any.
        """
        return Atoms.from_arrays(below(density, ATOMS), len(self.inputs))

    def continuous(self, density: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Inputs of events as a density sees them, without atoms.

        Parameters
        ----------
        density
            What `outer_density` gives.
        columns
            ``mjj`` (GeV) and the inputs in their units, each of shape (events,).

        Returns
        -------
        numpy.ndarray
            float32, shape (events, inputs).
        """
        return self.atoms(density).spread(input_matrix(columns, self.inputs), columns["mjj"])

    def check_outer(self, density: Arrays) -> None:
        """Refuse arrays that `outer_density` could not have given.

        Parameters
        ----------
        density
            The arrays.

        Raises
        ------
        ValueError
            Saying what is wrong with them.
        """
        self.atoms(density)
        check_density(density, self.options.flow, len(self.inputs))

    def nearest_mass(self, mjj: FloatArray) -> FloatArray:
        """The mass of the signal region nearest to each mjj.

        A density of the signal region means nothing elsewhere. Ratios are taken there for all events, so that
        an event of the side bands is judged as if it lay at the edge of the signal region.

        Parameters
        ----------
        mjj
            GeV, shape (events,).

        Returns
        -------
        numpy.ndarray
            GeV, float64, shape (events,).
        """
        low, high = self.window.signal
        return np.clip(mjj, low, high)
