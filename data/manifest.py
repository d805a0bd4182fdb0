"""The record of a stage: what went in, what came out, how many entries, by which code and configuration."""

import functools
import importlib.metadata
from pathlib import Path

from data.errors import OddjetError
from data.files import hash_json, read_json, sha256_file, write_json
from data.sections import Section


class Manifest(Section):
    """Record of a finished stage, written last: a stage with a valid manifest is complete."""

    stage: str
    config_hash: str
    """Hash of every option and seed that the stage depends on."""
    code_version: str
    inputs: dict[str, str]
    """Name of each input (file or earlier manifest) to its hash."""
    entries_expected: int
    entries_read: int
    outputs: dict[str, str]
    """Path of each output, relative to the run folder, to its SHA-256."""

    def write(self, path: Path) -> None:
        """Write the manifest, atomically."""
        write_json(path, self.model_dump())

    def identity(self) -> str:
        """Hash of the outputs: what a later stage names as its input."""
        return hash_json(self.outputs)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    InputError
        If there is none, or it is truncated: the stage did not finish.
    ConfigError
        If it holds unknown or missing keys.
    """
    return Manifest.parse(read_json(path), str(path))


def is_current(path: Path, root: Path, stage: str, config_hash: str, inputs: dict[str, str]) -> bool:
    """Whether a stage's outputs are there, whole, and made by this code from these inputs and options.

    Parameters
    ----------
    path
        The manifest.
    root
        The run folder, to which the outputs are relative.
    stage, config_hash, inputs
        What a run now would write into its manifest.

    Returns
    -------
    bool
        False also where the manifest cannot be read, or an output is missing or its bytes changed.
    """
    if not path.is_file():
        return False
    try:
        manifest = read_manifest(path)
    except OddjetError:
        return False
    made = (manifest.stage, manifest.config_hash, manifest.code_version, manifest.inputs)
    return made == (stage, config_hash, code_version(), inputs) and all(
        (root / name).is_file() and sha256_file(root / name) == digest
        for name, digest in manifest.outputs.items()
    )


def hash_outputs(root: Path, paths: list[Path]) -> dict[str, str]:
    """SHA-256 of each output file, by its path relative to the run folder."""
    return {str(path.relative_to(root)): sha256_file(path) for path in sorted(paths)}


@functools.cache
def code_version() -> str:
    """The installed version and a hash of oddjet's own sources: any change of code is a new version."""
    root = Path(__file__).resolve().parent.parent
    sources = {
        str(path.relative_to(root)): sha256_file(path)
        for package in ("data", "processors", "models", "analysis", "condor")
        for path in sorted((root / package).rglob("*"))
        if path.suffix in {".py", ".html", ".css", ".js"} or path.name == "years.yaml"
    }
    return f"{importlib.metadata.version('oddjet')}+{hash_json(sources)[:16]}"
