"""What every classifier of the package does, whatever it is made of.

A classifier is a pair of pure functions on arrays: ``train`` gives named arrays, ``probability`` evaluates them.
The modules are imported when first used: scoring with trees needs no torch.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import N_INNER
from data.sections import Section
from data.types import BoolArray, FloatArray, IntArray
from models.preprocessing import Inputs

Arrays = dict[str, npt.NDArray[Any]]
Kind = Literal["trees", "mlp"]


class TreeSettings(Section):
    """Boosted trees.

    The defaults were chosen on one simulated pseudo-experiment (13,000 to 17,000 events in the signal region, some 200
    of them signal, drawn afresh several times), never on the shipped sample. There the number of members matters most:
    a single one an inner split gave a mean significance after a 1 % cut of 5.7, four gave 7.5. Eight that see a
    quarter of the events each do as well as eight that see all, in two thirds of the time. Fewer leaves or trees lose
    a little; larger leaves and regularisation did not help in smaller toys.
    """

    bags: int = pydantic.Field(default=8, ge=1, le=200)
    """Members an inner split, each on its own Poisson bootstrap of the training events."""
    sampling: float = pydantic.Field(default=0.25, gt=0, le=1)
    """Mean number of copies of an event in a bootstrap; less than 1 is faster, and members differ more."""
    iterations: int = pydantic.Field(default=200, ge=1, le=5000)
    """Most trees a member; early stopping ends it sooner."""
    patience: int = pydantic.Field(default=10, ge=1)
    """Trees without a lower loss on the inner validation quarter before a member stops."""
    learning_rate: float = pydantic.Field(default=0.1, gt=0, le=1)
    leaves: int = pydantic.Field(default=31, ge=2, le=256)
    samples_per_leaf: int = pydantic.Field(default=5, ge=1)
    l2: float = pydantic.Field(default=0.0, ge=0)
    feature_fraction: float = pydantic.Field(default=0.6, gt=0, le=1)
    """Share of the inputs tried at each node."""
    bins: int = pydantic.Field(default=255, ge=2, le=255)
    """Bins an input, half of them quantiles, half of equal width."""


class MlpSettings(Section):
    """The dense network of CMS-EXO-22-026 (arXiv:2512.20395)."""

    epochs: int = pydantic.Field(default=100, ge=1, le=2000)
    batch: int = pydantic.Field(default=256, ge=2)
    learning_rate: float = pydantic.Field(default=1e-3, gt=0, le=1)
    small_below: int = pydantic.Field(default=10_000, ge=0)
    """Fewer training events than this get the small network."""


@dataclass(frozen=True)
class Problem:
    """One classification problem with its inner splits.

    Parameters
    ----------
    x
        float32, shape (events, inputs).
    target
        True for the class whose probability is wanted.
    weight
        Not negative.
    split
        Inner split 0 … 3: the network of split s validates on its events and trains on the others.
    """

    x: Inputs
    target: BoolArray
    weight: FloatArray
    split: IntArray

    def parts(self) -> list[tuple[BoolArray, BoolArray]]:
        """Training and validation events of each inner split, as masks."""
        return [(self.split != number, self.split == number) for number in range(N_INNER)]


@dataclass(frozen=True)
class Classifier:
    """A kind of classifier with its settings."""

    kind: Kind
    settings: TreeSettings | MlpSettings

    def train(self, problem: Problem, seed: Callable[..., int]) -> Arrays:
        """Train the networks of all inner splits; ``seed`` gives the seed of a part of the task."""
        return _module(self.kind).train(problem, self.settings, seed)

    def probability(self, arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray:
        """Mean output of the networks, float64, one an event."""
        return _module(self.kind).probability(arrays, x)

    def check(self, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> None:
        """Refuse arrays that no training could have made; the message says what is wrong with them."""
        _module(self.kind).check(arrays, n_inputs)


class _Module(Protocol):
    def train(
        self, problem: Problem, settings: TreeSettings | MlpSettings, seed: Callable[..., int]
    ) -> Arrays: ...

    def probability(self, arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray: ...

    def check(self, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> None: ...


def _module(kind: Kind) -> _Module:
    return cast("_Module", importlib.import_module(f"models.{kind}"))


def take(
    arrays: Mapping[str, npt.NDArray[Any]], name: str, dtype: str, *shape: int | None
) -> npt.NDArray[Any]:
    """An array of a bundle with the type and shape that it must have.

    Parameters
    ----------
    arrays
        Arrays by name.
    name
        The one wanted.
    dtype
        Its type.
    shape
        Its shape; None where any length is allowed.

    Raises
    ------
    ValueError
        If it is missing or different.
    """
    if name not in arrays:
        msg = f"array '{name}' is missing"
        raise ValueError(msg)
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        msg = f"array '{name}' is {array.dtype} of shape {array.shape}, expected {dtype} of shape {shape}"
        raise ValueError(msg)
    return array
