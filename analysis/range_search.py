"""Search of the fit range: a range in which the background describes the data, by the rules of the CMS search."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from data.errors import FitError, InputError

_HIGH = 5000.0
"""Stop in GeV above which it falls in larger steps."""


@dataclass(frozen=True)
class RangeQuality:
    """How well fits describe the data in a range.

    Attributes
    ----------
    background_p, signal_p
        p-values of χ² of the background-only fit and of the fit with signal; None without a degree of freedom.
    uncertainty
        Relative uncertainty of the background at the tested mass.
    """

    background_p: float | None
    signal_p: float | None
    uncertainty: float


@dataclass(frozen=True)
class RangeRules:
    """When a range is poor and how it shrinks; the defaults are those of the CMS search (arXiv:2412.03747).

    Attributes
    ----------
    background_p, signal_p
        A range is poor where both p-values are below these, or
    uncertainty
        where the relative uncertainty at the mass is above this.
    first_start, first_stop
        Ends in GeV that are tried first, one after the other.
    start_step
        By which the start rises afterwards, in GeV.
    stop_step, stop_step_high
        By which the stop falls, in GeV: from 5 TeV and below, and above.
    start_distance, stop_distance
        The alternating steps are made while the ends are at least so far from the mass (GeV).
    last_distance
        The last steps, of the start alone, are made while it is at least so far from the mass (GeV).
    """

    background_p: float = 0.05
    signal_p: float = 0.01
    uncertainty: float = 0.15
    first_start: float = 1550.0
    first_stop: float = 6500.0
    start_step: float = 100.0
    stop_step: float = 200.0
    stop_step_high: float = 500.0
    start_distance: float = 400.0
    stop_distance: float = 500.0
    last_distance: float = 250.0

    def poor(self, quality: RangeQuality) -> bool:
        """Whether fits of this quality call for another range."""
        bad_background = quality.background_p is None or quality.background_p < self.background_p
        bad_signal = quality.signal_p is None or quality.signal_p < self.signal_p
        return (bad_background and bad_signal) or not quality.uncertainty <= self.uncertainty

    def ranges(self, lo: float, hi: float, mass: float) -> Iterator[tuple[float, float]]:
        """The ranges to try for a mass, in their order.

        Parameters
        ----------
        lo, hi
            Ends of the range to begin with, GeV.
        mass
            Tested, GeV.

        Yields
        ------
        tuple of float
            Ends in GeV.
        """
        yield lo, hi
        if lo < self.first_start <= mass - self.last_distance:
            lo = self.first_start
            yield lo, hi
        if hi > self.first_stop >= mass + self.stop_distance:
            hi = self.first_stop
            yield lo, hi
        moved = True
        while moved:
            moved = False
            if lo + self.start_distance <= mass:
                lo += self.start_step
                moved = True
                yield lo, hi
            step = self.stop_step_high if hi > _HIGH else self.stop_step
            if hi - self.stop_distance >= mass and hi - step > mass:
                hi -= step
                moved = True
                yield lo, hi
        while lo + self.last_distance <= mass:
            lo += self.start_step
            yield lo, hi


@dataclass(frozen=True)
class RangeStep:
    """A range that was tried.

    Attributes
    ----------
    lo, hi
        In GeV.
    quality
        None if the fits failed.
    message
        Why they failed, or None.
    """

    lo: float
    hi: float
    quality: RangeQuality | None
    message: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class RangeSearch:
    """Result of the search.

    Attributes
    ----------
    steps
        Every range that was tried; the last one is the choice.
    good
        The choice is not poor. If False no range satisfies the rules, and the mass must be marked so.
    """

    steps: tuple[RangeStep, ...]
    good: bool

    @property
    def lo(self) -> float:
        """Start of the choice in GeV."""
        return self.steps[-1].lo

    @property
    def hi(self) -> float:
        """Stop of the choice in GeV."""
        return self.steps[-1].hi


def search_range(
    lo: float,
    hi: float,
    mass: float,
    judge: Callable[[float, float], RangeQuality],
    *,
    rules: RangeRules | None = None,
) -> RangeSearch:
    """Shrink the fit range until the fits describe the data.

    Parameters
    ----------
    lo, hi
        The widest range in GeV, tried first.
    mass
        Tested mass in GeV.
    judge
        Fits in a range (lo, hi) and tells their quality; a `FitError` counts as poor.
    rules
        Those of the CMS search if None.

    Returns
    -------
    RangeSearch
        The first range that is not poor, or the last one tried, with all steps.

    Raises
    ------
    InputError
        If the mass lies outside the widest range.
    """
    if not lo < mass < hi:
        msg = f"mass {mass:g} GeV lies outside the fit range {lo:g}–{hi:g} GeV; choose masses inside or another range"
        raise InputError(msg)
    rules = rules or RangeRules()
    steps: list[RangeStep] = []
    for start, stop in rules.ranges(lo, hi, mass):
        try:
            quality = judge(start, stop)
        except FitError as error:
            steps.append(RangeStep(start, stop, None, str(error)))
            continue
        steps.append(RangeStep(start, stop, quality))
        if not rules.poor(quality):
            return RangeSearch(tuple(steps), good=True)
    return RangeSearch(tuple(steps), good=False)
