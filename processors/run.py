"""The two passes over a sample, start to end."""

import logging
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.files import hash_json, sha256_file
from data.luminosity import (
    ProcessedLuminosity,
    merge_sections,
    processed_luminosity,
    read_golden_json,
    read_luminosity_table,
)
from data.samples import Sample
from processors.account import Account
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.histogram_io import write_histograms
from processors.histograms import Fill, Histograms, finalise
from processors.loop import LoopResult, Step, run_loop
from processors.lund_reweighting_survey import with_lund_weights
from processors.preflight import (
    FileFacts,
    SamplePlan,
    check_same_meaning,
    inspect_file,
    plan_sample,
)
from processors.recipe import NOMINAL, Recipe, empty_table, recipe_of
from processors.root_files import open_root, reading
from processors.scorers import import_methods, refer
from processors.skim import Skim, merge_parts
from processors.tables import map_part
from processors.varied_skim import VariedSkim

CORRECTIONS_HEADROOM = 4.0
"""Sums of weights stay exact while corrections raise the root mean square weight by no more."""
MOST_DIFFERENT = 0.01
_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class SkimResult:
    """Account and cutflow of pass 1, the files that it wrote and the certified luminosity of data."""

    account: Account
    cutflow: list[Step]
    outputs: list[Path]
    luminosity: ProcessedLuminosity | None
    without_particles: int


@dataclass(frozen=True)
class HistogramResult:
    """Account and cutflow of pass 2, the file that it wrote, certified luminosity of data and the histograms."""

    account: Account
    cutflow: list[Step]
    outputs: list[Path]
    luminosity: ProcessedLuminosity | None
    without_particles: int
    histograms: Histograms


def run_skim(
    sample: Sample, processing: ProcessingConfig, options: EventOptions, out_root: Path
) -> SkimResult:
    """Pass 1: write the feature table of a sample.

    Parameters
    ----------
    sample
        The sample.
    processing
        Chunk size and executor.
    options
        Cuts, jets, columns and corrections.
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
    plan, recipe = _prepare(sample, options, processing)
    folder = out_root / "features" / sample.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{sample.name}.", dir=folder.parent) as scratch:
        work = Skim(recipe, Path(scratch))
        result = run_loop(plan, work, processing)
        parts = [Path(scratch) / name for name in result.merged.get("parts", [])]
        unique = sample.kind == "data"
        outputs = merge_parts(parts, folder, empty_table(plan, options), sample.name, unique=unique)
    return SkimResult(
        result.account,
        result.cutflow,
        outputs,
        _luminosity(plan, recipe, result),
        _empty_jets(result, sample),
    )


def run_varied_skim(
    sample: Sample, processing: ProcessingConfig, options: EventOptions, out_root: Path
) -> SkimResult:
    """Write the feature tables of a simulated sample with all its variations.

    Parameters
    ----------
    sample, processing, options
        As for `run_skim`.
    out_root
        The run folder; tables go to ``varied/SAMPLE/VARIATION/*.parquet``, those of weights beside the nominal one.

    Returns
    -------
    SkimResult
        Complete: every entry of every file was processed once.

    Raises
    ------
    InputError
        If a file or a value in it is wrong, or no event is selected.
    IncompleteError
        If an entry was not processed exactly once.
    """
    plan, recipe = _prepare(sample, options, processing)
    folder = out_root / "varied" / sample.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    outputs: list[Path] = []
    with tempfile.TemporaryDirectory(prefix=f".{sample.name}.", dir=folder.parent) as scratch:
        result = run_loop(plan, VariedSkim(recipe, Path(scratch)), processing)
        parts: dict[str, list[Path]] = {}
        for name in sorted(result.merged.get("parts", [])):
            parts.setdefault(name.partition("/")[0], []).append(Path(scratch) / name)
        if NOMINAL not in parts:
            msg = (
                f"sample '{sample.name}': no event is selected, so nothing of it varies; check files and cuts"
            )
            raise InputError(msg)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, files in parts.items():
            empty = {column: values[:0] for column, values in map_part(files[0]).items()}
            outputs += merge_parts(files, folder / name, empty, sample.name, unique=False)
    return SkimResult(
        result.account,
        result.cutflow,
        outputs,
        _luminosity(plan, recipe, result),
        _empty_jets(result, sample),
    )


def run_histograms(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    scorers: Mapping[str, Path],
    *,
    trained_on: Collection[str],
    out_root: Path,
) -> HistogramResult:
    """Pass 2: fill the histograms of a sample.

    Parameters
    ----------
    sample
        The sample.
    processing
        Chunk size and executor.
    options
        Those of pass 1.
    scorers
        Label of each selection (e.g. ``cwola_B3``) to the folder of its trained method.
    trained_on
        Labels of the selections whose methods were trained on this sample: they judge each event by its own fold.
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
    plan, recipe = _prepare(sample, options, processing)
    references = refer(scorers, trained_on)
    work = Fill(recipe, sample.process, references, frozenset(trained_on), options.variations(sample))
    result = run_loop(plan, work, processing, prepare=import_methods if scorers else None)
    histograms = finalise(result.merged.get("histograms", work.empty()), plan.scale, sample.name)
    path = out_root / "histograms" / f"{sample.name}.h5"
    write_histograms(path, histograms)
    return HistogramResult(
        result.account,
        result.cutflow,
        [path],
        _luminosity(plan, recipe, result),
        _empty_jets(result, sample),
        histograms,
    )


def _prepare(
    sample: Sample, options: EventOptions, processing: ProcessingConfig
) -> tuple[SamplePlan, Recipe]:
    """Look at all files of a sample, and say what a worker needs to know."""
    corrected = sample.kind == "simulation" and options.corrections_of(sample) is not None
    if options.forgets_prefiring(sample):
        _LOG.warning(
            "sample %s: triggers fired early in %s, but corrections.%s has no prefiring: true; without_corrections: "
            "[prefiring] in the sample definition says that it is meant",
            sample.name,
            sample.year,
            sample.year,
        )
    plan = plan_sample(sample, options.demand(sample), CORRECTIONS_HEADROOM if corrected else 1.0)
    golden = None if sample.golden_json is None else read_golden_json(sample.golden_json)
    return plan, with_lund_weights(plan, recipe_of(plan, options, golden), processing)


def _empty_jets(result: LoopResult, sample: Sample) -> int:
    """Selected jets of which the file has no particle: all that is computed of them is 0."""
    number: int = result.merged["without_particles"]
    if number:
        _LOG.warning(
            "sample %s: %d selected jets have no particles, what is computed of them is 0; check the links from "
            "particles to jets, or set jets.links: clustering",
            sample.name,
            number,
        )
    return number


def _luminosity(plan: SamplePlan, recipe: Recipe, result: LoopResult) -> ProcessedLuminosity | None:
    """The certified luminosity that was processed; None without a golden JSON."""
    if recipe.golden is None:
        return None
    listed = [file.sections for file in plan.files if file.sections is not None]
    sections = merge_sections([*listed, *result.merged["sections"]])
    table = plan.sample.luminosity_table
    processed = processed_luminosity(
        sections, recipe.golden, None if table is None else read_luminosity_table(table)
    )
    if not processed.sections_processed:
        _LOG.warning(
            "sample %s: %s certifies none of its luminosity sections, every event was dropped; is it of another year?",
            plan.sample.name,
            plan.sample.golden_json,
        )
    elif processed.luminosity_ifb is None and processed.sections_processed < processed.sections_certified:
        _LOG.warning(
            "sample %s: %d of %d certified luminosity sections were processed; their luminosity needs a "
            "luminosity_table, and %.4g fb⁻¹ is taken for all",
            plan.sample.name,
            processed.sections_processed,
            processed.sections_certified,
            plan.sample.luminosity(),
        )
    given = plan.sample.luminosity()
    if processed.luminosity_ifb is not None and abs(processed.luminosity_ifb / given - 1) > MOST_DIFFERENT:
        _LOG.warning(
            "sample %s: %.4g fb⁻¹ were processed, but its luminosity is given as %.4g fb⁻¹; limits and "
            "simulation use the latter: set luminosity_ifb, or process all files",
            plan.sample.name,
            processed.luminosity_ifb,
            given,
        )
    return processed


def check_same_sources(samples: Iterable[Sample], options: EventOptions) -> None:
    """Check that a feature means the same in all samples of a search, by the first file with events of each.

    Raises
    ------
    InputError
        Naming the quantity and two files that have it from different branches, or a file that cannot be read.
    """
    first: FileFacts | None = None
    for sample in samples:
        facts = (inspect_file(path, sample, options.demand(sample)) for path in sorted(sample.files))
        found = next((file for file in facts if file.schema is not None), None)
        if found is None:
            continue
        first = first or found
        check_same_meaning(first, found, f"sample '{sample.name}' beside the others of this search")


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
    with reading(path), open_root(path) as file:
        trees = {name: kind for name, kind in file.classnames(cycle=False).items() if kind != "TDirectory"}
        entries = {name: int(getattr(file[name], "num_entries", 0)) for name in sorted(trees)}
        return hash_json({"uuid": str(file.file.uuid), "entries": entries})
