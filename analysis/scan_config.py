"""Configuration of the scan."""

from typing import Literal

import pydantic

from analysis.dijet import MAX_SHAPE, SQRT_S
from data.sections import Section


class ScanConfig(Section):
    """How the scan fits.

    Parameters
    ----------
    fit_start, fit_stop
        Fit range in GeV, snapped to the bins. Start: the spectrum's first edge if None. Stop: if None, for
        every mass m the larger of 1.2·m and the last filled bin + 5 GeV, snapped up to a bin edge
        (arXiv:2412.03747), at most the spectrum's end.
    sqrt_s
        Centre-of-mass energy in GeV.
    function
        ``auto`` (F-test over the candidates) or one of dijet2 … dijet5; the F-test is reported in any case.
    candidates
        Numbers of shape parameters that the F-test tries.
    f_test_p
        p-value below which the F-test takes more parameters.
    uncertainty_veto, max_uncertainty
        Whether a background of relative uncertainty above ``max_uncertainty`` at the mass is avoided.
    minimum_count
        Events that every merged coarse bin holds.
    limits
        Compute limits.
    calculator
        Of the limits: ``asymptotic``, ``toys``, or ``auto``: toys where less than ``toys_below`` background
        events are expected under the peak. The p-value is asymptotic always.
    toys_below
        See ``calculator``.
    toys, seed
        Toys a hypothesis, and their seed.
    minuit
        Repeat every fit with signal by iminuit; a mass where it finds a better minimum is not valid.
    """

    fit_start: float | None = None
    fit_stop: float | None = None
    sqrt_s: float = SQRT_S
    function: Literal["auto", "dijet2", "dijet3", "dijet4", "dijet5"] = "auto"
    candidates: tuple[int, ...] = (2, 3, 4)
    f_test_p: float = pydantic.Field(default=0.10, gt=0, lt=1)
    uncertainty_veto: bool = True
    max_uncertainty: float = pydantic.Field(default=0.15, gt=0)
    minimum_count: int = pydantic.Field(default=5, ge=1)
    limits: bool = True
    calculator: Literal["auto", "asymptotic", "toys"] = "auto"
    toys_below: float = pydantic.Field(default=5.0, ge=0)
    toys: int = pydantic.Field(default=1000, ge=500)
    seed: int = pydantic.Field(default=0, ge=0)
    minuit: bool = True

    @pydantic.field_validator("candidates")
    @classmethod
    def _known(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(not 2 <= n_shape <= MAX_SHAPE for n_shape in value):
            msg = f"give numbers of shape parameters between 2 and {MAX_SHAPE}, as [2, 3, 4]"
            raise ValueError(msg)
        return tuple(sorted(set(value)))
