"""Autoencoders: against torch's own layers, principal components, and anomalies that were planted."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import models
from data.errors import ConfigError, InputError, TrainingError
from models.background_rows import drawn_rows
from models.jobs import Member, Schedule
from models.kernels.images import constituent_images
from models.networks.autoencoders import DenseAutoencoder, minor_components
from models.networks.base import BUFFER
from models.networks.convolution import ConvolutionalAutoencoder
from models.networks.normalised import NormalisedAutoencoder
from models.reconstruction import mean_errors, schedule_within
from models.stack import train_stack

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
SETTINGS = WINDOW | {"working_point": 0.05, "seed": 5, "preset": "quick"}
FAST = Schedule(epochs=12, batch=128, learning_rate=3e-3, decay="one_cycle")


def random_parameters(network, members, seed=0):
    """First weights, with offsets, which start at 0, replaced by random ones."""
    generators = [torch.Generator().manual_seed(seed + number) for number in range(members)]
    own = [network.initial(generator) for generator in generators]
    return {
        name: torch.stack(
            [
                0.1 * torch.randn(value.shape, generator=generator) if name.startswith("offset") else value
                for value, generator in zip((p[name] for p in own), generators, strict=True)
            ]
        )
        for name in own[0]
    }


def images(count, seed=0):
    """Jets of two clouds of particles, as images."""
    rng = np.random.default_rng(seed)
    pt = rng.exponential(20, (count, 30))
    eta, phi = rng.normal(0, 0.15, (2, count, 30)) + rng.choice([-0.3, 0.3], (2, count, 30))
    momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=2)
    return constituent_images(momenta.astype(np.float32), 32, 1.6)


@pytest.fixture(scope="module")
def curved():
    """Background near a curve in five dimensions, and points that only their combination makes odd."""
    rng = np.random.default_rng(1)
    along = rng.uniform(-2, 2, 4000)
    curve = np.stack([along, along**2 - 1, np.sin(2 * along), np.cos(along), 0.5 * along**3], axis=1)
    x = ((curve + rng.normal(0, 0.05, curve.shape)) / curve.std(axis=0)).astype(np.float32)
    odd = np.stack([rng.permutation(column) for column in x[:500].T], axis=1)
    return x, odd


# --- the linear autoencoder -------------------------------------------------------------------------------------------


def test_linear_loss_is_the_residual_of_numpys_svd():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    x -= x.mean(axis=0)
    directions = minor_components(x, np.ones(500), 2)
    _, _, components = np.linalg.svd(x, full_matrices=False)
    residual = x - x @ components[:2].T @ components[:2]
    np.testing.assert_allclose(np.square(x @ directions).sum(1), np.square(residual).sum(1), rtol=1e-4)
    assert np.all(directions[np.argmax(np.abs(directions), axis=0), np.arange(4)] > 0)
    np.testing.assert_array_equal(minor_components(-x, np.ones(500), 2), directions)


def test_weights_count_as_copies_of_rows():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(60, 4)) * [1, 2, 3, 4], rng.integers(1, 4, 60)
    copied = minor_components(np.repeat(x, weight, axis=0), np.ones(weight.sum()), 2)
    np.testing.assert_allclose(minor_components(x, weight.astype(float), 2), copied, atol=1e-6)


def test_a_dense_autoencoder_without_hidden_layers_reaches_the_loss_of_principal_components():
    """Baldi and Hornik (1989): no other minima; the residual of numpy's SVD is the least possible loss."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=(2000, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    network, rows = DenseAutoencoder(5, (), 2), np.arange(2000)
    schedule = Schedule(epochs=60, batch=200, learning_rate=2e-2, decay="one_cycle")
    result = train_stack(network, schedule, {"x": x}, [Member(rows, rows, 1)])
    least = np.square(np.linalg.svd(x, compute_uv=False)[2:]).sum() / x.size
    assert least * (1 - 1e-4) <= result.validation[0] <= least * 1.02


def test_the_linear_method_scores_the_residual_of_its_fold(tables):
    table = tables(3000, 0, seed=2)
    method = models.create("linear_autoencoder", **SETTINGS, latent=5).fit(table)
    fold = method._trained.folds[2]
    from data.eventid import batch_number, fold_of

    region = method.window.of(table["mjj"])
    batch = batch_number(table["run"], table["luminosity_block"], table["event"])
    other = (fold_of(batch) != 2) & ((region == 0) | (region == 2))
    x = np.stack([table[name].astype(np.float64) for name in method.inputs], axis=1)
    z = np.clip((x - x[other].mean(axis=0)) / x[other].std(axis=0), -10, 10)
    centred = z - z[other].mean(axis=0)
    components = np.linalg.svd(centred[other], full_matrices=False)[2][:5]
    residual = centred - centred @ components.T @ components
    expected = np.log(np.square(residual).mean(axis=1))
    np.testing.assert_allclose(method.raw_score(fold, table), expected, atol=1e-3)


# --- stacks against torch's own modules -------------------------------------------------------------------------------


def test_a_convolutional_member_is_torchs_modules_with_the_same_weights():
    network = ConvolutionalAutoencoder()
    parameters = random_parameters(network, 2)
    x = torch.from_numpy(images(5))
    found = network.errors(parameters, x.expand(2, -1, -1, -1))
    for member in (0, 1):
        own = {name: value[member] for name, value in parameters.items()}
        modules = nn.ModuleList()
        for number, (before, after) in enumerate([(1, 32), (32, 24), (24, 16), (16, 24), (24, 32), (32, 1)]):
            layer = nn.Conv2d(before, after, 3, padding=1, bias=number < 5)
            layer.weight.data = own[f"kernel{number}"]
            if number < 5:
                layer.bias.data = own[f"offset{number}"]
            modules.append(layer)
        for part, sizes in (("encoder/", (256, 128, 32, 6)), ("decoder/", (6, 32, 128, 256))):
            for number in range(3):
                layer = nn.Linear(sizes[number], sizes[number + 1])
                layer.weight.data = own[f"{part}weight{number}"].T
                layer.bias.data = own[f"{part}bias{number}"][0]
                modules.append(layer)
        leaky, pool, double = nn.LeakyReLU(0.01), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        y = x[:, None]
        for number in range(3):
            y = pool(leaky(modules[number](y)))
        y = y.flatten(1)
        for number in range(6, 9):
            y = modules[number](y) if number == 8 else leaky(modules[number](y))
        for number in range(9, 12):
            y = leaky(modules[number](y))
        y = y.reshape(-1, 16, 4, 4)
        for number in range(3, 6):
            y = modules[number](double(y))
            y = y if number == 5 else leaky(y)
        y = torch.softmax(y.flatten(1), dim=1).reshape(-1, 32, 32)
        torch.testing.assert_close(found[member], (x - y).square().sum(dim=(1, 2)), rtol=1e-5, atol=1e-7)


def test_a_stack_of_two_convolutional_networks_trains_as_two_stacks_of_one():
    network = ConvolutionalAutoencoder(16, (4, 4), (16,), 3)
    data = {"image": images(200)[:, ::2, ::2].copy()}
    members = [Member(np.arange(150), np.arange(150, 200), seed) for seed in (1, 2)]
    schedule = Schedule(epochs=3, batch=50, learning_rate=1e-3)
    both = train_stack(network, schedule, data, members)
    for number, member in enumerate(members):
        alone = train_stack(network, schedule, data, [member])
        for name, array in alone.networks[0].items():
            np.testing.assert_array_equal(both.networks[number][name], array)
        np.testing.assert_array_equal(both.history[number], alone.history[0])


def test_gradients_do_not_mix_members():
    network = ConvolutionalAutoencoder(16, (4, 4), (16,), 3)
    parameters = {name: value.requires_grad_() for name, value in random_parameters(network, 2).items()}
    x = torch.from_numpy(images(4)[:, ::2, ::2].copy()).expand(2, -1, -1, -1)
    network.errors(parameters, x)[0].sum().backward()
    assert all(torch.all(value.grad[1] == 0) for value in parameters.values())
    assert all(torch.any(value.grad[0] != 0) for value in parameters.values())


def test_image_losses_do_not_depend_on_the_chunk():
    network = ConvolutionalAutoencoder()
    arrays = {name: value.numpy() for name, value in random_parameters(network, 2).items()}
    jets = images(70)
    whole = network.image_losses(arrays, jets)
    np.testing.assert_array_equal(network.image_losses(arrays, jets[33:41]), whole[33:41])
    assert network.image_losses(arrays, jets[:0]).shape == (0,)


def test_pixels_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="36 pixels on a side cannot be halved 3 times; use a multiple of 8"):
        ConvolutionalAutoencoder(36)
    with pytest.raises(ConfigError, match="cannot be halved"):
        models.create("conv_autoencoder", **WINDOW, pixels=36)


def test_images_add_up_to_one_and_do_not_know_where_the_jet_is():
    rng = np.random.default_rng(7)
    pt, eta, phi = rng.exponential(20, 20), rng.normal(0, 0.2, 20), rng.normal(0, 0.2, 20)
    drawn = []
    for turn, boost in ((0.0, 0.0), (3.1, 1.2)):
        momenta = np.stack(
            [pt * np.cos(phi + turn), pt * np.sin(phi + turn), pt * np.sinh(eta + boost)], axis=1
        )
        padded = np.zeros((2, 30, 3))
        padded[0, :20] = momenta
        drawn.append(constituent_images(padded.astype(np.float32), 32, 1.6))
    assert drawn[0][0].sum() == pytest.approx(1, abs=1e-5)
    assert np.all(drawn[0][1] == 0)
    # Rounding to float32 may carry a particle over a seam.
    assert np.abs(drawn[0] - drawn[1]).sum() < 0.1


# --- what they are for ------------------------------------------------------------------------------------------------


def test_what_the_background_never_does_gets_a_larger_loss(curved):
    x, odd = curved
    network = DenseAutoencoder(5, (32, 16), 1)
    schedule = Schedule(epochs=15, batch=64, learning_rate=5e-3, decay="one_cycle")
    result = train_stack(network, schedule, {"x": x}, [Member(np.arange(3000), np.arange(3000, 4000), 2)])
    background, planted = (mean_errors(network, result.networks[0], rows) for rows in (x[3000:], odd))
    assert np.mean(planted > np.quantile(background, 0.95)) > 0.8


@pytest.mark.parametrize("name", ["autoencoder", "normalised_autoencoder"])
def test_a_planted_anomaly_is_found(name, tables, curved):
    x, odd = curved
    table = tables(4000, 0, seed=6)
    inside = np.flatnonzero((table["mjj"] > 3000) & (table["mjj"] < 3600))[:150]
    columns = x.copy()
    columns[inside] = odd[:150]
    names = ("m_j1", "m_j2", "tau21_j1", "tau21_j2", "n_pf_j1")
    table |= dict(zip(names, columns.T, strict=True))
    schedule = {"epochs": 15, "batch": 128, "learning_rate": 5e-3}
    method = models.create(name, **SETTINGS, features=names, latent=1, schedule=schedule).fit(table)
    selected = method.fold_votes(table, trained_on=True) == 5
    # Six times what the cut keeps of the background; the cut follows mjj, which costs some of the signal.
    assert selected[inside].mean() > 0.3
    assert np.delete(selected, inside).mean() < 0.08


def test_normalisation_raises_the_energy_where_the_autoencoder_restored_too_much():
    """The toy of arXiv:2105.05735: eight Gaussians on a ring; between them the plain autoencoder restores as well."""
    rng = np.random.default_rng(0)
    centres = 1.5 * np.exp(2j * np.pi * np.arange(8) / 8)
    centre = np.stack([centres.real, centres.imag], axis=1)
    x = (centre[rng.integers(0, 8, 3000)] + rng.normal(0, 0.12, (3000, 2))).astype(np.float32)
    anywhere = rng.uniform(-2.2, 2.2, (4000, 2)).astype(np.float32)
    distance = np.linalg.norm(anywhere[:, None] - centre, axis=2).min(axis=1)
    empty = anywhere[distance > 0.5]
    base = DenseAutoencoder(2, (32, 32), 4, spherical=True)
    first = Schedule(epochs=20, batch=256, learning_rate=3e-3, decay="one_cycle")
    second = Schedule(epochs=12, batch=256, learning_rate=1e-3, decay="one_cycle", clip=1.0)
    member = Member(np.arange(2400), np.arange(2400, 3000), 1)
    plain = train_stack(base, first, {"x": x}, [member]).networks[0]
    scale = np.array([mean_errors(base, plain, x).mean()], np.float32)
    start = {name: array[0] for name, array in plain.items()} | {"scale": scale}
    network = NormalisedAutoencoder(base)
    result = train_stack(network, second, {"x": x}, [dataclasses.replace(member, buffers=start)])
    added = result.networks[0]
    normalised = {name: added[f"{BUFFER}{name}"] + added[name] for name in plain}
    restored = []
    for arrays in (plain, normalised):
        known = np.quantile(mean_errors(base, arrays, x), 0.95)
        restored.append(np.mean(mean_errors(base, arrays, empty) < known))
    assert restored[0] > 0.04
    assert restored[1] < 0.7 * restored[0]


# --- wrong use --------------------------------------------------------------------------------------------------------


def test_a_latent_space_that_holds_everything_is_refused():
    with pytest.raises(ConfigError, match="latent: 4 variables can hold all of 4 features"):
        models.create("autoencoder", **WINDOW, features=["m_j1", "m_j2", "tau21_j1", "tau21_j2"], latent=4)


def test_missing_constituents_are_named(tables):
    table = tables(1500, 0)
    with pytest.raises(InputError, match="column 'constituents_j1' is missing"):
        models.create("conv_autoencoder", **SETTINGS).fit(table)
    wrong = {f"constituents_{jet}": np.eye(1500, 4, dtype=np.float32) for jet in ("j1", "j2")}
    with pytest.raises(InputError, match=r"'constituents_j1': expected px, py, pz .* \(1500, 4\)|\(\d+, 4\)"):
        models.create("conv_autoencoder", **SETTINGS).fit(table | wrong)


def test_draws_depend_on_the_event_and_the_seed_alone(tables):
    from models.folds import training_sample

    sample = training_sample(tables(1000, 0), ("mjj",), ("mjj",))
    rows = np.arange(1000)
    drawn = drawn_rows(sample, rows, 100, 1)
    assert len(drawn) == 100
    assert not np.array_equal(drawn_rows(sample, rows, 100, 2), drawn)
    # Of fewer rows those that were drawn of all are drawn first.
    half = drawn_rows(sample, rows[::2], 100, 1)
    assert set(drawn[drawn % 2 == 0]) <= set(half)
    np.testing.assert_array_equal(drawn_rows(sample, rows[:50], 100, 1), rows[:50])


def test_too_few_events_of_the_table_wide_are_named(tables):
    table = tables(2000)
    wide = {name: values[:3] for name, values in tables(50, seed=4).items()}
    with pytest.raises(TrainingError, match=r"rows to learn background from lie in inner split"):
        models.create("autoencoder", **SETTINGS).fit(table, wide=wide)


def test_constituents_that_are_all_zero_are_named(tables):
    table = tables(600)
    nothing = np.zeros((600, 8, 3), dtype=np.float32)
    table |= {"constituents_j1": nothing, "constituents_j2": nothing}
    with pytest.raises(TrainingError, match="column 'constituents_j1': the same values in all"):
        models.create("conv_autoencoder", **SETTINGS).fit(table)


@pytest.mark.parametrize(
    ("rows", "epochs"), [(1000, 40), (51_200, 27), (51_201, 27), (512_000, 3), (10**8, 1)]
)
def test_many_rows_are_seen_in_fewer_epochs(rows, epochs):
    schedule = Schedule(epochs=40, batch=512, learning_rate=2e-3)
    found = schedule_within(schedule, 2700, rows)
    assert found == schedule.model_copy(update={"epochs": epochs})
