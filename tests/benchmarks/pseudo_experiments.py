"""Local significance of the demo's search over pseudo-experiments with fresh background and signal, as JSON.

Each pseudo-experiment is a sample of kind ``data`` in a sample definition that `oddjet simulate` wrote with other
seeds than the shipped sample's. Usage::

    python tests/benchmarks/pseudo_experiments.py SAMPLES.yaml --out FOLDER [--workers 2]
"""

import argparse
import json
import logging
import statistics
from pathlib import Path

from analysis.cli import DEMOS
from analysis.config import load_config
from analysis.pipeline import histogram, scan, skim, train
from analysis.run import Run
from data.files import read_json
from data.samples import read_samples


def search(samples: Path, name: str, signals: list[str], out: Path, workers: int) -> dict[str, float]:
    """Largest local Z of each selection within 100 GeV of the planted 3 TeV."""
    overrides = (
        f"samples={samples.resolve()}",
        f"search.data={name!r}",
        f"search.signals={signals!r}",
        f"run.output={out / name}",
        "scan.masses=[2900, 3000, 3100]",
        f"processing.workers={workers}",
        f"processing.executor={'futures' if workers > 1 else 'iterative'}",
    )
    run = Run(*load_config(DEMOS["demo"], overrides))
    for stage in (skim, train, histogram, scan):
        stage(run)
    rows = read_json(run.root / "scan.json")["selections"]
    return {name: max(row["z"] for row in found if row["valid"]) for name, found in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    defined = read_samples(options.samples)
    signals = [name for name, sample in defined.items() if sample.kind == "simulation" and sample.mass]
    names = [name for name, sample in defined.items() if sample.kind == "data"]
    found = {name: search(options.samples, name, signals, options.out, options.workers) for name in names}
    summary = {
        selection: {
            "median_z": statistics.median(z[selection] for z in found.values()),
            "z_at_least_4": sum(z[selection] >= 4 for z in found.values()),
            "z_below_2": sum(z[selection] < 2 for z in found.values()),
        }
        for selection in next(iter(found.values()))
    }
    print(json.dumps({"pseudo_experiments": found, "summary": summary}, indent=1))


if __name__ == "__main__":
    main()
