"""The API reference: every page and public module is there, no link leads nowhere, and nothing comes from the network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.notebook_pages import as_markdown
from analysis.reference import PACKAGES, ROOT, Reference, page_texts, place_of, public_modules
from data.errors import ConfigError
from data.files import write_json


def build(folder, *packages):
    """As `make docs`, in a process of its own: pdoc changes what imports may do."""
    done = subprocess.run(
        [sys.executable, "-m", "analysis.reference", str(folder), *packages],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr
    return folder


def check(folder, packages):
    pages = {place_of(page) for page in page_texts()}
    modules = {f"{name.replace('.', '/')}.html" for name in public_modules(packages)}
    written = {str(path.relative_to(folder)) for path in folder.rglob("*.html")}
    assert written == pages | modules
    outside = {place.removesuffix(".html") for place in (*PACKAGES,)} - set(packages)
    for place in written:
        html = (folder / place).read_text()
        assert not re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"https?:", html), place
        for target in re.findall(r"(?:href|src)=\"([^\"#:]+)", html):
            path = (folder / place).parent / target
            if target.endswith((".html", ".png", ".md", ".ipynb")) and path.stem not in outside:
                assert path.exists(), (place, target)
    return written


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return build(tmp_path_factory.mktemp("docs") / "docs", "condor")


def test_pages_and_modules_of_a_package_are_there(reference):
    check(reference, ["condor"])


def test_the_readme_is_the_front_page_and_leads_to_all_others(reference):
    front = (reference / "index.html").read_text()
    assert "searches for a heavy resonance" in front
    for place in (
        "CONTRIBUTING",
        "CHANGELOG",
        "models-which_method",
        "analysis-statistics",
        "notebooks-README",
    ):
        assert f'href="pages/{place}.html"' in front
    assert '<img src="files/notebooks/images/demo_limits.png"' in front
    notebooks = (reference / "pages" / "notebooks-README.html").read_text()
    assert 'href="../pages/notebooks-substructure_validation.html"' in notebooks
    rows = re.findall(r"<td><a href=\"\.\./pages/notebooks-(\w+)\.html\">", notebooks)
    assert rows == re.findall(
        r"^\| \[\w+\]\((\w+)\.ipynb\)", (ROOT / "notebooks" / "README.md").read_text(), re.MULTILINE
    )


def test_docstrings_of_numpydoc_are_understood(reference):
    page = (reference / "condor" / "profile.html").read_text()
    assert re.search(r"<h6[^>]*>Raises</h6>", page)
    assert "Site profiles: what a pool wants in its submit files, as data." in page


def test_wrong_folders_and_packages_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'condors' is no package of oddjet; choose among data, models"):
        Reference(tmp_path / "docs", ["condors"]).write()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="holds other files; give a new folder for the reference"):
        Reference(tmp_path, ["condor"]).write()
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.slow
def test_the_whole_reference(tmp_path):
    written = check(build(tmp_path / "docs"), PACKAGES)
    assert len(written) > 250
    assert "discrete profiling" in (tmp_path / "docs" / "analysis.html").read_text()
    assert "the data label themselves" in Path(tmp_path / "docs" / "models.html").read_text()


def test_formulas_of_notebooks_come_through_as_they_are_written(tmp_path):
    cells = [
        ("markdown", "With $q_0$ and $\\hat N$:\n\n$$a_1\\\\\nb_2$$\n\n```console\n$ oddjet run $HOME\n```"),
        ("code", "price = '$5 and $6'"),
    ]
    write_json(
        tmp_path / "n.ipynb", {"cells": [{"cell_type": kind, "source": [text]} for kind, text in cells]}
    )
    assert as_markdown(tmp_path / "n.ipynb") == (
        "With `q_0` and `\\hat N`:\n\n\n```latex\na_1\\\\\nb_2\n```\n\n\n"
        "```console\n$ oddjet run $HOME\n```\n\n```python\nprice = '$5 and $6'\n```"
    )
