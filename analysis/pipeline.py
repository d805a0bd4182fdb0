"""The stages of a search, each redone only where its inputs, options or code changed.

A stage writes its outputs, then its manifest. The manifest names the hashes of what went in, so a stage is current
exactly while its inputs, the options and seeds it depends on, and oddjet itself are the same. Options that cannot
change a result (chunk size, executor, workers) are not among them.

What does the work of a stage is imported by that work: a stage that is up to date, or only planned, answers at once.
"""

import dataclasses
import importlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import models
from analysis.accounts import begin_account, forget_account, keep_account, settle_account
from analysis.limit_pipeline import run_limits
from analysis.run import Run, selection_label, training_tables, untrained
from analysis.stages import (
    Product,
    beside,
    event_options,
    filled,
    forget_survey,
    planned,
    run_stage,
    sample_options,
    stage_is_current,
    survey_store,
    varied_signals,
    varied_stage,
)
from analysis.studies import study
from analysis.training_bar import training_bar
from analysis.windows import Window
from data.errors import OddjetError
from data.files import hash_json, read_json, write_json
from data.manifest import code_version, read_manifest
from data.samples import Sample
from models.processes import shared_processes
from processors.look import check_same_sources
from processors.progress import Countdown

if TYPE_CHECKING:
    from models.folded import FoldedMethod

_LOG = logging.getLogger("oddjet")


def run_all(run: Run) -> None:
    """All stages in order."""
    for stage in (skim, train, histogram, scan):
        stage(run)
    if run.config.limits is not None:
        run_limits(run)
    write_run_report(run)


def skim(run: Run, *, only_merge: bool = False) -> None:
    """Pass 1: events to tables of features, one a sample; ``only_merge``: no event is read, all chunks are done."""
    if not only_merge:
        check_same_sources(run.samples.values(), run.config.events())
    for name, sample in run.samples.items():
        run_stage(
            run,
            f"skim {name}",
            inputs=_event_inputs(run, sample),
            options=_event_facts(run, sample),
            work=partial(_skim_sample, run, sample, only_merge=only_merge),
        )
        if name not in run.filled:
            forget_survey(run, name)
    settle_account(run)


def _event_inputs(run: Run, sample: Sample) -> dict[str, str]:
    """Hashes of all files that a pass without methods reads."""
    return run.identities[sample.name] | beside(run, sample)


def _event_facts(run: Run, sample: Sample) -> dict[str, Any]:
    """The options of a pass without methods."""
    return {"sample": sample_options(sample), "events": event_options(run, sample)}


def train(run: Run, *, only_merge: bool = False) -> None:
    """Train every method in every window on the features of the data sample, and of those that it takes further.

    ``only_merge``: no network is trained, all folds are in the stages' stores.
    """
    elsewhere = run.config.processing.executor == "dask"
    if elsewhere and not only_merge:
        _train_elsewhere(run)
    work = _collect_method if only_merge or elsewhere else _train_method
    if not run.config.methods:
        _LOG.info("no method is configured, there is nothing to train")
    countdown = Countdown("trainings", len(run.tasks()))
    with shared_processes():
        for method, window in run.tasks():
            worked = run_stage(
                run,
                f"train {method} {window.name}",
                inputs=_training_inputs(run, method),
                options=_training_options(run, method, window),
                work=partial(work, run, method, window),
            )
            countdown.step(worked=worked)


def _training_inputs(run: Run, method: str) -> dict[str, str]:
    further = run.further_samples(method).values()
    names = [run.data.name, *(name for names in further for name in names)]
    return {f"features/{name}": run.identity(f"skim {name}") for name in names}


def _training_options(run: Run, method: str, window: Window) -> dict[str, Any]:
    return {
        "method": method,
        "tables": run.further_samples(method),
        "options": run.config.methods[method],
        "window": dataclasses.asdict(window),
        "region": run.config.selection.region,
        "seed": run.config.run.seed,
    }


def _train_elsewhere(run: Run) -> None:
    """Train the folds of all methods whose stages are not done on the workers of dask."""
    for method in run.config.methods:
        inputs = _training_inputs(run, method)
        windows = [
            window
            for window in run.config.windows()
            if not stage_is_current(
                run, f"train {method} {window.name}", inputs, _training_options(run, method, window)
            )
        ]
        if windows:
            folds = importlib.import_module("analysis.fold_tasks")  # its networks take seconds to import
            folds.train_in_pool(run, method, windows)


def histogram(run: Run, *, only_merge: bool = False) -> None:
    """Pass 2: events to histograms, each chunk scored by every trained method; ``only_merge`` as for `skim`."""
    bundles = _bundles(run)
    for name, sample in run.filled.items():
        run_stage(
            run,
            f"hist {name}",
            inputs=_event_inputs(run, sample) | bundles,
            options=_fill_options(run, sample),
            work=partial(_fill_sample, run, sample, only_merge=only_merge),
        )
        if name not in varied_signals(run):
            forget_survey(run, name)
    run_stage(
        run,
        "merge",
        inputs=filled(run),
        options={},
        work=partial(_merge, run),
    )
    settle_account(run)


def scan(run: Run) -> None:
    """Fits, local p-values, limits and workspaces of every selection."""
    run_stage(
        run,
        "scan",
        inputs=filled(run) | _shared_events(run),
        options={
            "scan": run.config.scan.model_dump(mode="json"),
            "systematics": run.config.systematics.model_dump(),
            "search": run.config.search.model_dump(exclude={"background"}),
            "region": run.config.selection.region,
            "samples": {name: sample_options(sample) for name, sample in run.filled.items()},
            "methods": sorted(run.config.methods),
            "seed": run.config.run.seed if run.config.scan.global_toys else None,
        },
        work=partial(_analyse, run),
    )


def _shared_events(run: Run) -> dict[str, str]:
    """What tells which events selections share: toys of several selections need it."""
    if not run.config.scan.global_toys or not run.tasks():
        return {}
    return {f"features/{run.data.name}": run.identity(f"skim {run.data.name}")} | _bundles(run)


def _fill_options(run: Run, sample: Sample) -> dict[str, Any]:
    return _event_facts(run, sample) | {"trained_on": run.trained_on(sample.name)}


def _filled_from_these(run: Run, sample: Sample) -> bool:
    """Whether the histograms of a sample are of the very events that pass 1 reads now, whatever the models."""
    path = run.manifest(f"hist {sample.name}")
    if not path.is_file():
        return False
    try:
        manifest = read_manifest(path)
    except OddjetError:
        return False
    now = (hash_json(_fill_options(run, sample)), code_version())
    inputs = _event_inputs(run, sample)
    return (manifest.config_hash, manifest.code_version) == now and inputs.items() <= manifest.inputs.items()


def _bundles(run: Run) -> dict[str, str]:
    return {f"models/{m}/{w.name}": run.identity(f"train {m} {w.name}") for m, w in run.tasks()}


def write_run_report(run: Run) -> None:
    """The report page and the plots, and the studies that they show."""
    study(run)
    stages = ["merge", "scan", "studies", *(["limit"] if run.manifest("limit").is_file() else [])]
    run_stage(
        run,
        "report",
        inputs=filled(run) | {stage: run.identity(stage) for stage in stages},
        options={
            "config": _shown(run, {"run": {"output", "copy_to"}, "processing": True, "batch": True}),
            "provenance": _provenance(run),
        },
        work=partial(_report, run),
    )


def _skim_sample(run: Run, sample: Sample, *, only_merge: bool) -> Product:
    from processors.run import run_skim  # noqa: PLC0415

    stage, varied = f"skim {sample.name}", varied_stage(sample.name)
    if not _filled_from_these(run, sample):
        forget_account(run, f"hist {sample.name}")
    if not stage_is_current(run, varied, _event_inputs(run, sample), _event_facts(run, sample)):
        forget_account(run, varied)
    begin_account(run, stage)
    result = run_skim(
        sample,
        run.config.processing,
        run.config.events(),
        run.root,
        plan=planned(run, sample),
        store=run.store(stage),
        surveys=None if only_merge else survey_store(run, sample.name),
        only_merge=only_merge,
        report=partial(keep_account, run, stage),
    )
    return Product(result.outputs, result.account.expected, result.account.processed)


def _train_method(run: Run, method: str, window: Window) -> Product:
    table, further = training_tables(run, method)
    folder = run.root / "models" / method / window.name
    model = untrained(run, method, window, run.config.run.seed)
    with training_bar(f"{method} {window.name}"):
        model.fit(table, workers=run.config.processing.local_workers, **further)
    model.save(folder)
    rows = len(table["mjj"])
    return Product(sorted(folder.iterdir()), rows, rows)


def _collect_method(run: Run, method: str, window: Window) -> Product:
    """Make a method of folds that were trained elsewhere."""
    tasks = importlib.import_module("models.tasks")  # its networks take seconds to import
    table, further = training_tables(run, method)
    folder = run.root / "models" / method / window.name
    model = cast("FoldedMethod", untrained(run, method, window, run.config.run.seed))
    tables = model.tables(table, further)
    folds = tasks.collect_kept(model, tables, run.store(f"train {method} {window.name}"))
    model.assemble(tables, folds, workers=run.config.processing.local_workers).save(folder)
    rows = len(table["mjj"])
    return Product(sorted(folder.iterdir()), rows, rows)


def _fill_sample(run: Run, sample: Sample, *, only_merge: bool) -> Product:
    from processors.run import run_histograms  # noqa: PLC0415

    stage = f"hist {sample.name}"
    begin_account(run, stage)
    result = run_histograms(
        sample,
        run.config.processing,
        run.config.events(),
        {
            selection_label(method, window): run.root / "models" / method / window.name
            for method, window in run.tasks()
        },
        trained_on=run.trained_on(sample.name),
        out_root=run.root,
        plan=planned(run, sample),
        store=run.store(stage),
        surveys=None if only_merge else survey_store(run, sample.name),
        only_merge=only_merge,
        report=partial(keep_account, run, stage),
    )
    record = run.root / "histograms" / f"{sample.name}.json"
    luminosity = None if result.luminosity is None else dataclasses.asdict(result.luminosity)
    content = {
        "expected": result.account.expected,
        "processed": result.account.processed,
        "cutflow": result.cutflow,
        "luminosity": luminosity,
        "without_particles": result.without_particles,
    }
    write_json(record, content)
    return Product([*result.outputs, record], result.account.expected, result.account.processed)


def _merge(run: Run) -> Product:
    """Histograms and cutflows of all samples, each in one file."""
    from processors.histogram_io import merge_histograms, read_histograms, write_histograms  # noqa: PLC0415

    folder = run.root / "histograms"
    records = {name: read_json(folder / f"{name}.json") for name in run.filled}
    expected, processed = (
        sum(record[key] for record in records.values()) for key in ("expected", "processed")
    )
    outputs = [run.root / name for name in ("histograms.h5", "cutflow.json")]
    write_histograms(
        outputs[0], merge_histograms(read_histograms(folder / f"{name}.h5") for name in run.filled)
    )
    write_json(outputs[1], {name: record["cutflow"] for name, record in records.items()})
    return Product(outputs, expected, processed)


def _analyse(run: Run) -> Product:
    from analysis.search import analyse_run  # noqa: PLC0415

    return Product(analyse_run(run.root, run.config, run.filled), 0, 0)


def _report(run: Run) -> Product:
    from analysis.report import write_report  # noqa: PLC0415

    shown = run.config.model_dump(mode="json")
    outputs = write_report(
        run.root, run.config.run.title, shown, _provenance(run), status=run.config.run.status
    )
    return Product(outputs, 0, 0)


def _shown(run: Run, left_out: dict[str, Any]) -> dict[str, Any]:
    """The configuration as plain values."""
    return run.config.model_dump(mode="json", exclude=left_out)


def _provenance(run: Run) -> dict[str, Any]:
    inputs = {name: run.identities[name] for name in run.samples}
    return {
        "code": code_version(),
        "seed": run.config.run.seed,
        "inputs": inputs,
        "models": models.versions(),
    }
