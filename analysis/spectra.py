"""The spectra of a run, and what those of simulated signals say: shape and efficiency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.config import Config
from analysis.fit_ranges import fit_ends
from analysis.signal_fit import fit_signal_shape
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import InputError
from data.samples import Sample
from data.types import FloatArray
from processors.schema import NOMINAL
from processors.scorers import INCLUSIVE

_FB_PER_PB = 1000.0


@dataclass(frozen=True)
class Spectra:
    """The dijet mass spectra of a run, by sample and selection.

    Attributes
    ----------
    histograms
        Sample name to its histogram ``mjj`` of pass 2.
    region
        The region that is searched.
    """

    histograms: Mapping[str, Any]
    region: str = "signal"

    @property
    def edges(self) -> FloatArray:
        """Bin edges in GeV."""
        return np.asarray(next(iter(self.histograms.values())).axes["mjj"].edges, dtype=np.float64)

    def variations(self, sample: Sample) -> tuple[str, ...]:
        """Names of the systematic variations of a sample, ``nominal`` among them."""
        return tuple(self.histograms[sample.name].axes["variation"])

    def contents(
        self, sample: Sample, selection: str, variation: str = NOMINAL
    ) -> tuple[FloatArray, FloatArray]:
        """Spectrum of a sample in the region that is searched.

        Parameters
        ----------
        sample
            The sample.
        selection
            Label of the selection, ``inclusive`` for all events.
        variation
            Name of the systematic variation.

        Returns
        -------
        values, variances : FloatArray
            Σw and Σw² a bin, shape (n,) each.

        Raises
        ------
        InputError
            If the histogram has no such selection or variation, or events below its first or above its last edge, which
            no fit would see.
        """
        histogram = self.histograms[sample.name]
        labels = {
            "process": sample.process,
            "selection": selection,
            "region": self.region,
            "variation": variation,
        }
        for axis, label in labels.items():
            if label not in list(histogram.axes[axis]):
                msg = f"histograms/{sample.name}.h5: no {axis} '{label}'; run `oddjet hist` again"
                raise InputError(msg)
        view: Any = histogram[labels].view(flow=True)
        if view["value"][[0, -1]].any():
            low, high = self.edges[[0, -1]]
            msg = f"sample '{sample.name}', selection '{selection}': events outside {low:g}–{high:g} GeV; check mjj"
            raise InputError(msg)
        return np.asarray(view["value"][1:-1]), np.asarray(view["variance"][1:-1])

    def spectrum(self, sample: Sample, selection: str) -> Spectrum:
        """Counts of a sample of weight 1.

        Parameters
        ----------
        sample
            The sample, of data or mock data.
        selection
            Label of the selection.

        Returns
        -------
        Spectrum
            In all bins of the histogram.

        Raises
        ------
        InputError
            As `contents`, or if its contents are no counts.
        """
        return Spectrum(self.edges, self.contents(sample, selection)[0])


def signal_model(spectra: Spectra, signals: list[Sample]) -> SignalModel:
    """Double Crystal Ball shapes fitted to the inclusive spectra of the simulated signals.

    Parameters
    ----------
    spectra
        Spectra of the run.
    signals
        One sample a resonance mass; the generic shape is used where there is none.

    Raises
    ------
    FitError
        If a shape cannot be fitted.
    """
    if not signals:
        return SignalModel.generic()
    return SignalModel.fitted(
        fit_signal_shape(spectra.edges, *spectra.contents(sample, INCLUSIVE), resonance_mass(sample))
        for sample in signals
    )


def signal_efficiencies(
    spectra: Spectra,
    signals: list[Sample],
    selection: str,
    masses: list[float],
    spectrum: Spectrum,
    config: Config,
) -> dict[float, float]:
    """Signal efficiency (selected and inside the fit range, of all generated) at each mass.

    Parameters
    ----------
    spectra, signals, selection
        Where the simulated spectra are.
    masses
        Resonance masses in GeV.
    spectrum
        The data that are fitted; with the mass it fixes the fit range.
    config
        The run's configuration.

    Returns
    -------
    dict
        Mass to efficiency, linear between simulated masses; masses outside them are left out.
    """
    simulated = sorted(signals, key=resonance_mass)
    known = [resonance_mass(sample) for sample in simulated]
    found = {}
    for mass in masses:
        if not known or not known[0] <= mass <= known[-1]:
            continue
        lo, hi = fit_ends(spectrum, mass, config.scan)
        inside = (spectra.edges[:-1] >= lo) & (spectra.edges[1:] <= hi)
        efficiencies = [
            float(spectra.contents(sample, selection)[0][inside].sum()) / expected_events(sample)
            for sample in simulated
        ]
        found[mass] = float(np.interp(mass, known, efficiencies))
    return found


def expected_events(sample: Sample) -> float:
    """Events of a simulated sample before any selection, σ·L: what its weights sum to.

    Parameters
    ----------
    sample
        The sample.

    Returns
    -------
    float
        Events.

    Raises
    ------
    InputError
        If the sample's definition has no cross section.
    """
    if sample.cross_section_pb is None:
        msg = f"sample '{sample.name}' has no 'cross_section_pb'; add it to the sample definition"
        raise InputError(msg)
    return sample.cross_section_pb * _FB_PER_PB * sample.luminosity()


def resonance_mass(sample: Sample) -> float:
    """Resonance mass of a simulated signal.

    Parameters
    ----------
    sample
        The sample.

    Returns
    -------
    float
        In GeV.

    Raises
    ------
    InputError
        If the sample's definition has none.
    """
    if sample.mass is None:
        msg = f"signal sample '{sample.name}' has no 'mass'; add the resonance mass in GeV to the sample definition"
        raise InputError(msg)
    return sample.mass
