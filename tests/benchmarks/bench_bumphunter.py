"""CPU per pseudo-experiment of BumpHunter, ours and pyBumpHunter's in one run, as JSON.

The scan alone is compared on the same toys in 35 bins, all widths up to half of them, every position. Ours is also timed
with side bands, and as a whole with the background refitted in fine bins. Usage::

    python tests/benchmarks/bench_bumphunter.py [number of toys]
"""

import json
import sys
import time

import numpy as np
from pyBumpHunter import BumpHunter1D

from analysis.bumphunter import BumpHunterConfig, find_bumps, hunt
from analysis.fit import fit_background
from analysis.functions import density
from analysis.spectrum import Spectrum

N_BINS = 35
REPEAT = 5


def cpu_us(function, n_toys, repeat=REPEAT):
    """Best of several runs, in µs per toy."""
    best = np.inf
    for _ in range(repeat):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return 1e6 * best / n_toys


def theirs(counts, expected):
    """t of every set of counts, without their Poisson draws and thread pool."""
    n = len(counts)
    hunter = BumpHunter1D(rang=[0, N_BINS], bins=np.arange(N_BINS + 1.0), npe=n, nworker=1, seed=1)
    hunter.min_Pval_ar, hunter.min_loc_ar, hunter.min_width_ar = np.empty(n), np.empty(n), np.empty(n)
    for toy, row in enumerate(counts):
        hunter._scan_hist(row, expected, np.arange(1, N_BINS // 2 + 1), toy)
    return -np.log(hunter.min_Pval_ar)


def measure(n_toys):
    expected = np.geomspace(1e5, 2.0, N_BINS)
    counts = np.random.default_rng(1).poisson(expected, (n_toys, N_BINS))
    plain = BumpHunterConfig(side_bands=False)
    difference = np.abs(find_bumps(counts, expected, plain).t - theirs(counts, expected)).max()
    cost = {
        "pybumphunter": cpu_us(lambda: theirs(counts, expected), n_toys),
        "ours": cpu_us(lambda: find_bumps(counts, expected, plain), n_toys),
        "ours_side_bands": cpu_us(lambda: find_bumps(counts, expected), n_toys),
    }
    edges = np.arange(1460.0, 7001.0, 4.0)
    shape = density(0.5 * (edges[1:] + edges[:-1]), 0.0, np.array([9.3, 4.8, -0.1]))
    data = np.random.default_rng(2).poisson(shape * 60_000 / shape.sum())
    fit = fit_background(Spectrum(edges, data), "dijet3")
    hunt(fit, 1, seed=0)  # compile
    for name, options in (("refitted", BumpHunterConfig()), ("not_refitted", BumpHunterConfig(refit=False))):
        cost[f"whole_{name}"] = cpu_us(
            lambda options=options: hunt(fit, n_toys, 1, options=options), n_toys, 2
        )
    return {
        "n_toys": n_toys,
        "bins": N_BINS,
        "largest_difference_of_t": float(difference),
        "cpu_us_per_toy": cost,
        "pybumphunter_over_ours": cost["pybumphunter"] / cost["ours"],
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2000), indent=1))
