"""The look-elsewhere effect by pseudo-experiments: how often the largest excess of a scan is as large by chance.

The global p-value is the fraction of toys (`analysis.pseudo_experiments`) whose smallest local p-value anywhere is not
larger than that of the data, i.e. whose largest q₀ is not smaller; beside it stands the bound of Gross and Vitells from
the up-crossings in the same toys.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from analysis.global_pvalue import GlobalPValue, count_above
from analysis.gross_vitells import GrossVitells, gross_vitells, window_crossings
from analysis.joint_toys import Overlaps
from analysis.pseudo_experiments import ScannedSelection, ToyScans, scan_toys
from analysis.results import ScanResult
from analysis.scan import scan
from analysis.scan_config import ScanConfig
from analysis.signal_template import Signal
from analysis.spectrum import Spectrum
from data.errors import InputError
from data.types import FloatArray

Correlation = Literal["one selection", "independent", "shared events"]


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalSignificance:
    """Significance of the largest excess of a scan, over all that was looked at.

    Attributes
    ----------
    max_z
        Largest local significance.
    mass
        Where, in GeV.
    selection
        In which selection.
    counted
        The p-value by pseudo-experiments; None if there were none.
    gross_vitells
        Beside it that of Gross and Vitells, from the same toys, or from the one scan of the data if there were none.
    correlation
        How toys of several selections were drawn.
    left_out
        Masses in GeV that were not valid in the data and are in no scan.
    message
        Which these are, and why.
    """

    max_z: float
    mass: float
    selection: str
    counted: GlobalPValue | None
    gross_vitells: GrossVitells
    correlation: Correlation
    left_out: tuple[float, ...] = ()
    message: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the entry ``global`` of results."""
        counted, bound = self.counted, self.gross_vitells
        return {
            "max_z": self.max_z,
            "mass": self.mass,
            "selection": self.selection,
            "p_global": None if counted is None else counted.p,
            "p_global_error": None if counted is None else counted.error,
            "p_global_interval": None if counted is None else list(counted.interval),
            "z_global": None if counted is None else counted.z,
            "z_global_is_bound": counted is not None and counted.z_is_bound,
            "n_toys": 0 if counted is None else counted.n_toys,
            "n_failed": 0 if counted is None else counted.n_failed,
            "correlation": self.correlation,
            "gross_vitells": bound.p_global,
            "gross_vitells_error": bound.p_global_error,
            "gross_vitells_message": bound.message,
            "masses_left_out": list(self.left_out),
        }


def global_significance(
    spectrum: Spectrum,
    signal: Signal | None,
    config: ScanConfig,
    grid: Iterable[float],
    n_toys: int,
    seed: int,
    workers: int = 1,
) -> GlobalSignificance:
    """Global significance of one spectrum over a grid of masses.

    Parameters
    ----------
    spectrum, signal, config
        As for `analysis.scan.scan`; limits and cross-checks are not repeated.
    grid
        Masses in GeV.
    n_toys
        Pseudo-experiments; 0: Gross–Vitells from the one scan of the data only.
    seed
        Of their random numbers.
    workers
        Threads; results do not depend on it.

    Returns
    -------
    GlobalSignificance
        Of the largest excess on the grid.

    Raises
    ------
    InputError
        If a mass lies outside the spectrum, or there are too few events for any fit.
    FitError
        If no mass is valid in the data, or too many pseudo-experiments fail.
    """
    quick = config.model_copy(update={"limits": False, "minuit": False})
    scanned = scan(spectrum, grid, signal, quick)
    tested = ScannedSelection.from_scan("spectrum", scanned)
    found = stitched_significance([tested], n_toys, seed, workers=workers)
    return dataclasses.replace(found, message=_left_out(scanned))


def _left_out(scanned: ScanResult) -> str | None:
    """Which masses are missing, and why; one reason after the other."""
    by_reason: dict[str, list[str]] = {}
    for point in scanned.points:
        if not point.valid:
            reason = str(point.message).removeprefix(f"mass {point.mass:g} GeV: ")
            by_reason.setdefault(reason, []).append(f"{point.mass:g}")
    if not by_reason:
        return None
    reasons = "; ".join(f"{', '.join(masses)} GeV: {reason}" for reason, masses in by_reason.items())
    missing = sum(map(len, by_reason.values()))
    return f"global significance: {missing} of {len(scanned.points)} masses are left out ({reasons})"


def stitched_significance(
    selections: Sequence[ScannedSelection],
    n_toys: int,
    seed: int,
    *,
    shared: Overlaps | None = None,
    workers: int = 1,
) -> GlobalSignificance:
    """Global significance over several selections, as windows that each test masses of their own.

    Parameters
    ----------
    selections, n_toys, seed, shared, workers
        As for `scan_toys`; 0 toys: Gross–Vitells from the one scan of the data only. Without ``shared`` the selections
        fluctuate independently.

    Returns
    -------
    GlobalSignificance
        Of the largest excess in any of the selections.

    Raises
    ------
    InputError
        See `scan_toys`.
    FitError
        If a fit to the data fails, or too many pseudo-experiments do.
    """
    toys = scan_toys(selections, n_toys, seed, shared=shared, workers=workers) if n_toys > 0 else None
    return _significance(selections, toys, shared_events=shared is not None)


def _significance(
    selections: Sequence[ScannedSelection], toys: ToyScans | None, *, shared_events: bool
) -> GlobalSignificance:
    """The largest excess in selections, compared with their toys."""
    at = [(tested.name, mass) for tested in selections for mass in tested.masses.tolist()]
    windows = np.repeat(
        np.arange(len(selections), dtype=np.int64), [tested.masses.size for tested in selections]
    )
    observed = np.concatenate([tested.observed for tested in selections])
    best = int(np.argmax(observed))
    scans, counted = observed[None, :], None
    if toys is not None:
        good = toys.converged.all(axis=1)
        scans = toys.q0[good]
        largest = scans.max(axis=1)
        counted = count_above(
            float(observed[best]), largest, int(np.count_nonzero(~good)), "global significance"
        )
    z = float(np.sqrt(observed[best]))
    crossings = window_crossings(_by_mass(scans, selections), windows)
    correlation: Correlation = "shared events" if shared_events else "independent"
    return GlobalSignificance(
        z, at[best][1], at[best][0], counted, gross_vitells(z, crossings, n_windows=len(selections)),
        "one selection" if len(selections) == 1 else correlation,
        tuple(mass for tested in selections for mass in tested.left_out),
    )  # fmt: skip


def _by_mass(q0: FloatArray, selections: Sequence[ScannedSelection]) -> FloatArray:
    """Columns of each selection in the order of its masses: parts may interleave."""
    order, start = [], 0
    for tested in selections:
        order.append(start + np.argsort(tested.masses, kind="stable"))
        start += tested.masses.size
    return np.asarray(q0[..., np.concatenate(order)])


@dataclasses.dataclass(frozen=True, eq=False)
class MethodsSignificance:
    """Global significance of the largest excess that any of several methods found.

    Attributes
    ----------
    method
        The one that found it.
    overall
        The significance over all methods.
    single
        The significance of each method's own largest excess, over its own masses and windows.
    """

    method: str
    overall: GlobalSignificance
    single: dict[str, GlobalSignificance]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self.overall.to_dict() | {"method": self.method, "methods": list(self.single)}


def methods_significance(
    methods: Mapping[str, Sequence[ScannedSelection]],
    n_toys: int,
    seed: int,
    *,
    shared: Overlaps | None = None,
    workers: int = 1,
) -> MethodsSignificance:
    """Global significance of the largest excess over several methods, and that of each method's own.

    Parameters
    ----------
    methods
        Name of a method to its selections; names of selections differ between methods.
    n_toys, seed, shared, workers
        As for `stitched_significance`.

    Returns
    -------
    MethodsSignificance
        Over all methods, and of each.

    Raises
    ------
    InputError
        If there is no method, or see `scan_toys`.
    FitError
        If a fit to the data fails, or too many pseudo-experiments do.
    """
    if not methods:
        msg = "global significance: there are no methods to compare; give one at least"
        raise InputError(msg)
    everything = [tested for selections in methods.values() for tested in selections]
    toys = scan_toys(everything, n_toys, seed, shared=shared, workers=workers) if n_toys > 0 else None
    share = shared is not None
    overall = _significance(everything, toys, shared_events=share)
    single = {}
    first_row, first_column = 0, 0
    for name, selections in methods.items():
        rows = slice(first_row, first_row + len(selections))
        columns = slice(first_column, first_column + sum(tested.masses.size for tested in selections))
        first_row, first_column = rows.stop, columns.stop
        own = None if toys is None else ToyScans(toys.q0[:, columns], toys.converged[:, rows])
        single[name] = _significance(selections, own, shared_events=share)
    best = max(methods, key=lambda name: single[name].max_z)
    return MethodsSignificance(best, overall, single)
