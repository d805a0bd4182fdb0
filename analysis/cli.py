"""The command line ``oddjet``: thin functions that read a configuration and call the stages."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.config import Region, load_config
from analysis.models_cli import app as models_app
from analysis.pipeline import histogram, run_all, scan, skim, train, write_run_report
from analysis.run import Run
from analysis.summary import invalid_masses, summary_lines
from data.errors import FitError, OddjetError
from data.sections import read_yaml
from data.simulation.config import SimulationConfig
from data.simulation.ready import ready_recipes, recipe_path
from data.simulation.run import simulate
from processors.clustering import Algorithm
from processors.config import JetsConfig
from processors.jet_table import write_jet_table

app = typer.Typer(
    name="oddjet",
    help="Search for a dijet resonance by the odd substructure of its jets: NanoAOD files in, p-values and limits out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.add_typer(models_app)
_CONSOLE = Console(stderr=True)
_CONFIGS = Path(__file__).with_name("configs")
DEMOS = {"demo": _CONFIGS / "demo.yaml", "demo_null": _CONFIGS / "demo_null.yaml"}

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="The configuration of the search.")
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


def _prepare(
    config: Path,
    out: Path | None,
    workers: int | None,
    settings: list[str] | None,
    region: Region | None = None,
) -> Run:
    overrides = list(settings or [])
    if out is not None:
        overrides.append(f"run.output={out}")
    if workers is not None:
        executor = "futures" if workers > 1 else "iterative"
        overrides += [f"processing.workers={workers}", f"processing.executor={executor}"]
    parsed, samples = load_config(config, tuple(overrides), region)
    return Run(parsed, samples)


@app.command(name="skim", epilog="Example: oddjet skim search.yaml")
def skim_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Pass 1: read the events, select, write the table of features."""
    skim(_prepare(config, out, workers, settings, region))


@app.command(name="train", epilog="Example: oddjet train search.yaml --workers 8")
def train_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Train every method in every window on the table of features."""
    train(_prepare(config, out, workers, settings, region))


@app.command(name="hist", epilog="Example: oddjet hist search.yaml")
def hist_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Pass 2: read the events again, score each chunk, fill the histograms."""
    histogram(_prepare(config, out, workers, settings, region))


@app.command(name="scan", epilog="Example: oddjet scan search.yaml --set scan.candidates=[2,3]")
def scan_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Fit the spectra: local p-values, limits and workspaces."""
    run = _prepare(config, out, workers, settings, region)
    scan(run)
    _conclude([run])


@app.command(name="report", epilog="Example: oddjet report search.yaml")
def report_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Write the page and the plots of a finished scan."""
    write_run_report(_prepare(config, out, workers, settings, region))


@app.command(name="run", epilog="Example: oddjet run search.yaml --out output/search --workers 2")
def run_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """All stages in order; what is already done from the same inputs and options is kept."""
    run = _prepare(config, out, workers, settings, region)
    run_all(run)
    _conclude([run])


@app.command(name="demo", epilog="Example: oddjet demo --out output")
def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the two run folders.")] = Path("output"),
    workers: WorkersOption = None,
) -> None:
    """Search the shipped sample with its planted 3 TeV resonance, and its twin without one."""
    runs = [_prepare(config, out / name, workers, None) for name, config in DEMOS.items()]
    for run in runs:
        run_all(run)
    _conclude(runs)


@app.command(name="simulate", epilog="Example: oddjet simulate lhco --out sample --workers 2")
def simulate_command(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help=f"A YAML file, or one of: {', '.join(ready_recipes())}."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the ROOT files and their sample definition.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Simulate events with Pythia 8 and a parametric detector, as NanoAOD-like ROOT files."""
    file = recipe_path(recipe)
    config = SimulationConfig.parse(read_yaml(file), str(file))
    with _progress("simulating", "blocks") as progress:
        simulate(config, out, workers, progress)


@app.command(
    name="substructure", epilog="Example: oddjet substructure nano.root --out jets.parquet --pt-min 300"
)
def substructure_command(
    file: Annotated[str, typer.Argument(metavar="FILE.root", help="A NanoAOD or PFNano file.")],
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write: one row a jet.")],
    recluster: Annotated[
        bool, typer.Option("--recluster", help="Cluster the particles instead of taking the file's AK8 jets.")
    ] = False,
    algorithm: Annotated[Algorithm, typer.Option(help="Algorithm of clustered jets.")] = "antikt",
    radius: Annotated[float, typer.Option(help="Radius of clustered jets and of τ and soft drop.")] = 0.8,
    pt_min: Annotated[
        float | None,
        typer.Option(help="Leave out jets below, GeV; by default none, of clustered jets those below 150."),
    ] = None,
    chunk_size: Annotated[int, typer.Option(min=1, help="Entries read at a time.")] = 10_000,
) -> None:
    """Write all jets of a file with all their features; no selection."""
    chosen: dict[str, object] = {"algorithm": algorithm, "radius": radius}
    if recluster:
        chosen |= {"source": "particles"} | ({} if pt_min is None else {"pt_min": pt_min})
    jets = JetsConfig.parse(chosen, "options of the command")
    with _progress("reading", "events") as progress:
        table = write_jet_table(
            file, out, jets, pt_min=pt_min or 0.0, chunk_size=chunk_size, progress=progress
        )
    typer.echo(
        f"{out}: {table.jets} jets of {table.entries} events, {table.empty_jets} of them without particles"
    )


@contextlib.contextmanager
def _progress(doing: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; call it with how much is done and of how much."""
    columns = (
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_CONSOLE, disable=not _CONSOLE.is_terminal) as progress:
        task = progress.add_task("")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _conclude(runs: list[Run]) -> None:
    """Print the results; a mass without a valid fit is an error of the whole command."""
    for run in runs:
        for line in summary_lines(run.root):
            typer.echo(line)
    problems = [f"{run.root}: {problem}" for run in runs for problem in invalid_masses(run.root)]
    if problems:
        msg = "no valid result at every mass:\n  " + "\n  ".join(problems)
        raise FitError(msg)


def _log_handler() -> logging.Handler:
    """Coloured times on a terminal, plain lines that no width breaks elsewhere."""
    if _CONSOLE.is_terminal:
        return RichHandler(console=_CONSOLE, show_path=False, show_level=False)
    return logging.StreamHandler()


def main() -> None:
    """Run the command line; exit code 0 only if everything expected was done."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_log_handler()])
    try:
        app()
    except OddjetError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.exit(1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT}:
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}; check the path, its permissions and the disk")


def _fail(message: str) -> None:
    """Print an error and leave with exit code 1."""
    _CONSOLE.print(f"error: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)
