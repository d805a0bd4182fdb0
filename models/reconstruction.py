"""What autoencoder methods share: the events they learn from, their stacks, and losses as scores."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pydantic
import torch

from data.errors import TrainingError
from data.eventid import N_INNER, inner_split, splitmix64
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
from models.heads import JET_INPUTS, JETS
from models.jobs import Member, Schedule
from models.networks.autoencoders import FARTHEST
from models.networks.base import Parameters
from models.networks.scoring import in_batches, tensors
from models.options import FeatureOptions, MethodOptions
from models.preprocessing import Inputs, input_matrix
from models.regions import HIGH, LOW, Regions
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


def background_rows(
    sample: TrainingSample, extras: Mapping[str, TrainingSample], window: Regions
) -> tuple[TrainingSample, IntArray]:
    """Where a method that learns background alone may look.

    Parameters
    ----------
    sample
        The data.
    extras
        Further tables.
    window
        Signal region and side bands.

    Returns
    -------
    source
        The table ``wide`` if there is one, else the data.
    rows
        Its row numbers: all of ``wide``, else those of the side bands.
    """
    if "wide" in extras:
        return extras["wide"], np.arange(len(extras["wide"].batch))
    return sample, np.flatnonzero(np.isin(window.of(sample.columns["mjj"]), (LOW, HIGH)))


def drawn_rows(source: TrainingSample, rows: IntArray, most: int, seed: int) -> IntArray:
    """At most so many rows, drawn at random.

    An event's lot is a hash of its contents, so that draws from overlapping sets overlap: the rows that the five folds
    learn from are hardly more than those of one.

    Parameters
    ----------
    source
        The table.
    rows
        Row numbers.
    most
        Rows wanted.
    seed
        Another one gives another draw.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending.
    """
    lots = splitmix64(source.hashes[rows] ^ splitmix64(seed))
    return np.sort(rows[np.argsort(lots, kind="stable")[:most]])


@dataclass(frozen=True)
class DrawnRows:
    """The rows that the folds draw, one table for all of them.

    Parameters
    ----------
    data
        Arrays that the losses of a stack read.
    batch
        Of the rows.
    of_fold
        Which rows each fold may use.
    """

    data: Arrays
    batch: IntArray
    of_fold: tuple[BoolArray, ...]


def fold_members(
    batch: IntArray,
    fold: int,
    count: int,
    seeds: Callable[..., int],
    *,
    among: BoolArray | None = None,
) -> tuple[Member, ...]:
    """The networks of a fold.

    Parameters
    ----------
    batch
        Batch of each row of the job's data; rows of the held-out fold are left out.
    fold
        The fold held out.
    count
        Networks; number s validates on inner split s.
    seeds
        Gives the seed of each.
    among
        Rows that may be used; by default all.

    Raises
    ------
    TrainingError
        If a network has nothing to learn from or to validate on.
    """
    split = inner_split(batch, fold)
    used = split >= 0 if among is None else (split >= 0) & among
    for number in range(count):
        held, total = np.count_nonzero(used & (split == number)), np.count_nonzero(used)
        if held in {0, total}:
            msg = (
                f"fold {fold}: {held} of {total} rows to learn background from lie in inner split {number}; some are "
                "needed in it and some outside: add events, or check the inputs"
            )
            raise TrainingError(msg)
    return tuple(
        Member(
            np.flatnonzero(used & (split != number)),
            np.flatnonzero(used & (split == number)),
            seeds("split", number),
        )
        for number in range(count)
    )


def schedule_within(schedule: Schedule, most_steps: int, rows: int) -> Schedule:
    """A schedule with as few epochs as so many rows need to stay within a number of steps, but at least one."""
    epochs = max(round(most_steps / -(-rows // schedule.rows)), 1)
    return schedule.model_copy(update={"epochs": min(schedule.epochs, epochs)})


def row_weights(weight: FloatArray) -> npt.NDArray[np.float32]:
    """Event weights with mean 1, as the losses read them."""
    return np.asarray(weight / weight.mean(), dtype=np.float32)


class Reconstructing(Protocol):
    """A stacked network with a reconstruction error."""

    def errors(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """Shape (members, rows)."""
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
    """Natural logarithm of losses, finite for a loss of 0 as well."""
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
        """The arrays of a fold."""
        return prefixed("transform/", inputs.transform.arrays()) | prefixed("network/", network)

    def seen(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """What the networks of a fold see of events."""
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
        """Raise ValueError where arrays are not those of the fold's networks."""


def _within(x: Inputs) -> Inputs:
    return np.clip(x, -FARTHEST, FARTHEST)
