"""Evaluation of trained networks so that a row's value never depends on the chunk in which it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from data.types import FloatArray
from models.networks.base import Parameters
from models.threads import one_thread
from models.torch_later import torch

BATCH = 1024


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Run a block of torch with one thread; the earlier setting comes back afterwards."""
    with one_thread():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def tensors(arrays: Mapping[str, npt.NDArray[np.float32]]) -> Parameters:
    """Arrays of a bundle as parameters of a network.

    Parameters
    ----------
    arrays
        float32; they already have the axis of members.

    Returns
    -------
    dict
        Name to tensor on the CPU, of the array's own memory where that is contiguous.
    """
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def in_batches(
    function: Callable[[torch.Tensor], torch.Tensor], x: npt.NDArray[np.float32], size: int = BATCH
) -> FloatArray:
    """Evaluate a function in zero-padded batches of one fixed size, in one thread, without gradients.

    A matrix product may round differently for another number of rows; with one size a row's value does not depend
    on the chunk in which it comes.

    Parameters
    ----------
    function
        Takes a float32 tensor of shape (size, …), gives one of shape (size,) or (size, outputs).
    x
        Inputs, float32, shape (rows, …).
    size
        Rows a batch, a multiple of 32.

    Returns
    -------
    numpy.ndarray
        float64, shape (rows,) or (rows, outputs).
    """
    parts = []
    padded = np.zeros((size, *x.shape[1:]), dtype=np.float32)
    with single_thread(), torch.no_grad():
        for first in range(0, max(len(x), 1), size):
            chunk = x[first : first + size]
            padded[: len(chunk)] = chunk
            padded[len(chunk) :] = 0.0
            values = function(torch.from_numpy(padded)).numpy()
            parts.append(values[: len(chunk)].astype(np.float64))
    return np.concatenate(parts)
