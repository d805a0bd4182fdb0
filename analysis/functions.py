r"""Background functions of the dijet mass: published families, and functions that a user writes down.

With x = m/√s every function is ln f = ln p0 + ln g(m; p1 … pK): K shape parameters and a free normalisation p0 in
events per GeV. Most are log-linear, ln g = Σ p_k T_k(m), which fits use; the others give their derivatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from analysis.expressions import Expression
from analysis.function_kinds import Function, UserFunction
from analysis.log_linear import LogLinear, Term, check_range
from data.errors import ConfigError
from data.types import FloatArray

SQRT_S = 13000.0
"""Default centre-of-mass energy in GeV."""
_CMS = "CMS, arXiv:1911.03947 and arXiv:2412.03747"
_ATLAS = "ATLAS, arXiv:2307.01612"


@dataclass(frozen=True)
class TurnOn:
    """dijet6: the efficiency of a trigger, ½ (1 + tanh((m − p6)/p5)), times dijet4.

    A width p5 ≤ 0 has no density (it is 0).
    """

    name: str = "dijet6"
    parameters: tuple[str, ...] = ("p1", "p2", "p3", "p4", "p5", "p6")
    formula: str = "½ (1 + tanh((m − p6)/p5)) · (1 − x)^p1 / x^(p2 + p3 ln x + p4 ln² x)"
    reference: str = _CMS + ", with a turn-on"
    limit: str = "dijet4"

    @property
    def n_shape(self) -> int:
        """Six."""
        return len(self.parameters)

    def check(self, mass: FloatArray, sqrt_s: float) -> None:
        """Refuse masses at which dijet4 is not defined.

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
        check_range(self.name, mass, sqrt_s)

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
            −∞ where the width of the turn-on is not positive.
        """
        self.check(mass, sqrt_s)
        falling = _FALLING.log_density(mass, parameters[..., :5], sqrt_s)
        width, position = parameters[..., 5:6], parameters[..., 6:7]
        rising = log_expit(2 * (mass - position) / np.where(width > 0, width, np.nan))
        return np.asarray(np.where(width > 0, falling + rising, -np.inf))

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
            In the order of the parameters.
        """
        falling = _FALLING.gradient(mass, parameters[..., :5], sqrt_s)
        width, position = parameters[..., 5:6], parameters[..., 6:7]
        argument = (mass - position) / width
        slope = 2 * expit(-2 * argument) / width
        rising = np.stack([-slope * argument, -slope], axis=-1)
        shape = (*rising.shape[:-1], falling.shape[-1])
        return np.concatenate([np.broadcast_to(falling, shape), rising], axis=-1)


_EDGE = Term("log_1_x", sign=1)
_POWERS = (Term("log_x"), Term("log_x", 2), Term("log_x", 3))
_X = (Term("x"), Term("x", 2), Term("x", 3))
_FALLING = LogLinear("dijet4", "(1 − x)^p1 / x^(p2 + p3 ln x + p4 ln² x)", _CMS, (_EDGE, *_POWERS))
_FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        LogLinear("dijet2", "(1 − x)^p1 / x^p2", _CMS, (_EDGE, *_POWERS[:1])),
        LogLinear("dijet3", "(1 − x)^p1 / x^(p2 + p3 ln x)", _CMS, (_EDGE, *_POWERS[:2])),
        _FALLING,
        LogLinear(
            "dijet5",
            "exp(−p5 x) (1 − x)^p1 / x^(p2 + p3 ln x + p4 ln² x)",
            _CMS,
            (_EDGE, *_POWERS, _X[0]),
        ),
        TurnOn(),
        LogLinear(
            "alternative1",
            "exp(−p1 x) / x^(p2 + p3 ln x + p4 ln² x)",
            _CMS + ", alternative",
            (_X[0], *_POWERS),
        ),
        LogLinear(
            "alternative2", "x^−p1 exp(−p2 x − p3 x² − p4 x³)", _CMS + ", alternative", (_POWERS[0], *_X)
        ),
        LogLinear("alternative3", "x^−p1 exp(−p2 x − p3 x²)", _CMS + ", alternative", (_POWERS[0], *_X[:2])),
        LogLinear("alternative4", "x^−p1 exp(−p2 x)", _CMS + ", alternative", (_POWERS[0], _X[0])),
        LogLinear(
            "atlas5",
            "p1 (1 − x)^p2 x^(p3 + p4 ln x + p5 ln² x)",
            _ATLAS,
            (_EDGE, *(Term(term.base, term.power, sign=1) for term in _POWERS)),
            first=2,
        ),
    )
}


def available() -> tuple[str, ...]:
    """Names of the published functions."""
    return tuple(_FUNCTIONS)


def get(function: str | Function, own: Mapping[str, Function] | None = None) -> Function:
    """The function of a name.

    Parameters
    ----------
    function
        A name; a function is given back as it is.
    own
        Functions of the user by name, besides the published ones.

    Raises
    ------
    ConfigError
        If there is no function of that name.
    """
    if not isinstance(function, str):
        return function
    known = {**_FUNCTIONS, **(own or {})}
    if function not in known:
        msg = f"function '{function}' is unknown; known functions: {', '.join(known)}"
        raise ConfigError(msg)
    return known[function]


def user_function(name: str, expression: str, start: Mapping[str, float]) -> UserFunction:
    """A function from a user's expression.

    Parameters
    ----------
    name
        Of the function; not that of a published one.
    expression
        g of x = m/√s, m in GeV and the parameters, for example ``(1 - x)**p1 * exp(-p2*x) / x**p3``; see
        `analysis.expressions.Expression`. The normalisation is added.
    start
        Start values of the parameters by name, in the order of the results.

    Returns
    -------
    UserFunction
        With the normalisation added.

    Raises
    ------
    ConfigError
        If the name is taken or the expression cannot be used; the message names the token.
    """
    if name in _FUNCTIONS or not name.isidentifier():
        msg = f"function '{name}': choose another name, of letters and digits, for your own function"
        raise ConfigError(msg)
    try:
        parsed = Expression(expression, tuple(start))
    except ConfigError as error:
        msg = f"function '{name}': {error}"
        raise ConfigError(msg) from None
    return UserFunction(name, parsed, tuple(float(value) for value in start.values()))


def density(mass: FloatArray, log_norm: float, parameters: FloatArray, sqrt_s: float = SQRT_S) -> FloatArray:
    """Density in events per GeV of the dijet function with as many shape parameters as are given.

    Parameters
    ----------
    mass
        In GeV, shape (n,).
    log_norm
        ln p0, p0 in events per GeV.
    parameters
        p1 … pK, shape (K,).
    sqrt_s
        Centre-of-mass energy in GeV.

    Returns
    -------
    array (n,)
        Events per GeV.
    """
    shape = np.asarray(parameters, dtype=np.float64)
    function = get(f"dijet{shape.size}")
    return np.asarray(
        np.exp(function.log_density(np.asarray(mass, dtype=np.float64), np.append(log_norm, shape), sqrt_s))
    )
