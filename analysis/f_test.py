"""Choice of the background function by Fisher's F-test on χ² in coarse bins."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from scipy.stats import f as f_distribution

from analysis import functions
from analysis.fit import BackgroundFit, fit_background
from analysis.function_kinds import Function
from analysis.functions import SQRT_S
from analysis.spectrum import Spectrum
from data.errors import FitError


@dataclasses.dataclass(frozen=True)
class FailedFit:
    """A function that could not be fitted.

    Attributes
    ----------
    function, n_shape
        Its name and number of shape parameters.
    message
        Why.
    """

    function: str
    n_shape: int
    message: str


Fits = Mapping[str, BackgroundFit | FailedFit]
"""Background fit by name of the function, from few shape parameters to many."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One candidate of the F-test.

    Attributes
    ----------
    function
        Its name.
    n
        Shape parameters K.
    chi2, ndf, p
        Pearson χ² in the merged coarse bins, bins − K − 1, and its p-value (None without ndf).
    p_f
        p-value of the F-test against the function chosen so far (None for the first).
    uncertainty
        Relative uncertainty of the fitted background at the tested mass.
    accepted
        The candidate became the choice.
    message
        Why there is no fit, or None.
    """

    function: str
    n: int
    chi2: float | None
    ndf: int | None
    p: float | None
    p_f: float | None
    uncertainty: float | None
    accepted: bool
    message: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class FTest:
    """Result of the F-test.

    Attributes
    ----------
    last_accepted
        The choice; None if no candidate has a converged fit.
    steps
        Every step.
    """

    last_accepted: BackgroundFit | None
    steps: tuple[Step, ...]

    @property
    def chosen(self) -> BackgroundFit:
        """The choice.

        Raises
        ------
        FitError
            If no candidate has a converged fit.
        """
        if self.last_accepted is None:
            reasons = "; ".join(dict.fromkeys(step.message for step in self.steps if step.message))
            msg = f"no background function could be fitted; add candidates or change the fit range: {reasons}"
            raise FitError(msg)
        return self.last_accepted


def fit_candidates(
    spectrum: Spectrum,
    candidates: Iterable[str | Function],
    *,
    sqrt_s: float = SQRT_S,
    minimum_count: int = 5,
) -> dict[str, BackgroundFit | FailedFit]:
    """Fit every candidate function; one that runs away or does not converge is kept with its message.

    Parameters
    ----------
    spectrum
        The fit range.
    candidates
        Functions or their names, in any order.
    sqrt_s
        Centre-of-mass energy in GeV.
    minimum_count
        Events that each merged coarse bin holds.

    Returns
    -------
    dict
        In the order of the numbers of shape parameters, those of equal numbers in that of the candidates.

    Raises
    ------
    ConfigError
        If there is no function of a name.
    InputError
        If the spectrum has too few events for any fit.
    """
    fits: dict[str, BackgroundFit | FailedFit] = {}
    for function in sorted(map(functions.get, candidates), key=lambda function: function.n_shape):
        try:
            fits[function.name] = fit_background(
                spectrum, function, sqrt_s=sqrt_s, minimum_count=minimum_count
            )
        except FitError as error:
            fits[function.name] = FailedFit(function.name, function.n_shape, str(error))
    return fits


def f_test(
    fits: Fits,
    mass: float,
    *,
    p_accept: float = 0.10,
    uncertainty_veto: bool = True,
    max_uncertainty: float = 0.15,
) -> FTest:
    """Choose a function as the CMS search does (arXiv:2412.03747), from few shape parameters to many.

    A candidate b replaces the choice a if F = [(χ²_a − χ²_b)/(ndf_a − ndf_b)] / (χ²_b/ndf_b) has a p-value
    below ``p_accept`` and its relative uncertainty at the tested mass is below ``max_uncertainty`` or below
    that of a; it also does if a exceeds ``max_uncertainty`` and b does not.

    Parameters
    ----------
    fits
        From `fit_candidates`.
    mass
        Tested mass in GeV.
    p_accept
        p-value below which more parameters are taken.
    uncertainty_veto
        Use the rules about the uncertainty.
    max_uncertainty
        Relative uncertainty above which a background does not serve.

    Returns
    -------
    FTest
        Steps, and the choice if a candidate has a converged fit.
    """
    chosen: BackgroundFit | None = None
    steps: list[Step] = []
    for fit in sorted(fits.values(), key=lambda fit: fit.n_shape):
        if isinstance(fit, FailedFit):
            steps.append(_failed(fit))
            continue
        uncertainty = fit.relative_uncertainty(mass)
        p_f = None if chosen is None else f_probability(chosen, fit)
        accepted = chosen is None or (p_f is not None and p_f < p_accept)
        if chosen is not None and uncertainty_veto:
            current = chosen.relative_uncertainty(mass)
            accepted = accepted and (uncertainty < max_uncertainty or uncertainty < current)
            accepted = accepted or (current >= max_uncertainty > uncertainty)
        chi2, ndf, p = fit.goodness
        steps.append(Step(fit.function, fit.n_shape, chi2, ndf, p, p_f, uncertainty, accepted=accepted))
        if accepted:
            chosen = fit
    return FTest(chosen, tuple(steps))


def _failed(fit: FailedFit) -> Step:
    return Step(fit.function, fit.n_shape, None, None, None, None, None, accepted=False, message=fit.message)


def f_probability(small: BackgroundFit, large: BackgroundFit) -> float | None:
    """p-value of the F-test of a larger function against a smaller one.

    Parameters
    ----------
    small, large
        Fits of both to the same spectrum.

    Returns
    -------
    float
        None without degrees of freedom.
    """
    chi2_small, ndf_small, _ = small.goodness
    chi2_large, ndf_large, _ = large.goodness
    if ndf_large <= 0 or ndf_small <= ndf_large:
        return None
    if chi2_large <= 0:
        return 0.0 if chi2_small > 0 else 1.0
    ratio = (chi2_small - chi2_large) / (ndf_small - ndf_large) / (chi2_large / ndf_large)
    return float(f_distribution.sf(max(ratio, 0.0), ndf_small - ndf_large, ndf_large))
