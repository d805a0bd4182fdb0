"""Frozen records as plain trees and back, and hashes of their contents.

A plain tree is made of dictionaries, lists, texts, numbers and None, with arrays as leaves: what a JSON document and a
file of arrays can hold without any code in them.
"""

import dataclasses
import functools
import hashlib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from data.files import hash_json, sha256_file

Tree = dict[str, Any]
"""A plain tree whose top is a dictionary."""


def as_tree(value: Any) -> Any:
    """A value as a plain tree.

    Parameters
    ----------
    value
        Numbers, texts, bytes, paths, None, arrays, and dataclasses, sections, tuples, sets and mappings of these.

    Returns
    -------
    object
        Arrays stay as they are; `from_tree` makes the value again.

    Raises
    ------
    TypeError
        If the value is of another kind.
    """
    for kinds, plain in _PLAIN:
        if isinstance(value, kinds):
            return plain(value)
    if dataclasses.is_dataclass(value):
        return {field.name: as_tree(getattr(value, field.name)) for field in dataclasses.fields(value)}
    msg = f"a {type(value).__name__} has no plain form; give numbers, texts, arrays, or records of these"
    raise TypeError(msg)


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (np.generic, lambda value: value.item()),
    ((types.NoneType, bool, int, float, str, np.ndarray), lambda value: value),
    (bytes, bytes.hex),
    (Path, str),
    (pydantic.BaseModel, lambda value: value.model_dump(mode="json")),
    (Mapping, lambda value: {str(key): as_tree(item) for key, item in value.items()}),
    ((frozenset, set), lambda value: [as_tree(item) for item in sorted(value)]),
    ((list, tuple), lambda value: [as_tree(item) for item in value]),
)


def from_tree(kind: Any, tree: Any) -> Any:
    """The value of a type whose plain tree this is.

    Parameters
    ----------
    kind
        A type with its parameters, as annotations name it: ``tuple[Range, ...]``.
    tree
        What `as_tree` gave for a value of this type.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the tree is that of another type.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        absent = tree is None and type(None) in inner
        return None if absent else from_tree(next(one for one in inner if one is not type(None)), tree)
    if origin is np.ndarray:
        return np.array(tree)  # a copy: a view of a mapped file would keep that file open
    if origin is not None and origin is not typing.Literal:
        return _collection(origin, inner, tree)
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return kind.model_validate(tree)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: from_tree(hints[name], tree[name]) for name in hints})
    return _leaf(kind, tree)


def _collection(origin: Any, inner: tuple[Any, ...], tree: Any) -> Any:
    if origin is tuple:
        kinds = [inner[0]] * len(tree) if inner[1:] == (Ellipsis,) else list(inner)
        return tuple(from_tree(one, item) for one, item in zip(kinds, tree, strict=True))
    if issubclass(origin, Mapping):
        return {from_tree(inner[0], key): from_tree(inner[1], item) for key, item in tree.items()}
    return origin(from_tree(inner[0], item) for item in tree)


def _leaf(kind: Any, tree: Any) -> Any:
    if kind in {bytes, Path}:
        return bytes.fromhex(tree) if kind is bytes else Path(tree)
    if kind is float and type(tree) is int:
        return float(tree)
    if isinstance(kind, type) and not isinstance(tree, kind):
        msg = f"expected {kind.__name__}, found {tree!r}"
        raise TypeError(msg)
    return tree


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Types of a dataclass's own fields."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def fingerprint(value: Any) -> str:
    """SHA-256 of all that a value holds.

    Parameters
    ----------
    value
        As for `as_tree`. A path counts by the bytes of its file, not by where it lies.

    Returns
    -------
    str
        64 hexadecimal digits; equal values of equal types give equal ones.

    Raises
    ------
    InputError
        If a path names no readable file.
    """
    return hash_json(_facts(value))


def _facts(value: Any) -> Any:
    """The JSON document that stands for a value."""
    for kinds, facts in _FACTS:
        if isinstance(value, kinds):
            return facts(value)
    if dataclasses.is_dataclass(value):
        fields = {field.name: _facts(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {type(value).__name__: fields}
    return as_tree(value)


_FACTS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (np.ndarray, lambda value: {"array": [value.dtype.str, list(value.shape), _sha256(value)]}),
    ((float, np.floating), lambda value: {"float": float(value).hex()}),
    (Path, lambda value: {"file": sha256_file(value)}),
    (pydantic.BaseModel, lambda value: {type(value).__name__: {name: _facts(item) for name, item in value}}),
    (Mapping, lambda value: {"mapping": [[_facts(key), _facts(item)] for key, item in value.items()]}),
    ((frozenset, set), lambda value: {"set": [_facts(item) for item in sorted(value)]}),
    ((list, tuple), lambda value: [_facts(item) for item in value]),
)


def _sha256(array: npt.NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
