"""Dense networks: the layers that every kind of network shares, and the classifier made of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from models.arrays import take
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters, Scratch
from models.torch_later import functional, torch

Activation = Literal["relu", "leaky_relu", "elu", "silu"]
Layers = Annotated[tuple[pydantic.PositiveInt, ...], pydantic.Field(min_length=1)]
"""An option: the units of hidden layers, one layer or more."""
LEAK = 0.01
_FUNCTIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": lambda x: functional.relu(x, inplace=False),
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAK),
    "elu": lambda x: functional.elu(x, inplace=False),
    "silu": lambda x: functional.silu(x, inplace=False),
}
_IN_PLACE: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": lambda x: x.clamp_min_(0.0),
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAK, inplace=True),
    "elu": lambda x: functional.elu(x, inplace=True),
}
"""Those whose slope follows from their output."""


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
    """Dense layers of a stack.

    A matrix product with a single column takes another path for a stack of one, whose sums round differently;
    as a sum of products it does not, and is faster. With 5 to 7 or 9 to 11 columns sums depend on the row's
    place in the batch; columns of zeros make their number a multiple of 4.

    Parameters
    ----------
    x
        Shape (members, rows, inputs).
    weight
        Shape (members, inputs, outputs).
    bias
        Shape (members, 1, outputs).

    Returns
    -------
    torch.Tensor
        Shape (members, rows, outputs).
    """
    if weight.shape[-1] == 1:
        return (x * weight.transpose(1, 2)).sum(dim=-1, keepdim=True) + bias
    missing = -weight.shape[-1] % 4
    if not missing:
        return torch.baddbmm(bias, x, weight)
    filled = torch.baddbmm(functional.pad(bias, (0, missing)), x, functional.pad(weight, (0, missing)))
    return filled[..., : weight.shape[-1]]


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
    # Where no gradient is wanted, fresh memory for each layer would cost as much as the products.
    functions = _FUNCTIONS if torch.is_grad_enabled() else _FUNCTIONS | _IN_PLACE
    for number in range(last + 1):
        weight, bias = parameters[f"{prefix}weight{number}"], parameters[f"{prefix}bias{number}"]
        x = product(x, weight, bias)
        if number < last:
            x = functions[activations[number]](x)
            share = dropout[number] if number < len(dropout) else 0.0
            if noise is not None and noise.training and share:
                x = x * (noise.uniform(*x.shape[1:]) >= share) / (1.0 - share)
    return x


def _slope_before(activation: Activation, slope: torch.Tensor, output: torch.Tensor) -> None:
    """Turn the gradient behind an activation into that before it, in place."""
    operations, from_output = torch.ops.aten, True
    if activation == "relu":
        operations.threshold_backward.grad_input(slope, output, 0.0, grad_input=slope)
    elif activation == "leaky_relu":
        operations.leaky_relu_backward.grad_input(slope, output, LEAK, from_output, grad_input=slope)
    else:
        operations.elu_backward.grad_input(slope, 1.0, 1.0, 1.0, from_output, output, grad_input=slope)


def check_layers(
    arrays: Mapping[str, npt.NDArray[Any]], sizes: Sequence[int], members: int | None = None, prefix: str = ""
) -> int:
    """Refuse arrays that are not a stack of such layers.

    Parameters
    ----------
    arrays
        Supposedly ``weightN`` and ``biasN`` as in `initial_layers`, float32, with a leading axis of members.
    sizes
        Inputs, hidden layers …, outputs.
    members
        How many there must be; None: as many as the first array has.
    prefix
        Goes before the names of the arrays.

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
    (1, inputs) standardise the inputs. Where the network has ``pieces``, each standardised input is replaced by that many
    numbers, which rise from 0 to 1 one after the other: buffers ``start`` and ``width`` (1, inputs × pieces) say where.
    The first layer is then a piecewise linear function of every input, and a narrow excess is learnt in few steps.

    Parameters
    ----------
    n_inputs
        Number of inputs, in their units.
    hidden
        Units of each hidden layer.
    activations
        One a hidden layer.
    dropout
        Drop-out probability after each hidden layer, 0 … 1; missing ones are 0.
    pieces
        Pieces of each input; 0 for inputs as they are.

    References
    ----------
    Y. Gorishniy, I. Rubachev, A. Babenko, "On embeddings for numerical features in tabular deep learning",
    arXiv:2203.05556.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    activations: tuple[Activation, ...]
    dropout: tuple[float, ...] = ()
    pieces: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs of the first layer, hidden layers, output."""
        return (self.n_inputs * max(self.pieces, 1), *self.hidden, 1)

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        return initial_layers(self.sizes, generator)

    def logits(self, parameters: Parameters, x: torch.Tensor, noise: Noise | None = None) -> torch.Tensor:
        """Logits of raw inputs.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        x
            Inputs in their units, shape (members, rows, inputs).
        noise
            For drop-out while training; None: no drop-out.

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """
        first = self._first(parameters, x)
        return apply_layers(parameters, first, self.activations, noise=noise, dropout=self.dropout)[..., 0]

    def _first(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """What the first layer sees, shape (members, rows, inputs or inputs × pieces)."""
        scaled = (x - parameters[f"{BUFFER}mean"]) / parameters[f"{BUFFER}deviation"]
        if not self.pieces:
            return scaled
        repeated = scaled.repeat_interleave(self.pieces, dim=-1)
        risen = repeated.sub_(parameters[f"{BUFFER}start"]).div_(parameters[f"{BUFFER}width"])
        return risen.clamp_(0.0, 1.0)

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Weighted binary cross-entropy."""
        logits = self.logits(parameters, batch["x"], noise)
        entropy = functional.binary_cross_entropy_with_logits(logits, batch["target"], reduction="none")
        return entropy * batch["weight"]

    def gradients(
        self, parameters: Parameters, batch: Batch, noise: Noise, into: Parameters, scratch: Scratch
    ) -> torch.Tensor:
        """By hand where each activation's slope follows from its output: some three times faster than autograd."""
        simple = min(self.sizes[:-1]) > 1 and not any(self.dropout)
        if not simple or not set(self.activations) <= set(_IN_PLACE):
            return super().gradients(parameters, batch, noise, into, scratch)
        outputs = self._outputs(parameters, batch["x"], scratch)
        last = len(self.hidden)
        logits = product(outputs[-1], parameters[f"weight{last}"], parameters[f"bias{last}"])[..., 0]
        target, weight = batch["target"], batch["weight"]
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        slope = ((logits.sigmoid() - target) * (weight / target.shape[1]))[..., None]
        for number in range(last, -1, -1):
            below, name = outputs[number], f"weight{number}"
            before = scratch.take(f"slope{number}", below, *below.shape)
            if number == last:
                found = torch.mul(below, slope, out=before).sum(dim=1)[..., None]
            else:
                # Written into `into` at once, products of a stack of one would round differently.
                shape = (len(below), below.shape[-1], slope.shape[-1])
                memory = scratch.take(f"gradient{number}", below, *shape)
                found = torch.bmm(below.transpose(1, 2), slope, out=memory)
            into[name].copy_(found)
            into[f"bias{number}"].copy_(slope.sum(dim=1, keepdim=True))
            if number:
                multiply = torch.mul if number == last else torch.bmm
                slope = multiply(slope, parameters[name].transpose(1, 2), out=before)
                _slope_before(self.activations[number - 1], slope, below)
        return entropy * weight

    def _outputs(self, parameters: Parameters, x: torch.Tensor, scratch: Scratch) -> list[torch.Tensor]:
        """What the first layer sees, and outputs of all hidden layers in memory that is used again."""
        outputs = [self._first(parameters, x)]
        for number, activation in enumerate(self.activations):
            weight, bias = parameters[f"weight{number}"], parameters[f"bias{number}"]
            output = scratch.take(f"output{number}", x, *x.shape[:2], weight.shape[-1])
            torch.baddbmm(bias, outputs[-1], weight, out=output)
            outputs.append(_IN_PLACE[activation](output))
        return outputs
