"""The two passes over a sample, start to end."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from data.luminosity import ProcessedLuminosity, read_golden_json
from data.partials import PartialStore, read_partial
from data.samples import Sample
from processors.account import Account, ChunkFailure
from processors.certified import certified_luminosity
from processors.columns import Columns
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.histogram_io import write_histograms
from processors.histograms import Fill, Histograms, finalise
from processors.look import look_at
from processors.loop import LoopResult, Report, Step, merged, run_loop
from processors.lund_reweighting_survey import with_lund_weights
from processors.merging import merge_tables
from processors.preflight import SamplePlan
from processors.recipe import Recipe, empty_table, recipe_of
from processors.schema import NOMINAL
from processors.scorers import import_methods, refer
from processors.skim import Skim
from processors.varied_skim import VariedSkim
from processors.work import ChunkWork

_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class SkimResult:
    """Account and cutflow of a pass, the files that it wrote and the certified luminosity of data."""

    account: Account
    cutflow: list[Step]
    outputs: list[Path]
    luminosity: ProcessedLuminosity | None
    without_particles: int


@dataclass(frozen=True)
class HistogramResult(SkimResult):
    """The same of pass 2, with the histograms."""

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
        begun = _begun(sample, processing, options, plan, surveys or kept, report, only_merge=only_merge)
        result = begun.loop(Skim(begun.recipe), kept)
        folder = out_root / "features" / sample.name
        tables = _tables(result.partials, NOMINAL)
        empty, unique = empty_table(begun.plan, options), sample.kind == "data"
        outputs = merge_tables(tables, folder, empty, sample.name, unique=unique)
    return begun.skimmed(result, outputs)


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
        begun = _begun(sample, processing, options, plan, surveys or kept, report, only_merge=only_merge)
        result = begun.loop(VariedSkim(begun.recipe), kept)
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
    return begun.skimmed(result, outputs)


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
    prepare = import_methods if scorers else None
    with _kept(store, out_root) as kept:
        begun = _begun(
            sample, processing, options, plan, surveys or kept, report, only_merge=only_merge, prepare=prepare
        )
        work = fill_of(sample, options, begun.recipe, scorers, trained_on)
        result = begun.loop(work, kept)
        total = work.sum(read_partial(path) for path in result.partials)
    histograms = finalise(total, begun.plan.scale, sample.name)
    path = out_root / "histograms" / f"{sample.name}.h5"
    write_histograms(path, histograms)
    return HistogramResult(**vars(begun.skimmed(result, [path])), histograms=histograms)


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


@dataclass(frozen=True)
class _Begun:
    """A pass over a sample that is known, with its Lund-plane weights and the failures that these met."""

    plan: SamplePlan
    recipe: Recipe
    processing: ProcessingConfig
    before: Sequence[ChunkFailure]
    report: Report | None
    only_merge: bool
    prepare: Callable[[], None] | None

    def loop(self, work: ChunkWork, store: PartialStore) -> LoopResult:
        """Do the work on every chunk, or find all results in the store."""
        if self.only_merge:
            return merged(self.plan, work, self.processing, store)
        return run_loop(
            self.plan,
            work,
            self.processing,
            store,
            before=self.before,
            prepare=self.prepare,
            report=self.report,
        )

    def skimmed(self, result: LoopResult, outputs: list[Path]) -> SkimResult:
        """What a pass gives that wrote these files."""
        luminosity = certified_luminosity(self.plan, self.recipe.golden, result.sections)
        empty_jets = _empty_jets(result, self.plan.sample)
        return SkimResult(result.account, result.cutflow, outputs, luminosity, empty_jets)


def _begun(
    sample: Sample,
    processing: ProcessingConfig,
    options: EventOptions,
    plan: SamplePlan | None,
    surveys: PartialStore,
    report: Report | None,
    *,
    only_merge: bool,
    prepare: Callable[[], None] | None = None,
) -> _Begun:
    """Look at a sample and find the constants of its Lund-plane weights."""
    plan, recipe = prepared(sample, options, plan)
    recipe, before = with_lund_weights(
        plan, recipe, processing, surveys, only_merge=only_merge, prepare=prepare, report=report
    )
    return _Begun(plan, recipe, processing, before, report, only_merge, prepare)


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
