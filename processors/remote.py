"""ROOT files on XRootD servers: the first replica that holds what it should, few requests, bounded waiting."""

import bisect
import contextlib
import dataclasses
import logging
import queue
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture

from data.errors import InputError, ReadError
from data.samples import Access
from data.xrootd import (
    DEFAULT_TIMEOUT,
    RemoteError,
    SilentError,
    UnservedError,
    ask,
    client,
    hostid_of,
    is_blocked,
    is_remote,
    without_port,
)

T = TypeVar("T")
_LOG = logging.getLogger("oddjet")
_BLOCK = 128 * 1024
"""Bytes read at once where headers are wanted, which are many and small."""
_NEAR = 16 * 1024
"""Ranges with no more bytes between them are read as one."""
_LONGEST, _MOST, _LARGEST = 2_097_136, 1024, 16 * 1024**2
"""Limits of a vector read: bytes an element and number of elements, those of every server; bytes of all together."""
_MEMORY = 300.0
"""Seconds for which an address that failed is tried last."""
_AT_ONCE = 16
"""Files whose headers are read at a time."""
_REDIRECTS = 5
"""Servers of a redirector that are refused before it is given up."""


class _WrongFileError(Exception):
    """An address answers, but not with the file."""


class _OtherFileError(_WrongFileError):
    """An address answers with another file."""


@dataclasses.dataclass(frozen=True)
class ReplicaTrouble:
    """Why a replica cannot be read, and whether that is because it is another file."""

    reason: str
    other_file: bool


@dataclasses.dataclass
class _Failures:
    """When an address or a server last failed in this process: chunk after chunk should not wait for it again."""

    when: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, *names: str) -> None:
        self.when |= dict.fromkeys(names, time.monotonic())

    def forget(self, *names: str) -> None:
        for name in names:
            self.when.pop(name, None)

    def recent(self) -> list[str]:
        now = time.monotonic()
        known = list(self.when.items())  # other threads may add to it
        return [name for name, then in known if now - then < _MEMORY]


FAILURES = _Failures()
_SERVED: dict[str, str] = {}  # where each file was last read from in this process


def distrust(path: str) -> str:
    """Where a file was read from last, which has sent bytes that make no sense: tried last from now on."""
    address = _SERVED.get(path, path)
    FAILURES.add(address)
    return address


def in_order(addresses: Sequence[str], attempt: int) -> list[str]:
    """Addresses in the order of trying: each attempt starts with the next one, and those that failed come last."""
    first = attempt % len(addresses)
    rotated = [*addresses[first:], *addresses[:first]]
    failed = set(FAILURES.recent())
    return sorted(rotated, key=lambda address: not failed.isdisjoint({address, hostid_of(address)}))


def of_each(function: Callable[[str], T], files: Iterable[str]) -> list[T]:
    """What a function gives for each file; of remote ones, which answer late, several are asked at a time.

    The first error in the order of the files ends it, and no more files are asked.
    """
    files = list(files)
    if not any(is_remote(file) for file in files):
        return [function(file) for file in files]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(function, file) for file in files]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class RemoteSource(Source):  # type: ignore[misc]
    """What uproot reads a remote file through, as its option ``handler``.

    Parameters
    ----------
    file_path
        The file's name.
    where
        The file in the words of messages.
    addresses
        Where it may be read; ``file_path`` where none is given.
    attempt
        How often its reading has failed before: another address comes first then.
    blocked
        Patterns of hosts that are not to be read from.
    uuid
        The file's UUID (16 bytes); None where any will do.
    timeout
        Seconds within which a server has to answer.

    Raises
    ------
    UnservedError
        If no address can be read now.
    InputError
        If every address answers with something else than the file.
    """

    def __init__(
        self,
        file_path: str,
        *,
        where: str = "",
        addresses: Sequence[str] = (),
        attempt: int = 0,
        blocked: Sequence[str] = (),
        uuid: bytes | None = None,
        timeout: int = DEFAULT_TIMEOUT,
        **_others: object,
    ) -> None:
        super().__init__()
        self._file_path = file_path
        where = where or f"file '{file_path}'"
        self._timeout = timeout
        self._blocks: dict[int, bytes] = {}
        self._file: Any = None
        self._silent = False
        wrong, silent = [], []
        last: Exception | None = None
        for address in in_order(addresses or (file_path,), attempt):
            try:
                self._open(address, blocked)
                _check_header(self._block(0), self._num_bytes, uuid)
            except RemoteError as error:
                silent.append(str(error))
                last = error
                self._note(error)
            except _WrongFileError as error:
                wrong.append(f"{address}: {error}")
                last = error
                FAILURES.add(address)
            else:
                self._opened([*wrong, *silent])
                return
            self.__exit__()
        reasons = "; ".join([*wrong, *silent])
        if not silent:
            msg = f"{where} is nowhere whole: {reasons}; replace it by a whole copy, or add a replica"
            raise InputError(msg) from last
        msg = f"{where} cannot be had: {reasons}; see that its server works, or add a replica"
        raise UnservedError(msg) from last

    def _opened(self, reasons: Iterable[str]) -> None:
        _SERVED[self._file_path] = self._address
        FAILURES.forget(self._address, self._server)
        for reason in reasons:
            _LOG.warning("file '%s' is read from %s, because of %s", self._file_path, self._address, reason)

    def _open(self, address: str, blocked: Sequence[str]) -> None:
        """Open one address; behind a redirector, on a server that is allowed and did not fail just now."""
        self._address, self._server, self._blocks, self._silent = address, hostid_of(address), {}, False
        failed = [name for name in FAILURES.recent() if "/" not in name and name != self._server]
        try:
            self._open_avoiding(failed, blocked)
        except SilentError:
            raise
        except RemoteError:
            if not failed:
                raise
            self._open_avoiding([], blocked)  # no other server has it
        info = ask(address, self._file.stat, timeout=self._timeout)
        self._num_bytes = int(info.size)

    def _open_avoiding(self, failed: list[str], blocked: Sequence[str]) -> None:
        refused: list[str] = []
        for _ in range(_REDIRECTS):
            self._file = client().File()
            place = _avoiding(self._address, [*failed, *refused])
            try:
                ask(self._address, self._file.open, place, timeout=self._timeout)
            except RemoteError:
                if refused and not failed:
                    break  # the redirector has no others
                raise
            self._server = str(self._file.get_property("DataServer"))
            if not is_blocked(self._server, blocked):
                return
            refused.append(self._server)
            self.__exit__()
        msg = f"its redirector offers blocked sites only ({', '.join(dict.fromkeys(refused))})"
        raise _WrongFileError(msg)

    def chunk(self, start: int, stop: int) -> Chunk:
        """Bytes ``start`` … ``stop`` − 1; short ranges come with their neighbourhood, for the next ones."""
        end = min(stop, self._num_bytes)  # pointers may be damaged; uproot sees that less has come
        with self._noting_failure():
            if end - start > _BLOCK:
                return self._filled(start, stop, self._read([(start, end)])[0])
            first = start // _BLOCK
            whole = b"".join(self._block(number) for number in range(first, -(-end // _BLOCK)))
            return self._filled(start, stop, whole[start - first * _BLOCK : end - first * _BLOCK])

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Chunk]) -> list[Chunk]:
        """Many ranges of bytes in few requests."""
        with self._noting_failure():
            contents = self._read(ranges)
        found = [
            self._filled(start, stop, content)
            for (start, stop), content in zip(ranges, contents, strict=True)
        ]
        for chunk in found:
            notifications.put(chunk)
        return found

    def _note(self, error: RemoteError) -> None:
        """Remember what failed: a server that is silent for one file is so for others."""
        self._silent = isinstance(error, SilentError)
        # what is on disk has no server, and its "host" would stand for all the rest of the disk
        FAILURES.add(self._address, *([self._server] if self._silent and is_remote(self._address) else []))

    @contextlib.contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Make a failed read worth another try, which starts elsewhere."""
        try:
            yield
        except RemoteError as error:
            self._note(error)
            msg = f"{error}, read from {self._server}" if self._server not in str(error) else str(error)
            raise ReadError(msg) from None

    def _filled(self, start: int, stop: int, content: bytes) -> Chunk:
        return Chunk(self, start, stop, TrivialFuture(content))

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            stop = min(start + _BLOCK, self._num_bytes)
            self._count(1, 1, stop - start)
            content = ask(self._address, self._file.read, start, stop - start, timeout=self._timeout)
            if len(content) != stop - start:
                msg = f"{self._address}: {len(content)} bytes came for {stop - start} from byte {start} on"
                raise RemoteError(msg)
            self._blocks[number] = content
        return self._blocks[number]

    def _read(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        spans = merged(ranges)
        parts: dict[int, bytes] = {}
        for vector in vectors(spans):
            self._count(1, len(vector), sum(length for _, length in vector))
            answer = ask(self._address, self._file.vector_read, vector, timeout=self._timeout)
            for (offset, length), part in zip(vector, answer.chunks, strict=True):
                if part.offset != offset or len(part.buffer) != length:
                    msg = f"{self._address}: {len(part.buffer)} bytes came for {length} from byte {offset} on"
                    raise RemoteError(msg)
                parts[offset] = part.buffer
        return cut(ranges, spans, parts)

    def _count(self, requests: int, ranges: int, size: int) -> None:
        self._num_requests += requests
        self._num_requested_chunks += ranges
        self._num_requested_bytes += size

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            # whatever it answers, nothing was written: one that is silent is not waited for again
            self._file.close(timeout=1 if self._silent else self._timeout)
            self._file = None


def trouble_of(address: str, uuid: bytes, access: Access) -> ReplicaTrouble | None:
    """Open a replica and read its first bytes; None where it is the file with this UUID (16 bytes), whole."""
    try:
        RemoteSource(
            address, addresses=(address,), blocked=access.blocked, uuid=uuid, timeout=access.timeout
        ).__exit__()
    except InputError as error:
        return ReplicaTrouble(str(error.__cause__), isinstance(error.__cause__, _OtherFileError))
    return None


def _avoiding(address: str, servers: Sequence[str]) -> str:
    """An address that tells a redirector not to send us to some servers; others ignore it."""
    if not servers or not is_remote(address):
        return address
    hosts = ",".join(dict.fromkeys(without_port(server) for server in servers))
    return f"{address}{'&' if '?' in address else '?'}tried={hosts}&triedrc=resel"


_SMALL, _BIG = struct.Struct(">4siiiiiiiBiii2x16s"), struct.Struct(">4siiqqiiiBiqi2x16s")
_FIRST_BIG_VERSION = 1_000_000


def _check_header(head: bytes, size: int, uuid: bytes | None) -> None:
    """See that a file is a ROOT file, whole, and the one that is meant."""
    if head[:4] != b"root" or len(head) < _BIG.size:
        msg = "it is truncated or not a ROOT file"
        raise _WrongFileError(msg)
    big = int.from_bytes(head[4:8], "big") >= _FIRST_BIG_VERSION
    fields = (_BIG if big else _SMALL).unpack_from(head)
    end, own = fields[3], fields[-1]
    if size < end:
        msg = f"it is truncated: it holds {size} of {end} bytes"
        raise _WrongFileError(msg)
    if uuid is not None and own != uuid:
        msg = f"it holds another file (UUID {own.hex()} instead of {uuid.hex()})"
        raise _OtherFileError(msg)


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges ``[start, stop)`` of bytes sorted, those that overlap or lie near each other made one."""
    spans: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if spans and start - spans[-1][1] <= _NEAR:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    return spans


def vectors(spans: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The vector reads that fetch some spans: lists of (offset, length) within the limits of every server."""
    requests: list[list[tuple[int, int]]] = []
    size = 0
    for start, stop in spans:
        for offset in range(start, stop, _LONGEST):
            length = min(_LONGEST, stop - offset)
            if not requests or len(requests[-1]) == _MOST or size + length > _LARGEST:
                requests.append([])
                size = 0
            requests[-1].append((offset, length))
            size += length
    return requests


def cut(
    ranges: Iterable[tuple[int, int]], spans: Sequence[tuple[int, int]], parts: dict[int, bytes]
) -> list[bytes]:
    """The bytes of each range out of the parts (by offset) of the spans that cover them."""
    starts = [start for start, _ in spans]
    whole = [b"".join(parts[offset] for offset in range(start, stop, _LONGEST)) for start, stop in spans]
    contents = []
    for start, stop in ranges:
        number = bisect.bisect_right(starts, start) - 1
        contents.append(whole[number][start - starts[number] : stop - starts[number]])
    return contents
