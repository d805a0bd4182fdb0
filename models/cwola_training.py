"""Training of CWoLa Hunting: pure functions of a sample in canonical order, one fold at a time."""

import functools
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import TrainingError
from data.eventid import N_FOLDS, N_INNER, inner_split
from data.types import BoolArray, FloatArray, IntArray, Table
from models.classifiers import Arrays, Classifier, Problem, take
from models.folds import TrainingSample, training_sample
from models.preprocessing import Inputs, RankTransform, fit_ranks, input_matrix, refuse_constant
from models.regions import HIGH, LOW, SIGNAL, Regions
from models.seeds import task_seed
from models.thresholds import side_band_threshold
from models.weights import band_counts, band_weights, match_pt


@dataclass(frozen=True)
class Head:
    """One classifier of a fold.

    Parameters
    ----------
    name
        ``j1``, ``j2`` or ``event``.
    inputs
        Its input columns.
    pt
        Column whose spectrum the side bands are matched in; None for no matching.
    """

    name: str
    inputs: tuple[str, ...]
    pt: str | None


@dataclass(frozen=True)
class FoldTask:
    """All that a fold's training depends on besides the sample and the fold's number."""

    heads: tuple[Head, ...]
    classifier: Classifier
    window: Regions
    working_point: float
    seed: int
    method: str
    pt_bins: int

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that training reads."""
        inputs = [name for head in self.heads for name in head.inputs]
        return ("mjj", *inputs, *(head.pt for head in self.heads if head.pt))


@dataclass(frozen=True)
class FoldResult:
    """A trained and calibrated fold.

    Parameters
    ----------
    networks
        Arrays of each head's classifier.
    ranks
        Rank transform of each head.
    threshold
        Score above which the fold selects.
    """

    networks: dict[str, Arrays]
    ranks: dict[str, RankTransform]
    threshold: float

    def score(self, x: Mapping[str, Inputs], heads: tuple[Head, ...], classifier: Classifier) -> FloatArray:
        """Largest rank of the heads, one an event."""
        outputs = {
            head.name: classifier.probability(self.networks[head.name], x[head.name]) for head in heads
        }
        return combined_ranks(self.ranks, outputs)

    def arrays(self) -> Arrays:
        """All arrays, named ``head/…``."""
        named: Arrays = {}
        for head, network in self.networks.items():
            named |= {f"{head}/network/{name}": array for name, array in network.items()}
            named |= {
                f"{head}/rank/knots": self.ranks[head].knots,
                f"{head}/rank/ranks": self.ranks[head].ranks,
            }
        return named

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, npt.NDArray[Any]],
        heads: tuple[Head, ...],
        classifier: Classifier,
        threshold: float,
    ) -> "FoldResult":
        """From the arrays of a bundle.

        Raises
        ------
        ValueError
            If they could not have been saved.
        """
        networks, ranks = {}, {}
        for head in heads:
            prefix = f"{head.name}/network/"
            network = {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
            classifier.check(network, len(head.inputs))
            knots = take(arrays, f"{head.name}/rank/knots", "float64", None)
            steps = take(arrays, f"{head.name}/rank/ranks", "float64", len(knots))
            ascending = len(knots) > 0 and np.all(np.diff(knots) > 0) and np.all(np.diff(steps) > 0)
            if not ascending or steps[0] < 0 or steps[-1] > 1:
                msg = f"the rank transform of '{head.name}' does not ascend from 0 to 1"
                raise ValueError(msg)
            networks[head.name], ranks[head.name] = network, RankTransform(knots, steps)
        return cls(networks, ranks, threshold)


def combined_ranks(ranks: Mapping[str, RankTransform], outputs: Mapping[str, FloatArray]) -> FloatArray:
    """The largest of the heads' ranks: one odd jet is enough."""
    return functools.reduce(np.maximum, [ranks[name](output) for name, output in outputs.items()])


def checked_sample(table: Table, task: FoldTask, hashed: tuple[str, ...]) -> TrainingSample:
    """The training sample in canonical order, with everything checked that training relies on.

    Raises
    ------
    InputError
        If a column is missing, has another length or holds values that are not finite.
    TrainingError
        If the window lies outside the data, a band is empty, an input constant or a fold too small.
    """
    for head in task.heads:
        if head.pt and head.pt not in table and all(name in table for name in head.inputs):
            msg = (
                f"column '{head.pt}' is missing: the side bands are matched to its spectrum; add it, "
                "or train without matching (pt_bins=0)"
            )
            raise TrainingError(msg)
    sample = training_sample(table, task.columns, hashed)
    mjj = sample.columns["mjj"]
    region = task.window.of(mjj)
    if not np.any(region >= 0):
        reach = f"{mjj.min():.0f} … {mjj.max():.0f} GeV" if len(mjj) else "no event"
        msg = f"window {task.window.label()} GeV holds none of the {len(mjj)} events ({reach}); choose another window"
        raise TrainingError(msg)
    try:
        band_counts(region)
    except TrainingError as error:
        msg = f"window {task.window.label()} GeV: {error}"
        raise TrainingError(msg) from None
    for head in task.heads:
        refuse_constant(input_matrix(sample.columns, head.inputs)[region >= 0], head.inputs)
    for fold in range(N_FOLDS):
        _refuse_small(region, sample, fold, task)
    return sample


def _refuse_small(region: IntArray, sample: TrainingSample, fold: int, task: FoldTask) -> None:
    held = sample.fold == fold
    needed = int(np.ceil(1.0 / task.working_point))
    low, high = (int(np.count_nonzero(held & (region == band))) for band in (LOW, HIGH))
    if low + high < needed or min(low, high) == 0:
        msg = (
            f"window {task.window.label()} GeV: fold {fold} holds {low} + {high} side-band events; a threshold at "
            f"working point {task.working_point:g} needs {needed}, some of them in each band: widen the window, "
            "raise working_point or add events"
        )
        raise TrainingError(msg)
    split = inner_split(sample.batch, fold)
    for number in range(N_INNER):
        classes = [
            int(np.count_nonzero((split == number) & mask)) for mask in (region == SIGNAL, _bands(region))
        ]
        if min(classes) == 0:
            msg = (
                f"window {task.window.label()} GeV: inner split {number} of fold {fold} holds {classes[0]} "
                f"signal-region and {classes[1]} side-band events; it needs both: widen the window or add events"
            )
            raise TrainingError(msg)


def _bands(region: IntArray) -> BoolArray:
    return np.isin(region, (LOW, HIGH))


def train_fold(sample: TrainingSample, task: FoldTask, fold: int) -> FoldResult:
    """Train one fold's networks on the other folds, and calibrate them on its own events.

    A pure function: the networks depend on the rows of the other four folds and on nothing else of the sample.

    Parameters
    ----------
    sample
        In canonical order, checked.
    task
        Options, window, seed.
    fold
        The fold held out, 0 … 4.

    Returns
    -------
    FoldResult
        Networks, rank transforms, threshold.
    """
    region = task.window.of(sample.columns["mjj"])
    split = inner_split(sample.batch, fold)
    fitted, held = (region >= 0) & (split >= 0), (region >= 0) & (split < 0)
    networks, outputs = {}, {}
    for head in task.heads:
        x = input_matrix(sample.columns, head.inputs)
        weight = band_weights(region[fitted])
        if head.pt:
            weight = match_pt(sample.columns[head.pt][fitted], region[fitted], weight, task.pt_bins)
        problem = Problem(x[fitted], region[fitted] == SIGNAL, weight / weight.mean(), split[fitted])
        networks[head.name] = task.classifier.train(problem, _seeds(task, fold, head.name))
        outputs[head.name] = task.classifier.probability(networks[head.name], x[held])
    ranks = {name: fit_ranks(output) for name, output in outputs.items()}
    threshold = side_band_threshold(combined_ranks(ranks, outputs), region[held], task.working_point)
    return FoldResult(networks, ranks, threshold)


def _seeds(task: FoldTask, fold: int, head: str) -> Callable[..., int]:
    return functools.partial(task_seed, task.seed, task.method, task.window.label(), "fold", fold, head)


def train_folds(sample: TrainingSample, task: FoldTask, workers: int) -> tuple[FoldResult, ...]:
    """Train all folds, side by side in ``workers`` processes; the result is the same to the bit.

    Raises
    ------
    TrainingError
        If ``workers`` is not positive.
    """
    if workers < 1:
        msg = f"workers must be at least 1, found {workers}"
        raise TrainingError(msg)
    train = functools.partial(train_fold, sample, task)
    if workers == 1:
        return tuple(map(train, range(N_FOLDS)))
    # Fresh interpreters: a fork of a process whose OpenMP or torch threads have started can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, N_FOLDS), mp_context=context) as pool:
        return tuple(pool.map(train, range(N_FOLDS)))
