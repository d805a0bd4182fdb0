"""Pulls of the signal yield for every background function: mean and width of (fitted − injected)/error in toys.

For each function and number of events a realistic spectrum is fitted, toys are drawn from that fit, with no signal and
with twice its expected error, and fitted with the same function::

    python tests/benchmarks/bench_pulls.py                     # 2,000 toys, 10³ to 10⁶ events
    python tests/benchmarks/bench_pulls.py --toys 500 --functions dijet2 dijet4 --events 1000 100000
    python tests/benchmarks/bench_pulls.py --exact --toys 200  # one fit after the other

dijet6 takes most of the time: its fits are repeated exactly where the engine's expansion does not hold. Prints JSON.
"""

import argparse
import json
import time
from typing import Any

import numpy as np

from analysis import functions
from analysis.batched import BatchedFits
from analysis.fit import BackgroundFit, fit_background
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.signal_template import SignalTemplate
from analysis.spectrum import Spectrum
from data.errors import FitError
from data.types import FloatArray

EDGES = np.arange(1460.0, 7001.0, 4.0)
CMS_START = np.array([9.28, 10.36, 2.35, 0.418])
"""Published start values of dijet4: the shape of a realistic spectrum."""
BATCH = 500


def truth(n_events: int, function: str) -> BackgroundFit:
    """Fit of a function to the expectation of a realistic spectrum, with a turn-on for dijet6."""
    middles = 0.5 * (EDGES[1:] + EDGES[:-1])
    shape = functions.density(middles, 0.0, CMS_START)
    if function == "dijet6":
        shape = shape * 0.5 * (1 + np.tanh((middles - 1700.0) / 120.0))
    counts = np.random.default_rng(1).poisson(shape * n_events / shape.sum())
    data = Spectrum(EDGES, counts)
    return fit_background(
        data.between(1460.0, max(data.snap(data.last_filled + 5, up=True), 3600.0)), function
    )


def batched(fit: BackgroundFit, signal: SignalTemplate, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Yields and errors by the vectorised engine, NaN where a fit failed; those at their bound are made once more."""
    found = BatchedFits(counts, fit.model, fit.minimum.theta).best([signal])
    signal_yield, error = found.signal_yield[:, 0].copy(), found.error[:, 0].copy()
    bound = np.flatnonzero(found.at_bound[:, 0])
    if bound.size:
        signal_yield[bound], error[bound] = exact(fit, signal, counts[bound])
    return signal_yield, error


def exact(fit: BackgroundFit, signal: SignalTemplate, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Yields and errors, one fit after the other, NaN where it failed."""
    results = np.full((len(counts), 2), np.nan)
    for row, toy in zip(results, counts, strict=True):
        try:
            test = SignalTest(toy, fit.model, signal, fit.minimum.theta)
            row[:] = test.best.signal_yield, test.yield_error
        except FitError:
            continue
    return results[:, 0], results[:, 1]


def pulls(
    fit: BackgroundFit, mass: float, n_toys: int, n_sigma: float, seed: int, *, one_by_one: bool
) -> dict[str, Any]:
    """Mean and width of the pull, each with its error, and the fraction of toys without a fit."""
    signal = SignalTemplate(SignalModel.generic().template(mass, fit.spectrum.edges).nominal)
    asimov = SignalTest(fit.expected, fit.model, signal, fit.minimum.theta)
    injected = n_sigma * asimov.yield_error
    expected = fit.expected + injected * signal.nominal
    rng = np.random.default_rng(seed)
    values: list[FloatArray] = []
    for first in range(0, n_toys, BATCH):
        counts = rng.poisson(expected, (min(BATCH, n_toys - first), expected.size)).astype(np.float64)
        found, error = (exact if one_by_one else batched)(fit, signal, counts)
        good = np.isfinite(found) & np.isfinite(error)
        values.append((found[good] - injected) / error[good])
    pull = np.concatenate(values)
    outside = np.abs(pull) > 5  # as in the bias studies of the CMS search
    kept = pull[~outside]
    return {
        "mean": round(float(kept.mean()), 3),
        "mean_error": round(float(kept.std() / np.sqrt(kept.size)), 3),
        "width": round(float(kept.std()), 3),
        "not_fitted": round(1 - pull.size / n_toys, 4),
        "beyond_5": int(outside.sum()),
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--functions", nargs="+", default=list(functions.available()))
    parser.add_argument("--events", nargs="+", type=int, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--mass", type=float, default=2500.0, help="of the signal in GeV")
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument("--exact", action="store_true")
    options = parser.parse_args()
    start = time.process_time()
    rows: list[dict[str, Any]] = []
    for function in options.functions:
        for n_events in options.events:
            row: dict[str, Any] = {"function": function, "events": n_events}
            try:
                fit = truth(n_events, function)
                for n_sigma in (0.0, 2.0):
                    row[f"injected_{n_sigma:g}_sigma"] = pulls(
                        fit, options.mass, options.toys, n_sigma, seed=n_events, one_by_one=options.exact
                    )
            except FitError as error:
                row["message"] = str(error)
            rows.append(row)
    cpu = round(time.process_time() - start, 1)
    document = {"toys": options.toys, "mass": options.mass, "cpu_seconds": cpu, "pulls": rows}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
