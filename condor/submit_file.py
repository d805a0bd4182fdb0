"""Texts of submit files, DAGs and wrappers: pure functions, so that every line can be looked at before it is used.

A job that fails is held, not lost: HTCondor starts it again by itself a few times, with more memory, on another
machine, and then keeps it held with its reason. A job that leaves the queue without its output, removed by somebody,
fails its node; DAGMan then submits the stage again, of which a script has listed what is missing.
"""

import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from condor.jobs import ERRORS, OUT, OUTPUT, SPEC
from condor.profile import Profile
from data.errors import ConfigError

SKIP = 100
"""Exit code of a node's first script where nothing is missing."""
LATER = 75
"""Exit code of a node's scripts while another command holds the run folder: DAGMan runs them again."""
_LATER_S = 30
DONE = "OddjetDone"
"""Attribute of a job that has nothing left to do, and is only started to leave the queue with exit code 0."""
HOLD_POLICY, HOLD_MEMORY = 3, 34
MEMORY_SUBCODE = 34
"""Subcode of our own hold for memory, which has the code of all holds by policy; exit codes have their own number."""
_MEMORY_STEP = (
    256  # MB; every other value of request_memory would be a group of jobs of its own to the negotiator
)
_TRANSFER = (12, 13)  # output or input could not be moved


@dataclass(frozen=True)
class StageFiles:
    """What a stage's submit file is made of.

    Attributes
    ----------
    stage
        Its name.
    folder
        The work folder; jobs have folders of their own below ``folder/jobs``.
    inputs
        Files and folders that every job of the stage is given, besides its own specification.
    own
        Whether each job is also given a file of its own, named in its line of the list.
    container
        Image that the jobs run in.
    proxy
        X.509 proxy that the jobs are given.
    """

    stage: str
    folder: Path
    inputs: tuple[Path, ...]
    own: bool = False
    container: str | None = None
    proxy: Path | None = None


def submit_file(stage: StageFiles, profile: Profile) -> str:
    """The submit file of a stage: one cluster, one job a line of its list.

    Parameters
    ----------
    stage
        The stage.
    profile
        The site.

    Returns
    -------
    str
        Reads the names of the jobs and the memory of their first try from ``folder/STAGE.list``.

    Raises
    ------
    ConfigError
        If a path holds what submit files cannot carry.
    """
    folder = plain_path(stage.folder)
    request = profile.request
    lines = {
        "universe": "vanilla",
        "executable": f"{folder}/job.sh",
        "initialdir": f"{folder}/jobs/$(job)",
        "output": OUTPUT,
        "error": ERRORS,
        "log": f"{folder}/logs/{stage.stage}.log",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": ", ".join(
            [SPEC, *(plain_path(path) for path in stage.inputs), *(["$(own)"] if stage.own else [])]
        ),
        "transfer_output_files": OUT,
        "request_cpus": str(request.cpus),
        "request_disk": f"{request.disk_mb}MB",
        "request_memory": memory_request(profile),
        **_failures(profile),
        **_machine(profile),
        "environment": '"' + " ".join(f"{k}='{v}'" for k, v in sorted(profile.environment.items())) + '"',
        "MY.OddjetRun": f'"{folder}"',
        "MY.OddjetJob": '"$(job)"',
    }
    if stage.container is not None:
        lines |= _container(stage.container, profile)
    if stage.proxy is not None:
        lines |= {"use_x509userproxy": "True", "x509userproxy": plain_path(stage.proxy)}
    lines |= profile.submit
    text = "\n".join(f"{name} = {value}" for name, value in lines.items())
    columns = "job,memory,own" if stage.own else "job,memory"
    return f"# {stage.stage}: written by oddjet\n{text}\nqueue {columns} from {folder}/{stage.stage}.list\n"


def memory_request(profile: Profile, first: str = "$(memory)") -> str:
    """What a job asks for: ``first`` at first; after a hold, no less than the try before had, after one for memory more.

    Parameters
    ----------
    profile
        The site.
    first
        MB of the first try, and the least of those after it; by default what the list says.

    Returns
    -------
    str
        Expression, MB.

    Notes
    -----
    A job that is killed at its limit may have been seen well below it: what it was given counts as well as what it
    used. Where the first try asks for more than the most, later ones do so too. A running job asks for what it
    has: some machines look again when it starts.
    """
    request = profile.request
    known = [f"ifThenElse({name} =?= undefined, 0, {name})" for name in ("MemoryUsage", "MemoryProvisioned")]
    had = f"max({{{', '.join(known)}}})"
    grown = f"quantize(int({had} * {request.memory_growth:g}), {_MEMORY_STEP})"
    next_try = f"ifThenElse(JobStatus =!= 2 && {_held_for_memory('LastHoldReason')}, {grown}, {had})"
    more = f"max({{{first}, min({{{request.memory_most_mb}, {next_try}}})}})"
    return f"ifThenElse(NumHolds =?= undefined || NumHolds == 0, {first}, {more})"


def _held_for_memory(reason: str) -> str:
    """Whether the hold that these attributes tell of was for memory: the pool's, with and without control groups, or ours."""
    code, subcode = f"{reason}Code", f"{reason}SubCode"
    return (
        f"({code} =?= {HOLD_MEMORY} || ({code} =?= 21 && {subcode} =?= 102)"
        f" || ({code} =?= {HOLD_POLICY} && {subcode} =?= {MEMORY_SUBCODE}))"
    )


def _failures(profile: Profile) -> dict[str, str]:
    """Hold what failed with its exit code or for its memory; release it until it was tried often enough."""
    ours = " || ".join(f"HoldReasonCode =?= {code}" for code in (HOLD_POLICY, *_TRANSFER))
    return {
        "on_exit_hold": "ExitCode =!= 0",
        "on_exit_hold_reason": 'ifThenElse(ExitBySignal =?= True, strcat("killed by signal ", ExitSignal), '
        'strcat("exit code ", ExitCode))',
        "on_exit_hold_subcode": "ifThenElse(ExitBySignal =?= True, 128 + ExitSignal, ExitCode)",
        "periodic_hold": "JobStatus == 2 && MemoryUsage =!= undefined && MemoryProvisioned =!= undefined"
        " && MemoryUsage > MemoryProvisioned",
        "periodic_hold_reason": 'strcat("memory: ", MemoryUsage, " MB used of ", MemoryProvisioned)',
        "periodic_hold_subcode": str(MEMORY_SUBCODE),
        "periodic_release": f"({ours} || {_held_for_memory('HoldReason')}) && NumShadowStarts < {profile.tries}"
        f" && (time() - EnteredCurrentStatus) > {profile.pause_s}",
    }


def _machine(profile: Profile) -> dict[str, str]:
    other = "TARGET.Machine =!= splitSlotName(LastRemoteHost)[1]"
    # A job that is only to end may do so anywhere.
    last = f"LastRemoteHost =?= undefined || {DONE} =?= True || {other}"
    demands = [profile.requirements, last if profile.avoid_last_machine else ""]
    together = " && ".join(f"({demand})" for demand in demands if demand)
    return {"requirements": together} if together else {}


def _container(image: str, profile: Profile) -> dict[str, str]:
    if not profile.container:
        msg = "batch.container names an image, but the profile does not say how jobs are put into one; add its key 'container'"
        raise ConfigError(msg)
    return {name: value.replace("{image}", image) for name, value in profile.container.items()}


def dag_file(folder: Path, stages: Sequence[str], profile: Profile) -> str:
    """The DAG: the stages in order; before each a script lists what is missing, after it one checks and merges.

    Parameters
    ----------
    folder
        The work folder, with ``STAGE.sub`` and ``script.sh``.
    stages
        Their names.
    profile
        The site.
    """
    here = plain_path(folder)
    lines = ["# written by oddjet", f"CONFIG {here}/dagman.config"]
    for stage in stages:
        lines += [
            f"JOB {stage} {here}/{stage}.sub",
            f"SCRIPT DEFER {LATER} {_LATER_S} PRE {stage} {here}/script.sh pending {stage}",
            f"PRE_SKIP {stage} {SKIP}",
            f"SCRIPT DEFER {LATER} {_LATER_S} POST {stage} {here}/script.sh merge {stage}",
            f"RETRY {stage} {profile.node_retries}",
        ]
    lines += [f"PARENT {one} CHILD {other}" for one, other in itertools.pairwise(stages)]
    return "\n".join(lines) + "\n"


def dagman_config() -> str:
    """Settings of DAGMan: by default it removes a whole stage after 100 holds of any of its jobs."""
    return "DAGMAN_MAX_JOB_HOLDS = 0\n"


def job_list(jobs: Iterable[Sequence[str]]) -> str:
    """The list that a submit file queues from: a job's name, memory (MB), and file of its own, a line each."""
    return "".join(", ".join(columns) + "\n" for columns in jobs)


def wrapper(python: Sequence[str], wheel: str, workers: int, environment: Mapping[str, str]) -> str:
    """What a job runs: unpacks the code, starts the program, and leaves with its exit code.

    Parameters
    ----------
    python
        Command that starts Python on the worker.
    wheel
        File name of oddjet's wheel.
    workers
        Processes of the job.
    environment
        Variables of threads and caches, as bash reads them.
    """
    exports = "".join(f"export {name}={value}\n" for name, value in environment.items())
    start = shlex.join(python)
    # Jobs are given folders called like our packages: Python must not look for code in the current folder.
    return (
        "#!/usr/bin/env bash\n"
        "# One job of oddjet; its exit code is that of the program.\n"
        "set -euo pipefail\n"
        f"mkdir -p {OUT}  # HTCondor holds a job whose output is not there, and hides why it failed\n"
        f"grep -qis '^{DONE} *= *true' \"${{_CONDOR_JOB_AD:-}}\" && exit 0\n"
        'export PYTHONPATH="$PWD/code" PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1\n'
        f"{exports}"
        f"{start} -m zipfile -e {shlex.quote(wheel)} code\n"
        f"exec {start} -c 'from analysis.cli import main; main()' job {SPEC} --workers {workers}\n"
    )


def script(python: Sequence[str], folder: Path, credentials: Mapping[str, Path]) -> str:
    """What DAGMan runs on the submit machine: ``pending STAGE`` or ``merge STAGE``, with the code that was submitted.

    Where nothing is pending, the stage is merged at once.

    Parameters
    ----------
    python
        Command that starts Python here.
    folder
        The work folder.
    credentials
        Variables that name where a proxy or a token is, which DAGMan does not hand on.
    """
    here = plain_path(folder)
    start = shlex.join(python)
    known = "".join(f"export {name}={plain_path(path)}\n" for name, path in sorted(credentials.items()))
    return (
        "#!/usr/bin/env bash\n"
        "# DAGMan keeps nothing of what its scripts say.\n"
        "set -euo pipefail\n"
        f'exec >> "{here}/logs/$2.script.log" 2>&1\n'
        f'export PYTHONPATH="{here}/code" PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1\n{known}'
        "if [[ $1 == pending ]]; then\n"
        f'  code=0; {start} -c \'from condor.pending import main; main()\' "$2" "{here}" || code=$?\n'
        f"  [[ $code == {SKIP} ]] || exit $code\n"
        "fi\n"
        f'{start} -c \'from analysis.cli import main; main()\' node "$2" "{here}"\n'
        f"[[ $1 != pending ]] || exit {SKIP} # nothing was missing: the stage is merged, and needs no job\n"
    )


def plain_path(path: Path) -> str:
    """A path as submit files and DAGs can carry it.

    Raises
    ------
    ConfigError
        If it holds white space, a quote, a comma, a dollar sign, a backslash or a semicolon.
    """
    text = str(path)
    if any(character.isspace() or character in "\"',$\\;" for character in text):
        msg = f"'{text}': HTCondor's files cannot carry this path; use one of letters, digits, '/', '.', '_' and '-'"
        raise ConfigError(msg)
    return text
