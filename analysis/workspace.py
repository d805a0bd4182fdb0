"""HistFactory workspaces (plain JSON) of a mass and selection, that stock pyhf and cabinetry fit.

HistFactory knows no functions, so the dijet function enters linearised: one sample with the expected
background and one sample for each direction of its parameters, scaled by a free ``normfactor`` that starts at
0. The first direction is the chord from the background-only fit to the fit with signal, so that both fits lie
exactly in the linear model; the others are tangents half-way, orthogonal to it in the Fisher metric of the
background. Parameters of the workspace are therefore of unit variance and almost uncorrelated, as MINUIT
likes them. The format: Heinrich, Feickert, Stark, J. Open Source Softw. 6 (2021) 2823.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.fit import Minimum
from analysis.profile_likelihood import SignalTest
from analysis.results import MassResult
from data.errors import FitError
from data.files import write_json
from data.types import FloatArray

CHANNEL = "mjj"
_WIDE = 20.0
"""Bounds of the background's normfactors in standard deviations, where positivity allows them."""


@dataclasses.dataclass(frozen=True)
class Export:
    """A workspace and what its reader should know.

    Attributes
    ----------
    workspace
        HistFactory JSON.
    signal_events
        Signal events inside the fit range at mu = 1.
    bounded
        Names of the normfactors that are bounded because their direction alone would turn the expectation of
        a bin negative within 20 standard deviations.
    """

    workspace: dict[str, Any]
    signal_events: float
    bounded: tuple[str, ...]


def build_workspace(point: MassResult) -> Export:
    """Write a tested mass as a HistFactory workspace in the fine bins of the fit.

    Parameters
    ----------
    point
        A valid mass of a scan.

    Returns
    -------
    Export
        The workspace; ``mu`` multiplies `Export.signal_events` signal events, two standard errors of the
        yield or the median expected limit where there is one.

    Raises
    ------
    FitError
        If the mass is not valid.
    """
    test, fit = point.test, point.background
    if test is None or fit is None:
        msg = f"mass {point.mass:g} GeV: no workspace of a mass whose fit is not valid ({point.message})"
        raise FitError(msg)
    background, directions = linear_background(test, _second_point(point, test))
    limit = point.limit
    events = max(limit.expected[2] if limit else 2 * test.yield_error, 1e-3)
    largest = max(test.best.signal_yield + 6 * test.yield_error, 3 * limit.observed if limit else 0.0)
    start = min(max(test.best.signal_yield, 0.1 * events), largest) / events
    samples = [
        _sample("signal", events * test.template, "mu"),
        {"name": "background", "data": background.tolist(), "modifiers": []},
    ]
    parameters = [_parameter("mu", start, 0.0, max(10.0, largest / events))]
    bounded = []
    for number, direction in enumerate(directions.T, start=1):
        name = f"background_{number}"
        low, high = _positive_bounds(background, direction)
        if min(-low, high) < _WIDE:
            bounded.append(name)
        samples.append(_sample(name, direction, name))
        parameters.append(_parameter(name, 0.0, low, high))
    workspace = {
        "channels": [{"name": CHANNEL, "samples": samples}],
        "observations": [{"name": CHANNEL, "data": fit.spectrum.counts.astype(float).tolist()}],
        "measurements": [
            {"name": f"resonance_{point.mass:g}", "config": {"poi": "mu", "parameters": parameters}}
        ],
        "version": "1.0.0",
    }
    return Export(workspace, events, tuple(bounded))


def write_workspace(path: Path, point: MassResult) -> Export:
    """Build a workspace and write it.

    Parameters
    ----------
    path
        JSON file.
    point
        A valid mass of a scan.

    Raises
    ------
    FitError
        If the mass is not valid.
    """
    export = build_workspace(point)
    write_json(path, export.workspace)
    return export


def linear_background(test: SignalTest, second: Minimum) -> tuple[FloatArray, FloatArray]:
    """Background linear in unit-variance parameters, exact at two fits.

    Parameters
    ----------
    test
        Test of a mass; its background-only fit is the first point.
    second
        The other fit.

    Returns
    -------
    nominal : FloatArray
        Background half-way between the two fits, shape (n,).
    directions : FloatArray
        Change of the background for one standard deviation of each parameter, shape (n, p).
    """
    model = test.likelihood.background
    first = test.null.theta
    change = second.theta - first
    start, end = model.expected(first), model.expected(second.theta)
    middle, jacobian = model.expected_and_jacobian(first + 0.5 * change)
    # Columns of `root` are orthonormal in the Fisher metric of the background.
    # Far above the last event a steep background underflows to 0, and its derivatives with it: no information.
    relative = np.divide(jacobian, middle[:, None], out=np.zeros_like(jacobian), where=middle[:, None] > 0)
    fisher = jacobian.T @ relative
    root = np.linalg.inv(np.linalg.cholesky(fisher)).T
    along = np.linalg.solve(root, change)
    length = float(np.linalg.norm(along))
    if length < 1e-6:
        return middle, jacobian @ root
    basis, _ = np.linalg.qr(np.column_stack([along, np.eye(along.size)]))
    directions = jacobian @ root @ basis
    directions[:, 0] = (end - start) / length
    return 0.5 * (start + end), directions


def _second_point(point: MassResult, test: SignalTest) -> Minimum:
    """Fit with signal where there is some; otherwise the fit at the observed limit, where limits look."""
    if test.z < 1 and point.limit is not None:
        return test.at(point.limit.observed)
    return test.best


def _positive_bounds(background: FloatArray, direction: FloatArray) -> tuple[float, float]:
    """Range of a normfactor in which its direction alone keeps every bin above 0.1 % of the background."""
    ratio = 0.999 * background
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        high = np.min(np.where(direction < 0, ratio / -direction, math.inf))
        low = np.min(np.where(direction > 0, ratio / direction, math.inf))
    return -min(float(low), _WIDE), min(float(high), _WIDE)


def _sample(name: str, data: FloatArray, factor: str) -> dict[str, Any]:
    return {
        "name": name,
        "data": data.tolist(),
        "modifiers": [{"name": factor, "type": "normfactor", "data": None}],
    }


def _parameter(name: str, start: float, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "inits": [start], "bounds": [[low, high]]}
