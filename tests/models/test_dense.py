import numpy as np
import pytest
import torch

from models.networks.base import Noise, Scratch, autograd_gradients
from models.networks.dense import DenseClassifier, apply_layers, check_layers, initial_layers, product


def stack_of(network, members=3, seed=0):
    """Parameters of some members in double precision, inputs far from standardised."""
    generator = torch.Generator().manual_seed(seed)
    parts = [network.initial(generator) for _ in range(members)]
    parameters = {name: torch.stack([part[name] for part in parts]).double() for name in parts[0]}
    shape = (members, 1, network.n_inputs)
    constants = {"mean": torch.full(shape, 2.0), "deviation": torch.full(shape, 3.0)}
    if network.pieces:
        edges = torch.linspace(-2.0, 2.0, network.pieces + 1).repeat(members, 1, network.n_inputs)
        rest = torch.arange(edges.shape[-1]) % (network.pieces + 1) < network.pieces
        constants |= {
            "start": edges[..., rest],
            "width": torch.full_like(edges[..., rest], 4.0 / network.pieces),
        }
    return parameters | {f"buffer.{name}": value.double() for name, value in constants.items()}


def batch_of(network, members=3, rows=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = 2.0 + 3.0 * torch.randn(members, rows, network.n_inputs, generator=generator)
    target = (torch.rand(members, rows, generator=generator) < 0.4).double()
    weight = 0.5 + torch.rand(members, rows, generator=generator)
    return {"x": x.double(), "target": target, "weight": weight.double()}


def gradients(network, *, by_hand):
    parameters, batch = stack_of(network), batch_of(network)
    into = {
        name: torch.full_like(value, torch.nan)
        for name, value in parameters.items()
        if not name.startswith("buffer.")
    }
    noise = Noise([torch.Generator().manual_seed(n) for n in range(3)], training=True)
    if by_hand:
        losses = network.gradients(parameters, batch, noise, into, Scratch())
    else:
        losses = autograd_gradients(
            lambda *given: network.losses(*given).double(), parameters, batch, noise, into
        )
    return losses, into


@pytest.mark.parametrize(
    "network",
    [
        DenseClassifier(4, (64, 64, 64), ("relu",) * 3),
        DenseClassifier(5, (8, 6, 4), ("leaky_relu", "elu", "relu")),
        DenseClassifier(2, (16,), ("elu",)),
        DenseClassifier(3, (8, 8), ("relu", "relu"), pieces=5),
        DenseClassifier(1, (8,), ("relu",)),  # these are left to autograd
        DenseClassifier(4, (8, 1), ("relu", "relu")),
        DenseClassifier(4, (8, 8), ("silu", "silu")),
        DenseClassifier(4, (8, 8), ("relu", "relu"), (0.5,)),
    ],
)
def test_gradients_by_hand_are_those_of_autograd(network):
    (losses, ours), (expected_losses, expected) = (
        gradients(network, by_hand=True),
        gradients(network, by_hand=False),
    )
    torch.testing.assert_close(losses.double(), expected_losses.double(), rtol=0, atol=1e-6)
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-6)
        assert gradient.abs().max() > 1e-4


def test_pieces_rise_one_after_the_other():
    """With the first layer a sum, an input of k and a half pieces becomes k + 1/2, within the range of the pieces."""
    network = DenseClassifier(1, (1,), ("leaky_relu",), pieces=4)
    start = torch.tensor([[0.0, 1.0, 3.0, 7.0]])
    width = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    parameters = {"weight0": torch.ones(1, 4, 1), "weight1": torch.ones(1, 1, 1)}
    parameters |= {f"bias{number}": torch.zeros(1, 1, 1) for number in range(2)}
    parameters |= {"buffer.mean": torch.full((1, 1, 1), 10.0), "buffer.deviation": torch.full((1, 1, 1), 2.0)}
    parameters |= {"buffer.start": start[None], "buffer.width": width[None]}
    x = 10.0 + 2.0 * torch.tensor([-5.0, 0.0, 0.5, 2.0, 7.0, 11.0, 15.0, 1e30])
    expected = torch.tensor([[0.0, 0.0, 0.5, 1.5, 3.0, 3.5, 4.0, 4.0]])
    torch.testing.assert_close(network.logits(parameters, x[None, :, None]), expected)


def test_memory_that_is_used_again_holds_nothing_of_the_last_step():
    network = DenseClassifier(4, (16, 16), ("relu", "elu"))
    scratch, noise = Scratch(), Noise([], training=True)
    parameters = stack_of(network)
    fresh = {}
    for seed, held in ((5, scratch), (6, scratch), (5, scratch), (5, Scratch())):
        into = {name: torch.zeros_like(value) for name, value in parameters.items() if "buffer" not in name}
        network.gradients(parameters, batch_of(network, rows=32, seed=seed), noise, into, held)
        if seed == 5:
            assert all(torch.equal(fresh.setdefault(name, value), value) for name, value in into.items())
    assert scratch.take("slope1", parameters["weight0"], 3, 32, 16).shape == (3, 32, 16)
    assert scratch.take("slope1", parameters["weight0"], 3, 8, 16).shape == (3, 8, 16)


@pytest.mark.parametrize("columns", [1, 2, 7])
def test_product_is_that_of_each_member_alone(columns):
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, generator=generator) for shape in ((4, 32, 5), (4, 5, columns), (4, 1, columns))
    )
    whole = product(x, weight, bias)
    for n in range(4):
        torch.testing.assert_close(whole[n], x[n] @ weight[n] + bias[n], rtol=1e-5, atol=1e-6)
        assert torch.equal(product(x[n : n + 1], weight[n : n + 1], bias[n : n + 1])[0], whole[n])


def test_layers_are_those_of_torch():
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 8),
        torch.nn.LeakyReLU(0.01),
        torch.nn.Linear(8, 5),
        torch.nn.ELU(),
        torch.nn.Linear(5, 2),
    )
    parameters = {}
    for number in range(3):
        layer = network[2 * number]
        parameters[f"weight{number}"] = layer.weight.detach().T[None]
        parameters[f"bias{number}"] = layer.bias.detach()[None, None]
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    ours = apply_layers(parameters, x[None], ("leaky_relu", "elu"))[0]
    torch.testing.assert_close(ours, network(x).detach(), rtol=1e-5, atol=1e-6)


def test_first_weights_spread_as_those_of_torch():
    """Uniform within ±1/√inputs, as torch.nn.Linear draws weights and biases."""
    parameters = initial_layers((100, 400, 1), torch.Generator().manual_seed(3))
    weight = parameters["weight0"]
    assert weight.shape == (100, 400)
    assert parameters["bias1"].shape == (1, 1)
    assert float(weight.abs().max()) == pytest.approx(0.1, rel=0.01)
    assert float(weight.std()) == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert float(weight.mean()) == pytest.approx(0.0, abs=0.002)


def test_dropout_is_for_training_only_and_keeps_the_mean():
    parameters = {"weight0": torch.ones(1, 1, 4000), "bias0": torch.zeros(1, 1, 4000)}
    parameters |= {"weight1": torch.full((1, 4000, 1), 1 / 4000), "bias1": torch.zeros(1, 1, 1)}
    x = torch.ones(1, 32, 1)
    generators = [torch.Generator().manual_seed(0)]
    outputs = [
        apply_layers(parameters, x, ("relu",), noise=Noise(generators, training=training), dropout=(0.25,))
        for training in (True, False)
    ]
    torch.testing.assert_close(outputs[1], x)
    assert float(outputs[0].std()) == pytest.approx(np.sqrt(0.25 / 0.75 / 4000), rel=0.4)
    assert float(outputs[0].mean()) == pytest.approx(1.0, abs=0.01)


def test_arrays_that_are_no_stack_are_refused():
    def arrays():
        drawn = initial_layers((4, 8, 1), torch.Generator().manual_seed(0))
        return {name: value[None].repeat(3, 1, 1).numpy() for name, value in drawn.items()}

    assert check_layers(arrays(), (4, 8, 1)) == 3
    with pytest.raises(ValueError, match="'weight0' is float32 of shape"):
        check_layers(arrays(), (5, 8, 1))
    with pytest.raises(ValueError, match="'bias1' is missing"):
        check_layers({name: value for name, value in arrays().items() if name != "bias1"}, (4, 8, 1))
    broken = arrays()
    broken["weight1"][2, 3] = np.nan
    with pytest.raises(ValueError, match="'weight1' are not those of a trained network"):
        check_layers(broken, (4, 8, 1))
    with pytest.raises(ValueError, match="'bias0' is float32 of shape"):
        check_layers(arrays() | {"bias0": np.zeros((2, 1, 8), np.float32)}, (4, 8, 1))
