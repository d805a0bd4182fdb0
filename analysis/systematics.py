"""Systematic uncertainties of a selected signal: from varied spectra to the relative uncertainty of its yield.

Sources and their combination follow the CMS search CMS-EXO-22-026 (arXiv:2412.03747), appendix B.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.variation_sources import Combination, Source, combined_change
from data.errors import InputError
from data.types import FloatArray
from processors.schema import NOMINAL

Kind = Combination | Literal["spread", "given", "statistics"]

STATISTICS = "signal_statistics"
LUMINOSITY = "luminosity"
RANDOM = "random_variations"


@dataclass(frozen=True)
class SourceShift:
    """What one source does to the selected signal.

    Attributes
    ----------
    name, kind
        As of `Source`.
    up, down
        Relative change of the yield at +1 and −1 standard deviation; both may have one sign.
    mean, width
        Largest relative change of mean and standard deviation of the selected mass spectrum.
    retrained
        Whether the methods were trained again with the varied signal.
    """

    name: str
    kind: Kind
    up: float
    down: float
    mean: float = 0.0
    width: float = 0.0
    retrained: bool = False

    def __post_init__(self) -> None:
        if not np.isfinite([self.up, self.down, self.mean, self.width]).all():
            msg = (
                f"systematic uncertainty '{self.name}': the relative change of the yield is {self.up:g} and {self.down:g}; "
                "it must be finite"
            )
            raise InputError(msg)

    @property
    def upward(self) -> float:
        """Relative uncertainty upwards, 0 or more."""
        return max(self.up, self.down, 0.0)

    @property
    def downward(self) -> float:
        """Relative uncertainty downwards, 0 or more."""
        return max(-self.up, -self.down, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Total:
    """Relative uncertainty of the yield from all sources.

    Attributes
    ----------
    down, up
        All downward shifts in quadrature, and all upward ones; ≥ 0.
    """

    down: float
    up: float


def source_shifts(
    edges: FloatArray, spectra: Mapping[str, FloatArray], sources: Sequence[Source], *, what: str = "signal"
) -> list[SourceShift]:
    """Relative change of yield, mean and width of the selected signal from each source, the selection being fixed.

    Parameters
    ----------
    edges
        In GeV, shape (n + 1,): the range of which the yield counts.
    spectra
        Variation to Σw a bin, shape (n,); ``nominal`` among them.
    sources
        As of `sources_of`.
    what
        The signal and its selection, for messages.

    Returns
    -------
    list of SourceShift
        Relative changes, one a source, in their order.

    Raises
    ------
    InputError
        If a variation is missing, or there is no signal in the range.
    """
    wanted = [NOMINAL, *(member for source in sources for member in source.members)]
    missing = [name for name in wanted if name not in spectra]
    if missing:
        msg = f"{what}: variation '{missing[0]}' is missing; fill the histograms with it (`oddjet hist`)"
        raise InputError(msg)
    moments = {name: _moments(edges, np.asarray(spectra[name], dtype=np.float64), what) for name in wanted}
    nominal = moments[NOMINAL]
    found = []
    for source in sources:
        varied = np.stack([moments[member] for member in source.members])
        up, down = (change / nominal for change in combined_change(source.kind, nominal, varied))
        largest = np.maximum(np.abs(up), np.abs(down))
        found.append(
            SourceShift(
                source.name, source.kind, float(up[0]), float(down[0]), float(largest[1]), float(largest[2])
            )
        )
    return found


def _moments(edges: FloatArray, values: FloatArray, what: str) -> FloatArray:
    """Sum, mean (GeV) and standard deviation (GeV) of a binned spectrum."""
    total = float(values.sum())
    if not total > 0:
        msg = f"{what}: no signal between {edges[0]:g} and {edges[-1]:g} GeV; leave it out, or choose another range"
        raise InputError(msg)
    centres = (edges[1:] + edges[:-1]) / 2
    mean = float(values @ centres) / total
    variance = float(values @ (centres - mean) ** 2) / total
    # The bins' own width keeps the deviation of a spectrum in one bin from 0.
    return np.array([total, mean, math.sqrt(max(variance, 0.0) + float(np.diff(edges).min()) ** 2 / 12)])


def statistical_shift(values: FloatArray, variances: FloatArray, *, what: str = "signal") -> SourceShift:
    """Relative statistical error of a selected yield, √Σw²/Σw: one over the root of the effective events.

    Parameters
    ----------
    values, variances
        Σw and Σw² of each bin.
    what
        The signal and its selection, for messages.

    Returns
    -------
    SourceShift
        Relative, as much up as down.

    Raises
    ------
    InputError
        If there is no signal.
    """
    total = float(np.sum(values))
    if not total > 0:
        msg = f"{what}: no signal is selected; leave it out, or simulate more of it"
        raise InputError(msg)
    error = math.sqrt(float(np.sum(variances))) / total
    return SourceShift(STATISTICS, "statistics", error, -error)


def random_variation(efficiencies: Sequence[float] | FloatArray) -> SourceShift:
    """Spread of a trained selection: highest and lowest efficiency about the mean.

    Parameters
    ----------
    efficiencies
        Of trainings that differ in the signal events drawn for injection (arXiv:2412.03747 has five).

    Returns
    -------
    SourceShift
        Relative to the mean.

    Raises
    ------
    InputError
        If there are fewer than two, or their mean is not positive.
    """
    values = np.asarray(efficiencies, dtype=np.float64)
    if values.size < 2 or not values.mean() > 0:
        msg = f"random variations: expected two efficiencies or more with a positive mean, found {values.tolist()}"
        raise InputError(msg)
    mean = float(values.mean())
    return SourceShift(RANDOM, "spread", float(values.max()) / mean - 1, float(values.min()) / mean - 1)


def given_shift(name: str, size: float) -> SourceShift:
    """A relative uncertainty of the yield that is known, e.g. that of the luminosity.

    Parameters
    ----------
    name
        Of the source.
    size
        Relative, at one standard deviation.

    Returns
    -------
    SourceShift
        As much up as down.

    Raises
    ------
    InputError
        If it is negative.
    """
    if not size >= 0:
        msg = f"systematic uncertainty '{name}' = {size:g}; give a relative uncertainty of 0 or more"
        raise InputError(msg)
    return SourceShift(name, "given", size, -size)


def total(shifts: Iterable[SourceShift]) -> Total:
    """All sources in quadrature, shifts downwards and upwards apart.

    Limits take ``down``: it is the one that makes them weaker (arXiv:2412.03747, appendix B).
    """
    shifts = list(shifts)
    return Total(math.hypot(*(one.downward for one in shifts)), math.hypot(*(one.upward for one in shifts)))


def interpolated_shifts(by_mass: Mapping[float, Sequence[SourceShift]], mass: float) -> list[SourceShift]:
    """The shifts at a mass from those at the simulated masses.

    Parameters
    ----------
    by_mass
        Simulated mass in GeV to its shifts; the same sources at all masses.
    mass
        In GeV; outside the simulated masses those of the nearest one are taken.

    Returns
    -------
    list of SourceShift
        Linear between neighbouring masses; statistical errors, which are independent, in quadrature.

    Raises
    ------
    InputError
        If there is no mass, or one lacks a source that another one has.
    """
    known = sorted(by_mass)
    if not known:
        msg = "systematic uncertainties: there is no simulated mass to interpolate from; give one"
        raise InputError(msg)
    names = list(dict.fromkeys(one.name for one_mass in known for one in by_mass[one_mass]))
    for one_mass in known:
        lacking = [name for name in names if name not in {one.name for one in by_mass[one_mass]}]
        if lacking:
            msg = (
                f"systematic uncertainties: the signal of {one_mass:g} GeV lacks '{lacking[0]}', which others have; vary all "
                "signals alike"
            )
            raise InputError(msg)
    at = float(np.clip(mass, known[0], known[-1]))
    right = min(max(int(np.searchsorted(known, at)), 1), len(known) - 1)
    left = max(right - 1, 0)
    share = (at - known[left]) / (known[right] - known[left]) if right != left else 0.0
    pairs = (
        [next(one for one in by_mass[known[end]] if one.name == name) for end in (left, right)]
        for name in names
    )
    return [_between(low, high, share) for low, high in pairs]


def _between(low: SourceShift, high: SourceShift, share: float) -> SourceShift:
    def mixed(name: str) -> float:
        parts = ((1 - share) * getattr(low, name), share * getattr(high, name))
        if low.kind == "statistics":
            return math.copysign(math.hypot(*parts), getattr(low, name))
        return float(sum(parts))

    return dataclasses.replace(
        low,
        up=mixed("up"),
        down=mixed("down"),
        mean=mixed("mean"),
        width=mixed("width"),
        retrained=low.retrained and high.retrained,
    )
