"""Partial results: what one chunk of work gave, as a file that no death of a process can spoil.

A file is a line with the SHA-256 of the rest, then a safetensors document: arrays, and in its metadata a JSON tree that
says where each belongs. Reading it runs no code. Its name is a hash of everything that the contents depend on, so a
file of that name is the result, whoever wrote it and however often.
"""

import contextlib
import hashlib
import json
import logging
import mmap
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from data.errors import PartialError, ReadError
from data.files import atomic_path, writing
from data.trees import Tree

SUFFIX = ".partial"
_PREFACE = 96
"""Bytes of the first line: a multiple of 8, so that arrays lie where a memory-mapped view may look."""
_MAGIC = b"oddjet partial 1 sha256 "
_PLACE = "array:"
_ABSENT = (FileNotFoundError, NotADirectoryError)
_LOG = logging.getLogger("oddjet")
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BOOL": "|b1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
}


def dump(tree: Tree) -> bytes:
    """The bytes of a partial result.

    Parameters
    ----------
    tree
        Dictionaries, lists, texts, finite numbers and None, with arrays of numbers as leaves.

    Returns
    -------
    bytes
        Equal trees give equal bytes.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    plain = json.dumps(_without_arrays(tree, "", arrays), allow_nan=False, ensure_ascii=False)
    content = save(arrays, metadata={"tree": plain})
    digest = hashlib.sha256(content).hexdigest().encode()
    return (_MAGIC + digest).ljust(_PREFACE - 1) + b"\n" + content


def _without_arrays(value: Any, place: str, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """The tree with the name of each array in its place."""
    if isinstance(value, np.ndarray):
        name = f"{len(arrays)}{place}"
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return f"{_PLACE}{name}"
    if isinstance(value, dict):
        return {key: _without_arrays(item, f"{place}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, place, arrays) for item in value]
    if isinstance(value, str) and value.startswith(_PLACE):
        msg = f"the text '{value[:40]}' of a partial result begins with '{_PLACE}'; choose another name"
        raise ValueError(msg)
    return value.item() if isinstance(value, np.generic) else value


def read_partial(path: Path) -> Tree:
    """Read a partial result.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        The tree; its arrays are views of the memory-mapped file that cannot be written to.

    Raises
    ------
    PartialError
        If the file is missing, truncated, or not what was written.
    ReadError
        If the system does not let it be read: it may be sound.
    """
    try:
        return _checked(path)
    except _ABSENT:
        msg = f"{path}: no such partial result; run again, it is then made"
        raise PartialError(msg) from None


def _checked(path: Path, key: str | None = None) -> Tree:
    """What a file holds, if it is what it says to be; one that is not there is left to the caller."""
    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except _ABSENT:
        raise
    except OSError as error:
        msg = f"{path}: this partial result cannot be read now ({error.strerror}); mend that, then run again"
        raise ReadError(msg) from None
    except ValueError:  # an empty file cannot be mapped
        msg = f"{path}: empty partial result; remove it, it is then made again"
        raise PartialError(msg) from None
    digest = hashlib.sha256(memoryview(content)[_PREFACE:]).hexdigest().encode()
    if content[:_PREFACE] != (_MAGIC + digest).ljust(_PREFACE - 1) + b"\n":
        msg = f"{path}: damaged partial result; remove it, it is then made again"
        raise PartialError(msg)
    tree: Tree = _tree(content)
    if key is not None and tree.get("key", key) != key:
        msg = f"{path}: the result of something else; remove it, it is then made again"
        raise PartialError(msg)
    return tree


def _tree(content: mmap.mmap) -> Any:
    """The tree of a whole file, in the layout of safetensors: length of the header, header, arrays."""
    start = _PREFACE + 8
    first = start + int.from_bytes(content[_PREFACE:start], "little")
    header = json.loads(content[start:first])
    return _with_arrays(json.loads(header["__metadata__"]["tree"]), header, content, first)


def _with_arrays(value: Any, header: dict[str, Any], content: mmap.mmap, first: int) -> Any:
    """The tree with the array of each name; no closure, which would be a cycle and keep the file open."""
    if isinstance(value, dict):
        return {key: _with_arrays(item, header, content, first) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, header, content, first) for item in value]
    if not (isinstance(value, str) and value.startswith(_PLACE)):
        return value
    about = header[value.removeprefix(_PLACE)]
    kind, shape = np.dtype(_TYPES[about["dtype"]]), tuple(about["shape"])
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(content, kind, count, first + about["data_offsets"][0]).reshape(shape)


class PartialStore:
    """A folder of partial results, each under the hash of what it depends on.

    Parameters
    ----------
    folder
        Made where it is missing, when the first result is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the result of a key stands, whether it is there or not."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def files(self) -> list[Path]:
        """All results that are there, in the order of their keys."""
        return sorted(self.folder.glob(f"*/*{SUFFIX}"))

    def find(self, key: str) -> Tree | None:
        """The result of a key, its arrays views of the file; None where there is none.

        A damaged one, or one whose item ``key`` is another key, counts as none: it is removed with a warning, and made
        again. One that only cannot be read stays.

        Raises
        ------
        PartialError
            If a damaged one cannot be removed.
        ReadError
            If the system does not let it be read.
        """
        path = self.path(key)
        try:
            return _checked(path, key)
        except _ABSENT:
            return None
        except PartialError as error:
            _LOG.warning("%s", error)
            try:
                path.unlink(missing_ok=True)
            except OSError:
                raise error from None
        return None

    def put(self, key: str, content: bytes) -> None:
        """Write a result, atomically.

        Raises
        ------
        OutputError
            If the disk does not take it.
        """
        with writing(self.folder), atomic_path(self.path(key)) as temporary:
            temporary.write_bytes(content)

    def remove(self) -> None:
        """Remove the folder with all results, and the one above if nothing is left there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()

    @contextlib.contextmanager
    def marked(self) -> Iterator[str]:
        """Put an empty file with a random name into the folder for as long as the block lasts.

        Yields
        ------
        str
            The name: a process that finds it there sees this very folder, and not one of its own machine's.

        Raises
        ------
        OutputError
            If the folder cannot be written to.
        """
        mark = self.folder / f".mark.{uuid.uuid4().hex}"
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.touch()
        try:
            yield mark.name
        finally:
            mark.unlink(missing_ok=True)

    def sees(self, mark: str) -> bool:
        """Whether the folder of this name is the one that another process marked."""
        return (self.folder / mark).is_file()
