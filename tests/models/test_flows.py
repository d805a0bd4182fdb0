"""Flows: oracle zuko for the splines, autograd for Jacobians, integrals and known densities for the rest."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from models.jobs import Member, Schedule
from models.networks import flows
from models.networks.affine_flow import AffineFlow
from models.networks.base import Noise
from models.networks.flow_matching import FlowMatching
from models.networks.flows import SplineFlow
from models.networks.scoring import single_thread
from models.networks.splines import (
    LEAST_SHARE,
    LEAST_SLOPE,
    SLOPE_OFFSET,
    inverse_rational_quadratic,
    rational_quadratic,
)
from models.stack import train_stack

SPLINE = SplineFlow(3, 2, transforms=2, hidden=(16, 12), bins=5, tail=4.0)
AFFINE = AffineFlow(3, 2, blocks=3, hidden=(16,))
MATCHING = FlowMatching(3, 2, hidden=(24, 24))
NETWORKS = (SPLINE, AFFINE, MATCHING)
SCALE = 3.0
"""Of the second input of the toy, which then lies inside the splines' range."""


@pytest.fixture(autouse=True)
def _one_thread():
    with single_thread():
        yield


def stacked(network, members=2, seed=0, size=1.0):
    """Random parameters, larger than at the start, so that maps are far from the identity."""
    parts = []
    for member in range(members):
        generator = torch.Generator().manual_seed(seed + member)
        parts.append(
            {
                k: size * v + 0.2 * torch.randn(v.shape, generator=generator)
                for k, v in network.initial(generator).items()
            }
        )
    parameters = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    for name, value in network.buffers().items():
        parameters[f"buffer.{name}"] = torch.from_numpy(np.stack([value + 0.1] * members))
    return parameters


def rows(members=2, count=7, inputs=3, context=2, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(members, count, inputs, generator=generator),
        torch.randn(members, count, context, generator=generator),
    )


def raw_spline(count=400, bins=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 3.0 * torch.randn(2, 2, count, generator=generator, dtype=torch.float64)
    return x, 1.5 * torch.randn(2, 2, 3 * bins - 1, count, generator=generator, dtype=torch.float64)


def test_splines_are_those_of_zuko():
    zuko = pytest.importorskip("zuko")
    bins, tail = 6, 4.0
    x, raw = raw_spline(bins=bins)
    y, logs = rational_quadratic(x, raw, bins, tail)
    last = raw.movedim(2, -1)
    sizes = [
        LEAST_SHARE + (1 - bins * LEAST_SHARE) * torch.softmax(last[..., part], dim=-1)
        for part in (slice(0, bins), slice(bins, 2 * bins))
    ]
    slopes = LEAST_SLOPE + torch.nn.functional.softplus(last[..., 2 * bins :] + SLOPE_OFFSET)
    # zuko takes logits; those of ours are the logarithms of our sizes and slopes, its own bounds switched off.
    oracle = zuko.transforms.MonotonicRQSTransform(
        sizes[0].log(), sizes[1].log(), slopes.log(), bound=tail, slope=1e-12
    )
    # It squashes its logits (x / (1 + |x / log slope|)), so that knots are set by hand.
    oracle.horizontal, oracle.vertical = (
        2 * tail * torch.cat([torch.zeros_like(s[..., :1]), s.cumsum(-1)], -1) - tail for s in sizes
    )
    oracle.derivatives = torch.nn.functional.pad(slopes, (1, 1), value=1.0)
    there, log_there = oracle.call_and_ladj(x)
    torch.testing.assert_close(y, there, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logs, log_there, rtol=1e-8, atol=1e-8)


def test_gradients_of_splines_are_the_numerical_ones():
    x, raw = (value.requires_grad_() for value in raw_spline(count=5, bins=4, seed=1))
    assert torch.autograd.gradcheck(lambda a, b: rational_quadratic(a, b, 4, 3.0), (x, raw))


def test_inverse_of_splines():
    x, raw = raw_spline()
    y, _ = rational_quadratic(x, raw, 6, 4.0)
    torch.testing.assert_close(inverse_rational_quadratic(y, raw, 6, 4.0), x, rtol=1e-7, atol=1e-7)


def test_raw_zeros_are_the_identity():
    x, raw = raw_spline()
    y, logs = rational_quadratic(x, torch.zeros_like(raw), 6, 4.0)
    torch.testing.assert_close(y, x)
    assert logs.abs().max() < 1e-9


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_the_inverse_gives_the_inputs_back(network):
    parameters, (x, context) = stacked(network), rows()
    z, _ = network.to_latent(parameters, x, context)
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(network.from_latent(parameters, z, context), x, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_log_det_is_that_of_the_jacobian(network):
    parameters, (x, context) = stacked(network, size=0.7), rows(count=4)
    _, log_det = network.to_latent(parameters, x, context)

    def total(values):
        return network.to_latent(parameters, values, context)[0].sum(dim=1)

    jacobian = torch.autograd.functional.jacobian(total, x)
    for member in range(2):
        for row in range(4):
            _, expected = torch.linalg.slogdet(jacobian[member, :, member, row])
            assert log_det[member, row].item() == pytest.approx(expected.item(), abs=2e-3)


@pytest.mark.parametrize("network", [SPLINE, AFFINE], ids=lambda n: type(n).__name__)
def test_an_input_is_mapped_by_the_earlier_ones_alone(network):
    parameters, (x, context) = stacked(network, members=1), rows(members=1)
    one = type(network)(3, 2, 1, *((network.hidden, 5, 4.0) if network is SPLINE else (network.hidden,)))
    first = {
        name: value for name, value in parameters.items() if name.removeprefix("buffer.").startswith("0.")
    }
    base = one.to_latent(first, x, context)[0]
    for changed in range(3):
        moved = x.clone()
        moved[..., changed] += 0.3
        difference = (one.to_latent(first, moved, context)[0] - base).abs().amax(dim=(0, 1))
        assert np.all((difference.numpy() > 0) == (np.arange(3) >= changed))
    assert ((one.to_latent(first, x, context + 0.3)[0] - base).abs().amax(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize(
    "network", [SplineFlow(1, 0, 2, (8,)), AffineFlow(1, 0, 2, (8,)), FlowMatching(1, 0, (16,))]
)
def test_density_of_one_input_integrates_to_one(network):
    grid = torch.linspace(-12, 12, 4001)
    x = grid.expand(2, -1)[..., None]
    logs = flows.log_prob(network, stacked(network), x, x[..., :0])
    np.testing.assert_allclose(torch.trapezoid(logs.exp(), grid).numpy(), 1.0, atol=2e-3)


@pytest.mark.parametrize("network", [SplineFlow(2, 1, 2, (8,)), AffineFlow(2, 1, 2, (8,))])
def test_density_of_two_inputs_integrates_to_one(network):
    grid = torch.linspace(-14, 14, 401)
    x = torch.cartesian_prod(grid, grid)[None]
    logs = flows.log_prob(network, stacked(network, 1), x, torch.full((1, len(x[0]), 1), 0.5))
    integral = torch.trapezoid(torch.trapezoid(logs.exp().view(401, 401), grid), grid)
    assert integral.item() == pytest.approx(1.0, abs=5e-3)


def toy(count, seed):
    """A bent density of two inputs whose shape moves with the context, and its log density."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-1.7, 1.7, count)
    left = rng.random(count) < 0.4
    first = np.where(left, rng.normal(-1 + c, 0.4, count), rng.normal(1, 0.6, count))
    second = rng.normal(0.5 * first**2 - c, 0.5)
    p_first = 0.4 * norm.pdf(first, -1 + c, 0.4) + 0.6 * norm.pdf(first, 1, 0.6)
    logs = np.log(p_first) + norm.logpdf(second, 0.5 * first**2 - c, 0.5)
    x = np.stack([first, second / SCALE], axis=1).astype(np.float32)
    return x, c.astype(np.float32)[:, None], logs + math.log(SCALE)


def trained(network, x, context, schedule, members=1, weight=None):
    data = {"x": x, "context": context, "weight": np.ones(len(x), np.float32) if weight is None else weight}
    cut = len(x) // 5
    parts = [
        Member(np.arange(cut, len(x)), np.arange(cut), seed, network.buffers()) for seed in range(members)
    ]
    return train_stack(network, schedule, data, parts)


TOY_CASES = [
    (
        SplineFlow(2, 1, 2, (32, 32)),
        Schedule(epochs=6, batch=256, learning_rate=1e-2, decay="one_cycle"),
        0.04,
    ),
    (AffineFlow(2, 1, 5, (32,)), Schedule(epochs=6, batch=256, learning_rate=5e-3, decay="one_cycle"), 0.2),
    (
        FlowMatching(2, 1, (48, 48)),
        Schedule(epochs=12, batch=256, learning_rate=1e-2, decay="one_cycle"),
        0.15,
    ),
]


@pytest.mark.parametrize(("network", "schedule", "most"), TOY_CASES, ids=["spline", "affine", "matching"])
def test_learns_a_conditional_density(network, schedule, most):
    x, context, _ = toy(12_000, 0)
    arrays = trained(network, x, context, schedule).networks[0]
    there, at, truth = toy(2000, 1)
    gap = truth.mean() - flows.density(network, arrays, there, at).mean()
    assert -0.02 < gap < most
    # Draws follow the same density: moments of the second input at one context.
    fixed = np.full((4000, 1), 0.8, dtype=np.float32)
    drawn = flows.sample(network, arrays, fixed, np.random.default_rng(2))
    rng = np.random.default_rng(3)
    first = np.where(rng.random(40_000) < 0.4, rng.normal(-0.2, 0.4, 40_000), rng.normal(1, 0.6, 40_000))
    assert SCALE * drawn[:, 1].mean() == pytest.approx(0.5 * (first**2).mean() - 0.8, abs=0.1)
    z = flows.latent(network, arrays, there, at)
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=0.12)


def test_weights_count_as_copies():
    """An event of weight 2 counts as two: the loss is linear in the weight."""
    parameters, (x, context) = stacked(SPLINE), rows()
    noise = Noise([], training=False)
    batch = {"x": x, "context": context, "weight": torch.ones(2, 7)}
    plain = SPLINE.losses(parameters, batch, noise)
    torch.testing.assert_close(
        SPLINE.losses(parameters, batch | {"weight": 2 * batch["weight"]}, noise), 2 * plain
    )
    torch.testing.assert_close(plain, -flows.log_prob(SPLINE, parameters, x, context))


@pytest.mark.parametrize(
    "network", [SplineFlow(2, 1, 2, (32,)), AffineFlow(2, 1, 3, (32,))], ids=["spline", "affine"]
)
def test_far_outliers_stay_finite_and_spoil_nothing(network):
    x, context, _ = toy(5000, 0)
    schedule = Schedule(epochs=3, batch=128, learning_rate=1e-2, decay="one_cycle")
    there, at, _ = toy(1000, 1)
    clean = flows.density(network, trained(network, x, context, schedule).networks[0], there, at).mean()
    x[::1000] = [[50.0, -50.0]]
    context[::1000] = 50.0
    arrays = trained(network, x, context, schedule).networks[0]
    assert np.isfinite(flows.density(network, arrays, x[::1000], context[::1000])).all()
    if isinstance(network, SplineFlow):  # batch normalisation passes a batch's outliers on
        assert abs(flows.density(network, arrays, there, at).mean() - clean) < 0.06


def test_batch_normalisation_keeps_the_statistics_of_the_last_batch():
    parameters, (x, context) = stacked(AFFINE), rows(count=64)
    training, _ = AFFINE.to_latent(parameters, x, context, training=True)
    refreshed = AFFINE.refreshed(parameters, {"x": x, "context": context})
    after, _ = AFFINE.to_latent(parameters | refreshed, x, context)
    torch.testing.assert_close(training, after)
    before, _ = AFFINE.to_latent(parameters, x, context)
    assert (before - after).abs().max() > 1e-3


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: type(n).__name__)
def test_members_of_a_stack_do_not_influence_each_other(network):
    parameters, (x, context) = stacked(network), rows()
    both = flows.log_prob(network, parameters, x, context)
    for member in range(2):
        alone = {name: value[member : member + 1] for name, value in parameters.items()}
        own = slice(member, member + 1)
        torch.testing.assert_close(both[own], flows.log_prob(network, alone, x[own], context[own]))


def test_an_ensemble_is_the_mean_of_densities_and_takes_turns_in_sampling():
    parameters = stacked(SPLINE)
    arrays = {name: value.numpy() for name, value in parameters.items()}
    x, context = (part[0].numpy() for part in rows(count=1500))
    each = [flows.density(SPLINE, {k: v[m : m + 1] for k, v in arrays.items()}, x, context) for m in (0, 1)]
    np.testing.assert_allclose(
        flows.density(SPLINE, arrays, x, context), np.logaddexp(*each) - math.log(2), rtol=1e-5, atol=1e-5
    )
    drawn = flows.sample(SPLINE, arrays, context, np.random.default_rng(0))
    z = np.random.default_rng(0).standard_normal((1500, 3), dtype=np.float32)
    for member in (0, 1):
        own = {k: v[member : member + 1] for k, v in parameters.items()}
        turn = slice(member, None, 2)
        expected = SPLINE.from_latent(
            own, torch.from_numpy(z[turn])[None], torch.from_numpy(context[turn])[None]
        )
        np.testing.assert_allclose(drawn[turn], expected[0].numpy(), atol=1e-4)


def test_a_row_does_not_depend_on_its_chunk():
    arrays = {name: value.numpy() for name, value in stacked(SPLINE).items()}
    x, context = (part[0].numpy() for part in rows(count=1300))
    whole = flows.density(SPLINE, arrays, x, context)
    parts = [flows.density(SPLINE, arrays, x[a:b], context[a:b]) for a, b in ((0, 17), (17, 1300))]
    assert np.array_equal(whole, np.concatenate(parts))


def test_flow_matching_of_a_gaussian_field_is_exact():
    """With a velocity linear in x the map is known: v = −x carries x at time 1 to e·x at time 0, log det = inputs."""
    network = FlowMatching(2, 0, hidden=(4,), reach=1e6)
    parameters = {
        name: torch.zeros(1, *value.shape) for name, value in network.initial(torch.Generator()).items()
    }
    # silu(a) − silu(−a) = a
    weight = torch.zeros(4, network._sizes[0])
    weight[:, :2] = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    parameters["weight0"] = weight[None]
    parameters["weight1"] = torch.tensor([[[-1.0, 1, 0, 0], [0, 0, -1, 1]]])
    x = torch.tensor([[[0.3, -1.2], [2.0, 0.1]]])
    logs = flows.log_prob(network, parameters, x, x[..., :0])
    expected = multivariate_normal(np.zeros(2), np.eye(2) * math.exp(-2)).logpdf(x[0].numpy())
    np.testing.assert_allclose(logs[0].numpy(), expected, rtol=1e-4)


def test_arrays_of_another_flow_are_refused():
    arrays = {name: value.numpy() for name, value in stacked(SPLINE).items()}
    flows.check(SPLINE, arrays)
    with pytest.raises(ValueError, match="not those of its settings"):
        flows.check(AFFINE, arrays)
    with pytest.raises(ValueError, match="of shape"):
        flows.check(SplineFlow(3, 2, 2, (16, 13), 5, 4.0), arrays)
    arrays["0.bias0"] = arrays["0.bias0"] * np.float32(np.nan)
    with pytest.raises(ValueError, match=r"'0\.bias0' holds values that are not finite"):
        flows.check(SPLINE, arrays)
