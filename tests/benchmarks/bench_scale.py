"""What many events take: rate with one and two workers, cost of a chunk in each executor, memory, merge of results.

The shipped mock data are written again and again under new event ids. Prints one JSON object; run it as
``python tests/benchmarks/bench_scale.py PART [SCRATCH]``, PART one of ``rates``, ``chunks``, ``memory``, ``merge`` and
``tables``. ``memory`` needs 2 GB of SCRATCH and five minutes for 10⁷ events; ``memory SCRATCH 1 9`` stops at 10⁶. All but
``memory`` do the same with what a user has without oddjet (`scale_peers`).
"""

import collections
import dataclasses
import functools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import loky
import numpy as np
import scale_peers
import uproot
from coffea import processor
from scale_costs import apart, cost_of, least, peak, told, watched
from scale_files import SAMPLES, as_written, repeated, written

from data.partials import PartialStore, dump
from data.samples import read_samples
from processors.config import DaskConfig, ProcessingConfig, SelectionConfig
from processors.dask_pool import close_clients, connected
from processors.event_options import EventOptions
from processors.executors import open_pool
from processors.loop import chunk_tasks, run_loop
from processors.merging import merge_tables
from processors.preflight import plan_sample
from processors.recipe import empty_table
from processors.run import fill_of, prepared, run_histograms, run_skim
from processors.skim import Skim, read_features
from processors.tasks import open_events

OPTIONS = EventOptions(selection=SelectionConfig(mjj_min=3500))
"""Keeps one event in thirty, as a search does of its triggered events."""
REPEAT = 3
RESULTS = 10_000
PATIENCE = 60.0
"""Seconds after which coffea need not go on adding up: it takes longer the more it has."""


def warm(work, item, folder, workers):
    """What a worker does once: a chunk, then wait for the others, so that each of them has done one."""
    with open_events(item, work.recipe.schemas[item.filename].branches()) as events:
        work(events)
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 120
    while len(list(folder.iterdir())) < workers:
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def warmed(plan, work, processing):
    """Start the workers of an executor: imports and compiled code are loaded in all of them when this returns."""
    item = dataclasses.replace(chunk_tasks(plan, work, processing)[0].item, entrystop=2000)
    with tempfile.TemporaryDirectory() as folder, open_pool(processing) as pool:
        arguments = (work, item, Path(folder), processing.workers)
        for future in [pool.submit(warm, *arguments) for _ in range(processing.workers)]:
            future.result()


def looped(plan, work, processing):
    """An event loop over all chunks; no result is there before."""
    with tempfile.TemporaryDirectory(dir=Path(plan.files[0].path).parent) as scratch:
        run_loop(plan, work, processing, PartialStore(Path(scratch)))


def looped_by_coffea(plan, work, executor, size):
    """The same by coffea's Runner, results kept by its checkpointer."""
    with tempfile.TemporaryDirectory(dir=Path(plan.files[0].path).parent) as scratch:
        scale_peers.run_chunks(plan, work, executor, size, Path(scratch))


def rates(scratch):
    """Events a second of pass 1 with one and two worker processes, the best of a few; the same by coffea's futures.

    All chunks are of one size and their number is even, so that each worker gets as many. Workers are started and warm
    when the clock begins. On a machine with other work to do the ratio says little. What all processes need with two
    workers and with one, and what this process needs, which hands out the chunks, say then how it would be: a loop
    cannot end before the latter.
    """
    sample = repeated(scratch, 24, per_file=1)
    entries = next(iter(sample.files.values()))
    plan, recipe = prepared(sample, OPTIONS)
    work, size, events = Skim(recipe), entries // 2, sum(file.entries for file in plan.files)
    costs, coffea = ({1: [], 2: []} for _ in range(2))
    for _, workers in ((turn, workers) for turn in range(REPEAT) for workers in (1, 2)):
        processing = ProcessingConfig(executor="futures", workers=workers, chunk_size=size)
        warmed(plan, work, processing)
        costs[workers].append(cost_of(looped, plan, work, processing))
        loky.get_reusable_executor().shutdown(wait=True)
        with loky.ProcessPoolExecutor(workers) as pool:
            executor = processor.FuturesExecutor(pool=pool, workers=workers, status=False, retries=0)
            few = dataclasses.replace(plan, files=plan.files[:4])
            looped_by_coffea(few, work, executor, size)
            coffea[workers].append(cost_of(looped_by_coffea, plan, work, executor, size))
    ours, theirs = ({workers: least(some) for workers, some in of.items()} for of in (costs, coffea))
    return {
        "events": events,
        "chunks": len(chunk_tasks(plan, work, processing)),
        "events_per_second": {workers: round(events / cost.wall) for workers, cost in ours.items()},
        "two_over_one": round(ours[1].wall / ours[2].wall, 2),
        "events_per_cpu_second": {workers: round(events / cost.cpu) for workers, cost in ours.items()},
        "own_cpu_seconds": round(ours[2].own, 2),
        "coffea_events_per_second": {workers: round(events / cost.wall) for workers, cost in theirs.items()},
        "coffea_two_over_one": round(theirs[1].wall / theirs[2].wall, 2),
        "load_average": os.getloadavg()[0],
    }


def chunks(scratch):
    """What a chunk costs beside its events: 200 of 100 events less 2 of 10,000, in each executor with one worker.

    The file has 100 events in a basket, so that both read the same. By coffea, too, with its checkpointer.
    """
    source = read_samples(SAMPLES)["mock"]
    path = scratch / "mock.root"
    columns = as_written(uproot.open(next(iter(source.files)))["Events"].arrays(entry_stop=20_000), 0)
    sample = source.model_copy(update={"files": {str(path): written(path, [columns], 100)}})
    plan, recipe = prepared(sample, OPTIONS)
    work, found = Skim(recipe), {}
    for name, loop in executors(plan, work):
        loop(10_000)  # imports
        few, many = (least([cost_of(loop, size) for _ in range(REPEAT)]) for size in (10_000, 100))
        found[name] = {
            f"{kind}_milliseconds": round(1000 * (getattr(many, kind) - getattr(few, kind)) / 198, 1)
            for kind in ("wall", "cpu")
        }
    return found | {"load_average": os.getloadavg()[0]}


def executors(plan, work):
    """Names of executors and what runs all chunks of a size in each; one after the other, each with one worker."""
    for name in ("iterative", "futures", "dask"):
        yield (
            name,
            lambda size, name=name: looped(plan, work, ProcessingConfig(executor=name, chunk_size=size)),
        )
    loky.get_reusable_executor().shutdown(wait=True)
    yield (
        "coffea iterative",
        functools.partial(looped_by_coffea, plan, work, processor.IterativeExecutor(status=False, retries=0)),
    )
    with loky.ProcessPoolExecutor(1) as pool:
        executor = processor.FuturesExecutor(pool=pool, status=False, retries=0)
        yield "coffea futures", functools.partial(looped_by_coffea, plan, work, executor)
    client = connected(DaskConfig(cluster="local"), 1)
    executor = processor.DaskExecutor(client=client, status=False, retries=0)
    yield "coffea dask", functools.partial(looped_by_coffea, plan, work, executor)
    close_clients()


def memory(scratch, *copies):
    """Largest memory of the processes that make the feature table and the histograms: 10⁵, 10⁶ and 10⁷ events."""
    found = {}
    for number in map(int, copies or (1, 9, 92)):
        sample = repeated(scratch / "files", number)
        for executor, workers in (("iterative", 1), ("futures", 2)):
            processing = ProcessingConfig(executor=executor, workers=workers)
            events = f"{sum(sample.files.values())}"
            found.setdefault(events, {})[executor] = apart(both_passes, sample, processing, scratch)
        for path in sample.files:
            Path(path).unlink()
    return found


def both_passes(sample, processing, scratch):
    """One size of `memory`."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=scratch) as out, watched() as workers:
        skimmed = run_skim(sample, processing, OPTIONS, Path(out))
        rows = len(read_features(Path(out) / "features" / "mock", ["mjj"])["mjj"])
        filled = run_histograms(sample, processing, OPTIONS, {}, trained_on=[], out_root=Path(out))
    expected = sum(sample.files.values())
    if {skimmed.account.processed, filled.account.processed} != {expected}:
        raise ValueError(skimmed.account.processed, filled.account.processed, expected)
    return {
        "selected": rows,
        "seconds": round(time.perf_counter() - start, 1),
        "largest_memory_mib": peak(),
        "largest_memory_of_a_worker_mib": max(workers.values(), default=None),
    }


def merge(scratch):
    """Seconds and memory to merge 10,000 results of both passes, files that no other process has open.

    They are those of chunks of 2,000 events, selected ones under new event ids. What coffea adds up are its own
    checkpoints of the same columns and histograms.
    """
    sample = repeated(scratch / "files", 10)
    plan, recipe = prepared(sample, OPTIONS)
    works = {"skim": Skim(recipe), "histograms": fill_of(sample, OPTIONS, recipe, {}, [])}
    found = {"results": RESULTS}
    for name, work in works.items():
        found[name] = apart(merge_ours, name, work, sample, plan, scratch)
        found[name]["coffea"] = apart(merge_theirs, work, plan, scratch / f"coffea_{name}")
    return found


def merge_ours(name, work, sample, plan, scratch):
    """Merge the results of one pass."""
    processing = ProcessingConfig(chunk_size=plan.files[0].entries // RESULTS)
    tasks = chunk_tasks(plan, work, processing)
    store = PartialStore(scratch / "partials")
    tree = first_result(plan, work)
    size = write_results(tasks, tree, store)
    if name == "skim":
        merging = functools.partial(run_skim, sample, processing, OPTIONS, scratch)
    else:
        merging = functools.partial(
            run_histograms, sample, processing, OPTIONS, {}, trained_on=[], out_root=scratch
        )
    before = peak()
    cost = cost_of(functools.partial(merging, plan=plan, store=store, only_merge=True))
    return {
        "results": len(tasks),
        "selected": len(tasks) * tree["range"][2],
        "megabytes": round(size / 1e6),
        **told(before, cost),
    }


def merge_theirs(work, plan, folder):
    """Add up checkpoints of the same contents, for a minute at most."""
    scale_peers.write_checkpoints(first_result(plan, work), work, RESULTS, folder)
    before, added = peak(), []
    cost = cost_of(lambda: added.append(scale_peers.accumulate_checkpoints(folder, RESULTS, PATIENCE)))
    return {"results": added[0], **told(before, cost)}


def first_result(plan, work):
    """The result of the first chunk."""
    item = chunk_tasks(plan, work, ProcessingConfig(chunk_size=2000))[0].item
    with open_events(item, work.recipe.schemas[item.filename].branches()) as events:
        return work(events)


def write_results(tasks, tree, store):
    """The results of all tasks: one result, under new entries and event ids; their bytes."""
    size = 0
    for number, task in enumerate(tasks):
        changed = tree | {"range": [task.item.entrystart, task.item.entrystop, tree["range"][2]]}
        changed["tables"] = {
            name: table | {"event": table["event"] + np.uint64(10**6 * number)}
            for name, table in tree.get("tables", {}).items()
        }
        path, content = store.path(task.key), dump(changed)
        path.parent.mkdir(parents=True, exist_ok=True)
        size += path.write_bytes(content)
    return size


def tables(scratch):
    """Memory and CPU of the merge of 10,000 tables of 500 rows, and of reading what one method is trained on.

    Beside each what pyarrow does in one go. Making the tables counts in both merges, and is measured alone.
    """
    ways = {
        "making": table_making,
        "merge": table_merge,
        "merge_at_once": table_merge_at_once,
        "read": reading,
        "read_at_once": reading_at_once,
    }
    return {name: apart(way, scratch) for name, way in ways.items()}


def parts():
    """An empty table, and tables of random numbers whose events lie everywhere."""
    sample = read_samples(SAMPLES)["mock"]
    empty = empty_table(plan_sample(sample, OPTIONS.demand(sample)), OPTIONS)
    random = np.random.default_rng(1)

    def made():
        for number in range(10_000):
            table = {name: random.normal(size=500).astype(column.dtype) for name, column in empty.items()}
            table |= {"run": np.full(500, number % 7, np.uint32), "luminosity_block": np.ones(500, np.uint32)}
            yield table | {
                "event": (random.permutation(500) * 10_000 + number).astype(np.uint64),
                "region": random.integers(0, 3, 500).astype(np.int8),
            }

    return empty, made()


def table_making(scratch):
    """The tables alone."""
    empty, made = parts()
    row = sum(column.dtype.itemsize for column in empty.values())
    before = peak()
    return {"columns": len(empty), "megabytes": row * 5} | told(before, cost_of(collections.deque, made, 0))


def table_merge(scratch):
    """The merge."""
    empty, made = parts()
    before = peak()
    merging = functools.partial(merge_tables, made, scratch / "table", empty, "mock", unique=True)
    return told(before, cost_of(merging))


def table_merge_at_once(scratch):
    """One sort of everything."""
    made = parts()[1]
    before = peak()
    return told(before, cost_of(scale_peers.merge_at_once, made, scratch / "whole.parquet"))


COLUMNS = ["mjj", "weight", "run", "luminosity_block", "event", "m_j1", "delta_m", "tau21_j1", "tau21_j2"]


def reading(scratch):
    """What CWoLa reads."""
    before = peak()
    return told(before, cost_of(read_features, scratch / "table", COLUMNS, ["signal"]))


def reading_at_once(scratch):
    """The same columns and rows through a filter of pyarrow's."""
    before = peak()
    return told(before, cost_of(scale_peers.read_chosen, scratch / "table", COLUMNS, 0))


PARTS = {"rates": rates, "chunks": chunks, "memory": memory, "merge": merge, "tables": tables}

if __name__ == "__main__":
    part, *given = sys.argv[1:]
    where = Path(given[0] if given else tempfile.gettempdir())
    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where) as made:
        result = PARTS[part](Path(made), *given[1:])
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
