"""What methods share that learn the background from the side bands and interpolate it into the signal region.

The generator of background differs (a flow, a conditional autoencoder); the rows it learns from, the masses at which
background is generated and the classifier of data against it are the same.
"""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import N_INNER, inner_split
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.classifiers import ManyEventsOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
from models.jobs import Training
from models.options import FeatureOptions
from models.preprocessing import Inputs, input_matrix
from models.problems import Problem
from models.regions import HIGH, LOW, SIGNAL, Interval, Regions

CATHODE_INPUTS = ("m_j1", "delta_m", "tau41_j1", "tau41_j2")
CLASSIFIER = "classifier/"
BANDWIDTH = 0.01
"""Width of the Gaussian kernels that describe the signal region's mjj, in units of the region's width."""


class InterpolationOptions(FeatureOptions, ManyEventsOptions):
    """Options that all interpolating methods share."""

    features: tuple[str, ...] = CATHODE_INPUTS
    """Input columns; by default those of CATHODE in CMS-EXO-22-026. Choose inputs that depend little on mjj."""
    side_bands: Literal["window", "all"] = "all"
    """Where the background is learnt: everywhere outside the signal region, as the LHC Olympics papers do, or
    (``window``) in the window's two side bands. On simulated dijets the area under the curve of generated against true
    background was 0.505 with three times as many events, 0.508 in the window alone."""
    oversampling: float = pydantic.Field(default=4.0, gt=0, le=100)
    """Generated background events for each data event of the signal region; both classes weigh the same."""


@dataclass(frozen=True)
class FoldRows:
    """What one fold's networks may learn from: rows of the four other folds.

    Parameters
    ----------
    fold
        The fold held out.
    band, band_mjj, band_split
        Side-band events: inputs, mjj (GeV), inner split 0 … 3.
    most
        Side-band events of the largest fold, see `models.folds.most_rows`.
    signal, signal_mjj, signal_split
        The same of the signal region's events.
    seeds
        Gives seeds of the parts of this fold's task.
    """

    fold: int
    band: Inputs
    band_mjj: FloatArray
    band_split: IntArray
    most: int
    signal: Inputs
    signal_mjj: FloatArray
    signal_split: IntArray
    seeds: Callable[..., int]

    def problem(self, data: Inputs, background: Inputs) -> Problem:
        """Signal region's data against background, both of the same total weight.

        Background events are dealt to inner splits by the fold's seed.
        """
        count = len(background)
        deal = np.random.default_rng(self.seeds("deal")).permutation(count) % N_INNER
        weight = np.concatenate([np.ones(len(data)), np.full(count, len(data) / count)])
        return Problem(
            np.concatenate([data, background]),
            np.arange(len(weight)) < len(data),
            weight / weight.mean(),
            np.concatenate([self.signal_split, deal]),
        )


def side_band_rows(mjj: FloatArray, window: Regions, side_bands: Literal["window", "all"]) -> BoolArray:
    """Events that the background is learnt from.

    Parameters
    ----------
    mjj
        GeV, shape (rows,).
    window
        Signal region and side bands.
    side_bands
        ``window``: the two side bands; ``all``: everything outside the signal region.

    Returns
    -------
    numpy.ndarray
        bool, shape (rows,).
    """
    region = window.of(mjj)
    return np.asarray(np.isin(region, (LOW, HIGH)) if side_bands == "window" else region != SIGNAL)


def drawn_masses(masses: FloatArray, count: int, region: Interval, seed: int) -> FloatArray:
    """Masses drawn from a Gaussian kernel density estimate, reflected at the edges of the region.

    Parameters
    ----------
    masses
        Of the data in the signal region, GeV, shape (events,), at least one.
    count
        How many are drawn.
    region
        Edges of the signal region, GeV.
    seed
        Of the draws.

    Returns
    -------
    numpy.ndarray
        float64, shape (count,), inside the region.
    """
    rng = np.random.default_rng(seed)
    low, high = region
    drawn = rng.choice(masses, count) + BANDWIDTH * (high - low) * rng.standard_normal(count)
    # Reflection keeps the estimate from falling at the edges, where an open kernel would leave the region.
    drawn = np.where(drawn < low, 2.0 * low - drawn, drawn)
    drawn = np.where(drawn >= high, 2.0 * high - drawn, drawn)
    return np.asarray(np.clip(drawn, low, np.nextafter(high, low)))


@dataclass(frozen=True)
class Comparison:
    """What a fold's classifier compares.

    Parameters
    ----------
    data
        The signal region's events as the classifier sees them, float32, shape (events, inputs).
    background
        Background of the signal region, likewise.
    arrays
        What scoring needs besides the classifier.
    """

    data: Inputs
    background: Inputs
    arrays: Arrays = field(default_factory=dict)


class InterpolatedMethod(FoldedMethod):
    """A classifier of the signal region's data against background interpolated from the side bands."""

    options: InterpolationOptions
    family = "weak supervision"
    score_is = "probability to be data of the signal region rather than interpolated background"

    @abc.abstractmethod
    def compared(self, rows: FoldRows) -> Training[Comparison]:
        """Learn the background and generate it in the signal region.

        Parameters
        ----------
        rows
            What the fold may learn from.

        Returns
        -------
        Comparison
            What the fold's classifier is trained on.
        """

    def seen(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Events as the classifier sees them.

        Parameters
        ----------
        fold
            Arrays of the fold.
        columns
            ``mjj`` (GeV) and the inputs in their units, each of shape (events,).

        Returns
        -------
        numpy.ndarray
            float32, shape (events, inputs).
        """
        return input_matrix(columns, self.inputs)

    def fold_rows(self, sample: TrainingSample, fold: int) -> FoldRows:
        """What the networks of a fold may learn from."""
        x, mjj = input_matrix(sample.columns, self.inputs), sample.columns["mjj"]
        bands = side_band_rows(mjj, self.window, self.options.side_bands)
        split = inner_split(sample.batch, fold)
        band, inside = bands & (split >= 0), (self.window.of(mjj) == SIGNAL) & (split >= 0)
        return FoldRows(
            fold,
            x[band],
            mjj[band],
            split[band],
            most_rows(sample.fold[bands]),
            x[inside],
            mjj[inside],
            split[inside],
            self.seeds(fold),
        )

    def masses(self, rows: FoldRows) -> FloatArray:
        """Masses at which a fold's background is generated.

        Parameters
        ----------
        rows
            What the fold may learn from.

        Returns
        -------
        numpy.ndarray
            GeV, float64, shape (masses,), inside the signal region; at least one an inner split.
        """
        count = max(N_INNER, round(self.options.oversampling * len(rows.signal)))
        return drawn_masses(rows.signal_mjj, count, self.signal_region, rows.seeds("masses"))

    def train_fold(
        self,
        sample: TrainingSample,
        extras: Mapping[str, TrainingSample],
        fold: int,
    ) -> Training[Arrays]:
        """Learn and generate the background, then train the classifier; see `FoldTraining.train_fold`."""
        rows = self.fold_rows(sample, fold)
        pair = yield from self.compared(rows)
        problem = rows.problem(pair.data, pair.background)
        (classifier,) = yield from self.options.built.train([problem], [self.seeds(fold, "classifier")])
        return pair.arrays | prefixed(CLASSIFIER, classifier)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The classifier's probability that an event is data rather than background."""
        return self.options.built.probability(below(fold, CLASSIFIER), self.seen(fold, columns))

    def check_fold(self, fold: Arrays) -> None:
        """Raise ValueError where the classifier's arrays could not have been saved."""
        self.options.built.check(below(fold, CLASSIFIER), len(self.inputs))
