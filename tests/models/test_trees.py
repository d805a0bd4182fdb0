import functools

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from models import trees
from models.problems import Problem
from models.seeds import task_seed
from models.threads import one_thread
from models.trees import TreeSettings


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    x[:, 3] = rng.integers(0, 5, 3000)
    target = rng.random(3000) < 1 / (1 + np.exp(-2 * x[:, 0] * x[:, 1]))
    return Problem(x, target, rng.uniform(0.5, 2, 3000), rng.integers(0, 4, 3000))


@pytest.mark.parametrize("bins", [None, 15, 255])
def test_kernel_agrees_with_sklearn(problem, bins):
    x = problem.x.astype(np.float64)
    edges = None if bins is None else [trees.bin_edges(values, bins) for values in problem.x.T]
    seen = x if edges is None else trees.binned_inputs(problem.x, edges)
    model = HistGradientBoostingClassifier(max_iter=25, random_state=1, early_stopping=False)
    model.fit(seen, problem.target)
    ours = trees.probability(trees.forest_arrays(model, edges), problem.x)
    np.testing.assert_allclose(ours, model.predict_proba(seen)[:, 1], rtol=0, atol=1e-12)


def test_kernel_follows_missing_values_as_sklearn_does(problem):
    x = problem.x.copy()
    x[::7, 0] = np.nan
    model = HistGradientBoostingClassifier(max_iter=10, random_state=1, early_stopping=False)
    model.fit(x.astype(np.float64), problem.target)
    expected = model.predict_proba(x.astype(np.float64))[:, 1]
    np.testing.assert_allclose(trees.probability(trees.forest_arrays(model), x), expected, rtol=0, atol=1e-12)


def test_a_model_of_one_leaf_is_a_constant(problem):
    model = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=3000, early_stopping=False)
    model.fit(problem.x, problem.target)
    arrays = trees.forest_arrays(model)
    trees.check(arrays, 4)
    np.testing.assert_allclose(trees.probability(arrays, problem.x), problem.target.mean(), atol=1e-12)


def test_ensemble_is_the_mean_of_its_members(problem):
    models = [
        HistGradientBoostingClassifier(max_iter=5, random_state=s, early_stopping=False).fit(
            problem.x[s::2], problem.target[s::2]
        )
        for s in (0, 1)
    ]
    joined = trees.join([trees.forest_arrays(model) for model in models])
    expected = np.mean([model.predict_proba(problem.x)[:, 1] for model in models], axis=0)
    np.testing.assert_allclose(trees.probability(joined, problem.x), expected, rtol=0, atol=1e-12)


def test_training_is_reproducible_and_seeded(problem):
    settings = TreeSettings(bags=2, iterations=8)
    first, again, other = (
        trees.train(problem, settings, functools.partial(task_seed, seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(trees.probability(first, problem.x), trees.probability(other, problem.x))
    assert len(first["baseline"]) == 8
    trees.check(first, 4)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("left", lambda a: np.where(a >= 0, 0, a).astype(np.int32)),  # a cycle: the walk would never end
        ("right", lambda a: np.where(a >= 0, 10**6, a).astype(np.int32)),
        ("feature", lambda a: np.full_like(a, 9)),
        ("tree_start", lambda a: a + 10**6),
        ("member_start", lambda a: a + 1),
        ("value", lambda a: a * np.nan),
        ("value", lambda a: a[:-1]),
        ("threshold", lambda a: a.astype(np.float32)),
    ],
)
def test_arrays_that_the_kernel_could_not_walk_are_refused(problem, name, change):
    settings = TreeSettings(bags=1, iterations=3)
    arrays = trees.train(problem, settings, functools.partial(task_seed, 1))
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=f"'{name}' is|do not describe trees"):
        trees.check(arrays, 4)


def test_a_missing_array_is_named():
    with pytest.raises(ValueError, match="array 'left' is missing"):
        trees.check({}, 4)
