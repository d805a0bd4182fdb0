"""Every error of the program names who is to blame and what to do; the page of errors lists them all."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.error_list import PAGE, Site, page, sites
from tests.error_messages import ROOT, words
from tests.errors_elsewhere import ELSEWHERE

# What a message may tell its reader to do, at the beginning of a clause: "…; run it again".
VERBS = (
    r"add|allow|ask|begin|bring|build|change|check|choose|clear|close|convert|copy|correct|"
    r"count|cut|decrease|define|delete|download|drop|enlarge|export|extend|fetch|fill|find|"
    r"fit|free|get|give|histogram|import|include|increase|inject|install|keep|label|leave|"
    r"let|list|load|look|loosen|lower|make|mark|merge|mount|move|name|omit|open|pass|pick|"
    r"place|point|put|raise|read|rebin|remake|remove|rename|repair|repeat|replace|report|"
    r"restore|restrict|run|save|scale|see|send|set|shift|shorten|skim|sort|split|start|stop|"
    r"submit|swap|take|tell|test|train|try|turn|update|upgrade|use|vary|wait|weight|widen|"
    r"write"
)
REMEDY = re.compile(
    r"(?:^|[;:,.(\n]\s*|\b(?:or|and|then|so|first|again)\s+)"
    r"(?:first\s+|do\s+not\s+|only\s+|either\s+)?"
    rf"(?:{VERBS})\b",
    re.IGNORECASE,
)
# Where a message says what is demanded, that is what to do: "must be 'kt' or 'cambridge'".
DEMAND = re.compile(
    r"\bmust\b|\bexpected\b|\bdid you mean\b|\b(?:at least|at most|needs?|lies?|between)\b.*\bfound\b"
    r"|\b(?:known|available|it has|configuration has|signals have|columns here|ready recipes|at one mass|there (?:is|are)"
    r"|(?:selections|folds|methods|keys) are)(?: \w+)?:? '?(?:\{|none)"
    r"|\{\w*(?:remedy|hint)\}|pip install"
)
NAMED = re.compile(r"'[^']+'|`[^`]+`|\b\w+\.\w+|\b\w+_\w+|--\w")
"""A thing called by its name: in quotes, a key of a configuration, an option of the command line."""

# Reasons that become part of a message: who finishes it, told by a part of its text.
COMPLETED = {
    ("models/", "ValueError"): "{source}: {error}; the bundle is damaged: train the method again",
    ("data/", "RemoteError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("processors/", "RemoteError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "NoFileError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "ExistsError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "SilentError"): "cannot be had: {reasons}; see that its server works, or add a replica",
}
# Messages about the machine or the command as a whole: there is nobody to name.
ABOUT_ALL = {
    "root:// addresses and replicas need XRootD's client": "a package that is not installed",
    "the connection to dask's scheduler is lost": "there is one scheduler",
}


def completed(site: Site) -> bool:
    """Whether another place adds file and remedy to the message before anybody reads it."""
    return any(site.file.startswith(where) and site.error == error for where, error in COMPLETED) and (
        not site.checks_section
    )


def lacks(site: Site) -> dict[str, str]:
    """What the messages of a place lack: 'culprit', 'remedy', with the first template that lacks it."""
    if site.passed_on or completed(site):
        return {}
    found = {}
    for template in filter(words, site.templates):
        named = {word for word in re.findall(r"\w+", template) if word in site.known}
        if "{" not in template and not _about_all(template) and not NAMED.search(template) and not named:
            found.setdefault("culprit", template)
        if not (site.passes_ours or REMEDY.search(template) or DEMAND.search(template)):
            found.setdefault("remedy", template)
    return found


def _about_all(template: str) -> bool:
    return any(template.startswith(beginning) for beginning in ABOUT_ALL)


def test_every_message_names_the_culprit_and_the_remedy():
    poor = {
        f"{site.file}:{site.first} lacks a {what}": text
        for site in sites()
        for what, text in lacks(site).items()
    }
    assert not poor


def test_reasons_are_completed_by_a_message_that_is_there():
    templates = {text for site in sites() for text in site.templates}
    lost = {ending for ending in COMPLETED.values() if not any(ending in text for text in templates)}
    assert not lost


def test_messages_about_all_are_there():
    templates = {text for site in sites() for text in site.templates}
    assert not {start for start in ABOUT_ALL if not any(text.startswith(start) for text in templates)}


def test_the_page_of_errors_is_that_of_the_code():
    assert PAGE.read_text() == page(), "make it again: python -m tests.error_list"


def test_what_is_excused_from_tests_is_in_the_code():
    assert not [one for one in ELSEWHERE if sum(one.is_of(site) for site in sites()) != 1]
    assert all(one.why for one in ELSEWHERE)


SOURCE = """
class _WrongError(Exception): ...
TABLE = {"proxy": "make a proxy", "token": "get a token"}
HINT = "run it again"
def hint(flag):
    return "use A" if flag else f"use {flag!r}"
def check(path, kind, values):
    if not values:
        msg = f"{path}: no value; {HINT}"
        raise InputError(msg)
    try:
        pass
    except OddjetError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError:
        raise
    if kind:
        msg = "sum of " + ", ".join(f"{v:g} GeV" for v in values) + f"; {hint(kind)}"
        return ConfigError(msg)
    raise _WrongError
    raise InputError(f"{path.name!r} ({len(values)}): {TABLE[kind]}")
    raise AssertionError
"""


def test_messages_are_read_from_the_source(tmp_path):
    make_toy(tmp_path, SOURCE)
    ask = "from tests.error_list import sites; print([(s.error, *s.templates) for s in sites()])"
    told = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ast.literal_eval(told.stdout) == [
        ("InputError", "{path}: no value; run it again"),
        ("InputError", "{path}: {error}"),
        ("ConfigError", "sum of {v} GeV; use A", "sum of {v} GeV; use {flag}"),
        (
            "InputError",
            "{name} ({number of values}): make a proxy",
            "{name} ({number of values}): get a token",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("the fit failed", {"culprit", "remedy"}),
        ("{path}: the fit failed", {"remedy"}),
        ("'search' is empty; name a sample", set()),
        ("the table is empty; fill it", set()),
        ("a table without rows; fill it", set()),
        ("nothing is there; run it again", {"culprit"}),
        ("{name} must be 1 or 2, found {value}", set()),
        ("{name} is unknown; known: {names}", set()),
        ("{name}: the running of the fit", {"remedy"}),
    ],
)
def test_a_poor_message_is_recognised(text, missing):
    site = Site(
        "analysis/x.py",
        1,
        1,
        "f",
        "InputError",
        (text,),
        frozenset({"table"}),
        checks_section=False,
        passes_ours=False,
    )
    assert set(lacks(site)) == missing


def make_toy(root: Path, source: str) -> None:
    """A small project with one module, and our list and recorder of errors."""
    (root / "data").mkdir()
    (root / "data" / "__init__.py").touch()
    (root / "data" / "toy.py").write_text(source)
    shutil.copy(ROOT / "data" / "errors.py", root / "data")
    (root / "tests").mkdir()
    for path in (ROOT / "tests").glob("error*.py"):
        shutil.copy(path, root / "tests")


REACHED = """
import pydantic
from data.errors import InputError
class Section(pydantic.BaseModel):
    mass: float
    @pydantic.field_validator("mass")
    @classmethod
    def _positive(cls, mass):
        if mass < 0:
            raise ValueError("negative")
        return mass
def read(mass):
    try:
        return Section(mass=mass)
    except pydantic.ValidationError as error:
        raise InputError(f"{mass}: give another") from None
def size(values):
    if not values:
        raise ValueError("empty")
    if len(values) > 9:
        raise ValueError("long")
    return len(values)
"""
CONFTEST = """
from pathlib import Path
from data.errors import OddjetError
from tests.error_list import sites
from tests.error_recorder import Recorder
from tests.errors_elsewhere import Elsewhere

def pytest_configure(config):
    excused = [Elsewhere("data/toy.py", "size", "EXCUSED", None, "why")]
    config.pluginmanager.register(Recorder(config, sites, Path(__file__).parent.parent, OddjetError, excused))
"""
TESTS = """
import pytest
from data.errors import InputError
from data.toy import read, size

def test_read():
    try:
        read(-1)
    except InputError:
        pass

def test_size():
    with pytest.raises(ValueError, match="empty"):
        size([])
"""


@pytest.mark.parametrize(
    ("excused", "skipped", "options", "said"),
    [
        (
            "nothing",
            "needs a GPU",
            ["-p", "xdist", "-n", "1"],
            ["data/toy.py:21 size ValueError 'long': no test reaches it; add one"],
        ),
        ("long", "needs a GPU", [], []),
        ("nothing", "needs a GPU", ["-k", "size"], []),
        (
            "empty",
            "needs xrootd",
            [],
            [
                "data/toy.py:21 size ValueError 'long': no test reaches it; add one",
                "data/toy.py:19 size ValueError 'empty': a test reaches it; take it out of tests/errors_elsewhere.py",
            ],
        ),
    ],
)
def test_a_whole_run_fails_over_errors_that_no_test_reaches(tmp_path, excused, skipped, options, said):
    ran = run_toy(tmp_path, excused, skipped, options)
    assert ran.returncode == (1 if said else 0), ran.stdout
    assert [line for line in ran.stdout.splitlines() if line.startswith("data/toy.py:")] == said


@pytest.mark.parametrize("options", [[], ["-p", "xdist", "-n", "1"]])
@pytest.mark.parametrize("module", ["", "a_module_that_is_missing"])
def test_it_does_not_fail_where_a_test_is_skipped_that_may_reach_them(tmp_path, module, options):
    ran = run_toy(tmp_path, "nothing", "" if module else "needs xrootd", options, module)
    assert ran.returncode == 0, ran.stdout
    assert "data/toy.py:21 size ValueError 'long': no test reaches it; add one" in ran.stdout
    why = f"could not import '{module}'" if module else "needs xrootd"
    assert f"tests that may reach them were skipped: {why}" in ran.stdout


def run_toy(tmp_path, excused, skipped, options, module=""):
    """Run the tests of a small project, one of them skipped for a reason, and those of a module that needs another."""
    make_toy(tmp_path, REACHED)
    (tmp_path / "tests" / "conftest.py").write_text(CONFTEST.replace("EXCUSED", excused))
    skip = f"\n\ndef test_skipped():\n    pytest.skip({skipped!r})\n" if skipped else ""
    (tmp_path / "tests" / "test_toy.py").write_text(TESTS + skip)
    if module:
        (tmp_path / "tests" / "test_more.py").write_text(f"import pytest\npytest.importorskip({module!r})\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\npythonpath = .\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--import-mode=importlib", "-p", "no:cacheprovider", *options],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "ODDJET_DATA": "/", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # it starts faster
        capture_output=True,
        text=True,
    )
