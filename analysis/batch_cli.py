"""The commands that submit a run to HTCondor and bring its results home: submit, status, resubmit, merge."""

import dataclasses
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import (
    ConfigArgument,
    JsonOption,
    OutOption,
    RegionOption,
    SetOption,
    conclude,
    prepare,
    working,
)
from condor.campaign import Campaign, Folder, check_other, check_place, set_memory, write_campaign
from condor.jobs import Stage
from condor.profile import Profile
from condor.queue import check_tools, has_queue, let_go, queued, release, removal, submit_dag
from condor.status import Status, status_document, status_lines, status_of
from condor.submit_file import LATER, memory_request
from data.credentials import check_credentials, check_target, find_credentials
from data.errors import BatchError, CredentialError, LockedError
from data.files import read_json, write_json
from data.locks import run_lock
from data.manifest import code_version
from data.samples import Sample
from data.xrootd import is_remote

if TYPE_CHECKING:
    from analysis.run import Run


app = typer.Typer()
RUN = "run.json"
"""In the work folder: configuration, samples and hashes of the input files, for the scripts of the DAG."""
_LOG = logging.getLogger("oddjet")
_LEAVE = 1
_PLACES = ("X509_USER_PROXY", "BEARER_TOKEN_FILE")
_SERVICES = "use_oauth_services"

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Write everything, submit nothing.")]
MemoryOption = Annotated[
    int | None, typer.Option("--memory", min=1, help="MB that the jobs ask for from now on, at least.")
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
    from analysis.batch_folder import folder_of
    from analysis.batch_plan import (
        campaign_of,
        config_hash,
        look,
        payload_of,
        site_of,
        write_plans,
    )
    from processors.look import check_same_sources

    folder, profile = folder_of(run), site_of(run.config.batch)
    if not dry_run:
        check_place(folder, profile)
        check_tools()
    check_tokens(run, profile)
    proxy = proxy_of(run, profile)
    if run.config.run.copy_to is not None:
        check_target(run.config.run.copy_to, run.samples.values())
    with run_lock(run.root):  # until DAGMan is in the queue; its scripts wait for it
        _check_free(folder, dry_run=dry_run)
        check_other(folder, code_version(), config_hash(run))
        check_same_sources(run.samples.values(), run.config.events())
        plans = look(run)
        campaign = campaign_of(run, plans, profile)
        write_plans(run, plans)
        write_json(folder.path / RUN, _as_json(run))
        credentials = credentials_of_scripts(run, proxy)
        write_campaign(folder, campaign, payload_of(run), proxy=proxy, credentials=credentials)
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
    run = prepare(config, out, None, settings, region)
    from analysis.batch_folder import folder_of

    folder = folder_of(run)
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
    from analysis.batch_folder import folder_of
    from analysis.batch_merge import check_same

    folder = folder_of(run)
    campaign = folder.read()
    check_same(run, campaign)
    with run_lock(run.root):
        _resubmit(folder, campaign, memory)


def _resubmit(folder: Folder, campaign: Campaign, memory: int | None) -> None:
    status = status_of(folder, campaign, queued(folder.path))
    if status.complete and not status.all_held:
        typer.echo("every job has a valid manifest: nothing to submit; `oddjet merge` puts them together")
        return
    if status.strays:
        msg = (
            f"{folder.path}: {len(status.strays)} jobs are in the queue without their DAGMan, and would run twice; "
            f"remove them with `{removal(folder.path)}`, then resubmit"
        )
        raise BatchError(msg)
    lacking = {stage: specs for stage, specs in status.lacking.items() if specs}
    if memory is not None:
        set_memory(folder, campaign, lacking, memory)
    if status.dag is None:
        typer.echo(submit_dag(folder.path, f"oddjet {folder.path.parent.name}").strip())
        number = sum(len(specs) for specs in lacking.values())
        typer.echo(f"{number} of {campaign.job_count()} jobs lack a valid manifest and run again")
    elif status.all_held:
        _release(status, None if memory is None else memory_request(campaign.profile, str(memory)))
    else:
        typer.echo("nothing is held: what is missing is in the queue or comes there by itself")
        if memory is not None:
            typer.echo(f"jobs that come there from now on ask for {memory} MB")


def _release(status: Status, memory: str | None) -> None:
    """Start held jobs once more; those whose output is whole only leave the queue."""
    spare = status.spare
    if spare:
        let_go(spare)
        typer.echo("let go, as their output is whole: " + ", ".join(job.name or job.number for job in spare))
    if held := [job for job in status.all_held if job not in spare]:
        release(held, memory)
        typer.echo("released: " + ", ".join(job.name or f"DAGMan's own job {job.number}" for job in held))


@app.command(name="merge", epilog="Example: oddjet merge search.yaml")
def merge_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Check the jobs of every stage and put together what they made; refused where anything is missing or doubled."""
    run = prepare(config, out, None, settings, region)
    from analysis.batch_folder import folder_of
    from analysis.batch_merge import check_same, merge_stage
    from analysis.pipeline import write_run_report

    folder = folder_of(run)
    campaign = folder.read()
    check_same(run, campaign)
    run = dataclasses.replace(run, known_identities=read_json(folder.path / RUN)["identities"])
    with working(run):
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
    from analysis.batch_job import run_job

    run_job(spec, workers=workers)


@app.command(name="node", hidden=True)
def node_command(
    stage: Annotated[Stage, typer.Argument()],
    folder: Annotated[Path, typer.Argument(metavar="WORK_FOLDER")],
) -> None:
    """What DAGMan runs after a stage, and instead of one that is done: check and merge it."""
    from analysis.batch_merge import merge_stage

    work = Folder(folder)
    try:
        with run_lock(folder.parent):
            merge_stage(_from_json(work), work, work.read(), stage)
    except LockedError as error:
        _LOG.info("stage %s, merge: later, as %s", stage, error)
        raise typer.Exit(LATER) from None


def _check_free(folder: Folder, *, dry_run: bool) -> None:
    """Refuse to write over what jobs in the queue are made of."""
    if dry_run and not (folder.campaign.is_file() and has_queue()):
        return
    if present := queued(folder.path):
        msg = f"{folder.path}: {len(present)} jobs of this run are in the queue already; see `oddjet status`"
        raise BatchError(msg)


def proxy_of(run: "Run", profile: Profile) -> Path | None:
    """The X.509 proxy that the jobs are given: where samples demand one, or the profile does and they demand no token.

    Raises
    ------
    CredentialError
        If there is none, it ends too soon, or it lies where the pool does not see it.
    """
    samples = [
        sample
        for sample in run.samples.values()
        if sample.sites.credential == "proxy" or (profile.proxy and sample.sites.credential is None)
    ]
    files = _addresses(samples)
    if not any(is_remote(address) for address in files):
        return None
    hours = max(profile.proxy_hours, *(sample.sites.hours for sample in samples))
    try:
        check_credentials(files, "proxy", hours)
    except CredentialError as error:
        msg = f"jobs are given a proxy that is valid for {hours:g} h (proxy_hours of the profile): {error}"
        raise CredentialError(msg) from None
    place = next(Path(one.place) for one in find_credentials(os.environ, "proxy"))
    if profile.proxy_from and not any(
        place.resolve().is_relative_to(folder) for folder in profile.proxy_from
    ):
        seen = ", ".join(str(folder) for folder in profile.proxy_from)
        msg = f"the pool does not see the proxy {place}; copy it below {seen}, and name the copy in X509_USER_PROXY"
        raise CredentialError(msg)
    return place.absolute()


def check_tokens(run: "Run", profile: Profile) -> None:
    """Refuse to submit jobs whose servers demand a token where the profile does not give them one.

    Raises
    ------
    CredentialError
        Naming the sample.
    """
    if any(name.lower() == _SERVICES for name in profile.submit):
        return
    for sample in run.samples.values():
        if sample.sites.credential == "token" and any(map(is_remote, _addresses([sample]))):
            msg = (
                f"sample '{sample.name}': its servers demand a token (sites.credential), and jobs would be given none; "
                f"name the pool's token service in a profile of your own, as in submit: {{{_SERVICES}: scitokens}}"
            )
            raise CredentialError(msg)


def credentials_of_scripts(run: "Run", proxy: Path | None) -> dict[str, Path]:
    """Where the scripts of the DAG find what they copy outputs and read inputs with: variables and their paths.

    Parameters
    ----------
    run
        The run.
    proxy
        That of the jobs.

    Returns
    -------
    dict of str to Path
        The jobs' proxy, and what this process's environment names where any file of the run is remote.
    """
    files = [*_addresses(run.samples.values()), str(run.config.run.copy_to)]
    named = {name: os.environ.get(name) for name in _PLACES if any(map(is_remote, files))}
    found = {name: Path(place).absolute() for name, place in named.items() if place}
    return found if proxy is None else found | {"X509_USER_PROXY": proxy}


def _addresses(samples: Iterable[Sample]) -> list[str]:
    return [address for one in samples for file in one.files for address in one.access(file).addresses]


def _as_json(run: "Run") -> dict[str, object]:
    config = run.config.model_copy(
        update={"run": run.config.run.model_copy(update={"output": run.root.resolve()})}
    )
    samples = {name: sample.model_dump(mode="json") for name, sample in run.samples.items()}
    return {"config": config.model_dump(mode="json"), "samples": samples, "identities": run.identities}


def _from_json(folder: Folder) -> "Run":
    """The run of a submission, as it was submitted."""
    from analysis.config import Config
    from analysis.run import Run

    content = read_json(folder.path / RUN)
    samples = {name: Sample.model_validate(value) for name, value in content["samples"].items()}
    return Run(Config.parse(content["config"], str(folder.path / RUN)), samples, content["identities"])
