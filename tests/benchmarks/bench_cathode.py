"""CATHODE with its default options against the published recipe, in one run, on simulated dijets with side bands.

Reads ``$ODDJET_DATA/lhco_like`` and splits it as its README says. Prints one JSON object:

- ``ours``: CPU seconds of the whole default training (5 folds: flow, sampling, 4 inner splits of the classifier,
  calibration), area under the curve of generated against true background of the signal region (0.5: none tells them
  apart), and the largest significance improvement on the test part with at least 25 background events passing.
- ``recipe``: CPU seconds of an epoch of the recipe of arXiv:2109.00546, measured on a part of the events and scaled:
  a masked autoregressive flow of 15 blocks of 128 units (zuko), batches of 256; a classifier of 3 × 64 (plain torch),
  batches of 128; 100 epochs of each. Its shares of training events are the paper's: 500,000 of 878,876 of the side
  bands; half of the signal region's data and 200,000 drawn events for 121,352 of data.
- ``ratio``: the recipe in as many folds as ours over ours; ``ratio_of_one``: the recipe once over ours.

Run it as ``python tests/benchmarks/bench_cathode.py [--quick] [--ratio tau41] [--preset quick]``.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import models
from data.eventid import N_FOLDS
from models.threads import one_thread

REGION = (3300.0, 3700.0)
EPOCHS = 100
SIDE_BAND_SHARE = 500_000 / 878_876
DRAWN_SHARE = 200_000 / 121_352
LEAST_PASSING = 25


def columns(name):
    """A file of the data as the package's columns: j1 is the heavier jet, their number 2."""
    table = pq.read_table(Path(os.environ["ODDJET_DATA"]) / "lhco_like" / f"{name}.parquet")
    raw = {column: table[column].to_numpy().astype(np.float64) for column in table.column_names}
    ours = {"mjj": raw["mjj"], "m_j1": raw["mass2"], "delta_m": raw["mass2"] - raw["mass1"]}
    for jet, number in (("j1", 2), ("j2", 1)):
        for top, bottom in ((2, 1), (4, 1)):
            ratio = raw[f"tau{top}_{number}"] / (raw[f"tau{bottom}_{number}"] + 1e-6)
            ours[f"tau{top}{bottom}_{jet}"] = ratio
    return ours


def rows(table, chosen):
    return {name: values[chosen] for name, values in table.items()}


def joined(first, second):
    return {name: np.append(first[name], second[name]) for name in first}


def inside(table):
    return (table["mjj"] >= REGION[0]) & (table["mjj"] < REGION[1])


def samples(share):
    """Data with injected signal, true background, test events and their labels."""
    qcd, signal = columns("qcd"), columns("signal_2prong")
    number = np.arange(len(qcd["mjj"]))
    used = number < share * len(number)
    data = rows(qcd, used & (number % 4 < 2))
    wanted = 2.2 * np.sqrt(np.count_nonzero(inside(data)))
    injected = int(np.searchsorted(np.cumsum(inside(signal)), wanted)) + 1
    true = rows(qcd, (number % 4 == 2) & inside(qcd))
    late = np.arange(len(signal["mjj"])) >= len(signal["mjj"]) // 2
    tested = rows(signal, late & (np.arange(len(late)) % 2 == 0) & inside(signal))
    test = joined(rows(qcd, (number % 4 == 3) & inside(qcd)), tested)
    label = np.arange(len(test["mjj"])) >= len(test["mjj"]) - len(tested["mjj"])
    return joined(data, rows(signal, slice(0, injected))), true, test, label


def max_sic(score, label):
    """Largest ε_S/√ε_B with enough background passing."""
    order = np.argsort(-score, kind="stable")
    signal, background = np.cumsum(label[order]), np.cumsum(~label[order])
    enough = background >= LEAST_PASSING
    sic = (signal / label.sum()) / np.sqrt(np.maximum(background, 1) / (~label).sum())
    return float(sic[enough].max())


def area(made, true):
    """Area under the curve of trees that tell generated from true background, on events they did not learn from."""
    n = min(len(made), len(true))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.permutation(made)[:n], rng.permutation(true)[:n]])
    y, learnt = np.arange(2 * n) < n, rng.random(2 * n) < 0.5
    with one_thread():
        model = HistGradientBoostingClassifier(early_stopping=True, random_state=0).fit(x[learnt], y[learnt])
        return float(roc_auc_score(y[~learnt], model.predict_proba(x[~learnt])[:, 1]))


def ours(data, true, test, label, features, preset):
    """The whole training, timed, and how good it is."""
    bands = {"low_band": (1.0, REGION[0]), "high_band": (REGION[1], 1e5)}
    method = models.create("cathode", signal_region=REGION, **bands, features=features, preset=preset, seed=1)
    compared, kept = method.compared, []

    def recorded(folds):
        result = yield from compared(folds)
        kept.extend(result)
        background.append(time.process_time() - start)
        return result

    method.compared, background = recorded, []
    start = time.process_time()
    method.fit(data)
    seconds = time.process_time() - start
    expected = np.stack([true[name] for name in features], axis=1)
    areas = [area(pair.background, expected) for pair in kept]
    begin = time.process_time()
    score = method.score(test, trained_on=False)
    return {
        "cpu_seconds": seconds,
        "cpu_seconds_background": background[0],
        "area_generated_against_true": areas,
        "max_sic": max_sic(score, label),
        "test_events_per_cpu_second_and_fold": len(score) * N_FOLDS / (time.process_time() - begin),
    }


def flow_epoch(x, mjj):
    """CPU seconds of one pass of the published flow over these rows."""
    import zuko

    torch.manual_seed(1)
    flow = zuko.flows.MAF(x.shape[1], 1, transforms=15, hidden_features=(128,))
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-4, weight_decay=1e-6)
    start = time.process_time()
    for first in range(0, len(x), 256):
        optimiser.zero_grad()
        (-flow(mjj[first : first + 256]).log_prob(x[first : first + 256]).mean()).backward()
        optimiser.step()
    return time.process_time() - start


def classifier_epoch(x, target):
    """CPU seconds of one pass of the published classifier over these rows."""
    torch.manual_seed(1)
    layers, width = [], x.shape[1]
    for _ in range(3):
        layers += [torch.nn.Linear(width, 64), torch.nn.ReLU()]
        width = 64
    network = torch.nn.Sequential(*layers, torch.nn.Linear(64, 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = torch.nn.BCEWithLogitsLoss()
    start = time.process_time()
    for first in range(0, len(x), 128):
        optimiser.zero_grad()
        loss(network(x[first : first + 128])[:, 0], target[first : first + 128]).backward()
        optimiser.step()
    return time.process_time() - start


def recipe(data, features, part):
    """The published recipe's time for these data, once: epochs timed on ``part`` events."""
    x = np.stack([data[name] for name in features], axis=1)
    x = torch.from_numpy(((x - x.mean(axis=0)) / x.std(axis=0)).clip(-5, 5).astype(np.float32))
    mjj = torch.from_numpy(((data["mjj"] - 3500) / 1000).clip(-3, 3).astype(np.float32))[:, None]
    signal = inside(data)
    flow_events = int(SIDE_BAND_SHARE * np.count_nonzero(~signal))
    classifier_events = int((0.5 + DRAWN_SHARE) * np.count_nonzero(signal))
    flow_epoch(x[:1024], mjj[:1024])  # warm up
    flow_seconds = flow_epoch(x[:part], mjj[:part]) * flow_events / part
    target = torch.from_numpy(signal[:part].astype(np.float32))
    classifier_seconds = classifier_epoch(x[:part], target) * classifier_events / part
    return {
        "flow_events": flow_events,
        "cpu_seconds_flow_epoch": flow_seconds,
        "classifier_events": classifier_events,
        "cpu_seconds_classifier_epoch": classifier_seconds,
        "cpu_seconds": EPOCHS * (flow_seconds + classifier_seconds),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the data")
    parser.add_argument("--ratio", choices=["tau21", "tau41"], default="tau21", help="which N-subjettiness")
    parser.add_argument("--preset", choices=["default", "quick"], default="default")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    features = ("m_j1", "delta_m", f"{asked.ratio}_j1", f"{asked.ratio}_j2")
    data, true, test, label = samples(0.1 if asked.quick else 1.0)
    result = {
        "features": features,
        "ours": ours(data, true, test, label, features, asked.preset),
        "recipe": recipe(data, features, 2560 if asked.quick else 12_800),
    }
    once = result["recipe"]["cpu_seconds"] / result["ours"]["cpu_seconds"]
    print(json.dumps(result | {"ratio": N_FOLDS * once, "ratio_of_one": once}, indent=2))


if __name__ == "__main__":
    main()
