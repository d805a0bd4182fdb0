"""Where the axes of the page's charts have their marks, and what stands there."""

import math

from analysis.report.numbers import power_of_ten

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def linear_ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Round numbers on a linear axis.

    Parameters
    ----------
    low, high
        Range of the axis, ``low`` < ``high``.
    most
        The largest number of marks wanted.

    Returns
    -------
    list of (float, str)
        Places and their words, ascending.
    """
    raw = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in _STEPS if scale * factor >= raw * (1 - 1e-9))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(round(step * 10**decimals) - step * 10**decimals) > 1e-6:
        decimals += 1  # 2.5 needs one more than its power of ten says
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if max(abs(low), abs(high)) >= 1e4 and step >= 100:
        return [
            (k * step, f"{k * step / 1000:g}k".replace("-", "−") if k else "0")
            for k in range(first, last + 1)
        ]
    return [(k * step, f"{k * step:.{decimals}f}".replace("-", "−")) for k in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 7) -> list[tuple[float, str]]:
    """Powers of ten on a logarithmic axis, and 2 and 5 times them where there are few.

    Parameters
    ----------
    low, high
        Range of the axis, 0 < ``low`` < ``high``.
    most
        The largest number of marks wanted.

    Returns
    -------
    list of (float, str)
        Places and their words, ascending.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, -(-(last - first + 1) // most))
    decades = [exponent for exponent in range(first, last + 1) if exponent % stride == 0]
    if len(decades) > 2 or stride > 1:
        return [(10.0**exponent, power_of_ten(exponent)) for exponent in decades]
    fine = [
        factor * 10.0**exponent
        for exponent in range(math.floor(math.log10(low)), last + 1)
        for factor in (1, 2, 5)
    ]
    inside = [value for value in fine if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return [(value, f"{value:g}" if 1e-3 <= value < 1e5 else _times(value)) for value in inside]


def _times(value: float) -> str:
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = round(value / 10.0**exponent)
    return power_of_ten(exponent) if mantissa == 1 else f"{mantissa} × {power_of_ten(exponent)}"
