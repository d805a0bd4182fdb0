"""A signal in bins with its nuisance parameters, as every fit takes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from data.errors import FitError, InputError
from data.types import FloatArray

JES = 0.01
"""Relative uncertainty of a resonance's place from the jet energy scale (arXiv:2412.03747)."""
JER = 0.035
"""Relative uncertainty of its width from the jet energy resolution (arXiv:2412.03747)."""
_LEAST_INSIDE = 0.1

Cumulated = Callable[[FloatArray], FloatArray]
"""Masses in GeV to the fraction of the signal below them."""


@dataclass(frozen=True, eq=False)
class Shift:
    """A systematic uncertainty of the signal's shape.

    Attributes
    ----------
    name
        Of the nuisance parameter.
    up, down
        The template at +1 and −1 standard deviation, shape (n,).
    """

    name: str
    up: FloatArray
    down: FloatArray


@dataclass(frozen=True, eq=False)
class SignalTemplate:
    r"""Fractions of the signal in the bins of a fit range, and how nuisance parameters change them.

    Each nuisance parameter a has a Gaussian constraint of unit width. Shapes follow the parabola through the three known
    templates, T(a) = T₀ + a (T₊ − T₋)/2 + a² (T₊ + T₋ − 2 T₀)/2, and shifts add up; the yield is multiplied by
    (1 + ``norm_uncertainty``)^η.

    Attributes
    ----------
    nominal
        Fractions, sum one, shape (n,).
    shifts
        Uncertainties of the shape, as fractions of the nominal yield inside the range: their sum is not one where a
        shift moves events over an end of the range.
    norm_uncertainty
        Relative uncertainty of the signal's normalisation (log-normal), 0 for none.
    """

    nominal: FloatArray
    shifts: tuple[Shift, ...] = ()
    norm_uncertainty: float = 0.0

    def __post_init__(self) -> None:
        for name, values in (
            ("nominal", self.nominal),
            *(
                (f"{shift.name} {side}", getattr(shift, side))
                for shift in self.shifts
                for side in ("up", "down")
            ),
        ):
            if values.shape != self.nominal.shape or not np.isfinite(values).all():
                msg = f"signal template '{name}': expected {self.nominal.size} finite fractions, one a bin"
                raise InputError(msg)
        if not (np.isfinite(self.norm_uncertainty) and self.norm_uncertainty >= 0):
            msg = f"signal template: norm_uncertainty = {self.norm_uncertainty}; give a relative uncertainty of 0 or more"
            raise InputError(msg)

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisance parameters, that of the normalisation last."""
        names = tuple(shift.name for shift in self.shifts)
        return (*names, "signal_norm") if self.norm_uncertainty > 0 else names


class Signal(Protocol):
    """What a scan asks of a signal: `analysis.signal_shape.SignalModel`, `analysis.signal_histogram.HistogramSignal`."""

    def template(self, mass: float, edges: FloatArray, *, nuisances: bool = False) -> SignalTemplate:
        """Fractions of the signal in bins.

        Parameters
        ----------
        mass
            In GeV.
        edges
            Of the bins in GeV, shape (n + 1,).
        nuisances
            Give its uncertainties too.

        Returns
        -------
        SignalTemplate
            Unit sum inside the edges.
        """

    def width(self, mass: float) -> float:
        """Width σ of the peak.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        float
            In GeV.
        """


def template_of(
    cumulated: Cumulated,
    edges: FloatArray,
    shifted: Mapping[str, tuple[Cumulated, Cumulated]] | None = None,
    *,
    norm_uncertainty: float = 0.0,
    what: str = "signal",
) -> SignalTemplate:
    """Bin a signal and its variations.

    The nominal fractions have unit sum inside the edges: a yield counts the events inside the range. The varied ones are
    divided by the nominal sum, so that events which a shift moves over an end of the range change the yield.

    Parameters
    ----------
    cumulated
        Nominal signal.
    edges
        In GeV, shape (n + 1,).
    shifted
        Name of each uncertainty to the signal at +1 and −1 standard deviation.
    norm_uncertainty
        Relative uncertainty of the normalisation.
    what
        The signal, for messages.

    Returns
    -------
    SignalTemplate
        Fractions a bin, shape (n,).

    Raises
    ------
    FitError
        If less than a tenth of the signal lies inside the edges.
    """
    nominal = np.maximum(np.diff(cumulated(edges)), 0.0)
    inside = float(nominal.sum())
    if not inside >= _LEAST_INSIDE:
        msg = (
            f"{what}: only {inside:.1%} of it lies in the fit range {edges[0]:g}–{edges[-1]:g} GeV; choose a mass "
            "inside the range"
        )
        raise FitError(msg)

    def varied(one: Cumulated) -> FloatArray:
        return np.asarray(np.maximum(np.diff(one(edges)), 0.0) / inside)

    shifts = tuple(Shift(name, varied(up), varied(down)) for name, (up, down) in (shifted or {}).items())
    return SignalTemplate(np.asarray(nominal / inside), shifts, norm_uncertainty)


def shift_sizes(jes: float, jer: float, place_error: float, width_error: float) -> dict[str, float]:
    """Relative changes of place and width of a peak, with the statistical errors of its simulation in quadrature.

    Parameters
    ----------
    jes, jer
        Relative uncertainties, from 0 to below 1.
    place_error, width_error
        Relative statistical errors.

    Returns
    -------
    dict
        ``jes`` and ``jer`` to the whole relative change; one of size 0 is left out.

    Raises
    ------
    InputError
        If one is not in its range.
    """
    sizes = {}
    for name, given, error in (("jes", jes, place_error), ("jer", jer, width_error)):
        size = float(np.hypot(given, error))
        if not (given >= 0 and size < 1):
            msg = (
                f"signal: relative uncertainty {name} = {given:g} with a statistical error of {error:.2g}; both together "
                "must be from 0 to below 1"
            )
            raise InputError(msg)
        if size > 0:
            sizes[name] = size
    return sizes
