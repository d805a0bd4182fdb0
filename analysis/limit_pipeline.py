"""The stages of limits with retraining, each redone only where its inputs, options or code changed."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

from analysis.run import Run
from analysis.stages import Product, beside, event_options, filled, planned, run_stage, sample_options
from data.files import read_json, write_json
from processors.run import run_varied_skim
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
    tasks = [(signal, method) for signal in run.limits.signals for method in run.limit_selections()]
    for signal, method in tasks:
        run_stage(
            run,
            f"limit {signal} {method}",
            inputs=_study_inputs(run, signal, method),
            options=_study_options(run, signal, method),
            work=partial(_study_signal, run, signal, method),
        )
    stages = [f"limit {signal} {method}" for signal, method in tasks]
    if run.limits.systematics:
        stages += _uncertainties(run, [(signal, method) for signal, method in tasks if method != INCLUSIVE])
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


def _uncertainties(run: Run, tasks: list[tuple[str, str]]) -> list[str]:
    """Find where each expected limit is best, and train again there; the names of the stages."""
    stages = []
    for signal, method in tasks:
        stages.append(f"limit {signal} {method} injection")
        studies = [f"limit {signal} {name}" for name in (method, INCLUSIVE)]
        run_stage(
            run,
            stages[-1],
            inputs=filled(run) | {name: run.identity(name) for name in studies},
            options={
                "scan": run.config.scan.model_dump(mode="json", exclude={"masses"}),
                "samples": {name: sample_options(sample) for name, sample in run.filled.items()},
                "region": run.config.selection.region,
            },
            work=partial(_find_injection, run, signal, method),
        )
        if read_json(_path(run, signal, f"{method}.injection"))["cross_section_fb"] is not None:
            stages.append(f"limit {signal} {method} retraining")
            _retraining(run, signal, method, stages[-1])
    return stages


def _retraining(run: Run, signal: str, method: str, stage: str) -> None:
    sample = run.samples[signal]
    varied = f"limit {signal} varied"
    run_stage(
        run,
        varied,
        inputs=run.identities[signal] | beside(run, sample),
        options={"sample": sample_options(sample), "events": event_options(run, sample)},
        work=partial(_vary, run, signal),
    )
    background = run.config.search.background
    own = [varied, f"limit {signal} {method} injection", *(f"skim {name}" for name in background)]
    run_stage(
        run,
        stage,
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
    write_json(path, study(run, signal, method).model_dump(mode="json"))
    return Product([path], 0, 0)


def _limits(run: Run) -> Product:
    write_limits = importlib.import_module("analysis.limit_results").write_limits
    return Product(write_limits(run), 0, 0)


def _find_injection(run: Run, signal: str, method: str) -> Product:
    best = importlib.import_module("analysis.limit_efficiencies").best_injection(run, signal, method)
    path = _path(run, signal, f"{method}.injection")
    write_json(path, best.model_dump(mode="json"))
    return Product([path], 0, 0)


def _vary(run: Run, signal: str) -> Product:
    sample = run.samples[signal]
    result = run_varied_skim(
        sample,
        run.config.processing,
        run.config.events(),
        run.root,
        plan=planned(run, sample),
        store=run.store(f"limit {signal} varied"),
    )
    return Product(result.outputs, result.account.expected, result.account.processed)


def _retrain(run: Run, signal: str, method: str) -> Product:
    best = read_json(_path(run, signal, f"{method}.injection"))
    seeds = [run.config.run.seed + number for number in range(run.limits.seeds)]
    found = importlib.import_module("analysis.retraining_run").retrain_systematics(
        run, signal, method, best["cross_section_fb"], seeds, tuple(best["fit_range"])
    )
    path = _path(run, signal, f"{method}.retraining")
    write_json(path, found.model_dump(mode="json"))
    return Product([path], 0, 0)
