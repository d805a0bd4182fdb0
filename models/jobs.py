"""Training as jobs: methods say what is to be trained, one driver trains everything that fits together at once.

A method's training is a generator. It yields a list of jobs, gets a list of results, and so on until it returns its
trained state. The driver runs many such trainings side by side (folds, windows, seeds, injected signals) and puts all
networks of one kind into one stack.
"""

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pydantic

from data.sections import Section
from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.networks.base import Network
from models.problems import Problem
from models.trees import HISTORY, TreeSettings

LOSSES = "losses/"
"""What the names of losses begin with among the arrays of a trained fold; scoring reads none of them."""
TREES = "trees"
"""Kind of the losses of boosted trees."""
REGISTERS = 32
"""Numbers that the widest vector loops take at a time."""


class Schedule(Section):
    """How a stack is trained; every member keeps its own count of steps, learning rate and early stopping."""

    epochs: int = pydantic.Field(default=50, ge=1)
    """Most passes over a member's training rows."""
    batch: int = pydantic.Field(default=256, ge=2)
    """Rows a step, rounded up to a multiple of 32; the last batch of an epoch is filled up from its first rows."""
    learning_rate: float = pydantic.Field(default=1e-3, gt=0, le=1)
    """Learning rate; the largest one of a ``one_cycle``."""
    decay: Literal["constant", "one_cycle", "cosine"] = "constant"
    """``one_cycle`` rises over the first fifth of the steps and falls to zero; ``cosine`` only falls."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates of the first and second moment."""
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    clip: float = pydantic.Field(default=0.0, ge=0)
    """Largest norm of a member's gradient; 0 for no limit."""
    patience: int = pydantic.Field(default=0, ge=0)
    """Epochs without a lower monitored loss before a member stops; 0: never."""
    monitor: Literal["validation", "training"] = "validation"
    """The loss that early stopping watches. The weights kept are always those of the best validation loss."""
    min_delta: float = pydantic.Field(default=0.0, ge=0)
    """What counts as lower."""
    keep: int = pydantic.Field(default=1, ge=1)
    """Epochs kept, those of the lowest validation loss: an ensemble if more than one."""
    plateau: int = pydantic.Field(default=0, ge=0)
    """Epochs without a lower validation loss before the learning rate is multiplied by ``plateau_factor``; 0: never."""
    plateau_factor: float = pydantic.Field(default=0.3, gt=0, lt=1)
    """What the learning rate is multiplied by then."""

    @property
    def rows(self) -> int:
        """Rows of a step, in whole vector registers.

        The last numbers of a tensor that fill no register go another way through functions such as the sigmoid, which
        rounds differently; with whole registers a member does not notice its place.
        """
        return -(-self.batch // REGISTERS) * REGISTERS


@dataclass(frozen=True)
class Member:
    """One network of a job.

    Parameters
    ----------
    fitted, validation
        Row numbers of the job's data; at least one each.
    seed
        Of initial weights, shuffling and noise.
    buffers
        Constants of this member (e.g. the mean of its inputs), without the axis of members; the network finds them
        under ``buffer.NAME``.
    """

    fitted: IntArray
    validation: IntArray
    seed: int
    buffers: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class StackJob:
    """Networks of one kind to be trained on one set of data.

    Parameters
    ----------
    network
        Their kind.
    schedule
        How they train.
    data
        Arrays that the network's losses read, float32 (or int64), one entry a row.
    members
        The networks.
    name
        What they learn, for the reader of their losses, where a method has several jobs of one kind.
    """

    network: Network
    schedule: Schedule
    data: Mapping[str, npt.NDArray[Any]]
    members: tuple[Member, ...]
    name: str = ""


@dataclass(frozen=True)
class StackResult:
    """What became of a job's networks.

    Parameters
    ----------
    networks
        One a member: parameters and buffers by name, float32, with a leading axis of kept epochs, best first.
    validation
        Best validation loss of each member, shape (members,).
    history
        Validation loss of each member after each epoch, shape (members, epochs), NaN after its end.
    training_history
        The same of the training loss, in the mean over each epoch.
    """

    networks: tuple[Arrays, ...]
    validation: FloatArray
    history: FloatArray
    training_history: FloatArray


@dataclass(frozen=True)
class TreeJob:
    """Boosted trees to be trained on one problem; ``seed`` gives the seed of a part of the job, ``name`` as for `StackJob`."""

    problem: Problem
    settings: TreeSettings
    seed: Callable[..., int]
    name: str = ""


Job = StackJob | TreeJob
Result = StackResult | Arrays
"""Of a `StackJob` a `StackResult`, of a `TreeJob` the forest's arrays."""
T = TypeVar("T")
Training = Generator[Sequence[Job], Sequence[Any], T]
"""A training: yields jobs, is sent their results in the same order, returns what was trained."""


def side_by_side(trainings: Sequence[Training[T]]) -> Training[list[T]]:
    """Several trainings as one, in lock step: a round has the jobs of all that still run.

    Jobs that one driver sees in one round can train in one stack, which the same jobs one after the other cannot.

    Parameters
    ----------
    trainings
        Generators that have not begun.

    Returns
    -------
    list
        What each returned, in order.
    """
    finished: dict[int, T] = {}
    asked = {number: _advanced(training, None, finished, number) for number, training in enumerate(trainings)}
    while len(finished) < len(trainings):
        results = iter((yield [job for jobs in asked.values() for job in jobs]))
        for number in [number for number in asked if number not in finished]:
            answer = [next(results) for _ in asked[number]]
            asked[number] = _advanced(trainings[number], answer, finished, number)
    return [finished[number] for number in range(len(trainings))]


def _advanced(
    training: Training[T], answer: Sequence[Any] | None, finished: dict[int, T], number: int
) -> Sequence[Job]:
    """The next jobs of a training; none where it has returned."""
    try:
        return training.send(cast("Any", answer))
    except StopIteration as stop:
        finished[number] = stop.value
        return ()


def recorded(training: Training[Arrays]) -> Training[Arrays]:
    """The training of a fold with the losses of all its jobs among what it returns.

    Parameters
    ----------
    training
        A generator that has not begun.

    Returns
    -------
    dict
        The fold's arrays, and ``losses/KIND/NAME/validation`` and ``…/training`` of each job, float32, shape (members,
        epochs; of trees their number and 1), ∞ after a member's end. KIND is ``trees`` or the kind of network in words.
    """
    arrays, losses = yield from with_losses(training)
    return {**arrays, **prefixed(LOSSES, losses)}


def with_losses(training: Training[T]) -> Training[tuple[T, Arrays]]:
    """A training with the losses of all its jobs beside what it returns.

    Parameters
    ----------
    training
        A generator that has not begun.

    Returns
    -------
    result, losses
        What the training returns, and the losses as in `recorded`, by their names without ``losses/``.
    """
    losses: Arrays = {}
    answer: Sequence[Any] | None = None
    while True:
        try:
            jobs = training.send(cast("Any", answer))
        except StopIteration as stop:
            return stop.value, losses
        answer = yield jobs
        for job, result in zip(jobs, answer, strict=True):
            losses |= prefixed(f"{_free_name(job, losses)}/", _losses_of(result))


def _free_name(job: Job, taken: Mapping[str, Any]) -> str:
    """Kind and name of a job; jobs of one kind without names of their own are numbered."""
    kind = TREES if isinstance(job, TreeJob) else _in_words(type(job.network).__name__)
    number = next(
        number for number in itertools.count(1) if f"{kind}/{job.name or number}/validation" not in taken
    )
    return f"{kind}/{job.name or number}"


def _in_words(name: str) -> str:
    """``SplineFlow`` becomes ``spline flow``."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()


def _losses_of(result: Result) -> Arrays:
    """Losses with ∞ after a member's end: NaN would equal no NaN where bundles are compared."""
    found = (
        {"validation": result.history, "training": result.training_history}
        if isinstance(result, StackResult)
        else below(result, HISTORY)
    )
    return {
        which: np.nan_to_num(history, nan=np.inf, posinf=np.inf).astype(np.float32)
        for which, history in found.items()
    }
