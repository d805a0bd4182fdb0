"""The installed oddjet as a wheel: jobs run the very code that submits them."""

import base64
import hashlib
import importlib.metadata
import shutil
import subprocess
import zipfile
from pathlib import Path

from data.files import atomic_path

PACKAGES = ("analysis", "condor", "data", "models", "processors")
_LEFT_OUT = frozenset(
    {"__pycache__", "mini"}
)  # caches, and the shipped sample: jobs read the files they are told
_EPOCH = (1980, 1, 1, 0, 0, 0)
COMMIT = "COMMIT"


def commit() -> str:
    """The commit that the code is of: ``…+changes`` where a tracked file differs, ``unknown`` outside a clone."""
    shipped = importlib.metadata.distribution("oddjet").read_text(COMMIT)
    if shipped:
        return shipped.strip()
    root = _root()
    head = _head(root / ".git")
    if head is None:
        return "unknown"
    git = shutil.which("git")
    if git is None:
        return head
    command = [git, "-c", f"safe.directory={root}", "-C", str(root), "status", "--porcelain", "-uno"]
    status = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return f"{head}+changes" if status.stdout.strip() else head


def _root() -> Path:
    return Path(__file__).resolve().parent.parent


def _head(git: Path) -> str | None:
    """Commit of a clone, read without git: submit machines may lack it."""
    if not (git / "HEAD").is_file():
        return None
    text = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not text.startswith("ref: "):
        return text
    name = text.removeprefix("ref: ")
    if (git / name).is_file():
        return (git / name).read_text(encoding="utf-8").strip()
    packed = git / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), None)


def write_wheel(folder: Path) -> Path:
    """Write the running code as a wheel.

    Parameters
    ----------
    folder
        Where it goes; made where it is missing.

    Returns
    -------
    Path
        The wheel; its build tag is the commit, its bytes depend on the code alone.
    """
    version = importlib.metadata.version("oddjet")
    tag = "".join(character for character in commit() if character.isalnum())
    path = folder / f"oddjet-{version}-0g{tag[:12]}-py3-none-any.whl"
    metadata = f"oddjet-{version}.dist-info"
    contents = {name: file.read_bytes() for name, file in _sources().items()}
    about = importlib.metadata.distribution("oddjet")
    contents[f"{metadata}/METADATA"] = (about.read_text("METADATA") or "").encode()
    contents[f"{metadata}/entry_points.txt"] = (about.read_text("entry_points.txt") or "").encode()
    contents[f"{metadata}/{COMMIT}"] = f"{commit()}\n".encode()
    contents[f"{metadata}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: oddjet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        + f"Build: 0g{tag[:12]}\n".encode()
    )
    record = "".join(f"{name},{_digest(content)},{len(content)}\n" for name, content in contents.items())
    contents[f"{metadata}/RECORD"] = f"{record}{metadata}/RECORD,,\n".encode()
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return path


def _sources() -> dict[str, Path]:
    """Files of the packages by their names in the wheel."""
    root = _root()
    return {
        str(path.relative_to(root)): path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.is_file() and _LEFT_OUT.isdisjoint(path.relative_to(root).parts)
    }


def _digest(content: bytes) -> str:
    code = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={code}"
