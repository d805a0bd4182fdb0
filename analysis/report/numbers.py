"""Numbers as a reader wants them: as many digits as they deserve, no more."""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_THIN = "\u202f"
MISSING = "–"
"""What stands where there is no number."""


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands, e.g. ``90 000``.

    Parameters
    ----------
    value
        The number; None gives a dash.

    Returns
    -------
    str
        E.g. ``90 000``.
    """
    return MISSING if value is None else f"{round(value):,}".replace(",", _THIN)


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a power of ten below 0.001 and from 10⁷ on.

    Parameters
    ----------
    value
        The number; None gives a dash.
    digits
        Significant digits. Digits before the decimal point are never rounded away.

    Returns
    -------
    str
        E.g. ``0.0123``, ``4.56``, ``1 235``, ``3.2 × 10⁻⁵``.
    """
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if exponent < -3 or exponent >= 7:
        mantissa = f"{value / 10.0**exponent:.{digits - 1}f}"
        return f"{_minus(mantissa)} × {power_of_ten(exponent)}"
    return _minus(f"{value:,.{max(digits - 1 - exponent, 0)}f}".replace(",", _THIN))


def power_of_ten(exponent: int) -> str:
    """A power of ten, e.g. ``10⁻⁵``; one and ten as they are."""
    return str(10**exponent) if exponent in {0, 1} else f"10{str(exponent).translate(_SUPERSCRIPT)}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """A number with so many decimals, e.g. a Z of ``4.21``.

    Parameters
    ----------
    value
        The number; None gives a dash.
    decimals
        Digits after the point.

    Returns
    -------
    str
        E.g. ``4.21``.
    """
    return MISSING if value is None else _minus(f"{value:.{decimals}f}")


def at_least(value: float, decimals: int) -> str:
    """A lower limit with so many decimals, rounded down: a significance of at least 4.95 is not one of at least 5.0.

    Parameters
    ----------
    value
        The limit.
    decimals
        Digits after the point.

    Returns
    -------
    str
        E.g. ``4.9``.
    """
    step = Decimal(1).scaleb(-decimals)
    return fixed(float(_plain(value).quantize(step, ROUND_FLOOR)), decimals)


def at_most(value: float, digits: int) -> str:
    """An upper limit with so many significant digits, rounded up.

    Parameters
    ----------
    value
        The limit, above 0.
    digits
        Significant digits.

    Returns
    -------
    str
        E.g. ``3.8 × 10⁻⁷`` of 3.71 · 10⁻⁷.
    """
    plain = _plain(value)
    step = Decimal(1).scaleb(plain.adjusted() - digits + 1)
    return significant(float(plain.quantize(step, ROUND_CEILING)), digits)


def _plain(value: float) -> Decimal:
    """A number without the noise of its last bits, which must not round a whole step away."""
    return Decimal(f"{value:.12g}")


def with_error(value: float | None, error: float | None) -> str:
    """Value ± uncertainty, both to two significant digits of the uncertainty, e.g. ``205 ± 48``.

    Parameters
    ----------
    value, error
        The number and its uncertainty, in one unit; None gives a dash, and the number without uncertainty.

    Returns
    -------
    str
        E.g. ``205 ± 48``.
    """
    if value is None:
        return MISSING
    if error is None or error <= 0:
        return significant(value)
    decimals = max(1 - math.floor(math.log10(float(f"{error:.1e}"))), 0)
    value = round(value, decimals) + 0.0  # which turns −0 into 0
    return f"{_minus(f'{value:,.{decimals}f}')} ± {error:,.{decimals}f}".replace(",", _THIN)


def percent(fraction: float | None, digits: int = 3) -> str:
    """A fraction as a percentage, e.g. ``1.05 %``.

    Parameters
    ----------
    fraction
        1 is 100 %; None gives a dash.
    digits
        Significant digits.

    Returns
    -------
    str
        E.g. ``1.05 %``.
    """
    return MISSING if fraction is None else f"{significant(100 * fraction, digits)} %"


def interval(low: float, high: float) -> str:
    """A mass interval in GeV, e.g. ``2725 – 3331``.

    Parameters
    ----------
    low, high
        Ends in GeV.

    Returns
    -------
    str
        E.g. ``2725 – 3331``.
    """
    return f"{low:g} – {high:g}"


def between(low: float | None, high: float | None) -> str:
    """Two ends with three significant digits, e.g. ``0.120 – 0.345``.

    Parameters
    ----------
    low, high
        Ends, in one unit; what is None or not finite gives a dash.

    Returns
    -------
    str
        E.g. ``11.7 – 28.6``.
    """
    ends = (None if end is None or not math.isfinite(end) else end for end in (low, high))
    return " – ".join(significant(end) for end in ends)


def change(value: float, decimals: int = 2) -> str:
    """A change with its sign, e.g. ``+1.20``; no sign where it rounds to nothing.

    Parameters
    ----------
    value
        The change.
    decimals
        Digits after the point.

    Returns
    -------
    str
        E.g. ``−0.3``.
    """
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else _minus(text)


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number of things, e.g. ``1 file``, ``2 files``.

    Parameters
    ----------
    number
        How many.
    one, several
        What they are called; without the second, the first with an s.

    Returns
    -------
    str
        E.g. ``10 masses``.
    """
    return f"{count(number)} {one if number == 1 else several or one + 's'}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
