"""What many events take: rate with one and two workers, cost of a chunk in each executor, memory, merge of results.

The shipped mock data are written again and again under new event ids. Prints one JSON object; run it as
``python tests/benchmarks/bench_scale.py PART [SCRATCH]``, PART one of ``rates``, ``chunks``, ``memory``, ``merge`` and
``tables``. ``memory`` needs 2 GB of SCRATCH and the minutes that 10⁷ events take; ``memory SCRATCH 1 10`` stops at 10⁶.
"""

import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import awkward as ak
import numpy as np
import psutil
import uproot

from data.partials import PartialStore, dump
from data.samples import read_samples
from processors.config import ProcessingConfig, SelectionConfig
from processors.event_options import EventOptions
from processors.loop import chunk_tasks, run_loop
from processors.merging import merge_tables
from processors.preflight import plan_sample
from processors.recipe import empty_table
from processors.run import fill_of, prepared, run_histograms, run_skim
from processors.skim import Skim, read_features
from processors.tasks import open_events

SAMPLES = Path(__file__).parents[2] / "data" / "mini" / "samples.yaml"
OPTIONS = EventOptions(selection=SelectionConfig(mjj_min=3500))
"""Keeps one event in thirty, as a search does of its triggered events."""
REPEAT = 3


def repeated(folder, copies, per_file=20, basket=60_000):
    """The shipped mock data, so many times, no two events of one id; files of ``per_file`` copies."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = read_samples(SAMPLES)["mock"]
    sources = [uproot.open(path)["Events"].arrays() for path in sample.files]
    step = 1 + max(int(ak.max(source["event"])) for source in sources)
    first = as_written(sources[0], 0)
    types = {
        name: values.dtype if isinstance(values, np.ndarray) else str(values.type.content)
        for name, values in first.items()
    }
    files = {}
    for start in range(0, copies, per_file):
        path = folder / f"mock_{start}.root"
        numbers = range(start, min(start + per_file, copies))
        with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
            tree = file.mktree("Events", types)
            for columns in (as_written(source, number * step) for number in numbers for source in sources):
                for begin in range(0, len(columns["event"]), basket):
                    tree.extend({name: values[begin : begin + basket] for name, values in columns.items()})
        files[str(path)] = len(numbers) * sum(map(len, sources))
    return sample.model_copy(update={"files": files})


def as_written(events, shift):
    """Columns for uproot; event numbers raised."""
    columns = {}
    for name in events.fields:
        collection, _, field = name.partition("_")
        if collection in {"FatJet", "SubJet"}:
            columns.setdefault(collection, {})[field] = events[name]
        elif name not in {"nFatJet", "nSubJet"}:
            columns[name] = ak.to_numpy(events[name])
    columns["event"] = columns["event"] + np.uint64(shift)
    return {name: ak.zip(column) if isinstance(column, dict) else column for name, column in columns.items()}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds of the clock, CPU seconds of all processes and of this one."""

    wall: float
    cpu: float
    own: float


def looped(plan, work, processing):
    """What an event loop costs."""
    with tempfile.TemporaryDirectory() as scratch:
        wall, cpu, own = time.perf_counter(), cpu_seconds(), time.process_time()
        run_loop(plan, work, processing, PartialStore(Path(scratch)))
        return Cost(time.perf_counter() - wall, cpu_seconds() - cpu, time.process_time() - own)


def cpu_seconds():
    """CPU seconds of this process and of all that it started."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (this, *this.children(recursive=True)))


def rates(scratch):
    """Events a second of pass 1 in one and two processes, the best of a few loops each.

    On a machine with other work to do the ratio says little. What all processes need with two workers and with one, and
    what this process needs, which hands out the chunks, say then how it would be: a loop cannot end before the latter.
    """
    plan, recipe = prepared(repeated(scratch, 10, per_file=1), OPTIONS)
    events = sum(file.entries for file in plan.files)
    costs = {1: [], 2: []}
    for _ in range(REPEAT):
        for workers, measured in costs.items():
            processing = ProcessingConfig(executor="futures", workers=workers, chunk_size=20_000)
            looped(dataclasses.replace(plan, files=plan.files[:2]), Skim(recipe), processing)  # imports
            measured.append(looped(plan, Skim(recipe), processing))
    wall, cpu = (
        {workers: min(getattr(cost, kind) for cost in measured) for workers, measured in costs.items()}
        for kind in ("wall", "cpu")
    )
    return {
        "events": events,
        "events_per_second": {workers: round(events / seconds) for workers, seconds in wall.items()},
        "two_over_one": round(wall[1] / wall[2], 2),
        "events_per_cpu_second": {workers: round(events / seconds) for workers, seconds in cpu.items()},
        "own_cpu_seconds": round(min(cost.own for cost in costs[2]), 2),
        "load_average": os.getloadavg()[0],
    }


def chunks(scratch):
    """What a chunk costs beside its events: 200 of 100 events less 2 of 10,000, in each executor with one worker."""
    plan, recipe = prepared(repeated(scratch, 1, basket=1000), OPTIONS)
    plan = dataclasses.replace(plan, files=(dataclasses.replace(plan.files[0], entries=20_000),))
    found = {}
    for executor in ("iterative", "futures", "dask"):
        _, few, many = (
            looped(plan, Skim(recipe), ProcessingConfig(executor=executor, chunk_size=size))
            for size in (10_000, 10_000, 100)  # the first one imports
        )
        found[executor] = {
            f"{kind}_milliseconds": round(1000 * (getattr(many, kind) - getattr(few, kind)) / 198, 1)
            for kind in ("wall", "cpu")
        }
    return found | {"load_average": os.getloadavg()[0]}


def memory(scratch, *sizes):
    """Largest memory of a process that makes the feature table and the histograms, by default of 10⁵, 10⁶, 10⁷ events."""
    found = {}
    for copies in map(int, sizes or (1, 10, 100)):
        repeated(scratch, copies)
        command = [sys.executable, __file__, "one", str(scratch)]
        found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for path in scratch.glob("*.root"):
            path.unlink()
    return found


def one(scratch):
    """One size of `memory`, in this process."""
    sample = read_samples(SAMPLES)["mock"]
    files = {}
    for path in sorted(scratch.glob("*.root")):
        with uproot.open(path) as file:
            files[str(path)] = file["Events"].num_entries
    sample = sample.model_copy(update={"files": files})
    start = time.process_time()
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        skimmed = run_skim(sample, ProcessingConfig(), OPTIONS, Path(out))
        rows = len(read_features(Path(out) / "features" / "mock", ["mjj"])["mjj"])
        run_histograms(sample, ProcessingConfig(), OPTIONS, {}, trained_on=[], out_root=Path(out))
    return {
        f"{skimmed.account.processed}": {
            "selected": rows,
            "cpu_seconds": round(time.process_time() - start, 1),
            "largest_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        }
    }


def merge(scratch):
    """Seconds to merge 10,000 results of 100 events of both passes, all of them real."""
    sample = repeated(scratch, 10)
    plan, recipe = prepared(sample, OPTIONS)
    entries = plan.files[0].entries
    processing = ProcessingConfig(chunk_size=entries // 10_000)
    found = {"events": entries}
    store = PartialStore(scratch / "partials")
    works = {"skim": Skim(recipe), "histograms": fill_of(sample, OPTIONS, recipe, {}, [])}
    for name, work in works.items():
        tasks = chunk_tasks(plan, work, processing)
        found["results"] = len(tasks)
        write_results(tasks, work, plan, store)
        start = time.process_time()
        if name == "skim":
            run_skim(sample, processing, OPTIONS, scratch, plan=plan, store=store, only_merge=True)
        else:
            run_histograms(
                sample, processing, OPTIONS, {}, trained_on=[], out_root=scratch, plan=plan, store=store, only_merge=True
            )  # fmt: skip
        found[f"{name}_cpu_seconds"] = round(time.process_time() - start, 1)
    return found | {"largest_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)}


def write_results(tasks, work, plan, store):
    """The results of all tasks: that of the first chunk with selected events, under new entries and event ids."""
    item = dataclasses.replace(tasks[0].item, entrystop=2000)
    with open_events(item, work.recipe.schemas[item.filename].branches()) as events:
        tree = work(events)
    for number, task in enumerate(tasks):
        selected = tree["range"][2]
        changed = tree | {"range": [task.item.entrystart, task.item.entrystop, selected]}
        changed["tables"] = {
            name: table | {"event": table["event"] + np.uint64(10**6 * number)}
            for name, table in tree.get("tables", {}).items()
        }
        path = store.path(task.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dump(changed))


def tables(scratch):
    """Memory and CPU of the merge of 10,000 tables of 500 rows, and of reading what one method is trained on."""
    plan = plan_sample(read_samples(SAMPLES)["mock"], OPTIONS.demand(read_samples(SAMPLES)["mock"]))
    empty = empty_table(plan, OPTIONS)
    random = np.random.default_rng(1)

    def parts():
        for number in range(10_000):
            made = {name: random.normal(size=500).astype(column.dtype) for name, column in empty.items()}
            made |= {"run": np.full(500, number % 7, np.uint32), "luminosity_block": np.ones(500, np.uint32)}
            yield made | {
                "event": (random.permutation(500) * 10_000 + number).astype(np.uint64),
                "region": random.integers(0, 3, 500).astype(np.int8),
            }

    row = sum(column.dtype.itemsize for column in empty.values())
    found = {"columns": len(empty), "megabytes": round(row * 5), "before_mib": peak()}
    start = time.process_time()
    merge_tables(parts(), scratch / "table", empty, "mock", unique=True)
    found |= {"merge_cpu_seconds": round(time.process_time() - start, 1), "merged_mib": peak()}
    start = time.process_time()
    names = ["mjj", "weight", "run", "luminosity_block", "event", "m_j1", "delta_m", "tau21_j1", "tau21_j2"]
    read = read_features(scratch / "table", names, ["signal"])
    size = sum(values.nbytes for values in read.values())
    return found | {
        "read_cpu_seconds": round(time.process_time() - start, 1),
        "read_megabytes": round(size / 1e6),
        "read_mib": peak(),
    }


def peak():
    """Largest memory of this process so far, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


PARTS = {"rates": rates, "chunks": chunks, "memory": memory, "merge": merge, "tables": tables}

if __name__ == "__main__":
    part, *given = sys.argv[1:]
    if part == "one":
        result = one(Path(given[0]))
    else:
        where = Path(given[0] if given else tempfile.gettempdir())
        where.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=where) as made:
            result = PARTS[part](Path(made), *given[1:])
    print(json.dumps(result, indent=1))
