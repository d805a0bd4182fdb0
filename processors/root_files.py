"""Opening ROOT files, and the errors for files that cannot be read."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uproot

from data.errors import InputError, OddjetError, ReadError
from data.files import hash_json, sha256_file
from data.samples import Access
from data.xrootd import DEFAULT_TIMEOUT, is_remote
from processors.remote import RemoteSource, distrust
from processors.rntuple import known_classes


def named(path: str, sample: str | None) -> str:
    """A file in the words of messages."""
    return f"file '{path}' of sample '{sample}'" if sample else f"file '{path}'"


def remedy(sample: str | None) -> str:
    """What to do about a damaged file, in the words of messages."""
    whole = "replace the file by a whole copy"
    return f"{whole}, or take it out of the sample definition" if sample else whole


def open_root(
    path: str,
    sample: str | None = None,
    *,
    access: Access | None = None,
    attempt: int = 0,
    uuid: bytes | None = None,
) -> Any:
    """Open a ROOT file, to be used in a ``with`` block; a file that lost its end is refused.

    Parameters
    ----------
    path
        A local path or an address: the file's name in messages and accounts.
    sample
        The sample that it belongs to; None where there is none.
    access
        Where else it may be read; see `data.samples.Sample.access`.
    attempt
        How often its reading has failed before: another replica comes first then.
    uuid
        The UUID (16 bytes) that a replica must have; None where any will do.

    Raises
    ------
    ReadError
        If no replica of a remote file can be had.
    InputError
        If the file is truncated; other errors are uproot's, see `reading`.
    """
    file = uproot.open({path: None}, **_options(path, sample, access, attempt, uuid))
    # uproot opens a file that lost its last bytes without a word; the header says where it should end
    end, length = int(file.file.fEND), int(file.file.source.num_bytes)
    if length < end:
        file.close()
        msg = f"{named(path, sample)} is truncated: it holds {length} of {end} bytes; {remedy(sample)}"
        raise InputError(msg)
    return file


def _options(
    path: str, sample: str | None, access: Access | None, attempt: int, uuid: bytes | None
) -> dict[str, Any]:
    known = {"custom_classes": known_classes(), "timeout": DEFAULT_TIMEOUT}
    access = access or Access((path,))
    if len(access.addresses) == 1 and not is_remote(access.addresses[0]):
        return known
    about = {"handler": RemoteSource, "where": named(path, sample), "attempt": attempt, "uuid": uuid}
    return known | about | dataclasses.asdict(access)


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
    ReadError
        If its bytes cannot be had.
    InputError
        If the file does not exist, is not a ROOT file, or cannot be decoded.
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
    except PermissionError:
        msg = f"{where} may not be read; ask for permission to read it, or give another"
        raise InputError(msg) from None
    except Exception as error:  # whatever a decoder meets in damaged bytes
        if is_remote(path) or _withheld(error) is not None:
            raise damaged(path, sample, "it", error) from error
        if not _begins_as_root(path):
            msg = f"{where} is not a ROOT file; give one in the format of NanoAOD"
            raise InputError(msg) from error
        msg = f"{where} cannot be read, it is truncated ({_line(error)}); {remedy(sample)}"
        raise InputError(msg) from error


def _begins_as_root(path: str) -> bool:
    """Whether a local file has the first bytes of every ROOT file, or lost even those."""
    if Path(path).is_dir():
        return False
    with Path(path).open("rb") as file:
        return b"root".startswith(file.read(4))


def damaged(path: str, sample: str | None, what: str, error: BaseException) -> InputError:
    """The error for bytes that cannot be had or decoded inside the loop.

    Parameters
    ----------
    path, sample
        The file, and the sample that it belongs to.
    what
        What was read, e.g. a branch and its entries.
    error
        What went wrong; the reason may be any of the errors that led to it.

    Returns
    -------
    InputError
        A `ReadError`, worth another try, where the bytes could not be had.
    """
    where = named(path, sample)
    withheld = _withheld(error)
    if withheld is not None:
        return ReadError(
            f"{where}: {what} cannot be read ({_line(withheld)}); see that disk, network and server work and the file "
            "is in its place, then run again"
        )
    if is_remote(path):  # perhaps another replica is not damaged, or the network was to blame
        return ReadError(
            f"{where}: {what} cannot be decoded as read from {distrust(path)} ({_line(error)}); {remedy(sample)}"
        )
    return InputError(
        f"{where}: {what} cannot be read, the file is damaged ({_line(error)}); {remedy(sample)}"
    )


def _withheld(error: BaseException) -> BaseException | None:
    """The error of the disk or the network that led to this one; None where the bytes were there, but wrong."""
    seen: BaseException | None = error
    while seen is not None:
        # uproot has an OSError without number for files that end too early
        told = isinstance(seen, OSError) and seen.errno is not None
        if told or isinstance(seen, ReadError | FileNotFoundError | TimeoutError | ConnectionError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def file_identity(path: str, access: Access | None = None) -> str:
    """What a manifest remembers of an input file: a change of the file changes it.

    Parameters
    ----------
    path
        A local path or a remote address (``root://…``).
    access
        Where a remote file may be read.

    Returns
    -------
    str
        SHA-256 of a local file's bytes; of a remote file's UUID and entries of each tree.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if "://" not in path:
        return sha256_file(Path(path))
    with reading(path), open_root(path, access=access) as file:
        trees = {name: kind for name, kind in file.classnames(cycle=False).items() if kind != "TDirectory"}
        entries = {name: int(getattr(file[name], "num_entries", 0)) for name in sorted(trees)}
        return hash_json({"uuid": str(file.file.uuid), "entries": entries})
