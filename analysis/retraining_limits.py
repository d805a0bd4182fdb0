"""Limits of methods that learn from the data: their efficiency depends on how much signal there is.

A method trained on data without a signal says nothing of the efficiency for one. So signals of several cross sections
are injected into the data, the method is trained again with each, and a cross section counts as excluded where it is
not below the one that the efficiency found with it excludes (CMS-EXO-22-026, arXiv:2412.03747, appendix B).

The efficiency is that of data with an injection of σ. Where the data hold a signal already, there is more of it than
that, the efficiency is too large for the hypothesis σ, and the limit on such a signal is too low by the ratio of the two:
look at the significance first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from analysis.efficiency_curve import EfficiencyCurve
from analysis.exclusion import Crossing, Status
from data.errors import InputError
from data.files import read_json
from data.sections import Number, Section
from data.types import FloatArray

TIE = 0.10
"""Relative difference up to which two limits of the grid count as equal (arXiv:2412.03747, appendix B)."""
_LEAST_Z = 0.1
_DISCOVERY_Z = 4.0
_FULL_Z = 5.0
_EXTRAPOLATION = 1.15
"""A curve that ends between `_DISCOVERY_Z` and `_FULL_Z` gets one more point: both numbers by this factor larger."""


def reach(
    n_excluded: float,
    luminosity_ifb: float,
    preselection_efficiency: float,
    other_efficiency: float = 1.0,
) -> float:
    """Cross section that would be excluded if the method kept every event.

    Parameters
    ----------
    n_excluded
        Upper limit on the selected signal events.
    luminosity_ifb
        fb⁻¹.
    preselection_efficiency, other_efficiency
        Shares of the signal produced that reach the method; their product counts.

    Returns
    -------
    float
        In fb.

    Raises
    ------
    InputError
        If a number is not positive, or an efficiency above one.
    """
    given = {
        "n_excluded": n_excluded,
        "luminosity_ifb": luminosity_ifb,
        "preselection_efficiency": preselection_efficiency,
        "other_efficiency": other_efficiency,
    }
    for name, value in given.items():
        most = 1.0 if name.endswith("efficiency") else np.inf
        if not (0 < value <= most and np.isfinite(value)):
            msg = f"{name} = {value:g}; give a positive number{' of at most 1' if most == 1 else ''}"
            raise InputError(msg)
    return n_excluded / (luminosity_ifb * preselection_efficiency * other_efficiency)


def excluded_cross_sections(efficiencies: FloatArray, reach_fb: float) -> FloatArray:
    """Cross sections that are excluded at given efficiencies: σ_excl = reach / ε, infinite at ε = 0.

    Parameters
    ----------
    efficiencies
        Of the method, any shape.
    reach_fb
        See `reach`.

    Returns
    -------
    FloatArray
        In fb, shape as the efficiencies'.
    """
    values = np.asarray(efficiencies, dtype=np.float64)
    with np.errstate(over="ignore"):
        excluded = np.divide(reach_fb, values, out=np.full(values.shape, np.inf), where=values > 0)
    return np.asarray(excluded)


def linear_crossing(cross_sections: FloatArray, efficiencies: FloatArray, reach_fb: float) -> Crossing:
    """Last upward crossing of σ = σ_excl(σ), with ε linear in σ between the injections.

    An injection is excluded where σ ≥ σ_excl(σ). The crossing lies between the last injection that is not excluded while
    the next one is, and that next one. It is a limit only if every injection above is excluded too; where the largest is
    not, the status says so (``not_excluded_at_top``) and the crossing is only where the curve was crossed last.

    Parameters
    ----------
    cross_sections
        Injected, fb, increasing, shape (n,).
    efficiencies
        Found with them, shape (n,).
    reach_fb
        See `reach`.

    Returns
    -------
    Crossing
        ``ok``; ``all_excluded`` where every injection is excluded, ``not_excluded`` where none is,
        ``not_excluded_at_top`` where some are but not the largest. ``ok`` has a value, and so has
        ``not_excluded_at_top`` where an injection that is not excluded lies below one that is.

    Raises
    ------
    InputError
        If the cross sections do not increase, or an efficiency is outside 0 … 1.
    """
    sigma, eff = _checked(cross_sections, efficiencies)
    excluded = sigma >= excluded_cross_sections(eff, reach_fb)
    if excluded.all():
        return Crossing("all_excluded")
    if not excluded.any():
        return Crossing("not_excluded")
    status: Status = "ok" if excluded[-1] else "not_excluded_at_top"
    upward = np.flatnonzero(~excluded[:-1] & excluded[1:])
    if not upward.size:
        return Crossing(status)
    last = int(upward[-1])
    low, high = sigma[last], sigma[last + 1]
    slope = (eff[last + 1] - eff[last]) / (high - low)
    at_zero = eff[last] - slope * low
    # σ (at_zero + slope σ) = reach: of the two roots the one where the left side rises.
    width = np.sqrt(max(at_zero**2 + 4 * slope * reach_fb, 0.0))
    root = (width - at_zero) / (2 * slope) if at_zero < 0 else 2 * reach_fb / (at_zero + width)
    return Crossing(status, float(np.clip(root, low, high)))


@dataclass(frozen=True)
class GridLimits:
    """Limits by the published rule, on the injections alone; None where no injection has an efficiency.

    Attributes
    ----------
    smallest
        min over i of max(σ_i, σ_excl(σ_i)), fb.
    tie
        The same with ties broken: of all injections whose value is within 10 % of the smallest, that of the largest
        injection.
    injection, tie_injection
        The cross sections injected there.
    """

    smallest: float | None
    tie: float | None
    injection: float | None
    tie_injection: float | None


def grid_limits(cross_sections: FloatArray, efficiencies: FloatArray, reach_fb: float) -> GridLimits:
    """The min–max rule of arXiv:2412.03747, appendix B.

    It is conservative by up to a step of the grid, but where the efficiency fluctuates it may rest on one excluded
    injection far below others that are not: compare with the crossing.

    Parameters
    ----------
    cross_sections, efficiencies, reach_fb
        As for `linear_crossing`.

    Returns
    -------
    GridLimits
        In fb.

    Raises
    ------
    InputError
        As `linear_crossing`.
    """
    sigma, eff = _checked(cross_sections, efficiencies)
    values = np.maximum(sigma, excluded_cross_sections(eff, reach_fb))
    if not np.isfinite(values).any():
        return GridLimits(None, None, None, None)
    best = int(np.argmin(values))
    tie = int(np.flatnonzero(values <= (1 + TIE) * values[best])[-1])
    return GridLimits(float(values[best]), float(values[tie]), float(sigma[best]), float(sigma[tie]))


def _checked(cross_sections: FloatArray, efficiencies: FloatArray) -> tuple[FloatArray, FloatArray]:
    sigma, eff = (np.asarray(values, dtype=np.float64) for values in (cross_sections, efficiencies))
    if sigma.ndim != 1 or sigma.size < 2 or eff.shape != sigma.shape:
        msg = f"{sigma.size} cross sections and {eff.size} efficiencies; give as many of each, at least two"
        raise InputError(msg)
    if not np.isfinite(sigma).all() or sigma[0] < 0 or np.any(np.diff(sigma) <= 0):
        bad = int(np.argmax(np.append(sigma[:1] < 0, ~(np.diff(sigma) > 0))))
        msg = (
            f"row {bad + 1}: cross section {sigma[bad]:g} fb; give numbers that are not negative and increase"
        )
        raise InputError(msg)
    outside = np.flatnonzero(~((eff >= 0) & (eff <= 1)))
    if outside.size:
        row = int(outside[0])
        msg = f"row {row + 1} ({sigma[row]:g} fb): efficiency {eff[row]:g}; give a share between 0 and 1"
        raise InputError(msg)
    return sigma, eff


@dataclass(frozen=True)
class Discovery:
    """Cross section at which a significance is expected.

    Attributes
    ----------
    status
        ``ok``; ``below_smallest``: reached at the smallest injection already; ``not_reached``: the largest injection
        has less; ``weak``: no injection has Z ≥ 4, from where on the rule may be used.
    value
        fb; None unless ``ok``.
    """

    status: Literal["ok", "below_smallest", "not_reached", "weak"]
    value: float | None = None


def discovery_cross_section(cross_sections: FloatArray, z: FloatArray, wanted: float) -> Discovery:
    """Cross section of an expected significance, by linear interpolation of Z in σ.

    Injections with Z < 0.1 are left out; the largest Z must be 4 or more; where it is below 5, one more point is added
    with 1.15 times the σ and the Z of the last one (arXiv:2412.03747). The last upward crossing counts.

    Parameters
    ----------
    cross_sections
        fb, increasing, shape (n,).
    z
        Significances, shape (n,).
    wanted
        E.g. 3 or 5 standard deviations.

    Returns
    -------
    Discovery
        In fb, or why there is none.

    Raises
    ------
    InputError
        If the shapes differ, the cross sections do not increase, or a significance is not finite.
    """
    sigma, found = np.asarray(cross_sections, dtype=np.float64), np.asarray(z, dtype=np.float64)
    _checked(sigma, np.zeros(found.shape))
    if not np.isfinite(found).all():
        msg = "a significance is not finite; leave out the injection whose fit failed"
        raise InputError(msg)
    sigma, found = sigma[found >= _LEAST_Z], found[found >= _LEAST_Z]
    strongest = float(found.max(initial=0.0))
    if strongest < _DISCOVERY_Z:
        return Discovery("weak")
    if strongest < _FULL_Z:
        sigma, found = (np.append(values, _EXTRAPOLATION * values[-1]) for values in (sigma, found))
    below = np.flatnonzero(found < wanted)
    if below.size == 0:
        return Discovery("below_smallest")
    last = int(below[-1])
    if last == sigma.size - 1:
        return Discovery("not_reached")
    share = (wanted - found[last]) / (found[last + 1] - found[last])
    return Discovery("ok", float(sigma[last] + share * (sigma[last + 1] - sigma[last])))


class EfficiencyTable(Section):
    """A table of efficiencies against injected cross sections (JSON).

    Parameters
    ----------
    rows
        ``[cross section in fb, efficiency]``, or with the efficiency's standard error as third number in every row;
        the cross sections increase.
    n_excluded
        Upper limit on the selected signal events.
    luminosity_ifb
        fb⁻¹.
    preselection_efficiency, other_efficiency
        Shares of the signal that reach the method.
    """

    rows: tuple[Annotated[tuple[Number, ...], pydantic.Field(min_length=2, max_length=3)], ...] = (
        pydantic.Field(min_length=2)
    )
    n_excluded: Number = pydantic.Field(gt=0)
    luminosity_ifb: Number = pydantic.Field(gt=0)
    preselection_efficiency: Number = pydantic.Field(gt=0, le=1)
    other_efficiency: Number = pydantic.Field(default=1.0, gt=0, le=1)


class TableLimits(Section):
    """Limits from a table of efficiencies (JSON).

    Parameters
    ----------
    status
        See `table_limits`.
    crossing_fb
        Last upward crossing of σ = σ_excl(σ), null where there is none; a limit only with the status ``ok``.
    grid_fb, grid_tie_fb
        Published rule without and with its tie-breaking, null where every efficiency is 0.
    crossing_low_fb, crossing_high_fb
        Central 68 % of the crossing where the table has errors; null where an end lies beyond the injections.
    """

    status: Status
    crossing_fb: float | None
    grid_fb: float | None
    grid_tie_fb: float | None
    crossing_low_fb: float | None = None
    crossing_high_fb: float | None = None


def table_limits(path: Path | str) -> dict[str, Any]:
    """Limits on a cross section from efficiencies that were found with injected signals.

    Parameters
    ----------
    path
        JSON as `EfficiencyTable`: ``{"rows": [[sigma_fb, efficiency], …], "n_excluded": …, "luminosity_ifb": …,
        "preselection_efficiency": …, "other_efficiency": 1.0}``.

    Returns
    -------
    dict
        As `TableLimits`. ``status``: ``all_excluded``: every injection is excluded, the limit lies below the smallest;
        ``not_excluded``: none is; ``not_excluded_at_top``: some are but the largest is not, so that no cross section is
        known above which all are, and a crossing given all the same is no limit; else ``ok``. Without errors ε is linear in σ
        between the injections, as they are. With errors (a third number in each row) the crossing is that of
        `EfficiencyCurve`, smooth and monotone, and so is the status, which then is never ``not_excluded_at_top``;
        ``crossing_low_fb`` and ``crossing_high_fb`` are given too. The grid's limits take the rows as they are.

    Raises
    ------
    InputError
        If the file cannot be read, or its numbers are no table: an efficiency outside 0 … 1, cross sections that are
        negative or do not increase, errors in some rows only.
    ConfigError
        If a key is unknown, missing, or out of range.
    """
    table = EfficiencyTable.parse(read_json(Path(path)), str(path))
    try:
        return _limits_of(table)
    except InputError as error:
        msg = f"{path}: {error}"
        raise InputError(msg) from None


def _limits_of(table: EfficiencyTable) -> dict[str, Any]:
    lengths = {len(row) for row in table.rows}
    if len(lengths) > 1:
        msg = "rows: some have an error and some have none; give it in all rows or in none"
        raise InputError(msg)
    columns = np.array(table.rows, dtype=np.float64).T
    sigma, eff = _checked(columns[0], columns[1])
    reach_fb = reach(
        table.n_excluded, table.luminosity_ifb, table.preselection_efficiency, table.other_efficiency
    )
    grid = grid_limits(sigma, eff, reach_fb)
    interval: dict[str, float | None] = {}
    if len(columns) == 2:
        crossing = linear_crossing(sigma, eff, reach_fb)
    else:
        curve = EfficiencyCurve.fit(sigma, eff, columns[2])
        crossing = curve.crossing(reach_fb)
        low, high = curve.crossing_interval(reach_fb)
        interval = {"crossing_low_fb": low, "crossing_high_fb": high}
    found = TableLimits(
        status=crossing.status, crossing_fb=crossing.value, grid_fb=grid.smallest, grid_tie_fb=grid.tie, **interval
    )  # fmt: skip
    return found.model_dump(exclude_unset=True)
