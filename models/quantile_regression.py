"""Decorrelation of any score from mjj: quantiles of the score as functions of mjj, smoothed by polynomials.

As CMS-EXO-22-026 did for its autoencoder: a network of the mass alone gives several quantiles of the score at once
(pinball loss), one network for the events of each fold; the cut of a fold is a polynomial through the mean of the
networks of the other folds, so that no event has a say in its own cut. A cut on the conditional rank keeps the same
fraction at every mass.

Scores are ranks s; networks and polynomials work on log(s/(1 − s)), in which the high quantiles lie apart. What the
paper does otherwise: there the regression is of the score itself, and the polynomials are weighted with
exp(−(mjj − 1450 GeV)/500 GeV); here each event counts once, which falls like the spectrum at hand.

References
----------
CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395. R. Koenker, G. Bassett, "Regression Quantiles",
Econometrica 46 (1978) 33.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pydantic
from scipy.special import expit, logit

from data.errors import TrainingError
from data.eventid import N_FOLDS
from data.sections import Section
from data.types import FloatArray, IntArray
from models.arrays import Arrays, take
from models.jobs import Member, Schedule, StackJob, StackResult, Training
from models.networks.quantiles import QuantileNetwork
from models.networks.scoring import single_thread, tensors
from models.preprocessing import standardisation
from models.torch_later import torch

EDGE = 1e-6
"""Scores are kept this far from 0 and 1 before their logit is taken."""
DECORRELATION = "decorrelation"
"""What the network learns, for the reader of its losses."""
LEAST_EVENTS = 20
"""Events that a fold needs."""


class QuantileSettings(Section):
    """Quantile regression of a score against mjj."""

    quantiles: tuple[float, ...] = (0.15, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
    """Those of CMS-EXO-22-026; the one of the working point is always added."""
    layers: int = pydantic.Field(default=5, ge=1, le=20)
    """Hidden layers of the network."""
    units: int = pydantic.Field(default=20, ge=1, le=500)
    """Units of each."""
    order: int = pydantic.Field(default=6, ge=0, le=10)
    """Of the polynomials."""
    tail: int = pydantic.Field(default=20, ge=1)
    """So many events of largest mjj, and at most a tenth of all, lie above the range of the polynomials, which
    continue constant there."""
    points: int = pydantic.Field(default=2048, ge=16)
    """Rows that a fold's network trains on; each is a group of events of neighbouring masses, so that the time hardly
    grows with the number of events."""
    schedule: Schedule = Schedule(epochs=100, batch=256, learning_rate=3e-3, decay="one_cycle")
    """With it the selected fraction is flat within statistics on toys whose score follows mjj strongly."""

    @pydantic.field_validator("quantiles")
    @classmethod
    def _inside(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0.0 < quantile < 1.0 for quantile in quantiles):
            msg = f"quantiles lie between 0 and 1, found {', '.join(map(str, quantiles))}"
            raise ValueError(msg)
        return quantiles

    def levels(self, working_point: float) -> tuple[float, ...]:
        """The quantiles to be learnt: those of the settings and that of a working point.

        Parameters
        ----------
        working_point
            Fraction that the selection keeps, between 0 and 1.

        Returns
        -------
        tuple of float
            Ascending, each once.
        """
        return tuple(sorted({*self.quantiles, 1.0 - working_point}))


@dataclass(frozen=True)
class QuantileCurves:
    """Quantiles of a score as polynomials of mjj.

    Parameters
    ----------
    quantiles
        Ascending, shape (q,).
    coefficients
        Of log(s/(1 − s)) in powers of x, the constant first, shape (q, order + 1); x runs from −1 to 1 over
        ``mass_range`` and stays at its ends outside.
    mass_range
        GeV, shape (2,).
    """

    quantiles: FloatArray
    coefficients: FloatArray
    mass_range: FloatArray

    def cuts(self, mjj: FloatArray) -> FloatArray:
        """Scores of the quantiles at each mass, shape (n, q), strictly ascending along the quantiles.

        Polynomials that cross are sorted. A share of 10⁻⁶ of the quantile itself is mixed in, which keeps cuts apart
        where polynomials meet.

        Parameters
        ----------
        mjj
            GeV, shape (n,).

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], shape (n, q).
        """
        low, high = self.mass_range
        x = np.clip((2.0 * mjj - low - high) / (high - low), -1.0, 1.0)[:, None]
        value = np.zeros((len(mjj), len(self.quantiles)))
        for power in reversed(range(self.coefficients.shape[1])):
            value = value * x + self.coefficients[:, power]
        return (1.0 - EDGE) * expit(np.sort(value, axis=1)) + EDGE * self.quantiles

    def conditional_rank(self, score: FloatArray, mjj: FloatArray) -> FloatArray:
        """Rank of each event's score among background of its mass.

        Parameters
        ----------
        score
            Rank in [0, 1], shape (n,); beyond them it counts as 0 or 1.
        mjj
            GeV, shape (n,).

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], shape (n,): the quantile where the score is on a curve, linear in the score between
            curves, strictly increasing. It is larger than one of the `quantiles` exactly where the score is larger
            than that quantile's cut.
        """
        score = np.clip(score, 0.0, 1.0)
        inner = self.cuts(mjj)
        ends = np.zeros((len(score), 1))
        nodes = np.concatenate([ends, inner, ends + 1.0], axis=1)
        ranks = np.concatenate([[0.0], self.quantiles, [1.0]])
        below = np.count_nonzero(score[:, None] > inner, axis=1)
        row = np.arange(len(score))
        start, end = nodes[row, below], nodes[row, below + 1]
        rank = ranks[below] + (score - start) / (end - start) * (ranks[below + 1] - ranks[below])
        # Rounding must not carry an event to or over the quantile that it is not on.
        least = np.where(score > start, np.nextafter(ranks[below], 1.0), ranks[below])
        return np.asarray(np.clip(rank, least, ranks[below + 1]))

    def arrays(self) -> Arrays:
        """As named arrays.

        Returns
        -------
        dict
            ``quantiles``, ``coefficients`` and ``mass_range`` (GeV), float64.
        """
        return {"quantiles": self.quantiles, "coefficients": self.coefficients, "mass_range": self.mass_range}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From the arrays of a bundle.

        Parameters
        ----------
        arrays
            As `arrays` gives them.

        Returns
        -------
        QuantileCurves
            As they were saved.

        Raises
        ------
        ValueError
            If they are missing or could not have been saved.
        """
        quantiles = take(arrays, "quantiles", "float64", None)
        coefficients = take(arrays, "coefficients", "float64", len(quantiles), None)
        mass_range = take(arrays, "mass_range", "float64", 2)
        nodes = np.concatenate([[0.0], quantiles, [1.0]])
        whole = np.isfinite(coefficients).all() and np.isfinite(mass_range).all()
        if (
            not whole
            or coefficients.size == 0
            or not np.all(np.diff(nodes) > 0)
            or mass_range[0] >= mass_range[1]
        ):
            msg = "the quantile curves are not ascending quantiles with finite polynomials in a mass range"
            raise ValueError(msg)
        return cls(quantiles, coefficients, mass_range)


def train_quantiles(
    score: FloatArray,
    mjj: FloatArray,
    fold: IntArray,
    quantiles: Sequence[float],
    settings: QuantileSettings,
    seeds: Callable[..., int],
    weight: FloatArray | None = None,
) -> Training[list[QuantileCurves]]:
    """Quantile curves for each fold, made without the fold's events.

    A fifth of a fold's events validates its network, so that the weights of the best epoch are kept.

    Parameters
    ----------
    score
        Rank in [0, 1] of each event's score, shape (n,).
    mjj
        GeV, shape (n,).
    fold
        0 … 4, shape (n,).
    quantiles
        Ascending, between 0 and 1; see `QuantileSettings.levels`.
    settings
        Hyperparameters.
    seeds
        Gives the seed of a part of the task.
    weight
        Event weights, not negative, shape (n,); events of weight 0 do not count. By default all equal.

    Returns
    -------
    list of QuantileCurves
        One a fold.

    Raises
    ------
    TrainingError
        If a fold has too few events, or mjj does not vary.
    """
    if weight is None:
        weight = np.ones(len(mjj))
    used = weight > 0
    score, mjj, fold, weight = score[used], mjj[used], fold[used], weight[used]
    counts = np.bincount(fold, minlength=N_FOLDS)
    if counts.min() < LEAST_EVENTS:
        msg = (
            f"quantile regression against mjj: fold {counts.argmin()} has {counts.min()} events, at least "
            f"{LEAST_EVENTS} are needed; train on more events or widen the window"
        )
        raise TrainingError(msg)
    ranges = [_mass_range(np.sort(mjj[fold != number]), settings.tail) for number in range(N_FOLDS)]
    value = logit(np.clip(score, EDGE, 1.0 - EDGE))
    network = QuantileNetwork(tuple(quantiles), settings.layers, settings.units)
    (result,) = yield [_job(network, mjj, value, weight / weight.mean(), fold, settings, seeds)]
    return [
        _curves(network, result, number, (mjj[fold != number], ranges[number]), settings)
        for number in range(N_FOLDS)
    ]


def _mass_range(masses: FloatArray, tail: int) -> tuple[float, float]:
    """Where the polynomials are fitted, of ascending masses."""
    low, high = float(masses[0]), float(masses[len(masses) - 1 - min(tail, len(masses) // 10)])
    if low == high:
        msg = (
            f"quantile regression: column 'mjj' is {low:g} GeV in nearly every event; check how it was filled"
        )
        raise TrainingError(msg)
    return low, high


def _job(
    network: QuantileNetwork,
    mass: FloatArray,
    value: FloatArray,
    weight: FloatArray,
    fold: IntArray,
    settings: QuantileSettings,
    seeds: Callable[..., int],
) -> StackJob:
    """Each fold's network learns from four fifths of the fold's events and validates on the rest."""
    groups: list[dict[str, npt.NDArray[np.float32]]] = []
    members, first = [], 0
    size = -(-int(np.bincount(fold).max()) // settings.points)
    for number in range(N_FOLDS):
        own = np.random.default_rng(seeds("split", number)).permutation(np.flatnonzero(fold == number))
        parts = own[len(own) // 5 :], own[: len(own) // 5]
        rows = []
        for part in parts:
            groups.append(_grouped(mass[part], value[part], weight[part], size))
            rows.append(np.arange(first, first + len(groups[-1]["mass"])))
            first = int(rows[-1][-1]) + 1
        mean, deviation = standardisation(mass[parts[0]][:, None].astype(np.float32))
        buffers = {"mean": mean[None], "deviation": deviation[None]}
        members.append(Member(rows[0], rows[1], seeds("network", number), buffers))
    data = {name: np.concatenate([group[name] for group in groups]) for name in groups[0]}
    return StackJob(network, settings.schedule, data, tuple(members), DECORRELATION)


def _grouped(
    mass: FloatArray, value: FloatArray, own: FloatArray, size: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Groups of ``size`` events of neighbouring masses; places left over have weight 0."""
    order = np.argsort(mass, kind="stable")
    rows = -(-len(order) // size)
    padded = np.resize(order, rows * size).reshape(rows, size)
    weight = (np.arange(rows * size) < len(order)).reshape(rows, size) * own[padded]
    middle = (mass[padded] * weight).sum(axis=1) / weight.sum(axis=1)
    return {
        "mass": middle[:, None].astype(np.float32),
        "value": value[padded].astype(np.float32),
        "weight": weight.astype(np.float32),
    }


def _curves(
    network: QuantileNetwork,
    result: StackResult,
    number: int,
    others: tuple[FloatArray, tuple[float, float]],
    settings: QuantileSettings,
) -> QuantileCurves:
    """Polynomials through the mean of the other folds' networks, at the masses of those folds' events."""
    masses, (low, high) = others
    inside = np.sort(masses[(masses >= low) & (masses <= high)])
    points = inside[np.linspace(0, len(inside) - 1, min(len(inside), settings.points)).astype(np.int64)]
    mass = torch.from_numpy(points.astype(np.float32))[None, :, None]
    predictions = []
    with single_thread(), torch.no_grad():
        for other, arrays in enumerate(result.networks):
            if other != number:
                predictions.append(network.curves(tensors(arrays), mass)[0].numpy().astype(np.float64))
        x = (2.0 * points - low - high) / (high - low)
        powers = x[:, None] ** np.arange(settings.order + 1)
        coefficients, *_ = np.linalg.lstsq(powers, np.mean(predictions, axis=0), rcond=None)
    return QuantileCurves(
        np.array(network.quantiles), np.ascontiguousarray(coefficients.T), np.array([low, high])
    )
