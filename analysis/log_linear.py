"""Functions whose logarithm is linear in their parameters: powers of ln x and x, and ln(1 − x)."""

import math
from dataclasses import dataclass

import numpy as np

from data.errors import FitError
from data.types import FloatArray


@dataclass(frozen=True)
class Term:
    """What a shape parameter of a log-linear function multiplies in ln f.

    Attributes
    ----------
    base
        ``"log_x"``, ``"x"`` or ``"log_1_x"``: ln x, x, ln(1 − x).
    power
        Of the base; 1 for ln(1 − x).
    sign
        Of the term.
    """

    base: str
    power: int = 1
    sign: int = -1


@dataclass(frozen=True)
class LogLinear:
    """A function whose logarithm is linear in its parameters.

    Attributes
    ----------
    name, formula, reference
        See `Function`.
    terms
        One a shape parameter.
    first
        Number of the first shape parameter in the published formula.
    """

    name: str
    formula: str
    reference: str
    terms: tuple[Term, ...]
    first: int = 1
    limit: None = None

    @property
    def n_shape(self) -> int:
        """Number of shape parameters K."""
        return len(self.terms)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the shape parameters, as published."""
        return tuple(f"p{self.first + k}" for k in range(self.n_shape))

    def check(self, mass: FloatArray, sqrt_s: float) -> None:
        """Raise a FitError that names the mass (GeV) at which the function has its zero.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        sqrt_s
            Centre-of-mass energy in GeV.

        Raises
        ------
        FitError
            If a mass is not positive, or not below √s in a function of 1 − x.
        """
        bounded = any(term.base == "log_1_x" for term in self.terms)
        check_range(self.name, mass, sqrt_s if bounded else math.inf)

    def centred(self, mass: FloatArray, sqrt_s: float, centre: float | None) -> FloatArray:
        """1 and the terms in powers of ln x and x about their values at a mass: the same span, better conditioned.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        sqrt_s, centre
            In GeV; a centre of None gives the published terms.

        Returns
        -------
        FloatArray
            Shape (n, K + 1).
        """
        x, at = mass / sqrt_s, None if centre is None else centre / sqrt_s
        bases = {"log_x": np.log(x), "x": x} if at is None else {"log_x": np.log(x / at), "x": x - at}
        if any(term.base == "log_1_x" for term in self.terms):
            bases["log_1_x"] = np.log1p(-x)
        columns = [term.sign * bases[term.base] ** term.power for term in self.terms]
        return np.stack([np.ones_like(x), *columns], axis=-1)

    def uncentre(self, sqrt_s: float, centre: float) -> FloatArray:
        """Matrix C with published parameters = C · parameters of the centred terms.

        Parameters
        ----------
        sqrt_s, centre
            In GeV, as for `centred`.

        Returns
        -------
        FloatArray
            Shape (K + 1, K + 1).
        """
        at = centre / sqrt_s
        shift = {"log_x": math.log(at), "x": at, "log_1_x": 0.0}
        matrix = np.eye(self.n_shape + 1)
        position = {(term.base, term.power): k for k, term in enumerate(self.terms, start=1)}
        for column, term in enumerate(self.terms, start=1):
            for power in range(term.power):
                size = math.comb(term.power, power) * (-shift[term.base]) ** (term.power - power)
                row = position[term.base, power] if power else 0
                matrix[row, column] += size * (term.sign * self.terms[row - 1].sign if power else term.sign)
        return matrix

    def log_density(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """Logarithm of the density; see `Function.log_density`.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            Logarithm of the norm, then the published parameters; shape (K + 1,).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        FloatArray
            Shape (n,).

        Raises
        ------
        FitError
            As `check`.
        """
        return np.asarray(parameters @ self.gradient(mass, parameters, sqrt_s).T)

    def gradient(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:  # noqa: ARG002 - linear
        """The terms T_k(m) with 1 in front, whatever the parameters.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            Shape (K,); not used, as the logarithm is linear in them.
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        FloatArray
            Shape (n, K + 1).

        Raises
        ------
        FitError
            As `check`.
        """
        self.check(mass, sqrt_s)
        return self.centred(mass, sqrt_s, None)


def check_range(name: str, mass: FloatArray, top: float) -> None:
    """Refuse masses at which a function has its zero.

    Parameters
    ----------
    name
        Of the function, for the message.
    mass
        In GeV, shape (n,).
    top
        All masses are to lie between 0 and this, in GeV.

    Raises
    ------
    FitError
        Naming the mass that does not.
    """
    low, high = (float(mass.min()), float(mass.max())) if mass.size else (1.0, 0.0)
    if low <= 0 or high >= top:
        limits = f"between 0 and √s = {top:g} GeV" if math.isfinite(top) else "above 0"
        msg = (
            f"function {name}: it has a zero in the fit range, at {high if high >= top else low:g} GeV; "
            f"keep the range {limits}"
        )
        raise FitError(msg)
