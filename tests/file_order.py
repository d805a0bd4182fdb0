"""The files of tests that take longest, which processes begin with: a long one at the end leaves the others idle."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
LONGEST = (
    "tests/analysis/test_pipeline.py",
    "tests/notebooks/test_notebooks.py",
    "tests/models/test_every_method.py",
)
"""More than 15 s each, the longest first."""


def longest_first(items: Iterable[Item], file_of: Callable[[Item], str]) -> list[Item]:
    """Tests in their order, but those of the longest files first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    return sorted(items, key=lambda item: place.get(file_of(item), len(place)))
