"""From the histograms of a run to ``scan.json``, ``fits.json``, ``systematics.json`` and the workspaces."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.config import Config
from analysis.results import ScanResult
from analysis.run_global import global_document
from analysis.run_systematics import (
    SelectionSystematics,
    UncertainSignal,
    luminosity_uncertainty,
    selection_systematics,
)
from analysis.scan import analyse
from analysis.shared_events import shared_events
from analysis.spectra import Spectra, signal_efficiencies, signal_model
from analysis.windows import Window, window_of
from analysis.workspace_index import WorkspaceFacts, write_index, write_workspaces
from data.files import write_json
from data.samples import Sample, year
from processors.histogram_io import read_histograms
from processors.scorers import INCLUSIVE


def analyse_run(root: Path, config: Config, samples: Mapping[str, Sample]) -> list[Path]:
    """Scan every selection of a run.

    Parameters
    ----------
    root
        The run folder, with ``histograms/SAMPLE.h5``; for global p-values of several selections also with the data's
        features and the trained methods.
    config
        The configuration.
    samples
        The samples of the search.

    Returns
    -------
    list of Path
        ``scan.json``, ``fits.json``, ``systematics.json``, ``workspaces.json`` and the workspaces.
    """
    histograms = {name: read_histograms(root / "histograms" / f"{name}.h5")["mjj"] for name in samples}
    spectra = Spectra(histograms, config.selection.region)
    data = samples[config.search.data]
    signals = [samples[name] for name in config.search.signals]
    model = signal_model(spectra, signals)
    luminosity = luminosity_uncertainty(config.systematics, data)
    stored: list[WorkspaceFacts] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    fits: dict[str, Any] = {}
    systematics: dict[str, SelectionSystematics] = {}
    scans: dict[str, dict[str, ScanResult]] = {}
    for method, window, masses in _selections(config):
        label = method if window is None else f"{method}_{window.name}"
        spectrum = spectra.spectrum(data, label)
        systematics[label] = selection_systematics(spectra, signals, label, masses, spectrum, config, data)
        norm = systematics[label].norm
        name = None if window is None else window.name
        result = analyse(
            spectrum, label, masses,
            UncertainSignal(model, config.systematics.jes, config.systematics.jer, norm), config.scan,
            window=name,
            efficiencies=signal_efficiencies(spectra, signals, label, masses, spectrum, config),
            luminosity_ifb=data.luminosity(), workers=config.processing.local_workers,
        )  # fmt: skip
        rows.setdefault(method, []).extend(
            {**row, "signal_uncertainty": norm.get(row["mass"])} for row in result.rows
        )
        fits[label] = result.fit
        scans.setdefault(method, {})[label] = result.scan
        stored += write_workspaces(root, label, result.scan, window=name, luminosity_uncertainty=luminosity)
    contents = {
        "scan.json": scan_document(config, data, rows) | _look_elsewhere(root, config, scans),
        "fits.json": fits,
        "systematics.json": systematics_document(config, systematics),
    }
    for name, content in contents.items():
        write_json(root / name, content)
    return [*(root / name for name in contents), *write_index(root, stored)]


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


def _look_elsewhere(
    root: Path, config: Config, scans: Mapping[str, Mapping[str, ScanResult]]
) -> dict[str, Any]:
    """Global significances of ``scan.json``, where pseudo-experiments are asked for."""
    n_toys = config.scan.global_toys
    if n_toys == 0:
        return {}
    shared = shared_events(root, config, scans)
    found = global_document(scans, n_toys, config.run.seed, config.processing.local_workers, shared=shared)
    return {"global": found}


def systematics_document(config: Config, systematics: Mapping[str, SelectionSystematics]) -> dict[str, Any]:
    """The content of ``systematics.json``: relative uncertainties by selection, as labelled in ``fits.json``."""
    return {
        "in_limits": config.scan.nuisances,
        "jes": config.systematics.jes,
        "jer": config.systematics.jer,
        "selections": {label: one.to_dict() for label, one in systematics.items()},
    }
