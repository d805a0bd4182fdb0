"""What the commands of ``oddjet`` share: arguments, how a configuration becomes a run, progress, conclusions."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.completion import configurations
from analysis.windows import Region
from data.errors import FitError
from data.locks import clear_leftovers, run_lock
from data.sections import read_yaml

if TYPE_CHECKING:
    from analysis.run import Run


_LINE = 120
"""Characters of a line where there is no terminal that says."""
CONSOLE = Console(stderr=True, width=None if sys.stderr.isatty() else _LINE)
_WIDEST = 10_000
"""Characters of the widest table."""

ConfigArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG.yaml", help="The configuration of the search.", autocompletion=configurations
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Run folder; wins over run.output.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes; wins over processing.workers.")
]
RegionOption = Annotated[
    Region | None,
    typer.Option(
        "--region",
        help="signal, or validation: the same search, blind, in the side band 2.0 < |Δη| < 2.5.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key, e.g. run.seed=3; wins over the file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs, nothing else.")]
Progressing = Callable[[int, int], None]
"""Called with how much is done and of how much."""


def prepare(
    config: Path,
    out: Path | None,
    workers: int | None,
    settings: list[str] | None,
    region: Region | None = None,
) -> "Run":
    """The run of a configuration, with what the command line puts over it.

    Commands import what they work with after it: a wrong configuration is refused before seconds of imports.
    """
    from analysis.config import load_config

    overrides = list(settings or [])
    if out is not None:
        overrides.append(f"run.output={out}")
    if workers is not None:
        overrides += [f"processing.workers={workers}", *_local_executor(config, workers, overrides)]
    parsed, samples = load_config(config, tuple(overrides), region)
    from analysis.run import Run

    return Run(parsed, samples)


def _local_executor(config: Path, workers: int, overrides: list[str]) -> list[str]:
    """The executor that goes with a number of workers; dask, where it is configured, has any number."""
    given = read_yaml(config).get("processing")
    chosen = given.get("executor") if isinstance(given, dict) else None
    for override in overrides:
        key, _, value = override.partition("=")
        chosen = value if key.strip() == "processing.executor" else chosen
    return [] if chosen == "dask" else [f"processing.executor={'futures' if workers > 1 else 'iterative'}"]


@contextlib.contextmanager
def working(run: "Run") -> "Iterator[Run]":
    """Hold the run folder for a command that writes there; at its end, show the account of the events.

    Raises
    ------
    LockedError
        If another process works there.
    """
    from processors.executors import close_clients

    before = _stamp(run)
    with run_lock(run.root):
        clear_leftovers(run.root, but=("partials", "condor"))
        try:
            yield run
        finally:
            close_clients()
            if _stamp(run) != before:
                show_account(run)
            if isinstance(sys.exception(), KeyboardInterrupt):
                CONSOLE.print("interrupted: what is done is kept, the same command goes on from there")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Say nothing but warnings while the block only looks at things."""
    log = logging.getLogger("oddjet")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def show_account(run: "Run") -> None:
    """Print the account of a run, and its chunks that did not succeed at once."""
    from analysis.accounts import account_table, failure_lines

    table = account_table(run)
    if table is not None:
        # as wide as it is: no number may be cut off
        table.width = Measurement.get(CONSOLE, CONSOLE.options.update(max_width=_WIDEST), table).maximum
        CONSOLE.print(table, crop=False)
    for line in failure_lines(run):
        CONSOLE.print(line, markup=False, highlight=False, soft_wrap=True)


def _stamp(run: "Run") -> tuple[int, int] | None:
    """Which account stands there: every pass writes one, also where it has nothing to do."""
    path = run.root / "account.json"
    if not path.is_file():
        return None
    about = path.stat()
    return about.st_ino, about.st_mtime_ns


@contextlib.contextmanager
def progress_bar(doing: str, unit: str) -> Iterator[Progressing]:
    """A bar on a terminal; call it with how much is done and of how much."""
    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE, disable=not CONSOLE.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def conclude(runs: "list[Run]", *, limits: bool = False, as_json: bool = False) -> None:
    """Print the results, with the limits with retraining if they were asked for and the configuration has some.

    ``as_json``: for programs, a list with one element a run. A mass without a valid fit, or a selection without a
    limit, is an error of the whole command.
    """
    from analysis.limit_summary import limit_lines
    from analysis.summary import invalid_masses, summary_document, summary_lines

    limited = [run for run in runs if limits and run.config.limits is not None]
    if as_json:
        typer.echo(json.dumps([summary_document(run.root) for run in runs], indent=1, ensure_ascii=False))
    for run in () if as_json else runs:
        for line in [*summary_lines(run.root), *(limit_lines(run.root) if run in limited else ())]:
            typer.echo(line)
    problems = [f"{run.root}: {problem}" for run in runs for problem in invalid_masses(run.root)]
    if problems:
        msg = (
            "no valid fit at these masses, all other results stand; take more events, a wider fit range or other functions:\n  "
            + "\n  ".join(problems)
        )
        raise FitError(msg)
    check_limited(limited)


def check_limited(runs: "list[Run]") -> None:
    """Refuse runs with a selection without a limit.

    Raises
    ------
    FitError
        If there is one.
    """
    from analysis.limit_summary import invalid_limits

    if problems := [problem for run in runs for problem in invalid_limits(run.root)]:
        msg = "no limit for every selection; see the reason of each:\n  " + "\n  ".join(problems)
        raise FitError(msg)
