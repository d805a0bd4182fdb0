"""Studies that need many trainings: how a method's efficiency grows with the cross section of an injected signal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.eventid import ID_COLUMNS, N_FOLDS
from data.types import BoolArray, FloatArray, Table
from models.folded import FoldedMethod
from models.folds import has_ids
from models.preprocessing import column
from models.seeds import task_seed
from models.together import fit_together


@dataclass(frozen=True)
class EfficiencyPoint:
    """Efficiency of a method that was trained with signal in its data.

    Parameters
    ----------
    cross_section
        Of the injected signal, fb.
    injected
        Signal events in the data.
    mean, lowest, highest
        Over the seeds: share of the other signal events that the selection keeps.
    efficiencies
        One a seed.
    """

    cross_section: float
    injected: int
    mean: float
    lowest: float
    highest: float
    efficiencies: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Injection:
    """Signal events drawn to be put into data.

    Parameters
    ----------
    cross_section
        fb.
    seed
        Of the draw and of the training that follows.
    chance
        Probability of each event of the signal to be drawn.
    chosen
        bool, the signal events that were.
    """

    cross_section: float
    seed: int
    chance: FloatArray
    chosen: BoolArray

    def shares(self, signal: Table) -> FloatArray:
        """Weight of each signal event where the others stand for the whole signal.

        Parameters
        ----------
        signal
            The simulated signal from which they were drawn.

        Returns
        -------
        numpy.ndarray
            float64, shape (events,): 0 if drawn, the sum is one.
        """
        # Events likely to be drawn are rarer in the rest than in the signal.
        likely = np.where(self.chosen, 0.0, event_weights(signal) / (1.0 - self.chance))
        return np.asarray(likely / likely.sum())

    def kept(self, method: FoldedMethod, signal: Table, *, trained_on: bool = False) -> FloatArray:
        """The `shares`, each times the share of folds that select the event; the sum is the method's efficiency.

        Parameters
        ----------
        method
            Trained on the data with the drawn events.
        signal
            The simulated signal from which they were drawn.
        trained_on
            Whether the method was given the signal as a further table.

        Returns
        -------
        numpy.ndarray
            float64, shape (events,).
        """
        found = self.shares(signal)
        rest = np.flatnonzero(~self.chosen)
        votes = method.fold_votes(
            {name: values[rest] for name, values in signal.items()}, trained_on=trained_on
        )
        found[rest] *= votes / N_FOLDS
        return found


def draw_injections(
    signal: Table, cross_sections: Sequence[float], luminosity: float, acceptance: float, seeds: Sequence[int]
) -> list[Injection]:
    """Draw signal events for every cross section and seed.

    Parameters
    ----------
    signal, cross_sections, luminosity, acceptance, seeds
        As for `efficiency_against_cross_section`.

    Returns
    -------
    list of Injection
        All seeds of the first cross section, then those of the next.

    Raises
    ------
    InputError
        As `efficiency_against_cross_section`.
    """
    counts = _counts(cross_sections, luminosity, acceptance, seeds)
    weight = event_weights(signal)
    found = []
    for cross_section, count in zip(cross_sections, counts, strict=True):
        chance = inclusion_probabilities(weight, count)
        found += [
            Injection(float(cross_section), seed, chance, draw(chance, task_seed(seed, "injection", count)))
            for seed in seeds
        ]
    return found


def train_injected(
    make_method: Callable[[int], FoldedMethod],
    table: Table,
    signal: Table,
    injections: Sequence[Injection],
    *,
    workers: int = 1,
    further: Mapping[str, Table] | None = None,
) -> list[FoldedMethod]:
    """Train a method on the data with each of the injections, all side by side: their networks share stacks.

    Parameters
    ----------
    make_method, table, signal, workers, further
        As for `efficiency_against_cross_section`.
    injections
        Drawn from the signal.

    Returns
    -------
    list of FoldedMethod
        One an injection, trained.

    Raises
    ------
    TrainingError
        As `Method.fit`.
    """
    methods = [make_method(injection.seed) for injection in injections]
    tables = [injected_table(table, signal, injection.chosen) for injection in injections]
    fit_together(methods, tables, workers=workers, further=[dict(further or {})] * len(methods))
    return methods


def efficiency_against_cross_section(
    make_method: Callable[[int], FoldedMethod],
    table: Table,
    signal: Table,
    cross_sections: Sequence[float],
    luminosity: float,
    acceptance: float,
    seeds: Sequence[int],
    *,
    workers: int = 1,
    further: Mapping[str, Table] | None = None,
) -> list[EfficiencyPoint]:
    """Inject signal into a table, train, and measure the selection's efficiency on the signal that was not injected.

    All cross sections and seeds train side by side: their networks share stacks. A weakly supervised method has no
    efficiency of its own, it depends on how much signal there is in the data; this curve is what limits need
    (CMS-EXO-22-026, arXiv:2412.03747, appendix B).

    Parameters
    ----------
    make_method
        Makes an untrained method from a seed.
    table
        Data or mock data without the signal.
    signal
        Simulated signal after the event selection, with the table's columns (event ids among them where the table has
        them) and ``weight`` where its events have one.
    cross_sections
        fb.
    luminosity
        fb⁻¹.
    acceptance
        Share of the signal produced that ``signal`` stands for: the efficiency of the event selection.
    seeds
        Each draws other signal events and trains with its own seed.
    workers
        Processes that train side by side.
    further
        Further tables that the method takes, by keyword.

    Returns
    -------
    list of EfficiencyPoint
        One a cross section, in the order given.

    Raises
    ------
    InputError
        If a number is out of range, the signal lacks a column, or has too few events for a cross section.
    TrainingError
        As `Method.fit`.
    """
    injections = draw_injections(signal, cross_sections, luminosity, acceptance, seeds)
    methods = train_injected(make_method, table, signal, injections, workers=workers, further=further)
    pairs = zip(injections, methods, strict=True)
    found = np.array([injection.kept(method, signal).sum() for injection, method in pairs])
    first_of_each = injections[:: len(seeds)]
    return [_point(*pair) for pair in zip(first_of_each, found.reshape(-1, len(seeds)), strict=True)]


def _point(injection: Injection, efficiencies: FloatArray) -> EfficiencyPoint:
    """The point of one cross section: any of its injections, and the efficiency of each seed."""
    return EfficiencyPoint(
        injection.cross_section,
        int(np.count_nonzero(injection.chosen)),
        float(efficiencies.mean()),
        float(efficiencies.min()),
        float(efficiencies.max()),
        tuple(float(value) for value in efficiencies),
    )


def event_weights(table: Table) -> FloatArray:
    """Weights of a table's events, one where it has none.

    Parameters
    ----------
    table
        Column name to array, ``weight`` or ``mjj`` among them.

    Returns
    -------
    numpy.ndarray
        float64, shape (events,).
    """
    return column(table, "weight") if "weight" in table else np.ones(len(column(table, "mjj")))


def _counts(
    cross_sections: Sequence[float], luminosity: float, acceptance: float, seeds: Sequence[int]
) -> list[int]:
    """Signal events expected, rounded."""
    values = np.asarray(cross_sections, dtype=np.float64)
    if not len(values) or not len(seeds) or np.any(~(values >= 0)):
        msg = (
            f"cross_sections {values.tolist()} and seeds {list(seeds)}: expected at least one of each, cross sections (fb) "
            "not negative"
        )
        raise InputError(msg)
    if not (luminosity > 0 and 0 < acceptance <= 1):
        msg = (
            f"luminosity must be positive (fb⁻¹) and acceptance in 0 … 1, found {luminosity} and {acceptance}"
        )
        raise InputError(msg)
    return [round(float(value * luminosity * acceptance)) for value in values]


def inclusion_probabilities(weight: FloatArray, count: int) -> FloatArray:
    """Probability of each event to be among those drawn, in proportion to its weight.

    Parameters
    ----------
    weight
        Event weights, shape (events,).
    count
        Events to be drawn.

    Returns
    -------
    numpy.ndarray
        float64 in 0 … 0.5, shape (events,), the sum is ``count``.

    Raises
    ------
    InputError
        If a weight is negative, or an event would be drawn more often than not: the rest would not be like the signal.
    """
    if len(weight) == 0 or np.any(weight < 0) or not weight.sum() > 0:
        msg = (
            f"signal: {np.count_nonzero(weight < 0)} of {len(weight)} events have a negative weight; expected some whose "
            "weights are not negative and not all zero"
        )
        raise InputError(msg)
    chance: FloatArray = count * weight / weight.sum()
    if chance.max() > 0.5:
        enough = int(np.ceil(2.0 * count * weight.max() * len(weight) / weight.sum()))
        msg = (
            f"signal: {count} of {len(weight)} events are to be injected, and an event of the largest weight would be "
            f"drawn with probability {chance.max():.2f}; at most 0.5 leaves enough to measure with: give {enough} events "
            "of such weights, or a smaller cross section"
        )
        raise InputError(msg)
    return chance


def draw(chance: FloatArray, seed: int) -> BoolArray:
    """Draw events without replacement, each with exactly its probability, always the same number.

    Systematic sampling of the events in random order: the running sum of the probabilities is read off at steps of one
    from a random start.

    Parameters
    ----------
    chance
        Probability of each event, below 1, the sum an integer.
    seed
        Of order and start.

    Returns
    -------
    numpy.ndarray
        bool, shape (events,).

    References
    ----------
    W. G. Madow, Ann. Math. Stat. 20 (1949) 333.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(chance))
    count = round(float(chance.sum()))
    running = np.cumsum(chance[order])
    places = np.searchsorted(
        running, (rng.random() + np.arange(count)) * (running[-1] / max(count, 1)), side="right"
    )
    chosen = np.zeros(len(chance), dtype=bool)
    chosen[order[np.minimum(places, len(chance) - 1)]] = True
    return chosen


def injected_table(table: Table, signal: Table, chosen: BoolArray) -> dict[str, npt.NDArray[Any]]:
    """A table with some signal events in it, as if they had been recorded.

    Parameters
    ----------
    table
        Data; columns that the signal lacks are left out, ``weight`` too: all events count once.
    signal
        Simulated signal.
    chosen
        bool, shape (signal events,): those to inject.

    Returns
    -------
    dict
        Column name to array, the signal events last.

    Raises
    ------
    InputError
        If the table has event ids and the signal none.
    """
    if has_ids(table) and not has_ids(signal):
        msg = (
            "signal: columns run, luminosity_block and event are missing, but the table has them; add them, distinct "
            "from the table's, or leave them out of the table"
        )
        raise InputError(msg)
    names = [name for name in table if name in signal and name != "weight"]
    if not has_ids(table):
        names = [name for name in names if name not in ID_COLUMNS]
    return {
        name: np.concatenate([np.asarray(table[name]), np.asarray(signal[name])[chosen]]) for name in names
    }
