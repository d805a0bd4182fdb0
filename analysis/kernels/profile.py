r"""Likelihood of counts on a log-linear background plus a signal: value and derivatives in one pass over the bins.

The expectation of a bin is t = b exp(D·δ) + y T(a): b and D are the background and its logarithmic derivatives at the
point of expansion, y is the yield, T(a) = T₀ + Σ a_k (A_k + a_k B_k) the template with its shape nuisances. Arrays are
laid out in blocks of bins that stay in the fastest cache; the last block is padded with empty bins that expect nothing.

A point has the parameters δ (p); that is all without a signal. With one there follow the yield or, where the yield is
fixed at y₀, the nuisance η of its normalisation, y = y₀ exp(κη), then the a_k. Nuisances have Gaussian constraints of
unit width about their centres: 0 for data, the values of the auxiliary measurements for toys.
"""

import math

import numpy as np

from analysis.expectation_floor import FLOOR, LOWEST_SHARE, TINY
from analysis.kernels.vector_math import (
    add_products,
    add_row_sums,
    dot,
    elementwise,
    exp_block,
    linear_combination,
    log_block,
    multiply,
    summed,
)
from data.types import FloatArray

FREE = math.nan
"""In the place of a fixed yield: the yield is a parameter."""
_WORK_ROWS = 9


@summed
def _background_weights(
    counts: FloatArray, base: FloatArray, x: FloatArray, factor: FloatArray, work: FloatArray, size: int
) -> float:
    """Weights of D in the gradient (row 0) and of D Dᵀ in the second derivatives (row 1), and −ln L."""
    first, second = work[0], work[1]
    value = 0.0
    for i in range(size):
        expected = max(base[i] * factor[i], TINY)
        first[i] = expected - counts[i]
        second[i] = expected
        value += (expected - base[i]) - counts[i] * x[i]
    return value


@summed
def _weights(
    counts: FloatArray,
    base: FloatArray,
    x: FloatArray,
    factor: FloatArray,
    signal: FloatArray,
    signal_yield: float,
    work: FloatArray,
    size: int,
) -> float:
    """As `_background_weights` with a signal; row 5 is b/t, whose logarithm is left out of −ln L.

    Rows 2, 3, 4 are 1 − n/t, n/t² and b n/t², 0 where the total stands on its floor.
    """
    first, second, slope, curvature, mixed, fraction = work[0], work[1], work[2], work[3], work[4], work[5]
    value = 0.0
    for i in range(size):
        background = max(base[i] * factor[i], TINY)
        count = counts[i]
        free = background + signal_yield * signal[i]
        least = FLOOR * background
        total = max(free, least)
        above = 1.0 if free > least else 0.0
        inverse = 1.0 / total
        ratio = count * inverse
        part = background * inverse
        deficit = 1.0 - ratio
        first[i] = background * deficit if free > least else total - count
        second[i] = background * (deficit + ratio * part) if free > least else total
        slope[i] = above * deficit
        curvature[i] = above * ratio * inverse
        mixed[i] = above * (part * ratio)
        fraction[i] = part
        value += (total - base[i]) - count * x[i]
    return value


@elementwise
def _shift_template(template: FloatArray, nuisances: FloatArray, signal: FloatArray, size: int) -> None:
    """Template at the nuisances (row 0) and its derivatives (one row each)."""
    for i in range(size):
        signal[0, i] = template[0, i]
    for k in range(nuisances.size):
        a = nuisances[k]
        linear, square = template[1 + 2 * k], template[2 + 2 * k]
        total, slope = signal[0], signal[1 + k]
        for i in range(size):
            total[i] += a * (linear[i] + a * square[i])
            slope[i] = linear[i] + 2.0 * a * square[i]


@elementwise
def _add_signal_sums(
    design: FloatArray, template: FloatArray, signal: FloatArray, work: FloatArray, size: int,
    slopes: FloatArray, squares: FloatArray, hessian: FloatArray,
) -> None:  # fmt: skip
    """Add sums over a block: Σ S(1 − n/t), Σ B(1 − n/t), Σ S S′ n/t², Σ D b S n/t² for the rows S of ``signal``."""
    p = design.shape[0]
    scratch = work[6]
    for k in range(signal.shape[0]):
        row = signal[k]
        slopes[k] += dot(row, work[2], size)
        multiply(row, work[3], scratch, size)
        for j in range(k + 1):
            hessian[p + k, p + j] += dot(signal[j], scratch, size)
        multiply(row, work[4], scratch, size)
        for j in range(p):
            hessian[p + k, j] += dot(design[j], scratch, size)
        if k > 0:
            squares[k] += dot(template[2 * k], work[2], size)


@elementwise
def _chain(
    free: bool, p: int, point: FloatArray, centre: FloatArray, kappa: float, signal_yield: float,
    slopes: FloatArray, squares: FloatArray, gradient: FloatArray, hessian: FloatArray,
) -> float:  # fmt: skip
    """From derivatives in yield · template to those in the parameters, in place; −ln of the constraints."""
    inner = 1.0 if free else kappa * signal_yield
    value = 0.0
    shapes = slopes.size - 1
    for k in range(shapes, 0, -1):
        row = p + k
        pull = point[row] - centre[k]
        value += 0.5 * pull * pull
        gradient[row] = signal_yield * slopes[k] + pull
        for j in range(p):
            hessian[row, j] *= signal_yield
        for j in range(1, k + 1):
            hessian[row, p + j] *= signal_yield * signal_yield
        hessian[row, row] += 1.0 + 2.0 * signal_yield * squares[k]
        hessian[row, p] = inner * (signal_yield * hessian[row, p] + slopes[k])
    gradient[p] = inner * slopes[0]
    for j in range(p):
        hessian[p, j] *= inner
    hessian[p, p] *= inner * inner
    if not free:
        pull = point[p] - centre[0]
        value += 0.5 * pull * pull
        gradient[p] += pull
        hessian[p, p] += 1.0 + kappa * inner * slopes[0]
    return value


@elementwise
def evaluate(
    counts: FloatArray, base: FloatArray, design: FloatArray, template: FloatArray,
    point: FloatArray, centre: FloatArray, fixed_yield: float, kappa: float,
    gradient: FloatArray, hessian: FloatArray, work: FloatArray,
) -> float:  # fmt: skip
    """−ln L relative to the point of expansion without signal, its gradient and (lower) second derivatives.

    Parameters
    ----------
    counts, base, design
        Shape (blocks, size), the design's (blocks, p, size).
    template
        Shape (blocks, 1 + 2 shapes, size): T₀, then A_k and B_k of each nuisance.
    point
        Parameters, shape (p,) or (p + 1 + shapes,).
    centre
        Centres of the constraints of η and the a_k, shape (1 + shapes,).
    fixed_yield, kappa
        y₀ and κ of a fixed yield; `FREE` for a free one.
    gradient, hessian
        Filled; shapes (P,) and (P, P).
    work
        Scratch, shape (10 + shapes, size).

    Returns
    -------
    float
        −ln L, its constraints included.
    """
    blocks, p, size = design.shape
    gradient[:] = 0.0
    hessian[:] = 0.0
    x, factor, scratch = work[6], work[7], work[8]
    value = 0.0
    if point.size == p:
        for block in range(blocks):
            linear_combination(design[block], point, x, size)
            exp_block(x, scratch, factor, size)
            value += _background_weights(counts[block], base[block], x, factor, work, size)
            add_row_sums(design[block], work[0], size, gradient)
            add_products(design[block], work[1], size, scratch, hessian)
        return value
    shapes = (template.shape[1] - 1) // 2
    signal = work[_WORK_ROWS:]
    free = math.isnan(fixed_yield)
    signal_yield = float(point[p])
    if not free:
        signal_yield = fixed_yield * math.exp(kappa * signal_yield)
    slopes, squares = np.zeros(1 + shapes), np.zeros(1 + shapes)
    for block in range(blocks):
        linear_combination(design[block], point, x, size)
        exp_block(x, scratch, factor, size)
        _shift_template(template[block], point[p + 1 :], signal, size)
        value += _weights(counts[block], base[block], x, factor, signal[0], signal_yield, work, size)
        log_block(work[5], scratch, factor, size)
        value += dot(counts[block], factor, size)
        add_row_sums(design[block], work[0], size, gradient)
        add_products(design[block], work[1], size, scratch, hessian)
        _add_signal_sums(design[block], template[block], signal, work, size, slopes, squares, hessian)
    return value + _chain(free, p, point, centre, kappa, signal_yield, slopes, squares, gradient, hessian)


@summed
def null_weights(
    counts: FloatArray,
    base: FloatArray,
    design: FloatArray,
    theta: FloatArray,
    null: FloatArray,
    work: FloatArray,
) -> None:
    """Background at ``theta`` and the weights of a signal's derivatives at yield 0, once for all signals.

    Parameters
    ----------
    counts, base, design
        As for `evaluate`.
    theta
        Background parameters, shape (p,).
    null
        Filled, shape (blocks, 4, size): 1 − n/b, n/b², n/b and b.
    work
        Scratch, shape (3, size) at least.
    """
    size = base.shape[1]
    x, scratch, factor = work[0], work[1], work[2]
    for block in range(len(base)):
        linear_combination(design[block], theta, x, size)
        exp_block(x, scratch, factor, size)
        slope, curvature, mixed, background = null[block, 0], null[block, 1], null[block, 2], null[block, 3]
        here, seen = base[block], counts[block]
        for i in range(size):
            expected = max(here[i] * factor[i], TINY)
            inverse = 1.0 / expected
            ratio = seen[i] * inverse
            slope[i] = 1.0 - ratio
            curvature[i] = ratio * inverse
            mixed[i] = ratio
            background[i] = expected


@elementwise
def lowest_yield(background: FloatArray, template: FloatArray, core: FloatArray) -> float:
    """Yield at which the total would nearly vanish in a bin of the signal's core.

    Parameters
    ----------
    background
        Expected events, shape (blocks, size).
    template
        Shape (blocks, rows, size); its first row is the signal expected for one event.
    core
        1 in the bins of the core, else 0; shape (blocks, size).

    Returns
    -------
    float
        In events, < 0.
    """
    lowest = -np.inf
    for block in range(len(core)):
        for i in range(core.shape[1]):
            if core[block, i] > 0.0:
                lowest = max(lowest, -background[block, i] / template[block, 0, i])
    return LOWEST_SHARE * lowest
