"""Exported workspaces against the direct fit on ten spectra of 500 to 3,000,000 events, and what each program costs.

Prints JSON: for every spectrum the significance by the direct fit, stock pyhf and cabinetry, their limits (observed and
expected at -2 ... +2 standard deviations) over those of the direct fit, and the CPU seconds of the limits.

    python tests/benchmarks/bench_workspaces.py [--spectra 0 3 9] [--nuisances]
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pyhf
from pyhf.infer.intervals.upper_limits import upper_limit

from analysis.fit import fit_background
from analysis.fit_ranges import fit_range
from analysis.functions import density
from analysis.limits import asymptotic_limit
from analysis.profile_likelihood import SignalTest
from analysis.results import MassResult
from analysis.scan_config import ScanConfig
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.workspace import build_workspace

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cabinetry 0.6.0 imports deprecated names
    import cabinetry

EDGES = np.arange(2232.0, 8001.0, 4.0)
SPECTRA = (
    (500, 30, "dijet2", 3000.0, 3),
    (500, 0, "dijet2", 2800.0, 8),
    (1000, 40, "dijet3", 3000.0, 5),
    (3000, 120, "dijet3", 3000.0, 4),
    (10_000, 60, "dijet2", 3500.0, 2),
    (30_000, 400, "dijet3", 2800.0, 7),
    (100_000, 0, "dijet4", 3000.0, 4),
    (300_000, 1200, "alternative2", 3200.0, 9),
    (1_000_000, 3000, "atlas5", 3000.0, 6),
    (3_000_000, 3000, "dijet4", 4000.0, 1),
)
"""Events, signal events, function, mass in GeV, seed."""


def tested_mass(n_events, signal, function, mass, seed, *, nuisances):
    """A mass of a toy spectrum, tested with limits."""
    model = SignalModel.generic()
    shape = density(0.5 * (EDGES[1:] + EDGES[:-1]), 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * model.template(mass, EDGES).nominal
    data = Spectrum(EDGES, np.random.default_rng(seed).poisson(expected))
    fit = fit_background(fit_range(data, mass, ScanConfig()), function)
    template = model.template(
        mass, fit.spectrum.edges, nuisances=nuisances, norm_uncertainty=0.1 if nuisances else 0.0
    )
    test = SignalTest(fit.spectrum.counts.astype(float), fit.model, template, fit.minimum.theta)
    return MassResult(mass, fit, (), test, asymptotic_limit(test))


def clocked(function):
    """What a function gives, and its CPU seconds."""
    start = time.process_time()
    return function(), time.process_time() - start


def compare(number, *, nuisances=False):
    """Numbers of one spectrum by all programs."""
    n_events, signal, function, mass, seed = SPECTRA[number]
    point, own_seconds = clocked(
        lambda: tested_mass(n_events, signal, function, mass, seed, nuisances=nuisances)
    )
    export = build_workspace(point)
    model = pyhf.Workspace(export.workspace).model()
    data = pyhf.Workspace(export.workspace).data(model)
    config = model.config
    wanted = np.array([point.limit.observed, *point.limit.expected]) / export.signal_events
    q0 = pyhf.infer.test_statistics.q0(
        0.0, data, model, config.suggested_init(), config.suggested_bounds(), config.suggested_fixed()
    )
    (observed, expected), pyhf_seconds = clocked(
        lambda: upper_limit(data, model, None, level=0.05, rtol=1e-3)
    )
    significance = cabinetry.fit.significance(model, data).observed_significance
    limits, cabinetry_seconds = clocked(lambda: cabinetry.fit.limit(model, data, poi_tolerance=1e-3))
    return {
        "events": n_events, "signal": signal, "function": function, "mass": mass,
        "bins": int(export.edges.size - 1), "bounded": list(export.bounded),
        "z": {"direct": point.test.z, "pyhf": float(max(q0, 0.0)) ** 0.5, "cabinetry": float(significance)},
        "limits_over_direct": {
            "pyhf": (np.array([observed, *expected], dtype=float) / wanted).tolist(),
            "cabinetry": (np.array([limits.observed_limit, *limits.expected_limit]) / wanted).tolist(),
        },
        "cpu_seconds": {"fits_and_limits_direct": own_seconds, "pyhf": pyhf_seconds, "cabinetry": cabinetry_seconds},
    }  # fmt: skip


@contextlib.contextmanager
def chatter_on_standard_error():
    """MINUIT writes to standard output, past Python; that is for JSON alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spectra", type=int, nargs="*", default=list(range(len(SPECTRA))))
    parser.add_argument("--nuisances", action="store_true", help="with uncertainties of the signal")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(verbose=0))
    with chatter_on_standard_error():
        found = [compare(number, nuisances=options.nuisances) for number in options.spectra]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
