"""The command line ``oddjet``: thin functions that read a configuration and call the stages."""

import errno
import io
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.logging import RichHandler

from analysis.batch_cli import app as batch_app
from analysis.cli_common import (
    CONSOLE,
    ConfigArgument,
    JsonOption,
    OutOption,
    RegionOption,
    SetOption,
    WorkersOption,
    conclude,
    prepare,
    progress_bar,
    working,
)
from analysis.cli_help import Commands
from analysis.completion import files, recipes
from analysis.doctor_cli import doctor_command
from analysis.export_cli import export_command
from analysis.init_cli import init_command
from analysis.inspect_cli import inspect_command
from analysis.models_cli import app as models_app
from analysis.plan_cli import plan_command
from analysis.statistics_cli import app as statistics_app
from data.errors import OddjetError
from data.sections import read_yaml
from data.simulation.ready import ready_recipes, recipe_path

app = typer.Typer(
    name="oddjet",
    cls=Commands,
    help="Search for a dijet resonance by the odd substructure of its jets: NanoAOD files in, p-values and limits out.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app.add_typer(models_app)
app.add_typer(statistics_app)
app.add_typer(batch_app)
_CONFIGS = Path(__file__).with_name("configs")
DEMOS = {"demo": _CONFIGS / "demo.yaml", "demo_null": _CONFIGS / "demo_null.yaml"}


@app.command(name="skim", epilog="Example: oddjet skim search.yaml")
def skim_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Pass 1: read the events, select, write the table of features."""
    with working(prepare(config, out, workers, settings, region)) as run:
        from analysis.pipeline import skim

        skim(run)


@app.command(name="train", epilog="Example: oddjet train search.yaml --workers 8")
def train_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Train every method in every window on the table of features."""
    with working(prepare(config, out, workers, settings, region)) as run:
        from analysis.pipeline import train

        train(run)


@app.command(name="hist", epilog="Example: oddjet hist search.yaml")
def hist_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Pass 2: read the events again, score each chunk, fill the histograms."""
    with working(prepare(config, out, workers, settings, region)) as run:
        from analysis.pipeline import histogram

        histogram(run)


@app.command(name="report", epilog="Example: oddjet report search.yaml")
def report_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Write the page and the plots of a finished scan."""
    with working(prepare(config, out, workers, settings, region)) as run:
        from analysis.pipeline import write_run_report

        write_run_report(run)


@app.command(name="run", epilog="Example: oddjet run search.yaml --out output/search --workers 2")
def run_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """All stages in order; what is already done from the same inputs and options is kept."""
    with working(prepare(config, out, workers, settings, region)) as run:
        from analysis.pipeline import run_all

        run_all(run)
    conclude([run], limits=True, as_json=as_json)


@app.command(name="demo", epilog="Example: oddjet demo --out output")
def demo_command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the two run folders.")] = Path("output"),
    workers: WorkersOption = None,
) -> None:
    """Search the shipped sample with its planted 3 TeV resonance, and its twin without one."""
    from analysis.pipeline import run_all

    runs = [prepare(config, out / name, workers, None) for name, config in DEMOS.items()]
    for run in runs:
        with working(run):
            run_all(run)
    conclude(runs, limits=True)


@app.command(name="simulate", epilog="Example: oddjet simulate lhco --out sample --workers 2")
def simulate_command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help=f"A YAML file, or one of: {', '.join(ready_recipes())}.",
            autocompletion=recipes,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the ROOT files and their sample definition.")],
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Simulate events with Pythia 8 and a parametric detector, as NanoAOD-like ROOT files."""
    from data.simulation.config import SimulationConfig
    from data.simulation.run import simulate

    file = recipe_path(recipe)
    config = SimulationConfig.parse(read_yaml(file), str(file))
    with progress_bar("simulating", "blocks") as progress:
        simulate(config, out, workers, progress)
    typer.echo(f"files are in {out}; a search takes them by the line samples: {out / 'samples.yaml'}")


@app.command(
    name="substructure", epilog="Example: oddjet substructure nano.root --out jets.parquet --pt-min 300"
)
def substructure_command(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE.root", help="A NanoAOD or PFNano file.", autocompletion=files(".root")),
    ],
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write: one row a jet.")],
    recluster: Annotated[
        bool, typer.Option("--recluster", help="Cluster the particles instead of taking the file's AK8 jets.")
    ] = False,
    algorithm: Annotated[
        Literal["antikt", "cambridge", "kt"], typer.Option(help="Algorithm of clustered jets.")
    ] = "antikt",
    radius: Annotated[float, typer.Option(help="Radius of clustered jets and of τ and soft drop.")] = 0.8,
    pt_min: Annotated[
        float | None,
        typer.Option(help="Leave out jets below, GeV; by default none, of clustered jets those below 150."),
    ] = None,
    further: Annotated[
        list[str] | None, typer.Option("--further", help="Also this feature of processors/further_features.")
    ] = None,
    chunk_size: Annotated[int, typer.Option(min=1, help="Entries read at a time.")] = 10_000,
) -> None:
    """Write all jets of a file with all their features; no selection."""
    from processors.config import FeaturesConfig, JetsConfig
    from processors.jet_table import write_jet_table

    chosen: dict[str, object] = {"algorithm": algorithm, "radius": radius}
    if recluster:
        chosen |= {"source": "particles"} | ({} if pt_min is None else {"pt_min": pt_min})
    jets = JetsConfig.parse(chosen, "options of the command")
    names = FeaturesConfig.parse({"further": further or ()}, "options of the command").further
    with progress_bar("reading", "events") as progress:
        table = write_jet_table(
            file, out, jets, pt_min=pt_min or 0.0, further=names, chunk_size=chunk_size, progress=progress
        )
    typer.echo(
        f"{out}: {table.jets} jets of {table.entries} events, {table.empty_jets} of them without particles"
    )


@app.command(name="schema", epilog="Example: oddjet schema > oddjet.schema.json")
def schema_command(
    name: Annotated[
        Literal["search", "samples"],
        typer.Argument(help="search: the configuration; samples: the sample definition."),
    ] = "search",
) -> None:
    """Print the JSON schema of the files that you write, for editors: keys, values and what each is for."""
    from analysis.config_schema import config_schema

    typer.echo(json.dumps(config_schema(name), indent=1, ensure_ascii=False))


app.command(name="inspect", epilog="Example: oddjet inspect output/demo/histograms.h5")(inspect_command)
app.command(name="doctor", epilog="Example: oddjet doctor search.yaml")(doctor_command)
app.command(name="plan", epilog="Example: oddjet plan search.yaml --measure")(plan_command)
app.command(name="init", epilog="Example: oddjet init data/*.root --out search.yaml")(init_command)
app.command(name="export", epilog="Example: oddjet export search.yaml --patchset --hepdata")(export_command)


def _log_handler() -> logging.Handler:
    """Coloured times on a terminal, plain lines that no width breaks elsewhere."""
    if CONSOLE.is_terminal:
        return RichHandler(console=CONSOLE, show_path=False, show_level=False)
    return logging.StreamHandler()


def main() -> None:
    """Run the command line; exit code 0 only if everything expected was done."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has all characters of a help text
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
    CONSOLE.print(f"error: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
