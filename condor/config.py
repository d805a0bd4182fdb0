"""Options of the submission to HTCondor."""

import re

import pydantic

from condor.jobs import Stage
from data.sections import Section

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_MOVING = re.compile(r":latest/?$")


class BatchConfig(Section):
    """How the stages are cut into jobs and where they run; no number of any result depends on it."""

    profile: str = "generic"
    """Site profile: ``generic``, ``lxplus``, ``lpc``, or the path of a YAML file like those in ``condor/profiles``."""
    chunks_per_job: int = pydantic.Field(default=10, ge=1)
    """Chunks of events that a job of `skim`, `hist` or `vary` reads."""
    trainings_per_job: int = pydantic.Field(default=1, ge=1)
    """Folds of one method and window that a job trains: 1 … 5."""
    memory_mb: dict[Stage, int] = pydantic.Field(default_factory=dict)
    """Memory of the first try of a stage's jobs, MB; wins over the profile."""
    container: str | None = None
    """Image that jobs run in: pinned by digest (``…@sha256:…``), or a folder below /cvmfs; without one the
    profile's Python must have oddjet's dependencies."""

    @pydantic.field_validator("trainings_per_job")
    @classmethod
    def _folds(cls, number: int) -> int:
        if number > 5:
            msg = f"a method has 5 folds in a window, found {number}; choose 1 … 5"
            raise ValueError(msg)
        return number

    @pydantic.field_validator("memory_mb")
    @classmethod
    def _positive(cls, memory: dict[Stage, int]) -> dict[Stage, int]:
        for stage, value in memory.items():
            if value < 1:
                msg = f"memory of stage '{stage}' is {value} MB; give 1 MB or more"
                raise ValueError(msg)
        return memory

    @pydantic.field_validator("container")
    @classmethod
    def _pinned(cls, image: str | None) -> str | None:
        kept = (
            image is None
            or _DIGEST.search(image)
            or (image.startswith("/cvmfs/") and not _MOVING.search(image))
        )
        if not kept:
            msg = (
                f"'{image}' may change under its name; pin it by digest (…@sha256:…), or name a folder below /cvmfs that "
                "is not of the tag latest"
            )
            raise ValueError(msg)
        return image
