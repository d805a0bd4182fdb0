"""Masked autoregressive flow of affine maps, stacked."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.networks.base import BUFFER, Batch, Parameters
from models.networks.flows import Flow, rows_last
from models.networks.masked import Conditioner
from models.torch_later import torch

REACH = 10.0
"""Values further out count as this in the networks of the flow: no outlier may drive its neighbours' maps."""
LARGEST_LOG_SCALE = 7.0
EPSILON = 1e-5


@dataclass(frozen=True)
class AffineFlow(Flow):
    """Masked autoregressive flow with batch normalisation after each block: the density of CATHODE (arXiv:2109.00546).

    With momentum 1 the statistics used outside training are those of an epoch's last batch. Logarithms of scales are
    bounded softly (±7), and the networks see values up to ±10, so that outliers stay finite.

    Parameters
    ----------
    n_inputs, n_context
        Sizes.
    blocks
        Affine maps one after another; the order of inputs alternates.
    hidden
        Units of each hidden layer.
    batch_norm
        Whether to normalise after each block.

    References
    ----------
    G. Papamakarios, T. Pavlakou, I. Murray, "Masked Autoregressive Flow for Density Estimation", arXiv:1705.07057.
    """

    n_inputs: int
    n_context: int
    blocks: int = 15
    hidden: tuple[int, ...] = (128,)
    batch_norm: bool = True

    @functools.cached_property
    def _conditioners(self) -> tuple[Conditioner, ...]:
        sizes = (self.n_inputs, self.n_context, self.hidden, 2)
        return tuple(Conditioner(f"{n}.", *sizes, reverse=n % 2 == 1) for n in range(self.blocks))

    def initial(self, generator: torch.Generator) -> Parameters:
        """See `Network`."""
        parameters = {k: v for part in self._conditioners for k, v in part.initial(generator).items()}
        if self.batch_norm:
            for number in range(self.blocks):
                parameters[f"{number}.gain"] = torch.zeros(self.n_inputs, 1)
                parameters[f"{number}.shift"] = torch.zeros(self.n_inputs, 1)
        return parameters

    def buffers(self) -> dict[str, npt.NDArray[np.float32]]:
        """Statistics of the normalisations."""
        if not self.batch_norm:
            return {}
        zeros, ones = (np.full((self.n_inputs, 1), value, np.float32) for value in (0, 1))
        means = {f"{number}.mean": zeros for number in range(self.blocks)}
        return means | {f"{number}.variance": ones for number in range(self.blocks)}

    def refreshed(self, parameters: Parameters, batch: Batch) -> Parameters:
        """Statistics of the epoch's last batch."""
        statistics: Parameters = {}
        if self.batch_norm:
            self._forward(parameters, batch["x"], batch["context"], statistics)
        return statistics

    def to_latent(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, *, training: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Flow`."""
        return self._forward(parameters, x, context, {} if training else None)

    def _forward(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor, statistics: Parameters | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Through all blocks; where ``statistics`` are given, those of the batch are used and put there."""
        z, c = rows_last(x), _seen(rows_last(context))
        total = torch.zeros_like(z[:, 0])
        for number, conditioner in enumerate(self._conditioners):
            shift, log_scale = _shift_and_scale(conditioner(parameters, c, _seen(z)))
            z = (z - shift) * torch.exp(-log_scale)
            total = total - log_scale.sum(dim=1)
            if self.batch_norm:
                if statistics is not None:
                    statistics[f"{BUFFER}{number}.mean"] = z.mean(dim=2, keepdim=True)
                    statistics[f"{BUFFER}{number}.variance"] = z.var(dim=2, keepdim=True)
                mean, rate = self._normalisation(
                    parameters, number, parameters if statistics is None else statistics
                )
                z = (z - mean) * torch.exp(rate) + parameters[f"{number}.shift"]
                total = total + rate.sum(dim=1)
        return z.transpose(1, 2), total

    @staticmethod
    def _normalisation(
        parameters: Parameters, number: int, statistics: Parameters
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log of the factor, (members, inputs, 1)."""
        variance = statistics[f"{BUFFER}{number}.variance"] + EPSILON
        return statistics[f"{BUFFER}{number}.mean"], parameters[f"{number}.gain"] - 0.5 * torch.log(variance)

    def from_latent(self, parameters: Parameters, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """See `Flow`; one pass an input and block."""
        x, c = rows_last(z), _seen(rows_last(context))
        for number in reversed(range(self.blocks)):
            if self.batch_norm:
                mean, rate = self._normalisation(parameters, number, parameters)
                x = (x - parameters[f"{number}.shift"]) * torch.exp(-rate) + mean
            y, x = x, torch.zeros_like(x)
            for own in self._conditioners[number].order:
                raw = self._conditioners[number](parameters, c, _seen(x), own)
                shift, log_scale = _shift_and_scale(raw)
                x[:, own] = y[:, own] * torch.exp(log_scale[:, 0]) + shift[:, 0]
        return x.transpose(1, 2)


def _seen(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-REACH, REACH)


def _shift_and_scale(raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return raw[:, :, 0], LARGEST_LOG_SCALE * torch.tanh(raw[:, :, 1] / LARGEST_LOG_SCALE)
