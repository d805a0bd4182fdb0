"""A chunk that is tried out: its rate, its result, and what is wrong with it."""

from dataclasses import dataclass

import pytest

from analysis.chunk_trial import try_chunk
from data.errors import InputError
from processors.event_options import EventOptions
from processors.preflight import plan_sample
from processors.schedule import ChunkBugError
from processors.skim import Skim

OPTIONS = EventOptions()


def planned(sample):
    return plan_sample(sample, OPTIONS.demand(sample))


def test_the_first_entries_of_the_largest_file(tmp_path, make_nano_file, make_sample):
    small = make_nano_file(tmp_path / "a.root", 100)
    large = make_nano_file(tmp_path / "b.root", 900, first_event=1000)
    trial = try_chunk(planned(make_sample([small, large])), OPTIONS, 500)
    assert trial.entries == 500
    events = trial.result["tables"]["nominal"]["event"]
    assert events.min() >= 1000
    assert events.max() < 1500
    assert trial.rate == pytest.approx(500 / trial.seconds)


def test_a_timed_chunk_gives_the_same(tmp_path, make_nano_file, make_sample):
    plan = planned(make_sample([make_nano_file(tmp_path / "a.root", 300)]))
    once, again = try_chunk(plan, OPTIONS, 1000), try_chunk(plan, OPTIONS, 1000, timed=True)
    assert (once.entries, again.entries) == (300, 300)
    table, other = (trial.result["tables"]["nominal"] for trial in (once, again))
    assert all((table[name] == other[name]).all() for name in table)


def test_no_entries_no_trial(tmp_path, make_nano_file, make_sample):
    assert try_chunk(planned(make_sample([make_nano_file(tmp_path / "a.root", 0)])), OPTIONS, 10) is None


def test_a_bad_value_is_named(tmp_path, make_nano_file, make_sample):
    def change(columns):
        columns["FatJet"]["pt"] = columns["FatJet"]["pt"] * float("nan")

    plan = planned(make_sample([make_nano_file(tmp_path / "a.root", 200, change=change)]))
    with pytest.raises(InputError, match=r"a\.root.*FatJet_pt"):
        try_chunk(plan, OPTIONS, 1000)


@dataclass(frozen=True)
class Broken(Skim):
    def __call__(self, events):
        return 1 / 0


def test_a_bug_has_its_traceback(tmp_path, make_nano_file, make_sample):
    plan = planned(make_sample([make_nano_file(tmp_path / "a.root", 200)]))
    with pytest.raises(ChunkBugError, match="ZeroDivisionError"):
        try_chunk(plan, OPTIONS, 1000, Broken)
