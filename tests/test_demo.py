"""The main job on the shipped sample: ``oddjet demo``, both runs, as a user starts it."""

import os
import sys
from pathlib import Path

import pytest

from data.files import read_json
from data.samples import read_samples

MINI = Path(__file__).resolve().parent.parent / "data" / "mini"
PLANTED = 3000.0


@pytest.fixture(scope="module")
def demo_and_memory(tmp_path_factory):
    """Run folders of the demo, from the installed command; the memory (KiB) of its largest process."""
    out = tmp_path_factory.mktemp("demo")
    oddjet = Path(sys.executable).parent / "oddjet"
    process = os.posix_spawn(oddjet, [oddjet, "demo", "--out", out], os.environ)
    _, status, usage = os.wait4(process, 0)  # of this child and its own ones, and of no other test's
    assert os.waitstatus_to_exitcode(status) == 0
    return out, usage.ru_maxrss


@pytest.fixture(scope="module")
def demo(demo_and_memory):
    return demo_and_memory[0]


def rows(folder: Path, selection: str) -> list[dict]:
    return read_json(folder / "scan.json")["selections"][selection]


def test_cwola_finds_the_planted_resonance_that_the_inclusive_spectrum_hides(demo):
    near = {
        name: [row["z"] for row in rows(demo / "demo", name) if abs(row["mass"] - PLANTED) <= 100]
        for name in ("inclusive", "cwola")
    }
    assert len(near["cwola"]) == 3
    assert max(near["cwola"]) >= 4
    assert max(near["inclusive"]) < 2


def test_the_null_twin_shows_nothing_and_every_fit_of_it_is_good(demo):
    for selection in ("inclusive", "cwola"):
        found = rows(demo / "demo_null", selection)
        assert max(row["z"] for row in found) <= 3
        assert min(row["fit_p"] for row in found) > 0.01
        assert min(row["signal_fit_p"] for row in found) > 0.01


def test_the_planted_peak_is_fitted_well(demo):
    (row,) = (row for row in rows(demo / "demo", "cwola") if row["mass"] == PLANTED)
    assert row["signal_fit_p"] > 0.01


@pytest.mark.parametrize("run", ["demo", "demo_null"])
def test_every_mass_is_valid_and_has_limits(demo, run):
    for selection in ("inclusive", "cwola"):
        found = rows(demo / run, selection)
        assert [row["mass"] for row in found] == list(range(2900, 3801, 100))
        for row in found:
            assert row["valid"]
            assert row["limit_expected"] == sorted(row["limit_expected"])
            assert row["limit_observed"] > 0
            assert row["limit_observed_fb"] > 0


@pytest.mark.parametrize("run", ["demo", "demo_null"])
def test_every_entry_is_accounted_for(demo, run):
    account = read_json(demo / run / "account.json")
    samples = read_samples(MINI / "samples.yaml")
    names = {file["sample"] for file in account["files"]}
    assert account["expected"] == account["processed"] == sum(sum(samples[n].files.values()) for n in names)


@pytest.mark.parametrize("run", ["demo", "demo_null"])
def test_reports_and_plots_are_there(demo, run):
    page = demo / run / "report" / "index.html"
    assert page.stat().st_size > 100_000
    assert {path.suffix for path in (demo / run / "plots").iterdir()} == {".pdf", ".png"}


def test_memory_stays_below_three_gigabytes(demo_and_memory):
    assert 100_000 < demo_and_memory[1] < 3_000_000


def test_the_shipped_sample_is_small():
    assert sum(path.stat().st_size for path in MINI.iterdir()) <= 25_000_000
