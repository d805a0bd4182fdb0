"""Exponentials, logarithms and weighted sums of whole blocks, written so that the compiler uses its vector unit.

The compiler has vector forms of no transcendental function, so these are Cody and Waite's reductions with polynomials
(as in FreeBSD's msun), good to one unit in the last place or two.
"""

import math
from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np

from data.compiled_code import fresh
from data.types import FloatArray

Function = TypeVar("Function", bound=Callable[..., object])


def elementwise(function: Function) -> Function:
    """Compile with fused multiply-adds and divisions that do not stop at zero; no sum is reordered."""
    compiler = numba.njit(cache=True, fastmath={"contract"}, error_model="numpy", nogil=True)
    return cast("Function", fresh(compiler(function)))


def summed(function: Function) -> Function:
    """As `elementwise`, and sums run in the lanes of the vector unit.

    The order of a sum is fixed when the code is compiled: results do not depend on threads or on other fits. Written
    in the order of the bins the sums would cost as much as everything else together.
    """
    compiler = numba.njit(cache=True, fastmath={"contract", "reassoc"}, error_model="numpy", nogil=True)
    return cast("Function", fresh(compiler(function)))


_MAGIC = 6755399441055744.0
"""1.5 · 2⁵²: a number added to it is rounded to a whole one, which then stands in the low bits."""
_LOG2_E = math.log2(math.e)
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_LARGEST = 700.0
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1 / math.factorial(n) for n in range(2, 14))
_ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
_MAGIC_BITS = 0x4338000000000000


@elementwise
def exp_block(x: FloatArray, scratch: FloatArray, out: FloatArray, size: int) -> None:
    """Exponentials of numbers that are clipped to ±700.

    Parameters
    ----------
    x
        Shape (size,) at least.
    scratch, out
        Overwritten, shapes as ``x``; the exponentials are in ``out``.
    size
        How many are wanted.
    """
    for i in range(size):
        value = min(max(x[i], -_LARGEST), _LARGEST)
        shifted = value * _LOG2_E + _MAGIC
        power = shifted - _MAGIC
        r = (value - power * _LN2_HIGH) - power * _LN2_LOW
        p = _C13
        p = p * r + _C12
        p = p * r + _C11
        p = p * r + _C10
        p = p * r + _C9
        p = p * r + _C8
        p = p * r + _C7
        p = p * r + _C6
        p = p * r + _C5
        p = p * r + _C4
        p = p * r + _C3
        p = p * r + _C2
        out[i] = (p * r + 1.0) * r + 1.0
        scratch[i] = shifted
    power_bits = scratch.view(np.int64)
    bits = out.view(np.int64)
    for i in range(size):
        bits[i] += power_bits[i] << 52


@elementwise
def log_block(x: FloatArray, scratch: FloatArray, out: FloatArray, size: int) -> None:
    """Natural logarithms of normal positive numbers.

    Parameters
    ----------
    x
        Shape (size,) at least.
    scratch, out
        Overwritten, shapes as ``x``; the logarithms are in ``out``.
    size
        How many are wanted.
    """
    bits = x.view(np.int64)
    power_bits = out.view(np.int64)
    fraction_bits = scratch.view(np.int64)
    for i in range(size):
        power = (bits[i] - _ROOT_HALF_BITS) >> 52
        fraction_bits[i] = bits[i] - (power << 52)
        power_bits[i] = power + _MAGIC_BITS
    for i in range(size):
        k = out[i] - _MAGIC
        f = scratch[i] - 1.0
        s = f / (2.0 + f)
        z = s * s
        p = 1.479819860511658591e-01
        p = p * z + 1.531383769920937332e-01
        p = p * z + 1.818357216161805012e-01
        p = p * z + 2.222219843214978396e-01
        p = p * z + 2.857142874366239149e-01
        p = p * z + 3.999999999940941908e-01
        p = p * z + 6.666666666666735130e-01
        half = 0.5 * f * f
        out[i] = k * _LN2_HIGH - ((half - (s * (half + z * p) + k * _LN2_LOW)) - f)


@summed
def dot(a: FloatArray, b: FloatArray, size: int) -> float:
    """Sum of products.

    Parameters
    ----------
    a, b
        Shape (size,) at least.
    size
        How many numbers of each are used.

    Returns
    -------
    float
        Σ a·b.
    """
    total = 0.0
    for i in range(size):
        total += a[i] * b[i]
    return total


@elementwise
def multiply(a: FloatArray, b: FloatArray, out: FloatArray, size: int) -> None:
    """Products, number by number.

    Parameters
    ----------
    a, b
        Shape (size,) at least.
    out
        Overwritten with a·b, shape as theirs.
    size
        How many numbers of each are used.
    """
    for i in range(size):
        out[i] = a[i] * b[i]


@elementwise
def linear_combination(rows: FloatArray, factors: FloatArray, out: FloatArray, size: int) -> None:
    """Sum of rows, each times a factor.

    Parameters
    ----------
    rows
        Shape (rows, size) at least.
    factors
        Shape (rows,) at least.
    out
        Overwritten with Σ factors[k] · rows[k], 0 without rows; shape (size,) at least.
    size
        How many numbers of each row are used.
    """
    for i in range(size):
        out[i] = 0.0
    for k in range(rows.shape[0]):
        row = rows[k]
        factor = factors[k]
        for i in range(size):
            out[i] += factor * row[i]


@elementwise
def add_row_sums(rows: FloatArray, weight: FloatArray, size: int, out: FloatArray) -> None:
    """Add the weighted sum of each row.

    Parameters
    ----------
    rows
        Shape (rows, size) at least.
    weight
        Shape (size,) at least.
    size
        How many numbers of each row are used.
    out
        Σ rows[k] · weight is added to ``out[k]``; shape (rows,).
    """
    for k in range(rows.shape[0]):
        out[k] += dot(rows[k], weight, size)


@elementwise
def add_products(
    rows: FloatArray, weight: FloatArray, size: int, scratch: FloatArray, out: FloatArray
) -> None:
    """Add the weighted sums of products of any two rows.

    Parameters
    ----------
    rows
        Shape (rows, size) at least.
    weight
        Shape (size,) at least.
    size
        How many numbers of each row are used.
    scratch
        Overwritten, shape (size,) at least.
    out
        Σ rows[k] · rows[j] · weight is added to ``out[k, j]`` for j ≤ k; shape (rows, rows).
    """
    for k in range(rows.shape[0]):
        multiply(rows[k], weight, scratch, size)
        for j in range(k + 1):
            out[k, j] += dot(rows[j], scratch, size)
