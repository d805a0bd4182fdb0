"""The dense network of CMS-EXO-22-026, all inner splits trained as one stacked model.

Layers, drop-out, optimiser and stopping are those of the search (arXiv:2412.03747, methods arXiv:2512.20395). Our
choices where it says nothing or where bits must be the same: inputs are standardised with the fold's own mean and
deviation instead of a batch-normalisation layer, whose running statistics one tail event can spoil; weights start
Glorot-uniform; the small network has no drop-out; every member draws the same number of batches an epoch.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch.nn import functional

from data.types import FloatArray
from models.classifiers import Arrays, MlpSettings, Problem, take
from models.preprocessing import Inputs, standardisation
from models.threads import one_thread

LARGE, SMALL = (64, 128, 128, 32, 16, 8, 1), (16, 16, 16, 8, 4, 1)
DROPPED_LAYERS, DROP = 4, 0.2
LEAK = 0.01
BETAS = (0.8, 0.99)
MIN_DELTA = 1e-6
SCORING_BATCH = 1024
Parameters = list[torch.Tensor]


def train(problem: Problem, settings: MlpSettings, seed: Callable[..., int]) -> Arrays:
    """Train one network an inner split, stacked.

    Each member has its own batches, drop-out and stopping; the weights of its best validation loss are kept.

    Parameters
    ----------
    problem
        Inputs, targets, weights, inner splits.
    settings
        Hyperparameters.
    seed
        Gives the seed of a part of the task.

    Returns
    -------
    dict
        The arrays that `probability` reads.
    """
    mean, deviation = standardisation(problem.x)
    x = torch.from_numpy((problem.x - mean) / deviation)
    target = torch.from_numpy(problem.target.astype(np.float32))
    weight = torch.from_numpy((problem.weight / problem.weight.mean()).astype(np.float32))
    masks = problem.parts()
    stack = _Stack(
        fitted=[np.flatnonzero(fitted) for fitted, _ in masks],
        validation=[np.flatnonzero(validation) for _, validation in masks],
        shuffles=[np.random.default_rng(seed("split", number, "shuffle")) for number in range(len(masks))],
        drops=[_generator(seed("split", number, "drop")) for number in range(len(masks))],
    )
    rows = max(len(chosen) for chosen in stack.fitted)
    layers = LARGE if rows >= settings.small_below else SMALL
    starts = [_generator(seed("split", number, "start")) for number in range(len(masks))]
    with _single_thread():
        parameters = _initial(x.shape[1], layers, starts)
        best = _fit(parameters, (x, target, weight), stack, settings)
    arrays: Arrays = {"mean": mean, "deviation": deviation}
    for number in range(len(layers)):
        arrays[f"weight{number}"] = best[2 * number].numpy()
        arrays[f"bias{number}"] = best[2 * number + 1].numpy()
    return arrays


@dataclass(frozen=True)
class _Stack:
    """Rows and random numbers of each member."""

    fitted: list[npt.NDArray[np.int64]]
    validation: list[npt.NDArray[np.int64]]
    shuffles: list[np.random.Generator]
    drops: list[torch.Generator]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextlib.contextmanager
def _single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_thread():
            yield
    finally:
        torch.set_num_threads(threads)


def _initial(n_inputs: int, layers: tuple[int, ...], starts: list[torch.Generator]) -> Parameters:
    """Weights (members, inputs, outputs) and biases (members, 1, outputs) of each layer."""
    parameters: Parameters = []
    for before, after in zip((n_inputs, *layers[:-1]), layers, strict=True):
        bound, spread = math.sqrt(6.0 / (before + after)), math.sqrt(2.0 / before)
        weights, biases = [], []
        for start in starts:
            weights.append((2.0 * torch.rand((before, after), generator=start) - 1.0) * bound)
            normal = torch.empty((1, after))
            torch.nn.init.trunc_normal_(normal, 0.0, spread, -2.0 * spread, 2.0 * spread, generator=start)
            biases.append(normal)
        parameters += [torch.stack(weights).requires_grad_(), torch.stack(biases).requires_grad_()]
    return parameters


def _logits(
    parameters: Parameters, x: torch.Tensor, drops: list[torch.Generator] | None = None
) -> torch.Tensor:
    """Logits, shape (members, rows), of inputs of shape (members, rows, inputs); ``drops`` switches drop-out on."""
    n_layers = len(parameters) // 2
    for number in range(n_layers):
        x = torch.baddbmm(parameters[2 * number + 1], x, parameters[2 * number])
        if number == n_layers - 1:
            break
        x = functional.leaky_relu(x, LEAK) if number == 0 else functional.elu(x)
        if drops is not None and number < DROPPED_LAYERS:
            kept = [torch.rand(x.shape[1:], generator=drop) >= DROP for drop in drops]
            x = x * torch.stack(kept) / (1.0 - DROP)
    return x[..., 0]


def _losses(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted binary cross-entropy of each member."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (entropy * weight).sum(dim=1) / weight.shape[1]


def _fit(
    parameters: Parameters,
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    stack: _Stack,
    settings: MlpSettings,
) -> Parameters:
    x, target, weight = data
    members = len(stack.fitted)
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate, betas=BETAS)
    best = [parameter.detach().clone() for parameter in parameters]
    best_validation, best_training = np.full(members, np.inf), np.full(members, np.inf)
    waited, patience = np.zeros(members, dtype=np.int64), 10 + settings.epochs // 20
    for _ in range(settings.epochs):
        training = np.zeros(members)
        batches = _batches(stack, settings.batch)
        for rows in batches:
            optimiser.zero_grad()
            loss = _losses(_logits(parameters, x[rows], stack.drops), target[rows], weight[rows])
            loss.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            training += loss.detach().numpy()
        training /= len(batches)
        running = waited < patience
        validation = _validation(parameters, data, stack)
        improved = running & (validation < best_validation)
        best_validation = np.where(improved, validation, best_validation)
        for kept, parameter in zip(best, parameters, strict=True):
            kept[improved] = parameter.detach()[improved]
        lower = training < best_training - MIN_DELTA
        best_training = np.where(lower, training, best_training)
        waited = np.where(running & ~lower, waited + 1, np.where(running, 0, waited))
        if (waited >= patience).all():
            break
    return best


def _batches(stack: _Stack, size: int) -> list[torch.Tensor]:
    """Row numbers of an epoch's batches, each (members, size); the last is filled from the epoch's first rows."""
    steps = math.ceil(max(len(rows) for rows in stack.fitted) / size)
    shuffled = [
        np.resize(shuffle.permutation(rows), steps * size)
        for rows, shuffle in zip(stack.fitted, stack.shuffles, strict=True)
    ]
    rows = torch.from_numpy(np.stack(shuffled))
    return list(torch.split(rows, size, dim=1))


def _validation(
    parameters: Parameters, data: tuple[torch.Tensor, torch.Tensor, torch.Tensor], stack: _Stack
) -> FloatArray:
    """Validation loss of each member, drop-out off."""
    x, target, weight = data
    losses = np.empty(len(stack.validation))
    with torch.no_grad():
        for number, chosen in enumerate(stack.validation):
            own = [parameter[number : number + 1] for parameter in parameters]
            rows = torch.from_numpy(chosen)[None]
            losses[number] = _losses(_logits(own, x[rows]), target[rows], weight[rows]).item()
    return losses


def probability(arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray:
    """Mean output of the members, evaluated in zero-padded batches of one fixed size in one thread.

    A matrix product may round differently for another number of rows; with one size a row's value does not depend
    on the chunk in which it comes.

    Parameters
    ----------
    arrays
        As `train` gives them.
    x
        float32, shape (events, inputs).

    Returns
    -------
    numpy.ndarray
        float64, one an event.
    """
    n_layers = sum(name.startswith("weight") for name in arrays)
    names = [f"{kind}{number}" for number in range(n_layers) for kind in ("weight", "bias")]
    parameters = [torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in names]
    members = len(arrays["weight0"])
    mean = np.empty(len(x), dtype=np.float64)
    with _single_thread(), torch.no_grad():
        for first in range(0, len(x), SCORING_BATCH):
            chunk = x[first : first + SCORING_BATCH]
            padded = np.zeros((SCORING_BATCH, x.shape[1]), dtype=np.float32)
            padded[: len(chunk)] = (chunk - arrays["mean"]) / arrays["deviation"]
            logits = _logits(parameters, torch.from_numpy(padded).expand(members, -1, -1))
            outputs = expit(logits.numpy().astype(np.float64))
            mean[first : first + len(chunk)] = outputs.mean(axis=0)[: len(chunk)]
    return mean


def check(arrays: Mapping[str, npt.NDArray[Any]], n_inputs: int) -> None:
    """Refuse arrays that are not a stack of networks.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    for name in ("mean", "deviation"):
        take(arrays, name, "float32", n_inputs)
    members, before, after = len(take(arrays, "weight0", "float32", None, n_inputs, None)), n_inputs, 0
    for number in range(sum(name.startswith("weight") for name in arrays)):
        after = take(arrays, f"weight{number}", "float32", members, before, None).shape[2]
        take(arrays, f"bias{number}", "float32", members, 1, after)
        before = after
    if members == 0 or after != 1 or not all(np.isfinite(array).all() for array in arrays.values()):
        msg = "the network's arrays do not describe networks with one output"
        raise ValueError(msg)
