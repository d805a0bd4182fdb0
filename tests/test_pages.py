"""The pages beside the code say what the code does: methods, formulas, defaults, links."""

import pkgutil
import re
from pathlib import Path

import pytest

import models
from analysis import functions
from analysis.bias_config import BiasConfig
from analysis.config import ScanSection
from analysis.limit_config import LimitConfig

ROOT = Path(__file__).resolve().parent.parent
METHODS = (ROOT / "models" / "which_method.md").read_text()
STATISTICS = (ROOT / "analysis" / "statistics.md").read_text()
PAGES = sorted(
    [*ROOT.glob("*.md"), *(path for name in ("analysis", "condor", "models", "processors") for path in (ROOT / name).glob("*.md"))]
)  # fmt: skip
SECTIONS = {"scan": ScanSection, "limits": LimitConfig, "bias": BiasConfig}


def rows(text, heading):
    """Cells of the table below a line that begins so."""
    table = text[text.index(heading) :].split("\n\n")[0].splitlines()[2:]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table
    ]


def test_methods_are_compared_as_they_are():
    table = rows(METHODS, "| method | learns from")
    assert [name.strip("`") for name, *_ in table] != []
    assert {name.strip("`") for name, *_ in table} <= set(models.available())
    for name, _, needs, flat, *_ in table:
        method = models.describe(name.strip("`"))
        assert (flat == "yes") is method.flat, name
        if method.family != "combination":
            tables = {key for key, needed in method.takes.items() if needed}
            helping = set(method.takes) - tables
            assert set(re.findall(r"(?<!\()`(\w+)`", needs)) == tables, name
            assert set(re.findall(r"\(`(\w+)`\)", needs)) == helping, name


def test_no_method_is_named_that_is_not_there():
    beside = {name for line in re.findall(r"^[-|].*$", METHODS, flags=re.MULTILINE) for name in re.findall(r"`([a-z_\d]+)`", line)}  # fmt: skip
    tables = {"signal", "background", "wide"}
    assert beside - tables <= set(models.available())


def test_formulas_are_those_of_the_functions():
    page = dict(re.findall(r"^(\w+) {2,}(.+)$", STATISTICS, flags=re.MULTILINE))
    for name in functions.available():
        written = page[name].removeprefix("p0 ")
        expected = functions.get(name).formula
        if name == "dijet6":
            expected = expected.split(" · ")[0] + " · dijet4"
        assert written == expected, name


def default_of(key):
    section, _, name = key.partition(".")
    if section in SECTIONS:
        return SECTIONS[section].model_fields[name].default
    return pkgutil.resolve_name(key)


@pytest.mark.parametrize(("key", "written"), rows(STATISTICS, "| key | default |"))
def test_numbers_are_the_defaults(key, written):
    default = default_of(key.strip("`"))
    words = written.removesuffix(" GeV").split(", ")
    values = list(default) if isinstance(default, tuple) else [default]
    assert [word if isinstance(value, str | bool) else float(word) for word, value in zip(words, values, strict=True)] == [
        str(value) if isinstance(value, bool) else value for value in values
    ]  # fmt: skip


def anchors(page):
    """Headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_modules_of_pages_are_there(page):
    text = page.read_text()
    for link in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    ):
        if not link.startswith("http"):
            path, _, heading = link.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), link
            assert not heading or heading in anchors(linked), link
    for name in re.findall(r"`((?:analysis|condor|data|models|processors)(?:\.\w+)+)`", text):
        if not name.endswith((".py", ".md", ".yaml", ".json")):
            pkgutil.resolve_name(name)
