"""The notebooks about methods and the first steps run. The others run in `test_notebooks`: a file's tests stay in one
process, and two processes take half the time."""

import pytest

NAMES = ("methods_lhco", "own_method", "quickstart", "sculpting")
MOST_LINES = 40
"""Of a method of one's own."""


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, notebooks):
    notebooks.runs(name)


def test_a_method_of_ones_own_takes_no_more_lines_than_promised(notebooks):
    (cell,) = [cell for cell in notebooks.read("own_method").cells if cell.id == "class-histogram-ratio"]
    lines = [line for line in cell.source.splitlines() if line.strip()]
    assert 20 < len(lines) <= MOST_LINES


def test_without_the_olympics_files_the_sections_say_so(notebooks, monkeypatch):
    monkeypatch.delenv("ODDJET_DATA", raising=False)
    done = notebooks.run(notebooks.read("methods_lhco"))
    assert not notebooks.warnings(done)
    said = notebooks.without_data(done)
    assert len(said) == 2
    assert all("ODDJET_DATA" in text for text in said)
    assert not list(notebooks.texts(done, "image/png"))
