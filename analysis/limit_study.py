"""Trainings with injected signals: what each method selects of the data and of the signal, as spectra.

Nothing is fitted here, so that fits may change without training again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

import models
from analysis.run import Run, method_columns, searched_table, selection_label, training_tables, untrained
from analysis.spectra import Spectra, expected_events, resonance_mass
from analysis.spectrum import Spectrum
from analysis.training_tables import EVENT_COLUMNS
from analysis.windows import Window, window_of
from data.errors import InputError
from data.eventid import N_FOLDS
from data.files import read_json
from data.sections import Section
from data.types import FloatArray, IntArray, Table
from models.cuts import ProngSelection
from models.folded import FoldedMethod
from models.studies import Injection, draw_injections, event_weights, injected_table, train_injected
from processors.histogram_io import read_histograms
from processors.histograms import MJJ_BINS, MJJ_HIGH, MJJ_LOW
from processors.scorers import INCLUSIVE

EDGES: FloatArray = np.linspace(MJJ_LOW, MJJ_HIGH, MJJ_BINS + 1)


class InjectedSpectra(Section):
    """What a selection keeps of data with an injected signal; spectra in the bins of pass 2, trailing zeros left out.

    Parameters
    ----------
    cross_section_fb, seed, injected
        The injection: cross section, seed of draw and training, events.
    counts
        Selected events of the data with the signal.
    kept
        Selected signal, as shares of all signal after the event selection.
    """

    cross_section_fb: float
    seed: int
    injected: int
    counts: tuple[int, ...]
    kept: tuple[float, ...]

    def spectrum(self) -> Spectrum:
        """The data with the signal, selected.

        Returns
        -------
        Spectrum
            Counts in all bins of pass 2.
        """
        return Spectrum(EDGES, padded(self.counts))


class StudyRecord(Section):
    """All injections of one signal for one selection.

    Parameters
    ----------
    signal, method, window, mass
        Sample, selection, name of the window, mass in GeV.
    acceptance
        Share of the signal produced that passes the event selection.
    effective_events
        (Σw)²/Σw² of the simulated signal after it.
    retrained
        False where the selection is the same for any data, and so is its efficiency.
    nominal
        Selected events of the data without an injection.
    injections
        All seeds of the first cross section, then those of the next.
    """

    signal: str
    method: str
    window: str
    mass: float
    acceptance: float
    effective_events: float
    retrained: bool
    nominal: tuple[int, ...]
    injections: tuple[InjectedSpectra, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `study` left."""
        return cls.parse(read_json(path), str(path))

    def spectrum(self) -> Spectrum:
        """The data without an injection, selected.

        Returns
        -------
        Spectrum
            Counts in all bins of pass 2.
        """
        return Spectrum(EDGES, padded(self.nominal))


def padded(values: tuple[float, ...]) -> FloatArray:
    """A spectrum with its trailing zeros.

    Parameters
    ----------
    values
        A spectrum without trailing zeros.

    Returns
    -------
    FloatArray
        In the bins of pass 2, shape (`MJJ_BINS`,).
    """
    full = np.zeros(MJJ_BINS)
    full[: len(values)] = values
    return full


def study(run: Run, signal: str, method: str) -> StudyRecord:
    """Inject a signal at all its cross sections and select, after training again where the selection is a method.

    Parameters
    ----------
    run
        A run with tables of features and histograms.
    signal
        One of the samples in ``limits.signals``.
    method
        A configured method, a reference selection, or ``inclusive``.

    Returns
    -------
    StudyRecord
        Spectra of the data and of the signal selected with each injection.

    Raises
    ------
    InputError
        If the simulated signal has too few events for a cross section, or events lie outside the histograms.
    TrainingError
        If a training fails.
    """
    limits = run.limits
    sample = run.samples[signal]
    mass = resonance_mass(sample)
    window = window_of(mass)
    columns = EVENT_COLUMNS if method == INCLUSIVE else method_columns(run, [method])
    simulated = searched_table(run, signal, columns)
    weights = event_weights(simulated)
    acceptance = float(weights.sum()) / expected_events(sample)
    seeds = [run.config.run.seed + number for number in range(limits.seeds)]
    drawn = draw_injections(simulated, limits.signals[signal], run.data.luminosity(), acceptance, seeds)
    if method == INCLUSIVE:
        data = searched_table(run, run.data.name, EVENT_COLUMNS)
        nominal = counts_of(data["mjj"])
        made = [_inclusive(injection, data, simulated) for injection in drawn]
    else:
        nominal, made = _trained(
            run, method, window, simulated, drawn, is_prior=is_prior(run, method, signal)
        )
    return StudyRecord(
        signal=signal,
        method=method,
        window=window.name,
        mass=mass,
        acceptance=acceptance,
        effective_events=float(weights.sum() ** 2 / np.sum(weights**2)),
        retrained=method != INCLUSIVE and not issubclass(models.describe(method), ProngSelection),
        nominal=nominal,
        injections=tuple(made),
    )


def is_prior(run: Run, method: str, signal: str) -> bool:
    """Whether a signal is among the tables that a method is trained on."""
    return any(signal in names for names in run.further_samples(method).values())


def _inclusive(injection: Injection, data: Table, simulated: Table) -> InjectedSpectra:
    mixed = np.concatenate([data["mjj"], simulated["mjj"][injection.chosen]])
    return _spectra(injection, counts_of(mixed), simulated, injection.shares(simulated))


def _trained(
    run: Run, method: str, window: Window, simulated: Table, drawn: list[Injection], *, is_prior: bool
) -> tuple[tuple[int, ...], list[InjectedSpectra]]:
    """Spectra of a method, trained side by side for all cross sections, one seed after the other."""
    data, further = training_tables(run, method)

    def make(seed: int) -> FoldedMethod:
        return cast("FoldedMethod", untrained(run, method, window, seed))  # as all methods are

    made: dict[int, InjectedSpectra] = {}
    for seed in dict.fromkeys(injection.seed for injection in drawn):
        places = [place for place, injection in enumerate(drawn) if injection.seed == seed]
        here = [drawn[place] for place in places]
        trained = train_injected(
            make, data, simulated, here, workers=run.config.processing.local_workers, further=further
        )
        for place, injection, fitted in zip(places, here, trained, strict=True):
            mixed = injected_table(data, simulated, injection.chosen)
            counts = counts_of(mixed["mjj"][fitted.fold_votes(mixed, trained_on=True) == N_FOLDS])
            kept = injection.kept(fitted, simulated, trained_on=is_prior)
            made[place] = _spectra(injection, counts, simulated, kept)
    return _nominal(run, method, window, make(drawn[0].seed), data), [
        made[place] for place in range(len(drawn))
    ]


def _nominal(
    run: Run, method: str, window: Window, untrained_method: FoldedMethod, data: Table
) -> tuple[int, ...]:
    """What the selection keeps of the data as they are: that of the search, where it is one of its methods."""
    if method in run.config.methods:
        histograms = {run.data.name: read_histograms(run.root / "histograms" / f"{run.data.name}.h5")["mjj"]}
        spectra = Spectra(histograms, run.config.selection.region)
        return _trimmed(spectra.spectrum(run.data, selection_label(method, window)).counts)
    untrained_method.fit(data)
    return counts_of(data["mjj"][untrained_method.fold_votes(data, trained_on=True) == N_FOLDS])


def _spectra(
    injection: Injection, counts: tuple[int, ...], simulated: Mapping[str, Any], kept: FloatArray
) -> InjectedSpectra:
    return InjectedSpectra(
        cross_section_fb=injection.cross_section,
        seed=injection.seed,
        injected=int(np.count_nonzero(injection.chosen)),
        counts=counts,
        kept=tuple(float(value) for value in _cut(np.histogram(_inside(simulated["mjj"]), EDGES, weights=kept)[0])),
    )  # fmt: skip


def counts_of(mjj: FloatArray, weights: FloatArray | None = None) -> tuple[int, ...]:
    """Events in the bins of pass 2.

    Of sums of weights the running total is rounded: bin by bin, a tail of less than half an event a bin would vanish.

    Parameters
    ----------
    mjj
        Dijet masses in GeV, shape (events,).
    weights
        Of the events, shape (events,); None counts each once.

    Returns
    -------
    tuple of int
        Without trailing zeros; 0 in bins of negative sums.

    Raises
    ------
    InputError
        If a mass lies outside the histogram.
    """
    sums = np.maximum(np.histogram(_inside(mjj), EDGES, weights=weights)[0], 0)
    return _trimmed(np.diff(np.rint(np.cumsum(sums)), prepend=0).astype(np.int64))


def _inside(mjj: FloatArray) -> FloatArray:
    """Masses, all of them inside the histogram."""
    values = np.asarray(mjj, dtype=np.float64)
    outside = values[(values < MJJ_LOW) | (values >= MJJ_HIGH)]
    if outside.size:
        msg = f"{outside.size} events outside {MJJ_LOW:g}–{MJJ_HIGH:g} GeV, the first at {outside[0]:g}; check mjj"
        raise InputError(msg)
    return values


def _trimmed(counts: IntArray) -> tuple[int, ...]:
    return tuple(int(value) for value in _cut(counts))


def _cut(values: Any) -> Any:
    """Values without trailing zeros."""
    filled = np.flatnonzero(values)
    return values[: filled[-1] + 1] if filled.size else values[:0]
