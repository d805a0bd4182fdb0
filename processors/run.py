"""The two passes over a sample, start to end."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uproot

from data.errors import InputError
from data.files import hash_json, sha256_file
from data.samples import Sample
from processors.account import Account
from processors.config import ProcessingConfig, SelectionConfig
from processors.histogram_io import write_histograms
from processors.histograms import Fill, Histograms, empty_histograms, finalise
from processors.loop import Step, empty_table, recipe_of, run_loop
from processors.preflight import OPEN_TIMEOUT, plan_sample
from processors.scorers import refer
from processors.skim import Skim, merge_parts


@dataclass(frozen=True)
class SkimResult:
    """Account and cutflow of pass 1 and the files that it wrote."""

    account: Account
    cutflow: list[Step]
    outputs: list[Path]


@dataclass(frozen=True)
class HistogramResult:
    """Account and cutflow of pass 2, the file that it wrote and its histograms."""

    account: Account
    cutflow: list[Step]
    outputs: list[Path]
    histograms: Histograms


def run_skim(
    sample: Sample, processing: ProcessingConfig, selection: SelectionConfig, out_root: Path
) -> SkimResult:
    """Pass 1: write the feature table of a sample.

    Parameters
    ----------
    sample
        The sample.
    processing
        Chunk size and executor.
    selection
        The cuts.
    out_root
        The run folder; the table goes to ``features/SAMPLE/*.parquet``.

    Returns
    -------
    SkimResult
        Complete: every entry of every file was processed once.

    Raises
    ------
    InputError
        If a file or a value in it is wrong.
    IncompleteError
        If an entry was not processed exactly once.
    """
    plan = plan_sample(sample)
    folder = out_root / "features" / sample.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{sample.name}.", dir=folder.parent) as scratch:
        work = Skim(recipe_of(plan, selection), Path(scratch))
        result = run_loop(plan, work, processing)
        parts = [Path(scratch) / name for name in result.merged.get("parts", [])]
        unique = sample.kind == "data"
        outputs = merge_parts(parts, folder, empty_table(plan), sample.name, unique=unique)
    return SkimResult(result.account, result.cutflow, outputs)


def run_histograms(
    sample: Sample,
    processing: ProcessingConfig,
    selection: SelectionConfig,
    scorers: Mapping[str, Path],
    *,
    trained_on: bool,
    out_root: Path,
) -> HistogramResult:
    """Pass 2: fill the histograms of a sample.

    Parameters
    ----------
    sample
        The sample.
    processing
        Chunk size and executor.
    selection
        The cuts, those of pass 1.
    scorers
        Label of each selection (e.g. ``cwola_B3``) to the folder of its trained method.
    trained_on
        Whether the methods were trained on this sample: then each event is judged by its own fold.
    out_root
        The run folder; the histograms go to ``histograms/SAMPLE.h5``.

    Returns
    -------
    HistogramResult
        Complete: every entry of every file was processed once.

    Raises
    ------
    InputError
        If a file, a value in it or a trained method is wrong.
    IncompleteError
        If an entry was not processed exactly once.
    """
    plan = plan_sample(sample)
    references = refer(scorers)
    work = Fill(recipe_of(plan, selection), sample.process, references, trained_on)
    result = run_loop(plan, work, processing)
    nothing = empty_histograms([sample.process], [reference.label for reference in references])
    histograms = finalise(result.merged.get("histograms", nothing), plan.scale, sample.name)
    path = out_root / "histograms" / f"{sample.name}.h5"
    write_histograms(path, histograms)
    return HistogramResult(result.account, result.cutflow, [path], histograms)


def file_identity(path: str) -> str:
    """What a manifest remembers of an input file: a change of the file changes it.

    Parameters
    ----------
    path
        A local path or a remote address (``root://…``).

    Returns
    -------
    str
        SHA-256 of a local file's bytes; of a remote file's UUID and entries of each tree.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if "://" not in path:
        return sha256_file(Path(path))
    try:
        with uproot.open({path: None}, timeout=OPEN_TIMEOUT) as file:
            trees = {
                name: kind for name, kind in file.classnames(cycle=False).items() if kind != "TDirectory"
            }
            entries = {name: int(getattr(file[name], "num_entries", 0)) for name in sorted(trees)}
            return hash_json({"uuid": str(file.file.uuid), "entries": entries})
    except Exception as error:
        msg = f"{path}: cannot be read ({str(error).splitlines()[0]}); check the address and the connection"
        raise InputError(msg) from error
