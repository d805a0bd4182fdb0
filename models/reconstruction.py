"""What autoencoder methods share: options, what their networks see, and losses as scores."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import N_INNER
from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.background_rows import background_rows
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
from models.heads import JET_INPUTS, JETS
from models.jobs import Schedule
from models.networks.autoencoders import FARTHEST
from models.networks.base import Parameters
from models.networks.scoring import in_batches, tensors
from models.options import FeatureOptions, MethodOptions
from models.preprocessing import Inputs, input_matrix
from models.regions import HIGH, LOW
from models.torch_later import torch
from models.transforms import Transform, TransformKind, fit_transform, restored_transform

JET_FEATURES = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
"""The seven features a jet of CMS-EXO-22-026."""
LEAST_LOSS = 1e-30
"""Smaller losses are indistinguishable: their logarithm must be finite."""


class ReconstructionOptions(MethodOptions):
    """Options of every method whose score is a reconstruction error."""

    decorrelate: Literal["none", "quantile"] = "quantile"
    """Reconstruction errors grow with mjj; by default the cut follows them."""
    members: int = pydantic.Field(default=N_INNER, ge=1, le=N_INNER)
    """Networks a fold, each validating on another inner quarter of the other folds; the mean of their losses counts."""


def schedule_within(schedule: Schedule, most_steps: int, rows: int) -> Schedule:
    """A schedule with as few epochs as so many rows need to stay within a number of steps, but at least one."""
    epochs = max(round(most_steps / -(-rows // schedule.rows)), 1)
    return schedule.model_copy(update={"epochs": min(schedule.epochs, epochs)})


def row_weights(weight: FloatArray) -> npt.NDArray[np.float32]:
    """Event weights with mean 1, as the losses read them.

    Parameters
    ----------
    weight
        Event weights, shape (rows,), the sum positive.

    Returns
    -------
    numpy.ndarray
        float32, shape (rows,).
    """
    return np.asarray(weight / weight.mean(), dtype=np.float32)


class Reconstructing(Protocol):
    """A stacked network with a reconstruction error."""

    def errors(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """Reconstruction error of each row.

        Parameters
        ----------
        parameters
            With the axis of members.
        x
            Shape (members, rows, inputs).

        Returns
        -------
        torch.Tensor
            Shape (members, rows).
        """
        ...


def mean_errors(
    network: Reconstructing, arrays: Mapping[str, npt.NDArray[Any]], x: npt.NDArray[np.float32]
) -> FloatArray:
    """Reconstruction error of each row, the mean over a stack's members.

    Parameters
    ----------
    network
        The kind of network.
    arrays
        Its parameters, with the axis of members.
    x
        float32, shape (rows, inputs).

    Returns
    -------
    numpy.ndarray
        float64, one a row; independent of the other rows.
    """
    parameters = tensors(arrays)
    members = len(next(iter(parameters.values())))

    def mean(rows: torch.Tensor) -> torch.Tensor:
        return network.errors(parameters, rows.expand(members, *rows.shape)).mean(dim=0)

    return in_batches(mean, x)


def log_losses(losses: FloatArray) -> FloatArray:
    """Natural logarithm of losses, finite for a loss of 0 as well.

    Parameters
    ----------
    losses
        Not negative, any shape.

    Returns
    -------
    numpy.ndarray
        float64, the same shape; losses below 10⁻³⁰ count as that.
    """
    return np.log(np.maximum(losses, LEAST_LOSS))


class LatentOptions(ReconstructionOptions, FeatureOptions):
    """Options of autoencoders of features."""

    features: tuple[str, ...] = JET_FEATURES
    """Input columns; by default the seven a jet of CMS-EXO-22-026."""
    transform: TransformKind = "standardise"
    """What the network sees of them: ``standardise``: in standard deviations, at most ten; ``rank``: normal quantiles of
    ranks, which leave little of the tails; ``logit``."""
    latent: int = pydantic.Field(default=0, ge=0)
    """Width of the latent space; 0: half as many as features. That is the elbow for ten features of simulated dijets:
    up to the fifth each variable lowers the validation loss in the side bands by a tenth of the variance, further ones
    by half of that."""

    most_steps: int = pydantic.Field(default=2700, ge=1)
    """Steps after which a training ends whatever its epochs: with many rows a pass over all of them teaches less."""

    @property
    def width(self) -> int:
        """Width of the latent space."""
        return self.latent or max(len(self.features) // 2, 1)

    @pydantic.model_validator(mode="after")
    def _something_is_lost(self) -> Self:
        if self.width >= len(self.features):
            msg = (
                f"latent: {self.width} variables can hold all of {len(self.features)} features, so that nothing would be "
                "lost; choose fewer, or add features"
            )
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class FoldInputs:
    """What the networks of a fold learn from.

    Parameters
    ----------
    transform
        Fitted on these rows.
    x
        Transformed features of the background of the other folds.
    weight
        Of the rows, mean 1.
    batch
        Of the rows.
    most
        Rows of the largest fold's, as `models.folds.most_rows` counts them.
    """

    transform: Transform
    x: Inputs
    weight: npt.NDArray[np.float32]
    batch: IntArray
    most: int

    @property
    def data(self) -> Arrays:
        """Arrays that the losses of a stack read."""
        return {"x": self.x, "weight": self.weight}

    def within(self, schedule: Schedule, most_steps: int) -> Schedule:
        """A schedule that stays within a number of steps, the same for all folds."""
        return schedule_within(schedule, most_steps, self.most * (N_INNER - 1) // N_INNER)


class FeatureReconstruction(FoldedMethod):
    """A method whose score is the logarithm of the loss of an autoencoder of features."""

    family = "unsupervised"
    flat = True
    bands = (LOW, HIGH)
    takes: ClassVar[Mapping[str, bool]] = {"wide": False}
    options: LatentOptions

    def fold_inputs(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> FoldInputs:
        """What the networks of a fold learn from."""
        source, rows = background_rows(sample, extras, self.window)
        of_rows = source.fold[rows]
        other = rows[of_rows != fold]
        raw = input_matrix({name: source.columns[name][other] for name in self.inputs}, self.inputs)
        transform = fit_transform(self.options.transform, raw)
        x, weight = _within(transform.forward(raw)[0]), row_weights(source.weight[other])
        return FoldInputs(transform, x, weight, source.batch[other], most_rows(of_rows))

    def fold_arrays(self, inputs: FoldInputs, network: Arrays) -> Arrays:
        """The arrays of a fold.

        Parameters
        ----------
        inputs
            What the networks learned from.
        network
            Arrays of the networks.

        Returns
        -------
        dict
            Both, for `seen` and `raw_score`.
        """
        return prefixed("transform/", inputs.transform.arrays()) | prefixed("network/", network)

    def seen(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """What the networks of a fold see of events.

        Parameters
        ----------
        fold
            Arrays of the fold.
        columns
            The inputs in their units, each of shape (events,).

        Returns
        -------
        numpy.ndarray
            float32, shape (events, inputs), at most 10 from 0.
        """
        transform = self._transform(fold)
        return _within(transform.forward(input_matrix(columns, self.inputs))[0])

    def _transform(self, fold: Arrays) -> Transform:
        return restored_transform(self.options.transform, below(fold, "transform/"), len(self.inputs))

    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays that no training could have made."""
        self._transform(fold)
        self.check_network(below(fold, "network/"))

    @abc.abstractmethod
    def check_network(self, arrays: Arrays) -> None:
        """Refuse arrays that are not those of the fold's networks.

        Parameters
        ----------
        arrays
            Without the transform's.

        Raises
        ------
        ValueError
            Saying what is wrong with them.
        """


def _within(x: Inputs) -> Inputs:
    return np.clip(x, -FARTHEST, FARTHEST)
