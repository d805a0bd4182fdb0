import numpy as np
import pytest
import torch
from torch import nn

import models
from data.errors import InputError, TrainingError
from models.methods.vae_qr import jet_frame
from models.networks.base import Noise
from models.networks.vae import ParticleVae, nearest_distances

PARTICLES = 14
WINDOW = {"signal_region": (2600.0, 3000.0), "low_band": (2000.0, 2600.0), "high_band": (3000.0, 4200.0)}
TINY = {
    "particles": 12,
    "latent": 4,
    "most_jets": 900,
    "working_point": 0.1,
    "schedule": {"epochs": 6, "batch": 64, "learning_rate": 5e-3, "decay": "one_cycle"},
    "quantile": {
        "points": 512,
        "layers": 3,
        "schedule": {"epochs": 40, "batch": 128, "learning_rate": 1e-2, "decay": "one_cycle"},
    },
}


def make_clouds(rng, pt, prongs):
    """Jets of one to three prongs 0.4 rad from their middle, anywhere in azimuth and rapidity."""
    jets = len(pt)
    share = rng.exponential(1, (jets, PARTICLES)) * (rng.random((jets, PARTICLES)) < 0.9)
    share[:, 0] += 1
    particle_pt = share / share.sum(axis=1, keepdims=True) * pt[:, None]
    turn = (
        rng.uniform(0, 2 * np.pi, (jets, 1)) + 2 * np.pi * rng.integers(0, prongs, (jets, PARTICLES)) / prongs
    )
    away = 0.0 if prongs == 1 else 0.4
    eta = rng.normal(0, 0.8, (jets, 1)) + away * np.cos(turn) + rng.normal(0, 0.05, (jets, PARTICLES))
    phi = rng.uniform(-np.pi, np.pi, (jets, 1)) + away * np.sin(turn) + rng.normal(0, 0.05, (jets, PARTICLES))
    momenta = np.stack(
        [particle_pt * np.cos(phi), particle_pt * np.sin(phi), particle_pt * np.sinh(eta)], axis=2
    )
    order = np.argsort(-particle_pt, axis=1, kind="stable")
    return np.take_along_axis(momenta, order[..., None], axis=1).astype(np.float32)


def make_table(events, seed, prongs=1, mjj=None):
    rng = np.random.default_rng(seed)
    if mjj is None:
        mjj = 2000 + rng.exponential(550, events)
    both = {
        f"constituents_{jet}": make_clouds(rng, 0.45 * mjj * rng.uniform(0.9, 1.1, events), prongs)
        for jet in ("j1", "j2")
    }
    return both | {"mjj": mjj}


def make(**options):
    return models.create("vae_qr", **(WINDOW | TINY | options))


@pytest.fixture(scope="module")
def table():
    return make_table(2000, 1)


@pytest.fixture(scope="module")
def trained(table):
    return make().fit(table)


def stacked(network, members, first=0):
    """Initial parameters of some members, and their noise."""
    own = [network.initial(torch.Generator().manual_seed(first + number)) for number in range(members)]
    parameters = {name: torch.stack([each[name] for each in own]) for name in own[0]}
    parameters["buffer.mean"] = torch.full((members, 1, 3), 0.3)
    parameters["buffer.deviation"] = torch.full((members, 1, 3), 2.0)
    generators = [torch.Generator().manual_seed(50 + first + number) for number in range(members)]
    return parameters, Noise(generators, training=True)


def random_jets(*shape):
    jets = np.random.default_rng(5).normal(size=(*shape, 3)).astype(np.float32)
    jets[..., -4:, :] = 0
    return torch.from_numpy(jets)


def test_nearest_distances_against_all_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 9, 3)), rng.normal(size=(6, 7, 3))
    real = rng.random((6, 9)) < 0.7
    real[5] = False
    squares = np.sum((x[:, :, None] - y[:, None]) ** 2, axis=3)
    of_x, of_y = nearest_distances(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(real))
    np.testing.assert_allclose(of_x, squares.min(axis=2) * real, rtol=1e-12)
    expected = np.where(real[:, :, None], squares, np.inf).min(axis=1)
    np.testing.assert_allclose(of_y[:5], expected[:5], rtol=1e-12)
    assert np.all(of_y[5].numpy() == 0)


def test_gradient_of_nearest_distances_is_that_of_the_minimum():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((3, 8, 3), generator=generator, dtype=torch.float64)
    first, second = (
        torch.rand((3, 8, 3), generator=torch.Generator().manual_seed(2)).double() for _ in range(2)
    )
    first.requires_grad_()
    second.requires_grad_()
    of_x, of_y = nearest_distances(x, first, torch.ones((3, 8), dtype=torch.bool))
    (of_x.sum() + of_y.sum()).backward()
    pairs = ((x[:, :, None] - second[:, None]) ** 2).sum(dim=3)
    (pairs.min(dim=2).values.sum() + pairs.min(dim=1).values.sum()).backward()
    np.testing.assert_allclose(first.grad, second.grad, rtol=1e-10)


def torch_modules(network, parameters):
    """The same network of torch's own layers, with the weights of the only member."""

    def load(module, name, weight):
        module.weight.data, module.bias.data = weight, parameters[f"{name}/bias0"][0, 0]
        return module

    def kernels(name):
        weight = parameters[f"{name}/weight0"][0]
        return weight.view(3, weight.shape[0] // 3, weight.shape[1])

    def dense(prefix):
        layers = []
        for number in range(3):
            weight = parameters[f"{prefix}/weight{number}"][0]
            linear = nn.Linear(*weight.shape)
            linear.weight.data, linear.bias.data = weight.T, parameters[f"{prefix}/bias{number}"][0, 0]
            layers += [linear, nn.ELU()]
        return layers[:-1]

    flat = network.pooled * 20
    encoder = nn.Sequential(
        load(nn.Conv2d(1, 12, (1, 3)), "in0", parameters["in0/weight0"][0].T.reshape(12, 1, 1, 3)),
        nn.Flatten(2),
        nn.ELU(),
        load(nn.Conv1d(12, 16, 3), "in1", kernels("in1").permute(2, 1, 0)),
        nn.ELU(),
        load(nn.Conv1d(16, 20, 3), "in2", kernels("in2").permute(2, 1, 0)),
        nn.ELU(),
        nn.AvgPool1d(2),
    )
    decoder = nn.Sequential(
        nn.Upsample(scale_factor=2),
        load(nn.ConvTranspose1d(20, 16, 3), "out0", kernels("out0").flip(0).permute(1, 2, 0)),
        nn.ELU(),
        load(nn.ConvTranspose1d(16, 12, 3), "out1", kernels("out1").flip(0).permute(1, 2, 0)),
        nn.ELU(),
        nn.Unflatten(2, (-1, 1)),
        nn.ConvTranspose2d(12, 1, (1, 3), bias=False),
    )
    decoder[-1].weight.data = parameters["out2/weight0"][0].view(12, 1, 1, 3)

    def encode(x):
        pooled = encoder(x[:, None]).transpose(1, 2).reshape(len(x), flat)
        return nn.Sequential(nn.ELU(), *dense("encoder"))(pooled).chunk(2, dim=1)

    def decode(code):
        places = nn.Sequential(*dense("decoder"), nn.ELU())(code).view(len(code), network.pooled, 20)
        # Ours has a bias for each of the three numbers, torch's layer one for all.
        return decoder(places.transpose(1, 2))[:, 0] + parameters["out2/bias0"][0, 0]

    return encode, decode


def test_layers_against_those_of_torch():
    network = ParticleVae(16, 5, 0.1)
    parameters, _ = stacked(network, 1)
    encode, decode = torch_modules(network, parameters)
    x = random_jets(7, 16)
    for ours, theirs in zip(network.encode(parameters, x[None]), encode(x), strict=True):
        torch.testing.assert_close(ours[0], theirs, rtol=1e-5, atol=1e-5)
    code = torch.randn((7, 5), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(network.decode(parameters, code[None])[0], decode(code), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("particles", [11, 16])
def test_loss_and_score_are_distance_and_divergence(particles):
    """Against all pairs, and the divergence of torch.distributions."""
    network = ParticleVae(particles, 3, 0.2)
    parameters, noise = stacked(network, 1)
    jets = random_jets(1, 6, particles)
    x = torch.where((jets != 0).any(dim=-1, keepdim=True), (jets - 0.3) / 2.0, 0.0)[0]
    mean, log_variance = network.encode(parameters, x[None])
    latent = torch.distributions.Normal(mean[0], torch.exp(0.5 * log_variance[0]))
    standard = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    divergence = torch.distributions.kl_divergence(latent, standard).sum(dim=1)

    def both(code):
        y = network.decode(parameters, code)[0]
        pairs = ((x[:, :-4, None] - y[:, None]) ** 2).sum(dim=3)
        return pairs.min(dim=2).values, pairs.min(dim=1).values

    terms = network.terms(parameters, jets)[0]
    torch.testing.assert_close(terms[:, 0], sum(part.sum(dim=1) for part in both(mean)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(terms[:, 1], divergence, rtol=1e-4, atol=1e-5)
    drawn = torch.randn((6, 3), generator=torch.Generator().manual_seed(50))
    of_x, of_y = both(mean + torch.exp(0.5 * log_variance) * drawn)
    expected = of_x.mean(dim=1) + of_y.mean(dim=1) + 0.2 * divergence
    torch.testing.assert_close(
        network.losses(parameters, {"x": jets}, noise)[0], expected, rtol=1e-4, atol=1e-4
    )


def test_a_stack_of_two_is_two_stacks_of_one():
    network = ParticleVae(12, 4, 0.01)
    jets = random_jets(2, 9, 12)
    parameters, noise = stacked(network, 2)
    together = network.losses(parameters, {"x": jets}, noise)
    for number in range(2):
        own, noise = stacked(network, 1, first=number)
        alone = network.losses(own, {"x": jets[number : number + 1]}, noise)
        torch.testing.assert_close(together[number], alone[0], rtol=1e-5, atol=1e-5)


def test_places_without_particles_do_not_count():
    """A jet without any is at distance 0, and its gradient is finite."""
    network = ParticleVae(12, 4, 0.01)
    parameters, noise = stacked(network, 1)
    parameters = {name: value.requires_grad_() for name, value in parameters.items()}
    losses = network.losses(parameters, {"x": torch.zeros(1, 3, 12, 3)}, noise)
    losses.sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in parameters.values() if value.grad is not None)
    assert torch.all(network.terms(parameters, torch.zeros(1, 3, 12, 3))[..., 0] == 0)


def test_the_jet_frame_is_the_same_however_a_jet_lies():
    rng = np.random.default_rng(6)
    jets = make_clouds(rng, np.full(5, 900.0), 2).astype(np.float64)
    framed = jet_frame(jets)
    total = framed.sum(axis=1)
    np.testing.assert_allclose(total[:, 1:], 0, atol=1e-9)
    np.testing.assert_allclose(total[:, 0], np.hypot(*jets.sum(axis=1)[:, :2].T), rtol=1e-12)
    energy, angle, boost = np.linalg.norm(jets, axis=2), 1.1, 0.7
    px, py, pz = jets[..., 0], jets[..., 1], np.sinh(boost) * energy + np.cosh(boost) * jets[..., 2]
    moved = (np.cos(angle) * px - np.sin(angle) * py, np.sin(angle) * px + np.cos(angle) * py, pz)
    np.testing.assert_allclose(jet_frame(np.stack(moved, axis=2)), framed, atol=1e-9)
    assert np.all(jet_frame(np.zeros((2, 4, 3))) == 0)


def test_jets_of_three_prongs_score_above_those_of_one(trained):
    score = trained.score(make_table(300, 8, prongs=3))
    assert np.median(score) > 0.95
    assert np.median(trained.score(make_table(300, 9))) < 0.7


def test_one_odd_jet_is_not_enough(trained):
    odd, ordinary = (make_table(300, seed, prongs=prongs) for seed, prongs in ((8, 3), (9, 1)))
    mixed = ordinary | {"constituents_j1": odd["constituents_j1"]}
    assert np.median(trained.score(mixed)) < np.median(trained.score(ordinary | odd)) - 0.2


def test_selection_is_flat_in_mjj(table, trained):
    """The raw score grows with momenta, so with mjj: with decorrelate="none" the number below is 350."""
    mjj, edges = table["mjj"], np.quantile(table["mjj"], np.linspace(0, 1, 6))
    chosen = trained.fold_votes(table) > 0
    every, kept = (np.histogram(values, edges)[0] for values in (mjj, mjj[chosen]))
    share = chosen.mean()
    assert share == pytest.approx(0.1, abs=0.02)
    assert np.sum((kept - every * share) ** 2 / (every * share * (1 - share))) < 16


def test_wide_events_train_instead_of_the_table(table):
    """An autoencoder that learned jets of three prongs no longer finds them odder than those of one."""
    method = make(decorrelate="none", working_point=0.2, schedule=TINY["schedule"] | {"epochs": 4})
    method.fit(table, wide=make_table(700, 11, prongs=3))
    assert np.median(method.score(make_table(200, 8, prongs=3))) < 0.7


def test_members_validate_on_other_quarters(table):
    method = make(members=2, schedule=TINY["schedule"] | {"epochs": 1}, decorrelate="none").fit(table)
    arrays = method._trained.folds[0]
    assert arrays["in0/weight0"].shape[0] == 2
    assert not np.array_equal(arrays["buffer.mean"][0], arrays["buffer.mean"][1])


def test_columns_that_hold_no_constituents_are_refused(table):
    flat = table | {name: table[name].reshape(len(table["mjj"]), -1) for name in ("constituents_j1",)}
    with pytest.raises(InputError, match="column 'constituents_j1': expected px, py, pz"):
        make().fit(flat)
    columns = ("constituents_j1", "constituents_j2")
    empty = table | {name: np.zeros_like(table[name]) for name in columns}
    with pytest.raises(TrainingError, match="column 'constituents_j1': the same values in all"):
        make().fit(empty)
    only = np.flatnonzero((table["mjj"] > 2600) & (table["mjj"] < 2900))[0]
    for name in columns:
        empty[name][only] = table[name][only]
    with pytest.raises(TrainingError, match="inner split 0 leaves no jet with constituents"):
        make().fit(
            empty
            | {"run": np.ones(2000, int), "luminosity_block": np.ones(2000, int), "event": np.arange(2000)}
        )


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("in1/weight0", lambda a: a[:, :-1], "'in1/weight0' is"),
        ("buffer.deviation", lambda a: a * 0, "means or deviations"),
        ("decoder/bias1", lambda a: a * np.nan, "decoder/weight1"),
    ],
)
def test_arrays_that_are_no_autoencoder_are_refused(trained, name, change, match):
    arrays = dict(trained._trained.folds[0])
    arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match=match):
        trained.check_fold(arrays)
