"""One run a folder: a second one would write over the first."""

import contextlib
import datetime as dt
import errno
import fcntl
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from data.errors import ConfigError, LockedError, OutputError

LOCK = ".lock"
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}\..+")  # as data.files.atomic_path makes them
_LOG = logging.getLogger("oddjet")
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a folder for the time of a block; the system lets go of it when this process dies.

    Parameters
    ----------
    folder
        The run folder, made where it is missing.

    Raises
    ------
    LockedError
        If another process holds it; the message names host, process and since when.
    ConfigError
        If the folder cannot be made or written to.
    OutputError
        If the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        msg = (
            f"{folder}: this run folder cannot be written to ({error.strerror}); name another one with --out"
        )
        raise ConfigError(msg) from None
    try:
        _take(descriptor, folder)
        _sign(descriptor, folder)
        yield
    finally:
        # the lock ends with the descriptor; the file stays, as its removal would race with a process that opens it
        os.close(descriptor)


def _sign(descriptor: int, folder: Path) -> None:
    """Write down who holds the folder."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError as error:
        msg = f"{folder}: this run folder cannot be written to ({error.strerror}); make room, or name another one with --out"
        raise OutputError(msg) from None


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        msg = f"{folder}: another run is at work here ({_holder(folder)}); wait for it, end it, or name another folder with --out"
        raise LockedError(msg) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _LOG.warning(
            "%s: this file system has no locks (%s); see to it that no second run writes into this folder",
            folder,
            error.strerror,
        )


def _holder(folder: Path) -> str:
    """The holder in words; the file may be half written."""
    try:
        about = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        return f"process {about['pid']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process did not say who it is"


def clear_leftovers(folder: Path, *, but: Collection[str] = ()) -> None:
    """Remove the temporary files of processes that were killed; to be called by the holder of the folder.

    Parameters
    ----------
    folder
        The run folder.
    but
        Names of folders in it where others may be writing.
    """
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if _TEMPORARY.fullmatch(path.name):
            _LOG.info("%s: left over from a run that was killed; removed", path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif path.is_dir() and not path.is_symlink() and path.name not in but:
            clear_leftovers(path)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
