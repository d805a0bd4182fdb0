"""Normalised autoencoder: a density whose energy is the reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass

from models.networks.autoencoders import FARTHEST, DenseAutoencoder, on_sphere, weighted
from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.torch_later import torch

LATENT_STEP, LATENT_NOISE = 0.05, 0.05
"""Langevin step on the unit sphere, along the energy's gradient at most this long, and its noise."""
VISIBLE_STEP = 0.1
"""Langevin step in the inputs, in units of the variance of the reconstruction errors."""
SMALLEST = 1e-20
"""Errors are at least this before their logarithm is taken."""
LONGEST = 0.5
"""Longest move along the gradient in one step, in units of the inputs."""


@dataclass(frozen=True)
class NormalisedAutoencoder(Network):
    """Second stage of the training of an autoencoder: errors of samples of its own density are pushed up.

    The density is p(x) ∝ exp(−D E(x) / 2), where D is the number of inputs and the energy E the mean squared error in
    units of that of the autoencoder before this stage: 1 on average for background. The gradient of −log p is that of
    E(background) − E(samples of p). Samples come from Langevin chains: first in the latent space, from codes drawn
    uniformly on the sphere, along the energy of what they decode to (on-manifold initialisation), then in the inputs.
    Errors are low wherever the decoder leads, also where there is no background: just there chains end, and errors rise.

    Parameters are differences from the first stage's weights, which are buffers of the same names; ``buffer.scale`` (1,)
    is the first stage's mean error. Data: ``x``, ``weight`` as in `DenseAutoencoder`.

    While training, the loss is E₊ − E₋ + ``l2`` (E₊² + E₋²): the squares keep both from running away. It says nothing of
    progress, as samples get harder. Validation therefore compares background to what the first stage's decoder makes of
    uniform codes, always the same points: ⟨ln E₊⟩ − ⟨ln E₀⟩, the mean score of background against that of what the
    autoencoder used to restore.

    Parameters
    ----------
    base
        The autoencoder, its latent space a sphere.
    latent_steps, visible_steps
        Steps of a chain.
    l2
        Weight of squared energies.

    References
    ----------
    S. Yoon, Y.-K. Noh, F. C. Park, "Autoencoding under normalization constraints", ICML 2021, arXiv:2105.05735.
    B. M. Dillon, L. Favaro, T. Plehn, P. Sorrenson, M. Krämer, "A normalized autoencoder for LHC triggers", SciPost
    Phys. Core 6 (2023) 074, arXiv:2206.14225.
    """

    base: DenseAutoencoder
    latent_steps: int = 10
    visible_steps: int = 10
    l2: float = 0.05

    def initial(self, generator: torch.Generator) -> Parameters:
        """No difference from the first stage yet."""
        return {name: torch.zeros_like(value) for name, value in self.base.initial(generator).items()}

    def weights(self, parameters: Parameters) -> Parameters:
        """Weights of the autoencoder itself."""
        return {
            name: parameters[f"{BUFFER}{name}"] + value
            for name, value in parameters.items()
            if not name.startswith(BUFFER)
        }

    def energies(self, weights: Parameters, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Reconstruction error in units of that of the first stage.

        Parameters
        ----------
        weights
            Of the autoencoder, with the axis of members.
        x
            Shape (members, rows, inputs).
        scale
            The first stage's mean error, shape (members, 1).

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """
        return self.base.errors(weights, x) / scale

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Contrastive loss of each row, each paired with a sample."""
        weights, scale = self.weights(parameters), parameters[f"{BUFFER}scale"]
        x = batch["x"]
        if not noise.training:
            return self._contrast(parameters, weights, batch, noise)
        samples = self.samples({name: w.detach() for name, w in weights.items()}, scale, x.shape[1], noise)
        background, sampled = self.energies(weights, x, scale), self.energies(weights, samples, scale)
        return (
            weighted(background + self.l2 * background.square(), batch) - sampled + self.l2 * sampled.square()
        )

    def _contrast(
        self, parameters: Parameters, weights: Parameters, batch: Batch, noise: Noise
    ) -> torch.Tensor:
        """Score of each row against the mean score of what the first stage's decoder can make."""
        x = batch["x"]
        first = {name: parameters[f"{BUFFER}{name}"] for name in weights}
        made = self.base.decoded(first, on_sphere(noise.normal(x.shape[1], self.base.latent)))
        background, restored = (
            self.base.errors(weights, points).clamp_min(SMALLEST).log() for points in (x, made)
        )
        return weighted(background, batch) - restored.mean(dim=1, keepdim=True)

    def samples(self, weights: Parameters, scale: torch.Tensor, rows: int, noise: Noise) -> torch.Tensor:
        """Ends of Langevin chains, one a row, within the range of the inputs: a flat energy would let them go.

        Parameters
        ----------
        weights
            Of the autoencoder, detached.
        scale
            Unit of the energy, shape (members, 1).
        rows
            Chains a member.
        noise
            Random numbers.

        Returns
        -------
        torch.Tensor
            Shape (members, rows, inputs), detached.
        """
        codes = on_sphere(noise.normal(rows, self.base.latent))
        for _ in range(self.latent_steps):
            slope = self._slope(weights, scale, codes, decode=True)
            random = LATENT_NOISE * noise.normal(*codes.shape[1:])
            codes = on_sphere(codes - _shortened(slope, LATENT_STEP) + random)
        x = self.base.decoded(weights, codes).detach()
        step = VISIBLE_STEP * scale[:, :, None]
        for _ in range(self.visible_steps):
            slope = self._slope(weights, scale, x, decode=False)
            random = (2.0 * step).sqrt() * noise.normal(*x.shape[1:])
            x = (x - _shortened(step * slope, LONGEST) + random).clamp(-FARTHEST, FARTHEST)
        return x

    def _slope(
        self, weights: Parameters, scale: torch.Tensor, points: torch.Tensor, *, decode: bool
    ) -> torch.Tensor:
        """Gradient of −log p at points, or at what codes decode to."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            x = self.base.decoded(weights, points) if decode else points
            total = 0.5 * self.base.inputs * self.energies(weights, x, scale).sum()
            (slope,) = torch.autograd.grad(total, points)
        return slope


def _shortened(steps: torch.Tensor, longest: float) -> torch.Tensor:
    """Steps (…, dimensions) scaled down to a length of at most ``longest``."""
    lengths: torch.Tensor = steps.norm(dim=-1, keepdim=True)
    return steps * (longest / lengths.clamp_min(longest))
