"""Runs trainings side by side: networks that fit together train in one stack, in one process or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from data.errors import TrainingError
from models import epochs, trees
from models.arrays import Arrays
from models.jobs import Job, Member, Result, StackJob, StackResult, Training, TreeJob, side_by_side
from models.processes import Map, processes
from models.stack import Device, Precision, train_stack
from models.threads import one_thread
from models.torch_later import torch

T = TypeVar("T")
MOST_MEMBERS = 48
"""Networks in one stack: more gain nothing, as their weights no longer fit into a core's cache."""


def train_together(
    trainings: Sequence[Training[T]],
    *,
    workers: int = 1,
    device: Device = "cpu",
    precision: Precision = "float32",
) -> list[T]:
    """Run trainings to their ends, side by side.

    Each yields jobs and is sent their results. Stacked jobs of all trainings whose networks and schedules are equal
    become one stack, whatever training they come from. On one CPU a network's bits depend neither on the stack it is
    in nor on the number of processes, nor do sums on the threads that the process has: all runs in one.

    Parameters
    ----------
    trainings
        Generators of jobs.
    workers
        Processes that train side by side; see `models.processes.shared_processes`.
    device, precision
        See `models.stack.train_stack`.

    Returns
    -------
    list
        What each training returned, in order.

    Raises
    ------
    TrainingError
        If ``workers`` is not positive, or a process dies; or what a training raises.
    """
    if workers < 1:
        msg = f"workers must be at least 1, found {workers}"
        raise TrainingError(msg)
    whole = side_by_side(trainings)
    with one_thread(), processes(workers) as mapped:
        answer, number = None, 0
        while True:
            try:
                jobs = whole.send(cast("Any", answer))
            except StopIteration as stop:
                return cast("list[T]", stop.value)
            number += 1
            answer = _results(number, jobs, workers, device, precision, mapped)


@dataclass(frozen=True)
class _Part:
    """Some members of a merged stack, with the job and place that each belongs to; ``number`` among all of a round."""

    job: StackJob
    places: tuple[tuple[int, int], ...]
    device: Device
    precision: Precision
    number: int = 0


def _results(
    number: int, jobs: Sequence[Job], workers: int, device: Device, precision: Precision, mapped: Map
) -> list[Result]:
    stacks = {number: job for number, job in enumerate(jobs) if isinstance(job, StackJob)}
    found = [part for group in _groups(stacks) for part in _parts(group, workers, device, precision)]
    parts = [replace(part, number=place) for place, part in enumerate(found)]
    forests = {number: job for number, job in enumerate(jobs) if isinstance(job, TreeJob)}
    with epochs.watched(number, [(len(part.job.members), part.job.schedule.epochs) for part in parts]):
        trained = mapped(_work, [*parts, *forests.values()])
    results: dict[int, Result] = dict(zip(forests, trained[len(parts) :], strict=True))
    return [(results | _collected(stacks, parts, trained))[number] for number in range(len(jobs))]


def _work(task: "_Part | TreeJob") -> Any:
    if isinstance(task, TreeJob):
        return trees.train(task.problem, task.settings, task.seed)
    job = task.job
    trained = train_stack(
        job.network,
        job.schedule,
        job.data,
        job.members,
        device=task.device,
        precision=task.precision,
        told=partial(epochs.note, task.number),
    )
    if task.device == "cuda":
        torch.cuda.empty_cache()  # processes outlive a training, and memory that one keeps no other can have
    return trained


def _groups(stacks: Mapping[int, StackJob]) -> list[dict[int, StackJob]]:
    """Jobs whose networks may share a stack, by number."""
    groups: dict[Any, dict[int, StackJob]] = {}
    for number, job in stacks.items():
        columns = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(job.data.items()))
        constants = tuple((name, array.shape) for name, array in sorted(job.members[0].buffers.items()))
        key = (type(job.network), job.network, job.schedule.model_dump_json(), columns, constants)
        groups.setdefault(key, {})[number] = job
    return list(groups.values())


def _parts(group: Mapping[int, StackJob], workers: int, device: Device, precision: Precision) -> list[_Part]:
    """The stacks in which a group trains: one for each process, none too large."""
    data, offsets = _joined([job.data for job in group.values()])
    members = [
        ((number, place), _shifted(member, offset))
        for (number, job), offset in zip(group.items(), offsets, strict=True)
        for place, member in enumerate(job.members)
    ]
    count = max(min(workers, len(members)), -(-len(members) // MOST_MEMBERS)) if device == "cpu" else 1
    first = next(iter(group.values()))
    parts = []
    for chosen in np.array_split(np.arange(len(members)), count):
        own = [members[position] for position in chosen]
        job = replace(first, data=data, members=tuple(member for _, member in own))
        parts.append(_Part(job, tuple(place for place, _ in own), device, precision))
    return parts


def _joined(tables: Sequence[Mapping[str, npt.NDArray[Any]]]) -> tuple[Arrays, list[int]]:
    """Data of several jobs as one, and the first row of each; the same arrays are not held twice."""
    distinct: dict[tuple[int, ...], int] = {}
    kept, offsets, rows = [], [], 0
    for table in tables:
        identity = tuple(id(table[name]) for name in sorted(table))
        if identity not in distinct:
            distinct[identity] = rows
            kept.append(table)
            rows += len(next(iter(table.values())))
        offsets.append(distinct[identity])
    if len(kept) == 1:
        return dict(kept[0]), offsets
    return {name: np.concatenate([table[name] for table in kept]) for name in kept[0]}, offsets


def _shifted(member: Member, offset: int) -> Member:
    return replace(member, fitted=member.fitted + offset, validation=member.validation + offset)


def _collected(
    stacks: Mapping[int, StackJob], parts: Sequence[_Part], trained: Sequence[Any]
) -> dict[int, Result]:
    """Results of the jobs from those of the stacks that they were trained in."""
    places = {}
    for part, result in zip(parts, trained, strict=False):
        for position, place in enumerate(part.places):
            places[place] = (
                result.networks[position],
                result.validation[position],
                result.history[position],
                result.training_history[position],
            )
    collected: dict[int, Result] = {}
    for number, job in stacks.items():
        own = [places[number, place] for place in range(len(job.members))]
        collected[number] = StackResult(
            tuple(networks for networks, _, _, _ in own),
            np.array([loss for _, loss, _, _ in own]),
            np.stack([history for _, _, history, _ in own]),
            np.stack([history for _, _, _, history in own]),
        )
    return collected
