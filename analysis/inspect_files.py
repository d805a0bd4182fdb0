"""What a file or folder holds, for the terminal and for programs; what reads a kind of file is imported for that kind."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.errors import InputError
from data.manifest import read_manifest
from data.xrootd import is_remote
from models.bundle import HEADER, read_bundle

Facts = dict[str, Any]
KNOWN = (
    "a ROOT file of events (.root, also root://)",
    "a feature table (.parquet, or its folder)",
    "the folder of a trained method",
    "histograms (.h5)",
    "a JSON file of a run",
    "a run folder",
)


def inspect(name: str) -> Facts:
    """What a file or folder holds.

    Parameters
    ----------
    name
        Path, or ``root://`` address of a ROOT file.

    Returns
    -------
    dict
        Plain values, ``kind`` first; masses in GeV, cross sections in fb.

    Raises
    ------
    InputError
        If there is no such file, it is none of `KNOWN`, or it is damaged.
    """
    path = Path(name)
    if is_remote(name) or path.suffix == ".root":
        return _events(name)
    if not path.exists():
        msg = f"{name}: does not exist; give {_known()}"
        raise InputError(msg)
    if path.is_dir():
        return _folder(path)
    if path.name == HEADER:
        return _bundle(path.parent)
    if path.suffix in {".yaml", ".yml"}:
        msg = f"{name}: `oddjet plan` says what a configuration does, `oddjet doctor` whether it is right; give {_known()}"
        raise InputError(msg)
    readers = {".parquet": _table, ".h5": _histograms, ".json": _document}
    if path.suffix not in readers:
        msg = f"{name}: oddjet does not know such a file; give {_known()}"
        raise InputError(msg)
    return readers[path.suffix](path)


def _known() -> str:
    return f"{', '.join(KNOWN[:-1])}, or {KNOWN[-1]}"


def _folder(path: Path) -> Facts:
    if (path / HEADER).is_file():
        return _bundle(path)
    if any(path.glob("*.parquet")):
        return _table(path)
    if (path / "manifests").is_dir():
        return _run(path)
    samples = sorted({file.parent for file in path.glob("*/*.parquet")})
    if samples:
        rows = {folder.name: sum(one.metadata.num_rows for _, one in _opened(folder)) for folder in samples}
        return {"kind": "feature tables of a run", "rows": rows}
    msg = f"{path}: oddjet does not know what this folder holds; give {_known()}"
    raise InputError(msg)


def _document(path: Path) -> Facts:
    from analysis.inspect_documents import document_facts  # noqa: PLC0415

    return document_facts(path)


def _events(name: str) -> Facts:
    from analysis.first_look import look_at_file, what_is_possible  # noqa: PLC0415
    from analysis.first_year import year_of  # noqa: PLC0415

    look = look_at_file(name)
    year = year_of([look])
    facts: Facts = {
        "kind": f"{'simulated' if look.simulated else 'recorded'} events",
        "format": look.format,
        "tree": look.tree,
        "entries": look.entries,
        "branches": len(look.branches),
        "runs": list(look.runs),
        "year": f"{year.year} ({year.how})",
        "generated_sums": look.sums,
        "resonance_gev": look.resonance,
    }
    try:
        possible = what_is_possible([look])
    except InputError as error:
        return facts | {"search": f"not possible: {error}"}
    return facts | {
        "jets": possible.jets.source,
        "columns_it_cannot_give": list(possible.without),
        "computed_from_particles": list(possible.computed),
        "constituents": possible.particles,
        "rapidity_mass_matrix": possible.objects,
    }


def _opened(path: Path) -> Iterator[tuple[Path, pq.ParquetFile]]:
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        with _reading(file), pq.ParquetFile(file) as opened:
            yield file, opened


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())
        msg = f"{file}: not a readable Parquet file ({reason}); run `oddjet skim` again"
        raise InputError(msg) from None


def _table(path: Path) -> Facts:
    rows, files, kinds = 0, 0, dict[str, str]()
    ends: dict[str, tuple[float, float]] = {}
    for file, opened in _opened(path):
        files += 1
        rows += opened.metadata.num_rows
        for group in range(opened.num_row_groups):
            with _reading(file):
                table = opened.read_row_group(group)
            for name, column in zip(table.column_names, table.columns, strict=True):
                kinds[name] = str(column.type)
                if pa.types.is_primitive(column.type) and len(column):
                    found = pc.min_max(column).as_py()
                    both = [*ends.get(name, ()), *(end for end in found.values() if end is not None)]
                    ends |= {name: (min(both), max(both))} if both else {}
    columns = {name: [*ends[name]] if name in ends else kind for name, kind in kinds.items()}
    return {"kind": "feature table", "rows": rows, "files": files, "columns": columns}


def _bundle(path: Path) -> Facts:
    header, arrays = read_bundle(path)
    return {
        "kind": "trained method",
        "method": header.method,
        "inputs": list(header.inputs),
        "signal_region": list(header.signal_region),
        "low_band": list(header.low_band),
        "high_band": list(header.high_band),
        "working_point": header.working_point,
        "thresholds": list(header.thresholds),
        "events_told_apart_by": header.folds.identified_by,
        "rows": header.training.rows,
        "rows_signal_region": header.training.rows_signal,
        "seed": header.seed,
        "numbers": int(sum(np.size(array) for array in arrays.values())),
        "options": header.options,
        "versions": header.training.versions,
    }


def _histograms(path: Path) -> Facts:
    from processors.histogram_io import read_histograms  # noqa: PLC0415

    found = {}
    for name, histogram in read_histograms(path).items():
        labels = {axis.name: list(axis) for axis in histogram.axes if isinstance(axis[0], str)}
        total: Any = histogram.sum(flow=True)
        found[name] = {
            "bins": {axis.name: axis.size for axis in histogram.axes if axis.name not in labels},
            **labels,
            "sum_of_weights": float(total.value),
        }
    return {"kind": "histograms", "histograms": found}


def _run(path: Path) -> Facts:
    stages = {}
    for file in sorted((path / "manifests").glob("*.json")):
        manifest = read_manifest(file)
        lost = [name for name in manifest.outputs if not (path / name).is_file()]
        stages[file.stem] = {"entries": manifest.entries_read, **({"lost_outputs": lost} if lost else {})}
    facts: Facts = {"kind": "run folder", "stages_done": stages}
    if (path / "scan.json").is_file() and (path / "account.json").is_file():
        from analysis.summary import summary_document  # noqa: PLC0415

        facts["result"] = summary_document(path)
    facts["files"] = sorted(one.name + "/" * one.is_dir() for one in path.iterdir() if one.name[0] != ".")
    return facts
