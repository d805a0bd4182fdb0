"""Progress in events, with rate and time left."""

import logging

import pytest

from processors.progress import EVERY, Countdown, EventProgress, event_progress, time_words


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_line_is_told_now_and_then_with_rate_and_time_left():
    clock = Clock()
    count = EventProgress("mock", 1_000_000, clock)
    clock.now += EVERY / 2
    assert count.add(100_000) is None
    clock.now += EVERY / 2
    assert count.add(200_000) == "mock: 300,000 of 1,000,000 events, 5,000 events/s, 2.3 min left"
    assert count.add(100_000) is None
    clock.now += EVERY
    assert count.add(600_000) is None  # the end tells itself


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0.2 s"), (40, "40 s"), (100, "1.7 min"), (7200, "2 h"), (1e6, "12 days")]
)
def test_durations_in_words(seconds, words):
    assert time_words(seconds) == words


def test_a_block_counts_its_events(caplog, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # it stands for a terminal
    monkeypatch.setattr("processors.progress.EVERY", 0.0)
    with caplog.at_level(logging.INFO, logger="oddjet"), event_progress("mock", 30) as add:
        add(10)
        add(20)
    (line,) = caplog.messages  # none at the end
    assert line.startswith("mock: 10 of 30 events, ")


def test_a_countdown_takes_only_the_time_of_what_was_done_now(caplog):
    clock = Clock()
    count = Countdown("trainings", 4, clock)
    with caplog.at_level(logging.INFO, logger="oddjet"):
        clock.now += 1
        count.step(worked=False)
        clock.now += 50
        count.step(worked=True)
        clock.now += 70
        count.step(worked=True)
        clock.now += 60
        count.step(worked=True)
    assert caplog.messages == [
        "trainings: 2 of 4, about 1.7 min left",
        "trainings: 3 of 4, about 60 s left",
    ]
