"""Notebooks as Markdown: their text and code, without outputs."""

import re
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


def index_of(paths: Iterable[Path]) -> str:
    """A page that names notebooks, with their titles and the sentence below.

    Parameters
    ----------
    paths
        The notebooks, which are linked by their names.

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "# Notebooks",
        "Text and code; run them in Jupyter with the kernel of `.venv` to see their plots.",
    ]
    for path in paths:
        blocks = as_markdown(path).split("\n\n")
        title = blocks[0].splitlines()[0].removeprefix("# ")
        rest = blocks[0].splitlines()[1:] or (blocks[1].splitlines() if len(blocks) > 1 else [])
        words = re.split(r"(?<=[.?!]) ", " ".join(line.strip() for line in rest).strip())[0]
        about = "" if words.startswith("```") else f": {words}"
        lines.append(f"- [{title}]({path.name}){about}")
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n"


def _cells(notebook: Any) -> Iterable[str]:
    for cell in notebook["cells"]:
        text = "".join(cell["source"]).strip()
        if text:
            yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
