"""Every method with one preset on the shipped sample: CPU time, wall time, and what the cut keeps.

    python tests/benchmarks/bench_shipped.py [--preset quick] [--methods cwola,vae_qr] [--out FOLDER]

Methods on features learn from the mock data (a resonance at 3 TeV is in it), those on particles and on rapidity–mass
matrices from the shipped events with particles. Prints JSON: seconds of training in one process, share of the
side-band events selected by networks that never saw them, share of simulated signal events selected.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import models
from data.samples import read_samples
from processors.config import FeaturesConfig, MatrixConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_skim
from processors.skim import read_features

SAMPLES = Path(__file__).parents[2] / "data" / "mini" / "samples.yaml"
WINDOW = {"signal_region": (2725.0, 3331.0), "low_band": (2230.0, 2725.0), "high_band": (3331.0, 4071.0)}
PARTICLES = FeaturesConfig(constituents=True, rapidity_mass_matrix=MatrixConfig())
ARRAYS = ("rmm", "constituents_j1", "constituents_j2")


def features(name, out, config):
    """Feature table of a shipped sample."""
    options = EventOptions(features=config)
    run_skim(read_samples(SAMPLES)[name], ProcessingConfig(), options, out)
    return read_features(out / "features" / name)


def bare(table):
    """A table as data have it: every event counts once."""
    return {name: values for name, values in table.items() if name not in {"weight", "label"}}


def judged(name, preset, table, signal, background):
    """Figures of one method."""
    point = 0.01 if len(table["mjj"]) > 10_000 else 0.05
    method = models.create(name, working_point=point, seed=1, preset=preset, **WINDOW)
    given = {"signal": signal, "background": background}
    further = {key: given[key] for key in method.takes if key in given}
    wall, processor = time.perf_counter(), time.process_time()
    method.fit(table, **further)
    seconds = time.process_time() - processor
    wall = time.perf_counter() - wall
    own = method.fold_votes(table, trained_on=True) == 5
    band = method.window.of(table["mjj"])
    found = method.fold_votes(signal, trained_on=None if "signal" in further else False) / 5
    return {
        "cpu_seconds": round(seconds, 1),
        "wall_seconds": round(wall, 1),
        "working_point": point,
        "low_band_selected": round(float(own[band == 0].mean()), 4),
        "high_band_selected": round(float(own[band == 2].mean()), 4),
        "signal_selected": round(float(found[method.window.of(signal["mjj"]) == 1].mean()), 4),
    }


def main():
    """Skim, train, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--methods", default=",".join(models.available()))
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp())
    plain = FeaturesConfig()
    mock, signal, null = (features(n, out, plain) for n in ("mock", "signal_3000_400_400", "pseudo_1"))
    qcd, odd = (features(n, out / "particles", PARTICLES) for n in ("qcd_particles", "signal_particles"))
    few = np.arange(len(odd["mjj"])) < 60
    mixed = {name: np.concatenate([values, odd[name][few]]) for name, values in bare(qcd).items()}
    rest = {name: values[~few] for name, values in bare(odd).items()}
    for name in arguments.methods.split(","):
        inputs = models.create(name, signal_region=WINDOW["signal_region"]).inputs
        tables = (
            (mixed, rest, bare(qcd)) if set(ARRAYS) & set(inputs) else (bare(mock), bare(signal), bare(null))
        )
        result = judged(name, arguments.preset, *tables)
        sys.stdout.write(json.dumps({name: result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
