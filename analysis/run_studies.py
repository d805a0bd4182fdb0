"""The work of the stage ``studies``: what the report shows beyond the scan, from the tables of features and the trained methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import models
from analysis.comparison_values import matrix_json
from analysis.event_reading import read_events, wanted_events
from analysis.feature_shapes import COMMON, compare_features, shown_features, window_shapes
from analysis.method_study import (
    Judgement,
    flatness,
    gains,
    judge,
    most_anomalous,
    ordinary_events,
    rows_of,
)
from analysis.report.histograms import PEAK, mass_spectrum
from analysis.run import Run, searched_table, selection_label, untrained
from analysis.stages import Product, planned
from analysis.study_record import (
    EventRecord,
    Matrices,
    MethodStudy,
    StudyRecord,
    WindowStudy,
    names_of_events,
)
from analysis.training_curves import training_curves
from analysis.windows import Window
from data.eventid import ID_COLUMNS, N_FOLDS
from data.files import write_json
from models import Method
from models.bundle import read_bundle
from models.complementarity import complementarity
from models.regions import HIGH, LOW, SIGNAL, Regions
from processors.histogram_io import read_histograms
from processors.histograms import Histogram
from processors.scorers import INCLUSIVE

STUDIES, EVENTS = "studies.json", "events.json"
_FINE = 4.0  # GeV, the histograms' own bins
_ALWAYS = (*COMMON, *ID_COLUMNS, "mjj", "weight", "eta_j1", "phi_j1", "eta_j2", "phi_j2")
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Tables:
    """What all windows share: the tables by sample, the features shown, and the searched mass histogram."""

    data: Columns
    signals: Mapping[str, Columns]
    background: Sequence[Columns]
    features: tuple[str, ...]
    histogram: Histogram


def make_studies(run: Run) -> Product:
    """Features, methods and most anomalous events of a run, in ``studies.json`` and ``events.json``."""
    columns = {*_ALWAYS, *_inputs(run)}
    data = searched_table(run, run.data.name, columns)
    features = shown_features(data, _inputs(run))
    background = [searched_table(run, name, columns) for name in run.config.search.background]
    compared = ("mjj", *features)
    simulation = compare_features(compared, data, _joined(background, compared)) if background else {}
    windows = {}
    if run.config.methods:
        signals = {name: searched_table(run, name, columns) for name in run.config.search.signals}
        histogram = read_histograms(run.root / "histograms" / f"{run.data.name}.h5")["mjj"]
        tables = _Tables(data, signals, background, features, histogram)
        windows = {window.name: _window(run, window, tables) for window in run.config.windows()}
    record = StudyRecord(windows=windows, simulation=simulation)
    wanted = wanted_events(data, names_of_events(record))
    covered = {file.path: file.sections for file in planned(run, run.data).files} if wanted else {}
    events = EventRecord(events=read_events(run.data, wanted, run.config.jets, covered))
    write_json(run.root / STUDIES, record.model_dump(mode="json"))
    write_json(run.root / EVENTS, events.model_dump(mode="json"))
    return Product([run.root / STUDIES, run.root / EVENTS], 0, 0)


def _inputs(run: Run) -> tuple[str, ...]:
    """The columns that any of the methods reads."""
    window, seed = run.config.windows()[0], run.config.run.seed
    found = (untrained(run, name, window, seed).inputs for name in run.config.methods)
    return tuple(dict.fromkeys(name for names in found for name in names))


def _joined(tables: list[Columns], features: tuple[str, ...]) -> Columns:
    return {name: np.concatenate([table[name] for table in tables]) for name in (*features, "weight")}


@dataclass(frozen=True)
class _Here:
    """A window's events: data in the signal region and the side bands, signals and simulated background in the former."""

    window: Window
    inside: Columns
    beside: Columns
    signals: Mapping[str, Columns]
    simulated: Columns | None

    def ranked(self, method: Method) -> int:
        """Events among which the scores of a method are ranks."""
        if method.calibrated_on == "side bands":
            return len(self.inside["mjj"]) + len(self.beside["mjj"])
        return 0 if self.simulated is None else len(self.simulated["mjj"])


def _window(run: Run, window: Window, tables: _Tables) -> WindowStudy:
    regions = Regions(window.low_band, window.signal_region, window.high_band)
    region = regions.of(tables.data["mjj"])
    in_signals = {name: regions.of(table["mjj"]) for name, table in tables.signals.items()}
    signals = {
        name: rows_of(tables.signals[name], where == SIGNAL)
        for name, where in in_signals.items()
        if len(where) and np.mean(where == SIGNAL) > PEAK
    }
    beside = (region == LOW) | (region == HIGH)
    parts = [rows_of(table, regions.of(table["mjj"]) == SIGNAL) for table in tables.background]
    here = _Here(
        window,
        rows_of(tables.data, region == SIGNAL),
        rows_of(tables.data, beside),
        signals,
        _joined(parts, tuple(parts[0])) if parts else None,
    )
    samples = {run.data.name: here.inside, **signals}
    judged: dict[str, dict[str, Judgement]] = {sample: {} for sample in samples}
    found = {}
    for name in run.config.methods:
        folder, label = run.root / "models" / name / window.name, selection_label(name, window)
        method = models.load(folder)
        for sample, table in samples.items():
            judged[sample][name] = judge(method, table, trained_on=label in run.trained_on(sample))
        plain = _method(run, method, label, here, judged[run.data.name][name], tables.histogram)
        found[name] = plain.model_copy(update={"training": training_curves(read_bundle(folder)[1])})
    alike = {}
    if len(found) > 1:
        alike = {sample: _alike(judged[sample], table) for sample, table in samples.items()}
    chosen = {name: one.selected for name, one in judged[run.data.name].items()}
    return WindowStudy(
        features=window_shapes(tables.features, tables.data, region, chosen, signals),
        methods=found,
        alike={sample: one for sample, one in alike.items() if one is not None},
    )


def _method(
    run: Run,
    method: Method,
    label: str,
    here: _Here,
    own: Judgement,
    histogram: Histogram,
) -> MethodStudy:
    """A method in its window, without its training; ``own``: what it says of the data of the signal region."""
    axis, region = histogram.axes["mjj"], run.config.selection.region
    low, high = run.config.scan.fit_start or float(axis.edges[0]), float(axis.edges[-1])
    edges, events = mass_spectrum(histogram, region, INCLUSIVE, low, high, _FINE)
    _, selected = mass_spectrum(histogram, region, label, low, high, _FINE)
    anomalous = most_anomalous(
        method,
        here.inside,
        own,
        ordinary_events(here.beside, method.inputs),
        count=run.config.report.events,
        # Of the events that a fold's ranks are among, the most anomalous one is half a step from the end.
        least=N_FOLDS / (2.0 * max(here.ranked(method), 1)),
    )
    return MethodStudy(
        in_signal_region=len(here.inside["mjj"]),
        selected=int(np.count_nonzero(own.selected)),
        flatness=flatness(edges, events, selected, method.signal_region),
        ranked_in="window" if method.calibrated_on == "side bands" else "background",
        improvement=gains(method, here.signals, here.beside, here.simulated),
        anomalous=anomalous,
        training={},
    )


def _alike(judged: Mapping[str, Judgement], table: Columns) -> Matrices | None:
    """How alike methods are on some events; None without any."""
    weight = np.abs(table["weight"]).astype(np.float64)
    if not weight.sum() > 0:
        return None
    scores = {name: one.score for name, one in judged.items()}
    chosen = {name: one.selected for name, one in judged.items()}
    plain = matrix_json(complementarity(scores, chosen, weight))
    masks = np.stack(list(chosen.values())).astype(np.float64)
    return Matrices(
        methods=plain["methods"],
        correlation=plain["rank_correlation"],
        overlap=plain["selection_overlap"],
        both=tuple(tuple(row) for row in ((masks * weight) @ masks.T).tolist()),
    )
