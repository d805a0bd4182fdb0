"""The self-contained page of a run: figures drawn and saved, tables filled in, one HTML file written."""

import base64
import itertools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from analysis.plots.style import PlotLabel, save_figure
from analysis.report import tables
from analysis.report.figures import Drawn, draw_figures
from analysis.report.look_elsewhere import global_p_values, over_methods
from analysis.report.record import RunRecord, read_record
from analysis.report.retraining import draw_retraining, retraining_tables
from analysis.report.systematics import draw_systematics, systematics_tables
from data.files import atomic_path

_TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


@dataclass(frozen=True)
class _Image:
    """A figure as the page shows it: PNG bytes inside the page, file names beside it."""

    name: str
    source: str
    width: int
    height: int
    caption: str
    alt: str


def write_report(
    run_folder: Path,
    title: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    status: str = "simulation",
) -> list[Path]:
    """Write the plots and the report of a run.

    Parameters
    ----------
    run_folder
        Folder that holds ``scan.json``, ``fits.json``, ``systematics.json``, ``cutflow.json``, ``account.json`` and
        ``histograms/SAMPLE.h5`` of every sample in the cutflow; ``limits.json`` is shown where there is one.
    title
        Title of the page.
    config
        The configuration as plain values; shown as YAML.
    provenance
        Versions, hashes and seeds; may be nested.
    status
        Words after "oddjet" above every plot, e.g. ``simulation``.

    Returns
    -------
    list of Path
        ``report/index.html`` first, then each plot as PDF and PNG in ``plots/``.

    Raises
    ------
    InputError
        If a file is missing or does not hold what it should; the message names the stage that makes it.
    """
    record = read_record(run_folder)
    label = PlotLabel(status, record.scan.luminosity_ifb, record.scan.sqrt_s)
    written: list[Path] = []
    images: dict[str, list[_Image]] = {}
    for drawn in itertools.chain(
        draw_figures(record, label), draw_systematics(record, label), draw_retraining(record.limits, label)
    ):
        paths = save_figure(drawn.figure, run_folder / "plots", drawn.name)
        written += paths
        images.setdefault(drawn.section, []).append(_embed(drawn, paths[-1]))
    page = run_folder / "report" / "index.html"
    text = _render(record, title, config, provenance, images)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [page, *written]


def _embed(drawn: Drawn, png: Path) -> _Image:
    content = png.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # the header chunk of a PNG begins with its size
    source = "data:image/png;base64," + base64.b64encode(content).decode("ascii")
    return _Image(drawn.name, source, width, height, drawn.caption, drawn.alt)


def _render(
    record: RunRecord,
    title: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    images: Mapping[str, list[_Image]],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scan = record.scan
    windows, remarks = tables.window_table(scan), tables.remark_table(scan)
    return environment.get_template("report.html").render(
        title=title,
        subtitle=tables.conditions(scan),
        excesses=tables.excesses(scan),
        global_p_values=global_p_values(scan),
        over_methods=over_methods(scan),
        account=record.account,
        counts=tables.account_counts(record.account),
        tables={
            "data": [*tables.account_tables(record.account), *tables.luminosity_tables(record.account)],
            "cutflow": tables.cutflow_tables(record.cutflow),
            "windows": [] if windows is None else [windows],
            "spectra": tables.fit_tables(record.fits),
            "scan": [
                *(tables.scan_table(points, name) for name, points in scan.selections.items()),
                *([] if remarks is None else [remarks]),
            ],
            "limits": [
                table
                for name, points in scan.selections.items()
                for table in tables.limit_tables(points, name)
            ],
            "retraining": retraining_tables(record.limits),
            "systematics": systematics_tables(record.systematics.selections),
            "provenance": [tables.provenance_table(provenance)],
        },
        images=images,
        systematics_in_limits=record.systematics.in_limits,
        configuration=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=88),
    )
