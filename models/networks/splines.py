"""Monotonic rational-quadratic splines with their gradients written out.

The last axis is that of rows: operations over the few bins of a spline then run over long contiguous lines.
"""

import math
from typing import Any, NamedTuple

import torch
from torch.nn import functional

LEAST_SHARE = 1e-3
"""Least width or height of a bin, as a share of the whole."""
LEAST_SLOPE = 1e-3
SLOPE_OFFSET = math.log(math.expm1(1.0 - LEAST_SLOPE))
"""Raw slopes of zero are slopes of one."""


def outputs_needed(bins: int) -> int:
    """Raw numbers that one spline takes: widths, heights, inner slopes."""
    return 3 * bins - 1


class _Bin(NamedTuple):
    """The bin in which each value lies; lengths in units of the whole range. All of shape (members, inputs, rows)."""

    left: torch.Tensor
    base: torch.Tensor
    width: torch.Tensor
    height: torch.Tensor
    slope_left: torch.Tensor
    slope_right: torch.Tensor


class _Found(NamedTuple):
    """A bin, and what the gradient needs to know of how it was found."""

    bin: _Bin
    share: torch.Tensor
    beyond: torch.Tensor
    number: torch.Tensor


def _sizes(raw: torch.Tensor, bins: int) -> torch.Tensor:
    """View of the widths and heights among raw outputs, shape (members, inputs, 2, bins, rows)."""
    members, inputs, _, rows = raw.shape
    return raw[:, :, : 2 * bins].view(members, inputs, 2, bins, rows)


def _find(u: torch.Tensor, raw: torch.Tensor, bins: int, axis: int) -> _Found:
    """Bin of each value ``u`` in [0, 1], which is an input (axis 0) or an output (axis 1) of the spline."""
    share = torch.softmax(_sizes(raw, bins), dim=3)
    size = share * (1.0 - LEAST_SHARE * bins) + LEAST_SHARE
    start = torch.zeros_like(size)
    # Faster than cumsum, which does not vectorise over rows, and never in half precision.
    for number in range(1, bins):
        torch.add(start[:, :, :, number - 1], size[:, :, :, number - 1], out=start[:, :, :, number])
    beyond = (u.unsqueeze(2) >= start[:, :, axis, 1:]).to(u.dtype)
    index = beyond.sum(2, keepdim=True).long()
    both = index.unsqueeze(2).expand(-1, -1, 2, -1, -1)
    starts = start.gather(3, both).squeeze(3)
    sizes = size.gather(3, both).squeeze(3)
    slopes = raw[:, :, 2 * bins :]
    chosen = [slopes.gather(2, (index - 1).clamp_(min=0)), slopes.gather(2, index.clamp(max=bins - 2))]
    left, right = (LEAST_SLOPE + functional.softplus(part + SLOPE_OFFSET) for part in chosen)
    left = torch.where(index > 0, left, 1.0).squeeze(2)
    right = torch.where(index < bins - 1, right, 1.0).squeeze(2)
    bin_ = _Bin(starts[:, :, 0], starts[:, :, 1], sizes[:, :, 0], sizes[:, :, 1], left, right)
    return _Found(bin_, share, beyond, index)


class _RationalQuadratic(torch.autograd.Function):
    """Value and log-derivative; autograd's own graph of these fifty small operations takes twice as long."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, raw: torch.Tensor, bins: int, tail: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inside = x.abs() < tail
        u = ((x + tail) * (0.5 / tail)).clamp_(0.0, 1.0)
        found = _find(u, raw, bins, 0)
        left, base, width, height, slope_left, slope_right = found.bin
        secant = height / width
        t = ((u - left) / width).clamp_(0.0, 1.0)
        between = t * (1.0 - t)
        below = secant + (slope_left + slope_right - 2.0 * secant) * between
        ratio = t * (secant * t + slope_left * (1.0 - t)) / below
        above = slope_right * t * t + 2.0 * secant * between + slope_left * (1.0 - t) ** 2
        y = torch.where(inside, (base + height * ratio) * (2.0 * tail) - tail, x)
        logs = torch.where(inside, torch.log(secant * secant * above / (below * below)), 0.0)
        ctx.save_for_backward(inside, raw, found.share, found.beyond, found.number, *found.bin, t)
        ctx.bins, ctx.tail = bins, tail
        return y, logs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inside, raw, share, beyond, index, *parts, t = ctx.saved_tensors
        bins, tail = ctx.bins, ctx.tail
        found = _Bin(*parts)
        of_y = gradients[0] * inside * (2.0 * tail)
        of_log = gradients[1] * inside
        of_t, of_secant, of_slopes, ratio, secant = _local_gradients(found, t, of_y * found.height, of_log)
        of_height = of_y * ratio + of_secant / found.width
        of_u = of_t / found.width
        of_width = -(of_secant * secant + of_t * t) / found.width
        # Bins before the chosen one move its left edge, the chosen one only its own size.
        starts, sizes = torch.stack([-of_u, of_y], dim=2), torch.stack([of_width, of_height], dim=2)
        of_size = torch.zeros_like(share)
        torch.mul(beyond.unsqueeze(2), starts.unsqueeze(3), out=of_size[:, :, :, :-1])
        of_size.scatter_(3, index.unsqueeze(2).expand(-1, -1, 2, -1, -1), sizes.unsqueeze(3))
        of_share = of_size.mul_(share)
        total = of_share.sum(3, keepdim=True)
        of_raw = torch.zeros_like(raw)
        sizes_raw = _sizes(of_raw, bins)
        torch.addcmul(of_share, share, total, value=-1.0, out=sizes_raw)
        sizes_raw.mul_(1.0 - LEAST_SHARE * bins)
        slopes, of_inner = raw[:, :, 2 * bins :], of_raw[:, :, 2 * bins :]
        ends = ((index - 1).clamp_(min=0), index > 0), (index.clamp(max=bins - 2), index < bins - 1)
        for (at, inner), gradient in zip(ends, of_slopes, strict=True):
            rise = torch.sigmoid(slopes.gather(2, at) + SLOPE_OFFSET)
            of_inner.scatter_add_(2, at, gradient.unsqueeze(2) * rise * inner)
        of_x = torch.where(inside, of_u * (0.5 / tail), gradients[0])
        return of_x, of_raw, None, None


def _local_gradients(
    found: _Bin, t: torch.Tensor, of_ratio: torch.Tensor, of_log: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Gradients with respect to the place in the bin, the secant and both slopes; the ratio, the secant."""
    d0, d1 = found.slope_left, found.slope_right
    secant = found.height / found.width
    rest = 1.0 - t
    between = t * rest
    bend = d0 + d1 - 2.0 * secant
    below = secant + bend * between
    above = d1 * t * t + 2.0 * secant * between + d0 * rest * rest
    ratio = t * (secant * t + d0 * rest) / below
    of_ratio, of_below = of_ratio / below, 2.0 * of_log / below
    of_above = of_log / above
    of_below = of_below + of_ratio * ratio
    twist = 1.0 - 2.0 * t
    of_t = (
        of_ratio * (2.0 * secant * t + d0 * twist)
        + 2.0 * of_above * (d1 * t + secant * twist - d0 * rest)
        - of_below * bend * twist
    )
    of_secant = (
        of_ratio * t * t + 2.0 * (of_log / secant + of_above * between) - of_below * (1.0 - 2.0 * between)
    )
    of_left = (of_ratio - of_below) * between + of_above * rest * rest
    of_right = of_above * t * t - of_below * between
    return of_t, of_secant, (of_left, of_right), ratio, secant


def rational_quadratic(
    x: torch.Tensor, raw: torch.Tensor, bins: int, tail: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Monotonic rational-quadratic spline, the identity beyond its tails.

    Parameters
    ----------
    x
        Values, shape (members, inputs, rows).
    raw
        Outputs of a network, shape (members, inputs, 3 bins − 1, rows): logits of widths, of heights, raw inner
        slopes. Zeros give the identity.
    bins
        Number of bins, at least 2.
    tail
        The spline acts on (−tail, tail).

    Returns
    -------
    y, log_derivative
        Shape of ``x``; differentiable once.

    References
    ----------
    C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural Spline Flows", arXiv:1906.04032.
    """
    return _RationalQuadratic.apply(x, raw, bins, tail)  # type: ignore[no-any-return, no-untyped-call]


def inverse_rational_quadratic(y: torch.Tensor, raw: torch.Tensor, bins: int, tail: float) -> torch.Tensor:
    """Inverse of `rational_quadratic`, without gradients.

    Parameters
    ----------
    y
        Values, shape (members, inputs, rows).
    raw, bins, tail
        As for `rational_quadratic`.

    Returns
    -------
    torch.Tensor
        x of y = spline(x), shape of ``y``.
    """
    inside = y.abs() < tail
    v = ((y + tail) * (0.5 / tail)).clamp_(0.0, 1.0)
    left, base, width, height, slope_left, slope_right = _find(v, raw, bins, 1).bin
    secant = height / width
    share = ((v - base) / height).clamp_(0.0, 1.0)
    bend = share * (slope_left + slope_right - 2.0 * secant)
    a, b, c = secant - slope_left + bend, slope_left - bend, -secant * share
    # The root that stays accurate where a vanishes.
    root = 2.0 * c / (-b - (b * b - 4.0 * a * c).clamp_(min=0.0).sqrt())
    return torch.where(inside, (left + width * root) * (2.0 * tail) - tail, y)
