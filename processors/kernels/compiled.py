"""The one place where the options of the compiler are set."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

from data.compiled_code import fresh

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile ``function`` to machine code at its first call; the code is kept on disk.

    Fast-math stays off, so that sums are made in the order in which they are written and results do not
    depend on the vector width; the interpreter lock is released while a kernel runs.

    Parameters
    ----------
    function : callable
        Function of numbers and arrays in the subset of Python that numba knows.

    Returns
    -------
    callable
        The compiled function, with the same signature.
    """
    compiler = numba.njit(cache=True, fastmath=False, nogil=True)
    return cast("Function", fresh(compiler(function)))
