r"""BumpHunter: the most significant local excess of counts over a smooth background, wherever and however wide.

In every window of neighbouring bins d events are counted and b expected. Where d > b the window's p-value is that of
a Poisson count, P(N ≥ d | b) = Γ(d, b); the test statistic is t = −ln of the smallest of them, and pseudo-experiments
give its global p-value (G. Choudalakis, arXiv:1101.0390, section 2). Windows beside which the data are off as well are
no bumps: both side bands, max(1, w // 2) bins wide for a window of w bins, must have a p-value above 10⁻³ (excess or
deficit); at the ends of the spectrum they are cut short, and an empty one forbids nothing.
"""

import dataclasses
import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from analysis.batched import BatchedFits
from analysis.fit import BackgroundFit
from analysis.global_pvalue import GlobalPValue, count_above
from analysis.joint_toys import draw
from analysis.kernels.bump_scan import scan_sets
from analysis.spectrum import sum_between
from data.errors import InputError
from data.sections import Section
from data.types import FloatArray, IntArray

SIDE_BAND_P = 1e-3
"""p-value that both side bands must exceed."""


class BumpHunterConfig(Section):
    """Which windows BumpHunter looks at, and how it makes pseudo-experiments.

    Parameters
    ----------
    min_width, max_width
        Widths of the windows in bins; up to half of the bins if ``max_width`` is None.
    width_step
        Bins by which the width grows.
    scan_step
        Bins by which a window moves; ``full``: its width, ``half``: half of it.
    side_bands
        Ask that the data beside a window agree with the background.
    refit
        Fit the background of every pseudo-experiment, as that of the data was; else it stays as it is.
    """

    min_width: int = pydantic.Field(default=1, ge=1)
    max_width: int | None = pydantic.Field(default=None, ge=1)
    width_step: int = pydantic.Field(default=1, ge=1)
    scan_step: Literal["full", "half"] | int = 1
    side_bands: bool = True
    refit: bool = True

    @pydantic.field_validator("scan_step")
    @classmethod
    def _moves(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            msg = "give at least one bin, or 'full' or 'half' of the window"
            raise ValueError(msg)
        return value

    def windows(self, n_bins: int) -> tuple[IntArray, IntArray]:
        """Windows that are looked at.

        Parameters
        ----------
        n_bins
            Bins of the spectrum.

        Returns
        -------
        widths, steps
            Shape (n_widths,): widths of the windows, and the steps by which they move, in bins.

        Raises
        ------
        InputError
            If no window fits into the bins.
        """
        widest = max(1, n_bins // 2) if self.max_width is None else self.max_width
        widths = np.arange(self.min_width, min(widest, n_bins) + 1, self.width_step, dtype=np.int64)
        if widths.size == 0:
            msg = (
                f"BumpHunter: no window of {self.min_width} to {widest} bins fits into {n_bins} bins; "
                "lower min_width, or give a wider range or finer coarse_edges"
            )
            raise InputError(msg)
        if isinstance(self.scan_step, int):
            return widths, np.full(widths.size, self.scan_step, dtype=np.int64)
        return widths, widths if self.scan_step == "full" else np.maximum(widths // 2, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Bumps:
    """The most significant window of each set of counts.

    Attributes
    ----------
    t
        −ln of its p-value; 0 where no window has an excess. Shape (sets,).
    first, width
        Its first bin and number of bins (0 where there is none), shape (sets,).
    """

    t: FloatArray
    first: IntArray
    width: IntArray


def find_bumps(
    counts: npt.NDArray[Any], expected: FloatArray, config: BumpHunterConfig | None = None
) -> Bumps:
    """Scan sets of counts for their most significant window.

    Parameters
    ----------
    counts
        Events a bin, whole numbers ≥ 0, shape (n,) or (sets, n).
    expected
        Background a bin, shape (n,), or (sets, n) where every set has its own.
    config
        Windows and side bands; defaults if None.

    Returns
    -------
    Bumps
        Of windows with equal p-values the narrowest, then the lowest.

    Raises
    ------
    InputError
        If the shapes differ, a count is no whole number or an expectation not positive.
    """
    config = config or BumpHunterConfig()
    observed = np.atleast_2d(np.asarray(counts, dtype=np.float64))
    background = np.atleast_2d(np.asarray(expected, dtype=np.float64))
    if background.shape[1] != observed.shape[1] or len(background) not in {1, len(observed)}:
        msg = (
            f"BumpHunter: counts of shape {observed.shape} and background of shape {background.shape} do not match; give "
            "both for the same bins"
        )
        raise InputError(msg)
    if not (np.isfinite(observed).all() and (observed >= 0).all() and (observed == np.floor(observed)).all()):
        msg = "BumpHunter: counts must be whole numbers of 0 or more"
        raise InputError(msg)
    bad = np.flatnonzero(~(np.isfinite(background) & (background > 0)).all(axis=0))
    if bad.size:
        msg = f"BumpHunter: the background of bin {bad[0]} is not a positive number; merge bins or shorten the range"
        raise InputError(msg)
    widths, steps = config.windows(observed.shape[1])
    log_veto = math.log(SIDE_BAND_P) if config.side_bands else -math.inf
    t = np.zeros(len(observed))
    first, width = np.zeros((2, len(observed)), dtype=np.int64)
    scan_sets(observed, background, widths, steps, log_veto, t, first, width)
    return Bumps(t, first, width)


@dataclasses.dataclass(frozen=True)
class BumpHunt:
    """The most significant bump of a spectrum.

    Attributes
    ----------
    t
        −ln of its p-value; 0 where no window has an excess.
    lo, hi
        Its window in GeV; None where there is none.
    observed, expected
        Events and background in it.
    function
        Background function that was fitted.
    counted
        Global p-value by pseudo-experiments; None if there were none.
    refitted
        Whether their background was fitted again.
    side_bands
        Whether the data beside it had to agree with the background.
    """

    t: float
    lo: float | None
    hi: float | None
    observed: int
    expected: float
    function: str
    counted: GlobalPValue | None
    refitted: bool
    side_bands: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the entry ``bumphunter`` of results."""
        counted = self.counted
        return {
            "t": self.t,
            "lo": self.lo,
            "hi": self.hi,
            "observed": self.observed,
            "expected": self.expected,
            "function": self.function,
            "p_global": None if counted is None else counted.p,
            "p_global_error": None if counted is None else counted.error,
            "n_toys": 0 if counted is None else counted.n_toys,
            "n_failed": 0 if counted is None else counted.n_failed,
            "refitted": self.refitted,
            "side_bands": self.side_bands,
        }


def hunt(
    background: BackgroundFit,
    n_toys: int,
    seed: int,
    *,
    options: BumpHunterConfig | None = None,
    workers: int = 1,
) -> BumpHunt:
    """Look for the most significant bump over a background fit.

    Parameters
    ----------
    background
        Fit to the data; the coarse edges of its spectrum, snapped to its bins but not merged, bound the windows.
    n_toys
        Pseudo-experiments; 0 for none.
    seed
        Of their random numbers.
    options
        Windows, side bands, refit; defaults if None.
    workers
        Threads; results do not depend on it.

    Raises
    ------
    InputError
        If there are too few coarse bins for any window.
    FitError
        If more than 2 % of the pseudo-experiments fail.
    """
    options = options or BumpHunterConfig()
    index = background.spectrum.merged_edges(0)
    edges = background.spectrum.edges[index]
    counts, expected = (
        sum_between(values, index) for values in (background.spectrum.counts, background.expected)
    )
    found = find_bumps(counts, expected, options)
    first, width = int(found.first[0]), int(found.width[0])
    counted = _pseudo_experiments(background, index, float(found.t[0]), n_toys, seed, options, workers)
    inside = slice(first, first + width)
    return BumpHunt(
        t=float(found.t[0]),
        lo=float(edges[first]) if width else None,
        hi=float(edges[first + width]) if width else None,
        observed=int(counts[inside].sum()),
        expected=float(expected[inside].sum()),
        function=background.function,
        counted=counted,
        refitted=options.refit,
        side_bands=options.side_bands,
    )


def _pseudo_experiments(
    background: BackgroundFit,
    index: IntArray,
    observed: float,
    n_toys: int,
    seed: int,
    options: BumpHunterConfig,
    workers: int,
) -> GlobalPValue | None:
    if n_toys == 0:
        return None
    known = sum_between(background.expected, index)
    if not options.refit:
        toys = (find_bumps(counts, known, options).t for (counts,) in draw(known[None], n_toys, seed))
        return count_above(observed, np.concatenate([*toys]), 0, "BumpHunter")
    found, failed = [], 0
    for (counts,) in draw(background.expected[None], n_toys, seed):
        fits = BatchedFits(counts, background.model, background.minimum.theta, workers=workers)
        good = fits.converged
        expected = sum_between(background.model.expected(fits.theta[good]).T, index).T
        found.append(find_bumps(sum_between(counts[good].T, index).T, expected, options).t)
        failed += int(np.count_nonzero(~good))
    return count_above(observed, np.concatenate(found), failed, "BumpHunter")
