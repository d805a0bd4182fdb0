"""Site profiles: what a pool wants in its submit files, as data."""

import re
from pathlib import Path
from typing import Self

import pydantic

from data.errors import ConfigError
from data.sections import Section, read_yaml

SHIPPED = Path(__file__).with_name("profiles")
_WRITTEN = frozenset(
    {
        *(
            "universe",
            "executable",
            "arguments",
            "initialdir",
            "output",
            "error",
            "log",
            "environment",
            "getenv",
        ),
        *(
            "transfer_input_files",
            "transfer_output_files",
            "should_transfer_files",
            "when_to_transfer_output",
        ),
        *("request_memory", "request_cpus", "request_disk", "requirements", "queue"),
        *("on_exit_hold", "periodic_hold", "periodic_release"),
    }
)
"""Submit commands that oddjet writes itself."""
_SECRET = re.compile(r"PASSW|SECRET|TOKEN|PRIVATE", re.IGNORECASE)
_PLACE = re.compile(r"_(FILE|PATH|DIR)$", re.IGNORECASE)


class Request(Section):
    """What a job asks of a machine."""

    cpus: int = pydantic.Field(default=1, ge=1, le=256)
    """Cores; processes of a job."""
    memory_mb: int = pydantic.Field(default=2000, ge=1)
    """Memory of the first try, MB."""
    disk_mb: int = pydantic.Field(default=4000, ge=1)
    """Disk, MB."""
    memory_growth: float = pydantic.Field(default=1.5, gt=1, le=10)
    """Memory of the next try over what a job that was held had used."""
    memory_most_mb: int = pydantic.Field(default=16000, ge=1)
    """The most that is ever asked for, MB."""

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.memory_most_mb < self.memory_mb:
            msg = f"memory_most_mb is {self.memory_most_mb}, less than memory_mb, {self.memory_mb}; raise it"
            raise ValueError(msg)
        return self


class Profile(Section):
    """How jobs are submitted at a site."""

    description: str = ""
    python: tuple[str, ...] = ("python3",)
    """Command that starts Python ≥ 3.11 with oddjet's dependencies on a worker."""
    request: Request = Request()
    tries: int = pydantic.Field(default=3, ge=1, le=20)
    """Times that a failing job is started before it stays held."""
    pause_s: int = pydantic.Field(default=120, ge=0)
    """Seconds between a failure and the next try."""
    node_retries: int = pydantic.Field(default=3, ge=0, le=20)
    """Times that DAGMan submits what is missing of a stage again, after jobs were removed."""
    avoid_last_machine: bool = True
    """Never start a job again where it was last."""
    requirements: str = pydantic.Field(default="", pattern=r"^[^\n]*$")
    """What machines must fulfil besides, as HTCondor reads it."""
    visible: tuple[Path, ...] = ()
    """Folders that workers see under the same path: local input files must lie below one of them."""
    never_from: tuple[Path, ...] = ()
    """Folders from which nothing may be submitted."""
    container: dict[str, str] = pydantic.Field(default_factory=dict)
    """Submit commands that run a job in a container; ``{image}`` stands for it."""
    proxy: bool = False
    """Whether jobs are given the X.509 proxy."""
    proxy_hours: float = pydantic.Field(default=24, ge=0)
    """For how long it must still be valid."""
    proxy_from: tuple[Path, ...] = ()
    """Folders that the pool's machines see: a proxy must lie below one of them; none are named: anywhere."""
    environment: dict[str, str] = pydantic.Field(default_factory=dict)
    """Further environment variables of the jobs; never a password or a token, which all could read in the queue."""
    submit: dict[str, str] = pydantic.Field(default_factory=dict)
    """Further submit commands, as HTCondor reads them."""

    @pydantic.field_validator("submit")
    @classmethod
    def _not_ours(cls, submit: dict[str, str]) -> dict[str, str]:
        taken = [name for name in submit if name.lower() in _WRITTEN]
        if taken:
            msg = f"'{taken[0]}' is written by oddjet; change it by another key of the profile"
            raise ValueError(msg)
        return _one_line(submit)

    @pydantic.field_validator("environment")
    @classmethod
    def _plain(cls, environment: dict[str, str]) -> dict[str, str]:
        bad = [name for name, value in environment.items() if any(c in f"{name}{value}" for c in "\"'\n")]
        if bad:
            msg = f"'{bad[0]}' holds a quote or a line break, which submit files cannot carry; leave it out"
            raise ValueError(msg)
        secret = [name for name in environment if _SECRET.search(name) and not _PLACE.search(name)]
        if secret:
            msg = f"'{secret[0]}' looks like a secret, which all could read in the queue; leave it to HTCondor's credentials"
            raise ValueError(msg)
        return environment


def _one_line(commands: dict[str, str]) -> dict[str, str]:
    bad = [name for name, value in commands.items() if "\n" in f"{name}{value}"]
    if bad:
        msg = f"'{bad[0]}' spans lines; write it in one"
        raise ValueError(msg)
    return commands


def shipped() -> tuple[str, ...]:
    """Names of the profiles that come with oddjet."""
    return tuple(sorted(file.stem for file in SHIPPED.glob("*.yaml")))


def read_profile(name: str) -> Profile:
    """A profile by its name, or by the path of a YAML file.

    Raises
    ------
    ConfigError
        If there is none, or a key of it is wrong.
    """
    file = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    if not file.is_file():
        msg = f"profile '{name}' is neither one of {', '.join(shipped())} nor a file; correct batch.profile"
        raise ConfigError(msg)
    return Profile.parse(read_yaml(file), str(file))
