"""Weights of simulated events, rounded once so that their sums are exact in any order.

A float64 sum of numbers that are integer multiples of one power of two is exact while it stays below 2⁵³
of that unit. Weights are therefore rounded at birth to multiples of a unit fixed per sample, fine enough for
12 significant bits of a typical weight and coarse enough that the sum of squares stays exact too.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.samples import Sample
from data.types import FloatArray

EXACT = 2.0**53
"""Integers below are exact in float64."""
FOLDS_SQUARED = 25.0
"""Histograms hold weight × (folds that select the event, up to 5): their variances grow by up to 25."""
_PB_PER_FB = 1000.0
_TYPICAL = 2.0**11  # an integer from here on has 12 significant bits


@dataclass(frozen=True)
class GeneratedSums:
    """What the ``Runs`` trees say about the generated events, before any skim of theirs.

    Attributes
    ----------
    count
        Number of events.
    sumw, sumw2
        Sums of genWeight and of its square, in the generator's unit.
    """

    count: int
    sumw: float
    sumw2: float


@dataclass(frozen=True)
class WeightScale:
    """How weights are made of genWeight.

    Attributes
    ----------
    factor
        Turns genWeight into expected events.
    unit
        Power of two, in expected events, that weights are rounded to.
    """

    factor: float
    unit: float


DATA_SCALE = WeightScale(1.0, 1.0)
"""Data and mock data: every event counts one."""


def total_sums(parts: Iterable[GeneratedSums]) -> GeneratedSums:
    """Sums over files, correctly rounded, so that the order of the files does not matter."""
    parts = list(parts)
    return GeneratedSums(
        sum(part.count for part in parts),
        math.fsum(part.sumw for part in parts),
        math.fsum(part.sumw2 for part in parts),
    )


def weight_scale(sample: Sample, sums: GeneratedSums, headroom: float = 1.0) -> WeightScale:
    """Scale and rounding unit of a simulated sample's weights: σ·L·genWeight / Σ genEventSumw.

    Parameters
    ----------
    sample
        Cross section in pb, luminosity in fb⁻¹.
    sums
        Sums over all files of the sample.
    headroom
        Factor by which corrections may raise the root mean square weight.

    Returns
    -------
    WeightScale
        The finest power of two with Σw² < 2⁵³ units², with room for the five folds where that leaves a
        typical (root mean square) weight 12 significant bits.

    Raises
    ------
    InputError
        If the sums cannot be those of a simulated sample, or the sample is too large for exact sums.
    """
    where = f"sample '{sample.name}': the Runs trees give genEventCount {sums.count}"
    if sample.cross_section_pb is None:
        msg = f"sample '{sample.name}' is simulation without 'cross_section_pb'; add it to its definition"
        raise InputError(msg)
    sane = sums.count > 0 and 0 < sums.sumw < math.inf and 0 < sums.sumw2 < math.inf
    if not sane or sums.sumw**2 > sums.count * sums.sumw2 * (1 + 1e-6):
        msg = (
            f"{where}, genEventSumw {sums.sumw:g}, genEventSumw2 {sums.sumw2:g}, which no set of weights "
            "with a positive sum has; check that the files are simulation and whole"
        )
        raise InputError(msg)
    factor = sample.cross_section_pb * _PB_PER_FB * sample.luminosity() / sums.sumw
    typical = factor * math.sqrt(sums.sumw2 / sums.count)
    for growth in (FOLDS_SQUARED, 1.0):
        # Rounding can push a weight up by half a unit: factor 2 of headroom.
        root = factor * headroom * math.sqrt(2 * growth * sums.sumw2 / EXACT)
        unit = 2.0 ** math.ceil(math.log2(root))
        if typical / unit >= _TYPICAL:
            return WeightScale(factor, unit)
    msg = f"{where}: too many for sums of weights that are exact; split the sample in its definition"
    raise InputError(msg)


def event_weights(generator_weight: npt.NDArray[np.floating], scale: WeightScale) -> FloatArray:
    """Weights of simulated events: integer multiples of the sample's unit.

    Parameters
    ----------
    generator_weight
        ``genWeight``, times the factors of corrections, one an event, finite.
    scale
        The sample's scale.

    Returns
    -------
    numpy.ndarray
        float64, expected number of events, may be negative.
    """
    scaled = generator_weight.astype(np.float64) * scale.factor
    weights: FloatArray = np.rint(scaled / scale.unit) * scale.unit
    return weights


def check_exact(sum_of_squares: float, scale: WeightScale, what: str) -> None:
    """Check that a sum of squared weights stayed in the range in which it is exact.

    Parameters
    ----------
    sum_of_squares
        Sum of squared weights, in expected events squared.
    scale
        Unit of the weights.
    what
        What was summed, for the message.

    Raises
    ------
    InputError
        If it did not: the result could depend on the order of the sum.
    """
    if not abs(sum_of_squares) < EXACT * scale.unit**2:
        msg = (
            f"{what}: the sum of squared weights {sum_of_squares:g} is too large to be exact (unit "
            f"{scale.unit:g}); the Runs trees do not describe these events, or the sample must be split"
        )
        raise InputError(msg)
