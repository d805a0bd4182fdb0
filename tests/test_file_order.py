"""The longest files of tests come first."""

from pathlib import Path

from tests.file_order import LONGEST, longest_first

ROOT = Path(__file__).resolve().parent.parent


def test_the_files_are_there():
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)


def test_tests_of_one_file_stay_together_and_in_order():
    items = [("tests/b.py", 1), (LONGEST[1], 1), (LONGEST[1], 2), ("tests/a.py", 1), (LONGEST[0], 1)]
    assert longest_first(items, lambda item: item[0]) == [items[4], items[1], items[2], items[0], items[3]]
