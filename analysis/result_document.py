"""The result files of a spectrum: what ``oddjet scan`` and ``oddjet bias`` write, key by key."""

from typing import Annotated, Literal

import pydantic

from analysis.bias_config import BiasConfig
from data.sections import Section

Probability = Annotated[float, pydantic.Field(ge=0, le=1)]
Calculator = Literal["asymptotic", "toys"]
Bands = tuple[float, float, float, float, float]
"""Values at −2, −1, 0, +1, +2 standard deviations."""


class FTestStep(Section):
    """One candidate of the F-test; see `analysis.f_test.Step`.

    Parameters
    ----------
    function, n
        Its name and number of shape parameters.
    chi2, ndf, p
        Pearson's χ² in the merged coarse bins, bins − n − 1, and its p-value (None without ndf).
    p_f
        p-value of the F-test against the function chosen so far; None for the first.
    uncertainty
        Relative uncertainty of the fitted background at the tested mass.
    accepted
        Whether it became the choice.
    message
        Why there is no fit, or None.
    """

    function: str
    n: int
    chi2: float | None
    ndf: int | None
    p: Probability | None
    p_f: Probability | None
    uncertainty: float | None
    accepted: bool
    message: str | None


class FTestResult(Section):
    """The F-test at the mass of the largest Z.

    Parameters
    ----------
    chosen
        Number of shape parameters; None if no candidate could be fitted.
    chi2, ndf
        Of the choice, in the merged coarse bins.
    mass
        In GeV, where the veto on the uncertainty was asked.
    steps
        Every candidate, from few parameters to many.
    """

    chosen: int | None
    chi2: float | None
    ndf: int | None
    mass: float
    steps: tuple[FTestStep, ...]


class BackgroundResult(Section):
    """The background-only fit of the function used at the mass of the largest Z.

    Parameters
    ----------
    function
        Its name.
    chi2, ndf, fit_p
        Pearson's χ² in the merged coarse bins, bins − K − 1, and its p-value (None without ndf).
    parameters
        Shape parameters as published.
    log_norm
        ln p0, p0 in events per GeV.
    range
        Fit range in GeV.
    coarse_edges, observed, expected
        Merged coarse bins in GeV, their events and the fit's expectation.
    """

    function: str
    chi2: float
    ndf: int
    fit_p: Probability | None
    parameters: tuple[float, ...]
    log_norm: float
    range: tuple[float, float]
    coarse_edges: tuple[float, ...]
    observed: tuple[int, ...]
    expected: tuple[float, ...]


class MassEntry(Section):
    """The test of one mass; numbers are None where it is not valid.

    Parameters
    ----------
    z, p0
        Local significance and p-value.
    signal_yield, signal_yield_error
        In events inside the fit range.
    limit_observed, limit_expected
        Upper CLs limits at 95 % in events inside the fit range, the expected one at −2 … +2 standard deviations.
    function
        Of the background.
    fit_p, signal_fit_p
        p-value of χ² in the merged coarse bins of the background-only fit and of the fit with signal.
    p0_calculator, calculator
        Of the p-value and of the limits: ``asymptotic`` or ``toys``; the latter is that of the p-value without limits.
    range
        Fit range in GeV.
    valid
        Every fit has converged.
    message
        Why the mass is not valid, or a remark on a valid one.
    """

    z: float | None
    p0: Probability | None
    p0_calculator: Calculator | None
    signal_yield: float | None
    signal_yield_error: float | None
    limit_observed: float | None
    limit_expected: Bands | None
    function: str | None
    fit_p: Probability | None
    signal_fit_p: Probability | None
    calculator: Calculator | None
    range: tuple[float, float] | None
    valid: bool
    message: str | None


class GlobalResult(Section):
    """The look-elsewhere effect over the masses asked for; all None but the message where it failed.

    Parameters
    ----------
    max_z, mass
        Largest local significance of the data and its mass in GeV.
    selection
        ``spectrum``.
    p_global, p_global_error, p_global_interval
        Fraction of pseudo-experiments whose largest significance is as large, its error and central 68 % interval.
    z_global, z_global_is_bound
        Significance of it; whether it is a bound at 95 % CL, as none or all of the pseudo-experiments are as extreme.
    n_toys, n_failed
        Pseudo-experiments fitted, and those left out because a fit did not converge.
    correlation
        Of pseudo-experiments of several selections.
    gross_vitells, gross_vitells_error, gross_vitells_message
        Global p-value from up-crossings (arXiv:1005.1891), its error and where it overestimates.
    masses_left_out
        Masses in GeV that were not valid in the data.
    message
        Why there is no result, or which masses are left out and why.
    """

    max_z: float | None
    mass: float | None
    selection: str | None
    p_global: Probability | None
    p_global_error: float | None
    p_global_interval: tuple[Probability, Probability] | None
    z_global: float | None
    z_global_is_bound: bool | None
    n_toys: int | None
    n_failed: int | None
    correlation: str | None
    gross_vitells: Probability | None
    gross_vitells_error: float | None
    gross_vitells_message: str | None
    masses_left_out: tuple[float, ...] | None
    message: str | None


class BumpHunterResult(Section):
    """The BumpHunter in the coarse bins (arXiv:1101.0390); all None but the message where it failed.

    Parameters
    ----------
    t
        −ln of the smallest local p-value.
    lo, hi
        Its window in GeV; None where no window has an excess.
    observed, expected
        Events and background in it.
    function
        Background function.
    p_global, p_global_error
        Fraction of pseudo-experiments with a t as large, and its error.
    n_toys, n_failed
        Pseudo-experiments fitted, and those left out because a fit did not converge.
    refitted, side_bands
        Whether every pseudo-experiment had its own fit; whether the data beside the window had to agree with it.
    message
        Why there is no result.
    """

    t: float | None
    lo: float | None
    hi: float | None
    observed: int | None
    expected: float | None
    function: str | None
    p_global: Probability | None
    p_global_error: float | None
    n_toys: int | None
    n_failed: int | None
    refitted: bool | None
    side_bands: bool | None
    message: str | None


class ResultDocument(Section):
    """What ``oddjet scan --spectrum`` and ``oddjet limit --spectrum`` write (JSON).

    Parameters
    ----------
    f_test, background
        At the mass of the largest Z (the first mass if none is valid); no background where there is no valid fit.
    masses
        Mass in GeV to the result there.
    look_elsewhere, bumphunter
        None where not asked for; ``global`` is the key of the first.
    sqrt_s
        Centre-of-mass energy in GeV.
    n_events
        Events of the whole spectrum.
    seed
        Of the pseudo-experiments.
    """

    f_test: FTestResult
    background: BackgroundResult | None
    masses: dict[str, MassEntry]
    look_elsewhere: GlobalResult | None = pydantic.Field(alias="global")
    bumphunter: BumpHunterResult | None
    sqrt_s: float
    n_events: int
    seed: int


class AlternativeEntry(Section):
    """A function that toys were drawn from.

    Parameters
    ----------
    fit_p
        p-value of χ² of its fit to the data: one that does not describe them says little about the bias.
    message
        Why it could not be used, or None.
    """

    fit_p: Probability | None
    message: str | None


class PullEntry(Section):
    """Toys of one alternative function, mass and injected signal.

    Parameters
    ----------
    alternative, mass
        Function that they were drawn from; in GeV.
    injected_sigma, injected_yield
        Signal injected, in units of the expected error and in events.
    n_toys, n_failed, n_outliers
        Toys, those without a converged fit, and those whose pull was too large to be kept.
    pull_mean, pull_mean_error, pull_width, pull_width_error
        Of (fitted − injected)/error; None with fewer than two toys.
    functions
        How many toys were fitted with each function.
    passed
        The mean pull is as small as asked for.
    """

    alternative: str
    mass: float
    injected_sigma: float
    injected_yield: float
    n_toys: int
    n_failed: int
    n_outliers: int
    pull_mean: float | None
    pull_mean_error: float | None
    pull_width: float | None
    pull_width_error: float | None
    functions: dict[str, int]
    passed: bool


class SpuriousEntry(Section):
    """Signal that the standard fit finds in the expectation of an alternative function, where there is none.

    Parameters
    ----------
    alternative, mass
        Function; in GeV.
    function
        Of the standard fit.
    signal_yield, error, ratio
        Fitted events, their error, and the one over the other.
    passed
        The ratio is as small as asked for.
    """

    alternative: str
    mass: float
    function: str
    signal_yield: float
    error: float
    ratio: float
    passed: bool


class BiasDocument(Section):
    """What ``oddjet bias`` writes (JSON).

    Parameters
    ----------
    function
        Of the standard fit; ``auto``: an F-test for every toy.
    criteria
        Options of the study.
    alternatives
        Functions that toys were drawn from.
    pulls, spurious_signal
        By alternative and mass.
    max_spurious_signal, max_spurious_ratio
        Of the latter the one with most events, and the one largest against its error.
    passed
        All of them passed.
    """

    function: str
    criteria: BiasConfig
    alternatives: dict[str, AlternativeEntry]
    pulls: tuple[PullEntry, ...]
    spurious_signal: tuple[SpuriousEntry, ...]
    max_spurious_signal: SpuriousEntry
    max_spurious_ratio: SpuriousEntry
    passed: bool
