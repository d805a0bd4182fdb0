"""Densities of the inputs given mjj, learned by flows: the block that all density methods are built from.

A trained density is a flat mapping of arrays: the transform of the inputs, the scale of log mjj, and the networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import TrainingError
from data.eventid import N_INNER
from data.sections import Section
from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed, take
from models.jobs import Member, Schedule, StackJob, Training
from models.networks import flows
from models.networks.affine_flow import AffineFlow
from models.networks.dense import Layers
from models.networks.flow_matching import FlowMatching
from models.networks.flows import Flow, SplineFlow
from models.preprocessing import Inputs
from models.stack import merged_arrays
from models.transforms import Transform, TransformKind, fit_transform, restored_transform

LEAST_BATCH = 128
TRANSFORM, CONTEXT, FLOW = "transform/", "context/", "flow/"


class SplineSettings(Section):
    """A flow of splines and its training."""

    transforms: int = pydantic.Field(default=3, ge=1, le=32)
    """Splines one after another."""
    bins: int = pydantic.Field(default=8, ge=2, le=64)
    """Bins of a spline."""
    tail: float = pydantic.Field(default=5.0, gt=0)
    """Splines act on (−tail, tail) of the transformed inputs."""
    hidden: Layers = (64, 64)
    """Units of each hidden layer."""
    members: int = pydantic.Field(default=1, ge=1, le=N_INNER)
    """Networks a fold, each validating on an inner split of its own; densities are averaged."""
    schedule: Schedule = Schedule(epochs=3, batch=2048, learning_rate=8e-3, decay="one_cycle")
    """With 370,000 simulated dijets, half the rate and one more epoch lowered the validation loss by 0.0003, ten epochs
    on 100,000 by 0.002, where standardised instead of ranked inputs raised it by 0.05."""
    least_steps: int = pydantic.Field(default=400, ge=1)
    """Steps that a training has at least: few events are seen in smaller batches, then more often."""

    def network(self, n_inputs: int) -> Flow:
        """The network of these settings; mjj is its only context."""
        return SplineFlow(n_inputs, 1, self.transforms, self.hidden, self.bins, self.tail)

    def schedule_for(self, rows: int) -> Schedule:
        """The schedule for this number of training rows."""
        epochs, batch = self.schedule.epochs, self.schedule.batch
        while batch >= 2 * LEAST_BATCH and epochs * -(-rows // batch) < self.least_steps:
            batch //= 2
        epochs = max(epochs, -(-self.least_steps // -(-rows // batch)))
        return self.schedule.model_copy(update={"batch": batch, "epochs": epochs})


class FlowSettings(SplineSettings):
    """A density, the preparation of its inputs and its training.

    ``transforms``, ``bins`` and ``tail`` are of ``kind: spline``, ``blocks`` of ``kind: affine``.
    """

    kind: Literal["spline", "affine", "matching"] = "spline"
    """``spline``: autoregressive rational-quadratic splines; ``affine``: masked autoregressive flow with batch
    normalisation; ``matching``: flow matching."""
    transform: TransformKind = "rank"
    """``rank``: each input to the normal quantile of its rank; ``logit``: shifted into (0, 1), logit, standardised;
    ``standardise``."""
    blocks: int = pydantic.Field(default=15, ge=1, le=64)
    """Affine maps one after another."""

    def network(self, n_inputs: int) -> Flow:
        """The network of these settings; mjj is its only context."""
        if self.kind == "affine":
            return AffineFlow(n_inputs, 1, self.blocks, self.hidden)
        if self.kind == "matching":
            return FlowMatching(n_inputs, 1, self.hidden)
        return super().network(n_inputs)


PAPER_FLOW: Mapping[str, Any] = {
    "kind": "affine",
    "transform": "logit",
    "blocks": 15,
    "hidden": (128,),
    "schedule": {
        "epochs": 100,
        "batch": 256,
        "learning_rate": 1e-4,
        "decay": "constant",
        "weight_decay": 1e-6,
        "keep": 10,
    },
    "least_steps": 1,
}
"""The density of CATHODE (arXiv:2109.00546)."""
QUICK_FLOW: Mapping[str, Any] = {
    "transforms": 2,
    "hidden": (32,),
    "schedule": {"epochs": 2, "batch": 1024, "learning_rate": 1e-2, "decay": "one_cycle"},
    "least_steps": 100,
}
"""A small density for a first look."""


@dataclass(frozen=True)
class DensityProblem:
    """What one density is learned from.

    Parameters
    ----------
    x
        Inputs in their units, float32, shape (events, inputs).
    mjj
        GeV.
    weight
        Not negative.
    split
        Inner split 0 … 3: the network of split s validates on its events and trains on the others.
    transform
        Transform of the inputs; by default one is fitted to ``x``.
    """

    x: Inputs
    mjj: FloatArray
    weight: FloatArray
    split: IntArray
    transform: Transform | None = None


def train_densities(
    settings: FlowSettings,
    problems: Sequence[DensityProblem],
    seeds: Sequence[Callable[..., int]],
    rows: int,
) -> Training[list[Arrays]]:
    """Learn densities side by side.

    Parameters
    ----------
    settings
        Their kind and training.
    problems
        Of one fold.
    seeds
        One a problem: gives the seed of a part of the task.
    rows
        Of the largest such problem of any fold, see `models.folds.most_rows`: the length of the training follows from it.

    Returns
    -------
    list of dict
        One a problem, for `fold_density`, `fold_sample` and `fold_latent`.

    Raises
    ------
    TrainingError
        If a problem has too few events.
    """
    prepared = [_prepared(settings, problem) for problem in problems]
    schedule = settings.schedule_for(rows * (N_INNER - 1) // N_INNER)
    jobs = [
        _job(settings, schedule, problem, known, seed)
        for problem, known, seed in zip(problems, prepared, seeds, strict=True)
    ]
    results = yield jobs
    return [
        known | prefixed(FLOW, merged_arrays(result.networks))
        for known, result in zip(prepared, results, strict=True)
    ]


def _prepared(settings: FlowSettings, problem: DensityProblem) -> Arrays:
    """Transform of the inputs and scale of the context."""
    used = len(np.unique(problem.split))
    if used < N_INNER:
        msg = (
            f"a density cannot be learned from {len(problem.x)} events in {used} of {N_INNER} inner splits; widen the "
            "bands or add events"
        )
        raise TrainingError(msg)
    transform = problem.transform or fit_transform(settings.transform, problem.x)
    logs = np.log(problem.mjj)
    scale = np.array([logs.mean(), logs.std() or 1.0])
    return prefixed(TRANSFORM, transform.arrays()) | {f"{CONTEXT}scale": scale}


def _job(
    settings: FlowSettings,
    schedule: Schedule,
    problem: DensityProblem,
    known: Arrays,
    seed: Callable[..., int],
) -> StackJob:
    network = settings.network(problem.x.shape[1])
    z, _ = restored_transform(settings.transform, below(known, TRANSFORM), problem.x.shape[1]).forward(
        problem.x
    )
    data = {
        "x": z,
        "context": context_of(known, problem.mjj),
        "weight": (problem.weight / problem.weight.mean()).astype(np.float32),
    }
    buffers = network.buffers()
    members = tuple(
        Member(
            np.flatnonzero(problem.split != number),
            np.flatnonzero(problem.split == number),
            seed("split", number),
            buffers,
        )
        for number in range(settings.members)
    )
    return StackJob(network, schedule, data, members)


def context_of(arrays: Mapping[str, npt.NDArray[Any]], mjj: FloatArray) -> Inputs:
    """The context of a trained density: standardised log mjj.

    Parameters
    ----------
    arrays
        A trained density.
    mjj
        GeV, shape (events,); below 1 it counts as 1.

    Returns
    -------
    numpy.ndarray
        float32, shape (events, 1).
    """
    mean, deviation = arrays[f"{CONTEXT}scale"]
    return np.asarray((np.log(np.maximum(mjj, 1.0)) - mean) / deviation, dtype=np.float32)[:, None]


def transform_of(arrays: Mapping[str, npt.NDArray[Any]], settings: FlowSettings, n_inputs: int) -> Transform:
    """Transform of the inputs of a trained density.

    Parameters
    ----------
    arrays
        A trained density.
    settings
        Its settings.
    n_inputs
        Number of inputs.

    Returns
    -------
    Transform
        From the units of the inputs to what the flow sees.
    """
    return restored_transform(settings.transform, below(arrays, TRANSFORM), n_inputs)


def fold_density(
    arrays: Mapping[str, npt.NDArray[Any]], settings: FlowSettings, x: Inputs, mjj: FloatArray
) -> FloatArray:
    """Log density of inputs given mjj, in the units of the inputs.

    Parameters
    ----------
    arrays
        A trained density.
    settings
        Its settings.
    x
        float32, shape (events, inputs).
    mjj
        GeV, shape (events,).

    Returns
    -------
    numpy.ndarray
        float64, shape (events,).
    """
    z, log_jacobian = transform_of(arrays, settings, x.shape[1]).forward(x)
    network = settings.network(x.shape[1])
    return flows.density(network, below(arrays, FLOW), z, context_of(arrays, mjj)) + log_jacobian


def fold_sample(
    arrays: Mapping[str, npt.NDArray[Any]],
    settings: FlowSettings,
    mjj: FloatArray,
    rng: np.random.Generator,
) -> Inputs:
    """Draw one event for each mass.

    Parameters
    ----------
    arrays
        A trained density.
    settings
        Its settings.
    mjj
        GeV, shape (events,).
    rng
        Source of the draws.

    Returns
    -------
    numpy.ndarray
        Inputs in their units, float32, shape (events, inputs).
    """
    n_inputs = _n_inputs(arrays)
    z = flows.sample(settings.network(n_inputs), below(arrays, FLOW), context_of(arrays, mjj), rng)
    return transform_of(arrays, settings, n_inputs).inverse(z)


def fold_latent(
    arrays: Mapping[str, npt.NDArray[Any]], settings: FlowSettings, x: Inputs, mjj: FloatArray
) -> Inputs:
    """Latent values of events, standard normal for those of the density.

    Parameters
    ----------
    arrays
        A trained density.
    settings
        Its settings.
    x
        Inputs in their units, float32, shape (events, inputs).
    mjj
        GeV, shape (events,).

    Returns
    -------
    numpy.ndarray
        float32, shape (events, inputs).
    """
    z, _ = transform_of(arrays, settings, x.shape[1]).forward(x)
    return flows.latent(settings.network(x.shape[1]), below(arrays, FLOW), z, context_of(arrays, mjj))


def _n_inputs(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
    return len(next(iter(below(arrays, TRANSFORM).values())))


def check_density(arrays: Mapping[str, npt.NDArray[Any]], settings: FlowSettings, n_inputs: int) -> None:
    """Refuse arrays that are not a trained density of these settings.

    Parameters
    ----------
    arrays
        Supposedly a trained density.
    settings
        The settings.
    n_inputs
        Number of inputs.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    transform_of(arrays, settings, n_inputs)
    mean, deviation = take(arrays, f"{CONTEXT}scale", "float64", 2)
    if not (np.isfinite(mean) and np.isfinite(deviation) and deviation > 0):
        msg = "the scale of mjj is not that of a sample"
        raise ValueError(msg)
    flows.check(settings.network(n_inputs), below(arrays, FLOW))
