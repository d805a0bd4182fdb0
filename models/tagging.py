"""The labels of Tag N' Train: autoencoders that say how odd a jet is, and what that makes of the other jet."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import TrainingError
from data.eventid import N_INNER
from data.sections import Section
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays
from models.heads import JETS
from models.jobs import Member, Schedule
from models.kernels.images import constituent_images
from models.networks.autoencoders import FARTHEST, DenseAutoencoder
from models.networks.convolution import ConvolutionalAutoencoder
from models.networks.dense import Layers
from models.networks.scoring import in_batches, tensors
from models.preprocessing import Inputs
from models.regions import HIGH, LOW, SIGNAL
from models.transforms import TransformKind, fit_transform

NEITHER, BACKGROUND_LIKE, SIGNAL_LIKE = -1, 0, 1
IMAGE_LATENT = 6
"""Latent variables of an image, as in the search."""


class LabelerSettings(Section):
    """The autoencoder that tags jets, trained on side-band events only, and where its cuts lie."""

    inputs: Literal["features", "images"] = "features"
    """``features``: dense, on the features of the jet; ``images``: convolutional, on images of its constituents
    (columns constituents_j1, constituents_j2), as CMS-EXO-22-026."""
    hidden: Layers = (32, 16)
    """Layers between input and latent space; of ``images`` the dense ones, after three convolutions."""
    latent: int = pydantic.Field(default=0, ge=0)
    """Width of the latent space; 0: a third of a jet's features, at least one; 6 for ``images``. It must be narrow: what
    fits through is reconstructed, odd or not, and tags nothing. Of five features of simulated two-pronged jets, a width
    of 1, 2 and 3 made signal-like jets 2.1, 2.0 and 1.5 times purer than the signal region."""
    transform: TransformKind = "rank"
    """How ``features`` are scaled: ``rank``, each to the normal quantile of its rank, so that no heavy tail outweighs
    the other features; ``standardise`` or ``logit``."""
    pixels: Literal[16, 32, 40] = 32
    """Pixels of an image along each axis."""
    width: float = pydantic.Field(default=1.6, gt=0, le=4)
    """Side of the jet image, rad."""
    schedule: Schedule = Schedule(epochs=30, batch=512, learning_rate=3e-3, decay="one_cycle", patience=6)
    signal_percentile: float = pydantic.Field(default=80.0, gt=0, lt=100)
    """A jet is likely signal if the other jet's reconstruction error is above this percentile of the signal region; at
    high mass, where events are few, the search took 65 and 50."""
    background_percentile: float = pydantic.Field(default=50.0, ge=0, lt=100)
    """Below this one a jet of the signal region counts as background; 0: the side bands only."""

    @pydantic.model_validator(mode="after")
    def _cuts_are_ordered(self) -> Self:
        if self.background_percentile > self.signal_percentile:
            msg = (
                f"background_percentile {self.background_percentile:g} is above signal_percentile "
                f"{self.signal_percentile:g}, so that a jet would be both; lower it"
            )
            raise ValueError(msg)
        return self

    def width_for(self, inputs: int) -> int:
        """Width of the latent space for so many features of a jet."""
        return self.latent or (IMAGE_LATENT if self.inputs == "images" else max(inputs // 3, 1))


def tag(scores: FloatArray, region: IntArray, settings: LabelerSettings) -> IntArray:
    """Label each jet by what the other jet of its event looks like.

    The cuts are percentiles of both jets' scores together, in the signal region: no autoencoder was trained there, so
    that events it knows and events it does not are never compared. Both jets share a cut because one network serves
    either: for two jets that are drawn alike, then put in order of mass, labels do not depend on the jet's own inputs.

    Parameters
    ----------
    scores
        Reconstruction errors, shape (events, 2).
    region
        0 lower side band, 1 signal region, 2 upper side band; shape (events,).
    settings
        The percentiles.

    Returns
    -------
    numpy.ndarray
        int64, shape (events, 2): 1 signal-like, 0 background-like, −1 neither.
    """
    opposite = scores[:, ::-1]
    inside = (region == SIGNAL)[:, None]
    reference = scores[region == SIGNAL]
    label = np.full(scores.shape, NEITHER, dtype=np.int64)
    label[np.isin(region, (LOW, HIGH))] = BACKGROUND_LIKE
    if settings.background_percentile > 0:
        label[inside & (opposite < np.percentile(reference, settings.background_percentile))] = (
            BACKGROUND_LIKE
        )
    label[inside & (opposite > np.percentile(reference, settings.signal_percentile))] = SIGNAL_LIKE
    return label


def tag_weights(label: IntArray, region: IntArray) -> FloatArray:
    """Weights that make the background-like jets of each band count equally, and both classes too.

    Parameters
    ----------
    label
        Of each jet, as `tag` gives them.
    region
        Of its event, shape of ``label``.

    Returns
    -------
    numpy.ndarray
        float64; background-like: 1 in the lower side band, N_low/N_high in the upper, N_low/N_middle in the signal
        region; signal-like: the background's total shared equally; 0 where there is no label.

    Raises
    ------
    TrainingError
        If a class or a side band is empty.
    """
    weight = np.zeros(len(label), dtype=np.float64)
    background = [(label == BACKGROUND_LIKE) & (region == band) for band in (LOW, SIGNAL, HIGH)]
    low, middle, high = (int(np.count_nonzero(mask)) for mask in background)
    signal = int(np.count_nonzero(label == SIGNAL_LIKE))
    if min(low, high, signal) == 0:
        msg = (
            f"{signal} jets are tagged signal-like, {low} and {high} lie in the lower and the upper side band; each "
            "needs some: lower labeler.signal_percentile, widen the window or add events"
        )
        raise TrainingError(msg)
    for mask, count in zip(background, (low, middle, high), strict=True):
        weight[mask] = low / max(count, 1)
    weight[label == SIGNAL_LIKE] = weight.sum() / signal
    return weight


def rows_of_jets(events: BoolArray) -> IntArray:
    """Row numbers of both jets of the events chosen, jets following each other.

    Parameters
    ----------
    events
        bool, shape (events,).

    Returns
    -------
    numpy.ndarray
        int64, ascending: 2 n and 2 n + 1 of event n.
    """
    return np.flatnonzero(np.repeat(events, 2))


def members_of_splits(rows: IntArray, split: IntArray, seed: Callable[..., int]) -> tuple[Member, ...]:
    """One autoencoder an inner split, which validates on its jets.

    Parameters
    ----------
    rows
        Row numbers of the jets that may be learned from, shape (n,).
    split
        Inner split 0 … 3 of every jet, shape (jets,).
    seed
        Gives the seed of each.

    Returns
    -------
    tuple of Member
        Four.
    """
    return tuple(
        Member(rows[split[rows] != number], rows[split[rows] == number], seed("split", number))
        for number in range(N_INNER)
    )


def jet_images(settings: LabelerSettings, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
    """Images of both jets of each event, the jets of an event following each other.

    Parameters
    ----------
    settings
        Pixels and width.
    columns
        ``constituents_j1`` and ``constituents_j2``: px, py, pz (GeV), shape (events, particles, 3).

    Returns
    -------
    numpy.ndarray
        float32, shape (2 events, pixels, pixels); the pixels of a jet add up to 1, or all are 0
        where it has no particle in the window.
    """
    both = np.stack([columns[f"constituents_{jet}"] for jet in JETS], axis=1)
    return constituent_images(both.reshape(-1, *both.shape[2:]), settings.pixels, settings.width)


def jet_features(settings: LabelerSettings, jets: Inputs, known: IntArray) -> Inputs:
    """Features of all jets, scaled by those that may be learned from.

    Parameters
    ----------
    settings
        Kind of scaling.
    jets
        Features in their units, float32, shape (jets, features).
    known
        Row numbers of the jets that may be learned from, shape (n,).

    Returns
    -------
    numpy.ndarray
        float32, shape (jets, features), at most 10 from 0.
    """
    z, _ = fit_transform(settings.transform, jets[known]).forward(jets)
    return np.clip(z, -FARTHEST, FARTHEST)


def labeler(settings: LabelerSettings, n_inputs: int) -> DenseAutoencoder | ConvolutionalAutoencoder:
    """The kind of autoencoder, for so many features a jet."""
    latent = settings.width_for(n_inputs)
    if settings.inputs == "images":
        return ConvolutionalAutoencoder(settings.pixels, hidden=settings.hidden, latent=latent)
    return DenseAutoencoder(n_inputs, settings.hidden, latent)


def errors_of_jets(
    network: DenseAutoencoder | ConvolutionalAutoencoder, arrays: Arrays, inputs: npt.NDArray[np.float32]
) -> FloatArray:
    """Reconstruction error of each jet, the mean of all members.

    Parameters
    ----------
    network
        The kind of autoencoder.
    arrays
        Its weights, float32, with a leading axis of members.
    inputs
        float32, shape (jets, features) or (jets, pixels, pixels).

    Returns
    -------
    numpy.ndarray
        float64, shape (jets,).
    """
    if isinstance(network, ConvolutionalAutoencoder):
        return network.image_losses(arrays, inputs)
    parameters = tensors(arrays)
    members = len(next(iter(arrays.values())))
    return in_batches(
        lambda rows: network.errors(parameters, rows.expand(members, -1, -1)).mean(dim=0), inputs
    )
