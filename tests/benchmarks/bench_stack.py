"""Time of a stack of 20 classifiers against 20 single trainings in plain PyTorch, and against 20 stacks of one.

All train 3×64 ReLU networks on the same rows for the same number of steps, in one thread, in the same run; times are CPU
times. Prints one JSON object; run it as ``python tests/benchmarks/bench_stack.py [epochs]``.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn

from models.jobs import Member, Schedule
from models.networks.dense import DenseClassifier
from models.stack import train_stack

MEMBERS, ROWS, VALIDATION = 20, 15_000, 4_000


def toy(seed=0):
    """Two classes in four inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS + VALIDATION, 4)).astype(np.float32)
    target = rng.random(len(x)) < 1.0 / (1.0 + np.exp(-x[:, 0] * x[:, 1]))
    return {"x": x, "target": target.astype(np.float32), "weight": np.ones(len(x), np.float32)}


def plain_training(data, batch, epochs, seed):
    """What one would write in PyTorch: nn.Sequential, Adam, shuffled indices, a validation loss each epoch."""
    torch.manual_seed(seed)
    x, target = torch.from_numpy(data["x"]), torch.from_numpy(data["target"])
    layers = [nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    network, loss = nn.Sequential(*layers, nn.Linear(64, 1)), nn.BCEWithLogitsLoss()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    best = np.inf
    for _ in range(epochs):
        order = torch.randperm(ROWS)
        for first in range(0, ROWS, batch):
            rows = order[first : first + batch]
            optimiser.zero_grad()
            loss(network(x[rows])[:, 0], target[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            best = min(best, float(loss(network(x[ROWS:])[:, 0], target[ROWS:])))
    return best


def stacked(data, batch, epochs, seeds):
    """The same with the batched trainer."""
    buffers = {"mean": np.zeros((1, 4), np.float32), "deviation": np.ones((1, 4), np.float32)}
    fitted, validation = np.arange(ROWS), np.arange(ROWS, ROWS + VALIDATION)
    members = [Member(fitted, validation, seed, buffers) for seed in seeds]
    schedule = Schedule(epochs=epochs, batch=batch, learning_rate=1e-3)
    return train_stack(DenseClassifier(4, (64, 64, 64), ("relu",) * 3), schedule, data, members)


def measure(batch, epochs, data):
    """CPU seconds of 20 trainings in each way; of the single ones a quarter is timed, before and after the stack."""
    seconds = {"plain": 0.0, "stacks_of_one": 0.0, "stack_of_20": 0.0}
    few = MEMBERS // 8
    losses = []
    for turn in range(2):
        start = time.process_time()
        losses += [plain_training(data, batch, epochs, turn * few + seed) for seed in range(few)]
        plain = time.process_time()
        for seed in range(few):
            stacked(data, batch, epochs, [seed])
        one = time.process_time()
        result = stacked(data, batch, epochs, range(MEMBERS))
        seconds["plain"] += (plain - start) * MEMBERS / few / 2
        seconds["stacks_of_one"] += (one - plain) * MEMBERS / few / 2
        seconds["stack_of_20"] += (time.process_time() - one) / 2
    return {
        "cpu_seconds": {name: round(value, 2) for name, value in seconds.items()},
        "plain_over_stack": round(seconds["plain"] / seconds["stack_of_20"], 2),
        "stacks_of_one_over_stack": round(seconds["stacks_of_one"] / seconds["stack_of_20"], 2),
        "mean_validation_loss": {
            "plain": round(float(np.mean(losses)), 4),
            "stack": round(float(result.validation.mean()), 4),
        },
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    n_epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    table = toy()
    stacked(table, 128, 1, [0])
    plain_training(table, 128, 1, 0)
    print(json.dumps({f"batch_{size}": measure(size, n_epochs, table) for size in (128, 256)}, indent=2))
