"""Convolutional autoencoder of jet images, all members of a stack in one grouped convolution."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.types import FloatArray
from models.arrays import take
from models.networks.autoencoders import DECODER, ENCODER, weighted
from models.networks.base import Batch, Network, Noise, Parameters
from models.networks.dense import LEAK, Activation, apply_layers, check_layers, initial_layers
from models.networks.scoring import in_batches, tensors
from models.torch_later import functional, torch

KERNEL = 3
TAPS = (
    ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)
"""Of the first and second pixel of a doubled pair: on which of three undoubled pixels (row) each tap (column) falls."""
ROWS_AT_ONCE = 32
"""Images evaluated at a time: few enough that the layers stay in the cache."""


@dataclass(frozen=True)
class ConvolutionalAutoencoder(Network):
    """Autoencoder of square images: 3×3 convolutions with 2×2 pools, dense layers, and their mirror.

    The output is a softmax over pixels, like a normalised image; the loss is the sum over pixels of squared
    differences. The sum and not the mean, because Adam's ε is not small against gradients of means of images whose
    1024 pixels add up to 1.

    Parameters
    ----------
    pixels
        Pixels on a side, divisible by two as often as there are convolutions.
    channels
        Of each convolution.
    hidden
        Widths of the dense layers between the convolutions and the latent space.
    latent
        Width of the latent space.

    Raises
    ------
    ValueError
        If the pixels cannot be halved so often.

    References
    ----------
    T. Heimel, G. Kasieczka, T. Plehn, J. M. Thompson, SciPost Phys. 6 (2019) 030, arXiv:1808.08979; M. Farina,
    Y. Nakai, D. Shih, Phys. Rev. D 101 (2020) 075021, arXiv:1808.08992. The sizes by default are those of O. Amram,
    C. M. Suarez, JHEP 01 (2021) 153, arXiv:2002.12376.
    """

    pixels: int = 32
    channels: tuple[int, ...] = (32, 24, 16)
    hidden: tuple[int, ...] = (128, 32)
    latent: int = 6

    def __post_init__(self) -> None:
        if self.pixels % self._factor:
            msg = (
                f"images of {self.pixels} pixels on a side cannot be halved {len(self.channels)} times; use a multiple "
                f"of {self._factor}"
            )
            raise ValueError(msg)

    @property
    def _factor(self) -> int:
        """What the pools divide sides by."""
        return int(2 ** len(self.channels))

    @property
    def _small(self) -> int:
        """Pixels on a side after the last pool."""
        return self.pixels // self._factor

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (self.channels[-1] * self._small**2, *self.hidden, self.latent)

    @property
    def _activations(self) -> tuple[Activation, ...]:
        activation: Activation = "leaky_relu"
        return (activation,) * len(self.hidden)

    @property
    def _steps(self) -> list[tuple[int, int]]:
        """Channels before and after each convolution, encoder first."""
        up = (1, *self.channels)
        down = up[::-1]
        return [*itertools.pairwise(up), *itertools.pairwise(down)]

    def initial(self, generator: torch.Generator) -> Parameters:
        """First weights of one member."""
        parameters = initial_layers(self._sizes, generator, ENCODER)
        parameters |= initial_layers(self._sizes[::-1], generator, DECODER)
        for number, (before, after) in enumerate(self._steps):
            bound = math.sqrt(6.0 / ((1.0 + LEAK**2) * before * KERNEL**2))
            shape = (after, before, KERNEL, KERNEL)
            parameters[f"kernel{number}"] = (2.0 * torch.rand(shape, generator=generator) - 1.0) * bound
            parameters[f"offset{number}"] = torch.zeros(after)
        # A softmax does not see a constant: as a parameter it would walk at random.
        del parameters[f"offset{len(self._steps) - 1}"]
        return parameters

    def _halved(self, parameters: Parameters, x: torch.Tensor, number: int) -> torch.Tensor:
        """Convolution, pool and activation of all members: (rows, members · channels, side, side)."""
        kernel, offset = parameters[f"kernel{number}"], parameters[f"offset{number}"]
        x = functional.conv2d(
            x, kernel.flatten(0, 1), offset.flatten(), padding=KERNEL // 2, groups=len(kernel)
        )
        # The activation rises, so that it may follow the maximum: a quarter of the work.
        return functional.leaky_relu(functional.max_pool2d(x, 2), LEAK)

    def _doubled(self, parameters: Parameters, x: torch.Tensor, number: int) -> torch.Tensor:
        """Nearest-neighbour doubling and convolution of all members.

        The pixels of the doubled image that share a place within their pair see the undoubled image through one
        kernel, in which the taps that fall on the same pixel are added up. So the convolution is done on the small
        image, once for each of the four places.
        """
        kernel, offset = parameters[f"kernel{number}"], parameters.get(f"offset{number}")
        taps = kernel.new_tensor(TAPS)
        places = torch.einsum("asi,btj,mocij->moabcst", taps, taps, kernel)
        x = functional.conv2d(
            x,
            places.flatten(0, 3),
            None if offset is None else offset.flatten().repeat_interleave(4),
            padding=KERNEL // 2,
            groups=len(kernel),
        )
        return functional.pixel_shuffle(x, 2)

    def codes(self, parameters: Parameters, images: torch.Tensor) -> torch.Tensor:
        """Codes of images.

        Parameters
        ----------
        parameters
            With the axis of members.
        images
            Shape (members, rows, pixels, pixels).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, latent).
        """
        members, rows = images.shape[:2]
        # A copy, as with a single channel nothing but fresh strides says that channels come last in memory.
        x = images.permute(1, 2, 3, 0).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
        for number in range(len(self.channels)):
            x = self._halved(parameters, x, number)
        x = x.reshape(rows, members, -1).transpose(0, 1)
        return apply_layers(parameters, x, self._activations, ENCODER)

    def decoded(self, parameters: Parameters, codes: torch.Tensor) -> torch.Tensor:
        """Images that codes stand for.

        Parameters
        ----------
        parameters
            With the axis of members.
        codes
            Shape (members, rows, latent).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, pixels, pixels); the pixels of an image add up to 1.
        """
        members, rows = codes.shape[:2]
        depth = len(self.channels)
        x = functional.leaky_relu(apply_layers(parameters, codes, self._activations, DECODER), LEAK)
        x = x.transpose(0, 1).reshape(rows, -1, self._small, self._small)
        x = x.contiguous(memory_format=torch.channels_last)
        for number in range(depth, 2 * depth):
            x = self._doubled(parameters, x, number)
            if number < 2 * depth - 1:
                x = functional.leaky_relu(x, LEAK)
        flat = x.reshape(rows, members, -1).transpose(0, 1)
        return torch.softmax(flat, dim=-1).reshape(members, rows, self.pixels, self.pixels)

    def errors(self, parameters: Parameters, images: torch.Tensor) -> torch.Tensor:
        """Sum over pixels of the squared differences.

        Parameters
        ----------
        parameters
            With the axis of members.
        images
            Shape (members, rows, pixels, pixels).

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """
        if torch.is_grad_enabled() or images.shape[1] <= ROWS_AT_ONCE:
            return (
                (images - self.decoded(parameters, self.codes(parameters, images))).square().sum(dim=(-2, -1))
            )
        return torch.cat(
            [self.errors(parameters, part) for part in torch.split(images, ROWS_AT_ONCE, dim=1)], dim=1
        )

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Reconstruction error of ``image`` times ``weight`` (1 where there is none)."""
        images = batch["image"]
        if len(images) > 1:
            return weighted(self.errors(parameters, images), batch)
        # Convolutions of one group round otherwise than those of several: a network alone trains beside its copy, so
        # that its bits do not depend on the stack that it is in.
        twins = {name: value.expand(2, *value.shape[1:]) for name, value in parameters.items()}
        return weighted(self.errors(twins, images.expand(2, -1, -1, -1))[:1], batch)

    def check(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Refuse arrays that are not a stack of such networks.

        Parameters
        ----------
        arrays
            Supposedly its weights, float32, with a leading axis of members.

        Raises
        ------
        ValueError
            Saying what is wrong.
        """
        members = check_layers(arrays, self._sizes, None, ENCODER)
        check_layers(arrays, self._sizes[::-1], members, DECODER)
        for number, (before, after) in enumerate(self._steps):
            kernel = take(arrays, f"kernel{number}", "float32", members, after, before, KERNEL, KERNEL)
            last = number == len(self._steps) - 1
            offset = 0.0 if last else take(arrays, f"offset{number}", "float32", members, after)
            if not (np.isfinite(kernel).all() and np.isfinite(offset).all()):
                msg = f"the kernel 'kernel{number}' is not that of a trained network"
                raise ValueError(msg)

    def image_losses(
        self, arrays: Mapping[str, npt.NDArray[Any]], images: npt.NDArray[np.float32]
    ) -> FloatArray:
        """Reconstruction error of images, the mean over the members of a trained stack.

        Parameters
        ----------
        arrays
            Parameters with a leading axis of members.
        images
            float32, shape (images, pixels, pixels), each adding up to 1 (or all 0).

        Returns
        -------
        numpy.ndarray
            float64, one an image.
        """
        parameters = tensors(arrays)
        members = len(parameters["kernel0"])

        def mean(part: torch.Tensor) -> torch.Tensor:
            return self.errors(parameters, part.expand(members, -1, -1, -1)).mean(dim=0)

        return in_batches(mean, images, ROWS_AT_ONCE)
