"""A submission: its work folder, what belongs to each stage, and what of it is still to be done."""

import shutil
import sys
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from condor.account import missing
from condor.jobs import OUT, SPEC, STAGES, JobSpec, Stage, write_spec
from condor.profile import Profile
from condor.submit_file import (
    StageFiles,
    dag_file,
    dagman_config,
    job_list,
    plain_path,
    script,
    submit_file,
    wrapper,
)
from condor.wheel import write_wheel
from data.errors import ConfigError, InputError
from data.files import atomic_path, read_json, write_json
from data.sections import Section

CAMPAIGN, PAYLOAD, DAG = "campaign.json", "payload.json", "oddjet.dag"
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - where DAGMan refuses to keep its logs
_THREADS = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
_CACHES = {
    "MPLCONFIGDIR": '"$PWD/.cache"',
    "NUMBA_CACHE_DIR": '"$PWD/.cache"',
    "XDG_CACHE_HOME": '"$PWD/.cache"',
}


class StageRecord(Section):
    """What belongs to a stage."""

    jobs: tuple[JobSpec, ...]
    memory_mb: int = pydantic.Field(ge=1)
    """Of a job's first try."""
    files: dict[str, dict[str, int]] = pydantic.Field(default_factory=dict)
    """Sample to the UUID of each of its files to the entries that the file has: what the stage must read."""
    inputs: tuple[str, ...] = ()
    """Files and folders that all its jobs are given."""
    own: dict[str, str] = pydantic.Field(default_factory=dict)
    """Job to a file that it alone is given: none has one, or each has."""


class Campaign(Section):
    """A submission, as it is written into its work folder."""

    title: str
    code_version: str
    commit: str
    config_hash: str
    profile: Profile
    container: str | None
    stages: dict[Stage, StageRecord]

    def order(self) -> list[Stage]:
        """Its stages in the order in which they run."""
        return [stage for stage in STAGES if stage in self.stages]

    def job_count(self) -> int:
        """Jobs of all stages."""
        return sum(len(record.jobs) for record in self.stages.values())


@dataclass(frozen=True)
class Folder:
    """The work folder of a submission, ``RUN/condor``."""

    path: Path

    @property
    def jobs(self) -> Path:
        """Folders of the jobs."""
        return self.path / "jobs"

    @property
    def campaign(self) -> Path:
        """The record of the submission."""
        return self.path / CAMPAIGN

    @property
    def logs(self) -> Path:
        """Logs of HTCondor and of DAGMan's scripts."""
        return self.path / "logs"

    def read(self) -> Campaign:
        """The submission.

        Raises
        ------
        InputError
            If nothing was submitted from here, or its record is damaged.
        """
        if not self.campaign.is_file():
            msg = f"{self.path}: nothing was submitted from here; run `oddjet submit` with this configuration first"
            raise InputError(msg)
        return Campaign.parse(read_json(self.campaign), str(self.campaign))


def write_campaign(
    folder: Folder,
    campaign: Campaign,
    payload: Mapping[str, Any],
    *,
    proxy: Path | None = None,
    credentials: Mapping[str, Path] | None = None,
) -> list[Path]:
    """Write a submission: code, jobs, submit files, lists and DAG.

    Parameters
    ----------
    folder
        The work folder.
    campaign
        What is submitted.
    payload
        What every job is told besides its own specification.
    proxy
        X.509 proxy of the jobs; only its path is written.
    credentials
        For DAGMan's scripts: variables that name where a proxy or a token is.

    Returns
    -------
    list of Path
        The files, those in the jobs' folders left out; the record is the last one written.

    Raises
    ------
    ConfigError
        If a path cannot stand in a submit file, or something else was submitted from here.
    """
    plain_path(folder.path)
    check_other(folder, campaign.code_version, campaign.config_hash)
    wheel = write_wheel(folder.path)
    _unpack(wheel, folder.path / "code")
    common = [wheel, folder.path / PAYLOAD]
    write_json(folder.path / PAYLOAD, payload)
    python, workers = campaign.profile.python, campaign.profile.request.cpus
    texts: dict[str, tuple[str, bool]] = {
        "job.sh": (wrapper(python, wheel.name, workers, _THREADS | _CACHES), True),
        "script.sh": (script([sys.executable], folder.path, credentials or {}), True),
        "dagman.config": (dagman_config(), False),
        DAG: (dag_file(folder.path, campaign.order(), campaign.profile), False),
    }
    for stage, record in campaign.stages.items():
        inputs = (*common, *(Path(name) for name in record.inputs))
        files = StageFiles(stage, folder.path, inputs, bool(record.own), campaign.container, proxy)
        texts[f"{stage}.sub"] = (submit_file(files, campaign.profile), False)
        texts[f"{stage}.list"] = (_list(record, record.jobs), False)
        for job in record.jobs:
            write_spec(folder.jobs, job)
    folder.logs.mkdir(parents=True, exist_ok=True)
    for name, (text, executable) in texts.items():
        _write(folder.path / name, text, executable=executable)
    write_json(folder.campaign, campaign.model_dump(mode="json"))
    return [wheel, *(folder.path / name for name in texts), folder.campaign]


def check_place(folder: Folder, profile: Profile) -> None:
    """Refuse work folders from which HTCondor cannot work.

    Raises
    ------
    ConfigError
        If the site forbids the folder, or it is a temporary one.
    """
    path = plain_path(folder.path)
    for place in profile.never_from:
        if folder.path.is_relative_to(place):
            msg = f"{path}: nothing can be submitted from {place} at this site; set run.output to another folder"
            raise ConfigError(msg)
    if any(folder.path.is_relative_to(place) for place in _TEMPORARY):
        msg = f"{path}: DAGMan keeps no logs in temporary folders; set run.output to another folder"
        raise ConfigError(msg)


def check_other(folder: Folder, code_version: str, config_hash: str) -> None:
    """Refuse a folder that holds a submission of other code or another configuration.

    Raises
    ------
    ConfigError
        If it does.
    """
    if not folder.campaign.is_file():
        return
    before = folder.read()
    if (before.code_version, before.config_hash) != (code_version, config_hash):
        what = "code" if before.code_version != code_version else "configuration"
        msg = (
            f"{folder.path} holds a submission of other {what}; give this one another folder with --out, or remove "
            "that one from queue and disk"
        )
        raise ConfigError(msg)


def _unpack(wheel: Path, code: Path) -> None:
    """The code for DAGMan's scripts: a change of the checkout must not reach a submission under way."""
    new, old = (code.with_name(f".{uuid.uuid4().hex[:8]}.{name}") for name in ("new", "old"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(new)
        if code.exists():
            code.replace(old)
        new.replace(code)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, text: str, *, executable: bool) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755 if executable else 0o644)


def list_missing(folder: Folder, stage: Stage) -> list[JobSpec]:
    """Write the list that a stage's submit file queues from: its jobs without a valid manifest.

    What is left of their earlier tries is removed.

    Parameters
    ----------
    folder
        The work folder.
    stage
        The stage.

    Returns
    -------
    list of JobSpec
        Those jobs.
    """
    record = folder.read().stages[stage]
    lacking = missing(record.jobs, folder.jobs)
    for spec in lacking:
        shutil.rmtree(folder.jobs / spec.name / OUT, ignore_errors=True)
        if not (folder.jobs / spec.name / SPEC).is_file():
            write_spec(folder.jobs, spec)
    _write(folder.path / f"{stage}.list", _list(record, lacking), executable=False)
    return lacking


def _list(record: StageRecord, jobs: Sequence[JobSpec]) -> str:
    return job_list((job.name, str(record.memory_mb), *_own(record, job)) for job in jobs)


def _own(record: StageRecord, job: JobSpec) -> tuple[str, ...]:
    return (plain_path(Path(record.own[job.name])),) if record.own else ()


def lacking_by_stage(folder: Folder, campaign: Campaign) -> dict[Stage, Sequence[JobSpec]]:
    """The jobs without a valid manifest, by stage."""
    return {stage: missing(campaign.stages[stage].jobs, folder.jobs) for stage in campaign.order()}


def set_memory(folder: Folder, campaign: Campaign, stages: Iterable[Stage], memory_mb: int) -> None:
    """Change what the jobs of some stages ask for at their first try, MB."""
    changed = {stage: campaign.stages[stage].model_copy(update={"memory_mb": memory_mb}) for stage in stages}
    updated = campaign.model_copy(update={"stages": {**campaign.stages, **changed}})
    write_json(folder.campaign, updated.model_dump(mode="json"))
