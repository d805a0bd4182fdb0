"""Opening ROOT files, and the errors for files that cannot be read."""

import contextlib
from collections.abc import Iterator
from typing import Any

import uproot

from data.errors import InputError, OddjetError
from processors.rntuple import known_classes

OPEN_TIMEOUT = 60
"""Seconds to wait for a remote file."""


def named(path: str, sample: str | None) -> str:
    """A file in the words of messages."""
    return f"file '{path}' of sample '{sample}'" if sample else f"file '{path}'"


def remedy(sample: str | None) -> str:
    """What to do about a damaged file, in the words of messages."""
    whole = "replace the file by a whole copy"
    return f"{whole}, or take it out of the sample definition" if sample else whole


def open_root(path: str, sample: str | None = None) -> Any:
    """Open a ROOT file, to be used in a ``with`` block; a file that lost its end is refused.

    Raises
    ------
    InputError
        If the file is truncated; other errors are uproot's, see `reading`.
    """
    file = uproot.open({path: None}, timeout=OPEN_TIMEOUT, custom_classes=known_classes())
    # uproot opens a file that lost its last bytes without a word; the header says where it should end
    end, length = int(file.file.fEND), int(file.file.source.num_bytes)
    if length < end:
        file.close()
        msg = f"{named(path, sample)} is truncated: it holds {length} of {end} bytes; {remedy(sample)}"
        raise InputError(msg)
    return file


@contextlib.contextmanager
def reading(path: str, sample: str | None = None) -> Iterator[None]:
    """Turn whatever goes wrong while a file is opened and its headers are read into one message.

    Parameters
    ----------
    path
        The file.
    sample
        The sample that it belongs to; None where there is none.

    Raises
    ------
    InputError
        If the file does not exist, is not a ROOT file, or cannot be read.
    """
    where = named(path, sample)
    try:
        yield
    except OddjetError:
        raise
    except FileNotFoundError:
        other = " or remove it from the sample definition" if sample else ""
        msg = f"{where} does not exist; correct the path{other}"
        raise InputError(msg) from None
    except Exception as error:  # whatever a decoder meets in damaged bytes
        msg = f"{where} cannot be read, it is truncated or not a ROOT file ({_line(error)}); {remedy(sample)}"
        raise InputError(msg) from error


def damaged(path: str, sample: str | None, what: str, error: BaseException) -> InputError:
    """The error for bytes that turn out unreadable inside the loop."""
    where = named(path, sample)
    return InputError(
        f"{where}: {what} cannot be read, the file is damaged ({_line(error)}); {remedy(sample)}"
    )


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
