"""Methods side by side: trained on one table, judged on labelled events that they were not trained on."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import models
from data.errors import InputError
from data.eventid import N_FOLDS
from data.types import BoolArray, FloatArray, IntArray, Table
from models.complementarity import Complementarity, complementarity_by_class
from models.intervals import LEVEL
from models.metrics import Band, Roc, area_under_curve, band, max_sic, roc, sic_at
from models.regions import OUTSIDE, SIGNAL
from models.sculpting import Sculpting, sculpting

BACKGROUND_EFFICIENCIES = (1e-2, 1e-3)
"""Where the significance improvement is quoted."""
_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class Settings:
    """How methods are made and trained for a comparison.

    Attributes
    ----------
    signal_region
        Edges in the dijet mass, GeV.
    options
        Method to its options, ``preset`` and ``features`` among them.
    working_point
        Fraction of the side bands that a selection keeps.
    trainings, seed
        Trainings a method, and the seed of the first; the next ones count up.
    """

    signal_region: tuple[float, float]
    options: Mapping[str, Mapping[str, Any]]
    working_point: float = 0.01
    trainings: int = 5
    seed: int = 0


@dataclass(frozen=True)
class TestEvents:
    """Labelled events, of the dijet masses that a method covers.

    Attributes
    ----------
    table
        Columns, ``mjj`` (GeV) among them.
    label
        1 for signal, 0 for background.
    weight
        Event weights.
    trained_on
        As `Method.evaluate`: True where these are the events trained on, each judged by the fold that never saw it;
        None where they are others, of which those that were trained on nevertheless are recognised.
    """

    table: Table
    label: IntArray
    weight: FloatArray
    trained_on: Literal[True] | None


@dataclass(frozen=True)
class Judged:
    """What one training says of the test events.

    Attributes
    ----------
    score
        Rank in [0, 1], shape (events,).
    selected
        Whether most of the folds that judge an event select it.
    region
        Of each event: 0 lower side band, 1 signal region, 2 upper side band, −1 outside.
    cpu_seconds
        Of the training.
    """

    score: FloatArray
    selected: BoolArray
    region: IntArray
    cpu_seconds: float


@dataclass(frozen=True)
class Spread:
    """A number of several trainings, in its own unit.

    Attributes
    ----------
    median
        Over the trainings.
    low, high
        Interval that holds the central 68 %.
    values
        One a training.
    """

    median: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class MethodResult:
    """A method's figures.

    Attributes
    ----------
    name
        The method.
    max_sic
        Largest significance improvement with 25 test background events passing or more, in the signal region.
    max_sic_error
        Its binomial standard deviation, of the first training.
    sic
        Significance improvement at `BACKGROUND_EFFICIENCIES`, with the binomial standard deviation of the first.
    auc, cpu_seconds
        Area under the ROC curve; CPU time of a training.
    band
        The significance improvement against the background efficiency.
    curves
        ROC curves, one a training.
    sculpting
        Test of the first training that the selected fraction of background is flat in the window; None with too few
        events.
    """

    name: str
    max_sic: Spread
    max_sic_error: float
    sic: dict[float, tuple[Spread, float]]
    auc: Spread
    cpu_seconds: Spread
    band: Band
    curves: tuple[Roc, ...]
    sculpting: Sculpting | None


@dataclass(frozen=True)
class Comparison:
    """Methods side by side.

    Attributes
    ----------
    methods
        Name to its figures.
    complementarity
        Class of events to the matrices of the first trainings, in the signal region; empty with one method.
    window
        Edges of the signal region, GeV.
    """

    methods: dict[str, MethodResult]
    complementarity: dict[str, Complementarity]
    window: tuple[float, float]
    events: dict[str, int] = field(default_factory=dict)


def spread(values: Sequence[float]) -> Spread:
    """Median and central 68 % of some numbers.

    Parameters
    ----------
    values
        One or more, of any unit.

    Returns
    -------
    Spread
        In the same unit.
    """
    tail = (1.0 - LEVEL) / 2.0
    low, median, high = np.quantile(values, [tail, 0.5, 1.0 - tail])
    return Spread(float(median), float(low), float(high), tuple(map(float, values)))


def labelled(table: Table, *, trained_on: Literal[True] | None) -> TestEvents:
    """A table with a column ``label``, as events to be judged.

    Parameters
    ----------
    table
        ``mjj``, ``label`` (above 0: signal) and the methods' columns; ``weight`` where events have one.
    trained_on
        See `TestEvents`.

    Returns
    -------
    TestEvents
        Without the label among the columns; of weight 1 where they have none.

    Raises
    ------
    InputError
        If there is no label.
    """
    for name in ("mjj", "label"):
        if name not in table:
            msg = f"the table of test events has no column '{name}'; columns here: {', '.join(sorted(table))}"
            raise InputError(msg)
    label = (np.asarray(table["label"]) > 0).astype(np.int64)
    weight = np.asarray(table["weight"], dtype=np.float64) if "weight" in table else np.ones(len(label))
    return TestEvents({k: v for k, v in table.items() if k != "label"}, label, weight, trained_on)


def train_and_judge(
    name: str,
    settings: Settings,
    table: Table,
    further: Mapping[str, Table],
    test: TestEvents,
    number: int,
) -> Judged:
    """Train a method once and let it judge the test events.

    Parameters
    ----------
    name
        The method.
    settings
        How it is made.
    table
        What it is trained on; a label in it is taken out.
    further
        The other tables that there are; the method gets those that it takes.
    test
        The events to be judged.
    number
        Of the training, from 0 on.

    Returns
    -------
    Judged
        With the CPU time of the training alone.
    """
    method = models.create(
        name,
        signal_region=settings.signal_region,
        working_point=settings.working_point,
        seed=settings.seed + number,
        **settings.options[name],
    )
    unlabelled = {key: column for key, column in table.items() if key != "label"}
    taken = {key: columns for key, columns in further.items() if key in method.takes}
    start = time.process_time()
    method.fit(unlabelled, workers=1, **taken)
    seconds = time.process_time() - start
    score, votes = method.evaluate(test.table, trained_on=test.trained_on)
    region = method.window.of(np.asarray(test.table["mjj"], dtype=np.float64))
    return Judged(score, votes > N_FOLDS // 2, region, seconds)


def figures(name: str, judged: Sequence[Judged], test: TestEvents) -> MethodResult:
    """The figures of a method from its trainings.

    Parameters
    ----------
    name
        The method.
    judged
        At least one training.
    test
        The events that they judge.

    Raises
    ------
    InputError
        If signal, or enough background, is missing in the signal region.
    """
    inside = judged[0].region == SIGNAL
    curves = tuple(roc(one.score[inside], test.label[inside], test.weight[inside]) for one in judged)
    peaks = [max_sic(curve) for curve in curves]
    points = {eff: [sic_at(curve, eff) for curve in curves] for eff in BACKGROUND_EFFICIENCIES}
    return MethodResult(
        name,
        max_sic=spread([peak.value for peak in peaks]),
        max_sic_error=peaks[0].error,
        sic={eff: (spread([value for value, _ in found]), found[0][1]) for eff, found in points.items()},
        auc=spread([area_under_curve(curve) for curve in curves]),
        cpu_seconds=spread([one.cpu_seconds for one in judged]),
        band=band(curves),
        curves=curves,
        sculpting=sculpting_or_none(
            name,
            np.asarray(test.table["mjj"], dtype=np.float64),
            judged[0].selected,
            (test.label == 0) & (judged[0].region != OUTSIDE),
            test.weight,
        ),
    )


def sculpting_or_none(
    name: str, mjj: FloatArray, selected: BoolArray, used: BoolArray, weight: FloatArray
) -> Sculpting | None:
    """The test of a flat selected fraction; None where too few of the events are selected for it.

    Parameters
    ----------
    name
        The method, for the log.
    mjj
        GeV, shape (n,).
    selected
        Whether the method selects each event, shape (n,).
    used
        The events to be tested, shape (n,).
    weight
        Event weights, shape (n,).

    Returns
    -------
    Sculpting
        None where too few of the events are selected.
    """
    try:
        return sculpting(mjj[used], selected[used], weight=weight[used])
    except InputError as error:
        _LOG.warning("%s: no test of a flat selection: %s", name, error)
        return None


def compare(settings: Settings, table: Table, further: Mapping[str, Table], test: TestEvents) -> Comparison:
    """Train every method of the settings and put their figures side by side.

    Parameters
    ----------
    settings
        Methods and how they are trained.
    table
        What they are trained on.
    further
        Further tables by keyword.
    test
        Labelled events.

    Returns
    -------
    Comparison
        With the sculpting and complementarity of the first trainings.

    Raises
    ------
    OddjetError
        If a method cannot be trained on these tables, or the test events are too few.
    """
    results, first = {}, {}
    for name in settings.options:
        judged = []
        for number in range(settings.trainings):
            judged.append(train_and_judge(name, settings, table, further, test, number))
            _LOG.info(
                "%s: training %d of %d, %.1f s CPU",
                name,
                number + 1,
                settings.trainings,
                judged[-1].cpu_seconds,
            )
        results[name], first[name] = figures(name, judged, test), judged[0]
    inside = next(iter(first.values())).region == SIGNAL
    matrices = {}
    if len(first) > 1:
        matrices = complementarity_by_class(
            {name: one.score[inside] for name, one in first.items()},
            {name: one.selected[inside] for name, one in first.items()},
            test.label[inside],
            test.weight[inside],
        )
    counts = {
        "signal": int(np.count_nonzero(inside & (test.label == 1))),
        "background": int(np.count_nonzero(inside & (test.label == 0))),
    }
    return Comparison(results, matrices, settings.signal_region, counts)
