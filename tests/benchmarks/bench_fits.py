"""CPU time of batched fits and limits next to pyhf's toy calculator and cabinetry's limit, in one run.

Prints one JSON object; run it as ``python tests/benchmarks/bench_fits.py [toys of the large run]`` with one thread
(``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1``). The peers fit 35 coarse bins with the background's tangents as free norm
factors, the engine the 1385 bins of 4 GeV with the function itself.
"""

import json
import logging
import sys
import time

import cabinetry
import numpy as np
import pyhf

from analysis.batched import BatchedFits
from analysis.fit import fit_background
from analysis.limits import asymptotic_limit
from analysis.scan import ScanConfig, scan, signal_test
from analysis.signal_shape import SignalModel
from analysis.spectrum import COARSE_EDGES, Spectrum, sum_between

EDGES = 1460.0 + 4.0 * np.arange(1386)
MASSES = np.linspace(1800.0, 5750.0, 40)
SIGNAL = SignalModel.generic()


def spectrum(n_events, seed=0):
    x = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
    shape = (1 - x) ** 9.3 / x ** (4.8 - 0.1 * np.log(x))
    return Spectrum(EDGES, np.random.default_rng(seed).poisson(shape * n_events / shape.sum()))


def cpu(function, repeat=3):
    """Least CPU seconds of a call."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def coarse_workspace(fit):
    """HistFactory workspace of a mass of 3 TeV in 35 bins, linear in the background's parameters."""
    wanted = [edge for edge in COARSE_EDGES if 1460 <= edge <= 6800]
    index = np.unique([np.abs(EDGES - edge).argmin() for edge in wanted] + [EDGES.size - 1])
    expected, jacobian = fit.model.expected_and_jacobian(fit.minimum.theta)
    signal = sum_between(SIGNAL.template(3000.0, EDGES).nominal, index)
    data = [("signal", 100 * signal, "mu"), ("background", sum_between(expected, index), None)]
    data += [(f"b{k}", sum_between(column, index), f"b{k}") for k, column in enumerate(jacobian.T)]
    samples = [
        {"name": name, "data": values.tolist(), "modifiers": [] if factor is None else [{"name": factor, "type": "normfactor", "data": None}]}
        for name, values, factor in data
    ]  # fmt: skip
    parameters = [{"name": "mu", "inits": [0.5], "bounds": [[0.0, 10.0]]}]
    parameters += [{"name": name, "inits": [0.0], "bounds": [[-10.0, 10.0]]} for name, _, _ in data[2:]]
    return {
        "channels": [{"name": "mjj", "samples": samples}],
        "observations": [{"name": "mjj", "data": sum_between(fit.spectrum.counts, index).astype(float).tolist()}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": parameters}}],
        "version": "1.0.0",
    }, index.size - 1  # fmt: skip


def peers(fit, n_toys=20):
    """CPU seconds of a toy of pyhf's toy calculator, and of cabinetry's limit."""
    workspace, bins = coarse_workspace(fit)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer())
    model = pyhf.Workspace(workspace).model()
    data = pyhf.Workspace(workspace).data(model)
    np.random.seed(0)  # noqa: NPY002 - pyhf draws its toys from scipy's global generator
    calculator = pyhf.infer.calculators.ToyCalculator(data, model, ntoys=n_toys, track_progress=False)
    # It draws and fits as many toys with signal as without.
    toys = cpu(lambda: calculator.distributions(1.0), repeat=1) / (2 * n_toys)
    limit = cpu(lambda: cabinetry.fit.limit(model, data), repeat=1)
    return {"bins": bins, "pyhf_ms_per_toy": 1e3 * toys, "cabinetry_limit_s": limit}


def engine(fit, n_toys=200):
    """CPU milliseconds per toy and mass, null fits included, and per limit with bands."""
    counts = np.random.default_rng(1).poisson(fit.expected, (n_toys, EDGES.size - 1))
    templates = [SIGNAL.template(mass, EDGES) for mass in MASSES]

    def run():
        return BatchedFits(counts, fit.model, fit.minimum.theta).best(templates)

    converged = float(run().converged.mean())
    test = signal_test(fit, SIGNAL.template(3000.0, EDGES))
    uncertain = signal_test(fit, SIGNAL.template(3000.0, EDGES, nuisances=True, norm_uncertainty=0.1))
    asymptotic_limit(test)
    return {
        "function": fit.function,
        "events": fit.spectrum.n_events,
        "converged": converged,
        "ms_per_toy_and_mass": 1e3 * cpu(run) / (n_toys * len(templates)),
        "limit_ms": 1e3 * cpu(lambda: asymptotic_limit(test)),
        "limit_with_nuisances_ms": 1e3 * cpu(lambda: asymptotic_limit(uncertain)),
    }


def large_run(fit, n_toys):
    """Wall and CPU seconds of many toys and 40 masses with two workers."""
    counts = np.random.default_rng(2).poisson(fit.expected, (n_toys, EDGES.size - 1))
    templates = [SIGNAL.template(mass, EDGES) for mass in MASSES]
    wall, used = time.perf_counter(), time.process_time()
    found = BatchedFits(counts, fit.model, fit.minimum.theta, workers=2).best(templates)
    return {
        "toys": n_toys,
        "masses": len(templates),
        "workers": 2,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - used,
        "converged": float(found.converged.mean()),
    }


def main():
    logging.disable(logging.WARNING)
    n_toys = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    data = spectrum(100_000)
    fit = fit_background(data, "dijet3")
    engines = [
        engine(fit_background(spectrum(n), name))
        for n, name in ((10_000, "dijet2"), (100_000, "dijet3"), (1_000_000, "dijet4"))
    ]
    other = peers(fit)
    masses = np.linspace(1800.0, 5800.0, 41)
    scan_seconds = {
        label: cpu(lambda config=config: scan(data, masses, config=config))
        for label, config in {
            "plain": ScanConfig(),
            "nuisances": ScanConfig(nuisances=True),
            "without_minuit": ScanConfig(minuit=False),
        }.items()
    }
    slowest = max(row["ms_per_toy_and_mass"] for row in engines)
    limit = max(row["limit_ms"] for row in engines)
    result = {
        "engine": engines,
        "peers": other,
        "toys_faster_than_pyhf": other["pyhf_ms_per_toy"] / slowest,
        "limits_faster_than_cabinetry": 1e3 * other["cabinetry_limit_s"] / limit,
        "scan_of_41_masses_with_limits_s": scan_seconds,
        "large_run": large_run(fit, n_toys),
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
