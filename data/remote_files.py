"""Outputs copied to another place, on disk or ``root://``: temporary name, checksum compared, renamed, manifest last."""

import contextlib
import shutil
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.errors import OddjetError, TransferError
from data.files import atomic_path, sha256_file
from data.manifest import read_manifest
from data.xrootd import (
    DEFAULT_TIMEOUT,
    ExistsError,
    NoFileError,
    RemoteError,
    ask,
    client,
    filesystem,
    is_remote,
    path_of,
    server_of,
)

_BLOCK = 8 * 1024**2


def copy_out(root: Path, manifest: Path, target: str, *, timeout: int = DEFAULT_TIMEOUT) -> int:
    """Copy the outputs of a finished stage to another place, then its manifest.

    A place with the manifest has all outputs whole: an older manifest there is removed before its outputs change, and
    the new one comes last. What is there already with the right checksum is not copied again.

    Parameters
    ----------
    root
        The run folder.
    manifest
        The stage's manifest in it.
    target
        A folder or a ``root://`` address, laid out like the run folder.
    timeout
        Seconds within which a server has to answer.

    Returns
    -------
    int
        Number of files copied, manifest included.

    Raises
    ------
    TransferError
        If a file cannot be copied whole.
    InputError
        If the manifest cannot be read.
    """
    names = [*sorted(read_manifest(manifest).outputs), str(manifest.relative_to(root))]
    places = {name: f"{target.rstrip('/')}/{name}" for name in names}
    missing = [name for name in names if not _same(root / name, places[name], timeout)]
    if not missing:
        return 0
    if names[-1] not in missing:
        missing.append(names[-1])
    with _naming(manifest, places[names[-1]]):
        _remove(places[names[-1]], timeout)
    for name in missing:
        copy_file(root / name, places[name], timeout=timeout)
    return len(missing)


def copy_file(source: Path, target: str, *, timeout: int = DEFAULT_TIMEOUT) -> None:
    """Copy a file; ``target`` is there whole, or is what it was before.

    Parameters
    ----------
    source
        A file on disk.
    target
        A path or a ``root://`` address; folders that are missing are made.
    timeout
        Seconds within which a server has to answer each request.

    Raises
    ------
    TransferError
        If the copy cannot be made, or its checksum differs from the source's.
    """
    if is_remote(target):
        _upload(source, target, timeout)
        return
    with _naming(source, target), atomic_path(Path(target)) as temporary:
        shutil.copyfile(source, temporary)
        if sha256_file(temporary) != sha256_file(source):
            msg = f"the copy of {source.name} has another checksum; copy it again"
            raise TransferError(msg)


def _upload(source: Path, address: str, timeout: int) -> None:
    folder, _, name = path_of(address).rpartition("/")
    path = f"{folder}/.{uuid.uuid4().hex[:8]}.{name}"
    temporary = server_of(address).rstrip("/") + "/" + path
    with _naming(source, address):
        try:
            sent = _send(source, temporary, timeout)
            _check_arrival(temporary, sent, timeout)
            _rename(temporary, address, timeout)
        except BaseException:
            with contextlib.suppress(OddjetError):
                _remove(temporary, timeout)
            raise


def _check_arrival(address: str, sent: tuple[int, str], timeout: int) -> None:
    size = int(ask(address, filesystem(address).stat, path_of(address), timeout=timeout).size)
    arrived = size, checksum_of(address, timeout)
    if arrived != sent:
        msg = f"{sent[0]} bytes with checksum {sent[1]} were sent, {arrived[0]} with {arrived[1]} arrived; send it again"
        raise TransferError(msg)


def _rename(temporary: str, address: str, timeout: int) -> None:
    files, names = filesystem(address), (path_of(temporary), path_of(address))
    try:
        ask(address, files.mv, *names, timeout=timeout)
    except ExistsError:  # some servers do not rename onto a file that is there
        _remove(address, timeout)
        ask(address, files.mv, *names, timeout=timeout)


def _send(source: Path, address: str, timeout: int) -> tuple[int, str]:
    """Write a new file on a server; its size in bytes and its Adler-32."""
    flags, modes = client().flags.OpenFlags, client().flags.AccessMode
    readable = modes.UR | modes.UW | modes.GR | modes.OR
    file = client().File()
    ask(address, file.open, address, flags.NEW | flags.MAKEPATH, readable, timeout=timeout)
    size, checksum = 0, zlib.adler32(b"")
    try:
        with source.open("rb") as stream:
            while block := stream.read(_BLOCK):
                ask(address, file.write, block, size, len(block), timeout=timeout)
                size, checksum = size + len(block), zlib.adler32(block, checksum)
        ask(address, file.sync, timeout=timeout)
    except BaseException:
        file.close(timeout=timeout)
        raise
    ask(address, file.close, timeout=timeout)
    return size, f"{checksum:08x}"


def checksum_of(address: str, timeout: int = DEFAULT_TIMEOUT) -> str:
    """Adler-32 of a remote file as 8 hexadecimal digits: the server's, or of its bytes read back where it has none.

    Raises
    ------
    RemoteError
        If the file is not there or cannot be read.
    """
    code = client().flags.QueryCode.CHECKSUM
    try:
        answer = ask(address, filesystem(address).query, code, path_of(address), timeout=timeout)
        kind, _, digits = bytes(answer).rstrip(b"\0").decode(errors="replace").partition(" ")
        if kind.lower() == "adler32":
            return digits.strip().lower().zfill(8)
    except NoFileError:
        raise
    except RemoteError:  # a server without checksums says so with an error like any other
        pass
    checksum = zlib.adler32(b"")
    for block in _blocks(address, timeout):
        checksum = zlib.adler32(block, checksum)
    return f"{checksum:08x}"


def _blocks(address: str, timeout: int) -> Iterator[bytes]:
    file = client().File()
    ask(address, file.open, address, timeout=timeout)
    try:
        offset = 0
        while block := ask(address, file.read, offset, _BLOCK, timeout=timeout):
            yield block
            offset += len(block)
    finally:
        file.close(timeout=timeout)


def _same(source: Path, target: str, timeout: int) -> bool:
    """Whether a place has a file's bytes already."""
    if not is_remote(target):
        return Path(target).is_file() and sha256_file(Path(target)) == sha256_file(source)
    with _naming(source, target):
        try:
            info = ask(target, filesystem(target).stat, path_of(target), timeout=timeout)
        except NoFileError:
            return False
        return int(info.size) == source.stat().st_size and checksum_of(target, timeout) == _adler32(source)


def _adler32(path: Path) -> str:
    checksum = zlib.adler32(b"")
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.adler32(block, checksum)
    return f"{checksum:08x}"


def _remove(target: str, timeout: int) -> None:
    if not is_remote(target):
        Path(target).unlink(missing_ok=True)
        return
    files: Any = filesystem(target)
    with contextlib.suppress(NoFileError):
        ask(target, files.rm, path_of(target), timeout=timeout)


@contextlib.contextmanager
def _naming(source: Path, target: str) -> Iterator[None]:
    try:
        yield
    except (OddjetError, OSError) as error:
        msg = (
            f"{source} cannot be copied to {target}: {error}; see that there is room and you may write there"
        )
        raise TransferError(msg) from None
