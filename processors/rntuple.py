"""RNTuples with thousands of fields opened in time linear in their number.

uproot finds the children of every field by going through all fields, which takes 9 s where there are 2,500. The model
here does it in one pass; uproot takes it through its public option ``custom_classes``.
"""

import functools
from typing import Any

import uproot
from uproot.models.RNTuple import Model_ROOT_3a3a_RNTuple as PlainRNTuple


class Model_ROOT_3a3a_RNTuple(PlainRNTuple):  # type: ignore[misc]  # noqa: N801 - uproot decodes the name
    """An RNTuple that knows the children of its fields."""

    @property
    def all_fields(self) -> list[Any]:
        """All fields, in the order of their numbers."""
        new = self._all_fields is None
        fields: list[Any] = super().all_fields
        if new:
            _link(fields, [record.parent_field_id for record in self.field_records])
        return fields


def _link(fields: list[Any], parents: list[int]) -> None:
    """Give every field its children; those of an anonymous child stand for it."""
    children: list[list[int]] = [[] for _ in fields]
    for number, parent in enumerate(parents):
        if parent != number:  # a field on top is its own parent
            children[parent].append(number)
    # Children have larger numbers than their parents.
    for number in reversed(range(len(fields))):
        named: list[Any] = []
        for child in children[number]:
            named += fields[child]._fields if fields[child].is_anonymous else [fields[child]]
        fields[number]._fields = named


class Classes(dict[str, Any]):
    """uproot's classes with this RNTuple; found again by name in a worker process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return known_classes, ()


@functools.cache
def known_classes() -> Classes:
    """What ``uproot.open`` takes as ``custom_classes``: one a process, since uproot adds the classes that it learns."""
    return Classes(uproot.classes, **{"ROOT::RNTuple": Model_ROOT_3a3a_RNTuple})
