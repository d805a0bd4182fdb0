"""How the tests execute a notebook, and what they demand of one that ran."""

from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
TIME_LIMIT = 300
"""Seconds a cell; kernels may have to be compiled first."""
FONT_CACHE = "building the font cache"
"""Matplotlib says so once on a new machine; nothing else may be written to standard error."""
NOT_HERE = "not here, so"
"""What a notebook says of data that do not ship with oddjet."""


class Notebooks:
    """Reads and executes notebooks with the kernel of this Python, whatever kernels the user has installed."""

    folder = FOLDER

    def read(self, name):
        return nbformat.read(self.folder / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)

    def run(self, notebook):
        resources = {"metadata": {"path": str(self.folder)}}
        client = nbclient.NotebookClient(
            notebook, timeout=TIME_LIMIT, kernel_name="python3", resources=resources
        )
        return client.execute()

    def texts(self, notebook, *kinds):
        """What the cells wrote or showed as text: ``stdout``, ``stderr`` or a MIME type."""
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                shown = (
                    {output.name: output.text} if output.output_type == "stream" else output.get("data", {})
                )
                yield from (str(shown[kind]) for kind in kinds if kind in shown)

    def warnings(self, notebook):
        lines = [
            line for text in self.texts(notebook, "stderr") for line in text.splitlines() if line.strip()
        ]
        return [line for line in lines if FONT_CACHE not in line]

    def without_data(self, notebook):
        """Where the notebook says that it lacks data."""
        return [text for text in self.texts(notebook, "text/markdown") if NOT_HERE in text]

    def runs(self, name):
        """Execute a notebook from its first cell to its last, without a warning."""
        done = self.run(self.read(name))
        assert not self.warnings(done)
        assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
        drawn = list(self.texts(done, "image/png"))
        assert drawn or self.without_data(done), "no figure was drawn"


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    return Notebooks()
