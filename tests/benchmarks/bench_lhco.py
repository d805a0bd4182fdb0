"""The idealised anomaly detector on real LHC Olympics events, ours against two peers in the same run.

Data, reference and test: signal_region.npz of the folder that ODDJET_DATA names; data are
the background of rows 0–59,999, their signal and the first 142 signal events of the other rows (S/√B = 2.2), the
reference is the background of the other rows. Every training has another seed. Times are CPU times in one thread.
Prints one JSON object; run it as ``python tests/benchmarks/bench_lhco.py [trainings of ours] [of the peers]``.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import nn

import models
from models.classifiers import MANY_EVENTS_MLP, MANY_EVENTS_TREES
from models.threads import one_thread

HALF, INJECTED = 60_000, 142
FEATURES = ("m_j1", "delta_m", "tau21_j1", "tau21_j2")
LEAST = 25
EFFICIENCIES = {"sic_at_1e-2": 1e-2, "sic_at_1e-3": 1e-3}
WINDOW = {"signal_region": (3300.0, 3700.0), "low_band": (3000.0, 3300.0), "high_band": (3700.0, 4200.0)}
OURS = {
    "trees": {"classifier": "trees", "trees": MANY_EVENTS_TREES},
    "mlp": {"classifier": "mlp", "mlp": MANY_EVENTS_MLP},
}


def samples():
    """Data, reference, test, and which of the test events are signal."""
    with np.load(Path(os.environ["ODDJET_DATA"]) / "lhco" / "signal_region.npz") as file:
        rows, test = file["data"], file["test"]
    first, second = rows[:HALF], rows[HALF:]
    data = np.concatenate([first, second[second[:, 5] == 1][:INJECTED]])
    return data[:, :5], second[second[:, 5] == 0][:, :5], test[:, :5], test[:, 5] == 1


def table(rows):
    """A table with mjj in GeV."""
    columns = {"mjj": rows[:, 0].astype(np.float64) * 1000.0}
    return columns | dict(zip(FEATURES, rows[:, 1:].T, strict=True))


def figures(score, signal):
    """Largest ε_S/√ε_B with at least 25 background events passing, and at two background efficiencies."""
    order = np.argsort(-score, kind="stable")
    passed = {True: np.cumsum(signal[order]), False: np.cumsum(~signal[order])}
    of_signal, of_background = (passed[which] / passed[which][-1] for which in (True, False))
    enough = passed[False] >= LEAST
    found = {"max_sic": float((of_signal / np.sqrt(np.maximum(of_background, 1e-12)))[enough].max())}
    for name, efficiency in EFFICIENCIES.items():
        found[name] = float(of_signal[np.searchsorted(of_background, efficiency)] / np.sqrt(efficiency))
    return found


def ours(options, seed, data, reference, test):
    """Scores of the test events by `idealised`: 5 folds, 4 inner splits each."""
    method = models.create("idealised", seed=seed, features=FEATURES, **WINDOW, **options)
    method.fit(table(data), background=table(reference))
    return method.evaluate(table(test), trained_on=False)[0]


def peer_problem(seed, data, reference):
    """Inputs and labels in random order."""
    x = np.concatenate([data, reference])[:, 1:]
    target = np.repeat([1.0, 0.0], [len(data), len(reference)]).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order], target[order]


def peer_mlp(seed, data, reference, test, epochs=100, batch=128, kept=10):
    """3×64 network, a fifth of the events for validation; mean of the ten epochs of lowest validation loss."""
    x, target = peer_problem(seed, data, reference)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, test = (torch.from_numpy((values - mean) / deviation) for values in (x, test[:, 1:]))
    target, fitted = torch.from_numpy(target), len(x) * 4 // 5
    torch.manual_seed(seed)
    layers = [nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    network, loss = nn.Sequential(*layers, nn.Linear(64, 1)), nn.BCEWithLogitsLoss()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    history = []
    for _ in range(epochs):
        order = torch.randperm(fitted)
        for first in range(0, fitted, batch):
            rows = order[first : first + batch]
            optimiser.zero_grad()
            loss(network(x[rows])[:, 0], target[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            valid = float(loss(network(x[fitted:])[:, 0], target[fitted:]))
            history.append((valid, network(test)[:, 0].double().sigmoid().numpy()))
    history.sort(key=lambda entry: entry[0])
    return np.mean([score for _, score in history[:kept]], axis=0)


def peer_trees(seed, data, reference, test, members=50):
    """Mean of 50 boosted models, each stopped by its own half of the events."""
    x, target = peer_problem(seed, data, reference)
    scores = []
    for number in range(members):
        model = HistGradientBoostingClassifier(
            max_iter=200,
            max_leaf_nodes=31,
            validation_fraction=0.5,
            early_stopping=True,
            class_weight="balanced",
            random_state=1000 * seed + number,
        )
        scores.append(model.fit(x, target).predict_proba(test[:, 1:])[:, 1])
    return np.mean(scores, axis=0)


def summary(trainings):
    """Median and range of each figure."""
    return {
        name: {
            "median": round(float(np.median([one[name] for one in trainings])), 2),
            "range": [round(float(bound([one[name] for one in trainings])), 2) for bound in (min, max)],
        }
        for name in trainings[0]
    }


def measure(function, count, signal, *given):
    """Figures and CPU seconds of some trainings."""
    trainings = []
    for seed in range(count):
        start = time.process_time()
        score = function(seed, *given)
        seconds = time.process_time() - start
        trainings.append(figures(score, signal) | {"cpu_seconds": seconds})
    return {"trainings": count} | summary(trainings)


def main(of_ours, of_peers):
    """Ours and the peers."""
    data, reference, test, signal = samples()
    given = (data, reference, test)
    results = {}
    for name, options in OURS.items():
        results[f"ours, {name}"] = measure(
            lambda seed, *rows, options=options: ours(options, seed, *rows), of_ours, signal, *given
        )
    if of_peers:
        results["peer, 50 boosted models"] = measure(peer_trees, of_peers, signal, *given)
        results["peer, 3×64 network"] = measure(peer_mlp, of_peers, signal, *given)
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    counts = [int(argument) for argument in sys.argv[1:]] + [10, 5][len(sys.argv) - 1 :]
    with one_thread():
        print(json.dumps(main(*counts), indent=2, ensure_ascii=False))
