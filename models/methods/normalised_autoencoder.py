"""Normalised autoencoder of jet features: a density whose energy is the reconstruction error."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pydantic

from data.types import FloatArray
from models.arrays import Arrays, below
from models.background_rows import fold_members
from models.base import register
from models.folds import TrainingSample
from models.jobs import Schedule, StackJob, Training
from models.networks.autoencoders import DenseAutoencoder
from models.networks.base import BUFFER
from models.networks.normalised import NormalisedAutoencoder
from models.reconstruction import FeatureReconstruction, FoldInputs, LatentOptions, log_losses, mean_errors
from models.stack import merged_arrays


class NormalisedAutoencoderOptions(LatentOptions):
    """Options of ``normalised_autoencoder``."""

    hidden: tuple[pydantic.PositiveInt, ...] = (64, 32)
    """Widths of the encoder's hidden layers; the decoder's are the same in reverse."""
    members: int = pydantic.Field(default=1, ge=1, le=4)
    """Networks a fold, each validating on another inner quarter of the other folds; the mean of their losses counts."""
    schedule: Schedule = Schedule(epochs=30, batch=512, learning_rate=2e-2, decay="one_cycle", clip=1.0)
    """Of the first stage, which is that of ``autoencoder``."""
    normalisation: Schedule = Schedule(epochs=15, batch=512, learning_rate=1e-3, decay="one_cycle", clip=1.0)
    """Of the second stage."""
    most_steps: int = pydantic.Field(default=4000, ge=1)
    """Steps after which the first stage ends whatever its epochs."""
    most_normalisation_steps: int = pydantic.Field(default=300, ge=1)
    """The same of the second stage, each of whose steps costs as much as a dozen of the first, but at least one epoch."""
    latent_steps: int = pydantic.Field(default=10, ge=1, le=1000)
    """Langevin steps of a sample in the latent space."""
    visible_steps: int = pydantic.Field(default=10, ge=0, le=1000)
    """Langevin steps that follow in the inputs."""
    l2: float = pydantic.Field(default=0.05, gt=0, le=10)
    """Weight of squared energies in the loss."""


@register
class NormalisedAutoencoderMethod(FeatureReconstruction):
    """Autoencoder that restores background and nothing else.

    After the training of ``autoencoder`` (with codes on a sphere) the reconstruction error becomes the energy of a
    density: samples of this density are drawn by Langevin chains that start on what the decoder can make, and their
    error is pushed up until they look like the background. What the autoencoder restored without having learnt it, it
    restores no longer. The score is the logarithm of the error, the cut its quantile as a function of mjj.

    *Assumes* that the chains find what the autoencoder restores beyond the background. *Is blind to* signals where the
    background is dense, and, without ``wide``, to signals that are as frequent in the side bands.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `NormalisedAutoencoderOptions`.

    References
    ----------
    S. Yoon, Y.-K. Noh, F. C. Park, "Autoencoding under normalization constraints", ICML 2021, arXiv:2105.05735.
    B. M. Dillon, L. Favaro, T. Plehn, P. Sorrenson, M. Krämer, "A normalized autoencoder for LHC triggers", SciPost
    Phys. Core 6 (2023) 074, arXiv:2206.14225.
    """

    name = "normalised_autoencoder"
    summary = "Autoencoder whose error is the energy of a density, both jets' features (arXiv:2206.14225)"
    score_is = "logarithm of the mean squared reconstruction error"
    options_type = NormalisedAutoencoderOptions
    options: NormalisedAutoencoderOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "hidden": (32,),
            "schedule": {"epochs": 8, "batch": 256},
            "normalisation": {"epochs": 3, "batch": 256},
            "latent_steps": 5,
            "visible_steps": 5,
        },
        "paper": {
            "most_steps": 10_000_000,
            "most_normalisation_steps": 10_000_000,
            "schedule": {"epochs": 200, "batch": 2048, "learning_rate": 1e-3, "decay": "constant"},
            "normalisation": {"epochs": 50, "batch": 128, "learning_rate": 1e-5, "decay": "constant"},
            "latent_steps": 30,
            "visible_steps": 30,
        },
    }

    @property
    def _base(self) -> DenseAutoencoder:
        # A sphere has one dimension less than the space that it lies in.
        latent = self.options.width + 1
        return DenseAutoencoder(len(self.inputs), self.options.hidden, latent, spherical=True)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Autoencoders, then their normalisation; see `FoldTraining.train_fold`."""
        own, options = self.fold_inputs(sample, extras, fold), self.options
        members = fold_members(own.batch, fold, options.members, self.seeds(fold, "first"))
        first = StackJob(self._base, own.within(options.schedule, options.most_steps), own.data, members)
        (autoencoders,) = yield [first]
        schedule = own.within(options.normalisation, options.most_normalisation_steps)
        (normalised,) = yield [self._second(first, own, autoencoders.networks, fold, schedule)]
        return self.fold_arrays(own, merged_arrays([_summed(network) for network in normalised.networks]))

    def _second(
        self, first: StackJob, own: FoldInputs, networks: Sequence[Arrays], fold: int, schedule: Schedule
    ) -> StackJob:
        """The normalisation of a fold's autoencoders, on the same rows."""
        options, members = self.options, []
        for number, (member, network) in enumerate(zip(first.members, networks, strict=True)):
            errors = mean_errors(self._base, network, own.x[member.fitted])
            scale = np.average(errors, weights=own.weight[member.fitted])
            buffers = {name: array[0] for name, array in network.items()}
            buffers["scale"] = np.array([max(scale, np.finfo(np.float32).tiny)], dtype=np.float32)
            seed = self.seeds(fold, "second")("split", number)
            members.append(replace(member, seed=seed, buffers=buffers))
        kind = NormalisedAutoencoder(self._base, options.latent_steps, options.visible_steps, options.l2)
        return StackJob(kind, schedule, own.data, tuple(members))

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Logarithm of the mean loss of a fold's networks."""
        return log_losses(mean_errors(self._base, below(fold, "network/"), self.seen(fold, columns)))

    def check_network(self, arrays: Arrays) -> None:
        """See `DenseAutoencoder.check`."""
        self._base.check(arrays)


def _summed(network: Arrays) -> Arrays:
    """Weights of an autoencoder: those of the first stage and what the second added."""
    return {
        name: network[f"{BUFFER}{name}"] + array
        for name, array in network.items()
        if not name.startswith(BUFFER)
    }
