"""The event-level autoencoder: its score, its anomaly regions, its training sample."""

import numpy as np
import pytest
import torch
from torch import nn

import models
from data.errors import ConfigError, InputError, TrainingError
from data.eventid import batch_number, fold_of

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
SETTINGS = WINDOW | {"working_point": 0.05, "seed": 4, "preset": "quick", "hidden": (16,), "latent": 4}
LONGER = {"epochs": 25, "batch": 32, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def events(tables):
    """Sparse non-negative cells that a few hidden numbers decide; in the odd events cells stand for others."""
    table = tables(3000, 0, seed=12)
    rng = np.random.default_rng(8)
    hidden = rng.exponential(0.05, (3000, 3))
    cells = hidden @ rng.uniform(0, 1, (3, 40)) * (rng.random(40) < 0.6) + rng.exponential(0.002, (3000, 40))
    odd = np.flatnonzero((table["mjj"] > 3000) & (table["mjj"] < 3600))[:60]
    cells[odd] = np.roll(cells[odd], 7, axis=1)
    table["rmm"] = cells.astype(np.float32).reshape(3000, 5, 8)
    table["label"][odd] = 1
    return table


@pytest.fixture(scope="module")
def trained(events):
    return models.create("rmm_autoencoder", **SETTINGS, schedule=LONGER).fit(events)


def test_the_score_is_the_logarithm_of_the_mean_absolute_error(trained, events):
    fold = trained._trained.folds[1]
    x = torch.from_numpy(events["rmm"][:50].reshape(50, 40))
    y = x
    for part in ("encoder", "decoder"):
        for number in (0, 1):
            layer = nn.Linear(*fold[f"{part}/weight{number}"].shape[1:])
            layer.weight.data = torch.from_numpy(fold[f"{part}/weight{number}"][0].T)
            layer.bias.data = torch.from_numpy(fold[f"{part}/bias{number}"][0, 0])
            y = layer(y) if number else nn.functional.leaky_relu(layer(y), 0.01)
    expected = torch.log(nn.functional.l1_loss(y, x, reduction="none").mean(dim=1))
    score = trained.raw_score(fold, {"rmm": events["rmm"][:50]})
    np.testing.assert_allclose(score, expected.detach().numpy(), atol=1e-4)


def test_events_whose_cells_stand_for_others_are_found(trained, events):
    selected = trained.fold_votes(events, trained_on=True) == 5
    odd = events["label"] == 1
    assert selected[odd].mean() > 0.5
    assert selected[~odd].mean() < 0.08


@pytest.mark.parametrize(("region", "luminosity", "left"), [("10 pb", 0.05, 500), ("0.1 pb", 1.2, 120)])
def test_anomaly_regions_leave_their_cross_section(events, region, luminosity, left):
    """N = σ·L: 10 pb × 0.05 fb⁻¹ = 500 events, whatever the window."""
    method = models.create("rmm_autoencoder", **SETTINGS, region=region, luminosity=luminosity).fit(events)
    votes = method.fold_votes(events, trained_on=True)
    assert np.count_nonzero(votes) == pytest.approx(left, abs=3)
    held = trained_fold(events) == 0
    raw = method.raw_score(method._trained.folds[0], {"rmm": events["rmm"][held]})
    selected = votes[held] == 5
    assert raw[selected].min() > raw[~selected].max()


def trained_fold(table):
    return fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))


@pytest.mark.parametrize(("region", "cut"), [("10 pb", -9.10), ("1 pb", -8.0), ("0.1 pb", -6.50)])
def test_published_cuts(region, cut):
    """ADFilter, global_module.py."""
    method = models.create("rmm_autoencoder", **SETTINGS, region=region, cut="published")
    assert method.raw_cut(np.zeros(10), 10) == cut


def test_published_cuts_select_by_the_loss(tables):
    table = tables(1500, 0, seed=14)
    scale = np.exp(np.random.default_rng(1).uniform(-13, -3, 1500))
    table["rmm"] = (scale[:, None] * np.random.default_rng(0).normal(size=(1500, 1287))).astype(np.float32)
    method = models.create("rmm_autoencoder", **SETTINGS, region="1 pb", cut="published").fit(table)
    votes = method.fold_votes(table, trained_on=True)
    for fold in range(5):
        held = trained_fold(table) == fold
        raw = method.raw_score(method._trained.folds[fold], {"rmm": table["rmm"][held]})
        np.testing.assert_array_equal(votes[held] == 5, raw > -8.0)


def test_a_hundredth_of_the_side_bands_is_learned_from(tables, events):
    """The folds share one table, of the rows that one of them drew."""
    from models.folds import training_sample

    method = models.create("rmm_autoencoder", **SETTINGS, least=1, fraction=0.1)
    sample = training_sample(events, ("mjj", "rmm"), ("mjj", "rmm"))
    jobs = next(method.train(sample, {}))
    region = method.window.of(sample.columns["mjj"])
    for fold, job in enumerate(jobs):
        (member,) = job.members
        other = np.isin(region, (0, 2)) & (sample.fold != fold)
        assert len(member.fitted) + len(member.validation) == np.ceil(0.1 * np.count_nonzero(other))
        assert job.data["x"] is jobs[0].data["x"]
        used = job.data["x"][np.append(member.fitted, member.validation)]
        allowed = {row.tobytes() for row in sample.columns["rmm"][other].reshape(-1, 40)}
        assert all(row.tobytes() in allowed for row in used)


def test_wide_is_learned_from_where_it_is_given(events, tables):
    wide = tables(800, 0, seed=15)
    wide["rmm"] = events["rmm"][:800] * 2
    method = models.create("rmm_autoencoder", **SETTINGS)
    from models.folds import training_sample

    hashed = ("mjj", "rmm")
    sample, extra = (training_sample(table, hashed, hashed) for table in (events, wide))
    job = next(method.train(sample, {"wide": extra}))[0]
    allowed = {row.tobytes() for row in wide["rmm"].reshape(-1, 40)}
    assert all(row.tobytes() in allowed for row in job.data["x"])


def test_wrong_options_and_tables_are_named(events, trained):
    with pytest.raises(ConfigError, match="luminosity"):
        models.create("rmm_autoencoder", **WINDOW, region="10 pb")
    with pytest.raises(ConfigError, match="choose region"):
        models.create("rmm_autoencoder", **WINDOW, cut="published")
    with pytest.raises(ConfigError, match="decorrelate: none"):
        models.create("rmm_autoencoder", **WINDOW, region="1 pb", luminosity=1, decorrelate="quantile")
    with pytest.raises(
        TrainingError, match="region: 10 pb at 140 fb⁻¹ is 1400000 events, the table holds 3000"
    ):
        models.create("rmm_autoencoder", **SETTINGS, region="10 pb", luminosity=140).fit(events)
    with pytest.raises(TrainingError, match="holds 40 numbers an event; the published cuts are those"):
        models.create("rmm_autoencoder", **SETTINGS, region="10 pb", cut="published").fit(events)
    with pytest.raises(InputError, match="column 'rmm' is missing"):
        models.create("rmm_autoencoder", **SETTINGS).fit({k: v for k, v in events.items() if k != "rmm"})
    with pytest.raises(InputError, match="column 'rmm': expected a matrix an event"):
        models.create("rmm_autoencoder", **SETTINGS).fit(events | {"rmm": events["rmm"][:, 0, 0]})
    with pytest.raises(
        InputError, match="column 'rmm' holds 46 numbers an event, the network was trained on 40"
    ):
        trained.score({"mjj": np.array([3300.0]), "rmm": np.zeros((1, 46))}, trained_on=False)
    extreme = np.full((2, 40), [[0.1], [3e38]], dtype=np.float32)
    with pytest.raises(
        InputError, match=r"'rmm_autoencoder': 1 of 2 scores are not finite, the first for mjj 3400; look for"
    ):
        trained.score({"mjj": np.array([3300.0, 3400.0]), "rmm": extreme}, trained_on=False)
