"""Masked dense networks: what an input is mapped with depends on the context and on earlier inputs alone.

Rows are the last axis.

References
----------
M. Germain, K. Gregor, I. Murray, H. Larochelle, "MADE: Masked Autoencoder for Distribution Estimation",
arXiv:1502.03509.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.networks.base import Parameters
from models.torch_later import torch


@functools.lru_cache(maxsize=64)
def _masks(
    n_inputs: int, n_context: int, hidden: tuple[int, ...], outputs: int, reverse: bool, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """Masks of a network's weights, (outputs, inputs), such that an input's map sees only earlier inputs (MADE).

    A hidden unit of degree g sees the context and the first g inputs; the map of the i-th input (from 0) sees units of
    degree up to i.
    """
    order = np.arange(n_inputs)[::-1] if reverse else np.arange(n_inputs)
    before = np.concatenate([np.zeros(n_context), order + 1])
    first = 0 if n_context or n_inputs == 1 else 1
    masks = []
    for units in hidden:
        degrees = np.arange(units) * (n_inputs - first) // units + first
        masks.append(degrees[:, None] >= before[None])
        before = degrees
    masks.append(np.repeat(order, outputs)[:, None] >= before[None])
    return tuple(torch.from_numpy(mask.astype(np.float32)).to(device) for mask in masks)


@dataclass(frozen=True)
class Conditioner:
    """The masked network of one transform, which gives ``outputs`` numbers an input.

    Parameters
    ----------
    prefix
        Of the names of its parameters.
    n_inputs, n_context
        Sizes.
    hidden
        Units of each hidden layer.
    outputs
        Numbers an input.
    reverse
        Whether inputs are mapped in the order last to first.
    """

    prefix: str
    n_inputs: int
    n_context: int
    hidden: tuple[int, ...]
    outputs: int
    reverse: bool

    @property
    def order(self) -> Sequence[int]:
        """Inputs in the order in which they are mapped."""
        forward = range(self.n_inputs)
        return forward[::-1] if self.reverse else forward

    def initial(self, generator: torch.Generator) -> Parameters:
        """Uniform weights and biases; those of the last layer are small, so that a map begins near the identity."""
        sizes = (self.n_inputs + self.n_context, *self.hidden, self.n_inputs * self.outputs)
        parameters = {}
        for number, (before, after) in enumerate(itertools.pairwise(sizes)):
            bound = (0.1 if number == len(self.hidden) else 1.0) / math.sqrt(before)
            for name, shape in (("weight", (after, before)), ("bias", (after, 1))):
                uniform = torch.rand(shape, generator=generator)
                parameters[f"{self.prefix}{name}{number}"] = (2.0 * uniform - 1.0) * bound
        return parameters

    def __call__(
        self, parameters: Parameters, context: torch.Tensor, x: torch.Tensor, only: int | None = None
    ) -> torch.Tensor:
        """Outputs (members, inputs, outputs, rows), or those of one input (members, 1, outputs, rows)."""
        masks = _masks(self.n_inputs, self.n_context, self.hidden, self.outputs, self.reverse, context.device)
        values = torch.cat([context, x], dim=1)
        for number, mask in enumerate(masks):
            weight = parameters[f"{self.prefix}weight{number}"] * mask
            bias = parameters[f"{self.prefix}bias{number}"]
            if only is not None and number == len(self.hidden):
                rows = slice(only * self.outputs, (only + 1) * self.outputs)
                weight, bias = weight[:, rows], bias[:, rows]
            values = torch.baddbmm(bias, weight, values)
            if number < len(self.hidden):
                values = torch.relu(values)
        return values.float().view(len(values), -1, self.outputs, values.shape[2])
