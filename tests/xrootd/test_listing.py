"""Folders and patterns of a sample definition on a server."""

import pytest
import yaml

from data.errors import ConfigError, ReadError
from data.samples import read_samples


@pytest.fixture
def define(tmp_path):
    def read(files, **sites):
        path = tmp_path / "samples.yaml"
        sample = {"kind": "data", "process": "data", "year": "2017", "files": files}
        path.write_text(yaml.safe_dump({"samples": {"mock": sample}, "sites": {"timeout": 30, **sites}}))
        return read_samples(path)["mock"]

    return read


@pytest.fixture
def server(serve, tmp_path):
    server = serve()
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for name in (
        "d/2.root",
        "d/10.root",
        "d/.hidden.root",
        "d/log.txt",
        "d/sub/3.root",
        "e/4.root",
        "e1/x/5.root",
    ):
        server.put(empty, name)
    return server


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("d/", ["d/10.root", "d/2.root"]),
        ("d/*", ["d/10.root", "d/2.root", "d/log.txt"]),
        ("*/[0-9].root", ["d/2.root", "e/4.root"]),
        ("e*/[w-z]/*.root", ["e1/x/5.root"]),
    ],
)
def test_folders_and_patterns(server, define, pattern, found):
    assert list(define({server.address(pattern): None}).files) == [server.address(name) for name in found]


def test_a_server_of_ipv6_lists_its_folders(server, define):
    address = server.address("d/").replace("127.0.0.1", "[::1]")
    try:
        files = define({address: None}).files
    except ReadError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    assert list(files) == [address + "10.root", address + "2.root"]


def test_replicas_of_a_folder_keep_the_names(server, define):
    sample = define({server.address("d/"): {"replicas": ["root://other//place/"]}})
    assert sample.replicas[server.address("d/2.root")] == ("root://other//place/2.root",)


def test_a_mirror_lists_where_the_server_is_down(server, serve, define):
    other = serve()
    other.stop()
    sample = define({other.address("d/"): None}, mirrors=[server.address().removesuffix("/store/")])
    assert list(sample.files) == [other.address("d/10.root"), other.address("d/2.root")]
    assert sample.access(other.address("d/2.root")).addresses[1] == server.address("d/2.root")


@pytest.mark.parametrize("pattern", ["none/", "d/*.txt.root"])
def test_nothing_found(server, define, pattern):
    with pytest.raises((ConfigError, ReadError), match=r"matches no file|no such file or directory"):
        define({server.address(pattern): None})


def test_a_server_that_does_not_list(define, silent_server):
    with pytest.raises(
        ReadError, match=r"d/\*\.root' cannot be listed .*no answer within 2 s\); see that the server"
    ):
        define({silent_server + "/store/d/": None}, timeout=2)
