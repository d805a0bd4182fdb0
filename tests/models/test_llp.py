"""Learning from label proportions: what the outputs become, and wrong options."""

import numpy as np
import pytest
import torch
from scipy import stats

import models
from data.errors import ConfigError, InputError
from models.driver import train_together
from models.folds import training_sample
from models.jobs import Member, Schedule, StackJob
from models.networks.base import Noise
from models.networks.proportions import ProportionNetwork
from models.networks.scoring import in_batches, tensors
from models.stack import train_stack

SCHEDULE = Schedule(epochs=12, batch=512, learning_rate=1e-2, decay="one_cycle")
BUFFERS = {name: np.full((1, 1), value, np.float32) for name, value in (("mean", 0.5), ("deviation", 1.1))}
NONE = Noise([torch.Generator()], training=False)


def gaussian_samples(fractions, rows, seed, apart=1.5):
    """One input, N(0, 1) for background and N(apart, 1) for signal, so that the likelihood ratio rises with it."""
    rng = np.random.default_rng(seed)
    sample = np.repeat(np.arange(len(fractions)), rows)
    signal = rng.random(len(sample)) < np.array(fractions)[sample]
    x = rng.normal(apart * signal, 1.0).astype(np.float32)[:, None]
    share = (sample[:, None] == np.arange(len(fractions))).astype(np.float32)
    return x, share, signal


def outputs_of(apart, distance, schedule):
    """Outputs of a network trained on samples of 20 %, 70 % and 20 % signal, which it is told."""
    fractions = (0.2, 0.7, 0.2)
    x, share, _ = gaussian_samples(fractions, 2000, 1, apart)
    network = ProportionNetwork(1, (16,), fractions, distance)
    rows = np.arange(len(x))
    member = Member(rows[rows % 4 != 0], rows[rows % 4 == 0], 5, BUFFERS)
    arrays = train_stack(network, schedule, {"x": x, "share": share}, [member]).networks[0]
    return lambda x: in_batches(lambda part: network.outputs(tensors(arrays), part[None])[0], x)


@pytest.fixture(scope="module", params=["squared", "absolute"])
def learned(request):
    return outputs_of(1.5, request.param, SCHEDULE)


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_mean_outputs_are_the_proportions(distance):
    """arXiv:1702.00414: on average the outputs are the proportions. Classes 5σ apart, so that they can be; large
    batches, whose means scatter little."""
    x, share, _ = gaussian_samples((0.2, 0.7, 0.2), 4000, 2, 5.0)
    schedule = Schedule(epochs=40, batch=1500, learning_rate=3e-2, decay="one_cycle")
    output = outputs_of(5.0, distance, schedule)(x)
    for number, fraction in enumerate((0.2, 0.7, 0.2)):
        assert output[share[:, number] == 1].mean() == pytest.approx(fraction, abs=0.04)


def test_outputs_rise_with_the_likelihood_ratio(learned):
    grid = np.linspace(-2.5, 4, 200).astype(np.float32)[:, None]
    assert stats.spearmanr(learned(grid), grid[:, 0]).statistic > 0.98


def test_outputs_separate_classes_that_no_label_told(learned):
    x, _, signal = gaussian_samples((0.5, 0.5), 4000, 3)
    output = learned(x)
    auc = stats.mannwhitneyu(output[signal], output[~signal]).statistic / (signal.sum() * (~signal).sum())
    assert auc > 0.84  # the likelihood ratio's is Φ(1.5/√2) = 0.856


@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_the_loss_is_the_formula_in_every_row(distance):
    """Σ over samples of |weighted mean − fraction|, or its square, with a sample missing from the batch."""
    network = ProportionNetwork(1, (4,), (0.1, 0.9, 0.3), distance)
    generator = torch.Generator().manual_seed(0)
    buffers = {f"buffer.{name}": torch.from_numpy(value) for name, value in BUFFERS.items()}
    parameters = {name: v[None] for name, v in (network.initial(generator) | buffers).items()}
    x = torch.randn((1, 5, 1), generator=generator)
    weight = np.array([1.0, 3.0, 2.0, 2.0, 5.0])
    sample = np.array([0, 0, 1, 1, 1])
    share = torch.tensor((sample[:, None] == np.arange(3)) * weight[:, None], dtype=torch.float32)[None]
    losses = network.losses(parameters, {"x": x, "share": share}, NONE)
    output = network.outputs(parameters, x)[0].numpy()
    away = [np.average(output[sample == n], weights=weight[sample == n]) - f for n, f in ((0, 0.1), (1, 0.9))]
    wanted = np.sum(np.abs(away)) if distance == "absolute" else np.sum(np.square(away))
    np.testing.assert_allclose(losses.numpy(), np.full((1, 5), wanted), rtol=1e-5)


def test_a_members_losses_do_not_depend_on_the_others():
    network = ProportionNetwork(1, (4,), (0.1, 0.9))
    generator = torch.Generator().manual_seed(0)
    buffers = {f"buffer.{name}": torch.from_numpy(value) for name, value in BUFFERS.items()}
    two = [network.initial(generator) | buffers for _ in range(2)]
    both = {name: torch.stack([one[name] for one in two]) for name in two[0]}
    batch = {
        "x": torch.randn((2, 6, 1), generator=generator),
        "share": torch.rand((2, 6, 2), generator=generator),
    }
    alone = network.losses({n: v[1:] for n, v in both.items()}, {n: v[1:] for n, v in batch.items()}, NONE)
    assert torch.equal(network.losses(both, batch, NONE)[1:], alone)


@pytest.fixture(scope="module")
def quick_llp():
    window = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
    settings = {"working_point": 0.05, "seed": 3, "preset": "quick", "schedule": {"epochs": 5}}
    return lambda **options: models.create("llp", **(window | settings | options))


def test_it_finds_the_planted_signal_without_labels(quick_llp, table, tmp_path):
    method = quick_llp().fit(table)
    votes = method.fold_votes(table, trained_on=True)
    signal, inside = table["label"] == 1, method.window.of(table["mjj"]) == 1
    assert np.mean(votes[signal & inside] == 5) > 0.5
    assert np.mean(votes[~signal & inside] == 5) < 0.08
    method.save(tmp_path)
    np.testing.assert_array_equal(models.load(tmp_path).score(table), method.score(table))


def test_every_band_weighs_as_in_the_weak_supervision_of_the_search(quick_llp, table):
    """The three samples' shares: the side bands equal, the signal region as much as both."""
    method = quick_llp(pt_bins=0, scope="event")
    sample = training_sample(table, ("mjj", *method.inputs), ("mjj", *method.inputs))
    job = next(method.train(sample, {}))[0]
    assert isinstance(job, StackJob)
    low, signal, high = job.data["share"].sum(axis=0)
    assert low == pytest.approx(high, rel=1e-5)
    assert signal == pytest.approx(low + high, rel=1e-5)
    assert np.count_nonzero(job.data["share"], axis=1).max() == 1


def test_a_fold_does_not_depend_on_its_own_events(quick_llp, table):
    method = quick_llp(scope="event", features=["m_j1", "m_j2"], schedule={"epochs": 1})
    names = ("mjj", *method.inputs)
    sample = training_sample(table, names, names)
    changed = dict(sample.columns) | {"m_j1": np.where(sample.fold == 2, 7.0, sample.columns["m_j1"])}
    other = type(sample)(changed, sample.hashes, sample.batch, sample.identified_by, sample.weight)
    first, second = (train_together([method.train(given, {})])[0] for given in (sample, other))
    assert all(np.array_equal(first[2][name], second[2][name]) for name in first[2])
    assert any(not np.array_equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("fractions", [(0.5, 0.5, 0.4), (0.6, 0.4, 0.6), (-0.1, 0.5, 0.1), (0.1, 1.2, 0.1)])
def test_fractions_that_teach_nothing_are_refused(quick_llp, fractions):
    with pytest.raises(ConfigError, match=r"fractions .* must be larger than those of the side bands"):
        quick_llp(fractions=fractions)


def test_layers_and_damaged_bundles_are_named(quick_llp, table):
    with pytest.raises(ConfigError, match="key 'hidden': expected at least 1 entry, found 0"):
        quick_llp(hidden=())
    with pytest.raises(InputError, match="column 'm_j1' is missing"):
        quick_llp().fit({name: values for name, values in table.items() if name != "m_j1"})
    method = quick_llp(scope="event", schedule={"epochs": 1}).fit(table)
    fold = dict(method._trained.folds[0])
    fold["event/network/buffer.deviation"] = 0 * fold["event/network/buffer.deviation"]
    with pytest.raises(ValueError, match="the inputs' deviation is not that of a trained network"):
        method.check_fold(fold)
