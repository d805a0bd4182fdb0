"""Signals given as histograms, without a function: rebinned, shifted, and morphed between masses."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.bin_edges import Edges, edge_array
from analysis.signal_shape import SignalModel
from analysis.signal_template import (
    JER,
    JES,
    Cumulated,
    Signal,
    SignalTemplate,
    shift_sizes,
    template_of,
)
from data.errors import InputError
from data.sections import Number, Section
from data.types import FloatArray

_CENTRAL = (0.025, 0.975)
"""A tested mass without a simulated one lies between these quantiles of the histogram."""
_MOST_COARSE = 0.5
"""Bins wider than this part of the peak's width would show in the template."""
_ONE_SIGMA = (0.15865525393145707, 0.8413447460685429)
_TRACE = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class SignalHistogram:
    """A signal in bins of its own.

    Inside a bin the signal is taken as flat; there is none outside the bins.

    Parameters
    ----------
    edges
        In GeV, increasing, shape (n + 1,).
    values
        Σw of each bin in any unit, not negative, shape (n,).
    variances
        Σw² of each bin; if None the histogram has no statistical error.
    mass
        Resonance mass in GeV; if None it stands for the place where it peaks and no other.

    Raises
    ------
    InputError
        If these are not the numbers of a signal.
    """

    edges: FloatArray
    values: FloatArray
    variances: FloatArray | None = None
    mass: float | None = None

    def __post_init__(self) -> None:
        for name in ("edges", "values", "variances"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        edges = self.edges
        if edges.ndim != 1 or edges.size < 2 or not (np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
            msg = f"{self}: its edges must be at least two finite numbers that increase (GeV)"
            raise InputError(msg)
        if self.mass is not None and not (np.isfinite(self.mass) and self.mass > 0):
            msg = f"{self}: its mass must be finite and positive (GeV)"
            raise InputError(msg)
        self._check_numbers("values", self.values)
        if self.variances is not None:
            self._check_numbers("variances", self.variances)
        if not self.values.sum() > 0:
            msg = f"{self}: it holds no event; fill it with selected signal"
            raise InputError(msg)

    def _check_numbers(self, name: str, numbers: FloatArray) -> None:
        edges = self.edges
        if numbers.shape != (edges.size - 1,):
            msg = f"{self}: {edges.size} edges need {edges.size - 1} {name}, one a bin, found {numbers.size}"
            raise InputError(msg)
        bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
        if bad.size:
            at = bad[0]
            msg = (
                f"{self}: {name} hold {numbers[at]:g} in bin {edges[at]:g}–{edges[at + 1]:g} GeV, where a number of 0 "
                "or more is needed; merge bins in which negative weights prevail"
            )
            raise InputError(msg)

    def __str__(self) -> str:
        return "signal histogram" + ("" if self.mass is None else f" of {self.mass:g} GeV")

    @functools.cached_property
    def _steps(self) -> FloatArray:
        """Fraction of the signal below each edge; empty bins hold a trace, so that it rises everywhere."""
        fractions = self.values / self.values.sum() + _TRACE / self.values.size
        return np.concatenate([[0.0], np.cumsum(fractions)]) / (1 + _TRACE)

    def cumulated(self, mass: FloatArray) -> FloatArray:
        """Fraction of the signal below masses.

        Parameters
        ----------
        mass
            In GeV, any shape.

        Returns
        -------
        FloatArray
            0 … 1, of the same shape.
        """
        return np.interp(mass, self.edges, self._steps)

    def quantile(self, fraction: FloatArray) -> FloatArray:
        """Masses below which fractions of the signal lie.

        Parameters
        ----------
        fraction
            0 … 1, any shape.

        Returns
        -------
        FloatArray
            In GeV, of the same shape.
        """
        return np.interp(fraction, self._steps, self.edges)

    @property
    def place(self) -> float:
        """Median in GeV."""
        return float(self.quantile(np.array(0.5)))

    @property
    def width(self) -> float:
        """Half the interval of the central 68.3 %, in GeV: σ of a Gaussian."""
        low, high = self.quantile(np.array(_ONE_SIGMA))
        return float(high - low) / 2

    @property
    def relative_errors(self) -> tuple[float, float]:
        """Relative statistical errors of place and width, those of mean and σ of as many effective events."""
        if self.variances is None:
            return 0.0, 0.0
        inverse = float(np.sqrt(np.sum(self.variances)) / self.values.sum())
        return inverse * self.width / self.place, inverse / math.sqrt(2)

    def check_bins(self, edges: FloatArray) -> None:
        """Refuse bins that would show in a template with other edges.

        Parameters
        ----------
        edges
            In GeV, shape (n + 1,).

        Raises
        ------
        InputError
            If they are wider than half the width of the peak and the edges are not among theirs.
        """
        first, last = np.clip(
            np.searchsorted(self.edges, self.quantile(np.array(_CENTRAL)), side="right") - 1,
            0,
            self.values.size - 1,
        )
        widest = float(np.diff(self.edges)[first : last + 1].max())
        if widest <= _MOST_COARSE * self.width * (1 + 1e-9):
            return
        inside = edges[(edges > self.edges[0]) & (edges < self.edges[-1])]
        nearest = np.abs(self.edges[:, None] - inside[None, :]).min(axis=0)
        if (nearest > 1e-6).any():
            at = inside[np.argmax(nearest > 1e-6)]
            msg = (
                f"{self}: its bins of {widest:g} GeV do not match those of the fit (its edges lack {at:g} GeV) and are too "
                f"wide to be split, for a peak of width {self.width:.3g} GeV; give it in the bins of the spectrum, or in "
                f"bins of at most {_MOST_COARSE * self.width:.3g} GeV"
            )
            raise InputError(msg)


class HistogramSignal:
    """Signal of any mass from histograms.

    Between two masses the quantiles of mjj/mass are interpolated linearly (A. L. Read, Nucl. Instrum. Meth. A 425 (1999)
    357): a peak moves and widens, where a mean of the histograms would have two peaks.

    Parameters
    ----------
    histograms
        One a mass; or a single one without mass.

    Raises
    ------
    InputError
        If there is none, two have one mass, or one of several has none.
    """

    def __init__(self, histograms: Sequence[SignalHistogram]) -> None:
        if not histograms:
            msg = "signal: give at least one histogram"
            raise InputError(msg)
        masses = [histogram.mass for histogram in histograms]
        if len(masses) > 1 and (None in masses or len(set(masses)) != len(masses)):
            found = ", ".join("none" if mass is None else f"{mass:g} GeV" for mass in masses)
            msg = f"signal: of several histograms each needs a mass of its own, found {found}"
            raise InputError(msg)
        self.histograms = tuple(sorted(histograms, key=lambda histogram: histogram.mass or 0.0))

    def width(self, mass: float) -> float:
        """Width of the peak (see `SignalHistogram.width`).

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        float
            In GeV.
        """
        return self._at(mass).width

    def template(
        self,
        mass: float,
        edges: FloatArray,
        *,
        nuisances: bool = False,
        jes: float = JES,
        jer: float = JER,
        norm_uncertainty: float = 0.0,
    ) -> SignalTemplate:
        """Fractions of the signal in bins, with its uncertainties.

        The jet energy scale moves the histogram by ``jes`` times its median, the resolution stretches it about the median,
        each in quadrature with the statistical error of the histogram.

        Parameters
        ----------
        mass, edges, nuisances, jes, jer, norm_uncertainty
            As for `analysis.signal_shape.SignalModel.template`.

        Returns
        -------
        SignalTemplate
            Normalised as there.

        Raises
        ------
        InputError
            If the mass is outside those of the histograms, or the bins of a histogram do not match.
        FitError
            If less than a tenth of the signal lies inside the edges.
        """
        edges = np.asarray(edges, dtype=np.float64)
        one = self._at(mass)
        one.check_bins(edges)
        shifted = {}
        if nuisances:
            for name, size in shift_sizes(jes, jer, *one.relative_errors).items():
                move = _moved if name == "jes" else _stretched
                shifted[name] = (move(one, size), move(one, -size))
        what = f"signal of {mass:g} GeV"
        return template_of(one.cumulated, edges, shifted, norm_uncertainty=norm_uncertainty, what=what)

    def _at(self, mass: float) -> SignalHistogram:
        """The histogram of a mass in GeV, morphed where there is none."""
        for one in self.histograms:
            if one.mass is None:
                return _as_tested(one, mass)
            if abs(one.mass - mass) < 1e-6 * mass:
                return one
        known = [histogram.mass or 0.0 for histogram in self.histograms]
        above = int(np.searchsorted(known, mass))
        if not 0 < above < len(known):
            msg = (
                f"signal: mass {mass:g} GeV has no histogram and does not lie between two that have "
                f"({', '.join(f'{m:g}' for m in known)} GeV); add a histogram, or test other masses"
            )
            raise InputError(msg)
        return _morphed(self.histograms[above - 1], self.histograms[above], mass)


def _as_tested(one: SignalHistogram, mass: float) -> SignalHistogram:
    low, high = one.quantile(np.array(_CENTRAL))
    if not low <= mass <= high:
        msg = (
            f"{one}: it lies at {low:.0f}–{high:.0f} GeV (central 95 %), not at the tested mass of {mass:g} GeV; test a "
            "mass there, or give histograms by mass"
        )
        raise InputError(msg)
    return one


def _morphed(below: SignalHistogram, above: SignalHistogram, mass: float) -> SignalHistogram:
    """Histogram between two of known masses, flat between quantiles of both."""
    low, high = below.mass or 0.0, above.mass or 0.0
    for one in (below, above):
        one.check_bins((one.edges[:-1] + one.edges[1:]) / 2)  # a moved peak has edges that match no bins
    share = (mass - low) / (high - low)
    steps = np.union1d(below.cumulated(below.edges), above.cumulated(above.edges))
    edges = mass * ((1 - share) * below.quantile(steps) / low + share * above.quantile(steps) / high)
    keep = np.append(np.diff(edges) > 1e-9 * mass, True)
    edges, steps = edges[keep], steps[keep]
    values = np.diff(steps)
    variances = None
    if below.variances is not None and above.variances is not None:
        # So many events that place and width have the errors which the two independent histograms give them.
        left, right = (
            float(square.sum() / one.values.sum() ** 2)
            for one, square in ((below, below.variances), (above, above.variances))
        )
        variances = values * (values.sum() * ((1 - share) ** 2 * left + share**2 * right))
    return SignalHistogram(edges, values, variances, mass)


def _moved(one: SignalHistogram, size: float) -> Cumulated:
    return lambda mass: one.cumulated(mass - size * one.place)


def _stretched(one: SignalHistogram, size: float) -> Cumulated:
    return lambda mass: one.cumulated(one.place + (mass - one.place) / (1 + size))


class TemplateDocument(Section):
    """A signal histogram as JSON: edges in GeV, Σw and, if wanted, Σw² of each bin."""

    edges: Edges
    values: list[Number]
    variances: list[Number] | None = None

    def histogram(self, mass: float | None) -> SignalHistogram:
        """The histogram of a document.

        Parameters
        ----------
        mass
            In GeV; None where it is meant for all masses.

        Returns
        -------
        SignalHistogram
            Σw and, where given, Σw² a bin.

        Raises
        ------
        InputError
            If the numbers are not those of a signal.
        """
        variances = None if self.variances is None else np.asarray(self.variances)
        return SignalHistogram(edge_array(self.edges), np.asarray(self.values), variances, mass)


class _OneTemplate(Section):
    template: TemplateDocument


def read_signal(mapping: Mapping[str, Any], source: str = "signal") -> Signal:
    """Signal of a document: a function or histograms.

    Parameters
    ----------
    mapping
        ``{"template": {"edges": …, "values": …, "variances": …}}``, ``{"2000": {"template": {…}}, "3000": {…}}`` by mass
        in GeV, or what `SignalModel.from_dict` reads.
    source
        Where the mapping comes from, for messages.

    Raises
    ------
    ConfigError
        If a template has a key that is unknown, missing or of the wrong type.
    InputError
        If the numbers are not those of a signal.
    """
    if "template" in mapping:
        return HistogramSignal([_OneTemplate.parse(dict(mapping), source).template.histogram(None)])
    if not any(isinstance(row, Mapping) and "template" in row for row in mapping.values()):
        return SignalModel.from_dict(mapping, source)
    histograms = []
    for text, row in mapping.items():
        document = _OneTemplate.parse(row, f"{source}.{text}")
        try:
            mass = float(text)
        except ValueError:
            msg = f'{source}: \'{text}\' is not a mass in GeV; write templates by mass, as {{"2000": {{"template": …}}}}'
            raise InputError(msg) from None
        histograms.append(document.template.histogram(mass))
    return HistogramSignal(histograms)
