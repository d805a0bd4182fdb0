"""A variational autoencoder whose two halves know mjj: the generator of background in ``cvae``."""

from __future__ import annotations

from dataclasses import dataclass

from models.networks.base import Batch, Network, Noise, Parameters
from models.networks.dense import Activation, apply_layers, initial_layers
from models.torch_later import torch

ENCODER, DECODER = "encoder/", "decoder/"
LARGEST_LOG_VARIANCE = 10.0


@dataclass(frozen=True)
class ConditionalVae(Network):
    """Dense conditional VAE with the loss (1 − β)·MSE + β·KL.

    MSE is the mean over inputs, KL the sum over latent variables of the divergence from N(0, 1). The data arrays are
    ``x`` (rows, inputs) and ``context`` (rows, 1), both standardised.

    Parameters
    ----------
    inputs
        Features an event.
    latent
        Latent variables.
    hidden
        Widths of the encoder's hidden layers; the decoder's are the same in reverse order.
    beta
        Weight of the divergence.

    References
    ----------
    D. P. Kingma, M. Welling, arXiv:1312.6114. The use as a background generator: physics talk of E. E. Khoda et al.,
    ML4Jets 2022; its layers are not published, these are ours.
    """

    inputs: int
    latent: int
    hidden: tuple[int, ...]
    beta: float

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Widths of the layers of encoder and decoder."""
        return {
            ENCODER: (self.inputs + 1, *self.hidden, 2 * self.latent),
            DECODER: (self.latent + 1, *reversed(self.hidden), self.inputs),
        }

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        return {
            name: value
            for part, sizes in self.sizes.items()
            for name, value in initial_layers(sizes, generator, part).items()
        }

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Loss of each row, shape (members, rows); one latent draw a row."""
        x, context = batch["x"], batch["context"]
        mean, log_variance = self.encoded(parameters, x, context)
        z = mean + torch.exp(0.5 * log_variance) * noise.normal(x.shape[1], self.latent)
        error = ((self.decoded(parameters, z, context) - x) ** 2).mean(dim=-1)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)
        return (1.0 - self.beta) * error + self.beta * divergence

    def encoded(
        self, parameters: Parameters, x: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The distribution of the latent variables.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Standardised inputs, shape (members, rows, inputs).
        context
            Standardised mjj, shape (members, rows, 1).

        Returns
        -------
        mean, log_variance
            Shape (members, rows, latent) each.
        """
        code = self._layers(parameters, ENCODER, x, context)
        mean, log_variance = code.chunk(2, dim=-1)
        return mean, log_variance.clamp(-2.0 * LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def decoded(self, parameters: Parameters, z: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Mean of the inputs for latent variables.

        Parameters
        ----------
        parameters
            With the axis of members.
        z
            Latent variables, shape (members, rows, latent).
        context
            Standardised mjj, shape (members, rows, 1).

        Returns
        -------
        torch.Tensor
            Standardised, shape (members, rows, inputs).
        """
        return self._layers(parameters, DECODER, z, context)

    def _layers(
        self, parameters: Parameters, part: str, x: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        activations: list[Activation] = ["silu"] * len(self.hidden)
        return apply_layers(parameters, torch.cat([x, context], dim=-1), activations, part)
