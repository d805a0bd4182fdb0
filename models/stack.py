"""The batched trainer: networks of one kind train as one stacked model, each as if it were alone.

Parameters of all members lie in one tensor (members, parameters), so that optimiser, clipping and snapshots are a few
operations whatever the network. Everything random is drawn from a member's own generators, every sum runs over a
member's own rows, and matrix products have the same number of rows for any stack: on one CPU a member's bits do not
depend on who else is in the stack.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from data.errors import ConfigError, TrainingError
from data.types import FloatArray
from models.arrays import Arrays
from models.jobs import Member, Schedule, StackResult
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.networks.scoring import single_thread
from models.optimiser import Adam, rate_shape
from models.seeds import task_seed

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
    def of(cls, parameters: Parameters) -> "_Layout":
        ordered = sorted(parameters, key=lambda name: name.startswith(BUFFER))
        shapes = {name: tuple(parameters[name].shape) for name in ordered}
        trained = sum(int(np.prod(s)) for name, s in shapes.items() if not name.startswith(BUFFER))
        return cls(shapes, trained)

    def row(self, parameters: Parameters) -> torch.Tensor:
        return torch.cat([parameters[name].detach().reshape(-1).to(torch.float32) for name in self.shapes])

    def views(self, flat: torch.Tensor) -> Parameters:
        """Parameters of shape (members, …) that share the memory of ``flat``."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            views[name] = flat[:, start : start + size].view(len(flat), *shape)
            start += size
        return views


class _Live:
    """The members that still train: their parameters, moments, random numbers and step counts."""

    def __init__(self, flat: torch.Tensor, layout: _Layout, schedule: Schedule) -> None:
        self.layout, self.schedule = layout, schedule
        self.flat = flat
        self.adam = Adam.start(flat[:, : layout.trained], schedule)
        self._bind()

    def _bind(self) -> None:
        self.parameters = {name: view.detach() for name, view in self.layout.views(self.flat).items()}
        self.leaves = [leaf for name, leaf in self.parameters.items() if not name.startswith(BUFFER)]
        for leaf in self.leaves:
            leaf.requires_grad_()

    def subset(self, chosen: torch.Tensor) -> "_Live":
        """A copy of some members."""
        part = object.__new__(_Live)
        part.layout, part.schedule = self.layout, self.schedule
        part.flat = self.flat[chosen]
        part.adam = self.adam.subset(chosen)
        part._bind()
        return part

    def write(self, chosen: torch.Tensor, part: "_Live") -> None:
        """Take over what became of a copy."""
        self.flat[chosen] = part.flat
        self.adam.write(chosen, part.adam)

    def step(self, losses: torch.Tensor, rate: torch.Tensor) -> None:
        """One step of the optimiser; ``losses`` one a member, ``rate`` one a member."""
        gradients = torch.autograd.grad(losses.sum(), self.leaves)
        flat = torch.cat([gradient.reshape(len(self.flat), -1) for gradient in gradients], dim=1)
        self.adam.step(self.flat[:, : self.layout.trained], flat, rate)


class _Progress:
    """Random numbers, losses, stopping and kept epochs of every member of the stack."""

    def __init__(self, members: Sequence[Member], schedule: Schedule, width: int) -> None:
        count = len(members)
        self.members, self.schedule = members, schedule
        self.steps = np.array([-(-len(member.fitted) // schedule.batch) for member in members])
        self.shuffles = [np.random.default_rng(task_seed(member.seed, "shuffle")) for member in members]
        self.noise = [_generator(task_seed(member.seed, "noise")) for member in members]
        self.done = np.zeros(count, dtype=np.int64)
        self.waited, self.stalled = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.factor = np.ones(count)
        self.watched, self.best = np.full(count, np.inf), np.full(count, np.inf)
        self.kept_losses = np.full((count, schedule.keep), np.inf)
        self.kept = torch.zeros(count, schedule.keep, width)
        self.history = np.full((count, schedule.epochs), np.nan)

    def rates(self, chosen: npt.NDArray[np.int64]) -> FloatArray:
        """Learning rates for the next step of some members."""
        total = self.steps[chosen] * self.schedule.epochs
        shape = rate_shape(self.schedule.decay, self.done[chosen] / total)
        return np.asarray(self.schedule.learning_rate * self.factor[chosen] * shape)

    def record(
        self,
        epoch: int,
        alive: npt.NDArray[np.int64],
        flat: torch.Tensor,
        losses: tuple[FloatArray, FloatArray],
    ) -> npt.NDArray[np.int64]:
        """Note an epoch's training and validation losses; gives the positions of the members that go on."""
        training, validation = losses
        going = []
        for position, number in enumerate(alive):
            loss = float(validation[position])
            if not np.isfinite(loss):
                msg = (
                    f"network {number} of the stack: the validation loss is {loss} after epoch {epoch + 1}; "
                    "lower learning_rate, set clip, or look for extreme values among the inputs"
                )
                raise TrainingError(msg)
            self.history[number, epoch] = loss
            self._keep(number, loss, flat[position])
            watched = loss if self.schedule.monitor == "validation" else float(training[position])
            self.waited[number] = (
                0 if watched < self.watched[number] - self.schedule.min_delta else self.waited[number] + 1
            )
            self.watched[number] = min(
                self.watched[number], watched if self.waited[number] == 0 else self.watched[number]
            )
            self._slow_down(number, loss)
            if not self.schedule.patience or self.waited[number] < self.schedule.patience:
                going.append(position)
        return np.array(going, dtype=np.int64)

    def _keep(self, number: int, loss: float, row: torch.Tensor) -> None:
        worst = int(np.argmax(self.kept_losses[number]))
        if loss < self.kept_losses[number, worst]:
            self.kept_losses[number, worst] = loss
            self.kept[number, worst] = row.to("cpu")

    def _slow_down(self, number: int, loss: float) -> None:
        improved = loss < self.best[number]
        self.best[number] = min(self.best[number], loss)
        self.stalled[number] = 0 if improved else self.stalled[number] + 1
        if self.schedule.plateau and self.stalled[number] >= self.schedule.plateau:
            self.factor[number] *= self.schedule.plateau_factor
            self.stalled[number] = 0


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train_stack(
    network: Network,
    schedule: Schedule,
    data: Mapping[str, npt.NDArray[Any]],
    members: Sequence[Member],
    *,
    device: Device = "cpu",
    precision: Precision = "float32",
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
    with single_thread():
        trainer = _Trainer(network, schedule, data, members, device, precision)
        trainer.run()
    return trainer.result()


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
        self.progress = _Progress(members, schedule, rows.shape[1])
        self.live = _Live(rows.to(device), self.layout, schedule)
        self.alive = np.arange(len(members))

    def run(self) -> None:
        """All epochs."""
        for epoch in range(self.schedule.epochs):
            training = self._epoch()
            validation = self._validate()
            going = self.progress.record(epoch, self.alive, self.live.flat, (training, validation))
            if len(going) == 0:
                break
            if len(going) < len(self.alive):
                self.live = self.live.subset(torch.from_numpy(going).to(self.device))
                self.alive = self.alive[going]

    def _epoch(self) -> FloatArray:
        """One pass over every live member's rows; gives the mean training losses."""
        size, progress = self.schedule.batch, self.progress
        steps = progress.steps[self.alive]
        rows = [
            np.resize(progress.shuffles[number].permutation(self.members[number].fitted), steps_of * size)
            for number, steps_of in zip(self.alive, steps, strict=True)
        ]
        total = torch.zeros(len(self.alive), dtype=torch.float64, device=self.device)
        for step in range(int(steps.max())):
            positions = np.flatnonzero(steps > step)
            chosen = torch.from_numpy(positions).to(self.device)
            whole = len(positions) == len(self.alive)
            live = self.live if whole else self.live.subset(chosen)
            last = np.stack([rows[p][step * size : (step + 1) * size] for p in positions])
            batch = self._batch(last)
            losses = self._losses(live, batch, self._noise(self.alive[positions], training=True)).mean(dim=1)
            rate = progress.rates(self.alive[positions])
            live.step(losses, torch.from_numpy(rate.astype(np.float32)).to(self.device))
            progress.done[self.alive[positions]] += 1
            total[chosen] += losses.detach().double()
            if np.any(steps[positions] == step + 1):
                self._refresh(live, batch)
            if not whole:
                self.live.write(chosen, live)
        return np.asarray(total.cpu().numpy() / steps)

    def _refresh(self, live: _Live, batch: Batch) -> None:
        with torch.no_grad():
            for name, value in self.network.refreshed(live.parameters, batch).items():
                live.parameters[name].copy_(value)

    def _validate(self) -> FloatArray:
        """Mean validation loss of every live member."""
        rows = [self.members[number].validation for number in self.alive]
        longest = max(len(own) for own in rows)
        total = np.zeros(len(rows))
        noise = self._fresh_noise()
        with torch.no_grad():
            for first in range(0, longest, VALIDATION_ROWS):
                parts = [own[first : first + VALIDATION_ROWS] for own in rows]
                counts = [len(part) for part in parts]
                padded = [
                    np.resize(part if len(part) else own, VALIDATION_ROWS)
                    for part, own in zip(parts, rows, strict=True)
                ]
                losses = self._losses(self.live, self._batch(np.stack(padded)), noise)
                inside = torch.arange(VALIDATION_ROWS)[None] < torch.tensor(counts)[:, None]
                total += torch.where(inside.to(self.device), losses, 0.0).sum(dim=1).double().cpu().numpy()
        return np.asarray(total / [len(own) for own in rows])

    def _batch(self, rows: npt.NDArray[np.int64]) -> Batch:
        index = torch.from_numpy(rows).to(self.device)
        return {
            name: array.index_select(0, index.reshape(-1)).view(*index.shape, *array.shape[1:])
            for name, array in self.data.items()
        }

    def _losses(self, live: _Live, batch: Batch, noise: Noise) -> torch.Tensor:
        mixed = self.precision == "bfloat16"
        context = torch.autocast(self.device, torch.bfloat16) if mixed else contextlib.nullcontext()
        with context:
            return self.network.losses(live.parameters, batch, noise).float()

    def _noise(self, numbers: npt.NDArray[np.int64], *, training: bool) -> Noise:
        return Noise([self.progress.noise[n] for n in numbers], training=training, device=self.device)

    def _fresh_noise(self) -> Noise:
        """The same numbers at each validation, so that losses of epochs compare."""
        seeds = [task_seed(self.members[number].seed, "validation noise") for number in self.alive]
        return Noise([_generator(seed) for seed in seeds], training=False, device=self.device)

    def result(self) -> StackResult:
        """Weights of the kept epochs, best first."""
        progress, networks = self.progress, []
        for number in range(len(self.members)):
            order = np.argsort(progress.kept_losses[number], kind="stable")
            order = order[np.isfinite(progress.kept_losses[number][order])]
            views = self.layout.views(progress.kept[number][torch.from_numpy(order)])
            networks.append({name: np.ascontiguousarray(view.numpy()) for name, view in views.items()})
        return StackResult(tuple(networks), progress.kept_losses.min(axis=1), progress.history)


def _first_rows(network: Network, members: Sequence[Member]) -> tuple[torch.Tensor, _Layout]:
    """Initial parameters of all members as rows, and where each parameter lies."""
    rows, layout = [], None
    for member in members:
        parameters = network.initial(_generator(task_seed(member.seed, "start")))
        for name, value in member.buffers.items():
            parameters[BUFFER + name] = torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
        layout = layout or _Layout.of(parameters)
        rows.append(layout.row(parameters))
    if layout is None:
        msg = "a stack needs at least one network"
        raise TrainingError(msg)
    return torch.stack(rows), layout


def merged_arrays(networks: Sequence[Arrays]) -> Arrays:
    """Networks of one kind as one ensemble: their arrays joined along the axis of members."""
    return {name: np.concatenate([network[name] for network in networks]) for name in networks[0]}
