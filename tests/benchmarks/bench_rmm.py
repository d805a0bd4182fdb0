"""Events per second of the rapidity–mass matrix: the kernel, and the same in plain numpy on padded arrays.

Prints one JSON object; run it as ``python tests/benchmarks/bench_rmm.py [number of events]``.
"""

import json
import sys
import time

import awkward as ak
import numpy as np

from processors.rapidity_mass_matrix import rapidity_mass_matrix

MEAN_NUMBER = {"jets": 5.0, "bjets": 1.0, "muons": 0.5, "electrons": 0.5, "photons": 0.3}


def toy_events(n_events, *, seed, scale=1.0):
    """Objects of all types, pT from 30 GeV, not sorted; ``scale`` multiplies their mean numbers."""
    rng = np.random.default_rng(seed)
    objects = {}
    for kind, mean in MEAN_NUMBER.items():
        counts = rng.poisson(scale * mean, n_events)
        n = int(counts.sum())
        columns = {
            "pt": 30 + rng.exponential(100, n),
            "eta": rng.uniform(-2.4, 2.4, n),
            "phi": rng.uniform(-np.pi, np.pi, n),
            "mass": rng.exponential(15, n) if kind in {"jets", "bjets"} else np.full(n, 0.1),
        }
        objects[kind] = ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()})
    met = np.where(rng.random(n_events) < 0.3, 0.0, rng.exponential(60, n_events))
    objects["met"] = ak.zip({"pt": met, "phi": rng.uniform(-np.pi, np.pi, n_events)})
    return objects


def plain_matrix(objects, *, sqrt_s, slots, angular_scale=0.15):
    """The matrix from the textbook formulas in E, px, py, pz, with every slot padded: shape (n, size, size)."""
    parts = []
    for kind, number in slots.items():
        records = objects[kind]
        p = records.pt * np.cosh(records.eta)
        energy = np.sqrt(p**2 + records.mass**2)
        order = ak.argsort(energy * records.pt / p, axis=1, ascending=False, stable=True)
        four = (
            energy,
            records.pt * np.cos(records.phi),
            records.pt * np.sin(records.phi),
            records.pt * np.sinh(records.eta),
        )
        padded = [
            ak.to_numpy(ak.fill_none(ak.pad_none(q[order], number, clip=True), np.nan)).astype(np.float64)
            for q in four
        ]
        parts.append(np.stack(padded))
    e, px, py, pz = np.concatenate(parts, axis=2)
    with np.errstate(invalid="ignore"):
        pt = np.hypot(px, py)
        et = e * pt / np.sqrt(pt**2 + pz**2)
        y = 0.5 * np.log((e + pz) / (e - pz))
        sums = [q[:, :, None] + q[:, None, :] for q in (e, px, py, pz)]
        mass = np.sqrt(np.maximum(sums[0] ** 2 - sums[1] ** 2 - sums[2] ** 2 - sums[3] ** 2, 0)) / sqrt_s
        h = angular_scale * (np.cosh((y[:, :, None] - y[:, None, :]) / 2) - 1)
        met, phi = ak.to_numpy(objects["met"].pt)[:, None], ak.to_numpy(objects["met"].phi)[:, None]
        mt2 = (et + met) ** 2 - (px + met * np.cos(phi)) ** 2 - (py + met * np.sin(phi)) ** 2
        imbalance = (et[:, :-1] - et[:, 1:]) / (et[:, :-1] + et[:, 1:])
    n, size = len(e), e.shape[1]
    out = np.zeros((n, size + 1, size + 1))
    upper = np.arange(size)[:, None] < np.arange(size)[None, :]
    out[:, 1:, 1:] = np.where(upper, mass, h)
    diagonal = np.concatenate([et[:, :1] / sqrt_s, imbalance], axis=1)
    firsts = np.cumsum([0, *slots.values()])[:-1]
    diagonal[:, firsts] = et[:, firsts] / sqrt_s
    out[:, np.arange(1, size + 1), np.arange(1, size + 1)] = diagonal
    out[:, 0, 0] = met[:, 0] / sqrt_s
    out[:, 0, 1:] = np.where(met > 0, np.sqrt(np.maximum(mt2, 0)), 0) / sqrt_s
    out[:, 1:, 0] = angular_scale * (np.cosh(y) - 1)
    return np.nan_to_num(out, nan=0.0)


def rate(function, n_events):
    """Most events per second of CPU time of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return round(n_events / min(times))


def measure(n_events):
    """Events/s of the kernel in its three forms and of plain numpy."""
    objects = toy_events(n_events, seed=1)
    slots = dict.fromkeys(MEAN_NUMBER, 10)
    forms = ("full", "reduced", "compact")
    rates = {}
    for form in forms:
        rapidity_mass_matrix(toy_events(2, seed=2), sqrt_s=13000.0, form=form)  # compile
        rates[form] = rate(
            lambda form=form: rapidity_mass_matrix(objects, sqrt_s=13000.0, form=form), n_events
        )
    few = toy_events(min(n_events, 2000), seed=1)
    plain = rate(lambda: plain_matrix(few, sqrt_s=13000.0, slots=slots), len(few["met"]))
    return {"n_events": n_events, "events_per_cpu_second": {**rates, "full_plain_numpy": plain}}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20000), indent=2))
