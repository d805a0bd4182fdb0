"""What the names of a sample definition stand for."""

import pytest
import yaml

from data.errors import ConfigError
from data.samples import Access, read_samples
from data.xrootd import host_of, hostid_of, is_blocked, path_of, server_of

FIRST = "root://one.site.org//store/a.root"


@pytest.fixture
def define(tmp_path):
    """Read a definition whose one sample has the files given, beside a few empty files."""
    for name in (
        "a.root",
        "b.root",
        "deep/er/c.root",
        "deep/d.root",
        "deep/notes.txt",
        "deep/.e.root",
        "[f].root",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")

    def read(files, **more):
        path = tmp_path / "samples.yaml"
        sample = {"kind": "data", "process": "data", "year": "2017", "files": files}
        path.write_text(yaml.safe_dump({"samples": {"mock": sample}, **more}))
        return read_samples(path)["mock"]

    return read


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("*.root", ["[f].root", "a.root", "b.root"]),
        ("deep/", ["deep/d.root"]),
        ("deep/**/*.root", ["deep/d.root", "deep/er/c.root"]),
        ("[ab].root", ["a.root", "b.root"]),
        ("[f].root", ["[f].root"]),  # a file of that very name
        ("{}/?.root", ["a.root", "b.root"]),
    ],
)
def test_patterns_and_folders(define, tmp_path, name, found):
    sample = define({name.format(tmp_path): None})
    assert list(sample.files) == sorted(str(tmp_path / file) for file in found)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"*.txt": None}, r"sample 'mock': '\*\.txt' matches no file"),
        ({"deep/er/": 10}, "'deep/er/' stands for any number of files, which have no one number"),
        (
            {"a.root": None, "*.root": None},
            r"a\.root' is named twice, the second time by 'a.root'; an event counts",
        ),
        ({"http://host/*.root": None}, "only root:// folders can be listed"),
        (
            {"a.root": {"entires": 3}},
            r"unknown key 'samples\.mock\.files\.a\.root\.entires'; did you mean 'entries'",
        ),
        (
            {FIRST: {"replicas": ["root://b//*.root"]}},
            r"replica 'root://b//\*\.root' is a pattern; name a file",
        ),
    ],
)
def test_wrong_names(define, files, message):
    with pytest.raises(ConfigError, match=message):
        define(files)


def test_replicas_and_mirrors_are_further_addresses(define, tmp_path):
    files = {
        FIRST: {"entries": 5, "replicas": ["root://two//copy/of.root", "root://three//folder/", "a.root"]},
        "b.root": None,
    }
    sample = define(files, sites={"mirrors": ["root://mirror:99/", "root://one.site.org/"], "timeout": 7})
    assert sample.files == {FIRST: 5, str(tmp_path / "b.root"): None}
    assert sample.access(FIRST) == Access(
        (
            FIRST,
            "root://two//copy/of.root",
            "root://three//folder/a.root",
            str(tmp_path / "a.root"),
            "root://mirror:99//store/a.root",
        ),
        (),
        7,
    )
    assert sample.access(str(tmp_path / "b.root")).addresses == (str(tmp_path / "b.root"),)


def test_blocked_sites(define):
    files = {FIRST: {"replicas": ["root://TWO.other.org//a.root"]}}
    sample = define(files, sites={"blocked": ["*.site.org"]})
    assert sample.access(FIRST).addresses == ("root://TWO.other.org//a.root",)
    with pytest.raises(ConfigError, match=f"every site that has '{FIRST}' is blocked by sites.blocked"):
        define(files, sites={"blocked": ["*.ORG"]})


def test_mirrors_are_servers(define):
    with pytest.raises(
        ConfigError, match=r"key 'sites\.mirrors': 'root://m//store' is no server; write it as root://"
    ):
        define({FIRST: None}, sites={"mirrors": ["root://m//store"]})


def test_parts_of_addresses():
    address = "root://user@host.org:99//store/a b.root?tried=x"
    assert (host_of(address), hostid_of(address)) == ("host.org", "host.org:99")
    assert (server_of(address), path_of(address)) == ("root://user@host.org:99/", "/store/a b.root")
    assert hostid_of("root://host.org//a") == "host.org:1094"
    assert is_blocked("HOST.org:1094", ["*.org"])
    assert not is_blocked("root://host.org//a.site.com", ["*.com"])
