"""Systematic uncertainties that reach the training: which sources matter there, and retraining with the varied signal.

A weakly supervised method learns from the signal in the data. A source that changes the signal's features by more than
the statistics of an injection would notice changes what is learnt; the method is then trained again on data with the
varied signal in it. All other sources are propagated through the trained method (CMS-EXO-22-026, arXiv:2412.03747,
appendix B).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.systematics import SourceShift, random_variation
from analysis.variation_sources import Source, combined_change
from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray, Table
from models.folded import FoldedMethod
from models.preprocessing import column
from models.studies import draw_injections, event_weights, inclusion_probabilities, injected_table
from models.together import fit_together
from processors.schema import NOMINAL

BINS = 10
THRESHOLD = 0.2
"""Part of the statistical uncertainty of an injection from which on a shift is relevant."""
Range = tuple[float, float]
EVERYWHERE: Range = (-np.inf, np.inf)


@dataclass(frozen=True)
class Relevance:
    """How much a source shifts the features of an injected signal.

    Attributes
    ----------
    source
        Its name.
    shift
        Largest shift of the injected events in a bin of a feature, in units of their statistical uncertainty.
    feature
        Where that is.
    relevant
        Whether it is more than `THRESHOLD`.
    """

    source: str
    shift: float
    feature: str
    relevant: bool


def relevance(
    nominal: Table,
    varied: Mapping[str, Table],
    sources: Sequence[Source],
    features: Sequence[str],
    injected: float,
) -> list[Relevance]:
    """Tell the sources that matter for a training from those that do not.

    Every feature is split at the deciles of the nominal signal; a source is relevant if it shifts the expected number of
    injected events in any of the ten bins by more than a fifth of its Poisson uncertainty.

    Parameters
    ----------
    nominal, varied
        Selected signal: feature tables with the column ``weight``, nominal and by name of the variation. The sum of the
        weights may vary: it is the number of selected events at a fixed cross section.
    sources
        Of the variations.
    features
        Columns that the method is trained on.
    injected
        Nominal signal events in the data.

    Returns
    -------
    list of Relevance
        One a source, in their order.

    Raises
    ------
    InputError
        If a variation or a feature is missing, or there is no signal.
    """
    _check_variations(varied, sources)
    weight = event_weights(nominal)
    if not (weight.sum() > 0 and injected > 0):
        msg = f"relevance: {injected:g} injected events of a signal of weight {weight.sum():g}; both must be positive"
        raise InputError(msg)
    scale = injected / float(weight.sum())
    worst: dict[str, tuple[float, str]] = {source.name: (0.0, "") for source in sources}
    for feature in features:
        edges = _deciles(column(nominal, feature), weight)
        expected = scale * _contents(nominal, feature, edges)
        filled = expected > 0
        for source in sources:
            members = np.stack([scale * _contents(varied[m], feature, edges) for m in source.members])
            changes = np.abs(combined_change(source.kind, expected, members))[:, filled]
            shift = float((changes / np.sqrt(expected[filled])).max())
            if shift > worst[source.name][0]:
                worst[source.name] = (shift, feature)
    return [Relevance(name, shift, feature, shift > THRESHOLD) for name, (shift, feature) in worst.items()]


def _check_variations(varied: Mapping[str, Table], sources: Sequence[Source]) -> None:
    missing = [member for source in sources for member in source.members if member not in varied]
    if missing:
        msg = f"signal: variation '{missing[0]}' is missing; give its feature table, or leave its source out"
        raise InputError(msg)


def _deciles(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Inner edges of ten bins of equal weight; fewer where many events have one value."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(cumulated, np.arange(1, BINS) / BINS)
    return np.unique(values[order][np.minimum(at, len(values) - 1)])


def _contents(table: Table, feature: str, edges: FloatArray) -> FloatArray:
    place = np.searchsorted(edges, column(table, feature), side="right")
    return np.asarray(np.bincount(place, weights=event_weights(table), minlength=edges.size + 1))


def not_injectable(
    nominal: Table, varied: Mapping[str, Table], sources: Sequence[Source], injected: float
) -> dict[str, str]:
    """Sources whose varied signals cannot be injected as often as their cross section says, and why.

    Parameters
    ----------
    nominal, varied, sources
        As for `relevance`.
    injected
        Nominal signal events in the data.

    Returns
    -------
    dict
        Name of the source to the reason: weights of a variation that are negative, or so uneven that few events would be
        drawn again and again.
    """
    scale = injected / float(event_weights(nominal).sum())
    found: dict[str, str] = {}
    for source in sources:
        for member in source.members:
            weight = event_weights(varied[member])
            try:
                inclusion_probabilities(weight, round(scale * float(weight.sum())))
            except InputError as error:
                found.setdefault(source.name, f"variation '{member}' of {error}")
    return found


@dataclass(frozen=True)
class Retrained:
    """Trainings with the nominal and with varied signals in the data.

    Attributes
    ----------
    shifts
        Of the selected yield at a fixed cross section, by source.
    random
        Spread of the nominal trainings, which differ in the events drawn and in the seed.
    efficiencies
        Of the nominal trainings, one a seed.
    methods
        The nominal trainings.
    """

    shifts: tuple[SourceShift, ...]
    random: SourceShift
    efficiencies: tuple[float, ...]
    methods: tuple[FoldedMethod, ...]

    def replacing(self, fixed: Sequence[SourceShift]) -> list[SourceShift]:
        """The shifts with the trained selection fixed, those replaced that were retrained, and the random variation."""
        again = {shift.name: shift for shift in self.shifts}
        return [again.get(shift.name, shift) for shift in fixed] + [self.random]


@dataclass(frozen=True)
class InjectedTraining:
    """How a method is trained with a signal in the data, and what of the signal counts.

    Attributes
    ----------
    make_method
        Makes an untrained method from a seed.
    table
        Data or mock data without the signal.
    cross_section
        Of the injection, fb.
    luminosity
        Of the data, fb⁻¹.
    acceptance
        Share of the produced signal that the nominal table is.
    seeds
        Two at least (arXiv:2412.03747 has five).
    workers, further
        As for `models.studies.train_injected`.
    within
        Ends in GeV of the dijet masses that count.
    trained_on
        Whether the signal is among the further tables.
    """

    make_method: Callable[[int], FoldedMethod]
    table: Table
    cross_section: float
    luminosity: float
    acceptance: float
    seeds: Sequence[int]
    workers: int = 1
    further: Mapping[str, Table] | None = None
    within: Range = EVERYWHERE
    trained_on: bool = False

    @property
    def injected(self) -> float:
        """Nominal signal events in the data."""
        return self.cross_section * self.luminosity * self.acceptance


def retrained_shifts(
    training: InjectedTraining, nominal: Table, varied: Mapping[str, Table], sources: Sequence[Source]
) -> Retrained:
    """Train with the nominal signal in the data and with each varied one, with every seed, and compare the yields.

    A varied signal is injected at the same cross section, so in other numbers if fewer or more of it are selected. The
    mean over the seeds is compared with that of the nominal trainings: what trainings of one seed share is no shift.
    (arXiv:2412.03747 trains once with each variation. Compared with the mean over seeds, a seed with which the method
    learns badly would count once for each source, and again in the random variation.)

    Parameters
    ----------
    training
        How to train, with how much signal.
    nominal, varied
        As for `relevance`, with the columns of the data.
    sources
        Those that are relevant; there may be none.

    Returns
    -------
    Retrained
        Relative shifts of the selected yield by source, and the nominal trainings.

    Raises
    ------
    InputError
        If a variation is missing, there are fewer than two seeds, or the signal has too few events.
    TrainingError
        As `Method.fit`.
    """
    _check_variations(varied, sources)
    if len(training.seeds) < 2:
        msg = f"retraining: {len(training.seeds)} seeds have no spread; give two at least"
        raise InputError(msg)
    total = float(event_weights(nominal).sum())
    methods, plain = _trained(training, {NOMINAL: nominal}, total)
    shifts = []
    for source in sources:
        _, again = _trained(training, {member: varied[member] for member in source.members}, total)
        means = np.array([again[member].mean(keepdims=True) for member in source.members])
        up, down = _change(source, plain[NOMINAL].mean(keepdims=True), means)
        shifts.append(SourceShift(source.name, source.kind, up, down, retrained=True))
    efficiencies = plain[NOMINAL] / total
    each = tuple(float(efficiency) for efficiency in efficiencies)
    return Retrained(tuple(shifts), random_variation(efficiencies), each, tuple(methods))


def _trained(
    training: InjectedTraining, members: Mapping[str, Table], total: float
) -> tuple[list[FoldedMethod], dict[str, FloatArray]]:
    """Methods trained with each member in the data, side by side, and the yields of each member by seed.

    ``total`` is the sum of the nominal weights: members with more or less of it are injected in other numbers.
    """
    jobs = []
    for name, signal in members.items():
        own = training.cross_section * float(event_weights(signal).sum()) / total
        drawn = draw_injections(signal, [own], training.luminosity, training.acceptance, training.seeds)
        jobs += [(name, signal, injection) for injection in drawn]
    methods = [training.make_method(injection.seed) for _, _, injection in jobs]
    tables = [injected_table(training.table, signal, injection.chosen) for _, signal, injection in jobs]
    further = [dict(training.further or {})] * len(jobs)
    fit_together(methods, tables, workers=training.workers, further=further)
    yields: dict[str, list[float]] = {name: [] for name in members}
    for method, (name, signal, injection) in zip(methods, jobs, strict=True):
        inside = _inside(signal, training.within)
        kept = injection.kept(method, signal, trained_on=training.trained_on)[inside]
        yields[name].append(float(kept.sum()) * float(event_weights(signal).sum()))
    return methods, {name: np.array(values) for name, values in yields.items()}


def _inside(table: Table, within: Range) -> BoolArray:
    mjj = column(table, "mjj")
    return np.asarray((mjj >= within[0]) & (mjj < within[1]))


def _change(source: Source, reference: FloatArray, again: FloatArray) -> tuple[float, float]:
    """Relative changes up and down of a yield, shape (1,), by those of the variations, shape (members, 1)."""
    if not reference[0] > 0:
        msg = f"uncertainty '{source.name}': the nominal training selects no signal; inject more"
        raise InputError(msg)
    up, down = combined_change(source.kind, reference, again)
    return float(up[0] / reference[0]), float(down[0] / reference[0])


def propagated_shifts(
    methods: Sequence[FoldedMethod],
    nominal: Table,
    varied: Mapping[str, Table],
    sources: Sequence[Source],
    *,
    within: Range = EVERYWHERE,
    trained_on: bool = False,
) -> list[SourceShift]:
    """What sources change in the signal that trained methods select, without training again.

    Parameters
    ----------
    methods
        Trained with the nominal signal in the data; what they select is added up.
    nominal, varied, sources
        As for `relevance`.
    within, trained_on
        As for `InjectedTraining`.

    Returns
    -------
    list of SourceShift
        Relative changes of the selected yield, one a source, in their order.

    Raises
    ------
    InputError
        If a variation is missing, or a method selects no signal.
    """
    _check_variations(varied, sources)
    names = dict.fromkeys(member for source in sources for member in source.members)
    reference, again = 0.0, dict.fromkeys(names, 0.0)
    for method in methods:
        votes = method.fold_votes(nominal, trained_on=trained_on)

        def selected(table: Table, method: FoldedMethod = method, votes: IntArray = votes) -> float:
            # Variations of the weight have the nominal features, and so the nominal votes.
            alike = table is nominal or all(
                np.array_equal(table[name], nominal[name]) for name in ("mjj", *method.inputs)
            )
            own = votes if alike else method.fold_votes(table, trained_on=trained_on)
            return float((event_weights(table) * own)[_inside(table, within)].sum())

        reference += selected(nominal)
        for name in names:
            again[name] += selected(varied[name])
    found = []
    for source in sources:
        members = np.array([[again[member]] for member in source.members])
        up, down = _change(source, np.array([reference]), members)
        found.append(SourceShift(source.name, source.kind, up, down))
    return found
