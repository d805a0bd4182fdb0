"""CPU of our stacked flows and of zuko's of the same size: a training step, densities, draws.

Prints one JSON object; run it as ``python tests/benchmarks/bench_flows.py [seconds a measurement]``. One thread,
4 inputs and 1 context; a step is forward, backward and Adam on 2048 rows (spline) or 256 rows (affine).
"""

import json
import sys
import time

import numpy as np
import torch

from models.jobs import Schedule
from models.networks import flows
from models.networks.affine_flow import AffineFlow
from models.networks.base import Noise
from models.networks.flows import SplineFlow
from models.optimiser import Adam

ROWS, DRAWN = 10_240, 10_240


def cpu(function, seconds):
    """Median CPU seconds of a call."""
    function()
    taken, until = [], time.process_time() + seconds
    while time.process_time() < until or len(taken) < 3:
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def ours(network, members, batch, seconds):
    """Milliseconds a step and rows per second of a stack."""
    starts = [network.initial(torch.Generator().manual_seed(number)) for number in range(members)]
    trained = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    # As the batched trainer does: all weights in one tensor, gradients that land in another.
    flat = torch.cat([value.reshape(members, -1) for value in trained.values()], dim=1)
    gradient = torch.zeros_like(flat)
    parameters, first = {}, 0
    for name, value in trained.items():
        size = value[0].numel()
        parameters[name] = flat[:, first : first + size].view(value.shape).detach().requires_grad_()
        parameters[name].grad = gradient[:, first : first + size].view(value.shape)
        first += size
    for name, value in network.buffers().items():
        parameters[f"buffer.{name}"] = torch.from_numpy(np.stack([value] * members))
    generator = torch.Generator().manual_seed(0)
    data = {
        "x": torch.randn(members, batch, 4, generator=generator),
        "context": torch.randn(members, batch, 1, generator=generator),
        "weight": torch.ones(members, batch),
    }
    adam, rate = Adam.start(flat, Schedule()), torch.full((members,), 1e-3)
    noise = Noise([], training=True)

    def step():
        gradient.zero_()
        network.losses(parameters, data, noise).mean(dim=1).sum().backward()
        adam.step(flat, gradient, rate)

    arrays = {name: value.detach().numpy() for name, value in parameters.items()}
    rng = np.random.default_rng(0)
    x, context = (rng.standard_normal((ROWS, width), dtype=np.float32) for width in (4, 1))
    return {
        "step_ms": 1e3 * cpu(step, seconds),
        "density_rows_per_s": ROWS / cpu(lambda: flows.density(network, arrays, x, context), seconds),
        "sample_rows_per_s": DRAWN / cpu(lambda: flows.sample(network, arrays, context, rng), seconds),
    }


def zukos(flow, batch, seconds):
    """The same of one flow of zuko's; draws come from the sequential inverse."""
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)
    x, context = torch.randn(batch, 4), torch.randn(batch, 1)
    many, contexts = torch.randn(ROWS, 4), torch.randn(ROWS, 1)

    def step():
        optimiser.zero_grad()
        (-flow(context).log_prob(x).mean()).backward()
        optimiser.step()

    def density():
        with torch.no_grad():
            for part, at in zip(many.split(1024), contexts.split(1024), strict=True):
                flow(at).log_prob(part)

    def draw():
        with torch.no_grad():
            for at in contexts[:DRAWN].split(1024):
                flow(at).sample()

    return {
        "step_ms": 1e3 * cpu(step, seconds),
        "density_rows_per_s": ROWS / cpu(density, seconds),
        "sample_rows_per_s": DRAWN / cpu(draw, seconds),
    }


def main(seconds):
    """All numbers."""
    import zuko

    torch.set_num_threads(1)
    spline, affine = SplineFlow(4, 1, 3, (64, 64), 8), AffineFlow(4, 1, 15, (128,))
    return {
        "spline": {str(members): ours(spline, members, 2048, seconds) for members in (1, 5)},
        "affine": {str(members): ours(affine, members, 256, seconds) for members in (1, 5)},
        "zuko": {
            "NSF": zukos(zuko.flows.NSF(4, 1, bins=8, transforms=3, hidden_features=(64, 64)), 2048, seconds),
            "MAF": zukos(zuko.flows.MAF(4, 1, transforms=15, hidden_features=(128,)), 256, seconds),
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=2))
