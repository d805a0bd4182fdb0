import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from data.errors import ConfigError, TrainingError
from models.jobs import Member, Schedule
from models.networks.base import Network
from models.networks.dense import DenseClassifier, apply_layers
from models.optimiser import rate_shape
from models.seeds import task_seed
from models.stack import merged_arrays, train_stack

BUFFERS = {"mean": np.zeros((1, 4), np.float32), "deviation": np.ones((1, 4), np.float32)}
PIECES = {"start": np.tile([-1, 0, 1], 4)[None].astype(np.float32), "width": np.ones((1, 12), np.float32)}
SHALLOW = DenseClassifier(4, (16, 16), ("relu", "relu"))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1400, 4)).astype(np.float32)
    target = rng.random(1400) < 1.0 / (1.0 + np.exp(-2.0 * x[:, 0] * x[:, 1]))
    weight = rng.uniform(0.5, 1.5, 1400).astype(np.float32)
    return {"x": x, "target": target.astype(np.float32), "weight": weight}


def members(count, rows=1000, more=0):
    """Members whose numbers of training and validation rows differ by ``more`` from one to the next."""
    return [
        Member(np.arange(rows - more * n), np.arange(1000, 1400 - more * n), 10 + n, BUFFERS | PIECES)
        for n in range(count)
    ]


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def weights(result):
    """Weights of the best epoch of the first member, by name."""
    return {name: array[0] for name, array in result.networks[0].items()}


# --- one member as if it were alone


def test_first_fifty_steps_and_final_loss_are_those_of_a_stack_of_one(data):
    """Not only alike: the bits are equal."""
    schedule = Schedule(epochs=2, batch=32)
    twenty = train_stack(SHALLOW, schedule, data, members(20))
    one = train_stack(SHALLOW, schedule, data, members(20)[7:8])
    for name, array in one.networks[0].items():
        np.testing.assert_allclose(twenty.networks[7][name], array, rtol=0, atol=1e-5)
    assert same(one.networks[0], twenty.networks[7])
    longer = schedule.model_copy(update={"epochs": 6})
    losses = [
        train_stack(SHALLOW, longer, data, stack).history[:, -1] for stack in (members(20), members(20)[7:8])
    ]
    np.testing.assert_allclose(losses[0][7], losses[1][0], rtol=0.01)
    assert losses[0][7] == losses[1][0]


@dataclass(frozen=True)
class Refreshing(DenseClassifier):
    """Standardises with the mean of the epoch's last batch."""

    def refreshed(self, parameters, batch):
        return {"buffer.mean": 0.9 * parameters["buffer.mean"] + 0.1 * batch["x"].mean(dim=1, keepdim=True)}


@pytest.mark.parametrize(
    "network",
    [
        DenseClassifier(4, (64, 64, 64), ("relu",) * 3),
        DenseClassifier(4, (8, 5), ("elu", "leaky_relu")),
        DenseClassifier(4, (16,), ("relu",), pieces=3),
        DenseClassifier(4, (16, 1), ("relu", "relu")),
        DenseClassifier(4, (16, 16), ("silu", "silu"), (0.3, 0.3)),
        Refreshing(4, (16,), ("relu",)),
    ],
)
def test_bits_do_not_depend_on_who_else_is_in_the_stack(data, network):
    """Members with different numbers of rows and steps, that stop after different epochs."""
    schedule = Schedule(epochs=9, batch=64, learning_rate=0.03, patience=2, plateau=1, clip=1.0)
    stack = members(20, rows=500, more=15)
    together = train_stack(network, schedule, data, stack)
    ended = np.isfinite(together.history).sum(axis=1)
    assert len(set(ended)) > 1
    for chosen in ([0], [19], [3, 12], [19, 5, 1]):
        fewer = train_stack(network, schedule, data, [stack[n] for n in chosen])
        for position, number in enumerate(chosen):
            assert same(together.networks[number], fewer.networks[position])
            np.testing.assert_array_equal(together.history[number], fewer.history[position])


def test_members_draw_their_own_noise(data):
    network = DenseClassifier(4, (16,), ("relu",), (0.5,))
    same_seed = [members(1)[0], members(1)[0], members(2)[1]]
    result = train_stack(network, Schedule(epochs=2), data, same_seed)
    assert same(result.networks[0], result.networks[1])
    assert not np.array_equal(result.networks[0]["weight0"], result.networks[2]["weight0"])


def test_training_is_reproducible(data):
    first, again = (train_stack(SHALLOW, Schedule(epochs=2), data, members(2)) for _ in range(2))
    assert same(merged_arrays(first.networks), merged_arrays(again.networks))


# --- the optimiser against PyTorch's


class Oracle:
    """The same training with torch.optim.AdamW and autograd, one network."""

    def __init__(self, data, member, schedule, network=SHALLOW):
        self.data = {name: torch.from_numpy(values) for name, values in data.items()}
        self.member, self.schedule, self.network = member, schedule, network
        generator = torch.Generator().manual_seed(task_seed(member.seed, "start"))
        self.weights = {name: value.requires_grad_() for name, value in network.initial(generator).items()}
        self.optimiser = torch.optim.AdamW(
            self.weights.values(),
            lr=schedule.learning_rate,
            betas=schedule.betas,
            weight_decay=schedule.weight_decay,
        )
        self.shuffle = np.random.default_rng(task_seed(member.seed, "shuffle"))

    def loss(self, rows):
        x = apply_layers(
            {name: value[None] for name, value in self.weights.items()},
            self.data["x"][rows][None],
            self.network.activations,
        )
        return torch.nn.functional.binary_cross_entropy_with_logits(
            x[0, :, 0], self.data["target"][rows], weight=self.data["weight"][rows]
        )

    def run(self):
        size = self.schedule.rows
        steps = -(-len(self.member.fitted) // size)
        total, done = steps * self.schedule.epochs, 0
        for _ in range(self.schedule.epochs):
            rows = np.resize(self.shuffle.permutation(self.member.fitted), steps * size)
            for step in range(steps):
                shape = rate_shape(self.schedule.decay, np.array([done / total]))[0]
                self.optimiser.param_groups[0]["lr"] = self.schedule.learning_rate * shape
                self.optimiser.zero_grad()
                self.loss(rows[step * size : (step + 1) * size]).backward()
                if self.schedule.clip:
                    torch.nn.utils.clip_grad_norm_(self.weights.values(), self.schedule.clip)
                self.optimiser.step()
                done += 1
        return self


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"weight_decay": 0.3, "betas": (0.8, 0.95)},
        {"decay": "one_cycle"},
        {"decay": "cosine"},
        {"clip": 0.02},
    ],
)
def test_steps_are_those_of_torch_adamw(data, further):
    schedule = Schedule(epochs=2, batch=64, learning_rate=0.003, **further)
    ours = weights(train_stack(SHALLOW, schedule, data, members(1)))
    oracle = Oracle(data, members(1)[0], schedule).run()
    for name, value in oracle.weights.items():
        np.testing.assert_allclose(ours[name], value.detach().numpy(), rtol=0, atol=1e-6)


def test_each_member_is_clipped_by_its_own_gradient(data):
    """The second member's gradients are a thousand times as large."""
    heavy = data | {"weight": np.where(np.arange(1400) % 2, 1000.0, 1.0).astype(np.float32)}
    stack = [Member(np.arange(start, 1000, 2), np.arange(1000, 1400), 3, BUFFERS) for start in (0, 1)]
    schedule = Schedule(epochs=2, batch=64, clip=0.05)
    result = train_stack(SHALLOW, schedule, heavy, stack)
    for member, network in zip(stack, result.networks, strict=True):
        oracle = Oracle(heavy, member, schedule).run()
        for name, value in oracle.weights.items():
            np.testing.assert_allclose(network[name][0], value.detach().numpy(), rtol=0, atol=1e-6)


def test_shape_of_the_learning_rate():
    done = np.array([0.0, 0.1, 0.2, 0.6, 1.0])
    np.testing.assert_allclose(rate_shape("one_cycle", done), [0.04, 0.52, 1.0, 0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(rate_shape("cosine", done[[0, 4]]), [1.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(rate_shape("constant", done), np.ones(5))


# --- stopping and kept epochs, on losses that are known


@dataclass(frozen=True)
class Scripted(Network):
    """Its validation loss after each epoch is read from the member's buffer; the one weight counts the epochs.

    With beta1 = beta2 = 0 and a gradient of −1 Adam adds the learning rate at each step.
    """

    def initial(self, generator):
        return {"epoch": torch.zeros(1)}

    def losses(self, parameters, batch, noise):
        rows = batch["x"].shape[1]
        if noise.training:
            return -parameters["epoch"].expand(-1, rows)
        script = parameters["buffer.script"]
        now = parameters["epoch"].detach().round().long().clamp(1, script.shape[1]) - 1
        return script.gather(1, now).expand(-1, rows)


def scripted(scripts, **settings):
    """Each script a member's validation losses; one step an epoch."""
    stack = [
        Member(np.arange(32), np.arange(4), n, {"script": np.array(script, np.float32)})
        for n, script in enumerate(scripts)
    ]
    schedule = Schedule(
        epochs=len(scripts[0]), batch=32, betas=(0.0, 0.0), **({"learning_rate": 1.0} | settings)
    )
    return train_stack(Scripted(), schedule, {"x": np.zeros((32, 1), np.float32)}, stack)


def epochs_of(result, member=0):
    return result.networks[member]["epoch"][:, 0].round().astype(int).tolist()


def test_each_member_stops_by_its_own_patience_and_keeps_its_best_epoch():
    result = scripted([[5, 4, 6, 7, 1, 1], [5, 4, 3, 2, 1, 0.5], [1, 2, 3, 0, 0, 0]], patience=2)
    assert np.isfinite(result.history).sum(axis=1).tolist() == [4, 6, 3]
    assert [epochs_of(result, n) for n in range(3)] == [[2], [6], [1]]
    np.testing.assert_allclose(result.validation, [4.0, 0.5, 1.0])
    np.testing.assert_allclose(result.history[0, :4], [5, 4, 6, 7])


def test_a_gain_below_min_delta_does_not_count():
    result = scripted([[5, 4.9, 4.8, 4.7, 1]], patience=2, min_delta=0.5)
    assert np.isfinite(result.history).sum() == 3
    assert epochs_of(result) == [3]  # kept by the loss itself


def test_training_loss_can_be_watched_instead():
    # The training loss falls by one an epoch: never stopped, the best validation loss is kept all the same.
    result = scripted([[2, 1, 5, 6, 7, 8]], patience=2, monitor="training")
    assert np.isfinite(result.history).all()
    assert epochs_of(result) == [2]


def test_the_best_epochs_are_kept_best_first():
    result = scripted([[5, 1, 4, 2, 3, 9]], keep=3)
    assert epochs_of(result) == [2, 4, 5]
    assert result.networks[0]["buffer.script"].shape == (3, 6)


def test_fewer_epochs_than_are_to_be_kept():
    assert epochs_of(scripted([[5, 1, 4]], keep=10)) == [2, 3, 1]


def test_a_plateau_lowers_the_rate_of_its_member_only():
    """Epoch 3 is the second without a gain: from then on steps are half as large."""
    result = scripted([[5, 6, 7, 8, 4, 3], [9, 8, 7, 6, 5, 4]], plateau=2, plateau_factor=0.5, keep=6)
    walked = [sorted(result.networks[n]["epoch"][:, 0].tolist()) for n in range(2)]
    np.testing.assert_allclose(walked[0], [1, 2, 3, 3.5, 4, 4.25], atol=1e-5)
    np.testing.assert_allclose(walked[1], [1, 2, 3, 4, 5, 6], atol=1e-5)


def test_patience_in_real_trainings_stops_before_the_last_epoch(data):
    result = train_stack(
        SHALLOW, Schedule(epochs=40, batch=32, learning_rate=0.03, patience=3), data, members(3)
    )
    for history, best in zip(result.history, result.validation, strict=True):
        seen = history[np.isfinite(history)]
        assert len(seen) < 40
        assert np.argmin(seen) == len(seen) - 4
        assert best == seen.min()


def test_the_last_batch_is_filled_from_the_first_rows():
    """Seventy rows in batches of 32, which 20 is rounded up to, are three steps."""
    stack = [Member(np.arange(70), np.arange(1), 0, {"script": np.zeros(2, np.float32)})]
    schedule = Schedule(epochs=2, batch=20, betas=(0.0, 0.0), learning_rate=1.0, keep=2)
    result = train_stack(Scripted(), schedule, {"x": np.zeros((70, 1), np.float32)}, stack)
    np.testing.assert_allclose(sorted(result.networks[0]["epoch"][:, 0]), [3.0, 6.0], atol=1e-5)


def test_padding_does_not_count_in_the_validation_loss(data):
    """1,030 rows are one full batch and six rows of the next."""
    member = Member(np.arange(1000), np.arange(370, 1400), 4, BUFFERS)
    result = train_stack(SHALLOW, Schedule(epochs=1), data, [member])
    kept = {name: torch.from_numpy(array) for name, array in result.networks[0].items()}
    batch = {name: torch.from_numpy(values[None, 370:]) for name, values in data.items()}
    expected = SHALLOW.losses(kept, batch, None).mean().item()
    assert result.validation[0] == pytest.approx(expected, rel=1e-6)


# --- what cannot be trained


def test_a_loss_that_is_not_finite_names_the_network_and_the_remedy(data):
    bad = data | {"x": data["x"].copy()}
    bad["x"][1399] = np.inf
    stack = [Member(np.arange(500), np.arange(1000, 1000 + n), n, BUFFERS) for n in (10, 400)]
    message = (
        "network 1 of the stack: the validation loss is nan after epoch 1; lower learning_rate, set clip"
    )
    with pytest.raises(TrainingError, match=re.escape(message)):
        train_stack(SHALLOW, Schedule(epochs=3), bad, stack)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error(data):
    with pytest.raises(ConfigError, match="device: cuda, but torch finds no GPU here; use device: cpu"):
        train_stack(SHALLOW, Schedule(), data, members(1), device="cuda")


def test_a_member_without_rows_is_an_error(data):
    empty = Member(np.arange(0), np.arange(5), 1, BUFFERS)
    with pytest.raises(TrainingError, match="network 1 of the stack has 0 training and 5 validation rows"):
        train_stack(SHALLOW, Schedule(), data, [members(1)[0], empty])


# --- on another device


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_finds_the_same_within_its_precision(data, precision):
    schedule = Schedule(epochs=3, batch=100)
    cpu = train_stack(SHALLOW, schedule, data, members(4))
    gpu = train_stack(SHALLOW, schedule, data, members(4), device="cuda", precision=precision)
    np.testing.assert_allclose(gpu.validation, cpu.validation, rtol=0.01 if precision == "float32" else 0.05)
    assert all(array.dtype == np.float32 for array in gpu.networks[0].values())
