"""Dense autoencoders, and their linear limit, which needs no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.types import FloatArray
from models.networks.base import Batch, Network, Noise, Parameters
from models.networks.dense import Activation, apply_layers, check_layers, initial_layers
from models.torch_later import torch

ENCODER, DECODER = "encoder/", "decoder/"
FARTHEST = 10.0
"""Inputs, in standard deviations, end at ± this: a single wild value must not decide what a network learns."""
SHORTEST = 1e-6
"""Codes on a sphere are divided by their length, at least this."""


def weighted(losses: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Losses times the weights of the rows, where the batch holds any.

    Parameters
    ----------
    losses
        Shape (members, rows).
    batch
        The rows' arrays; ``weight`` of shape (members, rows) or none.

    Returns
    -------
    torch.Tensor
        Shape (members, rows).
    """
    return losses * batch["weight"] if "weight" in batch else losses


@dataclass(frozen=True)
class DenseAutoencoder(Network):
    """Autoencoder of dense layers: mean squared difference between a row and what is left of it after a bottleneck.

    Data: ``x`` float32 (rows, inputs), ``weight`` float32 (rows,) or none.

    Parameters
    ----------
    inputs
        Inputs a row.
    hidden
        Widths of the encoder's hidden layers; the decoder's are the same in reverse order. With none it is linear.
    latent
        Width of the latent space.
    activation
        Of the hidden layers.
    spherical
        Whether codes lie on the unit sphere, so that they can be drawn uniformly.

    References
    ----------
    T. Heimel, G. Kasieczka, T. Plehn, J. M. Thompson, SciPost Phys. 6 (2019) 030, arXiv:1808.08979; M. Farina,
    Y. Nakai, D. Shih, Phys. Rev. D 101 (2020) 075021, arXiv:1808.08992.
    """

    inputs: int
    hidden: tuple[int, ...]
    latent: int
    activation: Activation = "leaky_relu"
    spherical: bool = False

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of the encoder's layers; the decoder's are the same in reverse order."""
        return (self.inputs, *self.hidden, self.latent)

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        encoder = initial_layers(self.sizes, generator, ENCODER)
        return encoder | initial_layers(self.sizes[::-1], generator, DECODER)

    def codes(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """Codes of inputs.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Inputs, shape (members, rows, inputs).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, latent), of unit length where the autoencoder is spherical.
        """
        code = apply_layers(parameters, x, (self.activation,) * len(self.hidden), ENCODER)
        return on_sphere(code) if self.spherical else code

    def decoded(self, parameters: Parameters, codes: torch.Tensor) -> torch.Tensor:
        """Inputs that codes stand for.

        Parameters
        ----------
        parameters
            With the axis of members.
        codes
            Shape (members, rows, latent).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, inputs).
        """
        return apply_layers(parameters, codes, (self.activation,) * len(self.hidden), DECODER)

    def reconstructed(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """What is left of inputs after the bottleneck.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Inputs, shape (members, rows, inputs).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, inputs).
        """
        return self.decoded(parameters, self.codes(parameters, x))

    def errors(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """Mean over the inputs of the squared error.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Inputs, shape (members, rows, inputs).

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """
        return (x - self.reconstructed(parameters, x)).square().mean(dim=-1)

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Reconstruction error of ``x`` times ``weight`` (1 where there is none)."""
        return weighted(self.errors(parameters, batch["x"]), batch)

    def check(self, arrays: Mapping[str, npt.NDArray[Any]], prefix: str = "") -> None:
        """Refuse arrays that are not a stack of such networks.

        Parameters
        ----------
        arrays
            Supposedly its weights, float32, with a leading axis of members.
        prefix
            Goes before the names of the arrays.

        Raises
        ------
        ValueError
            Saying what is wrong.
        """
        members = check_layers(arrays, self.sizes, None, prefix + ENCODER)
        check_layers(arrays, self.sizes[::-1], members, prefix + DECODER)


def on_sphere(codes: torch.Tensor) -> torch.Tensor:
    """Codes scaled to unit length.

    Parameters
    ----------
    codes
        Shape (…, latent).

    Returns
    -------
    torch.Tensor
        The same shape; codes shorter than 10⁻⁶ stay shorter than 1.
    """
    lengths: torch.Tensor = codes.norm(dim=-1, keepdim=True)
    return codes / lengths.clamp_min(SHORTEST)


def minor_components(
    x: npt.NDArray[np.floating[Any]], weight: FloatArray, latent: int
) -> npt.NDArray[np.float32]:
    """Directions that the best linear autoencoder throws away.

    The linear autoencoder of least squared error keeps the principal components (P. Baldi, K. Hornik, Neural
    Networks 2 (1989) 53); its residual is what a row has along the other directions, which is computed from them
    without the cancellation of a difference.

    Parameters
    ----------
    x
        Centred inputs, shape (rows, inputs).
    weight
        Of the rows, not negative, shape (rows,).
    latent
        Components kept, fewer than there are inputs.

    Returns
    -------
    numpy.ndarray
        float32, shape (inputs, inputs − latent), orthonormal columns, falling variance; the entry of largest size
        of each is positive.
    """
    scaled = x.astype(np.float64) * np.sqrt(weight / weight.sum())[:, None]
    _, directions = np.linalg.eigh(scaled.T @ scaled)
    minor = directions[:, ::-1][:, latent:]
    largest = np.argmax(np.abs(minor), axis=0)
    signs = np.sign(minor[largest, np.arange(minor.shape[1])])
    return np.ascontiguousarray((minor * signs).astype(np.float32))
