"""What the batched trainer knows of each member: its random numbers, losses, stopping and kept epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data.errors import TrainingError
from data.types import FloatArray
from models.jobs import Member, Schedule
from models.optimiser import rate_shape
from models.seeds import task_seed
from models.torch_later import torch


def generator_of(seed: int) -> torch.Generator:
    """Random numbers of one member; on the CPU, so that a device does not change them."""
    return torch.Generator().manual_seed(seed)


class Progress:
    """Random numbers, losses, stopping and kept epochs of every member of the stack."""

    def __init__(self, members: Sequence[Member], schedule: Schedule, width: int) -> None:
        count = len(members)
        self.schedule = schedule
        self.steps = np.array([-(-len(member.fitted) // schedule.rows) for member in members])
        self.shuffles = [np.random.default_rng(task_seed(member.seed, "shuffle")) for member in members]
        self.noise = [generator_of(task_seed(member.seed, "noise")) for member in members]
        self.done = np.zeros(count, dtype=np.int64)
        self.waited, self.stalled = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        self.factor = np.ones(count)
        self.watched, self.best = np.full(count, np.inf), np.full(count, np.inf)
        self.kept_losses = np.full((count, schedule.keep), np.inf)
        self.kept = torch.zeros(count, schedule.keep, width)
        self.history = np.full((count, schedule.epochs), np.nan)
        self.training_history = np.full((count, schedule.epochs), np.nan)

    def rates(self, chosen: npt.NDArray[np.int64]) -> FloatArray:
        """Learning rates for the next step of some members.

        Parameters
        ----------
        chosen
            Numbers of the members, shape (n,).

        Returns
        -------
        numpy.ndarray
            float64, one a member chosen.
        """
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
        """Note an epoch's losses, keep its weights where they are among the best, and stop members.

        Parameters
        ----------
        epoch
            Its number, from 0.
        alive
            Numbers of the members that were trained in it, shape (members,).
        flat
            Their parameters, shape (members, parameters).
        losses
            Training and validation loss, each of shape (members,).

        Returns
        -------
        numpy.ndarray
            Positions in ``alive`` of the members that go on.

        Raises
        ------
        TrainingError
            If a validation loss is not finite.
        """
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
            self.training_history[number, epoch] = training[position]
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
