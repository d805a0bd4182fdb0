r"""HistFactory workspaces (plain JSON) of a mass and selection, that stock pyhf and cabinetry fit.

HistFactory knows no functions, so the background function b(θ) enters by its expansion about the background-only fit
θ₀: a sample with the expected background and, for each direction of its parameters, a sample ∂b/∂θ_k scaled by a free
normfactor d_k that starts at 0. A signal moves the profiled background by an amount that grows with the signal
strength μ, so the second order matters along this way alone, where it is a term in μ·d: further samples hold it, each
scaled by the two normfactors μ and d_k,

    b = b(θ₀) + Σ_k d_k J_k + μ Σ_k d_k C_k.

The first direction points to the fit at a second, large signal strength. The C_k are such that the sum is exact there,
with the derivatives of that fit across the first direction. At μ = 0 the background is linear in d, and its parameters
have unit variance and no correlation, as MINUIT likes them. The format: Heinrich, Feickert, Stark, J. Open Source Softw. 6 (2021) 2823.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from analysis.results import MassResult
from analysis.signal_template import SignalTemplate
from data.errors import FitError, InputError
from data.files import write_json
from data.types import FloatArray, IntArray

CHANNEL = "mjj"
POI = "mu"
SIGNAL = "signal"
BACKGROUND = "background"
LUMINOSITY = "luminosity"
_WIDE = 20.0
"""Bounds of the background's normfactors in standard deviations, where positivity allows them."""
_SHORT = 1e-6
"""Way of the background in standard deviations below which it has no direction."""
_ROOM = 1.2
"""How far bounds leave the way of the profiled background open, in units of its length at the largest yield."""


@dataclasses.dataclass(frozen=True, eq=False)
class Export:
    """A workspace and what its reader should know.

    Attributes
    ----------
    workspace
        HistFactory JSON.
    edges
        Of its bins in GeV, shape (n + 1,).
    signal_events
        Signal events inside the fit range at mu = 1.
    exact_at
        Values of the normfactors, mu among them, at which the background is exactly the function's, beside the
        background-only fit where all of them are 0.
    bounded
        Names of the normfactors that are bounded because their direction alone would turn the expectation of
        a bin negative within 20 standard deviations.
    """

    workspace: dict[str, Any]
    edges: FloatArray
    signal_events: float
    exact_at: dict[str, float]
    bounded: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All but the workspace, as plain values."""
        return {
            "edges": self.edges.tolist(),
            "signal_events": self.signal_events,
            "exact_at": self.exact_at,
            "bounded": list(self.bounded),
        }


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundTerms:
    """Expansion of the background about the background-only fit (see the module).

    Attributes
    ----------
    nominal
        b(θ₀), shape (n,).
    directions
        J, change for one standard deviation of each parameter, shape (n, p).
    with_signal
        Change for one standard deviation of each parameter and one signal event, shape (n, p).
    second
        Values of the parameters at the second fit in standard deviations, shape (p,).
    """

    nominal: FloatArray
    directions: FloatArray
    with_signal: FloatArray
    second: FloatArray

    def merged(self, starts: IntArray) -> "BackgroundTerms":
        """The same in merged bins.

        Parameters
        ----------
        starts
            First fine bin of each, ascending, shape (m,).

        Returns
        -------
        BackgroundTerms
            Of m bins.
        """
        return BackgroundTerms(
            np.add.reduceat(self.nominal, starts),
            np.add.reduceat(self.directions, starts, axis=0),
            np.add.reduceat(self.with_signal, starts, axis=0),
            self.second,
        )


def build_workspace(point: MassResult, *, luminosity_uncertainty: float = 0.0, merge: int = 1) -> Export:
    """Write a tested mass as a HistFactory workspace in the bins of the fit.

    Shape uncertainties of the signal become ``histosys`` and those of its normalisation ``normsys`` modifiers.

    Parameters
    ----------
    point
        A valid mass of a scan.
    luminosity_uncertainty
        Relative; the part of the signal's uncertainty of normalisation that gets a modifier of its own, so that
        several workspaces may share it.
    merge
        Neighbouring bins summed into one: other programs are faster with fewer bins. Where events lie inside them is
        then lost: bins of a tenth of the signal's width move a significance by 1 to 2 %.

    Returns
    -------
    Export
        The workspace; ``mu`` multiplies `Export.signal_events` signal events, two standard errors of the
        yield or the median expected limit where there is one.

    Raises
    ------
    FitError
        If the mass is not valid.
    InputError
        If the luminosity's uncertainty exceeds that of the normalisation, or ``merge`` is less than 1.
    """
    test, fit = point.test, point.background
    if test is None or fit is None:
        msg = f"mass {point.mass:g} GeV: no workspace of a mass whose fit is not valid; leave it out ({point.message})"
        raise FitError(msg)
    if merge < 1:
        msg = f"workspace of {point.mass:g} GeV: merge = {merge}; give the number of bins to sum, 1 or more"
        raise InputError(msg)
    second = test.at(_second_yield(point, test))
    starts = np.arange(0, fit.spectrum.counts.size, merge)
    terms = background_terms(test, second).merged(starts)
    limit = point.limit
    events = max(limit.expected[2] if limit else 2 * test.yield_error, 1e-3)
    signal = _signal_sample(test.signal, events, starts, luminosity_uncertainty, point.mass)
    samples = [signal, *_background_samples(terms, events)]
    largest = _largest_yield(point, test)
    start = min(max(test.best.signal_yield, 0.1 * events), largest) / events
    parameters, bounded = _background_parameters(terms, _ROOM * largest / second.signal_yield)
    parameters.insert(0, _parameter(POI, start, 0.0, largest / events))
    counts = np.add.reduceat(fit.spectrum.counts, starts).astype(float)
    workspace = {
        "channels": [{"name": CHANNEL, "samples": samples}],
        "observations": [{"name": CHANNEL, "data": counts.tolist()}],
        "measurements": [
            {"name": f"resonance_{point.mass:g}", "config": {"poi": POI, "parameters": parameters}}
        ],
        "version": "1.0.0",
    }
    exact_at = {POI: second.signal_yield / events}
    exact_at |= {direction_name(k): float(value) for k, value in enumerate(terms.second, start=1)}
    edges = fit.spectrum.edges[np.append(starts, fit.spectrum.counts.size)]
    return Export(workspace, edges, events, exact_at, bounded)


def write_workspace(path: Path, point: MassResult, *, luminosity_uncertainty: float = 0.0) -> Export:
    """Build a workspace and write it.

    Parameters
    ----------
    path
        JSON file.
    point, luminosity_uncertainty
        See `build_workspace`.

    Returns
    -------
    Export
        What was written.

    Raises
    ------
    FitError
        If the mass is not valid.
    """
    export = build_workspace(point, luminosity_uncertainty=luminosity_uncertainty)
    write_json(path, export.workspace)
    return export


def direction_name(number: int) -> str:
    """Name of the sample and the normfactor of the background's direction 1, 2 and so on."""
    return f"{BACKGROUND}_{number}"


def background_terms(test: SignalTest, second: Minimum) -> BackgroundTerms:
    """Expand the background about the background-only fit, exact at a second fit too.

    Parameters
    ----------
    test
        Test of a mass; its background-only fit is the centre.
    second
        Fit with a signal yield above zero.
    """
    model = test.likelihood.background
    first = test.null.theta
    nominal, jacobian = model.expected_and_jacobian(first)
    end, end_jacobian = model.expected_and_jacobian(second.theta)
    # Columns of `root` are orthonormal in the Fisher metric of the background.
    # Far above the last event a steep background underflows to 0, and its derivatives with it: no information.
    relative = np.divide(jacobian, nominal[:, None], out=np.zeros_like(jacobian), where=nominal[:, None] > 0)
    root = np.linalg.inv(np.linalg.cholesky(jacobian.T @ relative)).T
    way = np.linalg.solve(root, second.theta - first)
    length = float(np.linalg.norm(way))
    # The first direction is the way of the second fit: the others then hardly notice a signal.
    basis, triangle = np.linalg.qr(np.column_stack([way, np.eye(way.size)]))
    basis[:, 0] *= math.copysign(1.0, triangle[0, 0])
    directions = jacobian @ root @ basis
    # Across the way the derivatives become those of the second fit; along it the change is such that its end is met.
    turned = end_jacobian @ root @ basis - directions
    if length > _SHORT:
        turned[:, 0] = (end - nominal) / length - directions[:, 0]
    place = np.zeros(way.size)
    place[0] = length
    return BackgroundTerms(nominal, directions, turned / second.signal_yield, place)


def _second_yield(point: MassResult, test: SignalTest) -> float:
    """Where the expansion is exact: about the limits, or two standard errors above the best yield."""
    if point.limit is not None:
        return max(point.limit.observed, point.limit.expected[2])
    return max(test.best.signal_yield, 0.0) + 2 * test.yield_error


def _largest_yield(point: MassResult, test: SignalTest) -> float:
    """Upper bound of the yield: beyond all limits, but not where no fit of the background makes sense any more."""
    best, error = max(test.best.signal_yield, 0.0), test.yield_error
    if point.limit is None:
        return best + 6 * error
    return max(best + 4 * error, 1.5 * point.limit.observed, 1.3 * point.limit.expected[4])


def _signal_sample(
    signal: SignalTemplate, events: float, starts: IntArray, luminosity: float, mass: float
) -> dict[str, Any]:
    def merged(fractions: FloatArray) -> list[float]:
        return [float(value) for value in events * np.add.reduceat(fractions, starts)]

    modifiers: list[dict[str, Any]] = [
        {"name": shift.name, "type": "histosys", "data": {"hi_data": merged(shift.up), "lo_data": merged(shift.down)}}
        for shift in signal.shifts
    ]  # fmt: skip
    modifiers += [
        {"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 / (1 + size)}}
        for name, size in split_norm(signal.norm_uncertainty, luminosity, mass).items()
    ]
    return _sample(SIGNAL, merged(signal.nominal), [*modifiers, _normfactor(POI)])


def split_norm(total: float, luminosity: float, mass: float) -> dict[str, float]:
    """Independent log-normal uncertainties whose product is the signal's uncertainty of normalisation.

    Parameters
    ----------
    total, luminosity
        Relative uncertainties: all of it, and the luminosity's share.
    mass
        In GeV, for messages.

    Returns
    -------
    dict
        Name to relative uncertainty, for those above zero.
    """
    rest = math.log1p(total) ** 2 - math.log1p(luminosity) ** 2
    if rest < -1e-12:
        msg = (
            f"workspace of {mass:g} GeV: the luminosity's uncertainty {luminosity:g} exceeds that of the signal's "
            f"normalisation, {total:g}, of which it is a part; enlarge the latter"
        )
        raise InputError(msg)
    parts = {"signal_norm": math.expm1(math.sqrt(max(rest, 0.0))), LUMINOSITY: luminosity}
    return {name: size for name, size in parts.items() if size > 1e-9}


def _background_samples(terms: BackgroundTerms, events: float) -> list[dict[str, Any]]:
    samples = [_sample(BACKGROUND, terms.nominal.tolist(), [])]
    for k, direction in enumerate(terms.directions.T, start=1):
        samples.append(_sample(direction_name(k), direction.tolist(), [_normfactor(direction_name(k))]))
    for k, direction in enumerate(terms.with_signal.T, start=1):
        factors = [_normfactor(POI), _normfactor(direction_name(k))]
        samples.append(_sample(f"{direction_name(k)}_{POI}", (events * direction).tolist(), factors))
    return samples


def _background_parameters(
    terms: BackgroundTerms, reach: float
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    parameters, bounded = [], []
    for k, direction in enumerate(terms.directions.T, start=1):
        low, high = _positive_bounds(terms.nominal, direction)
        if min(-low, high) < _WIDE:
            bounded.append(direction_name(k))
        # On the way of the second fit the terms with mu keep the expectation positive.
        needed = reach * float(terms.second[k - 1])
        parameters.append(_parameter(direction_name(k), 0.0, min(low, needed), max(high, needed)))
    return parameters, tuple(bounded)


def _positive_bounds(background: FloatArray, direction: FloatArray) -> tuple[float, float]:
    """Range of a normfactor in which its direction alone keeps every bin above 0.1 % of the background."""
    ratio = 0.999 * background
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        high = np.min(np.where(direction < 0, ratio / -direction, math.inf))
        low = np.min(np.where(direction > 0, ratio / direction, math.inf))
    return -min(float(low), _WIDE), min(float(high), _WIDE)


def _sample(name: str, data: list[float], modifiers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "data": data, "modifiers": modifiers}


def _normfactor(name: str) -> dict[str, Any]:
    return {"name": name, "type": "normfactor", "data": None}


def _parameter(name: str, start: float, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "inits": [start], "bounds": [[low, high]]}
