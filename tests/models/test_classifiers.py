import functools

import numpy as np
import pydantic
import pytest
import torch

from models.classifiers import CMS_MLP, LHCO_MLP, Classifier, ClassifierOptions, MlpSettings
from models.driver import train_together
from models.networks.scoring import in_batches
from models.problems import Problem
from models.seeds import task_seed
from models.trees import TreeSettings

MLP = MlpSettings(
    hidden=(16, 16), bags=2, schedule={"epochs": 8, "batch": 64, "learning_rate": 0.01, "keep": 2}
)
TREES = TreeSettings(bags=2, iterations=15, sampling=1.0)
SETTINGS = {"mlp": MLP, "trees": TREES}


def likelihood_ratio(x):
    """Logit of the toy's true probability: two unit Gaussians, half a unit apart in each input."""
    return 0.5 * (x.sum(axis=1) - 0.25 * x.shape[1])


def toy(seed, rows=3000, inputs=3):
    rng = np.random.default_rng(seed)
    target = rng.random(rows) < 0.5
    x = (rng.normal(size=(rows, inputs)) + 0.5 * target[:, None]).astype(np.float32)
    return Problem(x, target, np.ones(rows), rng.integers(0, 4, rows))


def seeds(count, seed=0):
    return [functools.partial(task_seed, seed, "problem", number) for number in range(count)]


def trained(kind, problems, settings=None, seed=0):
    classifier = Classifier(kind, settings or SETTINGS[kind])
    return classifier, train_together([classifier.train(problems, seeds(len(problems), seed))])[0]


@pytest.fixture(scope="module", params=["mlp", "trees"])
def fitted(request):
    classifier, arrays = trained(request.param, [toy(0), toy(1)])
    return classifier, arrays


def test_learns_the_likelihood_ratio(fitted):
    """Shifted Gaussians: the true probability is known, and the area under the curve of the best classifier too."""
    classifier, arrays = fitted
    x = toy(7).x
    probability = classifier.probability(arrays[0], x)
    truth = 1 / (1 + np.exp(-likelihood_ratio(x.astype(float))))
    assert np.corrcoef(probability, truth)[0, 1] > 0.85
    assert np.abs(probability - truth).mean() < 0.08
    assert probability.dtype == np.float64
    assert (probability > 0).all()
    assert (probability < 1).all()


def test_weights_of_the_events_count():
    """A calibrated classifier's mean output over the weighted sample is the class's share of the weight."""
    problem = toy(2)
    heavy = Problem(problem.x, problem.target, np.where(problem.target, 3.0, 1.0), problem.split)
    for kind in SETTINGS:
        means = []
        for chosen in (problem, heavy):
            classifier, arrays = trained(kind, [chosen])
            probability = classifier.probability(arrays[0], problem.x)
            means.append(np.average(probability, weights=chosen.weight))
        np.testing.assert_allclose(means, [0.5, 0.75], atol=0.03)


def test_a_row_does_not_depend_on_the_others(fitted):
    classifier, arrays = fitted
    x = toy(8, rows=2500).x
    whole = classifier.probability(arrays[1], x)
    for chosen in (slice(0, 1), slice(1000, 1030), slice(1, None, 3), slice(None, None, -1)):
        np.testing.assert_array_equal(classifier.probability(arrays[1], x[chosen]), whole[chosen])
    assert classifier.probability(arrays[1], x[:0]).shape == (0,)


def test_problems_are_trained_as_if_alone(fitted):
    classifier, arrays = fitted
    alone = train_together([classifier.train([toy(1)], seeds(2)[1:])])[0][0]
    assert all(np.array_equal(alone[name], arrays[1][name]) for name in alone)


def test_networks_of_all_inner_splits_and_bags_are_averaged():
    classifier, (arrays,) = trained("mlp", [toy(0)])
    # 4 inner splits × 2 bags × 2 kept epochs
    assert len(arrays["weight0"]) == 16
    x = toy(3).x
    single = [
        classifier.probability({name: array[n : n + 1] for name, array in arrays.items()}, x)
        for n in range(16)
    ]
    np.testing.assert_allclose(classifier.probability(arrays, x), np.mean(single, axis=0), rtol=0, atol=1e-7)


def test_validation_events_of_a_split_do_not_train_its_network():
    """Targets of one inner split are turned over: networks that train on it change, its own weights' steps do not."""
    problem = toy(0)
    turned = Problem(
        problem.x,
        np.where(problem.split == 2, ~problem.target, problem.target),
        problem.weight,
        problem.split,
    )
    settings = MlpSettings(hidden=(8,), bags=1, schedule={"epochs": 1, "batch": 64})
    first, second = (trained("mlp", [chosen], settings)[1][0]["weight0"] for chosen in (problem, turned))
    assert [np.array_equal(first[n], second[n]) for n in range(4)] == [False, False, True, False]


def test_few_events_get_the_small_network():
    settings = MlpSettings(
        hidden=(32, 32), dropout=(0.2,), small_below=1500, small=(6, 5, 4), bags=1, schedule={"epochs": 1}
    )
    shapes = []
    for rows in (1000, 3000):
        classifier, (arrays,) = trained("mlp", [toy(0, rows)], settings)
        classifier.check(arrays, 3)
        assert np.isfinite(classifier.probability(arrays, toy(1).x)).all()
        shapes.append(
            [arrays[f"weight{n}"].shape[1:] for n in range(sum("weight" in name for name in arrays))]
        )
    assert shapes == [[(3, 6), (6, 5), (5, 4), (4, 1)], [(3, 32), (32, 32), (32, 1)]]


def test_inputs_in_pieces():
    """An excess of three narrow bumps, of which a network of so few units and steps sees nothing without pieces."""
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 100, size=(6000, 2)).astype(np.float32)
    x[:, 1] = rng.integers(0, 3, 6000)  # few distinct values
    bump = np.abs((x[:, 0] % 33) - 16) < 2
    problem = Problem(x, rng.random(6000) < np.where(bump, 0.9, 0.4), np.ones(6000), rng.integers(0, 4, 6000))
    apart = []
    for pieces in (0, 32):
        schedule = {"epochs": 5, "batch": 128, "learning_rate": 0.02}
        settings = MlpSettings(hidden=(16,), bags=1, pieces=pieces, schedule=schedule)
        classifier, (arrays,) = trained("mlp", [problem], settings)
        classifier.check(arrays, 2)
        probability = classifier.probability(arrays, x)
        apart.append(probability[bump].mean() - probability[~bump].mean())
    assert apart[0] < 0.1
    assert apart[1] > 0.18
    with pytest.raises(ValueError, match="the inputs' width is not that of a trained network"):
        classifier.check(arrays | {"buffer.width": 0 * arrays["buffer.width"]}, 2)


def test_an_input_far_away_gives_a_finite_probability(fitted):
    classifier, arrays = fitted
    far = np.full((3, 3), [[1e30], [-1e30], [0.0]], dtype=np.float32)
    probability = classifier.probability(arrays[0], far)
    assert np.isfinite(probability).all()


def test_arrays_of_no_training_are_refused(fitted):
    classifier, arrays = fitted
    classifier.check(arrays[0], 3)
    with pytest.raises(ValueError, match=r"shape|do not describe trees"):
        classifier.check(arrays[0] | {name: array[:-1] for name, array in list(arrays[0].items())[:1]}, 3)
    with pytest.raises(ValueError, match="is missing"):
        classifier.check({}, 3)


@pytest.mark.parametrize("name", ["mean", "deviation"])
def test_a_damaged_standardisation_is_refused(name):
    settings = MlpSettings(hidden=(8,), bags=1, schedule={"epochs": 1})
    classifier, (arrays,) = trained("mlp", [toy(0, 400)], settings)
    damaged = arrays | {f"buffer.{name}": arrays[f"buffer.{name}"] * np.float32(np.nan)}
    with pytest.raises(ValueError, match=f"the inputs' {name} is not that of a trained network"):
        classifier.check(damaged, 3)
    with pytest.raises(ValueError, match="the inputs' deviation"):
        classifier.check(arrays | {"buffer.deviation": 0 * arrays["buffer.deviation"]}, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": ()}, "at least 1 item"),
        ({"small": (8, 0)}, "greater than 0"),
        ({"dropout": (1.0,)}, r"below 1, found \[1.0\]"),
        ({"activations": ()}, "name at least one"),
        ({"bags": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        MlpSettings(**settings)


def test_options_choose_the_classifier():
    assert ClassifierOptions().built == Classifier("trees", TreeSettings())
    assert ClassifierOptions(classifier="mlp").built == Classifier("mlp", MlpSettings())


def test_recipes_of_the_papers():
    """CMS-EXO-22-026 (arXiv:2512.20395): drop-out 0.2 after four layers; CATHODE (arXiv:2109.00546), section III."""
    cms = MlpSettings(**CMS_MLP).network(14, 20_000)
    assert cms.sizes == (14, 64, 128, 128, 32, 16, 8, 1)
    assert cms.activations == ("leaky_relu", "elu", "elu", "elu", "elu", "elu")
    assert MlpSettings(**CMS_MLP).network(14, 5000).hidden == (16, 16, 16, 8, 4)
    lhco = MlpSettings(**LHCO_MLP)
    assert (lhco.network(4, 10).hidden, lhco.schedule.batch, lhco.schedule.epochs) == ((64, 64, 64), 128, 100)
    assert lhco.schedule.keep == 10


def test_batches_are_padded_to_one_size_in_one_thread():
    seen = []

    def function(x):
        seen.append((tuple(x.shape), torch.get_num_threads(), torch.is_grad_enabled()))
        return x.sum(dim=1)

    x = np.arange(150, dtype=np.float32).reshape(75, 2)
    values = in_batches(function, x, 32)
    np.testing.assert_array_equal(values, x.sum(axis=1))
    assert values.dtype == np.float64
    assert seen == [((32, 2), 1, False)] * 3
    assert in_batches(function, x[:0], 32).shape == (0,)
