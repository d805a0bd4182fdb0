"""Adam on the rows of one tensor: every row is a network of its own, with its own rate and step count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.types import FloatArray
from models.jobs import Schedule
from models.torch_later import torch

EPSILON = 1e-8
RISING = 0.2
"""Share of the steps over which a one-cycle rate rises."""
FIRST = 0.04
"""Where it begins, in units of its largest value."""


def rate_shape(decay: Literal["constant", "one_cycle", "cosine"], done: FloatArray) -> FloatArray:
    """Learning rate in units of its largest value.

    Parameters
    ----------
    decay
        Kind of schedule.
    done
        Share of the steps done, 0 … 1, one a network.

    Returns
    -------
    numpy.ndarray
        float64, one a network.

    References
    ----------
    L. N. Smith, N. Topin, "Super-convergence", arXiv:1708.07120 (one cycle).
    """
    if decay == "constant":
        return np.ones_like(done)
    if decay == "cosine":
        return 0.5 * (1.0 + np.cos(np.pi * done))
    rising = FIRST + (1.0 - FIRST) * done / RISING
    falling = 0.5 * (1.0 + np.cos(np.pi * (done - RISING) / (1.0 - RISING)))
    return np.where(done < RISING, rising, falling)


@dataclass
class Adam:
    """Adam with decoupled weight decay (arXiv:1412.6980, arXiv:1711.05101) for a stack.

    Parameters
    ----------
    schedule
        Decay rates of the moments, weight decay, largest gradient norm.
    first, second
        Moments, shape (members, parameters).
    memory
        Where a step is computed, shape (members, parameters).
    count
        Steps of each member, shape (members, 1).
    """

    schedule: Schedule
    first: torch.Tensor
    second: torch.Tensor
    memory: torch.Tensor
    count: torch.Tensor

    @classmethod
    def start(cls, flat: torch.Tensor, schedule: Schedule) -> Adam:
        """The state before the first step.

        Parameters
        ----------
        flat
            Parameters, shape (members, parameters).
        schedule
            As for the class.

        Returns
        -------
        Adam
            Moments and counts are 0.
        """
        count = torch.zeros(len(flat), 1, dtype=torch.float64, device=flat.device)
        first, second, memory = (torch.zeros(flat.shape, device=flat.device) for _ in range(3))
        return cls(schedule, first, second, memory, count)

    def subset(self, chosen: torch.Tensor) -> Adam:
        """A copy for some members.

        Parameters
        ----------
        chosen
            Positions of the members, shape (n,), or a mask, shape (members,).

        Returns
        -------
        Adam
            Its tensors share no memory with these.
        """
        first, second, memory, count = (
            held[chosen] for held in (self.first, self.second, self.memory, self.count)
        )
        return Adam(self.schedule, first, second, memory, count)

    def step(self, flat: torch.Tensor, gradient: torch.Tensor, rate: torch.Tensor) -> None:
        """Change parameters in place by one step.

        Parameters
        ----------
        flat
            Those of the first so many members, shape (members, parameters); overwritten.
        gradient
            The same shape; overwritten where gradients are clipped.
        rate
            Learning rate of each member, shape (members,).
        """
        beta1, beta2 = self.schedule.betas
        first, second, step = (held[: len(flat)] for held in (self.first, self.second, self.memory))
        count = self.count[: len(flat)]
        if self.schedule.clip:
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient.mul_((self.schedule.clip / (norm + EPSILON)).clamp(max=1.0))
        count += 1.0
        first.lerp_(gradient, 1.0 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        if self.schedule.weight_decay:
            flat.mul_(1.0 - rate[:, None] * self.schedule.weight_decay)
        scale = (1.0 - beta2**count).sqrt().float()
        size = (rate[:, None] / (1.0 - beta1**count)).float() * scale
        torch.sqrt(second, out=step).add_(EPSILON * scale)
        flat.sub_(torch.div(first, step, out=step).mul_(size))
