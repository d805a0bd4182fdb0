"""Names of a sample definition to files: patterns, folders and replicas, on disk and on XRootD servers."""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data.errors import ConfigError, ReadError
from data.xrootd import (
    SCHEME,
    NoFileError,
    RemoteError,
    ask,
    client,
    filesystem,
    is_remote,
    path_of,
    server_of,
)

_WILD = "*?["
_REMOTE_WILD = "*["
"""In an address, options follow the first question mark."""
_PREFER_NAMES = 0x0100
"""The protocol's flag, without a name in the client, for names of servers: certificates are not made out to numbers."""


@dataclass(frozen=True)
class Expansion:
    """The files that a name stands for, sorted, and whether it is a pattern or a folder."""

    files: tuple[str, ...]
    pattern: bool


def expand(name: str, folder: Path, where: str, mirrors: Iterable[str], timeout: int) -> Expansion:
    """The files that a name of a sample definition stands for.

    Parameters
    ----------
    name
        A path, relative to ``folder``, or an address; with ``*``, ``[`` or, on disk, ``?`` a pattern; with ``/`` at its
        end a folder.
    folder
        That of the definition.
    where
        The definition and the sample, for messages.
    mirrors
        Servers to ask where a ``root://`` server does not list its folders.
    timeout
        Seconds to wait for a server.

    Returns
    -------
    Expansion
        Absolute paths or addresses.

    Raises
    ------
    ConfigError
        If a file does not exist on disk, or a pattern matches none.
    ReadError
        If no server lists a ``root://`` folder.
    """
    whole = name + "*.root" if name.endswith("/") else name
    pattern = _is_pattern(whole) and not (folder / whole).is_file()
    if "://" in whole:
        if not pattern:
            return Expansion((whole,), pattern=False)
        if not is_remote(whole):
            msg = f"{where}: '{name}': only root:// folders can be listed; name the files one by one"
            raise ConfigError(msg)
        found = _listed(whole, where, mirrors, timeout)
    elif pattern:
        start = Path(Path(whole).anchor) if Path(whole).is_absolute() else folder
        matching = start.glob(str(Path(whole).relative_to(Path(whole).anchor)))
        found = [str(file.resolve()) for file in matching if file.is_file() and file.name[0] != "."]
    else:
        found = [str((folder / whole).resolve())]
        if not Path(found[0]).is_file():
            place = "" if Path(name).is_absolute() else f" in {folder}"
            msg = f"{where}: file '{name}' does not exist{place}; correct the path or remove it"
            raise ConfigError(msg)
    if not found:
        msg = f"{where}: '{name}' matches no file; correct it or remove it"
        raise ConfigError(msg)
    return Expansion(tuple(sorted(found)), pattern)


def replica_of(file: str, replica: str, folder: Path, where: str) -> str:
    """The address of a replica of a file; a folder holds it under its name.

    Raises
    ------
    ConfigError
        If the replica is a pattern.
    """
    whole = replica + PurePosixPath(file).name if replica.endswith("/") else replica
    if _is_pattern(whole):
        msg = f"{where}: replica '{replica}' is a pattern; name a file, or a folder that ends in /"
        raise ConfigError(msg)
    return whole if "://" in whole else str((folder / whole).resolve())


def _is_pattern(name: str) -> bool:
    if "://" in name:
        path = (
            name.partition("://")[2].partition("/")[2].partition("?")[0]
        )  # hosts in numbers have brackets too
        return any(sign in path for sign in _REMOTE_WILD)
    return any(sign in name for sign in _WILD)


def _listed(pattern: str, where: str, mirrors: Iterable[str], timeout: int) -> list[str]:
    """Addresses of the files on the pattern's server that match it, by the listing of any server that has them."""
    own = server_of(pattern)
    reasons = []
    for server in dict.fromkeys([own, *mirrors]):
        try:
            found = _matching(server, PurePosixPath(path_of(pattern)), timeout)
        except RemoteError as error:
            reasons.append(str(error))
            continue
        return [own + path for path in found]
    msg = (
        f"{where}: '{pattern}' cannot be listed ({'; '.join(reasons)}); see that the server works, name the files, or "
        "give mirrors (sites.mirrors)"
    )
    raise ReadError(msg)


def _matching(server: str, pattern: PurePosixPath, timeout: int) -> list[str]:
    """Paths on a server that match a pattern, folder by folder."""
    folders = ["/"]
    *above, last = pattern.parts[1:]
    for part in above:
        if _is_pattern(part):
            folders = [
                f"{folder}{name}/"
                for folder in folders
                for name, is_folder in _entries(server, folder, timeout)
                if is_folder and fnmatch.fnmatchcase(name, part)
            ]
        else:
            folders = [f"{folder}{part}/" for folder in folders]
    return [
        folder + name
        for folder in folders
        for name, is_folder in _entries(server, folder, timeout)
        if not is_folder and not name.startswith(".") and fnmatch.fnmatchcase(name, last)
    ]


def _entries(server: str, folder: str, timeout: int) -> Iterable[tuple[str, bool]]:
    """Names in a folder of a server, each once, and whether each is a folder itself.

    A redirector has no folders of its own: what its servers have is put together. The client can do that too, but tells
    a server that is down from one that lacks the folder as little as two copies of a file from two files.
    """
    flags = client().flags
    found: dict[str, bool] = {}
    lacking = []
    holders = _holders(server, folder, timeout)
    for holder in holders:
        address = holder + folder
        try:
            listing = ask(
                address, filesystem(address).dirlist, folder, flags.DirListFlags.STAT, timeout=timeout
            )
        except NoFileError as error:
            lacking.append(error)
            continue
        found |= {one.name: bool(one.statinfo.flags & flags.StatInfoFlags.IS_DIR) for one in listing}
    if len(lacking) == len(holders):
        raise lacking[0]
    return found.items()


def _holders(server: str, folder: str, timeout: int) -> list[str]:
    """Where a server's folder may be: with itself, or with any of the servers that it sends readers to."""
    address = server + folder
    flags = client().flags
    asked = filesystem(address)
    if not ask(address, asked.protocol, timeout=timeout).hostinfo & flags.HostTypes.IS_MANAGER:
        return [server]
    places = list(ask(address, asked.deeplocate, f"*{folder}", _PREFER_NAMES, timeout=timeout))
    away = [place.address for place in places if place.type != flags.LocationType.SERVER_ONLINE]
    if away or not places:
        msg = f"{address}: not all servers of it answered ({', '.join(away) or 'it names none'})"
        raise RemoteError(msg)
    return [f"{SCHEME}{place.address}/" for place in places]
