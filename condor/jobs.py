"""Jobs and their manifests: what a job must do, and the record that says that it did."""

from pathlib import Path
from typing import Any, Literal

import pydantic

from data.errors import OddjetError
from data.files import hash_json, read_json, sha256_file, write_json
from data.sections import Section

Stage = Literal["survey", "skim", "train", "hist", "limit", "vary", "retrain", "analyse"]
STAGES: tuple[Stage, ...] = ("survey", "skim", "train", "hist", "limit", "vary", "retrain", "analyse")
"""In the order in which they run."""
SPEC, OUT, MANIFEST = "spec.json", "out", "manifest.json"
OUTPUT, ERRORS = "job.out", "job.err"


class Entries(Section):
    """Entries ``start`` … ``stop − 1`` of a sample's file; ``uuid`` is the file's own, whatever its address."""

    sample: str
    file: str
    uuid: str
    start: int = pydantic.Field(ge=0)
    stop: int = pydantic.Field(ge=0)


class JobSpec(Section):
    """What a job must do; a pure function of code, configuration and inputs."""

    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9_.+-]+$")
    """Its folder, and what it is called in the queue."""
    stage: Stage
    task: dict[str, Any]
    """What of the stage: read by the program that the job runs."""
    entries: tuple[Entries, ...] = ()
    """The events that it must read."""
    config_hash: str
    code_version: str

    def digest(self) -> str:
        """Hash of all of it."""
        return hash_json(self.model_dump(mode="json"))


class JobManifest(Section):
    """Record of a finished job, written last and atomically: a job with a valid one is done.

    Parameters
    ----------
    job
        Its name.
    spec_hash, config_hash, code_version, commit
        What it was asked to do, with which configuration and code.
    entries, entries_read
        The events that it read, and how many entries that is.
    outputs
        Path of each output below the job's folder ``out`` to its SHA-256.
    attempt, host
        How often it was started, and where it ended.
    seconds
        That it ran, of wall time.
    """

    job: str
    spec_hash: str
    config_hash: str
    code_version: str
    commit: str
    entries: tuple[Entries, ...]
    entries_read: int
    outputs: dict[str, str]
    attempt: int
    host: str
    seconds: float

    def write(self, out: Path) -> None:
        """Write it into a job's output folder."""
        write_json(out / MANIFEST, self.model_dump(mode="json"))


def write_spec(folder: Path, spec: JobSpec) -> None:
    """Write a job into its folder below ``folder``."""
    write_json(folder / spec.name / SPEC, spec.model_dump(mode="json"))


def read_spec(file: Path) -> JobSpec:
    """Read a job.

    Raises
    ------
    InputError
        If the file cannot be read.
    ConfigError
        If it is not a job of this version.
    """
    return JobSpec.parse(read_json(file), str(file))


def finished(spec: JobSpec, folder: Path) -> JobManifest | str:
    """The manifest of a job, or why it does not count.

    Parameters
    ----------
    spec
        The job.
    folder
        The folder of all jobs.

    Returns
    -------
    JobManifest or str
        A manifest only where it is this job's, of this code and configuration, says that all entries were read, and
        all outputs are there with the bytes that it names.
    """
    out = folder / spec.name / OUT
    if not (out / MANIFEST).is_file():
        return "has no manifest"
    try:
        manifest = JobManifest.parse(read_json(out / MANIFEST), str(out / MANIFEST))
    except OddjetError as error:
        return f"has a damaged manifest ({error})"
    return _other(spec, manifest) or _damage(out, manifest) or manifest


def _damage(out: Path, manifest: JobManifest) -> str | None:
    """What is wrong with the outputs that a manifest names."""
    for name, digest in manifest.outputs.items():
        if not (out / name).resolve().is_relative_to(out.resolve()):
            return f"names the output {name}, which is not its own"
        if not (out / name).is_file():
            return f"lacks its output {name}"
        if sha256_file(out / name) != digest:
            return f"has a damaged output {name}"
    return None


def _other(spec: JobSpec, manifest: JobManifest) -> str | None:
    """How a manifest differs from what a job must do."""
    if manifest.job != spec.name:
        return f"holds the manifest of job '{manifest.job}'"
    if manifest.code_version != spec.code_version:
        return f"was run by other code ({manifest.code_version}, not {spec.code_version})"
    if manifest.config_hash != spec.config_hash:
        return "was run with another configuration"
    if manifest.spec_hash != spec.digest():
        return "was run for another task"
    expected = sum(part.stop - part.start for part in spec.entries)
    if manifest.entries != spec.entries or manifest.entries_read != expected:
        return f"read {manifest.entries_read} entries of {expected}"
    return None
