"""Events per second and core that each trained method scores with its default preset, on a toy table.

What is timed is `Method.evaluate` of the training table, where an event is scored by the networks of its own fold only,
as in the processors. Networks are trained for few epochs, which changes their weights and not their sizes; trees are
trained in full, for their number and depth decide. Prints one JSON object; run it as
``python tests/benchmarks/bench_scoring.py [rows] [method …]``.
"""

import json
import sys
import time

import numpy as np
import torch

import models
from models.folded import FoldedMethod

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
SHAPES = {"constituents_j1": (100, 3), "constituents_j2": (100, 3), "rmm": (1287,), "image_j1": (40, 40)}
CLASSIFIERS = {
    "cwola, event, 20-member MLP": {
        "classifier": "mlp",
        "scope": "event",
        "mlp": {"bags": 5, "schedule": {"keep": 1}},
    },
    "cwola, event, 4 boosted models": {"scope": "event", "trees": {"bags": 1}},
    "cwola, event, 52 boosted models": {"scope": "event", "trees": {"bags": 13}},
}


def toy(columns, rows, seed):
    """A falling spectrum with any columns."""
    rng = np.random.default_rng(seed)
    table = {"mjj": 2400.0 + rng.exponential(600.0, rows), "run": np.ones(rows, dtype=np.int64)}
    table |= {"luminosity_block": np.full(rows, seed), "event": np.arange(rows)}
    for name in columns:
        if name in SHAPES:
            table[name] = np.abs(rng.normal(size=(rows, *SHAPES[name]))).astype(np.float32)
        else:
            table[name] = rng.beta(4, 3, rows) * (300.0 if name.startswith(("m_", "pt", "delta_m")) else 1.0)
    return table


def short(options):
    """The same options with two epochs in every schedule."""
    changed = {}
    for name, value in options.items():
        if isinstance(value, dict):
            changed[name] = short(value)
        elif name == "epochs":
            changed[name] = 2
    return {name: value for name, value in changed.items() if value != {}}


def rate(name, options, rows):
    """Events per CPU second of one method, and what it was trained with."""
    settings = WINDOW | {"working_point": 0.05, "seed": 1}
    default = models.create(name, **settings, **options)
    few = short(default.options.model_dump())
    method = models.create(name, **settings, **merged(few, options))
    columns = (*method.inputs, *(method.training_columns() if isinstance(method, FoldedMethod) else ()))
    tables = [toy(columns, rows, seed) for seed in range(len(getattr(method, "takes", {})) + 1)]
    further = dict(zip(getattr(method, "takes", {}), tables[1:], strict=True))
    scored = tables[0]
    if isinstance(method, FoldedMethod):
        method.fit(scored if method.table_needed else None, **further)
    own = isinstance(method, FoldedMethod) and method.table_needed
    method.evaluate({column: values[:100] for column, values in scored.items()}, trained_on=own or None)
    start = time.process_time()
    method.evaluate(scored, trained_on=own or None)
    return round(rows / (time.process_time() - start))


def merged(first, second):
    """Options of both, the second's where both name one."""
    both = dict(first)
    for name, value in second.items():
        both[name] = merged(both[name], value) if isinstance(value, dict) and name in both else value
    return both


def main(rows, names):
    """Rates of the classifiers, then of all methods or those named; what fails is said."""
    rates = {}
    cases = [(label, "cwola", options) for label, options in CLASSIFIERS.items() if not names]
    cases += [(name, name, {}) for name in (names or models.available())]
    for label, name, options in cases:
        try:
            rates[label] = rate(name, options, rows)
        except Exception as error:  # noqa: BLE001 - one method's failure must not hide the others' rates
            rates[label] = f"{type(error).__name__}: {error}"
    return {"rows": rows, "events_per_cpu_second": rates}


if __name__ == "__main__":
    torch.set_num_threads(1)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print(json.dumps(main(number, sys.argv[2:]), indent=2))
