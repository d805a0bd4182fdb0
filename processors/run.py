"""The two passes over a sample, start to end."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.files import hash_json, sha256_file
from data.luminosity import ProcessedLuminosity, read_golden_json
from data.partials import PartialStore, read_partial
from data.samples import Access, Sample
from processors.account import Account, ChunkFailure
from processors.certified import certified_luminosity
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.features import Columns
from processors.histogram_io import write_histograms
from processors.histograms import Fill, Histograms, finalise
from processors.loop import LoopResult, Report, Step, merged, run_loop
from processors.lund_reweighting_survey import with_lund_weights
from processors.merging import merge_tables
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
from processors.skim import Skim
from processors.varied_skim import VariedSkim
from processors.work import ChunkWork

CORRECTIONS_HEADROOM = 4.0
"""Sums of weights stay exact while corrections raise the root mean square weight by no more."""
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
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    out_root: Path,
    *,
    plan: SamplePlan | None = None,
    store: PartialStore | None = None,
    surveys: PartialStore | None = None,
    only_merge: bool = False,
    report: Report | None = None,
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
    plan
        What is known of the sample's files; None to look at them.
    store
        Where the results of chunks are kept and found again; None where they need not outlive this call.
    surveys
        Where those of the survey for Lund-plane weights are, which all passes share; None where the others are.
    only_merge
        Read no events: the results of all chunks are in the store.
    report
        Called with the account, also where the pass fails.

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
    with _kept(store, out_root) as kept:
        plan, recipe = prepared(sample, options, plan)
        recipe, before = with_lund_weights(
            plan, recipe, processing, surveys or kept, only_merge=only_merge, report=report
        )
        result = _loop(
            plan, Skim(recipe), processing, kept, only_merge=only_merge, before=before, report=report
        )
        folder = out_root / "features" / sample.name
        tables = _tables(result.partials, NOMINAL)
        unique = sample.kind == "data"
        outputs = merge_tables(tables, folder, empty_table(plan, options), sample.name, unique=unique)
    return _skim_result(plan, recipe, result, outputs)


def run_varied_skim(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    out_root: Path,
    *,
    plan: SamplePlan | None = None,
    store: PartialStore | None = None,
    surveys: PartialStore | None = None,
    only_merge: bool = False,
    report: Report | None = None,
) -> SkimResult:
    """Write the feature tables of a simulated sample with all its variations.

    Parameters
    ----------
    sample, processing, options, plan, store, surveys, only_merge, report
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
    with _kept(store, out_root) as kept:
        plan, recipe = prepared(sample, options, plan)
        recipe, before = with_lund_weights(
            plan, recipe, processing, surveys or kept, only_merge=only_merge, report=report
        )
        work = VariedSkim(recipe)
        result = _loop(plan, work, processing, kept, only_merge=only_merge, before=before, report=report)
        empty = _empty_tables(result.partials)
        if NOMINAL not in empty:
            msg = (
                f"sample '{sample.name}': no event is selected, so nothing of it varies; check files and cuts"
            )
            raise InputError(msg)
        folder = out_root / "varied" / sample.name
        shutil.rmtree(folder, ignore_errors=True)
        outputs: list[Path] = []
        for name, table in empty.items():
            tables = _tables(result.partials, name)
            outputs += merge_tables(tables, folder / name, table, sample.name, unique=False)
    return _skim_result(plan, recipe, result, outputs)


def run_histograms(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    scorers: Mapping[str, Path],
    *,
    trained_on: Collection[str],
    out_root: Path,
    plan: SamplePlan | None = None,
    store: PartialStore | None = None,
    surveys: PartialStore | None = None,
    only_merge: bool = False,
    report: Report | None = None,
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
    plan, store, surveys, only_merge, report
        As for `run_skim`.

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
    with _kept(store, out_root) as kept:
        plan, recipe = prepared(sample, options, plan)
        prepare = import_methods if scorers else None
        recipe, before = with_lund_weights(
            plan, recipe, processing, surveys or kept, only_merge=only_merge, prepare=prepare, report=report
        )
        work = fill_of(sample, options, recipe, scorers, trained_on)
        result = _loop(
            plan, work, processing, kept, only_merge=only_merge, before=before, report=report, prepare=prepare
        )
        total = work.sum(read_partial(path) for path in result.partials)
    histograms = finalise(total, plan.scale, sample.name)
    path = out_root / "histograms" / f"{sample.name}.h5"
    write_histograms(path, histograms)
    return HistogramResult(
        result.account,
        result.cutflow,
        [path],
        certified_luminosity(plan, recipe.golden, result.sections),
        _empty_jets(result, sample),
        histograms,
    )


def fill_of(
    sample: Sample,
    options: EventOptions,
    recipe: Recipe,
    scorers: Mapping[str, Path],
    trained_on: Collection[str],
) -> Fill:
    """What pass 2 does with each chunk of a sample."""
    references = refer(scorers, trained_on)
    return Fill(recipe, sample.process, references, frozenset(trained_on), options.variations(sample))


@contextlib.contextmanager
def _kept(store: PartialStore | None, out_root: Path) -> Iterator[PartialStore]:
    """The store that is given, or one that ends with the block."""
    if store is not None:
        yield store
        return
    out_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partials.", dir=out_root) as scratch:
        yield PartialStore(Path(scratch))


def _loop(
    plan: SamplePlan,
    work: ChunkWork,
    processing: ProcessingConfig,
    store: PartialStore,
    *,
    only_merge: bool,
    before: Sequence[ChunkFailure],
    report: Report | None,
    prepare: Callable[[], None] | None = None,
) -> LoopResult:
    if only_merge:
        return merged(plan, work, processing, store)
    return run_loop(plan, work, processing, store, before=before, prepare=prepare, report=report)


def _tables(partials: Iterable[Path], name: str) -> Iterator[Columns]:
    """The tables of a name, chunk by chunk: none is held longer than it is used."""
    for path in partials:
        tables = read_partial(path)["tables"]
        if name in tables:
            yield tables[name]


def _empty_tables(partials: Iterable[Path]) -> dict[str, Columns]:
    """A table without rows for each name that some chunk has a table of, sorted by name."""
    found: dict[str, Columns] = {}
    for path in partials:
        for name, table in read_partial(path)["tables"].items():
            if name not in found:
                found[name] = {column: values[:0].copy() for column, values in table.items()}
    return dict(sorted(found.items()))


def _skim_result(plan: SamplePlan, recipe: Recipe, result: LoopResult, outputs: list[Path]) -> SkimResult:
    return SkimResult(
        result.account,
        result.cutflow,
        outputs,
        certified_luminosity(plan, recipe.golden, result.sections),
        _empty_jets(result, plan.sample),
    )


def prepared(
    sample: Sample, options: EventOptions, plan: SamplePlan | None = None
) -> tuple[SamplePlan, Recipe]:
    """Look at all files of a sample, unless that was done, and say what a worker needs to know."""
    if options.forgets_prefiring(sample):
        _LOG.warning(
            "sample %s: triggers fired early in %s, but corrections.%s has no prefiring: true; without_corrections: "
            "[prefiring] in the sample definition says that it is meant",
            sample.name,
            sample.year,
            sample.year,
        )
    golden = None if sample.golden_json is None else read_golden_json(sample.golden_json)
    plan = plan or look_at(sample, options)
    return plan, recipe_of(plan, options, golden)


def look_at(sample: Sample, options: EventOptions) -> SamplePlan:
    """Inspect all files of a sample, with room for the corrections of its weights."""
    corrected = sample.kind == "simulation" and options.corrections_of(sample) is not None
    return plan_sample(sample, options.demand(sample), CORRECTIONS_HEADROOM if corrected else 1.0)


def _empty_jets(result: LoopResult, sample: Sample) -> int:
    """Selected jets of which the file has no particle: all that is computed of them is 0."""
    number = result.without_particles
    if number:
        _LOG.warning(
            "sample %s: %d selected jets have no particles, what is computed of them is 0; check the links from "
            "particles to jets, or set jets.links: clustering",
            sample.name,
            number,
        )
    return number


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


def file_identity(path: str, access: Access | None = None) -> str:
    """What a manifest remembers of an input file: a change of the file changes it.

    Parameters
    ----------
    path
        A local path or a remote address (``root://…``).
    access
        Where a remote file may be read.

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
    with reading(path), open_root(path, access=access) as file:
        trees = {name: kind for name, kind in file.classnames(cycle=False).items() if kind != "TDirectory"}
        entries = {name: int(getattr(file[name], "num_entries", 0)) for name in sorted(trees)}
        return hash_json({"uuid": str(file.file.uuid), "entries": entries})
