"""Which systematic uncertainties of a run's signal reach the training of a method, and those retrained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from analysis.retraining_systematics import Relevance, Retrained, relevance, retrained_shifts
from analysis.run import Run, training_tables, untrained
from analysis.spectra import expected_events, resonance_mass
from analysis.training_tables import searched
from analysis.variation_sources import sources_of
from analysis.windows import window_of
from models.folded import FoldedMethod
from models.studies import event_weights
from processors.recipe import NOMINAL
from processors.run import run_varied_skim
from processors.varied_skim import read_varied


@dataclass(frozen=True)
class RunRetraining:
    """Uncertainties of one signal and method that were found by training again.

    Attributes
    ----------
    relevance
        All sources of the varied signal.
    retrained
        Trainings with those that are relevant, and the spread of the nominal ones.
    """

    relevance: tuple[Relevance, ...]
    retrained: Retrained

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        again = self.retrained
        return {
            "relevance": [vars(one) for one in self.relevance],
            "sources": [shift.to_dict() for shift in (*again.shifts, again.random)],
            "efficiencies": list(again.efficiencies),
        }


def retrain_systematics(
    run: Run, signal: str, method: str, cross_section: float, seeds: Sequence[int]
) -> RunRetraining:
    """Inject a signal and its relevant variations into a run's data, train, and compare what is selected.

    The varied feature tables of the signal are written to ``varied/SIGNAL``.

    Parameters
    ----------
    run
        A run whose samples are skimmed.
    signal
        One of its simulated signals.
    method
        One of its methods; it is trained in the window of the signal's mass.
    cross_section
        Of the injection, fb: best where the signal is excluded (arXiv:2412.03747, appendix B).
    seeds
        Two at least.

    Raises
    ------
    InputError
        If a variation is incomplete, or the signal has too few events for the cross section.
    TrainingError
        If a training fails.
    """
    config, sample = run.config, run.samples[signal]
    run_varied_skim(sample, config.processing, config.events(), run.root)
    tables = read_varied(run.root / "varied" / signal)
    tables = {name: searched(table, config.selection.region) for name, table in tables.items()}
    nominal = tables.pop(NOMINAL)
    named = {source.name for source in sources_of(tables, what=signal)}
    sources = sources_of(
        tables,
        {name: kind for name, kind in config.systematics.ensembles.items() if name in named},
        [name for name in config.systematics.leave_out if name in named],
        what=signal,
    )
    data, further = training_tables(run, method)
    window = window_of(resonance_mass(sample))

    def make(seed: int) -> FoldedMethod:
        return cast("FoldedMethod", untrained(run, method, window, seed))  # as all methods are

    luminosity = run.data.luminosity()
    acceptance = float(event_weights(nominal).sum()) / expected_events(sample)
    injected = cross_section * luminosity * acceptance
    found = relevance(nominal, tables, sources, make(seeds[0]).inputs, injected)
    wanted = {one.source for one in found if one.relevant}
    retrained = retrained_shifts(
        make,
        data,
        nominal,
        tables,
        [source for source in sources if source.name in wanted],
        cross_section=cross_section,
        luminosity=luminosity,
        acceptance=acceptance,
        seeds=seeds,
        workers=config.processing.workers,
        further=further,
    )
    return RunRetraining(tuple(found), retrained)
