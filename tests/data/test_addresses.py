"""What the names of a sample definition stand for."""

from types import SimpleNamespace

import pytest
import yaml

from data import xrootd
from data.errors import ConfigError
from data.samples import Access, read_samples
from data.xrootd import RemoteError, ask, host_of, hostid_of, is_blocked, path_of, server_of, without_port

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

    def read(files, name="mock", **more):
        path = tmp_path / "samples.yaml"
        sample = {"kind": "data", "process": "data", "year": "2017", "files": files}
        path.write_text(yaml.safe_dump({"samples": {name: sample}, **more}))
        return read_samples(path)[name]

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
            r"a\.root' is named twice, the second time by 'a.root', an event counts once; remove",
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


@pytest.mark.parametrize(
    ("address", "host", "hostid", "bare"),
    [
        ("root://[2001:db8::1]:99//a", "2001:db8::1", "[2001:db8::1]:99", "[2001:db8::1]"),
        ("root://me@[2001:db8::1]//a:b", "2001:db8::1", "[2001:db8::1]:1094", "[2001:db8::1]"),
        ("[::1]:1095", "::1", "[::1]:1095", "[::1]"),
        ("https://host.org:8443/a", "host.org", "host.org:8443", "host.org"),
        ("/store/a:b@c.root", "", ":1094", ""),
    ],
)
def test_hosts_in_numbers(address, host, hostid, bare):
    assert (host_of(address), hostid_of(address), without_port(address)) == (host, hostid, bare)


def test_a_server_in_numbers_is_no_pattern(define):
    files = {"root://[2001:db8::1]:99//a.root": {"replicas": ["root://[2001:db8::2]//b/"]}}
    sample = define(files, sites={"mirrors": ["root://[2001:db8::3]/"]})
    assert sample.access("root://[2001:db8::1]:99//a.root").addresses == (
        "root://[2001:db8::1]:99//a.root",
        "root://[2001:db8::2]//b/a.root",
        "root://[2001:db8::3]//a.root",
    )


@pytest.mark.parametrize(
    ("address", "blocked", "pattern"),
    [
        ("root://[2001:DB8::1]:99//a", True, "2001:db8:*"),
        ("root://[2001:db8:0:0::1]//a", True, "2001:db8::1"),
        ("root://[2001:db8::1]//a", False, "2001"),
        ("[::ffff:192.0.2.7]:1094", True, "192.0.2.*"),  # both are how XRootD writes IPv4
        ("[::192.0.2.7]:1094", True, "192.0.2.7"),
        ("[::ffff:c000:207]:1094", True, "192.0.2.7"),
        ("192.0.2.70:1094", False, "192.0.2.7"),
    ],
)
def test_blocked_hosts_in_numbers(address, blocked, pattern):
    assert is_blocked(address, [pattern]) is blocked


@pytest.fixture
def look_up(monkeypatch):
    """A directory of names by number: the numbers that were asked for, and the names to be filled in."""
    asked, names = [], {}

    def answer(number):
        asked.append(number)
        if number not in names:
            raise OSError(2, "host name lookup failure")
        return names[number], ["alias.org"], [number]

    for cached in (xrootd._looked_up, xrootd._warn_of_nameless):
        cached.cache_clear()
    monkeypatch.setattr("socket.gethostbyaddr", answer)
    yield asked, names
    for cached in (xrootd._looked_up, xrootd._warn_of_nameless):
        cached.cache_clear()


def test_hosts_in_numbers_do_not_escape_patterns_of_names(look_up):
    asked, names = look_up
    names["192.0.2.7"] = "One.Site.org"
    assert not is_blocked("192.0.2.7:1094", ["192.0.3.*", "2001:db8:*"])
    assert asked == []  # nobody waits for a name that no pattern is about
    assert is_blocked("192.0.2.7:1094", ["*.site.org"])
    assert is_blocked("root://192.0.2.7//a", ["alias.*"])
    assert not is_blocked("192.0.2.7:1094", ["*.other.org"])
    assert asked == ["192.0.2.7"]


def test_a_name_that_could_not_be_looked_up_is_looked_up_again(look_up, caplog):
    asked, names = look_up
    for _ in range(2):
        assert not is_blocked("[2001:db8::2]:1094", ["*.site.org"])
    assert caplog.text.count("2001:db8::2 has no name that sites.blocked could match") == 1
    names["2001:db8::2"] = "two.site.org"
    assert is_blocked("[2001:db8::2]:1094", ["*.site.org"])
    assert asked == ["2001:db8::2"] * 3


def test_an_answer_in_part_is_no_answer():
    partial = SimpleNamespace(ok=True, code=3, errno=0, message="[SUCCESS] ")
    with pytest.raises(RemoteError, match="root://r//d/: not all servers of it answered"):
        ask("root://r//d/", lambda timeout: (partial, ["a.root"]), timeout=1)


@pytest.mark.parametrize(
    "pattern", ["root://a.org", "a.org:1094", "[2001:db8::1]", "[2001:db8::1]:99", "a.org/", ""]
)
def test_what_is_no_host_is_no_blocked_site(define, pattern):
    with pytest.raises(
        ConfigError, match=r"key 'sites\.blocked': '.*' is no host; write it without scheme, port"
    ):
        define({FIRST: None}, sites={"blocked": [pattern]})


@pytest.mark.parametrize("name", ["..", "a/b", "/a", "a b", ".a", "-x", "", "é", "a\n"])
def test_names_of_samples_are_names_of_folders(define, name):
    with pytest.raises(ConfigError, match="its name becomes that of folders and jobs; use letters, digits"):
        define({"a.root": None}, name)
    assert define({"a.root": None}, "TT_2017.v9+ext-1").name == "TT_2017.v9+ext-1"


@pytest.mark.parametrize(
    "files",
    [
        {
            FIRST: {"replicas": ["root://two//x.root"]},
            "root://one//b.root": {"replicas": ["root://two//x.root"]},
        },
        {FIRST: {"replicas": ["root://one//b.root"]}, "root://one//b.root": None},
        {FIRST: {"replicas": ["a.root"]}, "a.root": None},
    ],
)
def test_an_address_stands_for_one_file(define, files):
    with pytest.raises(
        ConfigError, match=r"sample 'mock': '.*' stands for two files, '.*' and '.*'; correct the"
    ):
        define(files)
