"""Where a submission stands, from the jobs' manifests and the queue."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from condor.campaign import DAG, Campaign, Folder, lacking_by_stage
from condor.jobs import ERRORS, JobSpec, Stage
from condor.queue import QueuedJob, removal

_MOST_NAMED = 20
_TAIL = 4000  # bytes of a log in which its last line is looked for


@dataclass(frozen=True)
class StageStatus:
    """Jobs of a stage by what has become of them.

    Attributes
    ----------
    jobs, done
        All, and those with a valid manifest.
    running, idle, held
        In the queue, without one.
    waiting
        Neither done nor in the queue.
    """

    stage: str
    jobs: int
    done: int
    running: int
    idle: int
    held: int
    waiting: int


@dataclass(frozen=True)
class Status:
    """A whole submission."""

    stages: tuple[StageStatus, ...]
    held: tuple[QueuedJob, ...]
    dag: QueuedJob | None
    """DAGMan's own job; None where it has left the queue."""
    lacking: Mapping[Stage, Sequence[JobSpec]]
    """The jobs without a valid manifest."""
    strays: tuple[QueuedJob, ...] = ()
    """Jobs in the queue whose DAGMan has left it."""
    again: int = 0
    """Idle jobs that were started before and lack a valid manifest."""
    leaving: int = 0
    """Idle jobs with a valid manifest, as those that were let go: their stage waits until they have left the queue."""

    @property
    def complete(self) -> bool:
        """Whether every job is done."""
        return all(stage.done == stage.jobs for stage in self.stages)

    @property
    def spare(self) -> tuple[QueuedJob, ...]:
        """The held jobs that have a valid manifest, as those that crashed when all was written: they only bar the way."""
        wanted = {spec.name for specs in self.lacking.values() for spec in specs}
        return tuple(job for job in self.held if job.name not in wanted)

    @property
    def all_held(self) -> tuple[QueuedJob, ...]:
        """The held jobs, DAGMan's own among them."""
        return (*self.held, *([self.dag] if self.dag is not None and self.dag.state == "held" else []))

    @property
    def stuck(self) -> bool:
        """Whether somebody must do something: a job or DAGMan's own is held, or DAGMan left before all was done."""
        return bool(self.all_held) or (self.dag is None and not self.complete)


def status_of(folder: Folder, campaign: Campaign, queue: Sequence[QueuedJob]) -> Status:
    """The status of a submission.

    Parameters
    ----------
    folder, campaign
        The submission.
    queue
        Its jobs in the queue, DAGMan's own among them.
    """
    lacking = lacking_by_stage(folder, campaign)
    named = {job.name: job for job in queue if job.name is not None}
    there = [job for job in queue if job.state not in {"removed", "completed"}]
    own = [job for job in there if job.name is None]
    stages = tuple(
        _stage_status(stage, len(campaign.stages[stage].jobs), specs, named)
        for stage, specs in lacking.items()
    )
    wanted = {spec.name for specs in lacking.values() for spec in specs}
    held = tuple(job for _, job in sorted(named.items()) if job.state == "held")
    strays = () if own else tuple(there)
    idle = {name: job for name, job in named.items() if job.state == "idle"}
    again = sum(job.starts > 0 and name in wanted for name, job in idle.items())
    leaving = sum(name not in wanted for name in idle)
    return Status(stages, held, own[0] if own else None, lacking, strays, again, leaving)


def _stage_status(
    stage: Stage, jobs: int, lacking: Sequence[JobSpec], queue: Mapping[str, QueuedJob]
) -> StageStatus:
    states = Counter(queue[spec.name].state for spec in lacking if spec.name in queue)
    running, idle, held = states["running"] + states["suspended"], states["idle"], states["held"]
    waiting = len(lacking) - running - idle - held
    return StageStatus(stage, jobs, jobs - len(lacking), running, idle, held, waiting)


def status_lines(status: Status, folder: Folder) -> list[str]:
    """A status in words: one line a stage, then the held jobs, each with its reason and its log, then what to do."""
    columns = ("stage", "jobs", "done", "running", "idle", "held", "waiting")
    lines = ["  ".join(f"{name:>8}" for name in columns)]
    for stage in status.stages:
        values = (stage.stage, *(getattr(stage, name) for name in columns[1:]))
        lines.append("  ".join(f"{value:>8}" for value in values))
    spare = set(status.spare)
    for job in status.held[:_MOST_NAMED]:
        log = folder.jobs / (job.name or "") / ERRORS
        tries = "1 try" if job.starts == 1 else f"{job.starts} tries"
        lines += [
            f"held: job '{job.name}' ({job.number}) after {tries}: {_why(job)}",
            f"  log: {log}",
        ]
        if job in spare:
            lines.append(
                "  its output is whole: `oddjet resubmit` lets it leave the queue; until it does its stage waits"
            )
        if words := last_line(log):
            lines.append(f"  last line: {words}")
    if len(status.held) > _MOST_NAMED:
        lines.append(f"… and {len(status.held) - _MOST_NAMED} more held jobs")
    lines += [
        f"held: DAGMan's own job ({job.number}): {_why(job)}; until it runs no stage begins or ends"
        for job in status.all_held
        if job.name is None
    ]
    if status.again:
        lines.append(
            f"{status.again} idle jobs were started before; with avoid_last_machine of the profile each waits for a "
            "machine other than its last"
        )
    if status.leaving:
        lines.append(
            f"{status.leaving} idle jobs whose output is whole wait for a machine to end on at once; until they do "
            "their stage waits"
        )
    return [*lines, _advice(status, folder)]


def status_document(status: Status) -> dict[str, Any]:
    """A status for programs: plain values, with what `Status` says of itself; jobs without a manifest by their names."""
    return {
        **asdict(replace(status, lacking={})),
        "lacking": {stage: [spec.name for spec in specs] for stage, specs in status.lacking.items()},
        "complete": status.complete,
        "stuck": status.stuck,
    }


def _why(job: QueuedJob) -> str:
    return f"{job.reason} [code {job.code}, subcode {job.subcode}]"


def _advice(status: Status, folder: Folder) -> str:
    if status.complete and not status.all_held:
        return "all jobs are done; `oddjet merge` checks and puts together what DAGMan has not yet"
    if status.strays:
        return f"DAGMan has left the queue, its jobs have not: remove them with `{removal(folder.path)}`, then `oddjet resubmit`"
    if status.all_held:
        return "mend the cause, then `oddjet resubmit`; jobs whose tries are not used up start again by themselves"
    if status.dag is None and not (folder.path / f"{DAG}.dagman.out").is_file():
        return "not submitted yet: `oddjet submit` does it"
    if status.dag is None:
        return f"DAGMan has left the queue: see {folder.path / f'{DAG}.dagman.out'} and {folder.logs}, then `oddjet resubmit`"
    return f"DAGMan's job is {status.dag.state}"


def last_line(log: Path) -> str:
    """The last line of a log that holds something; empty where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - _TAIL, 0))
        lines = stream.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
