"""Time of the particle autoencoder on one core: scoring of events of two jets, and training. Prints JSON.

python tests/benchmarks/bench_vae.py [EVENTS]
"""

import json
import sys
import time

import numpy as np

import models
from models.jobs import Member, Schedule, StackJob
from models.methods.vae_qr import VaeQrOptions
from models.networks.scoring import single_thread
from models.networks.vae import ParticleVae
from models.seeds import task_seed
from models.stack import train_stack

FOLDS = 5


def jets_of(events, seed):
    """Jets of 30 to 100 particles; the time does not depend on where they lie."""
    rng = np.random.default_rng(seed)
    jets = rng.normal(0, 20, (events, 100, 3)).astype(np.float32)
    jets[np.arange(100) >= rng.integers(30, 101, (events, 1))] = 0
    return jets


def trained_arrays(options):
    """A network after one short epoch: that its weights are poor costs no time."""
    network = ParticleVae(options.particles, options.latent, options.beta)
    ones = np.ones((1, 3), dtype=np.float32)
    member = Member(np.arange(64), np.arange(64), task_seed(1), {"mean": 0 * ones, "deviation": ones})
    schedule = Schedule(epochs=1, batch=64)
    x = jets_of(64, 1)[:, : options.particles]
    return train_stack(network, schedule, {"x": x}, [member]).networks[0]


def scoring(preset, events):
    """Events a second of CPU time, one fold's network."""
    method = models.create("vae_qr", signal_region=(2800.0, 3200.0), preset=preset)
    arrays = trained_arrays(method.options)
    columns = {"mjj": np.full(events, 3000.0)}
    columns |= {f"constituents_j{jet}": jets_of(events, jet) for jet in (1, 2)}
    method.raw_score(arrays, {name: values[:256] for name, values in columns.items()})
    start = time.process_time()
    method.raw_score(arrays, columns)
    return events / (time.process_time() - start)


def training(options, steps):
    """CPU milliseconds of a step of five networks side by side, one a fold."""
    schedule, rows = options.schedule.model_copy(update={"epochs": 1}), options.schedule.batch * steps
    x = jets_of(rows, 3)[:, : options.particles]
    ones = np.ones((1, 3), dtype=np.float32)
    members = tuple(
        Member(np.arange(rows), np.arange(8), task_seed(fold), {"mean": 0 * ones, "deviation": ones})
        for fold in range(FOLDS)
    )
    job = StackJob(ParticleVae(options.particles, options.latent, options.beta), schedule, {"x": x}, members)
    with single_thread():
        start = time.process_time()
        train_stack(job.network, job.schedule, job.data, job.members)
        return 1000 * (time.process_time() - start) / steps


def measure(events):
    """All numbers."""
    options = {
        "default": VaeQrOptions(),
        "quick": VaeQrOptions.model_validate(models.describe("vae_qr").presets["quick"]),
    }
    return {
        "events": events,
        "scoring_events_per_cpu_s": {name: scoring(name, events) for name in options},
        "training_cpu_ms_per_step_of_five_networks": {
            name: training(own, steps=8) for name, own in options.items()
        },
        "rows_per_step_and_network": {name: own.schedule.batch for name, own in options.items()},
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2000), indent=2))
