"""Conditional flow matching: a velocity field that carries a standard normal into the density of the inputs."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from models.networks.base import Batch, Noise, Parameters
from models.networks.flows import Flow, rows_last
from models.torch_later import torch

FREQUENCIES = 4
Field: TypeAlias = "Callable[[torch.Tensor, float], torch.Tensor]"


@dataclass(frozen=True)
class FlowMatching(Flow):
    """Flow matching along straight paths from noise (time 0) to data (time 1), given context.

    The log density follows from the exact trace of the field's derivative, which costs one more evaluation an input.

    Parameters
    ----------
    n_inputs, n_context
        Sizes.
    hidden
        Units of each hidden layer.
    steps
        Steps of the fourth-order Runge-Kutta integration.
    reach
        Values beyond count as this in the network.

    References
    ----------
    Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, "Flow Matching for Generative Modeling", arXiv:2210.02747.
    """

    n_inputs: int
    n_context: int
    hidden: tuple[int, ...] = (64, 64, 64)
    steps: int = 12
    reach: float = 5.0

    @functools.cached_property
    def _sizes(self) -> tuple[int, ...]:
        return (self.n_inputs + self.n_context + 1 + 2 * FREQUENCIES, *self.hidden, self.n_inputs)

    def initial(self, generator: torch.Generator) -> Parameters:
        """See `Network`."""
        parameters = {}
        for number, (before, after) in enumerate(itertools.pairwise(self._sizes)):
            for name, shape in (("weight", (after, before)), ("bias", (after, 1))):
                uniform = torch.rand(shape, generator=generator)
                parameters[f"{name}{number}"] = (2.0 * uniform - 1.0) / math.sqrt(before)
        return parameters

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Weight times the squared error of the velocity at a random time of each row's path."""
        x, context = rows_last(batch["x"]), rows_last(batch["context"])
        start = rows_last(noise.normal(*batch["x"].shape[1:]))
        time = noise.uniform(1, x.shape[2])
        velocity = self._velocity(parameters, start + time * (x - start), context, time)
        return batch["weight"] * ((velocity - (x - start)) ** 2).mean(dim=1)

    def _features(self, x: torch.Tensor, context: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        waves = torch.arange(1, FREQUENCIES + 1, device=x.device)[None, :, None] * math.pi * time
        seen = [part.clamp(-self.reach, self.reach) for part in (x, context)]
        return torch.cat([*seen, time, torch.sin(waves), torch.cos(waves)], dim=1)

    def _velocity(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        values = self._features(x, context, time)
        for number in range(len(self._sizes) - 1):
            values = torch.baddbmm(parameters[f"bias{number}"], parameters[f"weight{number}"], values)
            if number < len(self.hidden):
                values = torch.nn.functional.silu(values)
        return values.float()

    def _field(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, time: torch.Tensor
    ) -> torch.Tensor:
        """Velocity and, as one more input, its divergence: tangents of all inputs go along with the values."""
        members, inputs, rows = x.shape
        values = self._features(x, context, time)
        inside = (x.abs() < self.reach).to(x.dtype)
        first = parameters["weight0"][:, :, :inputs]
        values = torch.baddbmm(parameters["bias0"], parameters["weight0"], values)
        tangents = first[:, :, :, None] * inside[:, None]
        for number in range(1, len(self._sizes) - 1):
            gate = torch.sigmoid(values)
            tangents = tangents * (gate * (1.0 + values * (1.0 - gate)))[:, :, None]
            weight = parameters[f"weight{number}"]
            values = torch.baddbmm(parameters[f"bias{number}"], weight, values * gate)
            tangents = torch.bmm(weight, tangents.flatten(2)).view(members, -1, inputs, rows)
        trace = torch.diagonal(tangents, dim1=1, dim2=2).sum(dim=2)
        return torch.cat([values, trace[:, None]], dim=1)

    def to_latent(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, *, training: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Flow`."""
        del training
        c = rows_last(context)
        at_end = rows_last(x)
        state = torch.cat([at_end, torch.zeros_like(at_end[:, :1])], dim=1)

        def field(at: torch.Tensor, time: float) -> torch.Tensor:
            return self._field(parameters, at[:, :-1], c, _times(at, time))

        state = self._integrated(state, field, 1.0, 0.0)
        return state[:, :-1].transpose(1, 2), state[:, -1]

    def from_latent(self, parameters: Parameters, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """See `Flow`."""
        c = rows_last(context)

        def field(at: torch.Tensor, time: float) -> torch.Tensor:
            return self._velocity(parameters, at, c, _times(at, time))

        return self._integrated(rows_last(z), field, 0.0, 1.0).transpose(1, 2)

    def _integrated(
        self,
        state: torch.Tensor,
        field: Field,
        start: float,
        end: float,
    ) -> torch.Tensor:
        """Classical Runge-Kutta with a fixed step."""
        step = (end - start) / self.steps
        for number in range(self.steps):
            time = start + number * step
            k1 = field(state, time)
            k2 = field(state + 0.5 * step * k1, time + 0.5 * step)
            k3 = field(state + 0.5 * step * k2, time + 0.5 * step)
            k4 = field(state + step * k3, time + step)
            state = state + (step / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)
        return state


def _times(values: torch.Tensor, time: float) -> torch.Tensor:
    return torch.full_like(values[:, :1], time)
