"""``oddjet models``: the anomaly methods listed, described and compared."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table as RichTable

from analysis.completion import methods, presets
from data.errors import ConfigError, InputError
from data.files import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.comparison import Comparison, Settings
    from analysis.run_comparison import WindowComparison
    from processors.columns import Columns


if TYPE_CHECKING:  # networks need seconds to import, which a command without any should not wait
    from models.folded import FoldedMethod

WIDE_TEXT = 150
"""Characters of a line where no terminal says how many there are."""
_NEEDED = {
    "signal": "give --signal FILE",
    "background": "give --background FILE",
    "wide": "give a table with a column region and rows of large |Δη|",
}
_REGION = "region"
_OF_TABLES = ("method", "signal_region", "features", "preset", "signal", "background", "test")

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE.parquet|CONFIG.yaml",
        help="A table to train on, whose labels no method sees; or the configuration of a run, whose trained "
        "methods are compared without labels.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder of comparison.json and the plots.")]
MethodOption = Annotated[
    list[str] | None,
    typer.Option("--method", help="A method; again for each further one.", autocompletion=methods),
]
SignalRegionOption = Annotated[
    str | None, typer.Option("--signal-region", metavar="LOW,HIGH", help="In the dijet mass, GeV.")
]
TestOption = Annotated[
    Path | None,
    typer.Option(
        help="Labelled events to judge by (label above 0: signal), of which none is in another table. Without it "
        "those of TABLE itself, which then needs labels: each is judged by the fold that never saw it."
    ),
]
SignalOption = Annotated[
    list[Path] | None, typer.Option(help="Simulated signal, for the methods that take it.")
]
BackgroundOption = Annotated[
    list[Path] | None, typer.Option(help="Simulated background, for the methods that take it.")
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(metavar="A,B,…", help="Inputs of the methods whose inputs are free; else their defaults."),
]
PresetOption = Annotated[str | None, typer.Option(help="default, quick or paper.", autocompletion=presets)]
TrainingsOption = Annotated[int, typer.Option(min=1, help="Trainings a method.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the first training.")]
WorkingPointOption = Annotated[float, typer.Option(help="Fraction that a selection keeps.")]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="METHOD.option=value, e.g. cathode.classifier=mlp; with CONFIG.yaml any key of it.",
    ),
]

app = typer.Typer(
    name="models",
    help="List, describe and compare the anomaly methods.",
    epilog="Example: oddjet models describe cwola",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def models_command(context: typer.Context) -> None:
    """List, describe and compare the anomaly methods."""
    if context.invoked_subcommand is None:
        list_command()


@app.command(name="list", epilog="Example: oddjet models list")
def list_command() -> None:
    """List the anomaly methods: what they need, and whether their selection is flat in the dijet mass."""
    from analysis.method_facts import all_facts

    table = RichTable(box=None, pad_edge=False)
    for title in ("method", "family", "needs", "flat", "what it is"):
        table.add_column(title, overflow="fold", no_wrap=title == "method")
    for one in all_facts():
        table.add_row(one.name, one.family, one.needs, "yes" if one.flat else "no", one.summary)
    console = _console()
    console.print(table)
    console.print("A table in brackets is used where there is one. More: oddjet models describe NAME")


@app.command(name="describe", epilog="Example: oddjet models describe cathode")
def describe_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The method.", autocompletion=methods)],
) -> None:
    """Describe a method: what it assumes and is blind to, its papers, options, presets and tables."""
    import models
    from analysis.method_facts import default_columns, options_of, presets_of, story

    method = models.describe(name)
    console = _console()
    console.print(f"{method.name}: {method.summary}\n", soft_wrap=False)
    console.print(story(method) + "\n")
    facts = RichTable(box=None, show_header=False, pad_edge=False)
    facts.add_row("reads", f"mjj, {', '.join(default_columns(method))}")
    tables = [f"{key} ({'needed' if must else 'if given'})" for key, must in method.takes.items()]
    facts.add_row("further tables", ", ".join(tables) or "none")
    facts.add_row("flat in mjj", "promised" if method.flat else "not promised")
    for preset, changes in presets_of(method).items():
        facts.add_row(f"preset {preset}", ", ".join(changes) or "the defaults below")
    console.print(facts)
    options = RichTable(box=None, pad_edge=False)
    for title in ("option", "default", "values", "what it does"):
        options.add_column(title, overflow="fold", no_wrap=title == "option")
    for option in options_of(method.options_type):
        options.add_row(option.key, option.default, option.values, option.text)
    console.print()
    console.print(options)


@app.command(
    name="compare",
    epilog="Example: oddjet models compare data.parquet --test test.parquet --signal-region 3300,3700 "
    "--method cwola --method cathode --features m_j1,delta_m,tau21_j1,tau21_j2 --out comparison",
)
def compare_command(
    source: SourceArgument,
    out: OutOption,
    method: MethodOption = None,
    signal_region: SignalRegionOption = None,
    test: TestOption = None,
    signal: SignalOption = None,
    background: BackgroundOption = None,
    features: FeaturesOption = None,
    preset: PresetOption = None,
    trainings: TrainingsOption = 5,
    seed: SeedOption = 0,
    working_point: WorkingPointOption = 0.01,
    settings: SettingsOption = None,
) -> None:
    """Train methods on a table and judge them on labelled events; or compare the trained methods of a run."""
    import models
    from analysis.comparison import Settings, compare, labelled
    from analysis.config import load_config
    from analysis.run import Run
    from analysis.run_comparison import compare_run
    from analysis.training_tables import check_tables

    of_tables = (method, signal_region, features, preset, signal, background, test)
    if source.suffix in {".yaml", ".yml"}:
        given = [key for key, value in zip(_OF_TABLES, of_tables, strict=True) if value]
        if given:
            msg = f"--{given[0].replace('_', '-')} is for tables; leave it out: the methods of a run are compared as they were trained"
            raise ConfigError(msg)
        _write_run(compare_run(Run(*load_config(source, tuple(settings or ())))), out)
        return
    plan = Settings(
        _interval(signal_region),
        method_options(method or [], features, preset, settings or []),
        working_point,
        trainings,
        seed,
    )
    columns = _columns(plan)
    table, further = _tables(source, signal or [], background or [], columns)
    for name in plan.options:
        check_tables(name, models.describe(name).takes, further, "oddjet models compare", _NEEDED)
    events = (
        labelled(table, trained_on=True)
        if test is None
        else labelled(read_table(test, columns, ["signal"]), trained_on=None)
    )
    _write(compare(plan, table, further, events), out)


def method_options(
    names: Sequence[str], features: str | None, preset: str | None, settings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Options of each method from those of the command line.

    Parameters
    ----------
    names
        The methods.
    features
        Inputs with commas between, for the methods that have the option.
    preset
        Name of a preset, or None.
    settings
        ``METHOD.option=value``.

    Raises
    ------
    ConfigError
        If no method is named, or a method or an option is wrong.
    """
    import models
    from analysis.config import override_key

    if not names:
        msg = f"--method: name at least one of {', '.join(models.available())}"
        raise ConfigError(msg)
    plain: dict[str, Any] = {name: {} for name in names}
    for name, options in plain.items():
        kind = models.describe(name).options_type
        if features is not None and "features" in kind.model_fields:
            options["features"] = [part.strip() for part in features.split(",")]
        if preset is not None:
            options["preset"] = preset
    for setting in settings:
        if setting.partition(".")[0] not in plain:
            msg = f"--set {setting}: write METHOD.option=value with one of the methods compared: {', '.join(plain)}"
            raise ConfigError(msg)
        plain = override_key(plain, setting)
    for name, options in plain.items():
        models.check_options(name, options, "oddjet models compare")
    return plain


def _columns(plan: "Settings") -> frozenset[str]:
    """The columns that the methods read, and the label that they do not."""
    import models
    from analysis.training_tables import columns_read

    made = (
        models.create(name, signal_region=plan.signal_region, **options)
        for name, options in plan.options.items()
    )
    return frozenset({"label"}).union(*(columns_read(cast("FoldedMethod", method)) for method in made))


def read_table(path: Path, columns: Collection[str], regions: Collection[str]) -> "Columns":
    """Some columns and rows of a Parquet file, or of a folder of them; no others are held.

    Parameters
    ----------
    path
        The file, of a run or of somebody else.
    columns
        The columns wanted; those that it lacks are left out.
    regions
        Names of the regions whose rows are wanted (`processors.selection.REGIONS`), of a run's table; other tables
        have no regions.

    Returns
    -------
    Columns
        Those of the columns that are there, shape (rows, …) each.

    Raises
    ------
    InputError
        If it is missing or no Parquet file.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    from processors.selection import REGIONS
    from processors.tables import from_arrow

    try:
        table = ds.dataset(path, format="parquet")
        inside = ds.field(_REGION).isin([REGIONS.index(region) for region in regions])
        return from_arrow(
            table.to_table(
                columns=[name for name in table.schema.names if name in columns],
                filter=inside if _REGION in table.schema.names else None,
                use_threads=False,
            )
        )
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); check the path"
        raise InputError(msg) from None


def _tables(
    source: Path, signal: Sequence[Path], background: Sequence[Path], columns: Collection[str]
) -> "tuple[Columns, dict[str, Columns]]":
    """The table to train on, and the further ones by keyword; of a run's table the rows of large |Δη| are ``wide``."""
    from analysis.training_tables import beside, regions_beside, searched, stacked

    table = read_table(source, {*columns, _REGION}, ["signal", *regions_beside("signal")])
    named = {"signal": signal, "background": background}
    further = {
        key: stacked([read_table(path, columns, ["signal"]) for path in paths])
        for key, paths in named.items()
        if paths
    }
    if _REGION in table:
        wide, table = beside(table, "signal"), searched(table, "signal")
        further |= {"wide": wide} if len(wide["mjj"]) else {}
    return table, further


def _interval(text: str | None) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in (text or "").split(","))
    except ValueError:
        found = "nothing" if text is None else f"'{text}'"
        msg = f"--signal-region: write two masses in GeV, e.g. 3300,3700; found {found}"
        raise ConfigError(msg) from None
    return low, high


def _write(comparison: "Comparison", out: Path) -> None:
    from analysis.comparison_plots import comparison_figures
    from analysis.comparison_values import comparison_json
    from analysis.plots.style import PlotLabel

    write_json(out / "comparison.json", comparison_json(comparison))
    _save(comparison_figures(comparison, PlotLabel()), out)
    for name, one in comparison.methods.items():
        best, cpu = one.max_sic, one.cpu_seconds.median
        typer.echo(f"{name}: max SIC {best.median:.2f} [{best.low:.2f}, {best.high:.2f}], {cpu:.1f} s CPU")


def _write_run(windows: "Sequence[WindowComparison]", out: Path) -> None:
    from analysis.comparison_plots import fraction_figure, matrix_figure
    from analysis.plots.style import PlotLabel
    from analysis.run_comparison import run_json

    write_json(out / "comparison.json", run_json(windows))
    label = PlotLabel()
    figures: dict[str, Figure] = {}
    for one in windows:
        name = one.window.name
        for sample, matrix in one.complementarity.items():
            figures[f"complementarity_{name}_{sample}"] = matrix_figure(matrix, label, f"{sample} in {name}")
        if any(one.sculpting.values()):
            figures[f"selected_fraction_{name}"] = fraction_figure(
                one.sculpting, one.window.signal_region, label
            )
    _save(figures, out)


def _save(figures: "Mapping[str, Figure]", out: Path) -> None:
    from analysis.plots.style import save_figure

    for name, figure in figures.items():
        save_figure(figure, out, name)


def _console() -> Console:
    """As wide as the terminal; elsewhere wide enough for a method a line."""
    console = Console(highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(width=WIDE_TEXT, highlight=False, markup=False, emoji=False)
    )
