"""From the histograms of a run to ``scan.json``, ``fits.json`` and the workspaces."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.config import Config
from analysis.results import SelectionResult
from analysis.scan import analyse, fit_range
from analysis.signal_shape import SignalModel, fit_signal_shape
from analysis.spectrum import Spectrum
from analysis.windows import Window, window_of
from analysis.workspace import write_workspace
from data.errors import InputError
from data.files import write_json
from data.samples import Sample, year
from data.types import FloatArray
from processors.histogram_io import read_histograms
from processors.recipe import NOMINAL
from processors.scorers import INCLUSIVE

_FB_PER_PB = 1000.0
_LOG = logging.getLogger("oddjet")


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

    def contents(self, sample: Sample, selection: str) -> tuple[FloatArray, FloatArray]:
        """Σw and Σw² a bin in the region that is searched.

        Raises
        ------
        InputError
            If the histogram has no such selection, or events below its first or above its last edge, which
            no fit would see.
        """
        histogram = self.histograms[sample.name]
        labels = {
            "process": sample.process,
            "selection": selection,
            "region": self.region,
            "variation": NOMINAL,
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
        """Counts of a sample of weight 1."""
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
    shapes = {}
    for sample in signals:
        values, variances = spectra.contents(sample, INCLUSIVE)
        shapes[_mass(sample)] = fit_signal_shape(spectra.edges, values, variances, _mass(sample)).shape
    return SignalModel(shapes)


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
    simulated = sorted(signals, key=_mass)
    known = [_mass(sample) for sample in simulated]
    found = {}
    for mass in masses:
        if not known or not known[0] <= mass <= known[-1]:
            continue
        part = fit_range(spectrum, mass, config.scan)
        inside = (spectra.edges[:-1] >= part.lo) & (spectra.edges[1:] <= part.hi)
        efficiencies = [
            float(spectra.contents(sample, selection)[0][inside].sum()) / expected_events(sample)
            for sample in simulated
        ]
        found[mass] = float(np.interp(mass, known, efficiencies))
    return found


def expected_events(sample: Sample) -> float:
    """σ·L of a simulated sample: the events before any selection that its weights sum to."""
    if sample.cross_section_pb is None:
        msg = f"sample '{sample.name}' has no 'cross_section_pb'; add it to the sample definition"
        raise InputError(msg)
    return sample.cross_section_pb * _FB_PER_PB * sample.luminosity()


def _mass(sample: Sample) -> float:
    if sample.mass is None:
        msg = f"signal sample '{sample.name}' has no 'mass'; add the resonance mass in GeV to the sample definition"
        raise InputError(msg)
    return sample.mass


def analyse_run(root: Path, config: Config, samples: Mapping[str, Sample]) -> list[Path]:
    """Scan every selection of a run.

    Parameters
    ----------
    root
        The run folder, with ``histograms/SAMPLE.h5``.
    config
        The configuration.
    samples
        The samples of the search.

    Returns
    -------
    list of Path
        ``scan.json``, ``fits.json`` and the workspaces.
    """
    histograms = {name: read_histograms(root / "histograms" / f"{name}.h5")["mjj"] for name in samples}
    spectra = Spectra(histograms, config.selection.region)
    data = samples[config.search.data]
    signals = [samples[name] for name in config.search.signals]
    model = signal_model(spectra, signals)
    written: list[Path] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    fits: dict[str, Any] = {}
    for method, window, masses in _selections(config):
        label = method if window is None else f"{method}_{window.name}"
        spectrum = spectra.spectrum(data, label)
        result = analyse(
            spectrum, label, masses, model, config.scan,
            window=None if window is None else window.name,
            efficiencies=signal_efficiencies(spectra, signals, label, masses, spectrum, config),
            luminosity_ifb=data.luminosity(),
        )  # fmt: skip
        rows.setdefault(method, []).extend(result.rows)
        fits[label] = result.fit
        written += write_workspaces(root / "workspaces", label, result)
    write_json(root / "scan.json", scan_document(config, data, rows))
    write_json(root / "fits.json", fits)
    return [root / "scan.json", root / "fits.json", *written]


def _selections(config: Config) -> list[tuple[str, Window | None, list[float]]]:
    """Method, window and masses of every selection: inclusive first, each method window by window."""
    masses = sorted(config.scan.masses)
    found: list[tuple[str, Window | None, list[float]]] = [(INCLUSIVE, None, masses)]
    for method in config.methods:
        found += [
            (method, window, [mass for mass in masses if window_of(mass) == window])
            for window in config.windows()
        ]
    return found


def scan_document(config: Config, data: Sample, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The content of ``scan.json``."""
    return {
        "sample": data.name,
        "region": config.selection.region,
        "sqrt_s": year(data.year).sqrt_s,
        "luminosity_ifb": data.luminosity(),
        "masses": sorted(config.scan.masses),
        "selections": {method: sorted(found, key=lambda row: row["mass"]) for method, found in rows.items()},
    }


def write_workspaces(folder: Path, label: str, result: SelectionResult) -> list[Path]:
    """One HistFactory workspace a valid mass: ``SELECTION_MASS.json``; those of earlier runs are removed."""
    for old in folder.glob(f"{label}_*.json"):
        old.unlink()
    paths, bounded = [], []
    for point in result.scan.points:
        if point.valid:
            paths.append(folder / f"{label}_{point.mass:g}.json")
            if write_workspace(paths[-1], point).bounded:
                bounded.append(f"{point.mass:g}")
    if bounded:
        _LOG.info(
            "workspaces of %s at %s GeV: few events, so the background's normfactors are bounded where it would "
            "turn negative",
            label,
            ", ".join(bounded),
        )
    return paths
