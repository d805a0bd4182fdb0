"""Coverage: whether q0 follows ½χ²₁ + ½δ, pulls are unit Gaussians and limits cover, at 10³ to 10⁶ events and at few.

Prints one JSON object; run it as ``python tests/benchmarks/bench_coverage.py [toys] [experiments of few events]``.
"""

import json
import sys

import numpy as np
from scipy.stats import kstest

from analysis.batched import BatchedFits
from analysis.fit import fit_background
from analysis.limits import asymptotic_limit, asymptotic_log_cls
from analysis.scan import ScanConfig, scan, signal_test
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import InputError

EDGES = np.arange(2232.0, 5201.0, 4.0)
X = 0.5 * (EDGES[1:] + EDGES[:-1]) / 13000
SHAPE = (1 - X) ** 9.3 / X ** (4.8 - 0.1 * np.log(X))
MASS = 3000.0
SIGNAL = SignalModel.generic()
REGIMES = {1_000: "dijet2", 30_000: "dijet3", 1_000_000: "dijet4"}
FEW = {20: 3000.0, 30: 3000.0, 60: 3500.0, 100: 4000.0}
"""Events, and a mass in GeV under whose peak less than five are expected."""
ALPHA = 0.05


def truth(n_events, function):
    """Fit to the expectation, and the test of its Asimov set."""
    expected = SHAPE * n_events / SHAPE.sum()
    counts = np.random.default_rng(n_events).poisson(expected)
    fit = fit_background(Spectrum(EDGES, counts), function)
    return fit, signal_test(fit, SIGNAL.template(MASS, EDGES))


def discovery(n_events, function, n_toys=2000, seed=1):
    """q0 and pulls of toys without signal."""
    fit, test = truth(n_events, function)
    counts = np.random.default_rng(seed).poisson(fit.expected, (n_toys, fit.expected.size))
    best = BatchedFits(counts, fit.model, fit.minimum.theta).best([test.signal])
    good = best.converged[:, 0]
    q0, pulls = best.q0[good, 0], best.signal_yield[good, 0] / best.error[good, 0]
    pulls = pulls[np.isfinite(pulls)]
    return {
        "events": n_events,
        "function": function,
        "toys": n_toys,
        "converged": int(good.sum()),
        "share_above_zero": float((q0 > 0).mean()),
        "ks_p": float(kstest(np.sqrt(q0[q0 > 0]), "halfnorm").pvalue),
        "pull_mean": float(pulls.mean()),
        "pull_width": float(pulls.std()),
    }


def exclusion(n_events, function, strength, n_toys=2000, seed=2):
    """Share of toys whose asymptotic CLs limit excludes the injected yield, ``strength`` median expected limits."""
    fit, test = truth(n_events, function)
    injected = strength * asymptotic_limit(test).expected[2]
    expected = fit.expected + injected * test.template
    counts = np.random.default_rng(seed).poisson(expected, (n_toys, expected.size))
    fits = BatchedFits(counts, fit.model, fit.minimum.theta)
    observed = fits.tested(test.signal, injected)
    asimov = BatchedFits(fit.model.expected(fits.theta), fit.model, fit.minimum.theta).tested(
        test.signal, injected
    )
    good = observed.converged[:, 0] & asimov.converged[:, 0]
    q = np.stack([observed.q_tilde[good, 0], asimov.q_tilde[good, 0]], axis=1)
    excluded = np.array([asymptotic_log_cls(a, b) < np.log(ALPHA) for a, b in q])
    return {
        "events": n_events,
        "strength": strength,
        "injected": float(injected),
        "converged": int(good.sum()),
        "excluded": float(excluded.mean()),
        "allowed": allowed(excluded.size),
    }


def few_events(n_events, mass, n_experiments, injected=0.0, n_toys=500, seed=3):
    """Scans of single experiments with few events: which calculator they take, p0 below 5 %, injected yield excluded."""
    rng = np.random.default_rng([seed, n_events])
    expected = SHAPE * n_events / SHAPE.sum() + injected * SIGNAL.template(mass, EDGES).nominal
    config = ScanConfig(function="dijet2", candidates=(2,), toys=n_toys, minuit=False, limits=injected > 0)
    rows, too_few = [], 0
    for number in range(n_experiments):
        data = Spectrum(EDGES, rng.poisson(expected))
        try:
            rows += scan(data, [mass], config=config.model_copy(update={"seed": number})).rows
        except InputError:  # too few events for any fit
            too_few += 1
    valid = [row for row in rows if row["valid"]]
    result = {
        "events": n_events,
        "mass": mass,
        "injected": injected,
        "experiments": n_experiments,
        "too_few": too_few,
        "valid": len(valid),
        "by_toys": sum(row["p0_calculator"] == "toys" and "few events" in row["message"] for row in valid),
        "allowed": allowed(len(valid)),
    }
    if injected:
        result["excluded"] = float(np.mean([row["limit_observed"] < injected for row in valid]))
    else:
        result["p0_below_alpha"] = float(np.mean([row["p0"] < ALPHA for row in valid]))
    return result


def allowed(n):
    """5 % and three binomial errors."""
    return ALPHA + 3 * float(np.sqrt(ALPHA * (1 - ALPHA) / n))


def main():
    n_toys = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    few = int(sys.argv[2]) if len(sys.argv) > 2 else 150
    result = {
        "discovery": [discovery(n, name, n_toys) for n, name in REGIMES.items()],
        "exclusion": [exclusion(n, name, s, n_toys) for n, name in REGIMES.items() for s in (1.0, 2.0)],
        "few_events": [few_events(n, mass, few) for n, mass in FEW.items()]
        + [few_events(n, mass, few // 3, injected=8.0) for n, mass in FEW.items()],
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
