"""Bias of the signal yield from the choice of the background function: toys of other functions, and spurious signal.

The true background is not of the family that is fitted. Toys are drawn from other functions that describe the data as
well, signals are injected, and the standard fit's pulls (fitted − injected)/error should have mean 0 and width 1
(arXiv:2412.03747). The spurious signal is the yield that the standard fit finds in the expectation of such a function
itself, where there is none (ATLAS, arXiv:1408.7084).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from analysis.batched import BatchedFits
from analysis.bias_config import BiasConfig
from analysis.bias_toys import AUTO, choose, fit_toys, summarise
from analysis.f_test import FailedFit, fit_candidates
from analysis.fit import BackgroundFit
from analysis.fit_ranges import fit_range
from analysis.scan import scan
from analysis.scan_inputs import ScanInputs
from analysis.signal_template import SignalTemplate
from analysis.spectrum import Spectrum
from data.errors import ConfigError, FitError
from data.types import FloatArray

ENVELOPE = "envelope"
Progressing = Callable[[int, int], None]


def bias_study(
    inputs: ScanInputs,
    config: BiasConfig | None = None,
    *,
    grid: tuple[float, ...] = (),
    workers: int = 1,
    progress: Progressing | None = None,
) -> dict[str, Any]:
    """Pulls with injected signals and the spurious signal, for toys of every alternative function.

    Parameters
    ----------
    inputs
        Spectrum, masses, signal and options of the standard fit. With the function ``auto`` every toy has its own
        F-test; the spurious signal is that of the function chosen on the data.
    config
        Functions, injections and criteria; defaults if None.
    grid
        Masses in GeV of the spurious signal; those of the scan if left out.
    workers
        Threads; results do not depend on them.
    progress
        Called with how many of the sets of toys are done and of how many.

    Returns
    -------
    dict
        Plain values; see `analysis.result_document.BiasDocument`.

    Raises
    ------
    ConfigError
        If there is no function of a name.
    InputError
        If a mass lies outside the spectrum, or there are too few events for any fit.
    FitError
        If no alternative, or no function of the standard fit, can be fitted to the data.
    """
    config = config or BiasConfig()
    if inputs.config.function == ENVELOPE:
        msg = "function 'envelope': a study of biases takes one function, or auto; name one"
        raise ConfigError(msg)
    study = _Study(inputs, config, workers)
    names = study.usable()
    rows = study.all_pulls(names, progress or (lambda _done, _total: None))
    spurious = [study.spurious(name, mass) for name in names for mass in grid or inputs.masses]
    return {
        "function": inputs.config.function,
        "criteria": config.model_dump(mode="json"),
        "alternatives": study.alternatives(),
        "pulls": rows,
        "spurious_signal": spurious,
        "max_spurious_signal": max(spurious, key=lambda row: abs(row["signal_yield"])),
        "max_spurious_ratio": max(spurious, key=lambda row: abs(row["ratio"])),
        "passed": all(row["passed"] for row in (*rows, *spurious)),
    }


class _Study:
    """Fits to the data, kept by range, and what is asked of them."""

    def __init__(self, inputs: ScanInputs, config: BiasConfig, workers: int) -> None:
        self._inputs, self._config, self._workers = inputs, config, workers
        self._found: dict[float, Spectrum] = {}
        self._fits: dict[tuple[float, float], dict[str, BackgroundFit | FailedFit]] = {}

    def _at(self, mass: float) -> tuple[Spectrum, dict[str, BackgroundFit | FailedFit]]:
        """Fit range of a mass in GeV, and the fits of all functions to it."""
        config = self._inputs.config
        part = self._range(mass)
        if (part.lo, part.hi) not in self._fits:
            names = dict.fromkeys((*self._standard(), *self._config.alternatives))
            self._fits[part.lo, part.hi] = fit_candidates(
                part, map(config.background, names), sqrt_s=config.sqrt_s, minimum_count=config.minimum_count
            )
        return part, self._fits[part.lo, part.hi]

    def _range(self, mass: float) -> Spectrum:
        """Fit range of a mass in GeV; where it is searched for, the one found on the data."""
        inputs = self._inputs
        if not inputs.config.range_search:
            return fit_range(inputs.spectrum, mass, inputs.config)
        if mass not in self._found:
            quick = inputs.config.model_copy(
                update={"limits": False, "minuit": False, "calculator": "asymptotic"}
            )
            point = scan(inputs.spectrum, [mass], inputs.signal, quick).points[0]
            if point.background is None:
                raise FitError(str(point.message))
            self._found[mass] = point.background.spectrum
        return self._found[mass]

    def _standard(self) -> tuple[str, ...]:
        config = self._inputs.config
        return config.candidates if config.function == AUTO else (config.function,)

    def _standard_fits(self, mass: float) -> dict[str, BackgroundFit]:
        """Fits to the data of the functions that the standard fit may use."""
        _, fits = self._at(mass)
        known = {name: fits[name] for name in self._standard()}
        found = {name: fit for name, fit in known.items() if not isinstance(fit, FailedFit)}
        if not found:
            reasons = "; ".join(fit.message for fit in known.values() if isinstance(fit, FailedFit))
            msg = f"mass {mass:g} GeV: no background function could be fitted; add candidates or change the fit range: {reasons}"
            raise FitError(msg)
        return found

    def usable(self) -> list[str]:
        """Alternatives that could be fitted at every mass."""
        names = [name for name, row in self.alternatives().items() if row["message"] is None]
        if not names:
            reasons = "; ".join(str(row["message"]) for row in self.alternatives().values())
            msg = f"none of the alternative functions could be fitted; choose others: {reasons}"
            raise FitError(msg)
        return names

    def alternatives(self) -> dict[str, dict[str, Any]]:
        """Goodness of fit of each alternative at the first mass, or why there is no fit."""
        rows: dict[str, dict[str, Any]] = {}
        for name in self._config.alternatives:
            fits = [self._at(mass)[1][name] for mass in self._inputs.masses]
            failed = [fit.message for fit in fits if isinstance(fit, FailedFit)]
            first = fits[0]
            p = None if isinstance(first, FailedFit) else first.goodness[2]
            rows[name] = {"fit_p": p, "message": failed[0] if failed else None}
        return rows

    def _expected(self, name: str, mass: float) -> FloatArray:
        fit = self._at(mass)[1][name]
        if isinstance(fit, FailedFit):
            raise FitError(fit.message)
        return fit.expected

    def _template(self, mass: float, part: Spectrum) -> SignalTemplate:
        return self._inputs.signal.template(mass, part.edges, nuisances=self._inputs.config.nuisances)

    def _choice(self, mass: float) -> BackgroundFit:
        """Fit to the data of the function that the standard fit uses."""
        return choose(self._standard_fits(mass), mass, self._inputs.config).chosen

    def all_pulls(self, names: list[str], report: Progressing) -> list[dict[str, Any]]:
        """Pulls of every alternative of those named, mass and injection."""
        wanted = [(name, mass) for name in names for mass in self._inputs.masses]
        rows: list[dict[str, Any]] = []
        for done, (name, mass) in enumerate(wanted):
            report(done, len(wanted))
            rows += [self._pulls(name, mass, number) for number in range(len(self._config.injections))]
        report(len(wanted), len(wanted))
        return rows

    def _pulls(self, name: str, mass: float, number: int) -> dict[str, Any]:
        """Pulls of toys of one alternative, mass and injection."""
        config = self._config
        part, _ = self._at(mass)
        template, background = self._template(mass, part), self._expected(name, mass)
        asimov = self._fit_asimov(self._choice(mass), background, template)
        injected = config.injections[number] * asimov[1]
        place = (config.alternatives.index(name), self._inputs.masses.index(mass), number)
        rng = np.random.default_rng([config.seed, *place])
        counts = rng.poisson(background + injected * template.nominal, (config.toys, background.size))
        fitted = fit_toys(
            counts,
            part,
            self._standard_fits(mass),
            template,
            mass,
            self._inputs.config,
            workers=self._workers,
        )
        summary = summarise(fitted, injected, config.max_pull)
        mean = summary["pull_mean"]
        return {
            "alternative": name,
            "mass": mass,
            "injected_sigma": config.injections[number],
            "injected_yield": injected,
            **summary,
            "passed": mean is not None and abs(mean) <= config.max_mean_pull,
        }

    def spurious(self, name: str, mass: float) -> dict[str, Any]:
        """Yield that the standard fit finds in the expectation of an alternative."""
        part, _ = self._at(mass)
        fit = self._choice(mass)
        try:
            signal_yield, error = self._fit_asimov(
                fit, self._expected(name, mass), self._template(mass, part)
            )
        except FitError as failed:
            msg = f"mass {mass:g} GeV, alternative {name}: {failed}; leave out the mass or the alternative"
            raise FitError(msg) from None
        return {
            "alternative": name,
            "mass": mass,
            "function": fit.function,
            "signal_yield": signal_yield,
            "error": error,
            "ratio": signal_yield / error,
            "passed": abs(signal_yield) <= self._config.max_spurious * error,
        }

    def _fit_asimov(
        self, fit: BackgroundFit, expected: FloatArray, template: SignalTemplate
    ) -> tuple[float, float]:
        """Yield and error of the fit with signal to an expectation without."""
        best = BatchedFits(expected[None, :], fit.model, fit.minimum.theta).best([template])
        if not best.converged[0, 0] or best.at_bound[0, 0]:
            msg = (
                f"{fit.function}: no fit of background and signal to the expectation of an alternative function; leave one "
                "of the two out"
            )
            raise FitError(msg)
        return float(best.signal_yield[0, 0]), float(best.error[0, 0])
