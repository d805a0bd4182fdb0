"""Notebooks as Markdown: their text and code, without outputs."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.files import read_json


def as_markdown(path: Path) -> str:
    """Text and code of a notebook, cell by cell.

    Parameters
    ----------
    path
        The notebook.

    Returns
    -------
    str
        Markdown; code stands in fences.
    """
    return "\n\n".join(_cells(read_json(path)))


def _cells(notebook: Any) -> Iterable[str]:
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).strip()
        if text:
            yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
