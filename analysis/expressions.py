"""Formulae that a user writes, parsed with a list of what is allowed, evaluated together with their derivatives."""

import ast
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from data.errors import ConfigError
from data.types import FloatArray

_Slopes = dict[int, FloatArray]
"""Derivatives by the parameter's number; those that vanish are left out."""
_Dual = tuple[FloatArray, _Slopes]
"""A value and its derivatives, each of a shape that broadcasts to (…, n)."""
_FUNCTIONS: dict[str, tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]] = {
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda v: 1 / v),
    "sqrt": (np.sqrt, lambda v: 0.5 / np.sqrt(v)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda v: -np.sin(v)),
    "tanh": (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
}
"""Functions by name, each with its derivative."""
_CONSTANTS = {"pi": np.pi}
_VARIABLES = ("x", "m")
_MAX_LENGTH = 500
_LARGEST = 1e100
"""Bound of the numbers in a formula."""


class Expression:
    """A formula of x = m/√s, m and parameters.

    Allowed are numbers, ``pi``, ``+ - * / **``, brackets, and exp, log, sqrt, sin, cos, tanh of one argument.

    Parameters
    ----------
    text
        The formula; ``^`` is read as a power.
    parameters
        Names of its parameters; all must occur.

    Raises
    ------
    ConfigError
        If anything else stands in it; the message names it.
    """

    def __init__(self, text: str, parameters: tuple[str, ...]) -> None:
        self.text = text
        self.parameters = parameters
        if len(text) > _MAX_LENGTH:
            msg = f"the expression has {len(text)} characters; write it with at most {_MAX_LENGTH}"
            raise ConfigError(msg)
        taken = {*_FUNCTIONS, *_CONSTANTS, *_VARIABLES}
        for name in parameters:
            if not name.isidentifier() or name in taken:
                msg = f"parameter '{name}': choose another name than {', '.join(sorted(taken))}, such as p1"
                raise ConfigError(msg)
        try:
            self._tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            near = text[max((getattr(error, "offset", None) or 1) - 1, 0) :][:20]
            msg = f"expression '{text}' cannot be read near '{near}'; check brackets and operators"
            raise ConfigError(msg) from None
        except (RecursionError, MemoryError):
            msg = f"expression '{text[:20]}…' is nested too deeply; write it with fewer brackets"
            raise ConfigError(msg) from None
        nodes = list(ast.walk(self._tree))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        used = {name for node in nodes for name in self._check(node, called)}
        missing = [name for name in parameters if name not in used]
        if missing:
            msg = f"expression '{text}' does not use the parameter '{missing[0]}'; remove its start value"
            raise ConfigError(msg)

    def _check(self, node: ast.AST, called: set[int]) -> list[str]:
        """Refuse what is not allowed; the names that a node uses other than those of the functions called."""
        match node:
            case ast.Name(id=name):
                return [] if id(node) in called else [self._known(name)]
            case ast.Constant(value=value):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    self._refuse(node)
                if not abs(value) < _LARGEST:
                    msg = f"expression: the number {str(value)[:8]}… is too large; write numbers below {_LARGEST:g}"
                    raise ConfigError(msg)
            case ast.Call(func=ast.Name(id=name), args=[_], keywords=[]) if name in _FUNCTIONS:
                pass
            case ast.BinOp(op=op) | ast.UnaryOp(op=op):
                if not isinstance(op, _OPERATORS):
                    msg = f"expression '{self.text}': operator '{type(op).__name__}' is not allowed; use + - * / **"
                    raise ConfigError(msg)
            case ast.operator() | ast.unaryop() | ast.expr_context():
                pass
            case _:
                self._refuse(node)
        return []

    def _known(self, name: str) -> str:
        known = (*_VARIABLES, *_CONSTANTS, *self.parameters)
        if name in _FUNCTIONS:
            msg = f"expression '{self.text}': '{name}' is a function; give it an argument in brackets"
            raise ConfigError(msg)
        if name not in known:
            msg = (
                f"expression '{self.text}': unknown name '{name}'; known: {', '.join((*known, *_FUNCTIONS))}"
            )
            raise ConfigError(msg)
        return name

    def _refuse(self, node: ast.AST) -> NoReturn:
        token = ast.unparse(node)
        msg = (
            f"expression '{self.text}': '{token}' is not allowed; use numbers, parameters, + - * / **, "
            f"and {', '.join(_FUNCTIONS)} of one argument"
        )
        raise ConfigError(msg)

    def value(self, mass: FloatArray, parameters: FloatArray, sqrt_s: float) -> FloatArray:
        """The value without its derivatives; see `evaluate`.

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            Shape (…, K).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        array (…, n)
            NaN or inf where it is not defined.
        """
        names, shape = self._names(mass, parameters, sqrt_s)
        with np.errstate(all="ignore"):
            found, _ = _value_of(self._tree, names)
        return np.broadcast_to(found, shape)

    def evaluate(
        self, mass: FloatArray, parameters: FloatArray, sqrt_s: float
    ) -> tuple[FloatArray, FloatArray]:
        """Value and derivatives with respect to the parameters (forward mode).

        Parameters
        ----------
        mass
            In GeV, shape (n,).
        parameters
            Shape (…, K).
        sqrt_s
            Centre-of-mass energy in GeV.

        Returns
        -------
        value, gradient : FloatArray
            Shapes (…, n) and (…, n, K); not finite where the expression is not defined.
        """
        names, shape = self._names(mass, parameters, sqrt_s)
        for k, name in enumerate(self.parameters):
            names[name] = (names[name][0], {k: _ONE})
        with np.errstate(all="ignore"):
            value, slopes = _value_of(self._tree, names)
        gradient = np.zeros((*shape, len(self.parameters)))
        for k, slope in slopes.items():
            gradient[..., k] = slope
        return np.broadcast_to(value, shape), gradient

    def _names(
        self, mass: FloatArray, parameters: FloatArray, sqrt_s: float
    ) -> tuple[dict[str, _Dual], tuple[int, ...]]:
        """Values of all names, without derivatives, and the shape of the result."""
        names: dict[str, _Dual] = {"m": (mass, {}), "x": (mass / sqrt_s, {})}
        names |= {name: (np.asarray(value), {}) for name, value in _CONSTANTS.items()}
        for k, name in enumerate(self.parameters):
            names[name] = (parameters[..., k : k + 1], {})
        return names, (*parameters.shape[:-1], mass.size)


_ZERO, _ONE = np.zeros(1), np.ones(1)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)


def _value_of(node: ast.expr, names: dict[str, _Dual]) -> _Dual:
    match node:
        case ast.Name(id=name):
            return names[name]
        case ast.Constant(value=int() | float() as number):
            return np.asarray(float(number)), {}
        case ast.UnaryOp(op=op, operand=operand):
            value, slopes = _value_of(operand, names)
            return (-value, _scaled(slopes, -_ONE)) if isinstance(op, ast.USub) else (value, slopes)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            value, slopes = _value_of(argument, names)
            function, derivative = _FUNCTIONS[name]
            return function(value), _scaled(slopes, derivative(value)) if slopes else {}
        case ast.BinOp(left=left, op=operator, right=right):
            return _combined(operator, _value_of(left, names), _value_of(right, names))
    raise AssertionError(ast.dump(node))  # pragma: no cover - refused when the expression was read


def _combined(op: ast.operator, left: _Dual, right: _Dual) -> _Dual:
    (a, da), (b, db) = left, right
    match op:
        case ast.Add():
            return a + b, _sum(da, db)
        case ast.Sub():
            return a - b, _sum(da, _scaled(db, -_ONE))
        case ast.Mult():
            return a * b, _sum(_scaled(da, b), _scaled(db, a))
        case ast.Div():
            return a / b, _sum(_scaled(da, 1 / b), _scaled(db, -(a / b) / b) if db else {})
    value = a**b
    # A number as base or exponent needs no logarithm, which a negative base would not have.
    by_base = _scaled(da, b * a ** (b - 1)) if da else {}
    return value, _sum(by_base, _scaled(db, value * np.log(a)) if db else {})


def _scaled(slopes: _Slopes, factor: FloatArray) -> _Slopes:
    return {k: slope * factor for k, slope in slopes.items()}


def _sum(left: _Slopes, right: _Slopes) -> _Slopes:
    return {k: left.get(k, _ZERO) + right.get(k, _ZERO) for k in left | right}
