"""Convolutional autoencoder of jet images."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import InputError
from data.eventid import N_FOLDS
from data.types import FloatArray
from models.arrays import Arrays
from models.background_rows import DrawnRows, background_rows, drawn_rows, fold_members
from models.base import register
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.heads import JETS
from models.jobs import Schedule, StackJob, Training
from models.kernels.images import constituent_images
from models.networks.convolution import ConvolutionalAutoencoder
from models.networks.dense import Layers
from models.preprocessing import Inputs
from models.reconstruction import ReconstructionOptions, log_losses, row_weights
from models.regions import HIGH, LOW
from models.seeds import task_seed
from models.stack import merged_arrays

COLUMNS = tuple(f"constituents_{jet}" for jet in JETS)


class ConvAutoencoderOptions(ReconstructionOptions):
    """Options of ``conv_autoencoder``."""

    pixels: int = pydantic.Field(default=32, ge=8, le=128)
    """Pixels on a side of the image; halved once for each of the channels."""
    width: float = pydantic.Field(default=1.6, gt=0, le=4)
    """Side of the image, rad."""
    channels: Layers = (32, 24, 16)
    """Of the convolutions."""
    hidden: Layers = (128, 32)
    """Dense layers between the convolutions and the latent space."""
    latent: int = pydantic.Field(default=6, ge=1)
    """Width of the latent space."""
    combination: Literal["sum", "max"] = "sum"
    """What is made of the losses of the two jets: both together, or the larger (one odd jet is enough)."""
    most_jets: int = pydantic.Field(default=16_000, ge=100)
    """A fold learns from at most so many jets, drawn at random."""
    members: int = pydantic.Field(default=1, ge=1, le=4)
    """Networks a fold, each validating on another inner quarter of the other folds; the mean of their losses counts."""
    schedule: Schedule = Schedule(
        epochs=8, batch=128, learning_rate=2e-3, decay="one_cycle", patience=6, clip=1.0
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The constituents of both jets."""
        return COLUMNS

    @property
    def network(self) -> ConvolutionalAutoencoder:
        """The kind of network."""
        return ConvolutionalAutoencoder(self.pixels, self.channels, self.hidden, self.latent)

    @pydantic.model_validator(mode="after")
    def _layers_fit(self) -> Self:
        # Its message names the number of pixels.
        _ = self.network
        return self


@register
class ConvAutoencoder(FoldedMethod):
    """Jets whose images a network that has learnt to compress ordinary ones cannot restore.

    Images of both jets (pT-weighted, centred, rotated, flipped, adding up to 1) go through one convolutional
    autoencoder, which learns where no signal is expected: events of large |Δη| if the table ``wide`` is given, else the
    side bands. The score is the logarithm of the sum (or the larger) of both jets' squared errors; the cut follows its
    quantile as a function of mjj.

    The images are made of at most the 100 hardest particles. Layers, activation and loss are those of the labeler of
    Tag N' Train; by default fewer jets and epochs, with a one-cycle rate. A pass over 1000 images of 32 × 32 takes about
    a second of one core: the default, five folds of 12,000 images and 8 epochs, would by that rate take 8 minutes
    however many events there are.

    *Assumes* that what the network cannot restore is rare background or signal. *Is blind to* signal jets simpler than
    background jets (an image with one bright pixel is the easiest to restore: complexity bias), and, without ``wide``,
    to signals that are as frequent in the side bands.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `ConvAutoencoderOptions`.

    References
    ----------
    T. Heimel, G. Kasieczka, T. Plehn, J. M. Thompson, "QCD or what?", SciPost Phys. 6 (2019) 030, arXiv:1808.08979.
    M. Farina, Y. Nakai, D. Shih, "Searching for new physics with deep autoencoders", Phys. Rev. D 101 (2020) 075021,
    arXiv:1808.08992. O. Amram, C. M. Suarez, "Tag N' Train", JHEP 01 (2021) 153, arXiv:2002.12376 (the layers).
    """

    name = "conv_autoencoder"
    summary = "Convolutional autoencoder of both jets' images: reconstruction error (arXiv:1808.08979)"
    family = "unsupervised"
    flat = True
    score_is = "logarithm of both jets' reconstruction errors, their sum or the larger"
    bands = (LOW, HIGH)
    takes: ClassVar[Mapping[str, bool]] = {"wide": False}
    options_type = ConvAutoencoderOptions
    options: ConvAutoencoderOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "pixels": 16,
            "channels": (8, 8),
            "hidden": (32,),
            "most_jets": 4000,
            "schedule": {"epochs": 4, "batch": 64},
        },
        "paper": {
            "most_jets": 10_000_000,
            "schedule": {
                "epochs": 30,
                "batch": 200,
                "learning_rate": 1e-3,
                "decay": "constant",
                "patience": 6,
                "clip": 0.0,
            },
        },
    }

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Networks on images of the jets that the fold draws; see `FoldTraining.train_fold`."""
        drawn = sample.once(f"{self.name}: drawn", lambda: self._drawn(sample, extras))
        members = fold_members(
            drawn.batch, fold, self.options.members, self.seeds(fold, "network"), among=drawn.of_fold[fold]
        )
        (result,) = yield [StackJob(self.options.network, self.options.schedule, drawn.data, members)]
        return merged_arrays(result.networks)

    def _drawn(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> DrawnRows:
        source, rows = background_rows(sample, extras, self.window)
        seed = task_seed(self.seed, self.name, self.window.label(), "jets")
        events = self.options.most_jets // len(JETS)
        drawn = [drawn_rows(source, rows[source.fold[rows] != k], events, seed) for k in range(N_FOLDS)]
        used = np.unique(np.concatenate(drawn))
        images = self._images({name: source.columns[name][used] for name in self.inputs})
        filled = images.any(axis=(1, 2))
        return DrawnRows(
            {"image": images, "weight": np.repeat(row_weights(source.weight[used]), len(JETS))},
            np.repeat(source.batch[used], len(JETS)),
            tuple(filled & np.repeat(np.isin(used, own), len(JETS)) for own in drawn),
        )

    def _images(self, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Images of both jets, the jets of an event following each other, float32, shape (2·events, pixels, pixels)."""
        for name in COLUMNS:
            shape = columns[name].shape
            if len(shape) != 3 or shape[2] != 3 or shape != columns[COLUMNS[0]].shape:
                msg = (
                    f"column '{name}': expected px, py, pz of the particles of each event's jet, shape (events, "
                    f"particles, 3), the same for both jets, found {shape}; skim with features.constituents: true"
                )
                raise InputError(msg)
        both = np.stack([columns[name] for name in COLUMNS], axis=1)
        return constituent_images(both.reshape(-1, *both.shape[2:]), self.options.pixels, self.options.width)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Logarithm of the sum of both jets' losses, or of the larger."""
        losses = self.options.network.image_losses(fold, self._images(columns)).reshape(-1, len(JETS))
        return log_losses(losses.sum(axis=1) if self.options.combination == "sum" else losses.max(axis=1))

    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays that no training could have made."""
        self.options.network.check(fold)
