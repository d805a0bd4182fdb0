"""Both passes over a sample behind root://, disturbed: the same bits as from disk, or an error that lists what is missing."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest

from data.errors import InputError, ReadError
from data.partials import PartialStore
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.remote import _SERVED, RemoteSource
from processors.root_files import file_identity
from processors.run import run_histograms, run_skim
from processors.skim import Skim

ENTRIES = 600
FILES = 3
CHUNK = 300
TIMEOUT = 2
"""Seconds for servers that are silent."""
VECTOR_READ = (3025).to_bytes(2, "big")
"""How the protocol numbers the request for branches."""
PATIENCE = 30
"""Seconds for servers that answer, on a machine that may be busy."""


@pytest.fixture(scope="module")
def files(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("files")
    names = [(folder / f"{number}.root", number) for number in range(FILES)]
    return [
        make_nano_file(path, ENTRIES, number, first_event=1 + 10_000 * number, basket=200)
        for path, number in names
    ]


@pytest.fixture(scope="module")
def skim(make_sample):
    """Run the first pass; the bytes of its tables, and its account."""

    def run(out, addresses, replicas=None, *, kept=None, timeout=PATIENCE, **processing):
        sites = {"timeout": timeout}
        sample = make_sample(dict.fromkeys(addresses, ENTRIES), replicas=replicas or {}, sites=sites)
        config = ProcessingConfig(**{"chunk_size": CHUNK, **processing})
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        store = {} if kept is None else {"store": PartialStore(kept)}
        result = run_skim(sample, config, EventOptions(), out, **store)
        return [path.read_bytes() for path in result.outputs], result.account

    return run


@pytest.fixture(scope="module")
def expected(skim, files, tmp_path_factory):
    return skim(tmp_path_factory.mktemp("local"), [str(path) for path in files])[0]


@pytest.fixture
def at_chunk(monkeypatch):
    """Do something when a chunk is about to be processed in this process."""

    def set_up(number, action):
        process, count = Skim.__call__, iter(range(1000))

        def disturbed(self, events):
            if next(count) == number:
                action()
            return process(self, events)

        monkeypatch.setattr(Skim, "__call__", disturbed)

    return set_up


@pytest.fixture
def at_read(monkeypatch):
    """Do something when the branches of a file are first asked for in this process: it is open then, its chunk begun."""

    def set_up(address, action):
        read, done = RemoteSource.chunks, []

        def disturbed(self, *args, **more):
            if self._file_path == address and not done:
                done.append(address)
                action()
            return read(self, *args, **more)

        monkeypatch.setattr(RemoteSource, "chunks", disturbed)

    return set_up


def by_name(servers, files):
    """Addresses on the first server, and replicas on the others."""
    first, *others = ([server.put(path) for path in files] for server in servers)
    replicas = {address: tuple(names[i] for names in others) for i, address in enumerate(first)}
    return first, replicas


def test_both_passes_give_the_same_bits_as_from_disk(serve, files, skim, expected, tmp_path, make_sample):
    first, _ = by_name([serve()], files)
    tables, account = skim(tmp_path / "out", first)
    assert tables == expected
    assert account.processed == FILES * ENTRIES
    assert not account.failures
    config = ProcessingConfig(chunk_size=CHUNK)
    spectra = [
        run_histograms(
            make_sample(names), config, EventOptions(), {}, trained_on=(), out_root=tmp_path / "h"
        ).histograms["mjj"]
        for names in (first, files)
    ]
    assert np.array_equal(*(spectrum.view(flow=True) for spectrum in spectra))


def test_a_server_stopped_in_mid_run_and_started_again(serve, files, skim, expected, tmp_path, at_read):
    server = serve()
    first, _ = by_name([server], files)

    def restart():
        server.stop()
        threading.Timer(1.0, server.start).start()

    at_read(first[1], restart)
    tables, account = skim(tmp_path / "out", first, retries=5)
    assert tables == expected
    failures = account.failures
    assert {failure.recovered for failure in failures} == {True}
    assert first[1] in {failure.file for failure in failures}
    totals = account.totals()
    assert (totals["processed"], totals["failed"]) == (FILES * ENTRIES, 0)
    assert totals["retried"] == sum(failure.stop - failure.start for failure in failures)


def test_a_server_that_stays_away(serve, files, skim, expected, tmp_path, at_chunk):
    server = serve()
    first, _ = by_name([server], files)
    at_chunk(2, server.stop)
    with pytest.raises(
        ReadError, match=rf"(?s)file '{first[1]}' of sample 'mock' cannot be had: .*Connection error"
    ):
        skim(tmp_path / "out", first, kept=tmp_path / "kept", retries=1)
    assert not (tmp_path / "out" / "features").exists()
    done = len(partials(tmp_path / "kept"))
    server.start()
    tables, _ = skim(tmp_path / "out", first, kept=tmp_path / "kept", retries=1)
    assert done == 3  # what was read already is finished
    assert tables == expected


def test_a_second_replica_takes_over(serve, files, skim, expected, tmp_path, at_read):
    one, two = serve(), serve()
    first, replicas = by_name([one, two], files)
    at_read(first[1], one.stop)
    tables, account = skim(tmp_path / "out", first, replicas)
    assert tables == expected
    assert [(one.file, one.start, one.recovered, one.attempts) for one in account.failures] == [
        (first[1], 0, True, 2)
    ]
    assert [_SERVED[address] for address in first] == [first[0], *(replicas[name][0] for name in first[1:])]


def test_a_server_that_falls_silent_in_mid_run(serve, files, skim, expected, tmp_path, at_read):
    one, two = serve(), serve()
    first, replicas = by_name([one, two], files)
    at_read(first[1], one.freeze)
    start = time.monotonic()
    tables, account = skim(tmp_path / "out", first, replicas, timeout=2 * TIMEOUT)
    assert time.monotonic() - start < PATIENCE
    assert tables == expected
    assert [(one.file, one.start, one.recovered, one.attempts) for one in account.failures] == [
        (first[1], 0, True, 2)
    ]
    assert f"no answer within {2 * TIMEOUT} s" in account.failures[0].reason


class Breaking:
    """Passes on what a server and its clients say, until it breaks in the midst of a read once it is told to."""

    def __init__(self, port):
        self.target, self.armed, self.broken = port, threading.Event(), threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.ends = [self.listening]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, far = self.listening.accept()[0], socket.create_connection(("127.0.0.1", self.target))
                self.ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.forward, args=(one, other, one is near), daemon=True).start()

    def forward(self, one, other, is_request):
        with contextlib.suppress(OSError):
            while said := one.recv(1 << 16):
                if is_request and said[2:4] == VECTOR_READ and self.armed.is_set():
                    self.broken.set()
                    self.close()
                other.sendall(said)

    def close(self):
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.mark.slow
def test_a_second_replica_takes_over_in_processes(serve, files, skim, expected, tmp_path):
    one, two = serve(), serve()
    kept, breaking = tmp_path / "kept", Breaking(one.port)
    originals, replicas = by_name([one, two], files)
    first = [name.replace(f":{one.port}/", f":{breaking.port}/") for name in originals]
    replicas = {name: replicas[original] for name, original in zip(first, originals, strict=True)}
    watch = threading.Thread(target=when_begun, args=(kept, breaking.armed.set))
    watch.start()
    more = {"executor": "futures", "workers": 2, "chunk_size": 50}
    tables, account = skim(tmp_path / "out", first, replicas, kept=kept, **more)
    watch.join()
    breaking.close()
    assert breaking.broken.is_set(), "the server was to die in mid-run"
    assert tables == expected
    assert account.processed == FILES * ENTRIES
    assert account.failures
    assert all(failure.recovered and failure.attempts <= 3 for failure in account.failures)
    assert {failure.file for failure in account.failures} <= set(first)


def partials(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def when_begun(folder, action):
    end = time.monotonic() + 60
    while time.monotonic() < end and not partials(folder):
        time.sleep(0.01)
    action()


def test_a_replica_whose_bytes_are_rotten(serve, files, skim, expected, tmp_path):
    one, two = serve(), serve()
    first, replicas = by_name([one, two], files)
    spoil(one.on_disk("1.root"))
    tables, account = skim(tmp_path / "out", first, replicas)
    assert tables == expected
    assert {failure.file for failure in account.failures} == {first[1]}
    assert f"cannot be decoded as read from {first[1]}" in account.failures[0].reason


def spoil(path):
    """Write nonsense over the second half of the baskets of a branch."""
    import uproot

    with uproot.open({path: None}) as file:
        branch = file["Events"]["FatJet_pt"]
        places = list(zip(branch.member("fBasketSeek"), branch.member("fBasketBytes"), strict=True))[1:4]
    with path.open("r+b") as stream:
        for seek, size in places:
            stream.seek(seek + 20)
            stream.write(b"\xa5" * max(size - 20, 0))


def test_a_file_truncated_on_the_server_in_mid_run(serve, files, skim, tmp_path, at_chunk):
    server = serve()
    first, _ = by_name([server], files)

    def cut():
        with server.on_disk("2.root").open("r+b") as stream:
            stream.truncate(files[2].stat().st_size // 2)

    at_chunk(3, cut)
    message = rf"(?s)file '{first[2]}' of sample 'mock' is nowhere whole: .*it is truncated: it holds \d+ of \d+ bytes"
    with pytest.raises(InputError, match=message):
        skim(tmp_path / "out", first, retries=1)
    assert not (tmp_path / "out" / "features").exists()


def test_a_truncated_file_is_read_from_a_replica(serve, files, skim, expected, tmp_path, at_read):
    one, two = serve(), serve()
    first, replicas = by_name([one, two], files)

    def cut():
        with one.on_disk("1.root").open("r+b") as stream:
            stream.truncate(files[1].stat().st_size // 3)

    at_read(first[1], cut)
    tables, account = skim(tmp_path / "out", first, replicas)
    assert tables == expected
    assert {(failure.file, failure.recovered) for failure in account.failures} == {(first[1], True)}


def test_the_first_server_never_answers(serve, silent_server, files, skim, expected, tmp_path, caplog):
    server = serve()
    first = [f"{silent_server}/store/{path.name}" for path in files]
    replicas = {address: (server.put(path),) for address, path in zip(first, files, strict=True)}
    tables, account = skim(tmp_path / "out", first, replicas, timeout=2 * TIMEOUT)
    assert tables == expected
    assert not account.failures
    assert (
        1 <= caplog.text.count("no answer within") <= FILES
    )  # the headers wait, all at a time; the chunks know


def test_no_server_answers(silent_server, skim, tmp_path):
    start = time.monotonic()
    with pytest.raises(ReadError, match=f"0.root: no answer within {TIMEOUT} s; see that its server works"):
        skim(tmp_path / "out", [f"{silent_server}/store/0.root"], timeout=TIMEOUT)
    assert time.monotonic() - start < PATIENCE


def test_another_file_under_the_same_name_in_mid_run(serve, files, skim, tmp_path, at_chunk):
    server = serve()
    first, _ = by_name([server], files)
    at_chunk(3, lambda: server.put(files[0], "2.root"))
    with pytest.raises(
        InputError, match=rf"file '{first[2]}' of sample 'mock' is nowhere whole: .* another file"
    ):
        skim(tmp_path / "out", first, retries=1)


def test_a_file_has_one_identity_wherever_it_is_read(serve, files, make_sample):
    one, two = serve(), serve()
    first, replicas = by_name([one, two], files[:1])
    sample = make_sample({first[0]: None}, replicas=replicas, sites={"timeout": PATIENCE})
    before = file_identity(first[0], sample.access(first[0]))
    one.stop()
    assert file_identity(first[0], sample.access(first[0])) == before
