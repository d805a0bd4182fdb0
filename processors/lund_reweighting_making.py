"""Making ratio maps of the Lund plane from jets of data and of simulation (CMS, arXiv:2507.07775).

The weights of subjets are divided by their mean in simulation, unless maps as the published ones are wanted: the product
of ratios over the splittings lacks the probability that there are no others. Where data radiate more, its mean is above 1,
grows with the number of prongs, and weights of events run into their upper limit of 10. With αS higher by 14 % in "data",
45 % of X → YY′ → 4 quarks had τ21 < 0.4 in both jets, 47 % before the reweighting, 46 % after it, and 53 % without the
division.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import f as f_distribution

from data.errors import InputError
from data.types import BoolArray, FloatArray
from processors.lund_reweighting import nominal_tables, table_weights
from processors.lund_reweighting_maps import Binning, History, RatioMaps
from processors.lund_reweighting_planes import LundPlane, measure_plane, subjet_weights
from processors.lund_reweighting_prongs import SubjetSplittings

F_TEST_P = 0.05
"""A higher power of 1/pT is taken where the F-test's p-value is below."""
_HIGHEST_ORDER = 2


@dataclass(frozen=True)
class JetSample:
    """Jets with their subjets, and their weights.

    Attributes
    ----------
    subjets
        Subjets of the jets; all that belong to a quark count, as of `subjets_of` all do.
    weights : array (n_jets,) or None
        Weights of the jets; 1 if None.
    varied
        Name of a systematic uncertainty to the weights with it up and down, each (n_jets,).
    """

    subjets: SubjetSplittings
    weights: FloatArray | None = None
    varied: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse weights that are not one a jet.

        Raises
        ------
        InputError
            Naming the weights.
        """
        given = {"weights": self.weights}
        given |= {
            f"varied['{name}'] {side}": values
            for name, pair in self.varied.items()
            for side, values in zip(("up", "down"), pair, strict=True)
        }
        n_jets = len(self.subjets.counts)
        for name, values in given.items():
            if values is not None and (values.shape != (n_jets,) or not np.all(np.isfinite(values))):
                msg = f"{name} has shape {values.shape}: give one finite weight for each of the {n_jets} jets"
                raise InputError(msg)

    def plane(self, binning: Binning) -> LundPlane:
        """Sums over the subjets that count."""
        return measure_plane(self.subjets, binning, self.weights)

    def with_variation(self, name: str, side: int) -> "JetSample":
        """The same jets with the weights of a variation, up (0) or down (1), where they have it."""
        return replace(self, weights=self.varied[name][side]) if name in self.varied else self


def make_ratio_maps(
    data: JetSample,
    simulation: JetSample,
    background: JetSample | None = None,
    *,
    bottom: JetSample | None = None,
    light: JetSample | None = None,
    binning: Binning | None = None,
    history: History = "cambridge",
    divide_by_mean: bool = True,
    description: str = "",
) -> RatioMaps:
    """Make ratio maps: in each bin of subjet pT (data − background) over simulation, each per subjet.

    Bins without splittings in simulation, or with no more in data than of background, are empty: their ratio is 1 ± 1.

    Parameters
    ----------
    data
        Jets of data, W bosons in the published measurement.
    simulation
        The same kind of jets in simulation, weighted to the luminosity of data.
    background
        Other jets that the selection of data holds, in simulation, weighted to the same luminosity.
    bottom, light
        Simulated jets of b and of light quarks, for the ratio of their planes.
    binning
        Bins, those that the subjets' cells are numbered in; CMS's if not given.
    history
        Clustering whose history gave the splittings.
    divide_by_mean
        Have the weights of subjets divided by their mean in simulation in each bin of pT, as the text of this module
        says why. The published maps do without; False makes such.
    description
        What the maps are made of.

    Returns
    -------
    RatioMaps
        ``error`` has the statistics of data, background and simulation; ``up`` and ``down`` the variations of the
        weights of simulation and background, added in quadrature. The ratio in each cell of the plane is fitted over
        the bins of pT with a polynomial in 1/pT, at the mean pT of the simulated subjets, of an order up to 2 that
        F-tests at 0.05 choose.

    Raises
    ------
    InputError
        If data less background, or simulation, have no subjet.

    References
    ----------
    CMS Collaboration, arXiv:2507.07775.
    """
    bins = binning or Binning()
    maps = replace(
        _maps(data, simulation, background, bins, history),
        b_to_light=_flavour_ratio(bottom, light, bins),
        description=description,
    )
    return replace(maps, mean_weight=_mean_weights(simulation, maps)) if divide_by_mean else maps


def _maps(
    data: JetSample, simulation: JetSample, background: JetSample | None, bins: Binning, history: History
) -> RatioMaps:
    """The maps without a ratio of flavours, their weights not divided by a mean."""
    ratio, error, filled = _ratio(data, simulation, background, bins)
    if not filled.any():
        msg = "no bin of the plane has splittings both of data, less background, and of simulation; give more jets"
        raise InputError(msg)
    ups, downs = np.zeros_like(ratio), np.zeros_like(ratio)
    names = dict.fromkeys([*simulation.varied, *({} if background is None else background.varied)])
    for name in names:
        shifts = [
            _shift(ratio, filled, _ratio(data, *_varied(simulation, background, name, side), bins))
            for side in (0, 1)
        ]
        ups += np.square(np.maximum(np.maximum(*shifts), 0.0))
        downs += np.square(np.minimum(np.minimum(*shifts), 0.0))
    simulated = simulation.plane(bins)
    coefficients, covariance = fit_extrapolation(ratio, error, filled, simulated.mean_pt)
    return RatioMaps(
        bins,
        history,
        ratio,
        error,
        ratio + np.sqrt(ups),
        np.maximum(ratio - np.sqrt(downs), 0.0),
        coefficients,
        covariance,
        np.ones(len(ratio)),
        simulated=simulated.density,
    )


def fit_extrapolation(
    ratio: FloatArray, error: FloatArray, filled: BoolArray, mean_pt: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit c0 + c1/pT + c2/pT² to the ratio in each cell of the plane.

    Parameters
    ----------
    ratio, error : array (P, X, Y)
        Ratio and its error in each bin of subjet pT.
    filled : array (P, X, Y)
        Which bins have a ratio.
    mean_pt : array (P,)
        Where in pT (GeV) each bin stands.

    Returns
    -------
    coefficients : array (X, Y, 3)
        0 beyond the order that F-tests choose: a higher order than the best so far is taken if p < 0.05, as long as a
        degree of freedom is left. Where no bin is filled the ratio is 1 ± 1.
    covariance : array (X, Y, 3, 3)
        Of the least-squares fit with the given errors.
    """
    _, n_x, n_y = ratio.shape
    coefficients, covariance = np.zeros((n_x, n_y, 3)), np.zeros((n_x, n_y, 3, 3))
    coefficients[..., 0], covariance[..., 0, 0] = 1.0, 1.0
    for i, j in np.argwhere(filled.any(axis=0)):
        rows = np.flatnonzero(filled[:, i, j])
        values, covariances = _polynomial(1.0 / mean_pt[rows], ratio[rows, i, j], error[rows, i, j])
        coefficients[i, j], covariance[i, j] = values, covariances
    return coefficients, covariance


def _polynomial(x: FloatArray, y: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    best, best_order = _least_squares(x, y, error, 0), 0
    for order in range(1, min(_HIGHEST_ORDER, len(x) - 2) + 1):
        trial = _least_squares(x, y, error, order)
        more, left = order - best_order, len(x) - order - 1
        gain, rest = (best[2] - trial[2]) / more, trial[2] / left
        ratio = gain / rest if rest > 0 else math.inf
        if gain > 0 and f_distribution.sf(ratio, more, left) < F_TEST_P:
            best, best_order = trial, order
    return best[0], best[1]


def _least_squares(
    x: FloatArray, y: FloatArray, error: FloatArray, order: int
) -> tuple[FloatArray, FloatArray, float]:
    """Coefficients (3,), covariance (3, 3) and χ² of a polynomial; x is scaled to 1 for the solution."""
    size = float(np.abs(x).max())
    design = np.vander(x / size, order + 1, increasing=True) / error[:, None]
    inverse = np.linalg.inv(design.T @ design)
    solution = inverse @ design.T @ (y / error)
    chi2 = float(np.square(design @ solution - y / error).sum())
    powers = size ** np.arange(order + 1)
    coefficients, covariance = np.zeros(3), np.zeros((3, 3))
    coefficients[: order + 1] = solution / powers
    covariance[: order + 1, : order + 1] = inverse / np.outer(powers, powers)
    return coefficients, covariance, chi2


def _varied(
    simulation: JetSample, background: JetSample | None, name: str, side: int
) -> tuple[JetSample, JetSample | None]:
    other = None if background is None else background.with_variation(name, side)
    return simulation.with_variation(name, side), other


def _shift(
    ratio: FloatArray, filled: BoolArray, varied: tuple[FloatArray, FloatArray, BoolArray]
) -> FloatArray:
    """Change of the ratio where both are known."""
    return np.where(filled & varied[2], varied[0] - ratio, 0.0)


def _ratio(
    data: JetSample, simulation: JetSample, background: JetSample | None, binning: Binning
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Ratio, its statistical error, and which bins have one."""
    above, below = data.plane(binning), simulation.plane(binning)
    if background is not None:
        above = above.less(background.plane(binning))
    for what, plane in (("data less background", above), ("simulation", below)):
        if not np.any(plane.subjets > 0):
            msg = f"{what}: no subjet in any bin of pT; give more jets, or correct the weights"
            raise InputError(msg)
    numerator, denominator = above.density, below.density
    filled = (numerator > 0) & (denominator > 0)
    ratio = np.divide(numerator, denominator, out=np.ones_like(numerator), where=filled)
    relative2 = [
        np.divide(part.variance, np.square(part.splittings), out=np.ones_like(ratio), where=filled)
        for part in (above, below)
    ]
    error = np.where(filled, ratio * np.sqrt(relative2[0] + relative2[1]), 1.0)
    return ratio, error, filled


def _flavour_ratio(bottom: JetSample | None, light: JetSample | None, binning: Binning) -> FloatArray | None:
    if bottom is None or light is None:
        return None
    return _ratio(bottom, light, None, binning)[0]


def _mean_weights(simulation: JetSample, maps: RatioMaps) -> FloatArray:
    """Mean product of ratios over the simulated subjets in each bin of pT, 1 where there are none."""
    subjets, n_planes = simulation.subjets, maps.binning.shape[0]
    alone = replace(
        subjets, counts=np.ones(len(subjets.pt), dtype=np.int64)
    )  # each subjet as a jet of its own
    product = table_weights(alone, maps, nominal_tables(maps))[0]
    weight = subjet_weights(subjets, simulation.weights)
    plane = maps.binning.planes(subjets.pt)
    total = np.bincount(plane, weights=weight, minlength=n_planes)
    sums = np.bincount(plane, weights=weight * product, minlength=n_planes)
    positive = (total > 0) & (sums > 0)
    return np.divide(sums, total, out=np.ones(n_planes), where=positive)
