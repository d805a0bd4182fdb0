"""A bar of the epochs while networks train: on a terminal only, and no number of a result depends on it."""

import io
import threading

import numpy as np
import pytest
from rich.console import Console

from analysis.training_bar import training_bar
from models import epochs
from models.driver import train_together
from models.jobs import Member, Schedule, StackJob
from models.networks.dense import DenseClassifier

ROWS = np.arange(160)
DATA = {
    "x": np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32),
    "target": np.arange(200) % 2,
    "weight": np.ones(200, np.float32),
}
DATA["target"] = DATA["target"].astype(np.float32)
BUFFERS = {"mean": np.zeros((1, 3), np.float32), "deviation": np.ones((1, 3), np.float32)}


def training(most, second=None):
    """Networks of one schedule, then those of another."""
    results = []
    for number in [most] if second is None else [most, second]:
        schedule = Schedule(epochs=number, batch=32)
        members = tuple(Member(ROWS, np.arange(160, 200), seed, BUFFERS) for seed in (1, 2))
        results += yield [StackJob(DenseClassifier(3, (4,), ("relu",)), schedule, DATA, members)]
    return results


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(epochs, "EVERY", 0.001)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_listener_hears_each_round_to_its_end(often, workers):
    told = []
    with epochs.heard(lambda *words: told.append(words)):
        heard = train_together([training(60, 30)], workers=workers)
    assert {(number, most) for number, _, most in told} == {(1, 60), (2, 30)}
    for number, most in ((1, 60), (2, 30)):
        done = [share for one, share, _ in told if one == number]
        assert done == sorted(done)
        assert done[-1] == most
    for one, other in zip(heard[0], train_together([training(60, 30)])[0], strict=True):
        np.testing.assert_array_equal(one.history, other.history)
        for name in one.networks[0]:
            np.testing.assert_array_equal(one.networks[0][name], other.networks[0][name])


def test_the_listener_hears_of_networks_on_their_way(often, monkeypatch):
    told, looked, note = [], threading.Event(), epochs.note

    def noted_and_seen(stack, number):
        note(stack, number)
        assert looked.wait(60)

    def listener(_, share, most):
        told.append(share)
        if share:
            looked.set()

    monkeypatch.setattr(epochs, "note", noted_and_seen)
    with epochs.heard(listener):
        train_together([training(60)])
    assert any(0 < share < 60 for share in told)


def test_nobody_hears_what_is_trained_outside_the_block(often):
    told = []
    with epochs.heard(lambda *words: told.append(words)):
        pass
    train_together([training(2)])
    assert told == []


def test_a_terminal_shows_epochs_and_time_left(often):
    text = io.StringIO()
    with training_bar("cathode A3", Console(file=text, force_terminal=True, width=120)):
        train_together([training(150, 20)])
    assert "cathode A3, networks 2" in text.getvalue()
    assert "epoch 20 of 20" in text.getvalue()


def test_trainings_of_one_bar_each_have_their_own_most(monkeypatch):
    monkeypatch.setattr(epochs, "EVERY", 60)  # each is heard of at its end only
    text = io.StringIO()
    with training_bar("bias", Console(file=text, force_terminal=True, width=120)):
        train_together([training(10)])
        train_together([training(30)])
    assert "epoch 30 of 30" in text.getvalue()


def test_nothing_is_shown_elsewhere(often):
    text = io.StringIO()
    with training_bar("cathode A3", Console(file=text, width=120)):
        train_together([training(3)])
    assert text.getvalue() == ""
