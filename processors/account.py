"""The event account: every entry of every file processed once, or an error that lists what is missing."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import IncompleteError
from processors.preflight import SamplePlan

_MOST_LINES = 20


@dataclass(frozen=True, order=True)
class Range:
    """A chunk that was processed: entries ``start`` … ``stop − 1`` of a file, and how many were selected."""

    file: str
    start: int
    stop: int
    selected: int = 0


@dataclass(frozen=True, order=True)
class ChunkFailure:
    """A chunk that did not succeed at its first attempt.

    Attributes
    ----------
    sample, file, start, stop
        Entries ``start`` … ``stop − 1`` of a file.
    reason
        The last error.
    attempts
        How often it was tried.
    recovered
        Whether the last attempt succeeded.
    """

    sample: str
    file: str
    start: int
    stop: int
    reason: str
    attempts: int
    recovered: bool


@dataclass(frozen=True)
class FileAccount:
    """The account of one file, in entries; those ``retried`` are of chunks that needed several attempts."""

    sample: str
    file: str
    expected: int
    processed: int
    selected: int
    retried: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Account:
    """The accounts of files of any number of samples, and what went wrong on the way."""

    files: tuple[FileAccount, ...]
    failures: tuple[ChunkFailure, ...] = ()

    def __add__(self, other: "Account") -> "Account":
        return Account(self.files + other.files, self.failures + other.failures)

    @property
    def expected(self) -> int:
        """Entries in all files."""
        return self._sum("expected")

    @property
    def processed(self) -> int:
        """Entries processed in all files."""
        return self._sum("processed")

    @property
    def complete(self) -> bool:
        """Whether every entry of every file was processed; an account of nothing is not complete."""
        return bool(self.files) and all(file.expected == file.processed for file in self.files)

    def _sum(self, column: str) -> int:
        return sum(getattr(file, column) for file in self.files)

    def totals(self) -> dict[str, int]:
        """The line of the account's table: number of files, and the sums of their entries."""
        columns = ("expected", "processed", "selected", "retried", "failed")
        return {"files": len(self.files), **{column: self._sum(column) for column in columns}}

    def to_json(self) -> dict[str, Any]:
        """The account as a document."""
        return {
            **self.totals(),
            "files": [dataclasses.asdict(file) for file in self.files],  # instead of their number
            "complete": self.complete,
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
        }


def account_of(
    plan: SamplePlan,
    expected: Iterable[tuple[str, int, int]],
    processed: Iterable[Range],
    failures: Sequence[ChunkFailure] = (),
) -> Account:
    """The account of some chunks of a sample, complete or not.

    Parameters
    ----------
    plan
        The sample.
    expected
        File, first entry and end of the chunks that were to be processed.
    processed
        Those that were.
    failures
        What went wrong.

    Returns
    -------
    Account
        One line a file that has chunks here or no entry at all, in the order of the plan.
    """
    wanted: Counter[str] = Counter()
    for file, start, stop in expected:
        wanted[file] += stop - start
    done: Counter[str] = Counter()
    selected: Counter[str] = Counter()
    for part in processed:
        done[part.file] += part.stop - part.start
        selected[part.file] += part.selected
    retried: dict[str, list[tuple[int, int]]] = {}
    failed: dict[str, list[tuple[int, int]]] = {}
    for failure in failures:
        ends = (failure.start, failure.stop)
        if failure.attempts > 1:
            retried.setdefault(failure.file, []).append(ends)
        if not failure.recovered:
            failed.setdefault(failure.file, []).append(ends)
    lines = [
        FileAccount(
            plan.sample.name,
            path,
            wanted[path],
            done[path],
            selected[path],
            covered(retried.get(path, ())),
            covered(failed.get(path, ())),
        )
        for path in (file.path for file in plan.files if file.path in wanted or not file.entries)
    ]
    return Account(tuple(lines), tuple(sorted(failures)))


def covered(ranges: Iterable[tuple[int, int]]) -> int:
    """Number of entries in ranges ``start`` … ``stop − 1``; one that is in several counts once."""
    entries = reached = 0
    for start, stop in sorted(ranges):
        entries += max(stop - max(start, reached), 0)
        reached = max(reached, stop)
    return entries


def settle(plan: SamplePlan, processed: Iterable[Range], failures: Sequence[ChunkFailure] = ()) -> Account:
    """Compare what was processed with what the files hold.

    Parameters
    ----------
    plan
        The files with the entries of their headers.
    processed
        Every chunk that was processed, in any order; a chunk that came twice stands twice.
    failures
        What went wrong on the way.

    Returns
    -------
    Account
        One line a file, in the order of the plan.

    Raises
    ------
    IncompleteError
        If entries are missing, were processed twice, or belong to no file of the sample.
    """
    ranges: dict[str, list[Range]] = {file.path: [] for file in plan.files}
    problems: list[str] = []
    for part in sorted(processed):
        if part.file in ranges:
            ranges[part.file].append(part)
        else:
            problems.append(
                f"'{part.file}': entries {part.start}–{part.stop - 1} of a file that is not in the sample"
            )
    for file in plan.files:
        problems += [f"'{file.path}': {problem}" for problem in _gaps(ranges[file.path], file.entries)]
    if problems:
        raise incomplete(plan.sample.name, problems)
    whole = [(file.path, 0, file.entries) for file in plan.files]
    return account_of(plan, whole, [part for parts in ranges.values() for part in parts], failures)


def incomplete(sample: str, problems: Sequence[str]) -> IncompleteError:
    """The error for entries of a sample that were not processed once, one problem a line."""
    more = [f"… and {len(problems) - _MOST_LINES} more"] if len(problems) > _MOST_LINES else []
    lines = "\n  ".join([*problems[:_MOST_LINES], *more])
    return IncompleteError(f"sample '{sample}': not every entry was processed once; run it again\n  {lines}")


def _gaps(parts: Sequence[Range], entries: int) -> list[str]:
    """What is wrong with the sorted ranges of one file."""
    counts = Counter((part.start, part.stop) for part in parts)
    problems = [f"entries {a}–{b - 1} processed {n} times" for (a, b), n in counts.items() if n > 1]
    reached = 0
    for start, stop in sorted(counts):
        if start > reached:
            problems.append(f"entries {reached}–{start - 1} missing")
        elif start < reached:
            problems.append(f"entries {start}–{min(stop, reached) - 1} processed in two chunks")
        reached = max(reached, stop)
    if reached < entries:
        problems.append(f"entries {reached}–{entries - 1} missing")
    elif reached > entries:
        problems.append(f"entries {entries}–{reached - 1} are beyond the end of the file")
    return problems
