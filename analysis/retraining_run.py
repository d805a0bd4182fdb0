"""Which systematic uncertainties of a run's signal reach the training of a method, and those retrained."""

import logging
from collections.abc import Sequence
from typing import cast

import numpy as np

from analysis.limit_record import UncertaintySource
from analysis.limit_study import counts_of, is_prior
from analysis.retraining_systematics import (
    InjectedTraining,
    Range,
    Relevance,
    Retrained,
    not_injectable,
    propagated_shifts,
    relevance,
    retrained_shifts,
)
from analysis.run import Run, searched_table, training_tables, untrained
from analysis.run_systematics import configured_sources
from analysis.spectra import expected_events, resonance_mass
from analysis.systematics import SourceShift
from analysis.training_tables import columns_read, stacked
from analysis.windows import window_of
from data.eventid import N_FOLDS
from data.sections import Section
from data.types import Table
from models.folded import FoldedMethod
from models.studies import event_weights
from processors.schema import NOMINAL
from processors.varied_skim import read_varied

ENSEMBLES = ("toys", "replicas", "hessian")
_LOG = logging.getLogger("oddjet")


class SelectedBackground(Section):
    """Simulated background that the trainings with a signal select.

    Parameters
    ----------
    effective_events
        (Σw)²/Σw² before the method.
    shares
        What each training keeps.
    counts
        Of each training, in the bins of pass 2 without trailing zeros: as many effective events, rounded.
    """

    effective_events: float
    shares: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]


class RetrainingRecord(Section):
    """Uncertainties of a signal's yield in one method, found by training with the signal in the data.

    Parameters
    ----------
    cross_section_fb
        Of the injection.
    efficiencies
        Of the nominal trainings, in the fit range, one a seed.
    sources
        Those of the varied signal, then the spread of the nominal trainings.
    background
        Null where the search has no simulated background.
    """

    cross_section_fb: float
    efficiencies: tuple[float, ...]
    sources: tuple[UncertaintySource, ...]
    background: SelectedBackground | None


def retrain_systematics(
    run: Run, signal: str, method: str, cross_section: float, seeds: Sequence[int], within: Range
) -> RetrainingRecord:
    """Inject a signal and its relevant variations into a run's data, train, and compare what is selected.

    Sources that are not relevant are propagated through the nominal trainings, and so are ensembles, whose tens of members
    nobody would train one by one, and, with a warning, sources whose weights are too uneven to inject.

    Parameters
    ----------
    run
        A run whose samples are skimmed, the signal also with its variations.
    signal
        One of its simulated signals.
    method
        One of its methods; it is trained in the window of the signal's mass.
    cross_section
        Of the injection, fb: best where the signal is excluded (arXiv:2412.03747, appendix B).
    seeds
        Two at least.
    within
        Ends in GeV of the fit range, inside which signal counts.

    Returns
    -------
    RetrainingRecord
        Relative uncertainties of the signal's yield, by source.

    Raises
    ------
    InputError
        If a variation is incomplete, or the signal has too few events for the cross section.
    TrainingError
        If a training fails.
    """
    nominal, tables = _varied_tables(run, signal)
    sources = configured_sources(tables, run.config.systematics, signal)
    acceptance = float(event_weights(nominal).sum()) / expected_events(run.samples[signal])
    training = _training(run, signal, method, cross_section, acceptance, seeds, within)
    first = training.make_method(seeds[0])
    nominal = _needed(first, nominal)
    tables = {name: _needed(first, table) for name, table in tables.items()}
    tested = relevance(nominal, tables, sources, first.inputs, training.injected)
    relevant = {one.source for one in tested if one.relevant}
    wanted = [source for source in sources if source.name in relevant and source.kind not in ENSEMBLES]
    uneven = not_injectable(nominal, tables, wanted, training.injected)
    for name, reason in uneven.items():
        _LOG.warning(
            "%s is not trained again for uncertainty '%s', which is relevant: %s", method, name, reason
        )
    again = [source for source in wanted if source.name not in uneven]
    retrained = retrained_shifts(training, nominal, tables, again)
    prior = training.trained_on
    fixed = propagated_shifts(retrained.methods, nominal, tables, sources, within=within, trained_on=prior)
    return RetrainingRecord(
        cross_section_fb=cross_section,
        efficiencies=retrained.efficiencies,
        sources=tuple(_sources(retrained, fixed, tested)),
        background=_background(run, method, retrained.methods),
    )


def _training(
    run: Run,
    signal: str,
    method: str,
    cross_section: float,
    acceptance: float,
    seeds: Sequence[int],
    within: Range,
) -> InjectedTraining:
    """How a method of a run is trained with a signal in the data, in the window of the signal's mass."""
    data, further = training_tables(run, method)
    window = window_of(resonance_mass(run.samples[signal]))

    def make(seed: int) -> FoldedMethod:
        return cast("FoldedMethod", untrained(run, method, window, seed))  # as all methods are

    return InjectedTraining(
        make,
        data,
        cross_section=cross_section,
        luminosity=run.data.luminosity(),
        acceptance=acceptance,
        seeds=seeds,
        workers=run.config.processing.local_workers,
        further=further,
        within=within,
        trained_on=is_prior(run, method, signal),
    )


def _varied_tables(run: Run, signal: str) -> tuple[Table, dict[str, Table]]:
    """A signal in the region that is searched: nominal table, and those of its variations."""
    tables: dict[str, Table] = {**read_varied(run.root / "varied" / signal, [run.config.selection.region])}
    return tables.pop(NOMINAL), tables


def _needed(method: FoldedMethod, table: Table) -> Table:
    """The columns that trainings read: every injection copies the table."""
    names = columns_read(method)
    return {name: values for name, values in table.items() if name in names}


def _sources(
    retrained: Retrained, fixed: Sequence[SourceShift], tested: Sequence[Relevance]
) -> list[UncertaintySource]:
    known = {one.source: one for one in tested}
    return [
        UncertaintySource(
            name=shift.name,
            up=shift.up,
            down=shift.down,
            relevance=known[shift.name].shift if shift.name in known else None,
            feature=(known[shift.name].feature or None) if shift.name in known else None,
            relevant=shift.name in known and known[shift.name].relevant,
            retrained=shift.retrained,
        )
        for shift in retrained.replacing(fixed)
    ]


def _background(run: Run, method: str, methods: Sequence[FoldedMethod]) -> SelectedBackground | None:
    """What the trainings with a signal select of simulated background, which has none."""
    names = run.config.search.background
    if not names:
        return None
    columns = columns_read(methods[0])
    table = stacked([searched_table(run, name, columns) for name in names])
    weights = event_weights(table)
    scale = float(weights.sum() / np.sum(weights**2))
    trained_on = "background" in run.further_samples(method)
    shares, counts = [], []
    for one in methods:
        chosen = one.fold_votes(table, trained_on=trained_on) == N_FOLDS
        shares.append(float(weights[chosen].sum() / weights.sum()))
        counts.append(counts_of(table["mjj"][chosen], scale * weights[chosen]))
    return SelectedBackground(
        effective_events=scale * float(weights.sum()), shares=tuple(shares), counts=tuple(counts)
    )
