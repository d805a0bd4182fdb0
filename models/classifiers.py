"""Classifiers of events: boosted trees or stacks of dense networks, the same to every method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.sections import Section
from data.types import FloatArray
from models import trees
from models.arrays import Arrays, take, without
from models.jobs import Member, Schedule, StackJob, Training, TreeJob
from models.networks.base import BUFFER
from models.networks.dense import Activation, DenseClassifier, Layers, check_layers
from models.networks.scoring import in_batches, tensors
from models.preprocessing import Inputs, standardisation
from models.problems import Problem
from models.stack import merged_arrays
from models.torch_later import torch
from models.trees import TreeSettings

Kind = Literal["trees", "mlp"]


class MlpSettings(Section):
    """Dense networks; the defaults are those of the batched trainer, `paper` presets name the authors'."""

    hidden: Layers = (64, 64, 64)
    """Sizes of the hidden layers."""
    activations: Activation | tuple[Activation, ...] = "relu"
    """One for all hidden layers, or one for each."""
    dropout: tuple[float, ...] = ()
    """Drop-out probability after each hidden layer; missing ones are 0."""
    pieces: int = pydantic.Field(default=0, ge=0, le=256)
    """Pieces into which each input is cut, see `DenseClassifier`; 0: inputs as they are."""
    small_below: int = pydantic.Field(default=0, ge=0)
    """Fewer training events than this get the layers ``small`` without drop-out."""
    small: Layers = (16, 16, 16, 8, 4)
    """Sizes of these hidden layers."""
    bags: int = pydantic.Field(default=2, ge=1, le=100)
    """Networks an inner split, each with its own start and order of events."""
    schedule: Schedule = Schedule(
        epochs=30, batch=512, learning_rate=3e-3, decay="one_cycle", betas=(0.9, 0.99), keep=3
    )

    def network(self, n_inputs: int, rows: int) -> DenseClassifier:
        """The network for so many inputs and training rows."""
        if rows < self.small_below:
            return DenseClassifier(n_inputs, self.small, self._each(self.small), pieces=self.pieces)
        return DenseClassifier(n_inputs, self.hidden, self._each(self.hidden), self.dropout, self.pieces)

    def _each(self, hidden: tuple[int, ...]) -> tuple[Activation, ...]:
        given = self.activations
        if isinstance(given, str):
            return (given,) * len(hidden)
        return (given + (given[-1],) * len(hidden))[: len(hidden)]

    @pydantic.model_validator(mode="after")
    def _layers_fit(self) -> "MlpSettings":
        if not self.activations:
            msg = "activations: name at least one, such as relu"
            raise ValueError(msg)
        if any(not 0 <= share < 1 for share in self.dropout):
            msg = f"dropout: expected shares of at least 0 and below 1, found {list(self.dropout)}"
            raise ValueError(msg)
        return self


CMS_MLP: Mapping[str, Any] = {
    "hidden": (64, 128, 128, 32, 16, 8),
    "activations": ("leaky_relu", "elu", "elu", "elu", "elu", "elu"),
    "dropout": (0.2, 0.2, 0.2, 0.2),
    "pieces": 0,
    "small_below": 10_000,
    "bags": 1,
    "schedule": {
        "epochs": 100,
        "batch": 256,
        "learning_rate": 1e-3,
        "betas": (0.8, 0.99),
        "patience": 15,
        "monitor": "training",
        "min_delta": 1e-6,
        "decay": "constant",
        "keep": 1,
    },
}
"""The network of CMS-EXO-22-026 (arXiv:2412.03747; methods in arXiv:2512.20395).

Ours differ where bits must not depend on tail events: inputs are standardised with the mean and deviation of the fold's
training events instead of a batch-normalisation layer.
"""
LHCO_MLP: Mapping[str, Any] = {
    "hidden": (64, 64, 64),
    "pieces": 0,
    "bags": 1,
    "schedule": {
        "epochs": 100,
        "batch": 128,
        "learning_rate": 1e-3,
        "decay": "constant",
        "betas": (0.9, 0.999),
        "keep": 10,
    },
}
"""The classifier of CATHODE (arXiv:2109.00546, section III): the mean of its ten best epochs."""

MANY_EVENTS_TREES: Mapping[str, Any] = {
    "bags": 4,
    "sampling": 0.5,
    "learning_rate": 0.2,
    "leaves": 63,
    "samples_per_leaf": 40,
    "l2": 30.0,
}
"""Boosted trees for some hundred signal events among tens of thousands.

Chosen on simulated pseudo-experiments of another generator (36,000 events in the signal region, 420 of them signal,
against 18,000 of background): without regularisation the largest significance improvement of an idealised detector was
5.3, with it 9.5. Leaves of few events follow fluctuations, which the mean of many members does not undo. The number of
leaves was chosen on the LHC Olympics' R&D data (ten trainings: 10.7 with 63, 10.5 with 31).
"""
MANY_EVENTS_MLP: Mapping[str, Any] = {
    "hidden": (64, 32),
    "pieces": 24,
    "bags": 1,
    "schedule": {
        "epochs": 6,
        "batch": 512,
        "learning_rate": 5e-3,
        "decay": "one_cycle",
        "betas": (0.9, 0.999),
        "keep": 3,
    },
}
"""The same as networks: cut into pieces, inputs need few epochs.

On the same pseudo-experiments two layers of 64 reached 8.0 with pieces, 5.3 without. Sizes, rate and number of pieces are
those of the lowest validation loss, of some thirty tried, on the signal region of the LHC Olympics' R&D data.
"""


class ClassifierOptions(Section):
    """Options of methods that train a classifier."""

    classifier: Kind = "trees"
    """Boosted trees, or dense networks (``mlp``)."""
    trees: TreeSettings = TreeSettings()
    mlp: MlpSettings = MlpSettings()

    @property
    def built(self) -> "Classifier":
        """The classifier that these options describe."""
        return Classifier(self.classifier, self.trees if self.classifier == "trees" else self.mlp)


class ManyEventsOptions(ClassifierOptions):
    """Options of methods whose classifier sees tens of thousands of events."""

    trees: TreeSettings = TreeSettings(**MANY_EVENTS_TREES)
    mlp: MlpSettings = MlpSettings(**MANY_EVENTS_MLP)


@dataclass(frozen=True)
class Classifier:
    """A kind of classifier with its settings."""

    kind: Kind
    settings: TreeSettings | MlpSettings

    def train(
        self, problems: Sequence[Problem], seeds: Sequence[Callable[..., int]], names: Sequence[str] = ()
    ) -> Training[list[Arrays]]:
        """Train the networks of all inner splits of every problem.

        Parameters
        ----------
        problems
            Any number, e.g. one a fold; those with as many inputs share a stack.
        seeds
            One a problem: gives the seed of a part of it.
        names
            One a problem, see `models.jobs.StackJob`; none where there is but one.

        Returns
        -------
        list of dict
            One a problem: the arrays that `probability` reads.
        """
        parts = zip(problems, seeds, names or [""] * len(problems), strict=True)
        if isinstance(self.settings, TreeSettings):
            forests = yield [TreeJob(problem, self.settings, seed, name) for problem, seed, name in parts]
            return [without(forest, trees.HISTORY) for forest in forests]
        stacks = [_stack_job(problem, self.settings, seed, name) for problem, seed, name in parts]
        results = yield stacks
        return [merged_arrays(result.networks) for result in results]

    def probability(self, arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray:
        """Mean output of the networks.

        Parameters
        ----------
        arrays
            One of what `train` gives.
        x
            Inputs in their units, float32, shape (events, inputs).

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], shape (events,); a row's value does not depend on the other rows.
        """
        if isinstance(self.settings, TreeSettings):
            return trees.probability(arrays, x)
        return _dense_probability(arrays, x, self.settings)

    def check(self, arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> None:
        """Refuse arrays that no training could have made.

        Parameters
        ----------
        arrays
            Supposedly one of what `train` gives.
        n_inputs
            Number of inputs.

        Raises
        ------
        ValueError
            Saying what is wrong with them.
        """
        if isinstance(self.settings, TreeSettings):
            trees.check(arrays, n_inputs)
            return
        network = _network_of(arrays, n_inputs, self.settings)
        members = check_layers(arrays, network.sizes)
        of_pieces = {"start": network.sizes[0], "width": network.sizes[0]} if network.pieces else {}
        for name, length in ({"mean": n_inputs, "deviation": n_inputs} | of_pieces).items():
            values = take(arrays, f"{BUFFER}{name}", "float32", members, 1, length)
            if not np.isfinite(values).all() or (name in {"deviation", "width"} and not np.all(values > 0)):
                msg = f"the inputs' {name} is not that of a trained network"
                raise ValueError(msg)


def _stack_job(problem: Problem, settings: MlpSettings, seed: Callable[..., int], name: str) -> StackJob:
    mean, deviation = standardisation(problem.x)
    buffers = {"mean": mean[None], "deviation": deviation[None]}
    if settings.pieces:
        buffers |= _pieces((problem.x - mean) / deviation, settings.pieces)
    parts = [(np.flatnonzero(fitted), np.flatnonzero(validation)) for fitted, validation in problem.parts()]
    members = tuple(
        Member(fitted, validation, seed("split", number, "bag", bag), buffers)
        for number, (fitted, validation) in enumerate(parts)
        for bag in range(settings.bags)
    )
    data = {
        "x": problem.x,
        "target": problem.target.astype(np.float32),
        "weight": (problem.weight / problem.weight.mean()).astype(np.float32),
    }
    rows = max(len(fitted) for fitted, _ in parts)
    return StackJob(settings.network(problem.x.shape[1], rows), settings.schedule, data, members, name)


def _pieces(scaled: Inputs, count: int) -> dict[str, npt.NDArray[np.float32]]:
    """Where the pieces of each standardised input begin and how wide they are.

    Half hold as many events each, half are of equal width, so that tails are resolved too. An input of few values has
    fewer; the rest begin at its end.
    """
    start = np.empty((scaled.shape[1], count), dtype=np.float32)
    width = np.ones_like(start)
    for number, values in enumerate(scaled.T):
        inner = trees.bin_edges(values, count)
        ends = np.quantile(values.astype(np.float64), (0.0, trees.REACH))
        edges = np.unique(np.concatenate([ends, inner]).astype(np.float32))
        start[number] = edges[-1]
        start[number, : len(edges) - 1] = edges[:-1]
        width[number, : len(edges) - 1] = np.diff(edges)
    return {"start": start.reshape(1, -1), "width": width.reshape(1, -1)}


def _network_of(
    arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int, settings: MlpSettings
) -> DenseClassifier:
    """The network that the arrays are of: the large one, or that for few events."""
    layers = sum(name.startswith("weight") for name in arrays)
    large = settings.network(n_inputs, settings.small_below)
    first = arrays.get("weight0")
    is_large = len(large.hidden) + 1 == layers and first is not None and first.shape[-1] == large.hidden[0]
    return large if is_large or not settings.small_below else settings.network(n_inputs, 0)


def _dense_probability(
    arrays: Mapping[str, npt.NDArray[Any]], x: Inputs, settings: MlpSettings
) -> FloatArray:
    network = _network_of(arrays, x.shape[1], settings)
    parameters = tensors(arrays)
    members = len(arrays["weight0"])

    def mean_output(rows: torch.Tensor) -> torch.Tensor:
        logits = network.logits(parameters, rows.expand(members, -1, -1))
        return logits.double().sigmoid().mean(dim=0)

    return in_batches(mean_output, x)
