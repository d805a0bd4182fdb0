"""What a kind of network is to the batched trainer."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import TypeAlias

from models.torch_later import torch

Parameters: TypeAlias = "dict[str, torch.Tensor]"
"""Name to tensor of shape (members, …). Names that begin with ``buffer.`` are constants: they are not trained."""
Batch: TypeAlias = "dict[str, torch.Tensor]"
"""Name of a data array to its rows, shape (members, rows, …)."""
BUFFER = "buffer."


class Noise:
    """Random numbers of a stack: each member draws from its own generator, whoever else is in the stack.

    Parameters
    ----------
    generators
        One a member.
    training
        Whether the network is being trained: drop-out and batch statistics are for training only.
    device
        Where the numbers are wanted; they are drawn on the CPU, so that a device does not change them.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], *, training: bool, device: torch.device | str = "cpu"
    ) -> None:
        self.generators = list(generators)
        self.training = training
        self.device = device

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform random numbers.

        Parameters
        ----------
        shape
            Of one member's numbers.

        Returns
        -------
        torch.Tensor
            float32 in [0, 1), shape (members, *shape).
        """
        return torch.stack([torch.rand(shape, generator=own) for own in self.generators]).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal random numbers.

        Parameters
        ----------
        shape
            Of one member's numbers.

        Returns
        -------
        torch.Tensor
            float32, shape (members, *shape).
        """
        return torch.stack([torch.randn(shape, generator=own) for own in self.generators]).to(self.device)


class Scratch:
    """Memory that every step uses again: fresh pages cost more than the arithmetic on small batches."""

    def __init__(self) -> None:
        self._held: dict[str, torch.Tensor] = {}

    def take(self, name: str, like: torch.Tensor, *shape: int) -> torch.Tensor:
        """A tensor with anything in it, the same memory each time.

        Parameters
        ----------
        name
            What it is for; another use needs another name.
        like
            A tensor of the type and device wanted, any shape.
        shape
            Its shape; another one than before takes new memory.

        Returns
        -------
        torch.Tensor
            To be overwritten.
        """
        held = self._held.get(name)
        if held is None or held.shape != shape or held.dtype != like.dtype or held.device != like.device:
            held = self._held[name] = torch.empty(shape, dtype=like.dtype, device=like.device)
        return held


def autograd_gradients(
    losses: Callable[[Parameters, Batch, Noise], torch.Tensor],
    parameters: Parameters,
    batch: Batch,
    noise: Noise,
    into: Parameters,
) -> torch.Tensor:
    """Losses of any network, and the gradients of the members' means.

    Parameters
    ----------
    losses
        As `Network.losses`.
    parameters
        With the axis of members.
    batch
        The rows' arrays, shape (members, rows, …).
    noise
        Random numbers of the members.
    into
        Trained parameters' names to tensors of their shapes, overwritten with the gradients.

    Returns
    -------
    torch.Tensor
        Losses, shape (members, rows), detached.
    """
    leaves = {name: parameters[name].detach().requires_grad_() for name in into}
    found = losses(parameters | leaves, batch, noise).float()
    gradients = torch.autograd.grad(found.mean(dim=1).sum(), list(leaves.values()))
    for name, gradient in zip(into, gradients, strict=True):
        into[name].copy_(gradient)
    return found.detach()


class Network(abc.ABC):
    """A kind of network with its sizes.

    Subclasses are frozen dataclasses: networks that are equal may train in one stack. They hold no weights; all of
    their functions are pure functions of parameters.
    """

    @abc.abstractmethod
    def initial(self, generator: torch.Generator) -> Parameters:
        """Trained parameters of one member before training, without the axis of members."""

    @abc.abstractmethod
    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Loss of each row, event weights included; a member's loss is the mean over rows.

        No member may influence another: sums run over a member's own rows only. Functions that torch rounds
        by place (sigmoid, softplus, elu, silu, pow) are for tensors with the axis of rows, which fills whole
        registers.

        Parameters
        ----------
        parameters
            Trained parameters and buffers, with the axis of members.
        batch
            The job's data arrays, shape (members, rows, …).
        noise
            Random numbers of the members, and whether they are being trained.

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """

    def gradients(
        self,
        parameters: Parameters,
        batch: Batch,
        noise: Noise,
        into: Parameters,
        scratch: Scratch,
    ) -> torch.Tensor:
        """Losses as `losses` gives them; writes the gradient of each member's mean loss to ``into``.

        Parameters
        ----------
        parameters, batch, noise
            As in `losses`.
        into
            Trained parameters' names to tensors of their shapes, overwritten.
        scratch
            Memory for what a network computes by hand.

        Returns
        -------
        torch.Tensor
            Losses, shape (members, rows).
        """
        return autograd_gradients(self.losses, parameters, batch, noise, into)

    def refreshed(self, parameters: Parameters, batch: Batch) -> Parameters:
        """Buffers to be replaced after an epoch, from the epoch's last batch; none by default."""
        return {}
