"""Look at every file before the loop starts: whole, complete, and with all branches."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import uproot

from data.errors import IncompleteError, InputError
from data.samples import Sample, year
from processors.schema import FileSchema, resolve
from processors.weights import DATA_SCALE, GeneratedSums, WeightScale, total_sums, weight_scale

OPEN_TIMEOUT = 60
"""Seconds to wait for a remote file."""
_REMEDY = "replace the file by a whole copy, or take it out of the sample definition"


@dataclass(frozen=True)
class FileFacts:
    """What the headers of one file say; ``schema`` is None where it has no entry."""

    path: str
    entries: int
    uuid: bytes
    schema: FileSchema | None
    sums: GeneratedSums


@dataclass(frozen=True)
class SamplePlan:
    """A sample, its files sorted by path, and the scale of its weights."""

    sample: Sample
    files: tuple[FileFacts, ...]
    scale: WeightScale


def plan_sample(sample: Sample) -> SamplePlan:
    """Inspect all files of a sample.

    Parameters
    ----------
    sample
        The sample.

    Returns
    -------
    SamplePlan
        Facts of every file, in the order of their paths.

    Raises
    ------
    InputError
        If a file is missing, damaged, lacks a branch, or is a copy of another one.
    IncompleteError
        If a file does not hold the entries that the sample definition says.
    """
    files: list[FileFacts] = []
    shared: dict[FileSchema, FileSchema] = {}
    for path in sorted(sample.files):
        facts = inspect_file(path, sample)
        if facts.schema is not None:
            facts = replace(facts, schema=shared.setdefault(facts.schema, facts.schema))
        files.append(facts)
    _check_copies(sample, files)
    _check_entries(sample, files)
    _check_labels(sample, files)
    if sample.kind == "data":
        return SamplePlan(sample, tuple(files), DATA_SCALE)
    return SamplePlan(sample, tuple(files), weight_scale(sample, total_sums(file.sums for file in files)))


def inspect_file(path: str, sample: Sample) -> FileFacts:
    """Read the headers of one file.

    Raises
    ------
    InputError
        If it is missing, is not a ROOT file, is truncated, or lacks the tree or a branch.
    """
    where = f"file '{path}' of sample '{sample.name}'"
    try:
        with uproot.open({path: None}, timeout=OPEN_TIMEOUT) as file:
            return _facts(file, path, sample, where)
    except InputError:
        raise
    except FileNotFoundError:
        msg = f"{where} does not exist; correct the path or remove it from the sample definition"
        raise InputError(msg) from None
    except Exception as error:  # whatever a decoder meets in damaged bytes
        msg = f"{where} cannot be read, it is truncated or not a ROOT file ({_line(error)}); {_REMEDY}"
        raise InputError(msg) from error


def _facts(file: Any, path: str, sample: Sample, where: str) -> FileFacts:
    _check_length(file, where)
    names = set(file.keys(cycle=False))
    if sample.tree not in names:
        msg = (
            f"{where} has no tree '{sample.tree}' (it has {', '.join(sorted(names)) or 'nothing'}); correct 'tree' "
            "in the sample definition or remove the file"
        )
        raise InputError(msg)
    tree = file[sample.tree]
    entries = int(tree.num_entries)
    schema = resolve(tree.keys(), sample, year(sample.year), path) if entries else None
    sums = _generated(file, names, where) if sample.kind == "simulation" else GeneratedSums(0, 0, 0)
    return FileFacts(path, entries, file.file.uuid.bytes, schema, sums)


def damaged(path: str, sample: str, what: str, error: BaseException) -> InputError:
    """The error for bytes that turn out unreadable inside the loop."""
    msg = f"file '{path}' of sample '{sample}': {what} cannot be read, the file is damaged ({_line(error)}); {_REMEDY}"
    return InputError(msg)


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _check_length(file: Any, where: str) -> None:
    """Uproot opens a file that lost its last bytes without a word; the header says where it should end."""
    end, length = int(file.file.fEND), int(file.file.source.num_bytes)
    if length < end:
        msg = f"{where} is truncated: it holds {length} of {end} bytes; {_REMEDY}"
        raise InputError(msg)


def _generated(file: Any, names: set[str], where: str) -> GeneratedSums:
    """Sums of the Runs tree; older NanoAOD versions end the names with an underscore."""
    if "Runs" not in names:
        msg = f"{where} is simulation but has no tree 'Runs' with the generated sums; keep it when skimming"
        raise InputError(msg)
    runs = file["Runs"]
    present = set(runs.keys())
    values: dict[str, list[float]] = {}
    for name in ("genEventCount", "genEventSumw", "genEventSumw2"):
        branch = next((key for key in (name, name + "_") if key in present), None)
        if branch is None:
            msg = (
                f"{where}: tree 'Runs' has no branch {name}, needed for the weights; use a file that holds it"
            )
            raise InputError(msg)
        values[name] = [float(value) for value in runs[branch].array(library="np")]
        if not np.all(np.isfinite(values[name])):
            msg = f"{where}: branch {name} of tree 'Runs' holds NaN or inf; {_REMEDY}"
            raise InputError(msg)
    parts = zip(*values.values(), strict=True)
    return total_sums(GeneratedSums(int(count), sumw, sumw2) for count, sumw, sumw2 in parts)


def _check_copies(sample: Sample, files: list[FileFacts]) -> None:
    seen: dict[bytes, str] = {}
    for file in files:
        if file.uuid in seen:
            msg = (
                f"sample '{sample.name}': files '{seen[file.uuid]}' and '{file.path}' are copies of one file "
                "(same UUID); remove one of them"
            )
            raise InputError(msg)
        seen[file.uuid] = file.path


def _check_entries(sample: Sample, files: list[FileFacts]) -> None:
    wrong = [
        f"'{file.path}' holds {file.entries} entries, the definition says {sample.files[file.path]}"
        for file in files
        if sample.files[file.path] not in {None, file.entries}
    ]
    if wrong:
        msg = f"sample '{sample.name}': file {'; file '.join(wrong)}. Fetch the files again or correct the definition"
        raise IncompleteError(msg)


def _check_labels(sample: Sample, files: list[FileFacts]) -> None:
    """One table has one set of columns: the optional branches are in all files or in none."""
    with_entries = [file for file in files if file.schema is not None]
    labelled = [file.path for file in with_entries if file.schema and "label" in file.schema.roles]
    if labelled and len(labelled) < len(with_entries):
        other = next(file.path for file in with_entries if file.path not in labelled)
        msg = (
            f"sample '{sample.name}': file '{labelled[0]}' has the branch Generator_label, file '{other}' has not; "
            "put them into two samples"
        )
        raise InputError(msg)
