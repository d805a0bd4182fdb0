"""The stages of limits with retraining, each redone only where its inputs, options or code changed."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

from analysis.accounts import begin_account, keep_account, settle_account
from analysis.run import Run
from analysis.stages import (
    Product,
    beside,
    event_options,
    filled,
    forget_survey,
    planned,
    run_stage,
    sample_options,
    study_stage,
    survey_store,
    varied_signals,
    varied_stage,
)
from analysis.training_bar import training_bar
from data.files import read_json, write_json
from models.processes import shared_processes
from processors.scorers import INCLUSIVE


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
    with shared_processes():
        for signal, method in studies(run):
            study_signal(run, signal, method)
    for signal, method in uncertain(run):
        if find_injection(run, signal, method):
            vary(run, signal)
            retrain(run, signal, method)
    conclude_limits(run)
    for signal in varied_signals(run):
        forget_survey(run, signal)
    if varied_signals(run):
        settle_account(run)


def studies(run: Run) -> list[tuple[str, str]]:
    """Signal and selection of each study: trainings with that signal in the data."""
    return [(signal, method) for signal in run.limits.signals for method in run.limit_selections()]


def uncertain(run: Run) -> list[tuple[str, str]]:
    """Signal and selection of the studies whose uncertainties are found by training again."""
    return [
        (signal, method) for signal, method in studies(run) if method != INCLUSIVE and run.limits.systematics
    ]


def study_signal(run: Run, signal: str, method: str) -> None:
    """Train a method with a signal of every cross section in the data."""
    run_stage(
        run,
        study_stage(signal, method),
        inputs=_study_inputs(run, signal, method),
        options=_study_options(run, signal, method),
        work=partial(_study_signal, run, signal, method),
    )


def conclude_limits(run: Run) -> None:
    """The limits of all studies: fits, no training."""
    stages = [study_stage(signal, method) for signal, method in studies(run)]
    for signal, method in uncertain(run):
        stages.append(f"{study_stage(signal, method)} injection")
        if _injects(run, signal, method):
            stages.append(f"{study_stage(signal, method)} retraining")
    run_stage(
        run,
        "limit",
        inputs=filled(run) | {name: run.identity(name) for name in stages},
        options={
            "limits": run.limits.model_dump(mode="json", exclude={"seeds", "signals"}),
            "scan": run.config.scan.model_dump(mode="json", exclude={"masses"}),
            "systematics": run.config.systematics.model_dump(mode="json"),
            "samples": {name: sample_options(sample) for name, sample in run.filled.items()},
            "region": run.config.selection.region,
            "status": run.config.run.status,
        },
        work=partial(_limits, run),
    )


def find_injection(run: Run, signal: str, method: str) -> bool:
    """Find where the expected limit is best; whether to train again there."""
    studied = [study_stage(signal, name) for name in (method, INCLUSIVE)]
    run_stage(
        run,
        f"{study_stage(signal, method)} injection",
        inputs=filled(run) | {name: run.identity(name) for name in studied},
        options={
            "scan": run.config.scan.model_dump(mode="json", exclude={"masses"}),
            "samples": {name: sample_options(sample) for name, sample in run.filled.items()},
            "region": run.config.selection.region,
        },
        work=partial(_find_injection, run, signal, method),
    )
    return _injects(run, signal, method)


def _injects(run: Run, signal: str, method: str) -> bool:
    return read_json(_path(run, signal, f"{method}.injection"))["cross_section_fb"] is not None


def vary(run: Run, signal: str, *, only_merge: bool = False) -> None:
    """Tables of a signal with all its variations; ``only_merge``: no event is read, all chunks are done."""
    sample = run.samples[signal]
    run_stage(
        run,
        varied_stage(signal),
        inputs=run.identities[signal] | beside(run, sample),
        options={"sample": sample_options(sample), "events": event_options(run, sample)},
        work=partial(_vary, run, signal, only_merge=only_merge),
    )


def retrain(run: Run, signal: str, method: str) -> None:
    """Train a method with varied signals in the data, where its expected limit is best."""
    background = run.config.search.background
    own = [
        varied_stage(signal),
        f"{study_stage(signal, method)} injection",
        *(f"skim {name}" for name in background),
    ]
    run_stage(
        run,
        f"{study_stage(signal, method)} retraining",
        inputs=_study_inputs(run, signal, method) | {name: run.identity(name) for name in own},
        options=_study_options(run, signal, method)
        | {
            "background": background,
            "systematics": run.config.systematics.model_dump(mode="json", include={"leave_out", "ensembles"}),
        },
        work=partial(_retrain, run, signal, method),
    )


def _path(run: Run, signal: str, name: str) -> Path:
    return run.root / "limits" / signal / f"{name}.json"


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
        "samples": {name: sample_options(run.samples[name]) for name in (run.data.name, signal)},
        "cross_sections": run.limits.signals[signal],
        "seeds": run.limits.seeds,
        "region": run.config.selection.region,
        "seed": run.config.run.seed,
    }


def _study_signal(run: Run, signal: str, method: str) -> Product:
    study = importlib.import_module("analysis.limit_study").study  # its networks take seconds to import
    path = _path(run, signal, method)
    with training_bar(f"{signal} {method}"), shared_processes():
        record = study(run, signal, method)
    write_json(path, record.model_dump(mode="json"))
    return Product([path], 0, 0)


def _limits(run: Run) -> Product:
    write_limits = importlib.import_module("analysis.limit_results").write_limits
    return Product(write_limits(run), 0, 0)


def _find_injection(run: Run, signal: str, method: str) -> Product:
    best = importlib.import_module("analysis.limit_efficiencies").best_injection(run, signal, method)
    path = _path(run, signal, f"{method}.injection")
    write_json(path, best.model_dump(mode="json"))
    return Product([path], 0, 0)


def _vary(run: Run, signal: str, *, only_merge: bool) -> Product:
    from processors.run import run_varied_skim  # noqa: PLC0415 - processing events takes seconds to import

    sample = run.samples[signal]
    stage = varied_stage(signal)
    begin_account(run, stage)
    result = run_varied_skim(
        sample,
        run.config.processing,
        run.config.events(),
        run.root,
        plan=planned(run, sample),
        store=run.store(stage),
        surveys=None if only_merge else survey_store(run, signal),
        only_merge=only_merge,
        report=partial(keep_account, run, stage),
    )
    return Product(result.outputs, result.account.expected, result.account.processed)


def _retrain(run: Run, signal: str, method: str) -> Product:
    best = read_json(_path(run, signal, f"{method}.injection"))
    seeds = [run.config.run.seed + number for number in range(run.limits.seeds)]
    retrain = importlib.import_module("analysis.retraining_run").retrain_systematics
    with training_bar(f"{signal} {method}"), shared_processes():
        found = retrain(run, signal, method, best["cross_section_fb"], seeds, tuple(best["fit_range"]))
    path = _path(run, signal, f"{method}.retraining")
    write_json(path, found.model_dump(mode="json"))
    return Product([path], 0, 0)
