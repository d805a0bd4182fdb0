"""The plane of background loss and signal loss in which QUAK looks for sparse places.

Each axis is a loss made independent of mjj in the side bands, in units of its own spread. The plane is cut into polar
cells; cells that few side-band events reach are where a selection begins.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar
from scipy.special import boxcox1p, expit

from data.sections import Section
from data.types import FloatArray, IntArray
from models.arrays import Arrays, take
from models.regions import Regions
from models.threads import one_thread
from models.thresholds import weighted_quantile

_MIDDLE, _TAIL = 0.5, 0.15865525393145707  # the normal distribution's share below −1σ
_POWERS = (0.0, 2.0)  # in this range the transform has no bound on either side


class SpaceSettings(Section):
    """Axes and cells of the plane; the defaults are those of CMS-EXO-22-026 where it states them."""

    power: bool = True
    """Make each loss as normal as a power of it can be, so that its tail does not set the scale: the transform of Box
    and Cox for values of either sign (Yeo and Johnson)."""
    order: int = pydantic.Field(default=1, ge=0, le=3)
    """Order of the polynomial in mjj that is taken out of each axis; 0 for no decorrelation."""
    norm: float = pydantic.Field(default=5.0, ge=1, le=20)
    """Exponent of the norm that joins the losses of several signal priors."""
    angles: int = pydantic.Field(default=25, ge=2, le=360)
    """Cells around the origin of the plane."""
    radii: int = pydantic.Field(default=20, ge=1, le=1000)
    """Rings of cells."""
    max_radius: float = pydantic.Field(default=10.0, gt=0)
    """In units of the axes' spread; what lies farther out counts in the last ring."""
    smoothing: float = pydantic.Field(default=1.0, ge=0, le=10)
    """Spread, in cells, of the Gaussian that smooths the population; 0 for none."""
    per_area: bool = True
    """Order cells by population per area. The innermost cells are so small that their bare population is low too
    although they lie in the middle of the background."""


def signed_norm(losses: FloatArray, power: float) -> FloatArray:
    """Losses of several signal priors as one number, in which the prior that says most counts most.

    Parameters
    ----------
    losses
        Shape (events, priors); negative is signal-like.
    power
        Exponent p of sign(t) |t|^(1/p), t = Σ sign(l) |l|^p.

    Returns
    -------
    numpy.ndarray
        float64, one an event; of a single prior its loss.
    """
    if losses.shape[1] == 1:
        return losses[:, 0]
    largest = np.maximum(np.abs(losses).max(axis=1), np.finfo(np.float64).tiny)
    total = np.zeros(len(losses))
    # Column by column: a sum along rows may add in another order for another number of rows.
    for column in losses.T:
        total += np.sign(column) * (np.abs(column) / largest) ** power
    return np.asarray(np.sign(total) * np.abs(total) ** (1.0 / power) * largest)


def _powered(x: FloatArray, power: float) -> FloatArray:
    """The transform of Yeo and Johnson (Biometrika 87 (2000) 954); 1 is the identity."""
    positive = x >= 0
    upper = boxcox1p(np.where(positive, x, 0.0), power)
    lower = boxcox1p(np.where(positive, 0.0, -x), 2.0 - power)
    return np.asarray(np.where(positive, upper, -lower))


def _best_power(x: FloatArray, weight: FloatArray) -> float:
    """The power of largest likelihood of a normal distribution."""
    share = weight / weight.sum()
    jacobian = float(np.sum(share * np.sign(x) * np.log1p(np.abs(x))))

    def loss(power: float) -> float:
        y = _powered(x, power)
        mean = np.sum(share * y)
        return float(0.5 * np.log(np.sum(share * (y - mean) ** 2)) - (power - 1.0) * jacobian)

    return float(minimize_scalar(loss, bounds=_POWERS, method="bounded").x)


def _terms(mjj: FloatArray, other: FloatArray | None, window: Regions, order: int) -> list[FloatArray]:
    """What an axis is freed of; mjj is kept inside the window, beyond it nothing was learnt."""
    low, high = window.low[0], window.high[1]
    place = 2.0 * (np.clip(mjj, low, high) - low) / (high - low) - 1.0
    return [np.ones(len(mjj)), *(place**n for n in range(1, order + 1)), *([] if other is None else [other])]


def fit_axis(
    loss: FloatArray,
    mjj: FloatArray,
    weight: FloatArray,
    window: Regions,
    settings: SpaceSettings,
    other: FloatArray | None = None,
) -> Arrays:
    """Learn from side-band events how a loss becomes an axis.

    The loss is centred, made normal (``settings.power``), freed by linear regression of its dependence on mjj and on
    another axis, and divided by what spread remains.

    Parameters
    ----------
    loss
        One a side-band event.
    mjj
        GeV, shape (events,).
    weight
        Positive, shape (events,).
    window
        Side bands and signal region.
    settings
        Order in mjj, power transform.
    other
        Another axis of which this one shall be free, shape (events,).

    Returns
    -------
    dict
        The arrays that `on_axis` reads.
    """
    centre = weighted_quantile(loss, weight, _MIDDLE)
    spread = 0.5 * (
        weighted_quantile(loss, weight, 1.0 - _TAIL) - weighted_quantile(loss, weight, _TAIL)
    ) or float(np.std(loss) or 1.0)
    x = (loss - centre) / spread
    power = _best_power(x, weight) if settings.power else 1.0
    y = _powered(x, power)
    terms = np.stack(_terms(mjj, other, window, settings.order), axis=1)
    root = np.sqrt(weight)
    with one_thread():
        coefficients: FloatArray = np.asarray(np.linalg.lstsq(terms * root[:, None], y * root)[0], np.float64)
    rest = y - _sum(list(terms.T), coefficients)
    scale = float(np.sqrt(np.sum(weight * rest**2) / np.sum(weight)) or 1.0)
    return {
        "map": np.array([centre, spread, power, scale]),
        "coefficients": coefficients,
    }


def _sum(terms: list[FloatArray], coefficients: FloatArray) -> FloatArray:
    total = np.zeros(len(terms[0]))
    for term, coefficient in zip(terms, coefficients, strict=True):
        total += coefficient * term
    return total


def on_axis(
    axis: Mapping[str, npt.NDArray[Any]],
    loss: FloatArray,
    mjj: FloatArray,
    window: Regions,
    other: FloatArray | None = None,
) -> FloatArray:
    """Position of losses on an axis.

    Parameters
    ----------
    axis
        What `fit_axis` gives.
    loss
        Shape (events,).
    mjj
        GeV, shape (events,); outside the window it counts as at its edge.
    window
        As for `fit_axis`.
    other
        Position on the other axis, shape (events,), where the axis was made free of one.

    Returns
    -------
    numpy.ndarray
        float64, shape (events,); about standard normal in the side bands.
    """
    centre, spread, power, scale = (float(value) for value in axis["map"])
    order = len(axis["coefficients"]) - (1 if other is None else 2)
    y = _powered((loss - centre) / spread, power)
    return np.asarray((y - _sum(_terms(mjj, other, window, order), axis["coefficients"])) / scale)


def check_axis(axis: Mapping[str, npt.NDArray[Any]], terms: int) -> None:
    """Refuse arrays that no `fit_axis` could have made.

    Parameters
    ----------
    axis
        Supposedly what `fit_axis` gives.
    terms
        Number of coefficients: the order in mjj, 1 more, and 1 more with another axis.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    place, coefficients = take(axis, "map", "float64", 4), take(axis, "coefficients", "float64", terms)
    if not np.isfinite(place).all() or not np.isfinite(coefficients).all() or min(place[1], place[3]) <= 0:
        msg = "an axis of the loss plane is not finite or has no spread"
        raise ValueError(msg)


def _cells(background: FloatArray, signal: FloatArray, settings: SpaceSettings) -> IntArray:
    """Number of each event's polar cell: angle × radii + ring."""
    turn = (np.arctan2(signal, background) + np.pi) / (2.0 * np.pi)
    angle = np.clip((turn * settings.angles).astype(np.int64), 0, settings.angles - 1)
    far = np.minimum(np.hypot(background, signal) / settings.max_radius, 1.0)
    ring = np.minimum((far * settings.radii).astype(np.int64), settings.radii - 1)
    return np.asarray(angle * settings.radii + ring)


def fit_cells(
    background: FloatArray, signal: FloatArray, weight: FloatArray, settings: SpaceSettings
) -> FloatArray:
    """Order the cells of the plane by how many side-band events they hold.

    Parameters
    ----------
    background, signal
        Positions of side-band events on both axes, shape (events,).
    weight
        Their weights, shape (events,).
    settings
        Cells and smoothing.

    Returns
    -------
    numpy.ndarray
        float64, shape (angles × radii,): 0 for the fullest cell, angles × radii − 1 for the sparsest. Of equally empty
        cells the outer one is sparser.
    """
    shape = (settings.angles, settings.radii)
    cell = _cells(background, signal, settings)
    population = np.bincount(cell, weight, minlength=shape[0] * shape[1]).reshape(shape)
    if settings.smoothing:
        population = gaussian_filter(population, settings.smoothing, mode=("wrap", "nearest"))
    ring = np.broadcast_to(np.arange(settings.radii), shape)
    density = population / (2.0 * ring + 1.0) if settings.per_area else population
    order = np.lexsort((np.arange(density.size), ring.ravel(), -density.ravel()))
    rank = np.empty(density.size)
    rank[order] = np.arange(density.size)
    return rank


def cell_score(
    rank: FloatArray, background: FloatArray, signal: FloatArray, settings: SpaceSettings
) -> FloatArray:
    """How sparse the place of an event is: the rank of its cell, and inside the cell how signal-like it is.

    Parameters
    ----------
    rank
        From `fit_cells`.
    background, signal
        Positions on both axes, shape (events,); on the second one low is signal-like.
    settings
        As in `fit_cells`.

    Returns
    -------
    numpy.ndarray
        float64, one an event; larger is sparser. A threshold takes the sparsest cells one after the other, and the
        most signal-like part of the last.
    """
    return rank[_cells(background, signal, settings)] + expit(-signal)


def check_cells(rank: npt.NDArray[Any], settings: SpaceSettings) -> None:
    """Refuse what is no order of the cells.

    Parameters
    ----------
    rank
        Supposedly what `fit_cells` gives.
    settings
        The cells.

    Raises
    ------
    ValueError
        Saying so.
    """
    if not np.array_equal(np.sort(rank), np.arange(settings.angles * settings.radii)):
        msg = "the ranks of the cells of the loss plane are no order of them"
        raise ValueError(msg)
