"""Configuration of the scan."""

from typing import Any, Literal

import pydantic

from analysis import functions
from analysis.function_kinds import Function
from analysis.functions import SQRT_S
from data.errors import ConfigError
from data.sections import Section

P0_IS_BOUND = "p0 is an upper bound"
"""Begins the remark on a mass where no toy is as extreme as the data."""

_CHOICES = {"auto", "envelope"}
"""What stands for no one function in `ScanConfig.function`."""


class FunctionConfig(Section):
    """A background function that the user writes down.

    Parameters
    ----------
    expression
        In x = m/√s, m in GeV and the parameters (see `functions.user_function`).
    start
        Start values of the parameters by name.
    """

    expression: str
    start: dict[str, float]


class ScanConfig(Section):
    """How the scan fits.

    Parameters
    ----------
    fit_start, fit_stop
        Fit range in GeV, snapped to the bins. Start: the spectrum's first edge if None. Stop: if None, for
        every mass m the larger of 1.2·m and the last filled bin + 5 GeV, snapped up to a bin edge
        (arXiv:2412.03747), at most the spectrum's end.
    range_search
        Shrink this range at every mass until the fits describe the data (`range_search.RangeRules`).
    sqrt_s
        Centre-of-mass energy in GeV.
    function
        ``auto`` (F-test over the candidates), ``envelope`` (the candidates profiled, arXiv:1408.6865), or the name of
        one of `functions.available` or ``own_functions``; the F-test is reported in any case.
    candidates
        Functions that the F-test tries; a number K stands for dijetK.
    own_functions
        Functions of your own by name.
    f_test_p
        p-value below which the F-test takes more parameters.
    uncertainty_veto, max_uncertainty
        Whether a background of relative uncertainty above ``max_uncertainty`` at the mass is avoided.
    minimum_count
        Events that every merged coarse bin holds.
    nuisances
        Fit the signal with its uncertainties: place, width and yield.
    limits
        Compute limits.
    calculator
        Of p-values and limits: ``asymptotic``, ``toys``, or ``auto``: toys where less than ``toys_below`` background
        events are expected under the peak, or the fit range holds less than ``toys_below_total`` events; the message
        says so.
    toys_below, toys_below_total
        See ``calculator``.
    toys, seed
        Toys a hypothesis, and their seed; a small p-value takes up to twenty times as many.
    minuit
        Repeat every fit with signal by iminuit; a mass where it finds a better minimum is not valid.
    """

    fit_start: float | None = None
    fit_stop: float | None = None
    range_search: bool = False
    sqrt_s: float = pydantic.Field(default=SQRT_S, gt=0)
    function: str = "auto"
    candidates: tuple[str, ...] = ("dijet2", "dijet3", "dijet4")
    own_functions: dict[str, FunctionConfig] = pydantic.Field(default_factory=dict)
    f_test_p: float = pydantic.Field(default=0.10, gt=0, lt=1)
    uncertainty_veto: bool = True
    max_uncertainty: float = pydantic.Field(default=0.15, gt=0)
    minimum_count: int = pydantic.Field(default=5, ge=1)
    nuisances: bool = False
    limits: bool = True
    calculator: Literal["auto", "asymptotic", "toys"] = "auto"
    toys_below: float = pydantic.Field(default=5.0, ge=0)
    toys_below_total: float = pydantic.Field(default=150.0, ge=0)
    toys: int = pydantic.Field(default=1000, ge=500)
    seed: int = pydantic.Field(default=0, ge=0)
    minuit: bool = True

    @pydantic.field_validator("candidates", mode="before")
    @classmethod
    def _numbers_are_dijet(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            msg = f"found {value!r}; give functions or numbers of shape parameters, as [2, 3, 4]"
            raise ValueError(msg)
        whole = [isinstance(entry, int) and not isinstance(entry, bool) for entry in value]
        named = [f"dijet{entry}" if is_int else entry for entry, is_int in zip(value, whole, strict=True)]
        return tuple(dict.fromkeys(named))

    @pydantic.model_validator(mode="after")
    def _functions_exist(self) -> "ScanConfig":
        if taken := sorted(_CHOICES & self.own_functions.keys()):
            msg = f"own_functions: '{taken[0]}' stands for a choice among functions; choose another name"
            raise ValueError(msg)
        try:
            for name in self.fitted:
                self.background(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if self.function == "envelope" and self.calculator == "toys":
            msg = "function 'envelope' has asymptotic formulae only; choose the calculator 'asymptotic' or another function"
            raise ValueError(msg)
        return self

    @property
    def fitted(self) -> tuple[str, ...]:
        """Names of all functions that are fitted."""
        chosen = () if self.function in _CHOICES else (self.function,)
        return tuple(dict.fromkeys([*self.candidates, *chosen]))

    def background(self, name: str) -> Function:
        """The function of a name, published or the user's own.

        Raises
        ------
        ConfigError
            If there is none of that name, or the user's cannot be read.
        """
        own = {
            key: functions.user_function(key, section.expression, section.start)
            for key, section in self.own_functions.items()
        }
        return functions.get(name, own)
