import functools

import numpy as np
import pytest

from models import mlp
from models.classifiers import MlpSettings, Problem
from models.seeds import task_seed


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(2600, 3)) * [1, 50, 0.01]).astype(np.float32)
    target = rng.random(2600) < 1 / (1 + np.exp(-3 * x[:, 0]))
    return Problem(x, target, np.ones(2600), np.arange(2600) % 4)


def trained(problem, seed=1, **settings):
    return mlp.train(problem, MlpSettings(**({"epochs": 6} | settings)), functools.partial(task_seed, seed))


@pytest.mark.parametrize(("small_below", "layers"), [(10_000, mlp.SMALL), (0, mlp.LARGE)])
def test_it_learns_with_the_layers_of_the_search(problem, small_below, layers):
    arrays = trained(problem, small_below=small_below)
    assert tuple(arrays[f"weight{n}"].shape[2] for n in range(len(layers))) == layers
    mlp.check(arrays, 3)
    output = mlp.probability(arrays, problem.x)
    assert np.corrcoef(output, problem.x[:, 0])[0, 1] > 0.8


def test_training_is_reproducible_and_seeded(problem):
    first, again, other = (trained(problem, seed, epochs=2) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["weight0"], other["weight0"])


def test_a_row_scores_the_same_in_any_chunk(problem):
    arrays = trained(problem, epochs=1)
    whole = mlp.probability(arrays, problem.x)
    for size in (1, 777, 1024, 1500):
        parts = [
            mlp.probability(arrays, problem.x[i : i + size]) for i in range(0, min(2600, 3 * size), size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole[: 3 * size])


def test_best_validation_weights_are_kept(problem):
    """Fitted to pure noise, the network that validates best is an early one: a long training must return it."""
    rng = np.random.default_rng(3)
    noise = Problem(problem.x[:400], rng.random(400) < 0.5, np.ones(400), np.arange(400) % 4)
    losses = []
    for epochs in (60, 1):
        arrays = trained(noise, epochs=epochs, learning_rate=0.01)
        own = []
        for split in range(4):
            member = {n: a[split : split + 1] if n[:4] in ("weig", "bias") else a for n, a in arrays.items()}
            output = mlp.probability(member, noise.x[noise.split == split])
            target = noise.target[noise.split == split]
            own.append(-np.mean(np.log(np.where(target, output, 1 - output))))
        losses.append(own)
    assert np.all(np.array(losses[0]) <= np.array(losses[1]) + 1e-6)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("weight1", lambda a: a[:, :-1], "'weight1' is"),
        ("bias0", lambda a: a.astype(np.float64), "'bias0' is"),
        ("bias2", lambda a: a * np.inf, "do not describe networks"),
    ],
)
def test_arrays_that_are_no_networks_are_refused(problem, name, change, match):
    arrays = trained(problem, epochs=1)
    with np.errstate(invalid="ignore"):
        arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=match):
        mlp.check(arrays, 3)
