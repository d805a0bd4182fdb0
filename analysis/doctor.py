"""Will this machine, and these files, do? One check a line, each with what to do where it fails."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.plan_estimate import size_in_words

State = Literal["ok", "warn", "fail"]
_DISTRIBUTION = "oddjet"
_ROOT = Path(__file__).resolve().parents[1]
LOCK = _ROOT / "requirements.lock"
"""What the tests ran with; a checkout has it, an installed wheel has not."""
_LEAST_PYTHON = (3, 11)
_MOST_NAMED = 5
_COMMON = ("numpy", "numba", "torch", "scikit-learn", "scipy", "pyhf", "coffea", "awkward", "fastjet")
"""Packages on whose versions numbers depend."""
_EXTRAS = {
    "dask": "many workers (processing.executor: dask)",
    "export": "oddjet export --hepdata",
    "notebooks": "the notebooks",
    "simulation": "oddjet simulate",
    "xrootd": "files behind root://",
}
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes
    ----------
    name
        What was checked.
    state
        ``ok``, ``warn`` (a run may work) or ``fail`` (it will not).
    text
        What was found.
    remedy
        What to do; empty where all is well.
    """

    name: str
    state: State
    text: str
    remedy: str = ""

    def line(self) -> str:
        """The check as a line of text."""
        return f"{self.state:<4}  {self.name}: {self.text}" + (f" — {self.remedy}" if self.remedy else "")


def environment_checks(wanted_extras: Iterable[str] = ()) -> Iterator[Check]:
    """Python, packages, extras, kernels, cores, memory.

    Parameters
    ----------
    wanted_extras
        Extras that the configuration cannot do without.
    """
    yield python_check(sys.version_info[:3])
    found = {name.lower(): version for name, version in _installed().items()}
    required = importlib.metadata.requires(_DISTRIBUTION) or []
    yield packages_check(required, found)
    if LOCK.is_file():
        yield pins_check(LOCK.read_text(encoding="utf-8"), found)
    wanted = set(wanted_extras)
    for extra, purpose in _EXTRAS.items():
        yield extra_check(extra, purpose, required, found, wanted=extra in wanted)
    yield kernels_check(_ROOT / "processors" / "kernels", os.environ)
    cores, memory = available_cores(), available_memory()
    yield Check(
        "machine", "ok", f"{cores} cores, {size_in_words(memory)} of memory free, {platform.machine()}"
    )


def python_check(version: tuple[int, ...]) -> Check:
    """Whether this Python is new enough."""
    text = ".".join(map(str, version))
    if version[:2] >= _LEAST_PYTHON:
        return Check("python", "ok", f"{text} ({sys.executable})")
    return Check("python", "fail", text, "oddjet needs Python 3.11 or later: make install PYTHON=python3.11")


def _installed() -> dict[str, str]:
    return {
        one.metadata["Name"]: one.version
        for one in importlib.metadata.distributions()
        if one.metadata["Name"]
    }


def _name(requirement: str) -> str:
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    return matched.group().lower() if matched else requirement


def _extra(requirement: str) -> str | None:
    matched = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
    return matched.group(1) if matched else None


def packages_check(required: Iterable[str], installed: Mapping[str, str]) -> Check:
    """Whether every package is there that oddjet declares.

    Parameters
    ----------
    required
        Requirements of the distribution, as its metadata has them.
    installed
        Package, in small letters, to its version.
    """
    names = [_name(one) for one in required if _extra(one) is None]
    missing = [name for name in names if _other_spelling(name, installed) is None]
    if missing:
        return Check(
            "packages", "fail", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}"
        )
    return Check("packages", "ok", f"all {len(names)} are installed")


def _other_spelling(name: str, installed: Mapping[str, str]) -> str | None:
    """The version of a package; dashes, dots and underscores are the same in names."""
    plain = re.sub(r"[-_.]+", "-", name.lower())
    return next((version for one, version in installed.items() if re.sub(r"[-_.]+", "-", one) == plain), None)


def pins_check(lock: str, installed: Mapping[str, str]) -> Check:
    """Which versions differ from those that the tests ran with.

    Parameters
    ----------
    lock
        Lines ``name==version``.
    installed
        Package, in small letters, to its version.
    """
    pins = dict(line.strip().split("==") for line in lock.splitlines() if "==" in line)
    other = {}
    for name, pin in pins.items():
        version = _other_spelling(name, installed)
        if version is not None and version.partition("+")[0] != pin.partition("+")[0]:
            other[name] = f"{name} {version} (tested with {pin})"
    if not other:
        return Check("versions", "ok", f"as in {LOCK.name}, which the tests ran with")
    order = sorted(other, key=lambda name: (name.lower() not in _COMMON, name))
    named = "; ".join(other[name] for name in order[:_MOST_NAMED])
    more = f"; and {len(other) - _MOST_NAMED} more" if len(other) > _MOST_NAMED else ""
    return Check(
        "versions",
        "warn",
        named + more,
        f"results may differ in the last bits; pip install -r {LOCK.name} for the same",
    )


def extra_check(
    extra: str, purpose: str, required: Iterable[str], installed: Mapping[str, str], *, wanted: bool
) -> Check:
    """Whether the packages of an extra are there; without them only what they are for does not work."""
    names = [_name(one) for one in required if _extra(one) == extra]
    missing = [name for name in names if _other_spelling(name, installed) is None]
    if not missing:
        return Check(f"extra {extra}", "ok", f"installed: {purpose}")
    text = f"not installed ({', '.join(missing)}): {purpose}"
    if wanted:
        return Check(
            f"extra {extra}",
            "fail",
            f"{text}, which the configuration wants",
            f"pip install 'oddjet[{extra}]'",
        )
    return Check(f"extra {extra}", "ok", f"{text}; pip install 'oddjet[{extra}]' where you want it")


def kernels_check(folder: Path, environment: Mapping[str, str]) -> Check:
    """Whether compiled kernels can be kept: else every process compiles them anew, which takes a minute.

    Parameters
    ----------
    folder
        That of the kernels' sources.
    environment
        Variables of the process.
    """
    named = environment.get("NUMBA_CACHE_DIR")
    user = Path(
        environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache"
    )
    places = [Path(named)] if named else [folder / "__pycache__", user / "numba"]
    for place in places:
        if _writable(place):
            return Check(
                "kernels", "ok", f"numba {importlib.metadata.version('numba')} keeps compiled code in {place}"
            )
    return Check(
        "kernels",
        "fail",
        f"{' and '.join(map(str, places))} cannot be written to: compiled kernels have no place",
        "set NUMBA_CACHE_DIR to a folder of yours",
    )


def _writable(folder: Path) -> bool:
    """Whether a file can be made in a folder, or in the first one above it that is there."""
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    try:
        with tempfile.TemporaryFile(dir=here):
            return True
    except OSError:
        return False


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> float:
    """Bytes of memory that are free for this process: what the system has, and what its control group leaves.

    Parameters
    ----------
    meminfo, cgroup
        Where the system says so.

    Returns
    -------
    float
        Infinite where the system does not say. Files that the group keeps in memory without using them count as free:
        the system drops them where memory is wanted.
    """
    free = float("inf")
    if meminfo.is_file():
        found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        free = float(found.group(1)) * 1024 if found else free
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()).isdigit():
        kept = cgroup / "memory.stat"
        idle = re.search(r"^inactive_file (\d+)$", kept.read_text(), re.MULTILINE) if kept.is_file() else None
        taken = float(used.read_text()) - (float(idle.group(1)) if idle else 0.0)
        free = min(free, max(float(most) - taken, 0.0))
    return free


def space_check(folder: Path, needed: float) -> Check:
    """Whether the disk of the run folder has room for what is written there.

    Parameters
    ----------
    folder
        The run folder, there or not.
    needed
        Bytes.

    Returns
    -------
    Check
        ``fail`` where it does not fit, ``warn`` where less than twice as much is free.
    """
    here = folder.absolute()
    while not here.exists() and here != here.parent:
        here = here.parent
    if not _writable(here):
        return Check("disk", "fail", f"{here} cannot be written to", "choose another run.output, or --out")
    free = shutil.disk_usage(here).free
    text = f"{size_in_words(free)} free at {here}, about {size_in_words(needed)} needed"
    if free < needed:
        return Check("disk", "fail", text, "make room, or choose another run.output")
    return Check(
        "disk", "warn" if free < 2 * needed else "ok", text, "it may get tight" if free < 2 * needed else ""
    )


def memory_check(needed: float, workers: int, chunk_key: str, free: float) -> Check:
    """Whether the workers of this machine have the memory that a chunk takes.

    Parameters
    ----------
    needed
        Bytes a worker.
    workers
        Their number.
    chunk_key
        The option that makes chunks smaller.
    free
        Bytes of memory that are free.

    Returns
    -------
    Check
        ``fail`` where a single worker does not fit, ``warn`` where all together do not.
    """
    text = f"{workers} × {size_in_words(needed)} wanted, {size_in_words(free)} free"
    if needed * workers <= 0.9 * free:
        return Check("memory", "ok", text)
    fitting = int(0.9 * free // needed)
    less = f"fewer workers (--workers {fitting}), or " if 1 <= fitting < workers else ""
    state: State = "fail" if needed > free else "warn"
    return Check("memory", state, text, f"take {less}smaller chunks ({chunk_key})")


def cores_check(workers: int, cores: int) -> Check:
    """Whether there are as many cores as workers."""
    if workers <= cores:
        more = f"--workers {cores} would use all" if workers < cores else ""
        return Check("cores", "ok", f"{workers} of {cores} used" + (f"; {more}" if more else ""))
    return Check(
        "cores",
        "warn",
        f"{workers} workers for {cores} cores",
        f"they only wait for each other: --workers {cores}",
    )
