"""The API reference and all pages as one folder of HTML that needs no network.

``make docs`` runs ``python -m analysis.reference output/docs`` in a clone, where pdoc is installed. The README is the front
page; every other page, and each notebook, is one of ``pages/``.
"""

import importlib
import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pdoc
import pdoc.render
from pdoc.extract import walk_specs
from pdoc.render_helpers import to_html

from analysis.notebook_pages import as_markdown
from data.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data", "models", "processors", "analysis", "condor")
FRONT = "README.md"
NOTEBOOKS = "notebooks"
INDEX = f"{NOTEBOOKS}/README.md"
"""The page that lists the notebooks."""
_TEMPLATES = Path(__file__).with_name("reference_pages")
_INHERITED = "Error parsing type annotation Recipe for "
"""A field that is inherited: pdoc looks for its class beside the heir, and not where type checkers are told of it."""
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?P<before>(?:href|src)=\")(?P<target>[^\"#:]+)(?P<anchor>#[^\"]*)?\"")


def page_texts() -> dict[str, str]:
    """All pages of the clone.

    Returns
    -------
    dict
        Path from the top of the clone to Markdown, the front page first.
    """
    top = [ROOT / FRONT, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    beside = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.md"))
    pages = [*top, *beside, ROOT / INDEX]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in pages}
    notebooks = sorted((ROOT / NOTEBOOKS).glob("*.ipynb"))
    return texts | {str(path.relative_to(ROOT)): as_markdown(path) for path in notebooks}


def public_modules(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Names of packages and of all modules inside them, without those that begin with an underscore."""
    found = [path.relative_to(ROOT) for name in packages for path in (ROOT / name).rglob("*.py")]
    parts = [path.parts[:-1] if path.name == "__init__.py" else path.with_suffix("").parts for path in found]
    return sorted(".".join(names) for names in parts if not any(name.startswith("_") for name in names))


def place_of(page: str) -> str:
    """Where a page goes, relative to the folder.

    Parameters
    ----------
    page
        Path from the top of the clone.
    """
    if page == FRONT:
        return "index.html"
    return f"pages/{page.replace('/', '-').rpartition('.')[0]}.html"


class Reference:
    """The folder while it is written.

    Parameters
    ----------
    folder
        Where to; emptied first.
    packages
        Those that are described.
    """

    def __init__(self, folder: Path, packages: Sequence[str] = PACKAGES) -> None:
        self.folder = folder
        self.packages = tuple(packages)
        self.texts = page_texts()

    def write(self) -> None:
        """Write everything.

        Raises
        ------
        ConfigError
            If a package is unknown, or the folder holds what is no reference.
        """
        unknown = [name for name in self.packages if name not in PACKAGES]
        if unknown:
            msg = f"'{unknown[0]}' is no package of oddjet; choose among {', '.join(PACKAGES)}"
            raise ConfigError(msg)
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / "search.js").is_file():
            msg = f"{self.folder} holds other files; give a new folder for the reference"
            raise ConfigError(msg)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        pages = {page: self._title(page) for page in self.texts}
        links = [(place_of(page), title) for page, title in pages.items() if not page.endswith(".ipynb")]
        pdoc.render.configure(docformat="numpy", show_source=False, template_directory=_TEMPLATES)
        pdoc.render.env.globals |= {"pages": links, "front": self._html(FRONT, self.texts[FRONT])}
        self._packages()
        template = pdoc.render.env.get_template("page.html.jinja2")
        for page, text in self.texts.items():
            if page != FRONT:
                html = template.render(title=pages[page], body=self._html(page, text))
                self._put(place_of(page), html)

    def _title(self, page: str) -> str:
        found = _TITLE.search(self.texts[page])
        return found.group(1).replace("`", "") if found else page

    def _packages(self) -> None:
        """What pdoc makes of the docstrings; a name that it cannot find is an error."""
        os.environ["PDOC_ALLOW_EXEC"] = "1"  # a library asks for the processor when it is imported
        for package in self.packages:
            module = importlib.import_module(package)
            for name in getattr(module, "__all__", ()):
                setattr(module, name, getattr(module, name))  # those that are imported when asked for
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=UserWarning, module=r"pdoc\.")
            warnings.filterwarnings("ignore", message=_INHERITED, category=UserWarning)
            pdoc.pdoc(*self._specifications(), output_directory=self.folder)
        for package in self.packages:
            path = self.folder / f"{package}.html"
            html = self._linked(path.read_text(encoding="utf-8"), Path(package), path.name)
            path.write_text(html, encoding="utf-8")

    def _specifications(self) -> list[str]:
        """The packages, and those of their modules that pdoc leaves out because ``__all__`` does not name them."""
        chosen, walked = [], set[str]()
        for name in [*self.packages, *public_modules(self.packages)]:
            if name not in walked:
                chosen.append(name)
                walked |= set(walk_specs([name]))
        return chosen

    def _html(self, page: str, text: str) -> str:
        return self._linked(str(to_html(text)), Path(page).parent, place_of(page))

    def _linked(self, html: str, source: Path, place: str) -> str:
        """HTML whose links from a folder of the clone lead to where things are in this one."""
        up = "../" * place.count("/")

        def link(match: re.Match[str]) -> str:
            target = os.path.normpath(source / match["target"])
            anchor = match["anchor"] or ""
            target = INDEX if target == NOTEBOOKS else target
            if target in self.texts:
                return f'{match["before"]}{up}{place_of(target)}{anchor}"'
            if (ROOT / target).is_file() and not target.endswith(".html"):
                (self.folder / "files" / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / target, self.folder / "files" / target)
                return f'{match["before"]}{up}files/{target}{anchor}"'
            return match[0]

        return _LINK.sub(link, html)

    def _put(self, place: str, html: str) -> None:
        path = self.folder / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(html, encoding="utf-8")


if __name__ == "__main__":
    Reference(Path(sys.argv[1]), sys.argv[2:] or PACKAGES).write()
