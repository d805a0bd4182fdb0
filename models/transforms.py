"""Invertible maps from features to the space in which a density is learned, with exact log-Jacobians.

Each acts on every input by itself, is strictly monotonic everywhere, beyond the training sample too, and knows its
inverse; densities can therefore always be given in the units of the features.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtr, ndtri

from data.types import BoolArray, FloatArray, IntArray
from models.arrays import take

TransformKind = Literal["standardise", "logit", "rank"]
Latent = npt.NDArray[np.float32]
MARGIN = 1e-3
MOST_INTERVALS, EVENTS_AN_INTERVAL, FEWEST_INTERVALS = 64, 100, 4
EVENTS_BEYOND, LEAST_TAIL = 20.0, 1e-4


def _finite(*arrays: npt.NDArray[Any]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays)


def _float32(x: FloatArray) -> Latent:
    return np.ascontiguousarray(x.astype(np.float32))


class Transform(abc.ABC):
    """An invertible map of features; each input is mapped by itself."""

    @classmethod
    @abc.abstractmethod
    def fit(cls, x: npt.NDArray[Any]) -> Self:
        """Fit to a sample.

        Parameters
        ----------
        x
            Inputs in their units, shape (rows, inputs), finite, at least one row.

        Returns
        -------
        Transform
            Of this kind.
        """

    @abc.abstractmethod
    def forward(self, x: npt.NDArray[Any]) -> tuple[Latent, FloatArray]:
        """Inputs to latent values.

        Parameters
        ----------
        x
            Inputs in their units, shape (rows, inputs).

        Returns
        -------
        z, log_jacobian
            Latent values, float32, shape (rows, inputs), and log |dz/dx| summed over inputs, float64, shape (rows,).
        """

    @abc.abstractmethod
    def inverse(self, z: npt.NDArray[Any]) -> Latent:
        """Latent values to inputs.

        Parameters
        ----------
        z
            Latent values, shape (rows, inputs).

        Returns
        -------
        numpy.ndarray
            Inputs in their units, float32, shape (rows, inputs).
        """

    @abc.abstractmethod
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `from_arrays` reads.

        Returns
        -------
        dict
            Name to float64 array, the axis of inputs first.
        """

    @classmethod
    @abc.abstractmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> Self:
        """From saved arrays, checked.

        Parameters
        ----------
        arrays
            As `arrays` gives them.
        n_inputs
            Number of inputs.

        Returns
        -------
        Transform
            As it was fitted.

        Raises
        ------
        ValueError
            If `arrays` could not have given them.
        """


@dataclass(frozen=True)
class Standardise(Transform):
    """Mean 0 and standard deviation 1.

    Parameters
    ----------
    mean, deviation
        float64, shape (inputs,).
    """

    mean: FloatArray
    deviation: FloatArray

    @classmethod
    def fit(cls, x: npt.NDArray[Any]) -> Self:
        """See `Transform`; an input that does not vary keeps its width."""
        mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        return cls(mean, np.where(deviation > 0, deviation, 1.0))

    def forward(self, x: npt.NDArray[Any]) -> tuple[Latent, FloatArray]:
        """See `Transform`."""
        z = (x.astype(np.float64) - self.mean) / self.deviation
        return _float32(z), np.full(len(x), -np.log(self.deviation).sum())

    def inverse(self, z: npt.NDArray[Any]) -> Latent:
        """See `Transform`."""
        return _float32(z.astype(np.float64) * self.deviation + self.mean)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Transform`."""
        return {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> Self:
        """See `Transform`."""
        mean, deviation = (take(arrays, name, "float64", n_inputs) for name in ("mean", "deviation"))
        if not (_finite(mean, deviation) and np.all(deviation > 0)):
            msg = "the transform's mean and deviation are not those of a sample"
            raise ValueError(msg)
        return cls(mean, deviation)


@dataclass(frozen=True)
class Logit(Transform):
    """Shifted into (0, 1), logit, standardised: the recipe of CATHODE (arXiv:2109.00546).

    Beyond half of the margin the logit goes on as a straight line, so that no event is lost.

    Parameters
    ----------
    low, high
        Values that are mapped to 0 and 1, float64, shape (inputs,).
    after
        Standardisation of the logits.
    """

    low: FloatArray
    high: FloatArray
    after: Standardise

    @classmethod
    def fit(cls, x: npt.NDArray[Any]) -> Self:
        """See `Transform`; the margin is a thousandth of the range on each side."""
        low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        width = np.where(high > low, high - low, 1.0)
        low, high = low - MARGIN * width, high + MARGIN * width
        raw, _ = _logit((x - low) / (high - low))
        return cls(low, high, Standardise.fit(raw))

    def forward(self, x: npt.NDArray[Any]) -> tuple[Latent, FloatArray]:
        """See `Transform`."""
        raw, slope = _logit((x.astype(np.float64) - self.low) / (self.high - self.low))
        z, constant = self.after.forward(raw)
        return z, np.log(slope / (self.high - self.low)).sum(axis=1) + constant

    def inverse(self, z: npt.NDArray[Any]) -> Latent:
        """See `Transform`."""
        raw = z.astype(np.float64) * self.after.deviation + self.after.mean
        edge = float(logit(MARGIN / 2))
        beyond = raw - np.clip(raw, edge, -edge)
        share = expit(np.clip(raw, edge, -edge)) + beyond * (MARGIN / 2) * (1 - MARGIN / 2)
        return _float32(self.low + share * (self.high - self.low))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Transform`."""
        return {"low": self.low, "high": self.high, **self.after.arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> Self:
        """See `Transform`."""
        low, high = (take(arrays, name, "float64", n_inputs) for name in ("low", "high"))
        if not (_finite(low, high) and np.all(high > low)):
            msg = "the transform's limits are not ascending"
            raise ValueError(msg)
        return cls(low, high, Standardise.from_arrays(arrays, n_inputs))


def _logit(share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logit with straight tails, and its derivative."""
    inner = np.clip(share, MARGIN / 2, 1 - MARGIN / 2)
    slope = 1.0 / (inner * (1.0 - inner))
    return logit(inner) + (share - inner) * slope, slope


@dataclass(frozen=True)
class RankToNormal(Transform):
    """Each input to the standard normal quantile of its rank.

    Knots are quantiles of the sample, evenly spaced in normal quantiles. In between runs a monotonic rational-quadratic
    interpolation (J. A. Gregory, R. Delbourgo, IMA J. Numer. Anal. 2 (1982) 123), whose derivative has no jumps, so
    that none appear in a density. Outside the knots, which leave some twenty events on each side, it goes on
    logarithmically: however far outliers are, they move no other event, and stay within a few units.

    Parameters
    ----------
    knots, heights, slopes
        Inputs at the knots, ascending, their latent values, and the derivatives there: float64, shape
        (inputs, knots). Inputs with fewer distinct quantiles than others repeat their last knot.
    """

    knots: FloatArray
    heights: FloatArray
    slopes: FloatArray

    @classmethod
    def fit(cls, x: npt.NDArray[Any]) -> Self:
        """See `Transform`; one interval between knots for each 100 rows, 4 to 64."""
        intervals = int(np.clip(len(x) // EVENTS_AN_INTERVAL, FEWEST_INTERVALS, MOST_INTERVALS))
        edge = -ndtri(np.clip(EVENTS_BEYOND / len(x), LEAST_TAIL, 0.1))
        z = np.linspace(-edge, edge, intervals + 1)
        columns = [_knots(values.astype(np.float64), z) for values in x.T]
        most = max(len(knots) for knots, _, _ in columns)
        knots, heights, slopes = (
            np.stack([np.pad(column[part], (0, most - len(column[part])), mode="edge") for column in columns])
            for part in range(3)
        )
        return cls(knots, heights, slopes)

    def forward(self, x: npt.NDArray[Any]) -> tuple[Latent, FloatArray]:
        """See `Transform`."""
        z, total = np.empty(x.shape), np.zeros(len(x))
        for number, values in enumerate(x.T.astype(np.float64)):
            z[:, number], logs = self._forward(number, values)
            total += logs
        return _float32(z), total

    def inverse(self, z: npt.NDArray[Any]) -> Latent:
        """See `Transform`."""
        x = np.empty(z.shape)
        for number, values in enumerate(z.T.astype(np.float64)):
            x[:, number] = self._inverse(number, values)
        return _float32(x)

    def _forward(self, number: int, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        knots, heights, slopes = self.knots[number], self.heights[number], self.slopes[number]
        low, width, height, secant, left, right, base = self._interval(
            number, np.searchsorted(knots, x, "right") - 1
        )
        t = np.clip((x - low) / width, 0.0, 1.0)
        between = t * (1.0 - t)
        below = secant + (left + right - 2.0 * secant) * between
        z = base + height * (secant * t**2 + left * between) / below
        above = right * t**2 + 2.0 * secant * between + left * (1.0 - t) ** 2
        logs = np.log(secant**2 * above / below**2)
        for end, side in ((0, -1.0), (-1, 1.0)):
            outside = side * (x - knots[end]) > 0
            far = np.log1p(slopes[end] * np.abs(x[outside] - knots[end]))
            z[outside] = heights[end] + side * far
            logs[outside] = np.log(slopes[end]) - far
        return z, logs

    def _inverse(self, number: int, z: FloatArray) -> FloatArray:
        knots, heights, slopes = self.knots[number], self.heights[number], self.slopes[number]
        low, width, height, secant, left, right, base = self._interval(
            number, np.searchsorted(heights, z, "right") - 1
        )
        share = np.clip((z - base) / height, 0.0, 1.0)
        bend = left + right - 2.0 * secant
        a, b, c = secant - left + share * bend, left - share * bend, -secant * share
        x = low + width * 2.0 * c / (-b - np.sqrt(np.maximum(b**2 - 4.0 * a * c, 0.0)))
        for end, side in ((0, -1.0), (-1, 1.0)):
            outside = side * (z - heights[end]) > 0
            x[outside] = knots[end] + side * np.expm1(np.abs(z[outside] - heights[end])) / slopes[end]
        return x

    def _interval(self, number: int, index: IntArray) -> tuple[FloatArray, ...]:
        """Left knot, width, height, secant, slopes on both sides, lower latent value of each row's interval."""
        knots, heights, slopes = self.knots[number], self.heights[number], self.slopes[number]
        last = int(np.count_nonzero(np.diff(knots) > 0)) - 1
        at = np.clip(index, 0, last)
        width, height = knots[at + 1] - knots[at], heights[at + 1] - heights[at]
        return knots[at], width, height, height / width, slopes[at], slopes[at + 1], heights[at]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """See `Transform`."""
        return {"knots": self.knots, "heights": self.heights, "slopes": self.slopes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> Self:
        """See `Transform`."""
        knots = take(arrays, "knots", "float64", n_inputs, None)
        heights, slopes = (take(arrays, name, "float64", *knots.shape) for name in ("heights", "slopes"))
        steps = np.diff(knots, axis=1) > 0
        falls = steps[:, 1:] & ~steps[:, :-1]
        if not (
            _finite(knots, heights, slopes)
            and knots.shape[1] >= 2
            and np.all(steps[:, 0])
            and not np.any(falls)
            and np.array_equal(steps, np.diff(heights, axis=1) > 0)
            and np.all(slopes > 0)
        ):
            msg = "the transform's knots are not those of a monotonic function"
            raise ValueError(msg)
        return cls(knots, heights, slopes)


def _knots(values: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distinct quantiles, their latent values (the middle of those that coincide), and derivatives."""
    quantiles = np.quantile(values, ndtr(z))
    # Knots closer than float32 can tell would give slopes without meaning.
    first: BoolArray = np.concatenate([[True], np.diff(quantiles) > 1e-6 * np.abs(quantiles[1:])])
    group = np.cumsum(first) - 1
    knots = quantiles[first]
    heights = np.bincount(group, weights=z) / np.bincount(group)
    if len(knots) == 1:
        knots, heights = np.array([knots[0] - 1.0, knots[0] + 1.0]), np.array([-1.0, 1.0])
    secants = np.diff(heights) / np.diff(knots)
    inner = 2.0 / (1.0 / secants[1:] + 1.0 / secants[:-1])
    return knots, heights, np.concatenate([secants[:1], inner, secants[-1:]])


_KINDS: dict[str, type[Transform]] = {
    "standardise": Standardise,
    "logit": Logit,
    "rank": RankToNormal,
}


def fit_transform(kind: TransformKind, x: npt.NDArray[Any]) -> Transform:
    """Fit a transform to a sample.

    Parameters
    ----------
    kind
        ``standardise``, ``logit`` or ``rank``.
    x
        Inputs, shape (rows, inputs), finite, at least one row.

    Returns
    -------
    Transform
        Of this kind.
    """
    return _KINDS[kind].fit(x)


def restored_transform(
    kind: TransformKind, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int
) -> Transform:
    """A transform from what its ``arrays()`` gave.

    Parameters
    ----------
    kind
        ``standardise``, ``logit`` or ``rank``.
    arrays
        As its ``arrays()`` gave them.
    n_inputs
        Number of inputs.

    Returns
    -------
    Transform
        As it was fitted.

    Raises
    ------
    ValueError
        If the arrays are not those of a transform of this kind and number of inputs.
    """
    return _KINDS[kind].from_arrays(arrays, n_inputs)
