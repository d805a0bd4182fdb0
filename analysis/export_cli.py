"""``oddjet export``: results of a finished run in the formats of other programs."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import ConfigArgument, OutOption, RegionOption, SetOption, prepare
from data.errors import FitError
from data.files import write_json

if TYPE_CHECKING:
    from analysis.run import Run
    from analysis.workspace_index import StoredWorkspace


FOLDER = "exports"


def export_command(
    config: ConfigArgument,
    out: OutOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    *,
    combine: Annotated[
        bool, typer.Option("--combine", help="Datacards of CMS Combine with ROOT templates, one a mass.")
    ] = False,
    hepdata: Annotated[
        bool, typer.Option("--hepdata", help="A HEPData submission (needs the extra 'export').")
    ] = False,
    cabinetry: Annotated[
        bool, typer.Option("--cabinetry", help="cabinetry configurations with templates, one a mass.")
    ] = False,
    patchset: Annotated[
        bool, typer.Option("--patchset", help="A background-only workspace and a patch set for each method.")
    ] = False,
    model_independent: Annotated[
        bool, typer.Option("--model-independent", help="Limits on Gaussians of several widths.")
    ] = False,
) -> None:
    """Write the results of a finished scan for other programs; everything where nothing is chosen.

    They go into the folder ``exports`` of the run, in place of an earlier export.
    """
    run = prepare(config, out, None, settings, region)
    chosen = {
        "combine": combine,
        "hepdata": hepdata,
        "cabinetry": cabinetry,
        "patchset": patchset,
        "model_independent": model_independent,
    }
    for name, wanted in chosen.items():
        if wanted or not any(chosen.values()):
            folder = run.root / FOLDER / name
            shutil.rmtree(folder, ignore_errors=True)
            typer.echo(f"{folder}: {_WRITERS[name](run, folder)} files")


def _combine(run: "Run", folder: Path) -> int:
    from analysis.exports.combine import write_card
    from analysis.workspace_index import read_workspaces

    return sum(len(write_card(folder, stored)) for stored in read_workspaces(run.root))


def _cabinetry(run: "Run", folder: Path) -> int:
    from analysis.exports.cabinetry_config import write_cabinetry
    from analysis.workspace_index import read_workspaces

    return sum(
        len(write_cabinetry(folder / stored.facts.name, stored)) for stored in read_workspaces(run.root)
    )


def _hepdata(run: "Run", folder: Path) -> int:
    from analysis.exports.hepdata import write_submission

    return len(write_submission(folder, run.root))


def _patchset(run: "Run", folder: Path) -> int:
    from analysis.patchset import write_patchset
    from analysis.workspace_index import read_workspaces

    written = 0
    for method, stored in by_method(read_workspaces(run.root)).items():
        description = f"Search for dijet resonances in sample '{run.data.name}', selection '{method}'"
        written += len(write_patchset(folder / method, stored, description))
    return written


def _model_independent(run: "Run", folder: Path) -> int:
    """Of the inclusive spectrum and of every method's selections, each at the masses of its workspaces.

    A mass that the scan flagged has no workspace: its reason is in ``scan.json``.
    """
    from analysis.model_independent import model_independent_limits
    from analysis.spectra import Spectra
    from analysis.workspace_index import read_workspaces
    from processors.histogram_io import read_histograms

    histogram = read_histograms(run.root / "histograms" / f"{run.data.name}.h5")["mjj"]
    spectra = Spectra({run.data.name: histogram}, run.config.selection.region)
    masses: dict[str, list[float]] = {}
    for stored in read_workspaces(run.root):
        masses.setdefault(stored.facts.selection, []).append(stored.facts.mass)
    problems = []
    for selection, own in masses.items():
        rows = model_independent_limits(
            spectra.spectrum(run.data, selection),
            own,
            config=run.config.scan,
            luminosity_ifb=run.data.luminosity(),
        )
        write_json(folder / f"{selection}.json", {"selection": selection, "limits": rows})
        problems += [f"{selection}: {row['message']}" for row in rows if not row["valid"]]
    if problems:
        msg = f"no valid limit on {len(problems)} Gaussians (the others are in {folder}); see the first: {problems[0]}"
        raise FitError(msg)
    return len(masses)


def by_method(stored: "Sequence[StoredWorkspace]") -> "dict[str, list[StoredWorkspace]]":
    """Workspaces of each method over all its windows: ``inclusive``, and the methods' names."""
    from processors.scorers import INCLUSIVE

    found: dict[str, list[StoredWorkspace]] = {}
    for entry in stored:
        window = entry.facts.window
        label = entry.facts.selection
        method = INCLUSIVE if window is None else label.removesuffix(f"_{window}")
        found.setdefault(method, []).append(entry)
    return found


_WRITERS: "dict[str, Callable[[Run, Path], int]]" = {
    "combine": _combine,
    "hepdata": _hepdata,
    "cabinetry": _cabinetry,
    "patchset": _patchset,
    "model_independent": _model_independent,
}
