"""What numba keeps on disk of compiled kernels, deleted where it is older than the sources."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])
_ROOT = Path(__file__).resolve().parent.parent


def fresh(kernel: Function) -> Function:
    """Let numba load no code of a kernel that was compiled before the last change of any kernel.

    Numba itself looks at the file of the kernel only, not at those of the kernels that it calls.

    Parameters
    ----------
    kernel
        As numba's decorator returns it, with ``cache=True``.

    Returns
    -------
    callable
        The same.
    """
    stats = getattr(kernel, "stats", None)
    if stats is not None:  # NUMBA_DISABLE_JIT=1 leaves the function as it is
        drop_stale(Path(stats.cache_path), _ROOT)
    return kernel


@functools.cache
def drop_stale(cache: Path, root: Path) -> None:
    """Delete the indices of compiled code that are older than a kernel's source; once a process.

    Parameters
    ----------
    cache
        Where numba keeps the code of a folder of kernels.
    root
        The folder of the packages; kernels are ``*/kernels/*.py``.
    """
    newest = max(path.stat().st_mtime for path in root.glob("*/kernels/*.py"))
    for index in cache.glob("*.nbi"):
        with contextlib.suppress(FileNotFoundError):  # another process may do the same
            if index.stat().st_mtime < newest:
                index.unlink()
