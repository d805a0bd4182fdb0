"""Dense networks: the layers that every kind of network shares, and the classifier made of them."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from models.arrays import take
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters

Activation = Literal["relu", "leaky_relu", "elu", "silu"]
LEAK = 0.01
_FUNCTIONS = {
    "relu": functional.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAK),
    "elu": functional.elu,
    "silu": functional.silu,
}


def initial_layers(sizes: Sequence[int], generator: torch.Generator, prefix: str = "") -> Parameters:
    """Weights and biases of a chain of dense layers, Kaiming-uniform as torch.nn.Linear has them.

    Parameters
    ----------
    sizes
        Inputs, hidden layers …, outputs.
    generator
        Random numbers.
    prefix
        Goes before the names ``weight0``, ``bias0``, …

    Returns
    -------
    dict
        ``weightN`` of shape (inputs, outputs), ``biasN`` of shape (1, outputs), of one member.
    """
    parameters: Parameters = {}
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        bound = 1.0 / math.sqrt(before)
        for name, shape in (("weight", (before, after)), ("bias", (1, after))):
            draw = torch.rand(shape, generator=generator)
            parameters[f"{prefix}{name}{number}"] = (2.0 * draw - 1.0) * bound
    return parameters


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Dense layers of a stack: x (members, rows, inputs), weight (members, inputs, outputs), bias (members, 1, outputs).

    A product with a single column takes another path for a stack of one, whose sums round differently; two equal
    columns do not.
    """
    if weight.shape[-1] > 1:
        return torch.baddbmm(bias, x, weight)
    return torch.baddbmm(bias.expand(-1, -1, 2), x, weight.expand(-1, -1, 2))[..., :1]


def apply_layers(
    parameters: Parameters,
    x: torch.Tensor,
    activations: Sequence[Activation],
    prefix: str = "",
    noise: Noise | None = None,
    dropout: Sequence[float] = (),
) -> torch.Tensor:
    """A chain of dense layers; the last one is linear.

    Parameters
    ----------
    parameters
        With the axis of members.
    x
        Inputs, shape (members, rows, inputs).
    activations
        One a hidden layer.
    prefix
        As in `initial_layers`.
    noise, dropout
        Drop-out probability after each hidden layer (missing: none), while ``noise.training``.

    Returns
    -------
    torch.Tensor
        Shape (members, rows, outputs).
    """
    last = len(activations)
    for number in range(last + 1):
        weight, bias = parameters[f"{prefix}weight{number}"], parameters[f"{prefix}bias{number}"]
        x = product(x, weight, bias)
        if number < last:
            x = _FUNCTIONS[activations[number]](x)
            share = dropout[number] if number < len(dropout) else 0.0
            if noise is not None and noise.training and share:
                x = x * (noise.uniform(*x.shape[1:]) >= share) / (1.0 - share)
    return x


def check_layers(
    arrays: Mapping[str, npt.NDArray[Any]], sizes: Sequence[int], members: int | None = None, prefix: str = ""
) -> int:
    """Refuse arrays that are not a stack of such layers.

    Returns
    -------
    int
        Number of members.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        weight = take(arrays, f"{prefix}weight{number}", "float32", members, before, after)
        members = len(weight)
        bias = take(arrays, f"{prefix}bias{number}", "float32", members, 1, after)
        if members == 0 or not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            msg = f"the weights '{prefix}weight{number}' are not those of a trained network"
            raise ValueError(msg)
    return members or 0


@dataclass(frozen=True)
class DenseClassifier(Network):
    """A dense network with one output, trained by binary cross-entropy.

    Data: ``x`` float32 (rows, inputs), ``target`` and ``weight`` float32 (rows,). Buffers ``mean`` and ``deviation``
    (1, inputs) standardise the inputs.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    activations: tuple[Activation, ...]
    dropout: tuple[float, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, hidden layers, output."""
        return (self.n_inputs, *self.hidden, 1)

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        return initial_layers(self.sizes, generator)

    def logits(self, parameters: Parameters, x: torch.Tensor, noise: Noise | None = None) -> torch.Tensor:
        """Logits, shape (members, rows), of raw inputs (members, rows, inputs)."""
        scaled = (x - parameters[f"{BUFFER}mean"]) / parameters[f"{BUFFER}deviation"]
        return apply_layers(parameters, scaled, self.activations, noise=noise, dropout=self.dropout)[..., 0]

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Weighted binary cross-entropy."""
        logits = self.logits(parameters, batch["x"], noise)
        entropy = functional.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
        return entropy * batch["weight"]
