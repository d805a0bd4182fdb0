"""Stacked conditional normalising flows: what every kind is, masked autoregressive splines, and ensembles of flows.

Public functions take rows as (members, rows, inputs); inside, rows are the last axis, so that products and the small
operations of a spline run over long contiguous lines.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data.later import later
from data.types import FloatArray
from models.arrays import take
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.networks.masked import Conditioner
from models.networks.scoring import in_batches, tensors
from models.torch_later import torch

if TYPE_CHECKING:
    from models.networks import splines
else:
    splines = later("models.networks.splines")  # a class of it is derived from one of PyTorch

Rows = npt.NDArray[np.float32]


class Flow(Network):
    """A conditional density: an invertible map of inputs, given context, to a standard normal latent space."""

    n_inputs: int
    n_context: int

    @abc.abstractmethod
    def to_latent(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, *, training: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """To the latent space.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        x
            Transformed inputs, shape (members, rows, inputs).
        context
            Shape (members, rows, context).
        training
            Whether statistics of the batch are used instead of those kept.

        Returns
        -------
        z, log_det
            Latent values, shape (members, rows, inputs), and log |dz/dx|, shape (members, rows).
        """

    @abc.abstractmethod
    def from_latent(self, parameters: Parameters, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """From the latent space; the inverse of `to_latent` outside training.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        z
            Latent values, shape (members, rows, inputs).
        context
            Shape (members, rows, context).

        Returns
        -------
        torch.Tensor
            Transformed inputs, shape (members, rows, inputs).
        """

    def buffers(self) -> dict[str, npt.NDArray[np.float32]]:
        """Constants of a member before training; none by default.

        Returns
        -------
        dict
            Name to float32 array, without the axis of members.
        """
        return {}

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Weight times −log p of each row: batch arrays ``x``, ``context``, ``weight``."""
        z, log_det = self.to_latent(parameters, batch["x"], batch["context"], training=noise.training)
        return batch["weight"] * -(_log_normal(z) + log_det)


def _log_normal(z: torch.Tensor) -> torch.Tensor:
    return -0.5 * (z * z).sum(dim=2) - 0.5 * z.shape[2] * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class SplineFlow(Flow):
    """Masked autoregressive rational-quadratic spline flow; the order of inputs alternates.

    Beyond ``tail`` every spline is the identity, and its networks see the tail's edge: outliers are mapped to
    themselves and change nothing else.

    Parameters
    ----------
    n_inputs, n_context
        Sizes.
    transforms
        Splines one after another.
    hidden
        Units of each hidden layer.
    bins
        Bins of a spline.
    tail
        Splines act on (−tail, tail).

    References
    ----------
    C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, "Neural Spline Flows", arXiv:1906.04032.
    """

    n_inputs: int
    n_context: int
    transforms: int = 3
    hidden: tuple[int, ...] = (64, 64)
    bins: int = 8
    tail: float = 5.0

    @functools.cached_property
    def _conditioners(self) -> tuple[Conditioner, ...]:
        sizes = (self.n_inputs, self.n_context, self.hidden, splines.outputs_needed(self.bins))
        return tuple(Conditioner(f"{n}.", *sizes, reverse=n % 2 == 1) for n in range(self.transforms))

    def initial(self, generator: torch.Generator) -> Parameters:
        """See `Network`."""
        return {k: v for part in self._conditioners for k, v in part.initial(generator).items()}

    def _seen(self, values: torch.Tensor) -> torch.Tensor:
        return values.clamp(-self.tail, self.tail)

    def to_latent(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, *, training: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Flow`."""
        del training
        z, c = rows_last(x), self._seen(rows_last(context))
        total = torch.zeros(())
        for number, conditioner in enumerate(self._conditioners):
            raw = conditioner(parameters, c, self._seen(z))
            z, logs = splines.rational_quadratic(z, raw, self.bins, self.tail)
            total = logs if number == 0 else total + logs
        return z.transpose(1, 2), total.sum(dim=1)

    def from_latent(self, parameters: Parameters, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """See `Flow`; one pass an input and transform."""
        x, c = rows_last(z), self._seen(rows_last(context))
        for conditioner in reversed(self._conditioners):
            y, x = x, torch.zeros_like(x)
            for number in conditioner.order:
                raw = conditioner(parameters, c, self._seen(x), number)
                own = slice(number, number + 1)
                x[:, own] = splines.inverse_rational_quadratic(y[:, own], raw, self.bins, self.tail)
        return x.transpose(1, 2)


def rows_last(values: torch.Tensor) -> torch.Tensor:
    """Rows as the last axis.

    Parameters
    ----------
    values
        Shape (members, rows, values).

    Returns
    -------
    torch.Tensor
        Shape (members, values, rows), contiguous.
    """
    return values.transpose(1, 2).contiguous()


def log_prob(network: Flow, parameters: Parameters, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Log density of inputs given context.

    Parameters
    ----------
    network
        Their kind.
    parameters
        With the axis of members, the buffers among them.
    x
        Transformed inputs, shape (members, rows, inputs).
    context
        Shape (members, rows, context).

    Returns
    -------
    torch.Tensor
        Shape (members, rows).
    """
    z, log_det = network.to_latent(parameters, x, context)
    return _log_normal(z) + log_det


def _split(network: Flow, rows: torch.Tensor, members: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and context of joined rows, the same for all members."""
    stacked = rows.expand(members, *rows.shape)
    return stacked[..., : network.n_inputs], stacked[..., network.n_inputs :]


def _joined(x: Rows, context: Rows) -> Rows:
    return np.concatenate([x, context], axis=1).astype(np.float32)


def _count(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(arrays.values())))


def density(network: Flow, arrays: Mapping[str, npt.NDArray[Any]], x: Rows, context: Rows) -> FloatArray:
    """Log of the mean density of all networks of an ensemble.

    Parameters
    ----------
    network
        Their kind.
    arrays
        Their weights, float32, with a leading axis of networks.
    x, context
        float32, shapes (rows, inputs) and (rows, context).

    Returns
    -------
    numpy.ndarray
        float64, shape (rows,); a row's value does not depend on the others.
    """
    parameters, members = tensors(arrays), _count(arrays)

    def function(rows: torch.Tensor) -> torch.Tensor:
        logs = log_prob(network, parameters, *_split(network, rows, members))
        return torch.logsumexp(logs.double(), dim=0) - math.log(members)

    return in_batches(function, _joined(x, context))


def latent(network: Flow, arrays: Mapping[str, npt.NDArray[Any]], x: Rows, context: Rows) -> Rows:
    """Latent values of the first, best, network of an ensemble.

    Parameters
    ----------
    network, arrays
        As for `density`.
    x, context
        float32, shapes (rows, inputs) and (rows, context).

    Returns
    -------
    numpy.ndarray
        float32, shape (rows, inputs).
    """
    parameters = {name: array[:1] for name, array in tensors(arrays).items()}

    def function(rows: torch.Tensor) -> torch.Tensor:
        return network.to_latent(parameters, *_split(network, rows, 1))[0][0]

    return in_batches(function, _joined(x, context)).astype(np.float32)


def sample(
    network: Flow, arrays: Mapping[str, npt.NDArray[Any]], context: Rows, rng: np.random.Generator
) -> Rows:
    """Draw one event for each row of context; the networks of an ensemble take turns.

    Parameters
    ----------
    network, arrays
        See `density`.
    context
        float32, shape (rows, context).
    rng
        Source of the draws.

    Returns
    -------
    numpy.ndarray
        float32, shape (rows, inputs).
    """
    parameters, members = tensors(arrays), _count(arrays)
    z = rng.standard_normal((len(context), network.n_inputs), dtype=np.float32)
    turns = -(-len(context) // members)
    padded = np.zeros((turns * members, network.n_inputs + network.n_context), dtype=np.float32)
    padded[: len(context)] = _joined(z, context)

    def function(rows: torch.Tensor) -> torch.Tensor:
        stacked = rows.transpose(0, 1)
        draws = network.from_latent(
            parameters, stacked[..., : network.n_inputs], stacked[..., network.n_inputs :]
        )
        return draws.transpose(0, 1).flatten(1)

    drawn = in_batches(function, padded.reshape(turns, members, -1))
    return drawn.reshape(turns * members, network.n_inputs)[: len(context)].astype(np.float32)


def check(network: Flow, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse arrays that are not networks of this kind.

    Parameters
    ----------
    network
        Their kind.
    arrays
        Supposedly their weights, float32, with a leading axis of networks.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    wanted: dict[str, tuple[int, ...]] = {
        name: tuple(value.shape) for name, value in network.initial(torch.Generator()).items()
    }
    wanted |= {f"{BUFFER}{name}": value.shape for name, value in network.buffers().items()}
    if set(arrays) != set(wanted) or _count(arrays) == 0:
        msg = "the flow's arrays are not those of its settings"
        raise ValueError(msg)
    members = _count(arrays)
    for name, shape in wanted.items():
        if not np.isfinite(take(arrays, name, "float32", members, *shape)).all():
            msg = f"array '{name}' holds values that are not finite"
            raise ValueError(msg)
