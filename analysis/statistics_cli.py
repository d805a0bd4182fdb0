"""``oddjet scan``, ``limit``, ``bias`` and ``toys``: on a configured run, or on a spectrum alone."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import (
    RegionOption,
    SetOption,
    WorkersOption,
    check_limited,
    conclude,
    prepare,
    progress_bar,
    working,
)
from analysis.completion import configurations, files, selections
from analysis.windows import Region
from data.errors import ConfigError, FitError, InputError
from data.files import write_json

if TYPE_CHECKING:
    from analysis.scan_inputs import ScanInputs


_EXAMPLES = Path(__file__).with_name("examples")

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG.yaml", help="The configuration of the search.", autocompletion=configurations
    ),
]
SpectrumOption = Annotated[
    Path | None,
    typer.Option(
        "--spectrum",
        metavar="FILE.json",
        help="A spectrum instead of a configuration; see below.",
        autocompletion=files(".json"),
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="RESULT.json|FOLDER", help="The file to write; with CONFIG.yaml the run folder."
    ),
]
SelectionOption = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar="METHOD_WINDOW",
        help="With CONFIG.yaml: a selection, as in fits.json; else inclusive.",
        autocompletion=selections,
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Of the toys; else that of the file.")]


def _shown(name: str) -> str:
    """An example file for the help, its line breaks kept."""
    text = (_EXAMPLES / name).read_text(encoding="utf-8").rstrip()
    return "\b\n" + text


_SPECTRUM_HELP = (
    "A spectrum file holds (edges in GeV; everything but edges, counts and masses may be left out; trailing zeros of the "
    f"counts too):\n\n{_shown('spectrum.json')}\n\nIts schema: analysis/schemas/spectrum.json, that of the result: "
    "analysis/schemas/result.json."
)


@app.command(
    name="scan",
    epilog="Example: oddjet scan search.yaml --set scan.candidates=[2,3]\n\n"
    f"Example: oddjet scan --spectrum spectrum.json --out result.json\n\n{_SPECTRUM_HELP}",
)
def scan_command(
    config: ConfigArgument = None,
    spectrum: SpectrumOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    workspaces: Annotated[
        Path | None,
        typer.Option(
            "--workspaces", metavar="FOLDER", help="With --spectrum: write HistFactory workspaces there too."
        ),
    ] = None,
) -> None:
    """Fit the spectra: local and global p-values, limits and workspaces."""
    kind, source = _one({"CONFIG.yaml": config, "--spectrum": spectrum})
    if kind == "--spectrum":
        file = _result_file(source, out, settings, region)
        if workspaces is not None:
            _check_folder(workspaces)
        _scan_spectrum(source, file, workers, look_elsewhere=True, workspaces=workspaces)
        return
    if workspaces is not None:
        msg = "--workspaces goes with --spectrum; leave it out, a run writes them into its folder"
        raise ConfigError(msg)
    with working(prepare(source, out, workers, settings, region)) as run:
        from analysis.pipeline import scan

        scan(run)
    conclude([run])


@app.command(
    name="limit",
    epilog="Example: oddjet limit search.yaml --study\n\n"
    "Example: oddjet limit --spectrum spectrum.json --out result.json\n\n"
    f"Example: oddjet limit --efficiency-table table.json --out limit.json\n\n{_SPECTRUM_HELP}\n\n"
    "Of a spectrum file 'global' and 'bumphunter' are not made here: oddjet scan makes them.\n\n"
    "An efficiency table holds (cross sections in fb, the efficiency found with each injected; upper limit on the "
    f"selected events):\n\n{_shown('efficiency_table.json')}\n\nIts schema: analysis/schemas/efficiency_table.json. "
    "The result's crossing_fb, the last upward crossing, is a limit only with the status ok; with not_excluded_at_top the "
    "largest injection is not excluded.",
)
def limit_command(
    config: ConfigArgument = None,
    spectrum: SpectrumOption = None,
    efficiency_table: Annotated[
        Path | None,
        typer.Option(
            "--efficiency-table", metavar="FILE.json", help="Efficiencies against injected cross sections."
        ),
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="With CONFIG.yaml: p-value against injected cross section too.")
    ] = False,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Upper limits: with trainings on injected signals, of a spectrum file, or from a table of efficiencies."""
    kind, source = _one(
        {"CONFIG.yaml": config, "--spectrum": spectrum, "--efficiency-table": efficiency_table}
    )
    if study and kind != "CONFIG.yaml":
        msg = f"--study goes with CONFIG.yaml, not with {kind}; leave it out"
        raise ConfigError(msg)
    if kind == "--spectrum":
        _scan_spectrum(source, _result_file(source, out, settings, region), workers, look_elsewhere=False)
    elif kind == "--efficiency-table":
        from analysis.retraining_limits import table_limits

        file = _result_file(source, out, settings, region)
        result = table_limits(source)
        write_json(file, result)
        crossing = result["crossing_fb"]
        typer.echo(f"{file}: {result['status']}" + ("" if crossing is None else f", {crossing:.4g} fb"))
    else:
        with working(prepare(source, out, workers, settings, region)) as run:
            from analysis.limit_pipeline import run_limits
            from analysis.limit_summary import limit_lines

            run_limits(run, study=study)
        for line in limit_lines(run.root):
            typer.echo(line)
        check_limited([run])


@app.command(
    name="bias",
    epilog="Example: oddjet bias search.yaml --selection cathode_A3\n\n"
    f"Example: oddjet bias --spectrum spectrum.json --out bias.json --toys 500\n\n{_SPECTRUM_HELP}",
)
def bias_command(
    config: ConfigArgument = None,
    spectrum: SpectrumOption = None,
    selection: SelectionOption = None,
    alternative: Annotated[
        list[str] | None,
        typer.Option(
            "--alternative", metavar="FUNCTION", help="Function that toys are drawn from; again for more."
        ),
    ] = None,
    toys: Annotated[int, typer.Option(min=10, help="Toys for each function, mass and injection.")] = 200,
    max_mean_pull: Annotated[float, typer.Option(help="Mean pull that passes.")] = 0.5,
    max_spurious: Annotated[float, typer.Option(help="Spurious signal over its error that passes.")] = 0.2,
    seed: SeedOption = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Bias of the fitted yield if the background is of another function: pulls with injections, spurious signal."""
    from analysis.bias import bias_study
    from analysis.bias_config import BiasConfig
    from analysis.plots.bias import bias_figures
    from analysis.plots.style import PlotLabel, save_figure
    from analysis.summary import bias_lines

    target = _target(config, spectrum, selection, out, workers, settings, region, "bias.json")
    named = {"alternatives": tuple(alternative)} if alternative else {}
    options = {"toys": toys, "max_mean_pull": max_mean_pull, "max_spurious": max_spurious, **named}
    asked = BiasConfig.parse(
        options | {"seed": target.seed if seed is None else seed}, "options of the command"
    )
    with _naming(target.source), progress_bar("toys", "sets") as progress:
        result = bias_study(
            target.inputs, asked, grid=target.grid, workers=workers or os.cpu_count() or 1, progress=progress
        )
    write_json(target.file, result)
    label = PlotLabel(target.status, sqrt_s=target.inputs.config.sqrt_s)
    for name, figure in bias_figures(result, label).items():
        save_figure(figure, target.plots, f"{target.file.stem}_{name}")
    for line in bias_lines(result):
        typer.echo(line)


@app.command(
    name="toys",
    epilog="Example: oddjet toys search.yaml --out toys.parquet --toys 10000\n\n"
    f"Example: oddjet toys --spectrum spectrum.json --out toys.json --max-z\n\n{_SPECTRUM_HELP}",
)
def toys_command(
    config: ConfigArgument = None,
    spectrum: SpectrumOption = None,
    selection: SelectionOption = None,
    toys: Annotated[int, typer.Option(min=1, help="Pseudo-experiments.")] = 1000,
    max_z: Annotated[
        bool,
        typer.Option(
            "--max-z",
            help="Scan each: its largest Z over the masses of 'global', or those tested without it.",
        ),
    ] = False,
    seed: SeedOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="TOYS.parquet|TOYS.json", help="The file to write.")
    ] = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
) -> None:
    """Pseudo-experiments of the background fit: their counts, and with --max-z their largest significances."""
    from analysis.toy_spectra import FORMATS, toy_spectra, write_toys

    if out is None or out.suffix not in FORMATS:
        msg = f"give --out FILE with a name that ends in {' or '.join(FORMATS)}"
        raise ConfigError(msg)
    target = _target(
        config, spectrum, selection, out if spectrum else None, workers, settings, region, out.name
    )
    with _naming(target.source), progress_bar("toys", "steps") as progress:
        progress(0, 1)
        found = toy_spectra(
            target.inputs,
            toys,
            target.seed if seed is None else seed,
            masses=(target.grid or target.inputs.masses) if max_z else (),
            workers=workers or os.cpu_count() or 1,
        )
        progress(1, 1)
    write_toys(found, out)
    fitted = f"{selection} of {target.source}" if selection else target.source
    typer.echo(f"{out}: {toys} pseudo-experiments of {found.function}, fitted to {fitted}")


@dataclass(frozen=True)
class _Target:
    """What a study works on, and where its result goes."""

    source: Path
    inputs: "ScanInputs"
    grid: tuple[float, ...]
    seed: int
    file: Path
    plots: Path
    status: str


def _target(
    config: Path | None,
    spectrum: Path | None,
    selection: str | None,
    out: Path | None,
    workers: int | None,
    settings: list[str] | None,
    region: Region | None,
    name: str,
) -> _Target:
    """Inputs of a study from a spectrum file, or from a selection of a run."""
    kind, source = _one({"CONFIG.yaml": config, "--spectrum": spectrum})
    if kind == "CONFIG.yaml":
        run = prepare(source, out, workers, settings, region)
        from analysis.scan_inputs import run_inputs
        from processors.scorers import INCLUSIVE

        inputs = run_inputs(run, selection or INCLUSIVE)
        return _Target(
            source,
            inputs,
            (),
            run.config.run.seed,
            run.root / name,
            run.root / "plots",
            run.config.run.status,
        )
    if selection is not None:
        msg = "--selection goes with CONFIG.yaml; leave it out"
        raise ConfigError(msg)
    from analysis.scan_inputs import document_inputs
    from analysis.spectrum_document import SpectrumDocument

    file = _result_file(source, out, settings, region)
    document = SpectrumDocument.read(source)
    grid = document.look_elsewhere.masses.masses() if document.look_elsewhere else ()
    with _naming(source):
        return _Target(source, document_inputs(document), grid, document.seed, file, file.parent, "")


def _one(given: Mapping[str, Path | None]) -> tuple[str, Path]:
    """Which of the inputs is given: exactly one."""
    named = [(name, path) for name, path in given.items() if path is not None]
    if len(named) != 1:
        found = ", ".join(name for name, _ in named) or "none"
        msg = f"give one of {', '.join(given)}; given: {found}"
        raise ConfigError(msg)
    return named[0]


def _result_file(source: Path, out: Path | None, settings: list[str] | None, region: Region | None) -> Path:
    """The file that a command without configuration writes."""
    for option, value in (("--set", settings), ("--region", region)):
        if value:
            msg = f"{option} goes with CONFIG.yaml; leave it out, {source} holds all options"
            raise ConfigError(msg)
    if out is None:
        msg = "give --out RESULT.json, the file to write"
        raise ConfigError(msg)
    if out.resolve() == source.resolve():
        msg = f"--out {out} is the file that is read; write to another one"
        raise ConfigError(msg)
    if out.is_dir():
        msg = f"--out {out} is a folder; give the name of a file"
        raise ConfigError(msg)
    return out


def _check_folder(workspaces: Path) -> None:
    """Refuse a place of workspaces before the fits."""
    if workspaces.exists() and not workspaces.is_dir():
        msg = f"--workspaces {workspaces} is a file; give the name of a folder"
        raise ConfigError(msg)
    if (workspaces / "manifests").is_dir():
        msg = f"--workspaces {workspaces} is a run folder, which has workspaces of its own; give another"
        raise ConfigError(msg)


@contextlib.contextmanager
def _naming(source: Path) -> Iterator[None]:
    """Put the file in front of errors about what it holds."""
    try:
        yield
    except (ConfigError, InputError, FitError) as error:
        msg = f"{source}: {error}"
        raise type(error)(msg) from None


def _scan_spectrum(
    spectrum: Path,
    file: Path,
    workers: int | None,
    *,
    look_elsewhere: bool,
    workspaces: Path | None = None,
) -> None:
    from analysis.spectrum_document import SpectrumDocument
    from analysis.spectrum_scan import invalid_lines, run_document
    from analysis.summary import result_lines

    document = SpectrumDocument.read(spectrum)
    with _naming(spectrum), progress_bar("fitting", "steps") as progress:
        result = run_document(
            document,
            look_elsewhere=look_elsewhere,
            workers=workers or os.cpu_count() or 1,
            progress=progress,
            workspaces=workspaces,
        )
    write_json(file, result)
    for line in result_lines(result):
        typer.echo(line)
    problems = invalid_lines(result)
    if problems:
        msg = f"{spectrum}: not everything is valid (see {file}):\n  " + "\n  ".join(problems)
        raise FitError(msg)
