"""What a user has without oddjet, for `bench_scale`: coffea's Runner, checkpoints and accumulation, and plain pyarrow."""

import itertools
import os
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from coffea import processor
from coffea.nanoevents import BaseSchema
from coffea.processor.checkpointer import SimpleCheckpointer
from coffea.util import load, save

from data.eventid import ID_COLUMNS
from processors.tables import to_arrow


class Accumulated:
    """Our work on a chunk, returned as coffea adds things up: columns are appended, histograms added."""

    def __init__(self, work):
        self.work = work

    def __call__(self, events):
        return accumulated(self.work(events), self.work)


def accumulated(tree, work):
    """The result of a chunk as coffea adds it up."""
    tables = {
        name: {column: processor.column_accumulator(np.array(values)) for column, values in table.items()}
        for name, table in tree.get("tables", {}).items()
    }
    return {"tables": tables, "histograms": work.sum([tree]) if "histograms" in tree else {}}


def run_chunks(plan, work, executor, chunk_size, folder):
    """Every chunk once, results kept as coffea keeps them."""
    runner = processor.Runner(
        executor=executor,
        pre_executor=processor.IterativeExecutor(status=False),
        schema=BaseSchema,
        chunksize=chunk_size,
        checkpointer=SimpleCheckpointer(str(folder)),
    )
    files = {file.path: plan.sample.tree for file in plan.files}
    return runner({plan.sample.name: {"files": files}}, Accumulated(work))


def write_checkpoints(tree, work, count, folder):
    """So many results in coffea's format: one file under many names, as adding asks for no difference."""
    folder.mkdir()
    first = folder / "0.coffea"
    save(accumulated(tree, work), str(first))
    for number in range(1, count):
        os.link(first, folder / f"{number}.coffea")


def accumulate_checkpoints(folder, count, seconds):
    """Add results up until there are no more or the time is over; how many these were."""
    end = time.monotonic() + seconds
    done = itertools.count()

    def results():
        for number in range(count):
            if time.monotonic() > end:
                return
            next(done)
            yield load(str(folder / f"{number}.coffea"))

    processor.accumulate(results())
    return next(done)


def merge_at_once(tables, path):
    """All tables in memory, sorted there, written."""
    whole = pa.concat_tables([to_arrow(table) for table in tables])
    order = pc.sort_indices(whole, sort_keys=[(name, "ascending") for name in ID_COLUMNS])
    pq.write_table(whole.take(order), path, compression="zstd", compression_level=3)


def read_chosen(folder, names, region):
    """Some columns of the rows of one region, as pyarrow filters them."""
    table = pq.read_table(folder, columns=names, filters=[("region", "=", region)], use_threads=False)
    return {name: table.column(name).to_numpy() for name in names}
