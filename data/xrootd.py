"""XRootD's client with its waiting bounded: every call ends within the time given, well or with a reason."""

import contextlib
import fnmatch
import functools
import importlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from data.errors import ConfigError, OddjetError, ReadError

_LOG = logging.getLogger("oddjet")
SCHEME = "root://"
DEFAULT_TIMEOUT = 60
"""Seconds within which a server has to answer."""
_SETTINGS = {
    "ConnectionRetry": 1,  # other addresses and later tries are ours to choose
    "ConnectionWindow": 10,  # seconds for one attempt to connect
    "StreamErrorWindow": 0,  # a server that was restarted is asked again at once, not after half an hour
    "TimeoutResolution": 1,  # seconds; 15 otherwise, however short the timeout
}


class RemoteError(OddjetError):
    """A server refused, failed or did not answer: the message is the address and the reason."""


class UnservedError(ReadError):
    """Every address of a file was asked, and none serves it now."""


class SilentError(RemoteError):
    """A server cannot be reached or did not answer in time."""


class NoFileError(RemoteError):
    """A server has no such file or folder."""


class ExistsError(RemoteError):
    """A server has a file of that name already, and leaves it."""


def is_remote(address: str) -> bool:
    """Whether an address names a file on an XRootD server."""
    return address.startswith(SCHEME)


@functools.cache
def client() -> Any:
    """XRootD's Python client, imported where first needed and told not to wait on its own account.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        imported: Any = importlib.import_module("XRootD.client")
    except ImportError:
        msg = 'root:// addresses and replicas need XRootD\'s client; install it with: pip install "oddjet[xrootd]"'
        raise ConfigError(msg) from None
    for name, value in _SETTINGS.items():
        if f"XRD_{name.upper()}" not in os.environ:
            imported.EnvPutInt(name, value)
    return imported


def ask(address: str, call: Callable[..., Any], *arguments: object, timeout: int, **options: object) -> Any:
    """Make one call of the client and wait for its answer.

    Parameters
    ----------
    address
        What is asked for, for messages.
    call, arguments, options
        A method of the client's ``File`` or ``FileSystem``, and what it takes.
    timeout
        Seconds.

    Returns
    -------
    object
        The answer.

    Raises
    ------
    NoFileError
        If the server has no such file.
    ExistsError
        If it has one where none is wanted.
    SilentError
        If it cannot be reached, or does not answer in time.
    RemoteError
        If it refuses or fails, or answers for a part of its servers only.
    """
    try:
        status, answer = call(*arguments, timeout=timeout, **options)
    except ValueError as error:  # the connection of an open file broke earlier
        msg = f"{address}: {error}"
        raise RemoteError(msg) from None
    if status.ok and status.code == _PARTIAL:
        msg = f"{address}: not all servers of it answered"
        raise RemoteError(msg)
    if status.ok:
        return answer
    msg = f"{address}: {_reason(status, timeout)}"
    if status.errno == _NOT_FOUND:
        raise NoFileError(msg)
    if status.errno == _EXISTS:
        raise ExistsError(msg)
    raise RemoteError(msg) if status.errno else SilentError(msg)


_PORT = 1094
_NOT_FOUND, _NOT_AUTHORISED, _EXISTS = 3011, 3010, 3018
_LOGIN_FAILED, _AUTHENTICATION_FAILED, _EXPIRED, _SOCKET_TIMEOUT = 203, 204, 206, 103
_PARTIAL = 3
"""The code of an answer that is called a success although something is missing from it."""


def _reason(status: Any, timeout: int) -> str:
    text = " ".join(str(status.message).split())
    for prefix in ("[ERROR] ", "[FATAL] ", "Server responded with an error: "):
        text = text.removeprefix(prefix)
    if status.code in {_EXPIRED, _SOCKET_TIMEOUT}:
        return f"no answer within {timeout} s"
    if status.errno == _NOT_AUTHORISED or status.code in {_LOGIN_FAILED, _AUTHENTICATION_FAILED}:
        return f"{text} (is there a valid proxy or token? see voms-proxy-info, or BEARER_TOKEN_FILE)"
    return text or f"error {status.code}"


def _place_of(address: str) -> tuple[str, str]:
    """Host and port of an address; a host in numbers of IPv6 keeps its brackets, a port that is not there is ''."""
    place = address.partition("://")[2] if "://" in address else address
    place = place.split("/", 1)[0].rsplit("@", 1)[-1]
    if place.startswith("["):
        host, _, port = place.partition("]")
        return f"{host}]", port.removeprefix(":")
    host, _, port = place.partition(":")
    return host, port


def host_of(address: str) -> str:
    """Host of an address, without user, port and the brackets around numbers of IPv6."""
    return _place_of(address)[0].strip("[]")


def hostid_of(address: str) -> str:
    """``HOST:PORT`` of an address."""
    host, port = _place_of(address)
    return f"{host}:{port or _PORT}"


def without_port(address: str) -> str:
    """Host of an address as other addresses write it, with the brackets around numbers of IPv6."""
    return _place_of(address)[0]


def server_of(address: str) -> str:
    """``root://HOST:PORT/`` of an address."""
    return f"{SCHEME}{address.removeprefix(SCHEME).split('/', 1)[0]}/"


def path_of(address: str) -> str:
    """Path on the server, with its leading slash and without options."""
    inside = address.removeprefix(SCHEME).partition("/")[2].partition("?")[0]
    return "/" + inside.lstrip("/")


def is_blocked(address: str, blocked: Iterable[str]) -> bool:
    """Whether the host of an address matches one of the patterns, e.g. ``*.site.org``; a path on disk has none.

    Redirectors may name servers by numbers only: these are looked up where a pattern is about names. Where nobody knows
    the name of a server, that is logged.
    """
    host = host_of(address).lower()
    patterns = [pattern.lower() for pattern in blocked]
    if not host or not patterns:
        return False
    names = {host}
    if number := _number_of(host):
        names.add(number)
        if not all(_in_numbers(pattern) for pattern in patterns):
            names |= _names_of(number)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _number_of(host: str) -> str:
    """The IP address that a host is given by, in its usual form; '' for one that has a name."""
    if ":" in host and "." in host:  # XRootD's way of writing IPv4: ::ffff:10.1.2.3 or ::10.1.2.3
        host = host.rpartition(":")[2]
    with contextlib.suppress(ValueError):
        number = ipaddress.ip_address(host)
        mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
        return str(mapped or number)
    return ""


def _in_numbers(pattern: str) -> bool:
    return ":" in pattern or not any(sign.isalpha() for sign in pattern)


def _names_of(number: str) -> frozenset[str]:
    """The names of a host that is given by its IP address; one that nobody knows now is looked up again later."""
    try:
        return _looked_up(number)
    except OSError:
        _warn_of_nameless(number)
        return frozenset()


@functools.cache
def _looked_up(number: str) -> frozenset[str]:
    name, others, _ = socket.gethostbyaddr(number)
    return frozenset(one.lower() for one in (name, *others))


@functools.cache
def _warn_of_nameless(number: str) -> None:
    """Once a host: every chunk that it serves asks for its names."""
    _LOG.warning(
        "%s has no name that sites.blocked could match; block the address itself if it is not wanted", number
    )


def filesystem(address: str) -> Any:
    """The client's ``FileSystem`` of the server that an address names."""
    return client().FileSystem(server_of(address))
