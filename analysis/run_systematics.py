"""Systematic uncertainties of the signal in a run: per selection and tested mass, for the limits and the report.

The trained methods stay as they are: each source changes what they select. Sources that would change what is learnt are
found and retrained by `analysis.retraining_systematics`.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.config import Config
from analysis.fit_ranges import fit_ends
from analysis.signal_histogram import HistogramSignal
from analysis.signal_shape import SignalModel
from analysis.signal_template import JER, JES, SignalTemplate
from analysis.spectra import Spectra, resonance_mass
from analysis.spectrum import Spectrum
from analysis.systematics import (
    LUMINOSITY,
    SourceShift,
    Total,
    given_shift,
    interpolated_shifts,
    source_shifts,
    statistical_shift,
    total,
)
from analysis.systematics_config import SystematicsConfig
from analysis.variation_sources import Source, sources_of
from data.errors import InputError
from data.samples import Sample, year
from data.types import BoolArray, FloatArray

_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class UncertainSignal:
    """A signal together with the uncertainties of a run: what the scan is given.

    Attributes
    ----------
    signal
        Its shape.
    jes, jer
        Relative uncertainties of the peak's place and width.
    norm
        Relative uncertainty of the yield by mass in GeV; 0 at a mass that is not in it.
    """

    signal: SignalModel | HistogramSignal
    jes: float = JES
    jer: float = JER
    norm: Mapping[float, float] = field(default_factory=dict)

    def template(self, mass: float, edges: FloatArray, *, nuisances: bool = False) -> SignalTemplate:
        """Fractions of the signal in bins, with these uncertainties if they are wanted.

        Parameters
        ----------
        mass
            In GeV.
        edges
            Of the bins in GeV, shape (n + 1,).
        nuisances
            Give the uncertainties too.

        Returns
        -------
        SignalTemplate
            Unit sum inside the edges.
        """
        if not nuisances:
            return self.signal.template(mass, edges)
        size = self.norm.get(mass, 0.0)
        return self.signal.template(
            mass, edges, nuisances=True, jes=self.jes, jer=self.jer, norm_uncertainty=size
        )

    def width(self, mass: float) -> float:
        """Width σ of the peak.

        Parameters
        ----------
        mass
            In GeV.

        Returns
        -------
        float
            In GeV.
        """
        return self.signal.width(mass)


@dataclass(frozen=True)
class MassShifts:
    """Uncertainties of the selected signal at one mass, in the fit range of that mass.

    Attributes
    ----------
    mass
        In GeV.
    signals
        The simulated signals that they are from.
    fit_ends
        Lowest and highest mass in GeV.
    shifts
        By source.
    """

    mass: float
    signals: tuple[str, ...]
    fit_ends: tuple[float, float]
    shifts: tuple[SourceShift, ...]

    @property
    def total(self) -> Total:
        """All sources in quadrature."""
        return total(self.shifts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``systematics.json``."""
        both = self.total
        return {
            "mass": self.mass,
            "signals": list(self.signals),
            "range": list(self.fit_ends),
            "down": both.down,
            "up": both.up,
            "sources": [shift.to_dict() for shift in self.shifts],
        }


@dataclass(frozen=True)
class SelectionSystematics:
    """Uncertainties of the signal in one selection.

    Attributes
    ----------
    masses
        At the tested masses, interpolated between the simulated ones; a mass at which no signal is selected is not in it.
    signals
        At the simulated masses that were interpolated, each in the fit range of the tested mass nearest to it.
    """

    masses: tuple[MassShifts, ...]
    signals: tuple[MassShifts, ...]

    @property
    def norm(self) -> dict[float, float]:
        """Relative uncertainty of the yield by tested mass: all shifts downwards in quadrature."""
        return {one.mass: one.total.down for one in self.masses}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``systematics.json``."""
        return {
            "masses": [one.to_dict() for one in self.masses],
            "signals": [one.to_dict() for one in self.signals],
        }


def common_shifts(config: SystematicsConfig, data: Sample) -> list[SourceShift]:
    """Uncertainties that all selections and masses share: luminosity, and those known from elsewhere."""
    given = {LUMINOSITY: luminosity_uncertainty(config, data), **config.further}
    return [given_shift(name, size) for name, size in given.items()]


def luminosity_uncertainty(config: SystematicsConfig, data: Sample) -> float:
    """Uncertainty of the luminosity: the configured one, else that of the data's year.

    Parameters
    ----------
    config
        The run's systematics.
    data
        The sample that is searched.

    Returns
    -------
    float
        Relative, at one standard deviation.
    """
    return year(data.year).luminosity_uncertainty if config.luminosity is None else config.luminosity


def configured_sources(variations: Collection[str], config: SystematicsConfig, what: str) -> list[Source]:
    """Sources of a signal, but for those that the configuration leaves out; what it names for other signals is passed over.

    Parameters
    ----------
    variations
        Their names.
    config
        What to leave out, and kinds of ensembles.
    what
        The signal, for messages.

    Raises
    ------
    InputError
        As `sources_of`.
    """
    there = {source.name for source in sources_of(variations, what=what)}
    return sources_of(
        variations,
        {name: kind for name, kind in config.ensembles.items() if name in there},
        [name for name in config.leave_out if name in there],
        what=what,
    )


def selection_systematics(
    spectra: Spectra,
    signals: Sequence[Sample],
    selection: str,
    masses: Sequence[float],
    spectrum: Spectrum,
    config: Config,
    data: Sample,
) -> SelectionSystematics:
    """Uncertainties of the signal in one selection of a run.

    Parameters
    ----------
    spectra, signals, selection
        Where the simulated spectra are; without signals there are only the uncertainties that all share.
    masses
        Tested masses in GeV; outside the simulated ones the uncertainties of the nearest are taken.
    spectrum
        The data that are fitted; with the mass it fixes the fit range.
    config
        The run's configuration.
    data
        The sample that is searched.

    Returns
    -------
    SelectionSystematics
        At the tested masses, and at the simulated ones.

    Raises
    ------
    InputError
        If a variation is missing, or limits with nuisances are asked for at a mass where no signal is selected.
    """
    shared = common_shifts(config.systematics, data)
    at_masses: list[MassShifts] = []
    at_signals: dict[str, tuple[float, MassShifts]] = {}
    for mass in masses:
        ends = fit_ends(spectrum, mass, config.scan)
        inside = (spectra.edges[:-1] >= ends[0]) & (spectra.edges[1:] <= ends[1])
        nearest = _neighbours(signals, mass)
        empty = [s.name for s in nearest if not spectra.contents(s, selection)[0][inside].sum() > 0]
        if empty:
            _nothing_selected(empty[0], selection, mass, nuisances=config.scan.nuisances)
            continue
        found = {
            resonance_mass(sample): _own_shifts(spectra, sample, selection, inside, config.systematics)
            for sample in nearest
        }
        own = interpolated_shifts(found, mass) if found else []
        names = tuple(sample.name for sample in nearest)
        at_masses.append(MassShifts(mass, names, ends, (*own, *shared)))
        for sample in nearest:
            there = resonance_mass(sample)
            distance = abs(mass - there)
            if sample.name not in at_signals or distance < at_signals[sample.name][0]:
                shifts = (*found[there], *shared)
                at_signals[sample.name] = (distance, MassShifts(there, (sample.name,), ends, shifts))
    by_mass = sorted((one for _, one in at_signals.values()), key=lambda one: one.mass)
    return SelectionSystematics(tuple(at_masses), tuple(by_mass))


def _neighbours(signals: Sequence[Sample], mass: float) -> list[Sample]:
    """The simulated signals below and above a mass, or the nearest one."""
    below = [sample for sample in signals if resonance_mass(sample) <= mass]
    above = [sample for sample in signals if resonance_mass(sample) > mass]
    found = [max(below, key=resonance_mass)] if below else []
    if above and not (found and resonance_mass(found[0]) == mass):
        found.append(min(above, key=resonance_mass))
    return found


def _nothing_selected(sample: str, selection: str, mass: float, *, nuisances: bool) -> None:
    what = f"selection '{selection}', {mass:g} GeV: nothing of signal '{sample}' is selected"
    if nuisances:
        msg = f"{what}, so it has no uncertainty; simulate more of it, or leave the mass, or scan.nuisances, out"
        raise InputError(msg)
    _LOG.warning("%s; its uncertainty is not known there", what)


def _own_shifts(
    spectra: Spectra, sample: Sample, selection: str, inside: BoolArray, config: SystematicsConfig
) -> list[SourceShift]:
    """Shifts of a simulated signal in the bins of a fit range."""
    what = f"selection '{selection}' of signal '{sample.name}'"
    names = spectra.variations(sample)
    sources = configured_sources(names, config, what)
    varied = {name: spectra.contents(sample, selection, name)[0][inside] for name in names}
    edges: FloatArray = spectra.edges[np.append(inside, False) | np.append(False, inside)]
    values, variances = (part[inside] for part in spectra.contents(sample, selection))
    return [
        *source_shifts(edges, varied, sources, what=what),
        statistical_shift(values, variances, what=what),
    ]
