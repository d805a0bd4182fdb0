"""What HTCondor's own commands say and do; everything else about a job is in its manifest."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from condor.submit_file import DONE, plain_path
from data.errors import BatchError

_HELD = 5
_STATES = {1: "idle", 2: "running", 3: "removed", 4: "completed", _HELD: "held", 6: "running", 7: "suspended"}
_SCHEDULER = 7  # universe of DAGMan's own job
_TIMEOUT = 120  # s
_MOST_AT_ONCE = 500
"""Jobs that one command names: its constraint is one word of a command line, of which Linux takes 128 KiB."""
_MOST_QUOTED = 2000
"""Characters of what a command says."""
_TOOLS = ("condor_q", "condor_submit", "condor_submit_dag")


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue.

    Attributes
    ----------
    number
        ``cluster.process``.
    name
        Its name; None for DAGMan's own job.
    state
        ``idle``, ``running``, ``held``, ``suspended``, ``removed`` or ``completed``.
    reason, code, subcode
        Why it is held.
    starts
        How often it was started.
    """

    number: str
    name: str | None
    state: str
    reason: str = ""
    code: int = 0
    subcode: int = 0
    starts: int = 0


def queued(folder: Path) -> list[QueuedJob]:
    """The jobs of a work folder that are in the queue, DAGMan's own among them.

    Raises
    ------
    BatchError
        If HTCondor is not there or does not answer.
    """
    attributes = (
        "ClusterId,ProcId,JobUniverse,OddjetJob,JobStatus,HoldReason,HoldReasonCode,HoldReasonSubCode,"
        "NumShadowStarts"
    )
    return _asked(_constraint(folder), attributes)


def _asked(constraint: str, attributes: str) -> list[QueuedJob]:
    return parse_queue(_run(["condor_q", "-constraint", constraint, "-json", "-attributes", attributes]))


def removal(folder: Path) -> str:
    """The command that removes the jobs of a work folder from the queue."""
    return f"condor_rm -constraint '{_constraint(folder)}'"


def _constraint(folder: Path) -> str:
    return f'OddjetRun == "{plain_path(folder)}"'


def parse_queue(text: str) -> list[QueuedJob]:
    """The jobs of ``condor_q -json``; an empty queue is an empty text."""
    found = json.loads(text) if text.strip() else []
    return [
        QueuedJob(
            number=f"{job['ClusterId']}.{job['ProcId']}",
            name=None if job.get("JobUniverse") == _SCHEDULER else job.get("OddjetJob"),
            state=_STATES.get(job.get("JobStatus", 0), "unknown"),
            reason=str(job.get("HoldReason", "")),
            code=int(job.get("HoldReasonCode", 0)),
            subcode=int(job.get("HoldReasonSubCode", 0)),
            starts=int(job.get("NumShadowStarts", 0)),
        )
        for job in found
    ]


def has_queue() -> bool:
    """Whether this machine can ask HTCondor what is in the queue."""
    return shutil.which("condor_q") is not None


def check_tools() -> None:
    """See that nothing that a submission needs is missing here, before anything is written.

    Raises
    ------
    BatchError
        Naming the first of HTCondor's commands that is.
    """
    for name in _TOOLS:
        _program(name)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        msg = (
            f"{name} is not on this machine: HTCondor is not installed here, or not in PATH; run this where the "
            "pool's jobs are submitted from (`oddjet submit --dry-run` works everywhere)"
        )
        raise BatchError(msg)
    return found


def submit_dag(folder: Path, title: str) -> str:
    """Submit the DAG of a work folder, from its beginning: its scripts skip what is done.

    Returns
    -------
    str
        What HTCondor said.

    Raises
    ------
    BatchError
        If it was refused.
    """
    return _run(
        [
            "condor_submit_dag", "-f", "-AutoRescue", "0", "-batch-name", title,
            "-append", f'MY.OddjetRun = "{plain_path(folder)}"', plain_path(folder / "oddjet.dag"),
        ],
        folder,
    )  # fmt: skip


def release(jobs: Iterable[QueuedJob], memory: str | None = None) -> None:
    """Start held jobs once more; those that are not held any more are left as they are.

    Parameters
    ----------
    jobs
        The jobs, at least one.
    memory
        Expression of the memory that they ask for from now on, MB, DAGMan's own excepted; None: as their submit file
        says.

    Raises
    ------
    BatchError
        If HTCondor refuses.
    """
    held = list(jobs)
    if memory is not None:
        own = [job for job in held if job.name is not None]
        _with_held(own, "condor_qedit", "RequestMemory", memory)
    _with_held(held, "condor_release")


def let_go(jobs: Iterable[QueuedJob]) -> None:
    """Start held jobs whose output is whole once more, with a mark by which their wrapper ends at once.

    Removing them would make DAGMan take their node for failed, and remove what else runs of it.

    Parameters
    ----------
    jobs
        The jobs, at least one.

    Raises
    ------
    BatchError
        If HTCondor refuses.
    """
    spare = list(jobs)
    # It asks for the memory that it had: what the try before used stays in its description, and whoever used more than
    # is asked for is held.
    _with_held(spare, "condor_qedit", DONE, "True", "TransferInput", '""')
    release(spare)


def _with_held(jobs: Sequence[QueuedJob], command: str, *words: str) -> None:
    """Use a command on those of some jobs that are held now: meanwhile HTCondor may have released any by itself.

    A constraint that no job meets is refused like one that may not be used, so the queue tells which of both it is.
    """
    for start in range(0, len(jobs), _MOST_AT_ONCE):
        numbers = (job.number.split(".") for job in jobs[start : start + _MOST_AT_ONCE])
        these = " || ".join(
            f"(ClusterId == {cluster} && ProcId == {process})" for cluster, process in numbers
        )
        held = f"JobStatus == {_HELD} && ({these})"
        try:
            _run([command, "-constraint", held, *words])
        except BatchError:
            if _asked(held, "ClusterId,ProcId"):
                raise


def _run(command: list[str], folder: Path | None = None) -> str:
    """Standard output of one of HTCondor's commands."""
    program = _program(command[0])
    try:
        done = subprocess.run(  # noqa: S603 - arguments are a list, and no shell reads them
            [program, *command[1:]], capture_output=True, text=True, timeout=_TIMEOUT, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired:
        msg = f"{command[0]} has not answered for {_TIMEOUT} s; try again, or ask whether the schedd is up"
        raise BatchError(msg) from None
    if done.returncode:
        words = done.stderr.strip() or done.stdout.strip()
        for long in (word for word in command if len(word) > _MOST_QUOTED):
            words = words.replace(long, "…")  # what was refused stands beside it
        words = words[-_MOST_QUOTED:]
        msg = f"{command[0]} refused (exit code {done.returncode}); see why: {words}"
        raise BatchError(msg)
    return done.stdout
