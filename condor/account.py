"""Whether the jobs of a stage are all there, once: nothing is merged with a gap, an overlap or a duplicate."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from condor.jobs import ERRORS, JobManifest, JobSpec, finished
from data.errors import IncompleteError

_MOST_LINES = 20


def missing(specs: Iterable[JobSpec], folder: Path) -> list[JobSpec]:
    """The jobs without a valid manifest, in order."""
    return [spec for spec in specs if isinstance(finished(spec, folder), str)]


def complete(
    specs: Iterable[JobSpec], folder: Path, files: Mapping[str, Mapping[str, int]]
) -> list[JobManifest]:
    """The manifests of all jobs of a stage.

    Parameters
    ----------
    specs
        The jobs.
    folder
        The folder of all jobs.
    files
        Sample to the UUID of each of its files to the entries that the file has.

    Returns
    -------
    list of JobManifest
        In the order of the jobs.

    Raises
    ------
    IncompleteError
        If a job has no valid manifest, or an entry of a file was not read exactly once: each is named, the jobs with
        their logs.
    """
    manifests, problems = [], []
    for spec in specs:
        found = finished(spec, folder)
        if isinstance(found, str):
            problems.append(f"job '{spec.name}' {found}; its log: {folder / spec.name / ERRORS}")
        else:
            manifests.append(found)
    problems += gaps(manifests, files) if not problems else []
    if problems:
        more = [f"… and {len(problems) - _MOST_LINES} more"] if len(problems) > _MOST_LINES else []
        lines = "\n  ".join([*problems[:_MOST_LINES], *more])
        msg = f"{len(problems)} problems keep this stage from being merged; see `oddjet status`, then `oddjet resubmit`\n  {lines}"
        raise IncompleteError(msg)
    return manifests


def gaps(manifests: Iterable[JobManifest], files: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What is wrong with the entries that jobs read, against the entries that files have.

    Parameters
    ----------
    manifests
        Of one stage, in any order.
    files
        As for `complete`.

    Returns
    -------
    list of str
        One line a gap, an overlap, a duplicate, or a file of no sample; empty where every entry was read once.
    """
    parts: dict[tuple[str, str], list[tuple[int, int, str]]] = {
        (sample, uuid): [] for sample, uuids in files.items() for uuid in uuids
    }
    names = {}
    problems = []
    for manifest in manifests:
        for read in manifest.entries:
            key = read.sample, read.uuid
            names[key] = read.file
            if key not in parts:
                problems.append(
                    f"job '{manifest.job}' read '{read.file}', which is no file of sample '{read.sample}'"
                )
            elif read.stop > read.start:
                parts[key].append((read.start, read.stop, manifest.job))
    for key, found in parts.items():
        sample, uuid = key
        where = f"sample '{sample}', file '{names.get(key, uuid)}'"
        problems += [f"{where}: {problem}" for problem in _uncovered(sorted(found), files[sample][uuid])]
    return problems


def _uncovered(parts: list[tuple[int, int, str]], entries: int) -> list[str]:
    problems, reached, before = [], 0, ""
    for start, stop, job in parts:
        if start > reached:
            problems.append(f"entries {reached}–{start - 1} were read by no job")
        elif start < reached:
            problems.append(
                f"entries {start}–{min(stop, reached) - 1} were read by job '{before}' and by job '{job}'"
            )
        if stop >= reached:
            reached, before = stop, job
    if reached < entries:
        problems.append(f"entries {reached}–{entries - 1} were read by no job")
    elif reached > entries:
        problems.append(f"entries {entries}–{reached - 1} are beyond the end of the file")
    return problems
