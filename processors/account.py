"""The event account: every entry of every file processed once, or an error that lists what is missing."""

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


@dataclass(frozen=True)
class FileAccount:
    """The account of one file, in entries."""

    sample: str
    file: str
    expected: int
    processed: int
    selected: int


@dataclass(frozen=True)
class Account:
    """The accounts of files of any number of samples."""

    files: tuple[FileAccount, ...]

    def __add__(self, other: "Account") -> "Account":
        return Account(self.files + other.files)

    @property
    def expected(self) -> int:
        """Entries in all files."""
        return sum(file.expected for file in self.files)

    @property
    def processed(self) -> int:
        """Entries processed in all files."""
        return sum(file.processed for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """The content of ``account.json``."""
        files = [
            {
                "sample": file.sample,
                "file": file.file,
                "expected": file.expected,
                "processed": file.processed,
                "selected": file.selected,
            }
            for file in self.files
        ]
        complete = all(file.expected == file.processed for file in self.files)
        return {"files": files, "expected": self.expected, "processed": self.processed, "complete": complete}


def settle(plan: SamplePlan, processed: Iterable[Range]) -> Account:
    """Compare what was processed with what the files hold.

    Parameters
    ----------
    plan
        The files with the entries of their headers.
    processed
        Every chunk that was processed, in any order; a chunk that came twice stands twice.

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
        more = [f"… and {len(problems) - _MOST_LINES} more"] if len(problems) > _MOST_LINES else []
        lines = "\n  ".join(problems[:_MOST_LINES] + more)
        msg = f"sample '{plan.sample.name}': not every entry was processed once; run it again\n  {lines}"
        raise IncompleteError(msg)
    return Account(
        tuple(
            FileAccount(
                plan.sample.name,
                file.path,
                file.entries,
                sum(part.stop - part.start for part in ranges[file.path]),
                sum(part.selected for part in ranges[file.path]),
            )
            for file in plan.files
        )
    )


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
