"""What a background function gives, and functions that a user writes down."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from analysis.expressions import Expression
from data.errors import FitError
from data.types import FloatArray


class Function(Protocol):
    """A background function."""

    @property
    def name(self) -> str:
        """How configurations and results call it."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the shape parameters, as published."""
        ...

    @property
    def formula(self) -> str:
        """The published formula."""
        ...

    @property
    def reference(self) -> str:
        """Where it is published."""
        ...

    @property
    def limit(self) -> str | None:
        """Name of the function that this one turns into where parameters run to infinity, if any."""
        ...

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        ...

    def check(self, mass: FloatArray, sqrt_s: float) -> None:
        """Refuse masses at which the function has a zero or is not defined.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        sqrt_s
            Centre-of-mass energy in GeV.

        Raises
        ------
        FitError
            Naming the mass.
        """
        ...

    def log_density(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """Logarithm of the density in events per GeV.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            ln p0, p1 … pK, shape (…, K + 1).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        array (…, n)
            −∞ or NaN where it is not defined.
        """
        ...

    def gradient(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """Derivatives of ln f with respect to ln p0, p1 … pK.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            ln p0, p1 … pK, shape (…, K + 1).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        array (…, n, K + 1)
            In the order of the parameters.
        """
        ...


@dataclass(frozen=True, eq=False)
class UserFunction:
    """A function that a user has written: f = p0 · expression.

    Attributes
    ----------
    name
        As configurations call it.
    expression
        Positive in the fit range.
    start
        Start values of its parameters.
    """

    name: str
    expression: Expression
    start: tuple[float, ...]
    reference: str = "given by the user"
    limit: None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the shape parameters, in the order of the start values."""
        return self.expression.parameters

    @property
    def formula(self) -> str:
        """The expression."""
        return self.expression.text

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        return len(self.start)

    def check(self, mass: FloatArray, sqrt_s: float) -> None:
        """Refuse an expression that is not positive at its start values.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        sqrt_s
            Centre-of-mass energy in GeV.

        Raises
        ------
        FitError
            Naming the first such mass.
        """
        value = self.expression.value(mass, np.asarray(self.start), sqrt_s)
        bad = np.flatnonzero(~(np.isfinite(value) & (value > 0)))
        if bad.size:
            at = bad[0]
            msg = (
                f"function {self.name}: {self.formula} is {np.ravel(value)[at]:g} at {mass[at]:g} GeV for the start "
                f"values; a background must be positive in the fit range: change the expression, start or range"
            )
            raise FitError(msg)

    def log_density(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """Logarithm of the density in events per GeV; see `Function`.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            ln p0, p1 … pK, shape (…, K + 1).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        array (…, n)
            −∞ where the expression is not positive.
        """
        value = self.expression.value(mass, parameters[..., 1:], sqrt_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(value > 0, parameters[..., :1] + np.log(value), -np.inf))

    def gradient(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """Derivatives of ln f with respect to ln p0, p1 … pK; see `Function`.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            ln p0, p1 … pK, shape (…, K + 1).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        array (…, n, K + 1)
            NaN or inf where the expression is 0 or not defined.
        """
        value, slopes = self.expression.evaluate(mass, parameters[..., 1:], sqrt_s)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = slopes / value[..., None]
        return np.concatenate([np.ones((*relative.shape[:-1], 1)), relative], axis=-1)
