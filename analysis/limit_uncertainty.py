"""Relative uncertainty of a selected signal's yield in limits with retraining, source by source."""

from dataclasses import dataclass

import numpy as np

from analysis.limit_efficiencies import Efficiencies, tested
from analysis.limit_record import BackgroundCheck, LimitPoint, Uncertainties, UncertaintySource
from analysis.limit_study import EDGES, StudyRecord, padded
from analysis.retraining_run import RetrainingRecord, SelectedBackground
from analysis.run_systematics import UncertainSignal
from analysis.scan import ScanConfig
from analysis.spectrum import Spectrum
from analysis.systematics import RANDOM, STATISTICS, SourceShift, total


@dataclass(frozen=True)
class KnownUncertainties:
    """What is known of a signal's yield apart from the efficiencies.

    Attributes
    ----------
    common
        Sources that act on all selections alike: luminosity, and those given.
    before
        Those of the simulated signal before any method.
    retraining
        Those found with trainings at the best injection, or None.
    message
        Why there are no such trainings, or None.
    """

    common: tuple[SourceShift, ...]
    before: tuple[SourceShift, ...]
    retraining: RetrainingRecord | None = None
    message: str | None = None


def yield_uncertainties(
    known: KnownUncertainties,
    record: StudyRecord,
    found: Efficiencies,
    rough: LimitPoint,
    background: BackgroundCheck | None,
) -> Uncertainties:
    """All sources of the uncertainty of the selected yield.

    Parameters
    ----------
    known
        See there.
    record, found
        Injections of the selection and their efficiencies.
    rough
        Median expected limit without uncertainties; without trainings at the best injection the spread of one training
        and the size of the simulation are those there.
    background
        Of the trainings, for the record.

    Returns
    -------
    Uncertainties
        By source, and where they were found.
    """
    again = known.retraining
    at = rough.crossing_fb or rough.grid_tie_fb or float(found.cross_sections[-1])
    if again is not None:
        at = again.cross_section_fb
    mean = float(np.interp(at, found.cross_sections, found.mean))
    statistics = (mean * record.effective_events) ** -0.5 if mean > 0 else 1.0
    own = [SourceShift(STATISTICS, "statistics", statistics, -statistics)]
    if again is None and record.retrained:
        spread = found.relative_spread(at)
        own.append(SourceShift(RANDOM, "spread", spread, -spread))
    plain = [*(known.before if again is None else ()), *own, *known.common]
    return Uncertainties(
        injection_fb=None if again is None else again.cross_section_fb,
        message=known.message,
        sources=(
            *(again.sources if again is not None else ()),
            *(UncertaintySource(name=shift.name, up=shift.up, down=shift.down) for shift in plain),
        ),
        background=background,
    )


def total_downward(sources: tuple[UncertaintySource, ...]) -> float:
    """All downward shifts in quadrature: what enters the limits (arXiv:2412.03747, appendix B).

    Parameters
    ----------
    sources
        Of the yield.

    Returns
    -------
    float
        Relative, ≥ 0.
    """
    return total(SourceShift(one.name, "given", one.up, one.down) for one in sources).down


def background_check(
    selected: SelectedBackground | None, mass: float, signal: UncertainSignal, config: ScanConfig
) -> BackgroundCheck | None:
    """Significances at a mass in the simulated background that trainings with a signal select.

    Parameters
    ----------
    selected
        None where there is no simulated background.
    mass
        In GeV.
    signal
        Its shape.
    config
        How to fit.

    Returns
    -------
    BackgroundCheck or None
        One significance a training; None without simulated background.
    """
    if selected is None:
        return None
    quick = config.model_copy(update={"limits": False, "minuit": False})
    spectra = [Spectrum(EDGES, padded(counts)) for counts in selected.counts]
    return BackgroundCheck(
        effective_events=selected.effective_events,
        selected=selected.shares,
        z=tuple(tested(spectrum, mass, signal, quick).z for spectrum in spectra),
    )
