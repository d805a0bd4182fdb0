"""Atomic writes, JSON and content hashes."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import ConfigError, InputError, OutputError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; rename it to ``path`` when the block ends well.

    Parameters
    ----------
    path
        The final name; its folder is made where it is missing.

    Yields
    ------
    Path
        The temporary name to write to, with the same suffixes. On an exception it is removed and ``path``
        stays as it was.

    Raises
    ------
    ConfigError
        If ``path`` is a folder, or its own folder cannot be made.
    """
    if path.is_dir():
        msg = f"{path} is a folder, where a file is to be written; give the name of a file"
        raise ConfigError(msg)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path.parent}: this folder cannot be made ({error.strerror}); write to another place"
        raise ConfigError(msg) from None
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if str(error.filename or temporary) == str(temporary):
            error.filename = str(path)  # what its reader knows; the temporary name says nothing to anybody
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses inside the block into a message.

    Parameters
    ----------
    folder
        What is written to.

    Raises
    ------
    OutputError
        Naming the folder and what the system says.
    """
    try:
        yield
    except (OSError, ConfigError) as error:  # a folder that cannot be made is a ConfigError already
        reason = getattr(error, "strerror", None) or error
        msg = (
            f"{folder}: cannot be written to ({reason}); make room or mend its permissions, then run again: what is "
            "finished is kept"
        )
        raise OutputError(msg) from error


def write_json(path: Path, content: object) -> None:
    """Write JSON atomically, keys in the order given; not-a-number is refused.

    Parameters
    ----------
    path
        The file.
    content
        Plain Python values.
    """
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If the file is missing, is not JSON, or has a key twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for key in found if [name for name, _ in pairs].count(key) > 1)
            msg = f"{path}: the key '{twice}' stands twice; keep one"
            raise InputError(msg)
        return found

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path"
        raise InputError(msg) from None
    except ValueError as error:
        msg = f"{path}: not valid JSON ({error}); it may be truncated: write it again"
        raise InputError(msg) from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path"
        raise InputError(msg) from None


def hash_json(content: object) -> str:
    """SHA-256 of a value's canonical JSON: keys sorted, no white space."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
