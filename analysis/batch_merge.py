"""What batch jobs made, checked and put together: a stage is merged from all its jobs, each once, or not at all."""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from analysis.accounts import keep_account
from analysis.batch_job import ACCOUNT, RESULTS
from analysis.batch_plan import PARTIALS, config_hash, pass_name, passes
from analysis.limit_pipeline import vary
from analysis.pipeline import histogram, skim, train
from analysis.run import Run
from analysis.stages import forget_survey, planned
from condor.account import complete
from condor.campaign import Campaign, Folder
from condor.jobs import MANIFEST, OUT, JobSpec, Stage
from data.errors import ConfigError, IncompleteError
from data.files import atomic_path, read_json
from data.manifest import code_version
from data.partials import PartialStore
from data.remote_files import copy_out
from processors.account import Account, ChunkFailure, FileAccount, covered, settle
from processors.lund_reweighting_survey import told_as_survey

_LOG = logging.getLogger("oddjet")


def check_same(run: Run, campaign: Campaign) -> None:
    """Refuse to go on with a submission of other code or another configuration.

    Raises
    ------
    ConfigError
        If it is.
    """
    if campaign.code_version != code_version():
        msg = (
            f"{run.root}: submitted with code {campaign.code_version} (commit {campaign.commit}), here runs "
            f"{code_version()}; check that commit out, or submit again with --out"
        )
        raise ConfigError(msg)
    if campaign.config_hash != config_hash(run):
        msg = (
            f"{run.root}: submitted with another configuration; give the same one, or submit again with --out"
        )
        raise ConfigError(msg)


def merge_stage(run: Run, folder: Folder, campaign: Campaign, stage: Stage) -> None:
    """Check the jobs of a stage and put together what they made.

    Parameters
    ----------
    run
        The run; what the stages before made is there.
    folder, campaign
        Its submission.
    stage
        The stage.

    Raises
    ------
    IncompleteError
        If a job has no valid manifest, or an entry was not read exactly once.
    ConfigError
        If code or configuration are not those of the submission.
    """
    check_same(run, campaign)
    record = campaign.stages[stage]
    try:
        manifests = complete(record.jobs, folder.jobs, record.files)
    except IncompleteError as error:
        msg = f"stage '{stage}': {error}"
        raise IncompleteError(msg) from None
    _MERGE[stage](run, folder, record.jobs)
    again = sum(manifest.attempt > 1 for manifest in manifests)
    _LOG.info("stage %s: %d jobs merged, %d of them after several tries", stage, len(manifests), again)


def _merge_survey(run: Run, folder: Folder, jobs: Sequence[JobSpec]) -> None:
    """Give what was found to the passes that there are over each sample."""
    for job in jobs:
        sample = job.task["sample"]
        for stage, samples in passes(run).items():
            if sample in samples:
                _place(folder, job, run.store(pass_name(stage, sample)))


def _merge_events(work: Callable[[Run], None], run: Run, folder: Folder, jobs: Sequence[JobSpec]) -> None:
    for job in jobs:
        _place(folder, job, run.store(pass_name(job.stage, job.task["sample"])))
    work(run)
    stage = jobs[0].stage
    survey = folder.read().stages.get("survey") if stage == "skim" else None
    for sample in passes(run)[stage]:
        own = _of_sample(jobs, sample)
        # as in a local run, where the first pass looks through the sample before it begins
        before = _of_sample(survey.jobs if survey is not None else (), sample)
        # files without any event make no job, and they are all read nevertheless
        account = (
            account_of_jobs(folder, own, before) if own else settle(planned(run, run.samples[sample]), ())
        )
        name = pass_name(stage, sample)
        keep_account(run, name, account)
        run.store(name).remove()  # a stage that was up to date has left it


def _of_sample(jobs: Sequence[JobSpec], sample: str) -> list[JobSpec]:
    return [job for job in jobs if job.task["sample"] == sample]


def account_of_jobs(folder: Folder, jobs: Sequence[JobSpec], surveys: Sequence[JobSpec] = ()) -> Account:
    """The account of the jobs of a sample: entries of jobs that were started several times count as retried.

    Parameters
    ----------
    folder
        The submission.
    jobs
        Those of a pass over the sample.
    surveys
        Those that looked through it before: what went wrong in them stands in the account, too.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    again: dict[str, list[tuple[int, int]]] = {}
    failures: list[ChunkFailure] = []
    for job in [*jobs, *surveys]:
        out = folder.jobs / job.name / OUT
        account = read_json(out / ACCOUNT)
        own = tuple(ChunkFailure(**failure) for failure in account["failures"])
        failures += told_as_survey(own) if job.stage == "survey" else own
        for one in own:
            if one.attempts > 1:
                again.setdefault(one.file, []).append((one.start, one.stop))
        for part in job.entries if read_json(out / MANIFEST)["attempt"] > 1 else ():
            again.setdefault(part.file, []).append((part.start, part.stop))
        for file in account["files"] if job.stage != "survey" else ():
            count = counts.setdefault((file["sample"], file["file"]), Counter())
            count.update({name: file[name] for name in ("expected", "processed", "selected", "failed")})
    lines = [
        FileAccount(sample, file, **count, retried=covered(again.get(file, ())))
        for (sample, file), count in counts.items()
    ]
    return Account(tuple(lines), tuple(sorted(failures)))


def _merge_training(run: Run, folder: Folder, jobs: Sequence[JobSpec]) -> None:
    stores = {job.name: run.store(f"train {job.task['method']} {job.task['window']}") for job in jobs}
    for job in jobs:
        _place(folder, job, stores[job.name])
    train(run, only_merge=True)
    for store in stores.values():
        store.remove()


def _merge_results(run: Run, folder: Folder, jobs: Sequence[JobSpec]) -> None:
    """Copy files into the run folder, the manifests of their stages last, and from there where outputs should go."""
    for job in jobs:
        results = folder.jobs / job.name / OUT / RESULTS
        names = _made(folder, job, RESULTS)
        for name in sorted(names, key=lambda name: name.parts[0] == "manifests"):
            with atomic_path(run.root / name) as temporary:
                shutil.copyfile(results / name, temporary)
        if run.config.run.copy_to is not None:
            for name in names:
                if name.parts[0] == "manifests":
                    copied = copy_out(
                        run.root, run.root / name, run.config.run.copy_to, timeout=run.data.sites.timeout
                    )
                    _LOG.info("%s: %d files copied to %s", name.stem, copied, run.config.run.copy_to)


def _place(folder: Folder, job: JobSpec, store: PartialStore) -> None:
    """Put the results of a job among those of the run: the same file under two names where the disk allows it."""
    source = folder.jobs / job.name / OUT / PARTIALS
    for name in _made(folder, job, PARTIALS):
        path, place = source / name, store.folder / name
        if place.is_file():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:  # another file system, or one without links
            with atomic_path(place) as temporary:
                shutil.copyfile(path, temporary)


def _made(folder: Folder, job: JobSpec, below: str) -> list[Path]:
    """What the manifest of a job lists below a folder of its output: an earlier try may have left other files there."""
    outputs = [Path(name) for name in read_json(folder.jobs / job.name / OUT / MANIFEST)["outputs"]]
    return sorted(name.relative_to(below) for name in outputs if name.parts[0] == below)


def _vary_all(run: Run) -> None:
    for signal in passes(run)["vary"]:
        vary(run, signal, only_merge=True)
        forget_survey(run, signal)  # a local run that was killed has left it


_MERGE: dict[str, Callable[[Run, Folder, Sequence[JobSpec]], None]] = {
    "survey": _merge_survey,
    "skim": partial(_merge_events, partial(skim, only_merge=True)),
    "train": _merge_training,
    "hist": partial(_merge_events, partial(histogram, only_merge=True)),
    "limit": _merge_results,
    "vary": partial(_merge_events, _vary_all),
    "retrain": _merge_results,
    "analyse": _merge_results,
}
