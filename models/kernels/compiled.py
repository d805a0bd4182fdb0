"""The one place where the options of the compiler are set for kernels of models."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

from data.compiled_code import fresh

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile to machine code at the first call; the code is kept on disk.

    Without fast-math: sums are made in the order written, so that a row's result never depends on its chunk.
    """
    return cast("Function", fresh(numba.njit(cache=True, fastmath=False, nogil=True)(function)))
