"""Large inputs for `bench_scale`: the shipped mock data again and again, under new event ids."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from data.samples import read_samples

SAMPLES = Path(__file__).parents[2] / "data" / "mini" / "samples.yaml"


def repeated(folder, copies, per_file=20, basket=60_000):
    """The shipped mock data, so many times, no two events of one id; files of ``per_file`` copies."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = read_samples(SAMPLES)["mock"]
    sources = [uproot.open(path)["Events"].arrays() for path in sample.files]
    step = 1 + max(int(ak.max(source["event"])) for source in sources)
    files = {}
    for start in range(0, copies, per_file):
        path = folder / f"mock_{start}.root"
        numbers = range(start, min(start + per_file, copies))
        columns = (as_written(source, number * step) for number in numbers for source in sources)
        files[str(path)] = written(path, columns, basket)
    return sample.model_copy(update={"files": files})


def written(path, tables, basket):
    """Write tables one behind the other into a ROOT file; the number of events."""
    entries, tree = 0, None
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        for columns in tables:
            if tree is None:
                types = {
                    name: values.dtype if isinstance(values, np.ndarray) else str(values.type.content)
                    for name, values in columns.items()
                }
                tree = file.mktree("Events", types)
            for begin in range(0, len(columns["event"]), basket):
                tree.extend({name: values[begin : begin + basket] for name, values in columns.items()})
            entries += len(columns["event"])
    return entries


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
