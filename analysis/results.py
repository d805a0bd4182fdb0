"""What a scan gives, and its entries in ``scan.json`` and ``fits.json``."""

import dataclasses
from typing import Any

import numpy as np

from analysis.envelope import Envelope
from analysis.f_test import Step
from analysis.fit import BackgroundFit, pearson
from analysis.limits import Limit
from analysis.profile_likelihood import SignalTest
from analysis.range_search import RangeStep
from analysis.spectrum import sum_between
from analysis.toy_p0 import ToyP0
from data.types import FloatArray, IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class MassResult:
    """What was found at one mass.

    Attributes
    ----------
    mass
        In GeV.
    background
        Background-only fit of the function used; None if the mass is not valid.
    steps
        Steps of the F-test.
    test
        Test of the signal; None if the mass is not valid.
    limit
        Limits; None if not asked for or the mass is not valid.
    message
        Why the mass is not valid, or a remark on a valid one, or None.
    toy_p0
        p-value by toys where the asymptotic one does not serve, else None.
    envelope
        Test over all functions where they are profiled, else None; ``background`` and ``test`` are then those of the
        function with the lowest fit.
    range_steps
        Fit ranges that were tried where the range was searched.
    """

    mass: float
    background: BackgroundFit | None
    steps: tuple[Step, ...]
    test: SignalTest | None
    limit: Limit | None
    message: str | None = None
    toy_p0: ToyP0 | None = None
    envelope: Envelope | None = None
    range_steps: tuple[RangeStep, ...] = ()

    @property
    def profile(self) -> SignalTest | Envelope | None:
        """What p-value and yield are quoted from; None if the mass is not valid."""
        return self.envelope or self.test

    @property
    def p0(self) -> float | None:
        """Local p-value, by toys where they were made; None if the mass is not valid."""
        if self.profile is None:
            return None
        return self.profile.p0 if self.toy_p0 is None else self.toy_p0.p0

    @property
    def z(self) -> float | None:
        """Local significance, Φ⁻¹(1 − p0); None if the mass is not valid."""
        if self.profile is None:
            return None
        return self.profile.z if self.toy_p0 is None else self.toy_p0.z

    @property
    def valid(self) -> bool:
        """Every fit asked for has converged."""
        return self.test is not None

    @property
    def signal_goodness(self) -> float | None:
        """p-value of the χ² of the fit with signal; None without a degree of freedom or a valid fit."""
        if self.test is None or self.background is None:
            return None
        best = self.test.best
        expected = self.background.model.expected(best.theta) + self.test.fitted_signal
        fit = self.background
        return pearson(fit.spectrum.counts, expected, fit.coarse_index, fit.n_shape + 2)[2]

    def row(
        self,
        *,
        window: str | None = None,
        efficiency: float | None = None,
        luminosity_ifb: float | None = None,
    ) -> dict[str, Any]:
        """Entry of the scan's list, as plain values; numbers are None where the mass is not valid.

        Parameters
        ----------
        window
            Name of the mass window whose selection was used.
        efficiency
            Fraction of all signal events that are selected and inside the fit range.
        luminosity_ifb
            In fb⁻¹; with the efficiency it turns limits in events into limits in fb.

        Returns
        -------
        dict
            Keys as in `analysis.result_document`; masses in GeV, yields in events.
        """
        test, background, limit = self.profile, self.background, self.limit
        expected = None if limit is None else list(limit.expected)
        to_fb = 1 / (efficiency * luminosity_ifb) if efficiency and luminosity_ifb else None
        return {
            "mass": self.mass,
            "z": self.z,
            "p0": self.p0,
            "p0_calculator": None if test is None else "asymptotic" if self.toy_p0 is None else "toys",
            "signal_yield": None if test is None else test.best.signal_yield,
            "signal_yield_error": None if test is None else test.yield_error,
            "limit_observed": None if limit is None else limit.observed,
            "limit_expected": expected,
            "limit_observed_fb": None if limit is None or to_fb is None else limit.observed * to_fb,
            "limit_expected_fb": None if expected is None or to_fb is None else [v * to_fb for v in expected],
            "efficiency": efficiency,
            "function": None if background is None else background.function,
            "fit_p": None if background is None else background.goodness[2],
            "signal_fit_p": self.signal_goodness,
            "calculator": None if limit is None else limit.calculator,
            "window": window,
            "valid": self.valid,
            "message": self.message,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class ScanResult:
    """Results at all masses, in the order asked for."""

    points: tuple[MassResult, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One plain dictionary a mass."""
        return [point.row() for point in self.points]

    @property
    def valid(self) -> bool:
        """Every mass is valid."""
        return all(point.valid for point in self.points)

    @property
    def reference(self) -> MassResult | None:
        """The valid mass with the largest Z (the lowest of equals); None if there is none."""
        valid = [point for point in self.points if point.valid]
        return max(valid, key=lambda point: (point.z or 0.0, -point.mass), default=None)


@dataclasses.dataclass(frozen=True, eq=False)
class SelectionResult:
    """A scanned selection as plain values.

    Attributes
    ----------
    rows
        Entries of ``scan.json``, one a mass.
    fit
        Entry of ``fits.json``; None if no mass is valid.
    scan
        The results themselves (for workspaces).
    """

    rows: list[dict[str, Any]]
    fit: dict[str, Any] | None
    scan: ScanResult


def fits_entry(result: ScanResult) -> dict[str, Any] | None:
    """Entry of ``fits.json``: the background-only fit at the mass with the largest Z, in merged coarse bins.

    Parameters
    ----------
    result
        A scan.

    Returns
    -------
    dict or None
        Plain values; ``pull`` is (observed − background)/√background, ``background_error`` the standard
        error of the fit, ``parameters`` p1 … pK with ``log_norm`` = ln p0 (p0 in events per GeV);
        ``signal_fits`` holds the fits of background and signal by mass in the same bins, each with its own
        function; ``range_steps`` the fit ranges that a search of the range tried. None if no mass is valid.
    """
    reference = result.reference
    if reference is None or reference.background is None:
        return None
    fit = reference.background
    index = fit.coarse_index
    log_norm, parameters = fit.model.published(fit.minimum.theta)
    chi2, ndf, p = fit.goodness
    observed, background = sum_between(fit.spectrum.counts, index), sum_between(fit.expected, index)
    _, jacobian = fit.model.expected_and_jacobian(fit.minimum.theta)
    coarse = sum_between(jacobian, index)
    error = np.sqrt(np.einsum("ik,kl,il->i", coarse, fit.minimum.covariance, coarse))
    return {
        "range": [fit.spectrum.lo, fit.spectrum.hi],
        "mass": reference.mass,
        "function": fit.function,
        "parameters": parameters.tolist(),
        "log_norm": log_norm,
        "sqrt_s": fit.model.sqrt_s,
        "f_test": [step.to_dict() for step in reference.steps],
        "range_steps": [step.to_dict() for step in reference.range_steps],
        "chi2": chi2,
        "ndf": ndf,
        "fit_p": p,
        "edges": fit.spectrum.edges[index].tolist(),
        "observed": observed.tolist(),
        "background": background.tolist(),
        "background_error": error.tolist(),
        "pull": ((observed - background) / np.sqrt(background)).tolist(),
        "signal_fits": {
            f"{p.mass:g}": _signal_fit(p, fit.spectrum.edges, index) for p in result.points if p.valid
        },
    }


def _signal_fit(point: MassResult, edges: FloatArray, index: IntArray) -> dict[str, list[float]]:
    """Fit of background and signal at a mass in the coarse bins of the reference fit."""
    if point.test is None or point.background is None:
        return {}
    own = point.background.spectrum.edges
    best = point.test.best
    # Ranges of one spectrum share their bins; beyond a mass's own range its signal is left out.
    signal = np.zeros(edges.size - 1)
    shared = (own[:-1] >= edges[0]) & (own[1:] <= edges[-1])
    signal[np.searchsorted(edges, own[:-1][shared])] = point.test.fitted_signal[shared]
    background = point.background.model.expected_in(edges, best.theta)
    return {
        "signal": sum_between(signal, index).tolist(),
        "background": sum_between(background, index).tolist(),
    }
