"""Which events of the data the selections of a run share: in pseudo-experiments these fluctuate together."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import models
from analysis.config import Config
from analysis.joint_toys import Overlaps
from analysis.results import ScanResult
from analysis.run import selection_label
from analysis.spectrum import Spectrum
from analysis.training_tables import EVENT_COLUMNS
from data.errors import InputError
from data.types import BoolArray, Table
from processors.scorers import FOLDS, judge
from processors.skim import read_features

_MAX_MISMATCH = 0.01
"""Share of a selection's events by which tables and histograms may differ: machines round scores differently."""


def shared_events(
    root: Path, config: Config, scans: Mapping[str, Mapping[str, ScanResult]]
) -> Overlaps | None:
    """Overlaps of all scanned selections, from the data's table of features and the trained methods.

    Parameters
    ----------
    root
        The run folder, with ``features`` of the data and ``models``.
    config
        The configuration.
    scans
        Method to the scans of its selections, by their labels.

    Returns
    -------
    Overlaps or None
        Of the selections with a valid mass, of events inside their fit ranges; None if there are fewer than two.

    Raises
    ------
    InputError
        If features or a trained method are missing, or are not those that the histograms were filled with.
    """
    spectra: dict[str, Spectrum] = {}
    for label, result in (item for found in scans.values() for item in found.items()):
        ranges = [point.background.spectrum for point in result.points if point.background is not None]
        if ranges:
            spectra[label] = max(ranges, key=lambda spectrum: spectrum.counts.size)
    if len(spectra) < 2:
        return None
    low, high = min(one.lo for one in spectra.values()), max(one.hi for one in spectra.values())

    def events(*columns: str) -> Table:
        """These columns of the events inside the fit ranges; of millions of events, all at once are too many."""
        folder = root / "features" / config.search.data
        data = read_features(folder, {*EVENT_COLUMNS, *columns}, [config.selection.region])
        inside = (data["mjj"] >= low) & (data["mjj"] < high)
        return {name: column[inside] for name, column in data.items()}

    mjj = events()["mjj"]
    folders = {
        selection_label(method, window): root / "models" / method / window.name
        for method in config.methods
        for window in config.windows()
    }
    passed = {
        label: _kept(label, folders[label], events) if label in folders else np.ones(len(mjj), dtype=np.bool_)
        for label in spectra
    }
    for label, spectrum in spectra.items():
        _check(label, mjj[passed[label]], spectrum)
    return Overlaps.of(passed)


def _kept(label: str, folder: Path, events: Callable[..., Table]) -> BoolArray:
    """Whether a selection keeps each event of the data, on which its method was trained."""
    method = models.load(folder)
    return np.asarray(judge(method, label, events(*method.inputs), trained_on=True)[1] == FOLDS)


def _check(label: str, mjj: np.ndarray, spectrum: Spectrum) -> None:
    found = np.histogram(mjj[mjj < spectrum.hi], spectrum.edges)[0]
    if np.abs(found - spectrum.counts).sum() > _MAX_MISMATCH * spectrum.n_events:
        msg = (
            f"selection '{label}': {found.sum()} events of the table of features pass it, and {spectrum.n_events} are in "
            "its histogram; run `oddjet train` and `oddjet hist` again"
        )
        raise InputError(msg)
