"""Random grid search: rectangular cuts optimised for one simulated signal."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import TrainingError
from data.eventid import N_FOLDS
from data.types import FloatArray
from models.arrays import Arrays, take
from models.base import register
from models.cuts import CutOptions, box_margin
from models.figures_of_merit import Merit, figure_of_merit
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.grid_search import Shape, best_cut, directions, expected_events, random_cuts
from models.jobs import Training
from models.options import FeatureOptions
from models.regions import SIGNAL
from models.weights import band_weights


class RandomGridSearchOptions(CutOptions, FeatureOptions):
    """Options of ``random_grid_search``."""

    features: tuple[str, ...] = ("m_j1", "m_j2", "tau21_j1", "tau21_j2")
    """Columns that are cut on; the side of each cut is found from the signal."""
    shape: Shape = "one_sided"
    """``box``: cuts from both sides."""
    trials: int = pydantic.Field(default=2000, ge=1, le=1_000_000)
    """Cuts tried; one-sided ones at most one a signal event."""
    merit: Merit = "punzi"
    """Figure of merit. ``s/sqrt(s+b+db2)`` and ``asimov`` depend on the cross section: they take the signal's weights
    for the events expected, and the other two do not."""
    sigmas: float = pydantic.Field(default=5.0, gt=0)
    """Standard deviations of the discovery that ``punzi`` aims at."""
    background_uncertainty: float = pydantic.Field(default=0.0, ge=0)
    """Relative standard deviation of the background, for ``s/sqrt(s+b+db2)`` and ``asimov``."""
    min_background: int = pydantic.Field(default=10, ge=1)
    """A cut that fewer side-band events pass counts as one that so many pass."""

    @pydantic.model_validator(mode="after")
    def _uncertainty_is_used(self) -> Self:
        if self.background_uncertainty and self.merit not in {"s/sqrt(s+b+db2)", "asimov"}:
            msg = f"background_uncertainty: merit '{self.merit}' takes none; use s/sqrt(s+b+db2) or asimov"
            raise ValueError(msg)
        return self


@register
class RandomGridSearch(FoldedMethod):
    """The best of many rectangular cuts, whose faces are values of simulated signal events.

    Taking the cuts from signal events puts them where signal is, instead of on a regular grid that is mostly empty. The
    background in the signal region is that of the side bands, both counting equally, scaled to the events of the signal
    region. The cut of each fold is chosen without its events, so that what passes is not a fluctuation that was chosen.
    The score is the distance to the nearest face in units of the background's spread: its cuts are nested boxes around
    the best one, at which the threshold is fixed, whatever the working point.

    *Assumes* the signal that it is given, and that a box holds it. *Is blind to* other signals and to correlations that
    no box follows; its cuts sculpt mjj wherever the columns follow mjj.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `RandomGridSearchOptions`.

    References
    ----------
    P. C. Bhat, H. B. Prosper, S. Sekmen, C. Stewart, "Optimizing event selection with the random grid search",
    Comput. Phys. Commun. 228 (2018) 245, arXiv:1706.09907. Figures of merit: G. Punzi, physics/0308063; G. Cowan et
    al., arXiv:1007.1727.
    """

    name = "random_grid_search"
    summary = "Reference: best rectangular cuts for a simulated signal (arXiv:1706.09907)"
    family = "reference"
    flat = False
    takes = {"signal": True}
    fixed_cut = 0.0
    score_is = "distance to the nearest cut, in units of the background's spread"
    options_type = RandomGridSearchOptions
    options: RandomGridSearchOptions
    presets = {"quick": {"trials": 300}, "paper": {"trials": 20_000}}

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """The best cut; see `FoldTraining.train_fold`."""
        yield from ()
        return self.search(sample, extras["signal"], fold)

    def search(self, sample: TrainingSample, signal: TrainingSample, fold: int) -> Arrays:
        """The best cut without the events of a fold.

        Parameters
        ----------
        sample
            The data, ``mjj`` in GeV.
        signal
            The simulated signal; its weights are the events expected.
        fold
            The fold whose events are left out.

        Returns
        -------
        dict
            ``lower``, ``upper`` and ``scale`` of each column, and ``expected``: signal and background in the signal
            region after the cut, background events in the side bands, figure of merit.

        Raises
        ------
        TrainingError
            If no signal event lies in the signal region, or no cut keeps one.
        """
        x_background, background = self._background(sample, fold)
        x_signal, expected_signal = self._signal(signal, fold)
        above = directions(x_signal, x_background, expected_signal, background)
        rng = np.random.default_rng(self.seeds(fold)("cuts"))
        lower, upper = random_cuts(x_signal, above, self.options.shape, self.options.trials, rng)
        expected = expected_events(lower, upper, x_signal, x_background, expected_signal, background)
        merit = figure_of_merit(self.options.merit, self.options.sigmas)
        options = self.options
        least = options.min_background * background.sum() / len(background)
        best, value = best_cut(expected, merit, options.background_uncertainty, least)
        if best < 0:
            msg = (
                f"fold {fold}: none of {len(lower)} cuts keeps one of the {len(x_signal)} signal events of the signal "
                "region; raise trials or add events to the table 'signal'"
            )
            raise TrainingError(msg)
        kept = [values[best] for values in (expected.signal, expected.background, expected.background_count)]
        spread = np.sqrt(
            np.cov(x_background.T, aweights=background, ddof=0).reshape(len(above), -1).diagonal()
        )
        return {
            "lower": lower[best],
            "upper": upper[best],
            "scale": np.where(spread > 0, spread, 1.0),
            "expected": np.array([*kept, value]),
        }

    def _background(self, sample: TrainingSample, fold: int) -> tuple[FloatArray, FloatArray]:
        """Values of the side bands' events outside a fold, and how many of the signal region's each stands for."""
        region = self.window.of(sample.columns["mjj"])
        fitted = (region >= 0) & (sample.fold != fold)
        weight = np.where(region[fitted] == SIGNAL, 0.0, band_weights(region[fitted]))
        bands = weight > 0
        # Four fifths of the events were counted.
        inside = np.count_nonzero(region[fitted] == SIGNAL) * N_FOLDS / (N_FOLDS - 1)
        return self._values(sample, fitted)[bands], weight[bands] * inside / weight.sum()

    def _signal(self, signal: TrainingSample, fold: int) -> tuple[FloatArray, FloatArray]:
        """Values of the signal's events in the signal region outside a fold, and how many each stands for."""
        known = (
            (signal.fold != fold) & (self.window.of(signal.columns["mjj"]) == SIGNAL) & (signal.weight > 0)
        )
        if not np.any(known):
            low, high = self.signal_region
            msg = (
                f"table 'signal': no event with {low:g} ≤ mjj < {high:g} GeV outside fold {fold}; add events"
            )
            raise TrainingError(msg)
        return self._values(signal, known), signal.weight[known] * N_FOLDS / (N_FOLDS - 1)

    def _values(self, sample: TrainingSample, chosen: npt.NDArray[np.bool_]) -> FloatArray:
        return np.stack([sample.columns[name][chosen] for name in self.inputs], axis=1)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Distance to the nearest face of the best cut, above 0 inside."""
        return box_margin(columns, self.inputs, fold["lower"], fold["upper"], fold["scale"])

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        size = len(self.inputs)
        lower, upper, scale = (take(fold, name, "float64", size) for name in ("lower", "upper", "scale"))
        take(fold, "expected", "float64", 4)
        bounded = np.isfinite(lower) | np.isfinite(upper)
        if (
            not np.all(lower <= upper)
            or not np.all(bounded)
            or not (np.isfinite(scale).all() and np.all(scale > 0))
        ):
            msg = "the cuts are not those of a random grid search"
            raise ValueError(msg)
