"""A trained method on disk: ``weights.safetensors`` and ``bundle.json``; loading them runs no code."""

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from data.errors import ConfigError, InputError
from data.eventid import N_BATCHES, N_FOLDS, N_INNER
from data.files import atomic_path, read_json, sha256_file, write_json
from data.sections import Section
from models.arrays import Arrays

WEIGHTS, HEADER = "weights.safetensors", "bundle.json"
_LIBRARIES = ("numpy", "numba", "scikit-learn", "scipy", "torch")


class FoldScheme(Section):
    """How events are dealt to folds."""

    batches: Literal[40] = N_BATCHES  # type: ignore[assignment]
    outer: Literal[5] = N_FOLDS  # type: ignore[assignment]
    inner: Literal[4] = N_INNER  # type: ignore[assignment]
    identified_by: Literal["event id", "row contents"]
    hashed: tuple[str, ...]
    """Columns by whose contents a row without event id is recognised."""


class CalibrationNote(Section):
    """How network outputs become a score, in words."""

    score: str
    ranks: str
    decorrelation: str
    threshold: str


class Provenance(Section):
    """What a method was trained on, and with what."""

    table_hash: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    rows: int = pydantic.Field(ge=0)
    rows_low: int = pydantic.Field(ge=0)
    rows_signal: int = pydantic.Field(ge=0)
    rows_high: int = pydantic.Field(ge=0)
    further: dict[str, str] = pydantic.Field(default_factory=dict)
    """Hashes of the further tables (signal, background, wide) by keyword."""
    versions: dict[str, str]


class Header(Section):
    """Contents of ``bundle.json``."""

    format: Literal["oddjet bundle"] = "oddjet bundle"
    version: Literal[1] = 1
    method: str
    signal_region: tuple[float, float]
    """Edges, GeV."""
    low_band: tuple[float, float]
    """Edges, GeV."""
    high_band: tuple[float, float]
    """Edges, GeV."""
    working_point: float = pydantic.Field(gt=0, lt=1)
    """Fraction of the side bands that the selection keeps."""
    seed: int = pydantic.Field(ge=0)
    options: dict[str, Any]
    inputs: tuple[str, ...]
    folds: FoldScheme
    calibration: CalibrationNote
    thresholds: tuple[float, ...] = pydantic.Field(min_length=N_FOLDS, max_length=N_FOLDS)
    """Score above which a fold selects, one a fold."""
    training: Provenance
    weights_sha256: str = pydantic.Field(pattern="^[0-9a-f]{64}$")


def versions() -> dict[str, str]:
    """Versions of the libraries that a training depends on."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def digest_of(arrays: Arrays) -> str:
    """SHA-256 of named arrays, names sorted.

    Parameters
    ----------
    arrays
        Arrays by name; types and shapes count too.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def serialise(arrays: Arrays) -> tuple[bytes, str]:
    """Arrays as the contents of a safetensors file, and their SHA-256.

    Parameters
    ----------
    arrays
        Arrays by name.

    Returns
    -------
    bytes, str
        The same bytes whatever the order of the names; 64 hexadecimal digits.
    """
    content = save_tensors({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
    return content, hashlib.sha256(content).hexdigest()


def write_bundle(folder: Path, header: Header, content: bytes) -> None:
    """Write a bundle, each file atomically, the header last.

    Parameters
    ----------
    folder
        Made where it is missing.
    header
        Its ``weights_sha256`` is that of ``content``.
    content
        The safetensors file.
    """
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(content)
    write_json(folder / HEADER, header.model_dump(mode="json"))


def read_bundle(folder: Path) -> tuple[Header, Arrays]:
    """Read a bundle and check that it is whole.

    Parameters
    ----------
    folder
        The bundle's folder.

    Returns
    -------
    header, arrays
        Contents of ``bundle.json``; all arrays of ``weights.safetensors`` by name.

    Raises
    ------
    InputError
        If a file is missing, truncated, changed, or not what a bundle holds; the message names the file.
    """
    path, weights = folder / HEADER, folder / WEIGHTS
    if not path.is_file():
        msg = f"{folder}: no {HEADER} here; name the folder of a trained method"
        raise InputError(msg)
    try:
        header = Header.parse(read_json(path), str(path))
    except ConfigError as error:
        msg = f"{error}; the bundle was changed or made by another version: train the method again"
        raise InputError(msg) from None
    if sha256_file(weights) != header.weights_sha256:
        msg = f"{weights}: contents differ from what {HEADER} records; the bundle is damaged: train the method again"
        raise InputError(msg)
    try:
        return header, load_tensors(weights.read_bytes())
    except SafetensorError as error:
        msg = f"{weights}: not a safetensors file ({error}); train the method again"
        raise InputError(msg) from None
