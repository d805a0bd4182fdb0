"""Variational autoencoder of a jet's particles, as the VAE of CMS-EXO-22-026, stacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.arrays import take
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.networks.dense import apply_layers, check_layers, initial_layers
from models.torch_later import functional, torch

FILTERS = (12, 16, 20)
"""Of the convolution over a particle's three numbers, and of the two over three particles in a row."""
KERNEL = 3
POOL = 2
LEAST_PARTICLES = 6
"""So many make one place after the convolutions and the pooling."""
MAX_LOG_VARIANCE = 10.0
COORDINATES = 3


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, kernel: int) -> torch.Tensor:
    """Convolution along a sequence without padding, all members at once.

    Parameters
    ----------
    x
        Shape (members, rows, places, channels).
    weight
        Shape (members, kernel·channels, filters); the places of the kernel follow each other.
    bias
        Shape (members, 1, filters).
    kernel
        Places that a filter sees.

    Returns
    -------
    torch.Tensor
        Shape (members, rows, places − kernel + 1, filters).
    """
    members, rows, places, _ = x.shape
    left = places - kernel + 1
    seen = torch.cat([x[:, :, start : start + left] for start in range(kernel)], dim=-1)
    y = torch.baddbmm(bias, seen.reshape(members, rows * left, -1), weight)
    return y.view(members, rows, left, -1)


def _convolve_transposed(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, kernel: int
) -> torch.Tensor:
    """The mirror of `convolve`: ``kernel − 1`` places are added."""
    return convolve(functional.pad(x, (0, 0, kernel - 1, kernel - 1)), weight, bias, kernel)


def nearest_distances(
    x: torch.Tensor, y: torch.Tensor, real: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distance of each particle of a cloud to the nearest of another, both ways.

    Parameters
    ----------
    x, y
        Shape (clouds, particles, coordinates).
    real
        Which of ``x`` are particles, shape (clouds, particles): the others are nobody's nearest, their own distance
        is 0. A cloud without particles has distance 0.

    Returns
    -------
    of_x, of_y
        Shape (clouds, particles). Which one is nearest is found without gradient.

    References
    ----------
    H. Fan, H. Su, L. Guibas, "A Point Set Generation Network for 3D Object Reconstruction", arXiv:1612.00603.
    """
    # In full precision also in mixed-precision training: rounded distances have many ties.
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        # |x − y|² less the part that does not matter for the nearest: no array of all differences is made.
        products = torch.bmm(x, y.transpose(1, 2))
        to_y = torch.baddbmm(_squares(y)[:, None, :], x, y.transpose(1, 2), alpha=-2.0).argmin(dim=2)
        squares = torch.where(real, _squares(x), torch.inf)[:, :, None]
        to_x = torch.sub(squares, products, alpha=2.0).argmin(dim=1)
    of_x = _squares(x - _chosen(y, to_y)) * real
    of_y = _squares(y - _chosen(x, to_x)) * real.any(dim=1, keepdim=True)
    return of_x, of_y


def _squares(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sum(dim=-1)


def _chosen(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    return torch.gather(x, 1, which[..., None].expand(-1, -1, x.shape[2]))


@dataclass(frozen=True)
class ParticleVae(Network):
    """Variational autoencoder of a jet as a sequence of particles, hardest first.

    Standardisation, a convolution of 12 filters over each particle's three numbers, two of 16 and 20 filters over
    three particles in a row, average pooling, dense layers of 17 z and 4 z, z latent means and variances; the decoder
    mirrors it. ELU everywhere. The loss is the symmetric distance of nearest particles (mean over particles) between
    jet and reconstruction, and ``beta`` times the KL divergence of the latent distribution from a standard normal.

    Places without a particle hold zeros in all numbers. They are zeros after the standardisation too, nothing has to
    reproduce them, and no reconstructed particle may be near them.

    Data: ``x`` float32 (rows, particles, 3). Buffers: ``mean`` and ``deviation`` (1, 3).

    Parameters
    ----------
    particles
        Particles a jet, at least 6.
    latent
        Latent variables.
    beta
        Weight of the divergence.

    References
    ----------
    CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395.
    """

    particles: int
    latent: int
    beta: float

    @property
    def pooled(self) -> int:
        """Places after the convolutions and the pooling."""
        return (self.particles - 2 * (KERNEL - 1)) // POOL

    @property
    def _encoder(self) -> tuple[int, ...]:
        return (self.pooled * FILTERS[2], 17 * self.latent, 4 * self.latent, 2 * self.latent)

    @property
    def _decoder(self) -> tuple[int, ...]:
        return (self.latent, *self._encoder[2::-1])

    @property
    def _convolutions(self) -> dict[str, tuple[int, int]]:
        """Name to numbers seen by a filter, and filters."""
        first, second, third = FILTERS
        return {
            "in0": (COORDINATES, first),
            "in1": (KERNEL * first, second),
            "in2": (KERNEL * second, third),
            "out0": (KERNEL * third, second),
            "out1": (KERNEL * second, first),
            "out2": (first, COORDINATES),
        }

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        parameters: Parameters = {}
        for name, sizes in self._convolutions.items():
            parameters |= initial_layers(sizes, generator, f"{name}/")
        parameters |= initial_layers(self._encoder, generator, "encoder/")
        return parameters | initial_layers(self._decoder, generator, "decoder/")

    def _convolution(self, parameters: Parameters, name: str, x: torch.Tensor) -> torch.Tensor:
        kernel = 1 if name in {"in0", "out2"} else KERNEL
        function = _convolve_transposed if name.startswith("out") else convolve
        return function(x, parameters[f"{name}/weight0"], parameters[f"{name}/bias0"], kernel)

    def encode(self, parameters: Parameters, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The distribution of the latent variables.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Standardised jets, shape (members, rows, particles, 3).

        Returns
        -------
        mean, log_variance
            Shape (members, rows, latent) each.
        """
        members, rows = x.shape[:2]
        for name in ("in0", "in1", "in2"):
            x = functional.elu(self._convolution(parameters, name, x))
        used = x[:, :, : self.pooled * POOL]
        pooled = used.reshape(members, rows, self.pooled, POOL, -1).mean(dim=3).reshape(members, rows, -1)
        code = apply_layers(parameters, functional.elu(pooled), ("elu", "elu"), "encoder/")
        mean, log_variance = code.chunk(2, dim=-1)
        return mean, log_variance.clamp(-MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def decode(self, parameters: Parameters, code: torch.Tensor) -> torch.Tensor:
        """Jets that latent variables stand for.

        Parameters
        ----------
        parameters
            With the axis of members.
        code
            Shape (members, rows, latent).

        Returns
        -------
        torch.Tensor
            Standardised, shape (members, rows, particles, 3).
        """
        x = functional.elu(apply_layers(parameters, code, ("elu", "elu"), "decoder/"))
        x = x.view(*x.shape[:2], self.pooled, FILTERS[2]).repeat_interleave(POOL, dim=2)
        # A place that pooling left over is filled from its neighbour.
        missing = self.particles - 2 * (KERNEL - 1) - x.shape[2]
        x = torch.cat([x, x[:, :, x.shape[2] - missing :]], dim=2)
        for name in ("out0", "out1"):
            x = functional.elu(self._convolution(parameters, name, x))
        return self._convolution(parameters, "out2", x)

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Mean nearest distances plus ``beta`` KL, latent vectors drawn once a jet."""
        x, real = self._standardised(parameters, batch["x"])
        mean, log_variance = self.encode(parameters, x)
        drawn = mean + torch.exp(0.5 * log_variance) * noise.normal(*mean.shape[1:])
        of_x, of_y = self._distances(x, self.decode(parameters, drawn), real)
        count = real.sum(dim=-1).clamp(min=1)
        return of_x.sum(dim=-1) / count + of_y.mean(dim=-1) + self.beta * _divergence(mean, log_variance)

    def terms(self, parameters: Parameters, jets: torch.Tensor) -> torch.Tensor:
        """Reconstruction error and KL divergence of raw jets.

        The reconstruction is that of the latent mean; distances are summed over particles.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        jets
            Shape (members, rows, particles, 3); zeros where there is no particle.

        Returns
        -------
        torch.Tensor
            Shape (members, rows, 2): error, divergence.
        """
        x, real = self._standardised(parameters, jets)
        mean, log_variance = self.encode(parameters, x)
        of_x, of_y = self._distances(x, self.decode(parameters, mean), real)
        return torch.stack([of_x.sum(dim=-1) + of_y.sum(dim=-1), _divergence(mean, log_variance)], dim=-1)

    def _standardised(self, parameters: Parameters, jets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        real = (jets != 0).any(dim=-1)
        mean, deviation = (
            parameters[BUFFER + name].view(-1, 1, 1, COORDINATES) for name in ("mean", "deviation")
        )
        return (jets - mean) / deviation * real[..., None], real

    def _distances(
        self, x: torch.Tensor, y: torch.Tensor, real: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        of_x, of_y = nearest_distances(x.flatten(0, 1), y.flatten(0, 1).to(x.dtype), real.flatten(0, 1))
        return of_x.view(real.shape), of_y.view(real.shape)

    def check(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Refuse arrays that no training could have made.

        Parameters
        ----------
        arrays
            Supposedly its weights, float32, with a leading axis of members.

        Raises
        ------
        ValueError
            Saying what is wrong.
        """
        members = check_layers(arrays, self._encoder, prefix="encoder/")
        check_layers(arrays, self._decoder, members, "decoder/")
        for name, sizes in self._convolutions.items():
            check_layers(arrays, sizes, members, f"{name}/")
        mean = take(arrays, f"{BUFFER}mean", "float32", members, 1, COORDINATES)
        deviation = take(arrays, f"{BUFFER}deviation", "float32", members, 1, COORDINATES)
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and np.all(deviation > 0)):
            msg = "the means or deviations of the particles are not those of a trained network"
            raise ValueError(msg)


def _divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL divergence of the latent distribution from a standard normal."""
    return 0.5 * (mean * mean + log_variance.exp() - 1.0 - log_variance).sum(dim=-1)
