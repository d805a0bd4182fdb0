"""Global p-values of two spectra by brute force and by Gross–Vitells, and their cost, as JSON.

Brute force counts in how many toys the largest local significance of the scan exceeds Z; Gross–Vitells
(arXiv:1005.1891) has the up-crossings of q0 = 0.5 in few other toys. Usage::

    python tests/benchmarks/bench_global.py [--toys 100000] [--few 100] [--workers 1]
"""

import argparse
import json
import math
import time

import numpy as np

from analysis.functions import density
from analysis.global_pvalue import count_above
from analysis.gross_vitells import gross_vitells, window_crossings
from analysis.pseudo_experiments import ScannedSelection, scan_toys
from analysis.scan import ScanConfig, scan
from analysis.spectrum import Spectrum

SPECTRA = {
    "60000 events, dijet3": {"events": 60_000, "lo": 1460.0, "function": "dijet3", "first": 1800.0},
    "5000 events, dijet2": {"events": 5_000, "lo": 2000.0, "function": "dijet2", "first": 2400.0},
}
SIGNIFICANCES = (2.5, 3.0, 3.5)
N_MASSES = 30
STEP = 0.05 / 3
"""Ratio of neighbouring masses less one: a third of the signal's width."""


def selection(events, lo, function, first, width=20.0):
    """A selection with a spectrum of data drawn from a dijet function, and its scan."""
    edges = np.arange(lo, 6001.0, width)
    middles = 0.5 * (edges[1:] + edges[:-1])
    shape = density(middles, 0.0, np.array([9.3, 4.8, -0.1]))
    data = Spectrum(edges, np.random.default_rng(1).poisson(shape * events / shape.sum()))
    config = ScanConfig(fit_start=lo, fit_stop=6000.0, function=function, limits=False, minuit=False)
    return ScannedSelection.from_scan(
        function, scan(data, first * (1 + STEP) ** np.arange(N_MASSES), None, config)
    )


def compare(options, n_toys, n_few, workers):
    tested = selection(**options)
    scan_toys([tested], 1, seed=0)  # compile
    few = scan_toys([tested], n_few, seed=1, workers=workers)
    start = time.process_time()
    toys = scan_toys([tested], n_toys, seed=2, workers=workers)
    cpu = time.process_time() - start
    windows = [0] * N_MASSES
    good = toys.q0[toys.converged[:, 0]]
    crossings = window_crossings(few.q0[few.converged[:, 0]], windows)
    rows = []
    for z in SIGNIFICANCES:
        counted = count_above(z**2, good.max(axis=1), n_toys - len(good), "benchmark")
        bound = gross_vitells(z, crossings)
        precise = gross_vitells(z, window_crossings(good, windows))
        error = math.hypot(counted.error, bound.p_global_error)
        rows.append(
            {
                "z": z,
                "p_toys": counted.p,
                "p_toys_error": counted.error,
                "gross_vitells": bound.p_global,
                "gross_vitells_error": bound.p_global_error,
                "difference_in_errors": (bound.p_global - counted.p) / error,
                "gross_vitells_all_toys": precise.p_global,
                "message": bound.message,
            }
        )
    return {
        "n_toys": n_toys,
        "n_failed": n_toys - len(good),
        "n_few": n_few,
        "masses": N_MASSES,
        "bins": int(tested.generating.spectrum.counts.size),
        "cpu_s": cpu,
        "cpu_us_per_toy_and_mass": 1e6 * cpu / n_toys / N_MASSES,
        "significances": rows,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toys", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    found = {
        name: compare(options, given.toys, given.few, given.workers) for name, options in SPECTRA.items()
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
