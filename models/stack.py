"""The batched trainer: networks of one kind train as one stacked model, each as if it were alone.

Parameters of all members lie in one tensor (members, parameters), so that optimiser, clipping and snapshots are a few
operations whatever the network. Everything random is drawn from a member's own generators, every sum runs over a
member's own rows, and a step has the same number of rows for any stack: on one CPU a member's bits do not depend on
who else is in the stack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, TrainingError
from data.types import FloatArray
from models.arrays import Arrays
from models.jobs import Member, Schedule, StackResult
from models.memory import kept_memory
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters, Scratch, autograd_gradients
from models.networks.scoring import single_thread
from models.optimiser import Adam
from models.progress import Progress, generator_of
from models.seeds import task_seed
from models.torch_later import torch

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]
VALIDATION_ROWS = 1024
"""Rows of one validation step; always as many, so that products round the same in any stack."""


@dataclass(frozen=True)
class _Layout:
    """Where each parameter lies in a member's row: trained ones first, then buffers."""

    shapes: dict[str, tuple[int, ...]]
    trained: int

    @classmethod
    def of(cls, parameters: Parameters) -> _Layout:
        ordered = sorted(parameters, key=lambda name: name.startswith(BUFFER))
        shapes = {name: tuple(parameters[name].shape) for name in ordered}
        trained = sum(int(np.prod(s)) for name, s in shapes.items() if not name.startswith(BUFFER))
        return cls(shapes, trained)

    def row(self, parameters: Parameters) -> torch.Tensor:
        return torch.cat([parameters[name].detach().reshape(-1).to(torch.float32) for name in self.shapes])

    def views(self, flat: torch.Tensor) -> Parameters:
        """Parameters of shape (members, …) that share the memory of ``flat``; without buffers where it holds none."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            if start + size <= flat.shape[1]:
                views[name] = flat[:, start : start + size].view(len(flat), *shape)
            start += size
        return views


class _Live:
    """The members that still train, those of the most steps an epoch first: parameters, gradients, moments."""

    def __init__(self, flat: torch.Tensor, layout: _Layout, adam: Adam) -> None:
        self.flat, self.layout, self.adam = flat, layout, adam
        self.gradient = torch.empty_like(adam.first)
        self._views: dict[int, tuple[Parameters, Parameters]] = {}

    def subset(self, chosen: torch.Tensor) -> _Live:
        """A copy of some members."""
        return _Live(self.flat[chosen], self.layout, self.adam.subset(chosen))

    def views(self, count: int) -> tuple[Parameters, Parameters]:
        """Parameters of the first members, and where their gradients belong."""
        if count not in self._views:
            parameters = self.layout.views(self.flat[:count])
            self._views[count] = parameters, self.layout.views(self.gradient[:count])
        return self._views[count]

    def step(self, rate: torch.Tensor) -> None:
        """One step of the optimiser for the first members, one learning rate each."""
        count = len(rate)
        self.adam.step(self.flat[:count, : self.layout.trained], self.gradient[:count], rate)


def train_stack(
    network: Network,
    schedule: Schedule,
    data: Mapping[str, npt.NDArray[Any]],
    members: Sequence[Member],
    *,
    device: Device = "cpu",
    precision: Precision = "float32",
    told: Callable[[int], None] | None = None,
) -> StackResult:
    """Train all members of a stack at once.

    Parameters
    ----------
    network
        Kind of network.
    schedule
        Epochs, batches, learning rate, stopping; each member keeps its own count.
    data
        What the losses read, one entry a row.
    members
        Rows, seed and constants of each network.
    device
        ``cuda`` trains on a GPU.
    precision
        ``bfloat16`` computes losses in mixed precision.
    told
        Called after each epoch with the number of those that are over, at the end with that of all.

    Returns
    -------
    StackResult
        Weights of the best epochs, on the CPU.

    Raises
    ------
    ConfigError
        If there is no such device.
    TrainingError
        If a member has no rows, or its loss is no longer finite.
    """
    if device == "cuda" and not torch.cuda.is_available():
        msg = "device: cuda, but torch finds no GPU here; use device: cpu"
        raise ConfigError(msg)
    for number, member in enumerate(members):
        if min(len(member.fitted), len(member.validation)) == 0:
            msg = (
                f"network {number} of the stack has {len(member.fitted)} training and {len(member.validation)} "
                "validation rows; it needs both: add events or widen the window"
            )
            raise TrainingError(msg)
    with single_thread(), kept_memory(), _without_denormals():
        trainer = _Trainer(network, schedule, data, members, device, precision)
        trainer.run(told or _unheard)
        return trainer.result()


def _unheard(_: int) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Moments of units that died decay through numbers whose arithmetic is a hundred times slower; they become 0."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


class _Trainer:
    """One stack from first weights to kept epochs."""

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        data: Mapping[str, npt.NDArray[Any]],
        members: Sequence[Member],
        device: Device,
        precision: Precision,
    ) -> None:
        self.network, self.schedule, self.members = network, schedule, list(members)
        self.device, self.precision = device, precision
        self.data = {
            name: torch.from_numpy(np.ascontiguousarray(array)).to(device) for name, array in data.items()
        }
        rows, self.layout = _first_rows(network, members)
        self.progress = Progress(members, schedule, rows.shape[1])
        # Those with more steps come first: whoever still has steps in an epoch are then the first so many.
        self.alive = np.argsort(-self.progress.steps, kind="stable")
        flat = rows[torch.from_numpy(self.alive)].to(device)
        self.live = _Live(flat, self.layout, Adam.start(flat[:, : self.layout.trained], schedule))
        self.scratch = Scratch()

    def run(self, told: Callable[[int], None]) -> None:
        """All epochs."""
        for epoch in range(self.schedule.epochs):
            training = self._epoch()
            validation = self._validate()
            going = self.progress.record(epoch, self.alive, self.live.flat, (training, validation))
            if len(going) == 0:
                break
            told(epoch + 1)
            if len(going) < len(self.alive):
                self.live = self.live.subset(torch.from_numpy(going).to(self.device))
                self.alive = self.alive[going]
        told(self.schedule.epochs)

    def _epoch(self) -> FloatArray:
        """One pass over every live member's rows; gives the mean training losses."""
        size, progress = self.schedule.rows, self.progress
        steps = progress.steps[self.alive]
        rows = [
            np.resize(progress.shuffles[number].permutation(self.members[number].fitted), steps_of * size)
            for number, steps_of in zip(self.alive, steps, strict=True)
        ]
        total = torch.zeros(len(self.alive), dtype=torch.float64, device=self.device)
        for step in range(int(steps[0])):
            count, after = (int(np.count_nonzero(steps > done)) for done in (step, step + 1))
            stepping = self.alive[:count]
            batch = self._batch(np.stack([own[step * size : (step + 1) * size] for own in rows[:count]]))
            rate = torch.from_numpy(progress.rates(stepping).astype(np.float32)).to(self.device)
            # In memory row by row: else the order of a sum, and its rounding, would depend on the number of members.
            total[:count] += self._gradients(stepping, batch).contiguous().mean(dim=1).double()
            self.live.step(rate)
            progress.done[stepping] += 1
            if after < count:
                self._refresh(batch, after, count)
        return np.asarray(total.cpu().numpy() / steps)

    def _gradients(self, stepping: npt.NDArray[np.int64], batch: Batch) -> torch.Tensor:
        """Losses (members, rows); their gradients are written where the optimiser finds them."""
        parameters, into = self.live.views(len(stepping))
        noise = Noise([self.progress.noise[n] for n in stepping], training=True, device=self.device)
        if self.precision == "bfloat16":
            return autograd_gradients(self._losses, parameters, batch, noise, into)
        return self.network.gradients(parameters, batch, noise, into, self.scratch)

    def _refresh(self, batch: Batch, first: int, last: int) -> None:
        """New buffers of the members whose epoch ends with this batch."""
        own = {name: value[first:last] for name, value in self.live.views(last)[0].items()}
        with torch.no_grad():
            rows = {name: array[first:last] for name, array in batch.items()}
            for name, value in self.network.refreshed(own, rows).items():
                own[name].copy_(value)

    def _validate(self) -> FloatArray:
        """Mean validation loss of every live member."""
        rows = [self.members[number].validation for number in self.alive]
        longest = max(len(own) for own in rows)
        total = np.zeros(len(rows))
        parameters, noise = self.live.views(len(rows))[0], self._fresh_noise()
        with torch.no_grad():
            for first in range(0, longest, VALIDATION_ROWS):
                parts = [own[first : first + VALIDATION_ROWS] for own in rows]
                counts = [len(part) for part in parts]
                padded = [
                    np.resize(part if len(part) else own, VALIDATION_ROWS)
                    for part, own in zip(parts, rows, strict=True)
                ]
                losses = self._losses(parameters, self._batch(np.stack(padded)), noise)
                inside = torch.arange(VALIDATION_ROWS)[None] < torch.tensor(counts)[:, None]
                total += torch.where(inside.to(self.device), losses, 0.0).sum(dim=1).double().cpu().numpy()
        return np.asarray(total / [len(own) for own in rows])

    def _batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        index = torch.from_numpy(rows).to(self.device)
        return {
            name: array.index_select(0, index.reshape(-1)).view(*index.shape, *array.shape[1:])
            for name, array in self.data.items()
        }

    def _losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        mixed = self.precision == "bfloat16"
        context = torch.autocast(self.device, torch.bfloat16) if mixed else contextlib.nullcontext()
        with context:
            return self.network.losses(parameters, batch, noise).float()

    def _fresh_noise(self) -> Noise:
        """The same numbers at each validation, so that losses of epochs compare."""
        seeds = [task_seed(self.members[number].seed, "validation noise") for number in self.alive]
        return Noise([generator_of(seed) for seed in seeds], training=False, device=self.device)

    def result(self) -> StackResult:
        """Weights of the kept epochs, best first."""
        progress, networks = self.progress, []
        for number in range(len(self.members)):
            order = np.argsort(progress.kept_losses[number], kind="stable")
            order = order[np.isfinite(progress.kept_losses[number][order])]
            views = self.layout.views(progress.kept[number][torch.from_numpy(order)])
            networks.append({name: np.ascontiguousarray(view.numpy()) for name, view in views.items()})
        best = progress.kept_losses.min(axis=1)
        return StackResult(tuple(networks), best, progress.history, progress.training_history)


def _first_rows(network: Network, members: Sequence[Member]) -> tuple[torch.Tensor, _Layout]:
    """Initial parameters of all members as rows, and where each parameter lies."""
    every = []
    for member in members:
        parameters = network.initial(generator_of(task_seed(member.seed, "start")))
        for name, value in member.buffers.items():
            parameters[BUFFER + name] = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        every.append(parameters)
    layout = _Layout.of(every[0])
    return torch.stack([layout.row(parameters) for parameters in every]), layout


def merged_arrays(networks: Sequence[Arrays]) -> Arrays:
    """Networks of one kind as one ensemble: their arrays joined along the axis of members.

    Parameters
    ----------
    networks
        Arrays of each, with a leading axis of kept epochs.

    Returns
    -------
    dict
        The same names, with one leading axis for all of them.
    """
    return {name: np.concatenate([network[name] for network in networks]) for name in networks[0]}
