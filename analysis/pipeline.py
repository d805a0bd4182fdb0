"""The stages of a search, each redone only where its inputs, options or code changed.

A stage writes its outputs, then its manifest. The manifest names the hashes of what went in, so a stage is current
exactly while its inputs, the options and seeds it depends on, and oddjet itself are the same. Options that cannot
change a result (chunk size, executor, workers) are not among them.
"""

import dataclasses
import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import models
from analysis.report import write_report
from analysis.run import Run, file_labels, selection_label, training_tables, untrained
from analysis.search import analyse_run
from analysis.windows import Window
from data.errors import ConfigError
from data.files import hash_json, read_json, sha256_file, write_json
from data.manifest import Manifest, code_version, hash_outputs, is_current
from data.samples import Sample
from processors.corrections.config import correction_files
from processors.histogram_io import merge_histograms, read_histograms, write_histograms
from processors.run import check_same_sources, run_histograms, run_skim

_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class Product:
    """What the work of a stage leaves: its files, and the entries expected and read."""

    outputs: list[Path]
    expected: int
    read: int


def run_all(run: Run) -> None:
    """All stages in order."""
    for stage in (skim, train, histogram, scan):
        stage(run)
    if run.config.limits is not None:
        run_limits(run)
    write_run_report(run)


def skim(run: Run) -> None:
    """Pass 1: events to tables of features, one a sample."""
    check_same_sources(run.samples.values(), run.config.events())
    for name, sample in run.samples.items():
        _stage(
            run,
            f"skim {name}",
            inputs=run.identities[name] | _beside(run, sample),
            options={"sample": _sample_options(sample), "events": _event_options(run, sample)},
            work=partial(_skim_sample, run, sample),
        )


def train(run: Run) -> None:
    """Train every method in every window on the features of the data sample, and of those that it takes further."""
    for method, window in run.tasks():
        further = run.further_samples(method)
        names = [run.data.name, *(name for names in further.values() for name in names)]
        _stage(
            run,
            f"train {method} {window.name}",
            inputs={f"features/{name}": run.identity(f"skim {name}") for name in names},
            options={
                "method": method,
                "tables": further,
                "options": run.config.methods[method],
                "window": dataclasses.asdict(window),
                "region": run.config.selection.region,
                "seed": run.config.run.seed,
            },
            work=partial(_train_method, run, method, window),
        )


def histogram(run: Run) -> None:
    """Pass 2: events to histograms, each chunk scored by every trained method."""
    bundles = {f"models/{m}/{w.name}": run.identity(f"train {m} {w.name}") for m, w in run.tasks()}
    for name, sample in run.filled.items():
        _stage(
            run,
            f"hist {name}",
            inputs=run.identities[name] | _beside(run, sample) | bundles,
            options={
                "sample": _sample_options(sample),
                "events": _event_options(run, sample),
                "trained_on": run.trained_on(name),
            },
            work=partial(_fill_sample, run, sample),
        )
    _stage(
        run,
        "merge",
        inputs=_filled(run),
        options={},
        work=partial(_merge, run),
    )


def scan(run: Run) -> None:
    """Fits, local p-values, limits and workspaces of every selection."""
    _stage(
        run,
        "scan",
        inputs=_filled(run),
        options={
            "scan": run.config.scan.model_dump(mode="json"),
            "systematics": run.config.systematics.model_dump(),
            "search": run.config.search.model_dump(exclude={"background"}),
            "region": run.config.selection.region,
            "samples": {name: _sample_options(sample) for name, sample in run.filled.items()},
            "methods": sorted(run.config.methods),
        },
        work=partial(_analyse, run),
    )


def run_limits(run: Run, *, study: bool = False) -> None:
    """Limits of methods that learn from the data: signals injected, every method trained again with each.

    Parameters
    ----------
    run
        A run whose histograms are filled.
    study
        Test the injections with the fixed selections too, even where ``limits.study`` does not ask for it.

    Raises
    ------
    ConfigError
        If the configuration has no section ``limits``.
    """
    if study:
        limits = run.limits.model_copy(update={"study": True})
        run = Run(run.config.model_copy(update={"limits": limits}), run.samples)
    tasks = [(signal, method) for signal in run.limits.signals for method in run.limit_selections()]
    for signal, method in tasks:
        _stage(
            run,
            f"limit {signal} {method}",
            inputs=_study_inputs(run, signal, method),
            options=_study_options(run, signal, method),
            work=partial(_study_signal, run, signal, method),
        )
    _stage(
        run,
        "limit",
        inputs=_filled(run) | {name: run.identity(name) for name in (f"limit {s} {m}" for s, m in tasks)},
        options={
            "limits": run.limits.model_dump(mode="json", exclude={"seeds", "signals"}),
            "scan": run.config.scan.model_dump(mode="json", exclude={"masses"}),
            "systematics": run.config.systematics.model_dump(mode="json"),
            "samples": {name: _sample_options(sample) for name, sample in run.filled.items()},
            "region": run.config.selection.region,
            "status": run.config.run.status,
        },
        work=partial(_limits, run),
    )


def _study_inputs(run: Run, signal: str, method: str) -> dict[str, str]:
    """What the trainings with an injected signal read: all features, and the data's own selected spectrum."""
    further = [name for names in run.further_samples(method).values() for name in names]
    features = dict.fromkeys([run.data.name, signal, *further])
    return {f"features/{name}": run.identity(f"skim {name}") for name in features} | {
        f"hist {run.data.name}": run.identity(f"hist {run.data.name}")
    }


def _study_options(run: Run, signal: str, method: str) -> dict[str, Any]:
    return {
        "options": run.config.methods.get(method, {}),
        "tables": run.further_samples(method),
        "samples": {name: _sample_options(run.samples[name]) for name in (run.data.name, signal)},
        "cross_sections": run.limits.signals[signal],
        "seeds": run.limits.seeds,
        "region": run.config.selection.region,
        "seed": run.config.run.seed,
    }


def _study_signal(run: Run, signal: str, method: str) -> Product:
    study = importlib.import_module("analysis.limit_study").study  # its networks take seconds to import
    path = run.root / "limits" / signal / f"{method}.json"
    write_json(path, study(run, signal, method).model_dump(mode="json"))
    return Product([path], 0, 0)


def _limits(run: Run) -> Product:
    write_limits = importlib.import_module("analysis.limit_results").write_limits
    return Product(write_limits(run), 0, 0)


def write_run_report(run: Run) -> None:
    """The report page and the plots."""
    stages = ["merge", "scan", *(["limit"] if run.manifest("limit").is_file() else [])]
    _stage(
        run,
        "report",
        inputs=_filled(run) | {stage: run.identity(stage) for stage in stages},
        options={
            "config": _shown(run, {"run": {"output"}, "processing": True}),
            "provenance": _provenance(run),
        },
        work=partial(_report, run),
    )


def _filled(run: Run) -> dict[str, str]:
    """What pass 2 made, by sample."""
    return {f"hist {name}": run.identity(f"hist {name}") for name in run.filled}


def _skim_sample(run: Run, sample: Sample) -> Product:
    result = run_skim(sample, run.config.processing, run.config.events(), run.root)
    return Product(result.outputs, result.account.expected, result.account.processed)


def _train_method(run: Run, method: str, window: Window) -> Product:
    table, further = training_tables(run, method)
    folder = run.root / "models" / method / window.name
    model = untrained(run, method, window, run.config.run.seed)
    model.fit(table, workers=run.config.processing.workers, **further)
    model.save(folder)
    rows = len(table["mjj"])
    return Product(sorted(folder.iterdir()), rows, rows)


def _fill_sample(run: Run, sample: Sample) -> Product:
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
    )
    record = run.root / "histograms" / f"{sample.name}.json"
    luminosity = None if result.luminosity is None else dataclasses.asdict(result.luminosity)
    content = {
        "account": result.account.to_json(),
        "cutflow": result.cutflow,
        "luminosity": luminosity,
        "without_particles": result.without_particles,
    }
    write_json(record, content)
    return Product([*result.outputs, record], result.account.expected, result.account.processed)


def _merge(run: Run) -> Product:
    """Histograms, accounts and cutflows of all samples, each in one file."""
    folder = run.root / "histograms"
    records = {name: read_json(folder / f"{name}.json") for name in run.filled}
    files = [file for record in records.values() for file in record["account"]["files"]]
    expected, processed = (sum(file[key] for file in files) for key in ("expected", "processed"))
    account = {
        "files": files,
        "expected": expected,
        "processed": processed,
        "complete": expected == processed,
        "luminosity": {
            name: record["luminosity"] for name, record in records.items() if record["luminosity"]
        },
        "jets_without_particles": {name: record["without_particles"] for name, record in records.items()},
    }
    outputs = [run.root / name for name in ("histograms.h5", "account.json", "cutflow.json")]
    write_histograms(
        outputs[0], merge_histograms(read_histograms(folder / f"{name}.h5") for name in run.filled)
    )
    write_json(outputs[1], account)
    write_json(outputs[2], {name: record["cutflow"] for name, record in records.items()})
    return Product(outputs, expected, processed)


def _analyse(run: Run) -> Product:
    return Product(analyse_run(run.root, run.config, run.filled), 0, 0)


def _report(run: Run) -> Product:
    shown = run.config.model_dump(mode="json")
    outputs = write_report(
        run.root, run.config.run.title, shown, _provenance(run), status=run.config.run.status
    )
    return Product(outputs, 0, 0)


def _stage(run: Run, name: str, inputs: dict[str, str], options: object, work: Callable[[], Product]) -> None:
    """Do the work of a stage unless its manifest says that it is done."""
    path, digest = run.manifest(name), hash_json(options)
    if is_current(path, run.root, name, digest, inputs):
        _LOG.info("%s: up to date", name)
        return
    path.unlink(missing_ok=True)
    start = time.monotonic()
    product = work()
    Manifest(
        stage=name,
        config_hash=digest,
        code_version=code_version(),
        inputs=inputs,
        entries_expected=product.expected,
        entries_read=product.read,
        outputs=hash_outputs(run.root, product.outputs),
    ).write(path)
    events = f", {product.read:,} of {product.expected:,} events" if product.expected else ""
    _LOG.info("%s: done in %.1f s%s", name, time.monotonic() - start, events)


def _sample_options(sample: Sample) -> dict[str, Any]:
    """What of a sample's definition its stages depend on; where its files lie is not part of it."""
    options = sample.model_dump(exclude={"files", "description", "golden_json", "luminosity_table"})
    return options | {"files": sorted(file_labels(sample))}


def _event_options(run: Run, sample: Sample) -> dict[str, Any]:
    """What of the configuration both passes over a sample depend on; correction files count by their hashes."""
    options = run.config.events()
    corrections = options.corrections_of(sample)
    return {
        "selection": options.selection.model_dump(),
        "jets": options.jets.model_dump(),
        "features": options.features.model_dump(),
        "corrections": None if corrections is None else _without_folders(corrections.model_dump()),
        "seed": options.seed if corrections is not None else None,
    }


def _without_folders(value: Any) -> Any:
    """The same values with only the last name of each path: a run may move with its files."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    return value.name if isinstance(value, Path) else value


def _beside(run: Run, sample: Sample) -> dict[str, str]:
    """Hashes of the files beside a sample's events: corrections, certified sections, their luminosity."""
    files = correction_files(run.config.events().corrections_of(sample))
    named = {f"corrections/{file.name}": file for file in files}
    if len(named) != len(files):
        msg = f"sample '{sample.name}': two correction files are called alike; rename one of them"
        raise ConfigError(msg)
    named |= {
        key: file for key in ("golden_json", "luminosity_table") if (file := getattr(sample, key)) is not None
    }
    return {name: sha256_file(file) for name, file in named.items()}


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
