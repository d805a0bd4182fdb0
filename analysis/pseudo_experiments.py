"""Pseudo-experiments of a search: toys of the background that are scanned as the data were.

Toys are drawn from the background-only fits of the data, and every mass is tested in the selection, fit range and
function that it was tested with in the data. Trainings and the choices of the fit are not repeated.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from analysis.batched import q0_scan
from analysis.fit import BackgroundFit
from analysis.joint_toys import Overlaps, draw
from analysis.results import ScanResult
from analysis.signal_template import SignalTemplate
from data.errors import FitError, InputError
from data.types import BoolArray, FloatArray

_LARGEST = 1e12
"""Events in a bin that no background has."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Masses tested on one background.

    Attributes
    ----------
    background
        Its fit to the data: range and function.
    masses
        In GeV, ascending.
    templates
        Of the signal, one a mass, in the bins of the range.
    """

    background: BackgroundFit
    masses: tuple[float, ...]
    templates: tuple[SignalTemplate, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class ScannedSelection:
    """One selection's spectrum and the masses that are tested on it.

    Attributes
    ----------
    name
        Of the selection.
    parts
        Its masses, grouped by the background that they were tested on.
    left_out
        Masses that were not valid, in GeV.
    """

    name: str
    parts: tuple[Part, ...]
    left_out: tuple[float, ...] = ()

    @classmethod
    def from_scan(cls, name: str, result: ScanResult) -> "ScannedSelection":
        """The tests of a scan, to be repeated on toys.

        Parameters
        ----------
        name
            Of the selection.
        result
            A scan of its spectrum.

        Raises
        ------
        FitError
            If no mass of it is valid.
        """
        groups: dict[int, list[tuple[float, SignalTemplate, BackgroundFit]]] = {}
        for point in sorted(result.points, key=lambda point: point.mass):
            if point.background is not None and point.test is not None:
                known = (point.mass, point.test.signal, point.background)
                groups.setdefault(id(point.background), []).append(known)
        if not groups:
            why = f" ({result.points[0].message})" if result.points else ""
            msg = (
                f"selection '{name}': no mass is valid, so there is no scan to repeat on toys; change the fit range or the "
                f"functions{why}"
            )
            raise FitError(msg)
        parts = tuple(
            Part(group[0][2], tuple(mass for mass, _, _ in group), tuple(signal for _, signal, _ in group))
            for group in groups.values()
        )
        return cls(name, parts, tuple(point.mass for point in result.points if not point.valid))

    @property
    def masses(self) -> FloatArray:
        """Tested masses in GeV, part by part."""
        return np.array([mass for part in self.parts for mass in part.masses])

    @cached_property
    def observed(self) -> FloatArray:
        """q₀ of the data at every mass, by the same fits as the toys'.

        Raises
        ------
        FitError
            If one of the fits does not converge.
        """
        found = []
        for part in self.parts:
            counts = part.background.spectrum.counts[None, :].astype(np.float64)
            best = q0_scan(counts, part.background, part.templates)
            if not best.converged.all():
                mass = part.masses[int(np.flatnonzero(~best.converged[0])[0])]
                msg = (
                    f"selection '{self.name}': the fit at {mass:g} GeV does not converge; leave this mass out"
                )
                raise FitError(msg)
            found.append(best.q0[0])
        return np.concatenate(found)

    @cached_property
    def generating(self) -> BackgroundFit:
        """The background that toys are drawn from: that of the mass with the largest q₀."""
        at = int(np.argmax(self.observed))
        sizes = np.cumsum([len(part.masses) for part in self.parts])
        return self.parts[int(np.searchsorted(sizes, at, side="right"))].background


@dataclasses.dataclass(frozen=True, eq=False)
class ToyScans:
    """Scans of pseudo-experiments.

    Attributes
    ----------
    q0
        Test statistics, shape (toys, masses): those of the first selection, then those of the next.
    converged
        Whether every fit of a toy in a selection converged, shape (toys, selections).
    """

    q0: FloatArray
    converged: BoolArray


def scan_toys(
    selections: Sequence[ScannedSelection],
    n_toys: int,
    seed: int,
    *,
    shared: Overlaps | None = None,
    workers: int = 1,
) -> ToyScans:
    """Draw toys of the selections and scan them.

    Parameters
    ----------
    selections
        What is tested.
    n_toys
        Pseudo-experiments.
    seed
        Of their random numbers.
    shared
        Events of the data by the set of selections that they pass, of these selections at least; None: independent toys.
    workers
        Threads; results do not depend on it.

    Raises
    ------
    InputError
        If the selections are not in the same bins, or ``shared`` does not know one of them.
    """
    edges = _common_edges(selections)
    expected = np.stack([_expectation(selection, edges) for selection in selections])
    overlaps = None if shared is None else shared.among([selection.name for selection in selections])
    q0, converged = [], []
    for counts in draw(expected, n_toys, seed, overlaps):
        values, good = [], np.ones((counts.shape[1], len(selections)), dtype=np.bool_)
        for number, (selection, toys) in enumerate(zip(selections, counts, strict=True)):
            for part in selection.parts:
                start = int(np.searchsorted(edges, part.background.spectrum.lo))
                inside = toys[:, start : start + part.background.spectrum.counts.size]
                best = q0_scan(inside.astype(np.float64), part.background, part.templates, workers=workers)
                values.append(best.q0)
                good[:, number] &= best.converged.all(axis=1)
        q0.append(np.concatenate(values, axis=1))
        converged.append(good)
    return ToyScans(np.concatenate(q0), np.concatenate(converged))


def _common_edges(selections: Sequence[ScannedSelection]) -> FloatArray:
    """Edges that hold those of all fit ranges."""
    ranges = [part.background.spectrum.edges for selection in selections for part in selection.parts]
    edges = np.unique(np.concatenate(ranges))
    for own in ranges:
        start = int(np.searchsorted(edges, own[0]))
        if not np.array_equal(edges[start : start + own.size], own):
            msg = "pseudo-experiments: the selections are not in the same bins; histogram them with the same edges"
            raise InputError(msg)
    return edges


def _expectation(selection: ScannedSelection, edges: FloatArray) -> FloatArray:
    """Expected background in the bins that a selection is tested in, of its fit and continued by its function; else 0."""
    fit = selection.generating
    own = np.concatenate([part.background.spectrum.edges for part in selection.parts])
    start, stop = (int(place) for place in np.searchsorted(edges, [own.min(), own.max()]))
    expected = np.zeros(edges.size - 1)
    expected[start:stop] = fit.model.expected_in(edges[start : stop + 1], fit.minimum.theta)
    if not (expected < _LARGEST).all():
        msg = f"{fit.function}: it cannot be continued to {edges[start]:g}–{edges[stop]:g} GeV; fit all masses in one range"
        raise FitError(msg)
    return expected
