"""Every notebook runs from its first cell to its last, and is stored without what a run leaves in it."""

import json
import re
from pathlib import Path
from unittest.mock import Mock

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
ELSEWHERE = {"methods_lhco", "own_method", "quickstart", "sculpting"}
"""Executed by `test_notebooks_of_methods`."""
ABSOLUTE_PATH = re.compile(r"""["'(\s](?:/(?:home|root|work|Users|tmp|afs|eos|opt|usr|var)/|[A-Z]:\\\\)""")


def test_there_are_notebooks():
    assert NAMES
    assert set(NAMES) > ELSEWHERE


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_it_runs(name, notebooks):
    notebooks.runs(name)


def test_without_the_cms_file_the_section_says_so(notebooks, monkeypatch):
    monkeypatch.delenv("ODDJET_DATA", raising=False)
    notebook = notebooks.read("substructure_validation")
    notebook.cells = [cell for cell in notebook.cells if cell.id.startswith(("setup-", "cms-"))]
    done = notebooks.run(notebook)
    assert not notebooks.warnings(done)
    (said,) = notebooks.texts(done, "text/markdown")
    assert "not here" in said
    assert "ODDJET_DATA" in said
    assert not list(notebooks.texts(done, "image/png"))


@pytest.mark.parametrize("name", NAMES)
def test_a_check_that_fails_fails_the_notebook(name, notebooks):
    """Its last cell is what makes the execution above a test."""
    last = notebooks.read(name).cells[-1]
    told = {"checks": [("this", "2", "1", False)], "table": Mock(), "SCRATCH": Mock()}
    with pytest.raises(ValueError, match="not as expected: this"):
        exec(last.source, told)  # noqa: S102


def test_an_error_in_a_cell_is_an_error_of_the_notebook(notebooks):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise ValueError('found it')")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="found it"):
        notebooks.run(notebook)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_stored_clean(name, notebooks):
    notebook = notebooks.read(name)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}, "the version of Python is the reader's own"
    text = (FOLDER / f"{name}.ipynb").read_text()
    assert not [line for line in text.splitlines() if ABSOLUTE_PATH.search(json.dumps(line))]


def test_the_index_names_every_notebook_once():
    rows = [line for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("| [")]
    listed = [re.match(r"\| \[(\w+)\]\((\w+)\.ipynb\)", row).groups() for row in rows]
    assert sorted(name for name, _ in listed) == NAMES
    assert all(name == file for name, file in listed)


@pytest.mark.parametrize("name", NAMES)
def test_its_links_lead_somewhere(name, notebooks):
    prose = "\n".join(cell.source for cell in notebooks.read(name).cells if cell.cell_type == "markdown")
    linked = [target for target in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in target]
    assert [target for target in linked if not (FOLDER / target).is_file()] == []


def test_an_absolute_path_is_noticed():
    assert ABSOLUTE_PATH.search('"path = \\"/home/me/data\\""')
    assert ABSOLUTE_PATH.search("open('/tmp/x')")
    assert not ABSOLUTE_PATH.search('"data/mini/samples.yaml", "m / GeV", "3 /usr"')
