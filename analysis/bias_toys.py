"""Toys fitted as the data are: with a fixed function, or with an F-test for every toy."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.batched import BatchedFits, BatchedSignal
from analysis.f_test import FailedFit, FTest, f_test
from analysis.fit import BackgroundFit
from analysis.likelihood import Likelihood
from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from analysis.scan_config import ScanConfig
from analysis.signal_template import SignalTemplate
from analysis.spectrum import Spectrum
from data.errors import FitError
from data.types import BoolArray, FloatArray, IntArray

AUTO = "auto"


@dataclasses.dataclass(frozen=True, eq=False)
class FittedToys:
    """Fits of background and signal to toys.

    Attributes
    ----------
    signal_yield, error
        Fitted yields and their errors, shape (toys,).
    converged
        Where False, the other entries mean nothing; shape (toys,).
    functions
        How many of the toys were fitted with each function.
    """

    signal_yield: FloatArray
    error: FloatArray
    converged: BoolArray
    functions: Mapping[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class _Fitted:
    """All toys with one function."""

    data: BackgroundFit
    nulls: BatchedFits
    best: BatchedSignal
    error: FloatArray
    """Shape (toys,), not-a-number where there is none."""

    @property
    def usable(self) -> BoolArray:
        return np.asarray(self.best.converged[:, 0] & np.isfinite(self.error), dtype=np.bool_)


def choose(fits: Mapping[str, BackgroundFit | FailedFit], mass: float, config: ScanConfig) -> FTest:
    """F-test with the options of a scan; of one function that function.

    Parameters
    ----------
    fits
        By name of the function, from few shape parameters to many.
    mass
        Tested mass in GeV.
    config
        Options.

    Returns
    -------
    FTest
        The choice and its steps.
    """
    return f_test(
        fits,
        mass,
        p_accept=config.f_test_p,
        uncertainty_veto=config.uncertainty_veto,
        max_uncertainty=config.max_uncertainty,
    )


def fit_toys(
    counts: IntArray,
    part: Spectrum,
    standard: Mapping[str, BackgroundFit],
    template: SignalTemplate,
    mass: float,
    config: ScanConfig,
    *,
    workers: int = 1,
) -> FittedToys:
    """Fit toys with the function that each would be given.

    Parameters
    ----------
    counts
        Shape (toys, n).
    part
        Fit range of the data, for its bins.
    standard
        Fits to the data of the functions to choose from; of a single one there is no choice.
    template
        The signal.
    mass
        Tested mass in GeV.
    config
        Options of the F-test.
    workers
        Threads; results do not depend on them.

    Returns
    -------
    FittedToys
        As in a scan, a function whose fit with signal fails gives way to a smaller one.
    """
    fitted = {name: _fit_all(counts, fit, template, workers) for name, fit in standard.items()}
    used: list[str | None] = [_used(fitted, part, counts, toy, mass, config) for toy in range(len(counts))]
    signal_yield, error = np.full((2, len(counts)), np.nan)
    for name, one in fitted.items():
        mine = np.array([entry == name for entry in used])
        signal_yield[mine], error[mine] = one.best.signal_yield[mine, 0], one.error[mine]
    return FittedToys(
        signal_yield,
        error,
        np.array([entry is not None for entry in used], dtype=np.bool_),
        {name: used.count(name) for name in fitted},
    )


def _fit_all(counts: IntArray, fit: BackgroundFit, template: SignalTemplate, workers: int) -> _Fitted:
    nulls = BatchedFits(counts, fit.model, fit.minimum.theta, workers=workers)
    best = nulls.best([template])
    error = best.error[:, 0].copy()
    for toy in np.flatnonzero(best.converged[:, 0] & best.at_bound[:, 0]):
        # Second derivatives say nothing at the bound: the rise of −ln L does.
        error[toy] = _error_at_bound(counts[toy], fit, template, nulls.theta[toy])
    return _Fitted(fit, nulls, best, error)


def _error_at_bound(
    counts: IntArray, fit: BackgroundFit, template: SignalTemplate, theta: FloatArray
) -> float:
    try:
        return SignalTest(counts.astype(np.float64), fit.model, template, theta).yield_error
    except FitError:
        return float("nan")


def _used(
    fitted: Mapping[str, _Fitted], part: Spectrum, counts: IntArray, toy: int, mass: float, config: ScanConfig
) -> str | None:
    """Name of the function that a toy is fitted with; None if no fit converges."""
    usable = [name for name, one in fitted.items() if one.usable[toy]]
    if len(fitted) == 1 or not usable:
        return usable[0] if usable else None
    spectrum = Spectrum(part.edges, counts[toy], part.coarse_edges)
    nulls = {
        name: _background_fit(one, spectrum, toy) for name, one in fitted.items() if one.nulls.converged[toy]
    }
    chosen = choose(nulls, mass, config).last_accepted
    if chosen is None or chosen.function in usable:
        return None if chosen is None else chosen.function
    smaller = [name for name in usable if fitted[name].data.n_shape < chosen.n_shape]
    return max(smaller, key=lambda name: fitted[name].data.n_shape, default=None)


def _background_fit(one: _Fitted, spectrum: Spectrum, toy: int) -> BackgroundFit | FailedFit:
    """Background-only fit to a toy as an object of its own."""
    model, theta = one.data.model, one.nulls.theta[toy]
    _, hessian = Likelihood(spectrum.counts.astype(np.float64), model).derivatives(
        theta, 0.0, with_yield=False
    )
    try:
        np.linalg.cholesky(hessian)  # refuses what has no minimum
        covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
    except np.linalg.LinAlgError:
        return FailedFit(one.data.function, one.data.n_shape, f"{one.data.function}: ran away")
    minimum = Minimum(theta, 0.0, float(one.nulls.value[toy]), covariance)
    return BackgroundFit(spectrum, model, minimum, one.data.minimum_count)


def summarise(fitted: FittedToys, injected: float, max_pull: float) -> dict[str, Any]:
    """Mean and width of pulls (fitted − injected)/error.

    Parameters
    ----------
    fitted
        Fits of toys.
    injected
        Signal events injected.
    max_pull
        Pulls beyond are left out, and counted as outliers.

    Returns
    -------
    dict
        Plain values; means and widths are None with fewer than two pulls.
    """
    good = fitted.converged
    pulls = (fitted.signal_yield[good] - injected) / fitted.error[good]
    kept = pulls[np.abs(pulls) <= max_pull]
    enough = kept.size >= 2
    mean, width = (float(kept.mean()), float(kept.std(ddof=1))) if enough else (None, None)
    return {
        "n_toys": int(good.size),
        "n_failed": int(np.count_nonzero(~good)),
        "n_outliers": int(pulls.size - kept.size),
        "pull_mean": mean,
        "pull_mean_error": None if width is None else width / kept.size**0.5,
        "pull_width": width,
        "pull_width_error": None if width is None else width / (2 * (kept.size - 1)) ** 0.5,
        "functions": {name: number for name, number in fitted.functions.items() if number},
    }
