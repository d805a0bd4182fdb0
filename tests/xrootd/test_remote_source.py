"""Files behind root://: whole and from any replica, in few requests, or one clear message in bounded time."""

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import uproot

from data.errors import ConfigError, InputError, ReadError
from data.samples import Access, Sample
from data.xrootd import SilentError, UnservedError, hostid_of
from processors import remote
from processors.event_options import EventOptions
from processors.preflight import inspect_file
from processors.remote import FAILURES, RemoteSource, cut, in_order, merged, of_each, vectors
from processors.root_files import open_root, reading

TIMEOUT = 2
"""Seconds for servers that are silent."""
PATIENCE = 30
"""Seconds for servers that answer, on a machine that may be busy."""


@pytest.fixture
def path(tmp_path, make_nano_file):
    return make_nano_file(tmp_path / "a.root", 3000)


def access(*addresses, **more):
    return Access(addresses, **{"timeout": PATIENCE, **more})


def contents(file):
    return file["Events"].arrays(filter_name=["run", "event", "FatJet_*"])


def uuid_of(path):
    with uproot.open({path: None}) as file:
        return file.file.uuid.bytes


def test_what_is_read_is_what_the_file_holds_in_few_requests(serve, path):
    address = serve().put(path)
    with open_root(address) as remote, uproot.open({path: None}) as local:
        assert remote.file.uuid == local.file.uuid
        opened = remote.file.source.num_requests
        there = contents(remote)
        assert ak.array_equal(there, contents(local))
        assert len(there) == 3000
        assert remote.file.source.num_requests - opened <= 2
        assert opened <= 4
        assert remote.file.source.num_requested_bytes < 2 * path.stat().st_size


def test_large_files_are_read_in_several_vectors(serve, tmp_path):
    numbers = np.random.default_rng(1).integers(0, 2**60, 2_500_000)  # 20 MB that do not compress
    with uproot.recreate(tmp_path / "b.root", compression=None) as file:
        file.mktree("Events", {"number": "int64"}).extend({"number": numbers})
    with open_root(serve().put(tmp_path / "b.root")) as remote:
        assert np.array_equal(remote["Events"]["number"].array(library="np"), numbers)
        assert 3 <= remote.file.source.num_requests <= 8


def test_ranges_become_vectors_and_ranges_again():
    rng = np.random.default_rng(2)
    content = rng.bytes(30_000_000)
    starts = rng.integers(0, 29_000_000, 300)
    ranges = [
        (int(start), int(start + size))
        for start, size in zip(starts, rng.integers(1, 90_000, 300), strict=True)
    ]
    ranges += [(0, 9_000_000), (5, 6), (29_999_999, 30_000_000)]
    spans = merged(ranges)
    requests = vectors(spans)
    assert all(length <= 2_097_136 for request in requests for _, length in request)
    assert all(sum(length for _, length in request) <= 16 * 1024**2 for request in requests)
    parts = {offset: content[offset : offset + length] for request in requests for offset, length in request}
    assert cut(ranges, spans, parts) == [content[start:stop] for start, stop in ranges]


def test_a_second_replica_is_read_where_the_first_is_down(serve, path, caplog):
    one, two = serve(), serve()
    first, second = one.put(path), two.put(path)
    one.stop()
    with open_root(first, "mock", access=access(first, second), uuid=uuid_of(path)) as remote:
        assert len(contents(remote)) == 3000
    assert f"is read from {second}, because of {first}: Connection error" in caplog.text
    caplog.clear()
    with open_root(first, "mock", access=access(first, second)):  # the one that failed is asked last now
        assert not caplog.records


def test_each_attempt_starts_with_the_next_replica(serve, path):
    one, two = serve(), serve()
    first, second = one.put(path), two.put(path)
    for attempt, expected in enumerate([first, second, first]):
        with open_root(first, access=access(first, second), attempt=attempt) as remote:
            assert remote.file.source._address == expected


@pytest.mark.parametrize("fault", ["truncated", "empty", "other file", "no ROOT file", "gone"])
def test_a_replica_that_lies_is_passed_over(serve, path, tmp_path, make_nano_file, caplog, fault):
    one, two = serve(), serve()
    first, second = one.put(path), two.put(path)
    wrong = {
        "truncated": ("it is truncated: it holds", lambda copy: copy.write_bytes(path.read_bytes()[:-1])),
        "empty": ("it is truncated or not a ROOT file", lambda copy: copy.write_bytes(b"")),
        "other file": (
            "it holds another file",
            lambda copy: copy.write_bytes(make_nano_file(tmp_path / "o.root", 3000, 5).read_bytes()),
        ),
        "no ROOT file": ("not a ROOT file", lambda copy: copy.write_text("hello" * 1000)),
        "gone": ("no such file", lambda copy: copy.unlink()),
    }
    reason, damage = wrong[fault]
    damage(one.on_disk("a.root"))
    with open_root(first, "mock", access=access(first, second), uuid=uuid_of(path)) as remote:
        assert len(contents(remote)) == 3000
    assert reason in caplog.text
    message = rf"file '{first}' of sample 'mock' .*{first}.*{reason}.*add a replica"
    kind = ReadError if fault == "gone" else InputError
    with pytest.raises(kind, match=message):
        open_root(first, "mock", access=access(first), uuid=uuid_of(path))


@pytest.mark.slow
def test_a_server_that_never_answers_is_left_in_bounded_time(serve, path, silent_server):
    first, second = silent_server + "/store/a.root", serve().put(path)
    start = time.monotonic()
    with open_root(first, access=access(first, second, timeout=2 * TIMEOUT)) as remote:
        assert len(contents(remote)) == 3000
    with pytest.raises(
        ReadError, match=rf"cannot be had: {first}: no answer within {TIMEOUT} s; see that its server"
    ):
        open_root(first, access=access(first, timeout=TIMEOUT))
    assert time.monotonic() - start < PATIENCE


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_is_left_in_bounded_time(serve, path):
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # more than it keeps: further ones hear nothing, as behind a firewall
            one = waiting.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        first, second = f"root://127.0.0.1:{full.getsockname()[1]}//store/a.root", serve().put(path)
        start = time.monotonic()
        with open_root(first, access=access(first, second, timeout=2 * TIMEOUT)) as remote:
            assert len(contents(remote)) == 3000
        assert 1 < time.monotonic() - start < PATIENCE


def test_a_server_of_ipv6(serve, path):
    address = serve().put(path).replace("127.0.0.1", "[::1]")
    try:
        file = open_root(address, access=access(address, blocked=("127.*",)))
    except ReadError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with file:
        assert file.file.source._server == hostid_of(address)
        assert len(contents(file)) == 3000
    sample = {"name": "m", "kind": "data", "process": "data", "year": "2017", "files": {address: None}}
    assert Sample(**sample, sites={"blocked": ["::1"]}).access(address).addresses == ()


@pytest.mark.slow
def test_a_server_that_falls_silent_is_an_error_that_may_pass(serve, path):
    server = serve()
    address = server.put(path)
    with open_root(address, access=access(address, timeout=2 * TIMEOUT)) as remote:
        tree = remote["Events"]
        server.freeze()
        start = time.monotonic()
        with pytest.raises(ReadError, match=rf"{address}: no answer within {2 * TIMEOUT} s"):
            tree["FatJet_pt"].array()
        assert time.monotonic() - start < PATIENCE
        server.thaw()
    with open_root(address, access=access(address)) as remote:
        assert len(contents(remote)) == 3000


def test_a_server_that_comes_back_is_read_again(serve, path):
    server = serve()
    address = server.put(path)
    with open_root(address, access=access(address)) as remote:
        tree = remote["Events"]
        server.stop()
        with pytest.raises(ReadError, match=rf"{address}: "):
            tree["FatJet_pt"].array()
        with pytest.raises(ReadError, match="Connection error"):
            open_root(address, access=access(address))
        server.start()
    with open_root(address, access=access(address)) as remote:
        assert len(contents(remote)) == 3000


def test_a_file_cut_short_while_it_is_read(serve, path):
    server = serve()
    address = server.put(path)
    with open_root(address, "mock", access=access(address)) as remote:
        tree = remote["Events"]
        copy = server.on_disk("a.root")
        with copy.open("r+b") as stream:
            stream.truncate(copy.stat().st_size // 3)
        with pytest.raises(ReadError, match=rf"{address}: "):
            contents({"Events": tree})
    with pytest.raises(
        InputError, match=r"of sample 'mock' is nowhere whole.*it is truncated: it holds \d+ of \d+"
    ):
        open_root(address, "mock", access=access(address))


def test_fewer_bytes_than_were_asked_for(serve, path, monkeypatch):
    server = serve()
    address, size = server.put(path), path.stat().st_size
    source = RemoteSource(address, timeout=PATIENCE)
    with server.on_disk("a.root").open("r+b") as stream:
        stream.truncate(size // 2)
    told = rf"{address}: \d+ bytes came for \d+ from byte \d+ on"
    with pytest.raises(ReadError, match=told):
        source.chunk(size - 10, size)
    # the server refuses many ranges of which one is not there; another one may answer with less
    short = SimpleNamespace(chunks=[SimpleNamespace(offset=0, buffer=b"root")])
    monkeypatch.setattr(remote, "ask", lambda *_arguments, **_options: short)
    with pytest.raises(ReadError, match=told):
        source.chunks([(0, 10)], None)
    monkeypatch.undo()
    source.__exit__()


def test_blocked_sites_are_not_asked(serve, path, caplog):
    address = serve().put(path)
    facts = {"name": "m", "kind": "data", "process": "data", "year": "2017", "files": {address: None}}
    other = address.replace("127.0.0.1", "localhost")
    sample = Sample(**facts, replicas={address: (other,)}, sites={"blocked": ["127.*"]})
    assert sample.access(address).addresses == (other,)


def test_without_the_client_the_extra_is_named(monkeypatch):
    from data import xrootd

    xrootd.client.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "XRootD.client", None)
    with (
        pytest.raises(ConfigError, match=r'install it with: pip install "oddjet\[xrootd\]"'),
        reading("root://host//a.root"),
    ):
        open_root("root://host//a.root")
    monkeypatch.undo()
    xrootd.client.cache_clear()


def test_headers_of_many_files_are_read_at_a_time_and_come_in_order():
    together = threading.Barrier(2)

    def answer(file):
        together.wait(PATIENCE)  # it breaks where files are asked one after the other
        return file[-3:]

    names = [f"root://host//{number:03}" for number in range(0, 1000, 100)]
    assert of_each(answer, names * 10) == [name[-3:] for name in names * 10]


def test_no_more_headers_are_read_after_an_error():
    """To answer all of them would take three seconds."""
    asked = []

    def answer(file):
        asked.append(file)
        if file.endswith("7"):
            msg = f"{file} is wrong"
            raise ReadError(msg)
        time.sleep(0.05)

    names = [f"root://host//{number:03}" for number in range(10, 1000)]
    with pytest.raises(ReadError, match="017 is wrong"):
        of_each(answer, names)
    assert len(asked) < len(names)


@pytest.mark.parametrize("first", ["disk", "server"])
def test_a_replica_may_be_on_disk(serve, path, first):
    server = serve()
    address = server.put(path)
    names = (str(path), address) if first == "disk" else (address, str(path))
    for attempt in range(2):
        with open_root(names[0], access=access(*names), attempt=attempt, uuid=uuid_of(path)) as file:
            assert file.file.source._address == names[attempt]
            assert len(contents(file)) == 3000
    server.stop()
    with open_root(names[0], access=access(*names)) as file:
        assert len(contents(file)) == 3000


def test_bytes_beyond_the_end_are_seen_to_be_missing(serve, path):
    address = serve().put(path)
    size = path.stat().st_size
    with open_root(address) as remote:
        source = remote.file.source
        assert bytes(source.chunk(size - 9, size).raw_data) == path.read_bytes()[-9:]
        assert bytes(source.chunk(0, size).raw_data) == path.read_bytes()
        for start, stop in (
            (size - 9, size + 1),
            (size + 5, size + 9),
            (3 * size, 4 * size),
            (size, size + 200_000),
        ):
            with pytest.raises(OSError, match="expected Chunk of length"):
                source.chunk(start, stop).raw_data  # noqa: B018 - looking at it is what checks it


def test_a_disk_that_falls_silent_says_nothing_of_the_others(serve, path, tmp_path, monkeypatch):
    """Files on disk have no server that could be avoided."""
    copy = tmp_path / "other" / "a.root"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    address = serve().put(path)
    source = RemoteSource(str(path), addresses=(str(path), address))
    with source:
        source._note(SilentError(f"{path}: no answer within 60 s"))
    assert FAILURES.recent() == [str(path)]
    names = [str(copy), str(path), address]
    assert in_order(names, 0) == [str(copy), address, str(path)]
    avoided = []
    monkeypatch.setattr(remote, "_avoiding", lambda name, servers: avoided.append(list(servers)) or name)
    with open_root(str(path), access=access(str(path), address)) as file:
        assert file.file.source._address == address
    assert avoided == [[]]


def test_headers_that_no_replica_serves_are_waited_for_once(silent_server, make_sample, monkeypatch):
    names = [f"{silent_server}/store/{number}.root" for number in range(3)]
    sample = make_sample(names[:1], replicas={names[0]: tuple(names[1:])}, sites={"timeout": 1})
    asked, opened = [], RemoteSource._open
    monkeypatch.setattr(
        RemoteSource, "_open", lambda self, name, blocked: asked.append(name) or opened(self, name, blocked)
    )
    with pytest.raises(UnservedError, match=f"{names[2]}: no answer within 1 s; see that its server works"):
        inspect_file(names[0], sample, EventOptions().demand(sample))
    assert asked == names


def test_headers_that_make_no_sense_are_read_from_the_next_replica(serve, path, make_sample, caplog):
    one, two = serve(), serve()
    first, second = one.put(path), two.put(path)
    with uproot.open({path: None}) as file:
        key = file.key("Events")
        start = key.fSeekKey + key.fKeylen
    with one.on_disk("a.root").open("r+b") as stream:
        stream.seek(start + 20)
        stream.write(b"\xa5" * 200)
    sample = make_sample([first], replicas={first: (second,)}, sites={"timeout": PATIENCE})
    assert inspect_file(first, sample, EventOptions().demand(sample)).uuid == uuid_of(path)
    assert f"cannot be decoded as read from {first}" in caplog.text
    assert "another replica is tried" in caplog.text
