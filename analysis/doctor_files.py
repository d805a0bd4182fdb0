"""The checks of a configuration: its files, credentials, sites, methods, and the room that a run needs."""

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from analysis.doctor import Check, available_cores, available_memory, cores_check, memory_check, space_check
from analysis.plan_estimate import size_in_words
from analysis.plan_view import plan_view
from analysis.run import Run
from data.credentials import Credential, check_samples, check_target, find_credentials
from data.errors import OddjetError, ReadError
from data.samples import Sample
from data.xrootd import is_remote
from processors.look import check_same_sources
from processors.preflight import inspect_file
from processors.remote import of_each

_MOST_FILES = 10


def wanted_extras(run: Run) -> list[str]:
    """The extras that a configuration cannot do without."""
    wanted = ["dask"] if run.config.processing.executor == "dask" else []
    if _remote_files(run) or is_remote(_target(run)):
        wanted.append("xrootd")
    return wanted


def _remote_files(run: Run) -> list[str]:
    """Files of which some address is on another machine, be it that of a replica."""
    return [
        file
        for sample in run.samples.values()
        for file in sample.files
        if any(is_remote(address) for address in sample.access(file).addresses)
    ]


def _target(run: Run) -> str:
    return run.config.run.copy_to or ""


def run_checks(run: Run) -> Iterator[Check]:
    """All checks of a configuration that could be loaded.

    Parameters
    ----------
    run
        The run; nothing is written to its folder.
    """
    readable = True
    yield from credential_checks(run, os.environ, dt.datetime.now(dt.UTC))
    for sample in run.samples.values():
        for check in file_checks(sample, run):
            readable = readable and check.state != "fail"
            yield check
    yield from device_checks(run)
    if not readable:
        return
    try:
        check_same_sources(run.samples.values(), run.config.events())
        view = plan_view(run)
    except OddjetError as error:
        yield Check("samples", "fail", str(error))
        return
    processing = run.config.processing
    yield space_check(run.root, view.disk)
    key = "particle_chunk_size" if any(one.particles for one in view.samples) else "chunk_size"
    yield memory_check(view.memory, processing.local_workers, f"processing.{key}", available_memory())
    yield cores_check(processing.local_workers, available_cores())


def file_checks(sample: Sample, run: Run) -> Iterator[Check]:
    """Every file of a sample: opened, with all branches, with the entries that the definition says.

    A file that fails has a line of its own; the others are one line together.
    """
    name = f"sample {sample.name}"
    try:
        demand = run.config.events().demand(sample)
    except OddjetError as error:
        yield Check(name, "fail", str(error))
        return

    def opened(path: str) -> tuple[int, int] | OddjetError:
        try:
            facts = inspect_file(path, sample, demand)
        except OddjetError as error:
            return error
        return facts.entries, 0 if "://" in path else Path(path).stat().st_size

    found = dict(zip(sorted(sample.files), of_each(opened, sorted(sample.files)), strict=True))
    problems = {path: error for path, error in found.items() if isinstance(error, OddjetError)}
    whole = {path: facts for path, facts in found.items() if not isinstance(facts, OddjetError)}
    wrong = [path for path, (entries, _) in whole.items() if sample.files[path] not in {None, entries}]
    for path in [*problems, *wrong][:_MOST_FILES]:
        yield _bad_file(name, path, sample, problems, whole)
    hidden = len(problems) + len(wrong) - _MOST_FILES
    if hidden > 0:
        yield Check(name, "fail", f"{hidden} more files fail", "mend those above first")
    entries = sum(entries for entries, _ in whole.values())
    size = sum(size for _, size in whole.values())
    local = f", {size_in_words(size)} on disk" if size else ""
    if whole:
        yield Check(
            name, "ok" if entries else "warn", f"{len(whole)} of {len(found)} files readable, {entries:,} entries{local}",
            "" if entries else "there is nothing to process: check that these are the files you mean",
        )  # fmt: skip


def _bad_file(
    name: str,
    path: str,
    sample: Sample,
    problems: Mapping[str, OddjetError],
    whole: Mapping[str, tuple[int, int]],
) -> Check:
    if path in problems:
        error = problems[path]
        remedy = "see that server and network work; name replicas in the sample definition"
        return Check(name, "fail", str(error), remedy if isinstance(error, ReadError) else "")
    text = f"file '{path}' holds {whole[path][0]:,} entries, the definition says {sample.files[path]:,}"
    return Check(name, "fail", text, "fetch the file again, or correct the definition")


def credential_checks(run: Run, environment: Mapping[str, str], now: dt.datetime) -> Iterator[Check]:
    """Proxy and token, where files or outputs are on other machines, and the sites that files may be read from.

    Parameters
    ----------
    run
        The run.
    environment, now
        Variables of the process, and the time.
    """
    remote, target = _remote_files(run), _target(run)
    if not remote and not is_remote(target):
        yield Check("files", "ok", "all are local: no proxy or token is needed")
        return
    if remote:
        blocked = sorted({site for sample in run.samples.values() for site in sample.sites.blocked})
        yield Check("sites", "ok", f"{len(remote)} remote files; blocked: {', '.join(blocked) or 'no site'}")
    if is_remote(target):
        yield Check("outputs", "ok", f"copied to {target}")
    try:
        check_samples(run.samples.values())
        check_target(target, run.samples.values())
        found = find_credentials(environment)
    except OddjetError as error:
        yield Check("credentials", "fail", str(error))
        return
    if not found:
        yield Check("credentials", "ok", "neither proxy nor token; the configuration asks for none")
    for one in found:
        yield _credential(one, now)


def _credential(one: Credential, now: dt.datetime) -> Check:
    left = one.hours_left(now)
    if left == float("inf"):
        return Check("credentials", "ok", f"{one.kind} {one.place}, it does not say for how long")
    if left <= 0:
        return Check(
            "credentials",
            "warn",
            f"{one.kind} {one.place} has expired",
            "make a new one if a server asks for it",
        )
    return Check("credentials", "ok", f"{one.kind} {one.place}, valid for {left:.1f} h more")


def device_checks(run: Run) -> Iterator[Check]:
    """Whether there is a GPU where a method is to be trained on one, and HTCondor's commands where dask wants them."""
    methods = [name for name, options in run.config.methods.items() if options.get("device") == "cuda"]
    if methods:
        import torch  # noqa: PLC0415 - it takes seconds to import

        if torch.cuda.is_available():
            yield Check("device", "ok", f"{torch.cuda.get_device_name(0)} for {', '.join(methods)}")
        else:
            yield Check(
                "device", "fail", f"methods {', '.join(methods)} want a GPU, and PyTorch sees none",
                "set device: cpu, or install the CUDA build of PyTorch",
            )  # fmt: skip
    dask = run.config.processing.dask
    if dask is not None and dask.cluster == "htcondor" and shutil.which("condor_submit") is None:
        yield Check(
            "condor", "fail", "processing.dask.cluster is htcondor, and condor_submit is not found",
            "work on a machine that submits to a pool",
        )  # fmt: skip
