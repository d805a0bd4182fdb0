"""The commands that submit a run to HTCondor and bring its results home: submit, status, resubmit, merge."""

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from analysis.batch_job import run_job
from analysis.batch_merge import check_same, merge_stage
from analysis.batch_plan import campaign_of, folder_of, look, payload_of, site_of, write_plans
from analysis.cli_common import (
    ConfigArgument,
    JsonOption,
    OutOption,
    RegionOption,
    SetOption,
    conclude,
    prepare,
)
from analysis.config import Config
from analysis.pipeline import write_run_report
from analysis.run import Run
from condor.campaign import Folder, check_place, lacking_by_stage, list_missing, set_memory, write_campaign
from condor.jobs import Stage
from condor.profile import Profile
from condor.queue import queued, release, submit_dag
from condor.status import status_document, status_lines, status_of
from condor.submit_file import SKIP
from data.credentials import check_credentials, find_credentials
from data.errors import BatchError
from data.files import read_json, write_json
from data.locks import run_lock
from data.samples import Sample
from data.xrootd import is_remote
from processors.run import check_same_sources

app = typer.Typer()
RUN = "run.json"
"""In the work folder: configuration and samples, for the scripts of the DAG."""
_LOG = logging.getLogger("oddjet")
_LEAVE = 1

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Write everything, submit nothing.")]
MemoryOption = Annotated[
    int | None, typer.Option("--memory", min=1, help="MB that the jobs ask for from now on.")
]


@app.command(name="submit", epilog="Example: oddjet submit search.yaml --set batch.profile=lxplus --dry-run")
def submit_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Submit all stages of a search to HTCondor, as one DAG."""
    run = prepare(config, out, None, settings, region)
    folder, profile = folder_of(run), site_of(run.config.batch)
    if not dry_run:
        check_place(folder, profile)
        if present := queued(folder.path):
            msg = f"{folder.path}: {len(present)} jobs of this run are in the queue already; see `oddjet status`"
            raise BatchError(msg)
    proxy = _proxy(run, profile)
    with run_lock(run.root):
        check_same_sources(run.samples.values(), run.config.events())
        plans = look(run)
        campaign = campaign_of(run, plans, profile)
        write_plans(run, plans)
        write_json(folder.path / RUN, _as_json(run))
        write_campaign(folder, campaign, payload_of(run), proxy=proxy)
    jobs = ", ".join(f"{len(campaign.stages[stage].jobs)} {stage}" for stage in campaign.order())
    typer.echo(f"{folder.path}: {campaign.job_count()} jobs ({jobs}), code {campaign.commit}")
    if dry_run:
        typer.echo("dry run: nothing was submitted")
        return
    typer.echo(submit_dag(folder.path, f"oddjet {run.root.name}").strip())


@app.command(name="status", epilog="Example: oddjet status search.yaml")
def status_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what has become of each stage's jobs; held ones are named with reason and log. Exit code 1 if help is needed."""
    folder = folder_of(prepare(config, out, None, settings, region))
    status = status_of(folder, folder.read(), queued(folder.path))
    if as_json:
        typer.echo(json.dumps(status_document(status), indent=1, ensure_ascii=False))
    for line in () if as_json else status_lines(status, folder):
        typer.echo(line)
    if status.stuck:
        raise typer.Exit(_LEAVE)


@app.command(name="resubmit", epilog="Example: oddjet resubmit search.yaml --memory 4000")
def resubmit_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    memory: MemoryOption = None,
) -> None:
    """Start what lacks a valid manifest again: held jobs are released; without DAGMan all that is missing is submitted."""
    run = prepare(config, out, None, settings, region)
    folder = folder_of(run)
    campaign = folder.read()
    check_same(run, campaign)
    status = status_of(folder, campaign, queued(folder.path))
    if status.complete:
        typer.echo("every job has a valid manifest: nothing to submit; `oddjet merge` puts them together")
    elif status.dag is None:
        lacking = {stage: specs for stage, specs in lacking_by_stage(folder, campaign).items() if specs}
        if memory is not None:
            set_memory(folder, campaign, lacking, memory)
        typer.echo(submit_dag(folder.path, f"oddjet {run.root.name}").strip())
        number = sum(len(specs) for specs in lacking.values())
        typer.echo(f"{number} of {campaign.job_count()} jobs lack a valid manifest and run again")
    elif status.held:
        release(status.held, memory)
        typer.echo("released: " + ", ".join(job.name or job.number for job in status.held))
    else:
        typer.echo("what is missing is in the queue or comes there by itself; nothing to do")


@app.command(name="merge", epilog="Example: oddjet merge search.yaml")
def merge_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Check the jobs of every stage and put together what they made; refused where anything is missing or doubled."""
    run = prepare(config, out, None, settings, region)
    folder = folder_of(run)
    campaign = folder.read()
    with run_lock(run.root):
        for stage in campaign.order():
            merge_stage(run, folder, campaign, stage)
        write_run_report(run)
    conclude([run], limits=True)


@app.command(name="job", hidden=True)
def job_command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.json")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Run a batch job: the wrapper of the jobs calls this."""
    run_job(spec, workers=workers)


@app.command(name="node", hidden=True)
def node_command(
    action: Annotated[Literal["pending", "merge"], typer.Argument()],
    stage: Annotated[Stage, typer.Argument()],
    folder: Annotated[Path, typer.Argument(metavar="WORK_FOLDER")],
) -> None:
    """What DAGMan runs before and after a stage: list what is missing of it; check and merge it."""
    work = Folder(folder)
    campaign, run = work.read(), _from_json(work)
    with run_lock(run.root):
        if action == "pending" and (lacking := list_missing(work, stage)):
            _LOG.info("stage %s: %d of %d jobs to run", stage, len(lacking), len(campaign.stages[stage].jobs))
            return
        merge_stage(run, work, campaign, stage)
    if action == "pending":
        raise typer.Exit(SKIP)


def _proxy(run: Run, profile: Profile) -> Path | None:
    """The X.509 proxy of the jobs, valid for long enough."""
    remote = [file for sample in run.samples.values() for file in sample.files if is_remote(file)]
    if not profile.proxy or not remote:
        return None
    check_credentials(remote, "proxy", profile.proxy_hours)
    return next(Path(one.place) for one in find_credentials(os.environ) if one.kind == "proxy")


def _as_json(run: Run) -> dict[str, object]:
    config = run.config.model_copy(
        update={"run": run.config.run.model_copy(update={"output": run.root.resolve()})}
    )
    samples = {name: sample.model_dump(mode="json") for name, sample in run.samples.items()}
    return {"config": config.model_dump(mode="json"), "samples": samples}


def _from_json(folder: Folder) -> Run:
    """The run of a submission, as it was submitted."""
    content = read_json(folder.path / RUN)
    samples = {name: Sample.model_validate(value) for name, value in content["samples"].items()}
    return Run(Config.parse(content["config"], str(folder.path / RUN)), samples)
