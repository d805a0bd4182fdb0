"""What a batch job does: one task of a stage, from the files in its folder to its output and manifest."""

import importlib
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.batch_plan import PARTIALS, config_hash, pass_name
from analysis.config import Config, with_paths
from analysis.limit_pipeline import conclude_limits, find_injection, retrain, study_signal
from analysis.pipeline import scan
from analysis.run import Run, selection_label, training_tables, untrained
from analysis.stages import study_stage
from analysis.windows import window
from condor.campaign import PAYLOAD
from condor.jobs import OUT, JobManifest, JobSpec, read_spec
from condor.wheel import commit
from data.errors import IncompleteError, InputError, OddjetError
from data.files import read_json, sha256_file, write_json
from data.manifest import code_version
from data.partials import PartialStore
from data.samples import Sample
from processors.account import Account
from processors.config import ProcessingConfig
from processors.loop import chunk_tasks
from processors.lund_reweighting_survey import survey_of
from processors.parts import histogram_part, skim_part, survey_part
from processors.plan_io import read_plan
from processors.preflight import SamplePlan
from processors.run import prepared

if TYPE_CHECKING:
    from models.folded import FoldedMethod

ACCOUNT, RESULTS = "account.json", "results"
"""Below a job's output: its event account; files as they lie in a run folder."""
_LOG = logging.getLogger("oddjet")


def run_job(file: Path, *, workers: int = 1) -> JobManifest:
    """Run a job; its folder holds all that it needs, and is the current one.

    Parameters
    ----------
    file
        The specification; the output goes to the folder ``out`` beside it, its manifest last.
    workers
        Processes.

    Returns
    -------
    JobManifest
        Of the finished job.

    Raises
    ------
    InputError
        If the code is not that of the submission, or an input is wrong.
    IncompleteError
        If an entry was not read, or nothing was made.
    """
    start = time.monotonic()
    spec = read_spec(file)
    _check_code(spec)
    here = file.resolve().parent
    out = here / OUT
    shutil.rmtree(out, ignore_errors=True)  # of an earlier try
    out.mkdir()
    run = run_of(read_json(here / PAYLOAD), here, workers)
    _check_config(spec, run)
    read = _WORK[spec.stage](run, spec, here)
    expected = sum(part.stop - part.start for part in spec.entries)
    if read != expected:
        msg = f"job '{spec.name}': {read} of {expected} entries were read; look at the lines above"
        raise IncompleteError(msg)
    manifest = JobManifest(
        job=spec.name,
        spec_hash=spec.digest(),
        config_hash=spec.config_hash,
        code_version=code_version(),
        commit=commit(),
        entries=spec.entries,
        entries_read=read,
        outputs=_outputs(spec, out),
        attempt=attempt(),
        host=socket.gethostname(),
        seconds=round(time.monotonic() - start, 3),
    )
    manifest.write(out)
    made = len(manifest.outputs)
    _LOG.info("job %s: %d entries, %d outputs, %.1f s", spec.name, read, made, manifest.seconds)
    return manifest


def _check_code(spec: JobSpec) -> None:
    if spec.code_version != code_version():
        msg = (
            f"job '{spec.name}' was submitted with code {spec.code_version}, here runs {code_version()}; use the same "
            "container or wheel, or submit again"
        )
        raise InputError(msg)


def _outputs(spec: JobSpec, out: Path) -> dict[str, str]:
    """Path of each output to its SHA-256."""
    outputs = {
        str(path.relative_to(out)): sha256_file(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    if not outputs:
        msg = f"job '{spec.name}' has made nothing; look at the lines above"
        raise IncompleteError(msg)
    return outputs


def run_of(payload: dict[str, Any], here: Path, workers: int) -> Run:
    """The run of a job: its folder is the run folder."""
    config = with_paths(Config.parse(payload["config"], PAYLOAD), here)
    executor = "futures" if workers > 1 else "iterative"
    processing = config.processing.model_dump(exclude={"dask"}) | {"executor": executor, "workers": workers}
    config = config.model_copy(
        update={
            "run": config.run.model_copy(update={"output": here}),
            "processing": ProcessingConfig.parse(processing, PAYLOAD),
        }
    )
    samples = {
        name: _beside(Sample.model_validate(value), here) for name, value in payload["samples"].items()
    }
    return Run(config, samples)


def _beside(sample: Sample, here: Path) -> Sample:
    """A sample with the files beside its events where this job has them."""
    paths = {key: getattr(sample, key) for key in ("golden_json", "luminosity_table")}
    return sample.model_copy(update={key: here / path for key, path in paths.items() if path is not None})


def attempt() -> int:
    """How often HTCondor has started this job, from the description that it gives to every job."""
    about = os.environ.get("_CONDOR_JOB_AD")
    if about is None or not Path(about).is_file():
        return 1
    found = re.search(r"^NumJobStarts\s*=\s*(\d+)", Path(about).read_text(errors="replace"), re.MULTILINE)
    return int(found.group(1)) + 1 if found else 1


def _check_config(spec: JobSpec, run: Run) -> None:
    if config_hash(run) != spec.config_hash:
        msg = f"job '{spec.name}': {PAYLOAD} is of another configuration; submit again"
        raise InputError(msg)


def _event_work(part: Callable[..., Account | None]) -> Callable[[Run, JobSpec, Path], int]:
    """The work of a job that reads events."""

    def work(run: Run, spec: JobSpec, here: Path) -> int:
        sample = run.samples[spec.task["sample"]]
        number, count = spec.task["part"]
        plan = read_plan(here / f"{sample.name}.plan.json")
        store = run.store(pass_name(spec.stage, sample.name))
        given = frozenset() if spec.stage == "survey" else _of_survey(run, sample, plan, store)

        def report(account: Account) -> None:
            """Also where an error ends the job: which chunks it was, and how often they were tried."""
            try:
                write_json(here / OUT / ACCOUNT, account.to_json())
            except (OSError, OddjetError) as error:  # it must not hide the one that ends the job
                _LOG.warning("%s: the account of job '%s' is not written (%s)", here, spec.name, error)

        account = part(
            sample,
            run.config.processing,
            run.config.events(),
            *_scorers(run, spec),
            **_trained_on(run, spec),
            plan=plan,
            store=store,
            part=(number, count),
            report=report,
        )
        if account is not None:  # no job is done without it
            write_json(here / OUT / ACCOUNT, account.to_json())
        _keep_own(store, given, here / OUT / PARTIALS)
        return 0 if account is None else account.processed

    return work


def _of_survey(run: Run, sample: Sample, plan: SamplePlan, store: PartialStore) -> frozenset[Path]:
    """The results of the survey that this job was given.

    Others are removed: a run that was killed on the submit machine left them, and if they counted as done this job would
    not bring them back.
    """
    there = store.files()
    if not there:
        return frozenset()
    plan, recipe = prepared(sample, run.config.events(), plan)
    survey = survey_of(recipe)
    tasks = [] if survey is None else chunk_tasks(plan, survey, run.config.processing)
    given = frozenset(store.path(task.key) for task in tasks)
    for path in there:
        if path not in given:
            path.unlink()
    return given


def _keep_own(store: PartialStore, given: frozenset[Path], out: Path) -> None:
    """Move the results of this job into its output."""
    for path in sorted(set(store.files()) - given):
        target = out / path.relative_to(store.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _scorers(run: Run, spec: JobSpec) -> tuple[dict[str, Path], ...]:
    if spec.stage != "hist":
        return ()
    folders = {
        selection_label(method, window): run.root / "models" / method / window.name
        for method, window in run.tasks()
    }
    return (folders,)


def _trained_on(run: Run, spec: JobSpec) -> dict[str, Any]:
    return {"trained_on": run.trained_on(spec.task["sample"])} if spec.stage == "hist" else {}


def _train(run: Run, spec: JobSpec, here: Path) -> int:
    tasks = importlib.import_module("models.tasks")  # its networks take seconds to import
    chosen = window(spec.task["window"])
    table, further = training_tables(run, spec.task["method"])
    model = cast("FoldedMethod", untrained(run, spec.task["method"], chosen, run.config.run.seed))
    store = PartialStore(here / OUT / PARTIALS)
    tables = model.tables(table, further)
    tasks.train_parts(model, tables, spec.task["folds"], store, workers=run.config.processing.local_workers)
    return 0


def _stage_work(
    stages: Callable[[Run, JobSpec], list[str]], make: Callable[[Run, JobSpec], None]
) -> Callable[[Run, JobSpec, Path], int]:
    """The work of a job that makes stages of a run: what they wrote, as their own manifests list it."""

    def work(run: Run, spec: JobSpec, here: Path) -> int:
        manifests = [run.manifest(stage) for stage in stages(run, spec)]
        for manifest in manifests:  # of an earlier run in the same folder
            manifest.unlink(missing_ok=True)
        make(run, spec)
        for manifest in manifests:
            if not manifest.is_file():  # it found that there was nothing to do
                continue
            for name in [*read_json(manifest)["outputs"], str(manifest.relative_to(here))]:
                target = here / OUT / RESULTS / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(here / name, target)
        return 0

    return work


def _study(run: Run, spec: JobSpec) -> None:
    """Trainings with a signal of every cross section in the data."""
    study_signal(run, spec.task["signal"], spec.task["method"])


def _retrain(run: Run, spec: JobSpec) -> None:
    """Trainings with varied signals, where the expected limit is best and better than that of the whole spectrum."""
    signal, method = spec.task["signal"], spec.task["method"]
    if find_injection(run, signal, method):
        retrain(run, signal, method)


def _study_name(_: Run, spec: JobSpec) -> list[str]:
    return [study_stage(spec.task["signal"], spec.task["method"])]


def _retraining_names(run: Run, spec: JobSpec) -> list[str]:
    return [f"{name} {what}" for name in _study_name(run, spec) for what in ("injection", "retraining")]


def _analyse(run: Run, _: JobSpec) -> None:
    """Fits, p-values, limits."""
    scan(run)
    if run.config.limits is not None:
        conclude_limits(run)


def _last_names(run: Run, _: JobSpec) -> list[str]:
    return ["scan", *(["limit"] if run.config.limits is not None else [])]


_WORK: dict[str, Callable[[Run, JobSpec, Path], int]] = {
    "survey": _event_work(survey_part),
    "skim": _event_work(skim_part),
    "hist": _event_work(histogram_part),
    "train": _train,
    "limit": _stage_work(_study_name, _study),
    "vary": _event_work(partial(skim_part, varied=True)),
    "retrain": _stage_work(_retraining_names, _retrain),
    "analyse": _stage_work(_last_names, _analyse),
}
