"""Notebooks as Markdown: their text and code, without outputs."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.files import read_json

_DISPLAYED = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"\$([^$]+)\$")


def as_markdown(path: Path) -> str:
    """Text and code of a notebook, cell by cell.

    Formulas stay LaTeX, as code: Markdown would take their backslashes and underscores for its own, and what draws
    them in Jupyter needs a network.

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
            yield _with_formulas(text) if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"


def _with_formulas(text: str) -> str:
    fenced = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    for place in range(0, len(fenced), 2):  # what stands between is code already
        displayed = _DISPLAYED.sub(lambda found: f"\n```latex\n{found[1].strip()}\n```\n", fenced[place])
        parts = re.split(r"(^```.*?^```)", displayed, flags=re.MULTILINE | re.DOTALL)
        parts[::2] = [_INLINE.sub(r"`\1`", part) for part in parts[::2]]
        fenced[place] = "".join(parts)
    return "".join(fenced)
