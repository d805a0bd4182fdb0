"""Every method on simulated dijets with a resonance at 3.5 TeV: significance improvement, CPU time, sculpting.

    python tests/benchmarks/bench_methods.py --data FOLDER --out FOLDER [--methods cwola,cathode] [--trainings 5]

FOLDER of ``--data`` holds ``qcd.parquet`` and ``signal_2prong.parquet``: masses in GeV, jet 1 the lighter. Row number
modulo 4 of the background: 0, 1 the data, 2 a pure background reference, 3 the test; the first rows of the signal are
injected until S/√B = 2.2 inside 3.3–3.7 TeV; of its second half even rows are for the test, odd ones for references
that know a signal. Each training is a process of its own; finished ones are kept in ``--out``, so that a broken run
goes on. ``--null`` trains without signal and tests that the selected fraction is flat in mjj. Prints a table as JSON;
``--plot`` draws the significance improvement of each family and the correlation of all scores into ``--out``.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import models
from analysis.comparison import Judged, TestEvents, figures
from analysis.comparison_plots import matrix_figure, sic_figure
from analysis.plots.style import PlotLabel
from models.classifiers import MANY_EVENTS_TREES
from models.complementarity import complementarity
from models.metrics import max_sic, roc, sic_at
from models.sculpting import sculpting

REGION = (3300.0, 3700.0)
STRENGTH = 2.2
EVENT = ["m_j1", "delta_m", "tau21_j1", "tau21_j2"]
CMS = ["m_j1", "delta_m", "tau41_j1", "tau41_j2"]
JETS = [f"{name}_{jet}" for jet in ("j1", "j2") for name in ("m", "tau21")]
WIDE = {"low_band": (1000.0, 3300.0), "high_band": (3700.0, 9200.0)}
NARROW = {"low_band": (3100.0, 3300.0), "high_band": (3700.0, 3900.0)}
MAF = {
    "kind": "affine",
    "transform": "logit",
    "blocks": 15,
    "hidden": [128],
    "schedule": {"epochs": 10, "batch": 1024, "learning_rate": 2e-3},
}
"""The density of the first papers, trained in fewer and larger steps."""
METHODS = {
    "supervised": {"features": EVENT} | WIDE,
    "supervised_tau41": {"method": "supervised", "features": CMS} | WIDE,
    "supervised_mlp": {"method": "supervised", "features": EVENT, "classifier": "mlp"} | WIDE,
    "idealised": {"features": EVENT} | WIDE,
    "idealised_tau41": {"method": "idealised", "features": CMS} | WIDE,
    "cathode": {"features": EVENT} | WIDE,
    "cathode_mlp": {"method": "cathode", "features": EVENT, "classifier": "mlp"} | WIDE,
    "idealised_mlp": {"method": "idealised", "features": EVENT, "classifier": "mlp"} | WIDE,
    "cathode_tau41": {"method": "cathode", "features": CMS} | WIDE,
    "lacathode": {"features": EVENT} | WIDE,
    "cvae": {"features": EVENT} | WIDE,
    "anode": {"features": EVENT} | WIDE,
    "anode_maf": {"method": "anode", "features": EVENT, "flow": MAF} | WIDE,
    "r_anode": {"features": EVENT} | WIDE,
    "cwola": {"features": EVENT, "scope": "event"} | NARROW,
    "cwola_regularised": {"method": "cwola", "features": EVENT, "scope": "event", "trees": MANY_EVENTS_TREES}
    | NARROW,
    "cwola_tau41": {"method": "cwola", "features": CMS, "scope": "event"} | NARROW,
    "llp": {"features": EVENT, "scope": "event"} | NARROW,
    "tnt": {"features": JETS} | NARROW,
    "autoencoder": {"features": EVENT} | WIDE,
    "linear_autoencoder": {"features": EVENT} | WIDE,
    "normalised_autoencoder": {"features": EVENT} | WIDE,
    "kde": {"features": EVENT} | WIDE,
    "flow_density": {"features": EVENT} | WIDE,
    "quak": {"features": JETS} | WIDE,
    "quak_autoencoder": {"features": JETS} | WIDE,
    "prong2": {} | WIDE,
    "prong3": {} | WIDE,
    "random_grid_search": {"features": JETS} | WIDE,
}


def read(path):
    """Columns under the names of the feature tables: j1 the heavier jet."""
    file = pq.read_table(path)
    given = {name: file[name].to_numpy().astype(np.float64) for name in file.column_names}
    table = {"mjj": given["mjj"]}
    for jet, number in (("j1", 2), ("j2", 1)):
        table |= {f"{key}_{jet}": given[f"{key}{number}"] for key in ("pt", "eta", "phi")}
        table |= {f"m_{jet}": given[f"mass{number}"], f"n_pf_{jet}": given[f"n{number}"]}
        tau = {n: given[f"tau{n}_{number}"] for n in (1, 2, 3, 4)}
        table |= {f"tau{n}_{jet}": value for n, value in tau.items()}
        for above, below in ((2, 1), (3, 2), (4, 3), (4, 1)):
            table[f"tau{above}{below}_{jet}"] = tau[above] / (tau[below] + 1e-6)
    return table | {"delta_m": table["m_j1"] - table["m_j2"]}


def rows(table, chosen):
    """Some rows of a table."""
    return {name: values[chosen] for name, values in table.items()}


def joined(first, second):
    """One table of two."""
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}


def inside(table):
    """Events of the signal region."""
    return (table["mjj"] >= REGION[0]) & (table["mjj"] < REGION[1])


def samples(folder, *, null=False):
    """Data, further tables, labelled test events in the signal region, number of injected events there."""
    qcd, signal = read(folder / "qcd.parquet"), read(folder / "signal_2prong.parquet")
    part = np.arange(len(qcd["mjj"])) % 4
    data, reference, test = rows(qcd, part < 2), rows(qcd, part == 2), rows(qcd, part == 3)
    wanted = 0 if null else STRENGTH * np.sqrt(np.count_nonzero(inside(data)))
    injected = np.searchsorted(np.cumsum(inside(signal)), wanted) + 1 if wanted else 0
    number = np.arange(len(signal["mjj"]))
    half = number >= len(number) // 2
    assert injected <= len(number) // 2, "the injected signal reaches into the test half"
    known, unseen = rows(signal, half & (number % 2 == 1)), rows(signal, half & (number % 2 == 0))
    test, unseen = rows(test, inside(test)), rows(unseen, inside(unseen))
    label = np.repeat([0, 1], [len(test["mjj"]), len(unseen["mjj"])])
    further = {"signal": known, "background": reference}
    table = joined(data, rows(signal, number < injected))
    return table, further, (joined(test, unseen), label), int(np.count_nonzero(inside(signal)[:injected]))


def train(name, seed, data, out, *, null, preset):
    """One training, judged; its figures and scores are written to ``out``."""
    options = {"preset": preset} | METHODS[name]
    method_name = options.pop("method", name)
    table, further, (test, label), injected = samples(data, null=null)
    method = models.create(method_name, signal_region=REGION, working_point=0.01, seed=seed, **options)
    takes = {key: further[key] for key in method.takes if key in further}
    start = time.process_time()
    method.fit(None if method_name == "supervised" else table, **takes)
    seconds = time.process_time() - start
    result = {"method": name, "seed": seed, "cpu_seconds": seconds, "injected": injected}
    if null:
        chosen = method.fold_votes(table, trained_on=method_name != "supervised") == 5
        wide = (table["mjj"] >= 2300) & (table["mjj"] < 5000)
        test_of = sculpting(table["mjj"][wide], chosen[wide], np.arange(2300.0, 5001.0, 300.0))
        result |= {"flat": method.flat, "selected": float(chosen[wide].mean()), "p": test_of.p_value}
        result["fractions"] = np.round(test_of.fraction, 5).tolist()
    else:
        start = time.process_time()
        score = method.score(test)
        result["scored_per_second"] = len(score) / (time.process_time() - start)
        curve = roc(score, label)
        peak = max_sic(curve)
        result |= {"max_sic": peak.value, "max_sic_error": peak.error, "at": peak.background_efficiency}
        for efficiency in (1e-2, 1e-3):
            result[f"sic_{efficiency:g}"], result[f"sic_{efficiency:g}_error"] = sic_at(curve, efficiency)
        np.save(out / f"{name}_{seed}.npy", score)
    (out / f"{name}_{seed}.json").write_text(json.dumps(result))


def draw(folder, out, names):
    """Significance improvement with both errors, a plot a family, and the correlation of the scores of background."""
    test, label = samples(folder)[2]
    events = TestEvents(test, label, np.ones(len(label)), None)
    scores = {name: [np.load(file) for file in sorted(out.glob(f"{name}_[0-9].npy"))] for name in names}
    region = np.ones(len(label), dtype=np.int64)
    results = {
        name: figures(name, [Judged(one, one > 0.99, region, 0.0) for one in found], events)
        for name, found in scores.items()
        if found
    }
    families = {}
    for name in results:
        family = models.describe(METHODS[name].get("method", name)).family
        families.setdefault("others" if family in {"unsupervised", "hybrid"} else family, []).append(name)
    references = ["supervised", "idealised"]
    for family, members in families.items():
        shown = [*dict.fromkeys([name for name in references if name in results] + members)]
        figure = sic_figure({name: results[name] for name in shown}, PlotLabel())
        figure.savefig(out / f"sic_{family.replace(' ', '_')}.png")
    background = label == 0
    first = {name: found[0][background] for name, found in scores.items() if found}
    chosen = {name: score > np.quantile(score, 0.99) for name, score in first.items()}
    matrix_figure(complementarity(first, chosen), PlotLabel(), "background of the test").savefig(
        out / "complementarity.png"
    )


def main():
    """Train everything that is not there yet, two processes at a time, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--trainings", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--one", help="NAME:SEED, one training in this process")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        name, seed = arguments.one.split(":")
        train(name, int(seed), arguments.data, arguments.out, null=arguments.null, preset=arguments.preset)
        return
    names = arguments.methods.split(",")
    tasks = [(name, seed) for seed in range(arguments.trainings) for name in names]
    missing = [(n, s) for n, s in tasks if not (arguments.out / f"{n}_{s}.json").is_file()]
    same = ["--data", str(arguments.data), "--out", str(arguments.out), "--preset", arguments.preset]
    same += ["--null"] if arguments.null else []

    def work(task):
        command = [sys.executable, __file__, *same, "--one", f"{task[0]}:{task[1]}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.stderr.write(f"{task}: {done.stderr[-600:]}\n")

    with ThreadPoolExecutor(arguments.processes) as pool:
        list(pool.map(work, missing))
    if arguments.plot:
        draw(arguments.data, arguments.out, names)
    summary = {}
    for name in names:
        files = sorted(arguments.out.glob(f"{name}_[0-9]*.json"))
        found = [json.loads(file.read_text()) for file in files]
        keys = [key for key in (found[0] if found else {}) if isinstance(found[0][key], float)]
        summary[name] = {
            key: [round(float(q), 4) for q in np.quantile([one[key] for one in found], [0, 0.5, 1])]
            for key in keys
        } | {"trainings": len(found)}
    sys.stdout.write(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
