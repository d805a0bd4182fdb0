"""Every notebook runs from its first cell to its last, and is stored without what a run leaves in it."""

import json
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIME_LIMIT = 300
"""Seconds a cell; kernels may have to be compiled first."""
ABSOLUTE_PATH = re.compile(r"""["'(\s](?:/(?:home|root|work|Users|tmp|afs|eos|opt|usr|var)/|[A-Z]:\\\\)""")
FONT_CACHE = "building the font cache"
"""Matplotlib says so once on a new machine; nothing else may be written to standard error."""


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def named(path):
    return path.stem


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a notebook with the kernel of this Python, whatever kernels the user has installed."""
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))

    def execute(notebook):
        resources = {"metadata": {"path": str(FOLDER)}}
        client = nbclient.NotebookClient(
            notebook, timeout=TIME_LIMIT, kernel_name="python3", resources=resources
        )
        return client.execute()

    return execute


def texts(notebook, *kinds):
    """What the cells wrote or showed as text: ``stdout``, ``stderr`` or a MIME type."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            shown = {output.name: output.text} if output.output_type == "stream" else output.get("data", {})
            yield from (str(shown[kind]) for kind in kinds if kind in shown)


def warnings(notebook):
    lines = [line for text in texts(notebook, "stderr") for line in text.splitlines() if line.strip()]
    return [line for line in lines if FONT_CACHE not in line]


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_it_runs(path, run):
    done = run(read(path))
    assert not warnings(done)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert list(texts(done, "image/png")), "no figure was drawn"


def test_without_the_cms_file_the_section_says_so(run, monkeypatch):
    monkeypatch.delenv("ODDJET_DATA", raising=False)
    notebook = read(FOLDER / "substructure_validation.ipynb")
    notebook.cells = [cell for cell in notebook.cells if cell.id.startswith(("setup-", "cms-"))]
    done = run(notebook)
    assert not warnings(done)
    (said,) = texts(done, "text/markdown")
    assert "not here" in said
    assert "ODDJET_DATA" in said
    assert not list(texts(done, "image/png"))


def test_a_check_that_fails_fails_the_notebook(run):
    """Its last cell is what makes the execution above a test."""
    notebook = read(FOLDER / "substructure_validation.ipynb")
    last = notebook.cells[-1]
    false = nbformat.v4.new_code_cell("checks = [('this', '2', '1', False)]\ndef table(*_): pass\n")
    notebook.cells = [false, last]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="not as expected: this"):
        run(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_it_is_stored_clean(path):
    notebook = read(path)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert [cell.id for cell in notebook.cells if cell.metadata] == []
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}, "the version of Python is the reader's own"
    paths = [line for line in path.read_text().splitlines() if ABSOLUTE_PATH.search(json.dumps(line))]
    assert not paths


def test_an_absolute_path_is_noticed():
    assert ABSOLUTE_PATH.search('"path = \\"/home/me/data\\""')
    assert ABSOLUTE_PATH.search("open('/tmp/x')")
    assert not ABSOLUTE_PATH.search('"data/mini/samples.yaml", "m / GeV", "3 /usr"')
