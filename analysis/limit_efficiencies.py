"""Efficiencies of a selection against the injected cross section, and the injection at which its limit is best."""

from dataclasses import dataclass

import numpy as np

from analysis.efficiency_curve import EfficiencyCurve
from analysis.fit_ranges import fit_range
from analysis.limit_study import EDGES, StudyRecord, padded
from analysis.retraining_limits import GridLimits, grid_limits, reach
from analysis.run import Run
from analysis.run_systematics import UncertainSignal
from analysis.scan import MassResult, ScanConfig, scan
from analysis.spectra import Spectra, signal_model
from analysis.spectrum import Spectrum
from data.errors import InputError
from data.sections import Section
from data.types import FloatArray
from processors.histogram_io import read_histograms
from processors.scorers import INCLUSIVE

_MEDIAN = 2


@dataclass(frozen=True, eq=False)
class Efficiencies:
    """Efficiencies against the injected cross section.

    Attributes
    ----------
    cross_sections
        Injected, fb, shape (n,).
    each
        Of each training, shape (n, trainings).
    mean, error, spread
        Of the trainings: mean, its standard error, standard deviation of one training; shape (n,).
    """

    cross_sections: FloatArray
    each: FloatArray
    mean: FloatArray
    error: FloatArray
    spread: FloatArray

    def relative_spread(self, cross_section: float) -> float:
        """Standard deviation of one training over the mean.

        Parameters
        ----------
        cross_section
            Injected, fb; beyond the injections the nearest one's value is taken.

        Returns
        -------
        float
            Relative; 1 where nothing is selected.
        """
        mean, spread = (
            float(np.interp(cross_section, self.cross_sections, values))
            for values in (self.mean, self.spread)
        )
        return spread / mean if mean > 0 else 1.0

    def curve(self) -> EfficiencyCurve:
        """The monotone curve through them."""
        return EfficiencyCurve.fit(self.cross_sections, self.mean, self.error)

    def grid(self, reach_fb: float) -> GridLimits:
        """The published rule on the injections.

        Parameters
        ----------
        reach_fb
            See `analysis.retraining_limits.reach`.

        Returns
        -------
        GridLimits
            In fb.
        """
        return grid_limits(self.cross_sections, self.mean, reach_fb)


def range_of_fit(record: StudyRecord, config: ScanConfig) -> tuple[float, float]:
    """Range of the fit to the data without an injection.

    Parameters
    ----------
    record
        Spectra of the injections, of the data without one, and the mass.
    config
        How to fit.

    Returns
    -------
    tuple of float
        Ends in GeV; the whole histogram where nothing can be fitted.
    """
    try:
        part = fit_range(record.spectrum(), record.mass, config)
    except InputError:
        return float(EDGES[0]), float(EDGES[-1])
    return part.lo, part.hi


def efficiencies(record: StudyRecord, config: ScanConfig) -> Efficiencies:
    """Efficiencies inside the fit range, from the injections.

    Parameters
    ----------
    record
        Spectra of the injections.
    config
        How to fit.

    Returns
    -------
    Efficiencies
        One entry a cross section, ascending.
    """
    low, high = (int(place) for place in np.searchsorted(EDGES, range_of_fit(record, config)))
    sigma = np.unique([injection.cross_section_fb for injection in record.injections])
    each = np.array([padded(injection.kept)[low:high].sum() for injection in record.injections])
    each = np.minimum(each, 1.0).reshape(sigma.size, -1)  # a sum of shares may be above one by rounding
    mean, trainings = each.mean(axis=1), each.shape[1]
    # Few trainings tell their variance badly: each injection shares those of its neighbours.
    variance = each.var(axis=1, ddof=1)
    near = np.convolve(variance, np.ones(3), "same") / np.convolve(np.ones(sigma.size), np.ones(3), "same")
    # One event more on both sides, so that no event selected is not known exactly.
    share = (mean * record.effective_events + 1) / (record.effective_events + 2)
    error = np.sqrt(near / trainings + share * (1 - share) / record.effective_events)
    return Efficiencies(sigma, each, mean, error, np.sqrt(near))


def tested(spectrum: Spectrum, mass: float, signal: UncertainSignal, config: ScanConfig) -> MassResult:
    """Test of a mass; not valid where a selection leaves too few events for any fit.

    Parameters
    ----------
    spectrum
        Counts in fine bins.
    mass
        In GeV.
    signal
        Its shape and uncertainties.
    config
        How to fit.

    Returns
    -------
    MassResult
        Its message says why it is not valid.
    """
    return scan(spectrum, [mass], signal, config).points[0]


def without_nuisances(config: ScanConfig) -> ScanConfig:
    """Options of fits with limits and without uncertainties of the signal."""
    return config.model_copy(update={"limits": True, "nuisances": False})


def spectra_of(run: Run) -> Spectra:
    """The spectra of all samples of a run."""
    histograms = {name: read_histograms(run.root / "histograms" / f"{name}.h5")["mjj"] for name in run.filled}
    return Spectra(histograms, run.config.selection.region)


class BestInjection(Section):
    """Where the expected limit of a method is best, and so where its uncertainties are found.

    Parameters
    ----------
    cross_section_fb
        Injected; null where nothing is to be trained again.
    fit_range
        Ends in GeV of the fit, inside which signal counts.
    message
        Why nothing is trained again, or null.
    """

    cross_section_fb: float | None
    fit_range: tuple[float, float]
    message: str | None


def best_injection(run: Run, signal: str, method: str) -> BestInjection:
    """The injection of the best expected limit, by the published rule with its tie-breaking.

    A method whose expected limit is worse than that of the whole spectrum is not trained again for its uncertainties
    (arXiv:2412.03747, appendix B).

    Parameters
    ----------
    run
        A run whose trainings with injected signals are done.
    signal, method
        A signal and a selection of its limits.

    Returns
    -------
    BestInjection
        Without a cross section, and with a reason, where nothing is to be trained again.
    """
    folder = run.root / "limits" / signal
    record, inclusive = (StudyRecord.read(folder / f"{name}.json") for name in (method, INCLUSIVE))
    config = run.config.scan
    ends = range_of_fit(record, config)

    def none(reason: str) -> BestInjection:
        return BestInjection(cross_section_fb=None, fit_range=ends, message=reason)

    if not record.retrained:
        return none("the selection is the same for any data")
    spectra = spectra_of(run)
    model = signal_model(spectra, [run.samples[name] for name in run.config.search.signals])
    excluded = [
        tested(one.spectrum(), one.mass, UncertainSignal(model), without_nuisances(config))
        for one in (record, inclusive)
    ]
    produced = run.data.luminosity() * record.acceptance
    if excluded[0].limit is None:
        return none(f"the data cannot be fitted: {excluded[0].message}")
    found = efficiencies(record, config)
    reach_fb = reach(excluded[0].limit.expected[_MEDIAN], produced, 1.0)
    grid = found.grid(reach_fb)
    if not grid.tie_injection or grid.tie is None:
        return none("no injection with a signal gives a limit")
    # The grid's limit may be worse by its own coarseness alone.
    limit = found.curve().crossing(reach_fb).value or grid.tie
    if excluded[1].limit is not None:
        whole = reach(excluded[1].limit.expected[_MEDIAN], produced, 1.0)
        share = float(efficiencies(inclusive, config).mean.mean())
        if limit * share > whole:
            return none(
                f"the expected limit, {limit:.3g} fb, is worse than {whole / share:.3g} fb without a selection"
            )
    return BestInjection(cross_section_fb=grid.tie_injection, fit_range=ends, message=None)
