"""The Markdown pages: their links lead somewhere, their commands and configuration keys exist."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from analysis.cli import app
from analysis.config import Config

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path for path in ROOT.glob("**/*.md") if not {".venv", "output", "node_modules"} & set(path.parts)
)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
INLINE = re.compile(r"`oddjet ([a-z]+)")
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^\S*oddjet ([a-z]+)", re.MULTILINE)
FENCED = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def named(path):
    return str(path.relative_to(ROOT))


def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.lower()) for head in heads]
    return {head.strip().replace(" ", "-") for head in plain}


def commands():
    return set(typer.main.get_command(app).commands)


def test_there_are_pages():
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= set(map(named, PAGES))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path):
    lost = []
    for one, other in LINK.findall(path.read_text()):
        target, _, anchor = (one or other).partition("#")
        if "://" in target:
            continue
        page = (path.parent / target).resolve() if target else path
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            lost.append(one or other)
    assert lost == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_commands_exist(path):
    text = path.read_text()
    found = set(INLINE.findall(text)) | {
        name for block in CONSOLE.findall(text) for name in LINE.findall(block)
    }
    assert found - commands() == set()


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "condor" / "grid.md"], ids=named)
def test_sections_of_configurations_exist(path):
    """Blocks of a configuration have keys that a configuration knows; the values are parsed by tests of their own."""
    blocks = [yaml.safe_load(text) for text in FENCED.findall(path.read_text())]
    unknown = {key for block in blocks for key in block} - set(Config.model_fields) - {"sites"}
    assert blocks
    assert unknown == set()
