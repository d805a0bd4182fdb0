"""The self-contained page of a run: figures drawn and saved, tables filled in, one HTML file written."""

import base64
import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from analysis.plots.style import PlotLabel, save_figure
from analysis.report import event_tables, tables
from analysis.report.bare_spectra import draw_bare_spectra
from analysis.report.bars import Bars, draw_bars
from analysis.report.charts import draw_chart
from analysis.report.event_display import shown_events
from analysis.report.event_pictures import shared_axes
from analysis.report.figures import Drawn, draw_figures, side_bands_kept
from analysis.report.limit_words import limit_words
from analysis.report.look_elsewhere import global_p_values, over_methods
from analysis.report.record import RunRecord, read_record
from analysis.report.retraining import draw_retraining, retraining_tables
from analysis.report.sections import (
    Shown,
    feature_parts,
    headline,
    selection_parts,
    simulation_parts,
    simulation_words,
)
from analysis.report.side_by_side import comparison_parts
from analysis.report.systematics import draw_systematics, systematics_tables
from data.files import atomic_path

Images = dict[str, list[tuple[str, Shown]]]
"""Section to its figures, each with the selection that it belongs to."""
_PLAIN = ("scan", "limits", "retraining", "systematics")
_MANY_CHARTS = 200
"""Charts of features and methods above which a browser lays out only what is near its window."""
_TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


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
        Folder that holds ``scan.json``, ``fits.json``, ``systematics.json``, ``cutflow.json``, ``account.json``,
        ``studies.json``, ``events.json`` and ``histograms/SAMPLE.h5`` of every sample in the cutflow; ``limits.json`` is
        shown where there is one.
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
    images: Images = {}
    for drawn in itertools.chain(
        draw_figures(record, label),
        draw_bare_spectra(record, label),
        draw_systematics(record, label),
        draw_retraining(record.limits, label),
    ):
        written += save_figure(drawn.figure, run_folder / "plots", drawn.name)
        images.setdefault(drawn.section, []).append((drawn.owner, _embed(drawn)))
    page = run_folder / "report" / "index.html"
    text = _render(record, title, config, provenance, images)
    with atomic_path(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [page, *written]


def _embed(drawn: Drawn) -> Shown:
    """A figure as the page shows it."""
    draw = (
        draw_bars(drawn.chart, drawn.alt)
        if isinstance(drawn.chart, Bars)
        else draw_chart(drawn.chart, drawn.alt)
    )
    return Shown(drawn.name, draw, drawn.caption, saved=True)


def _render(
    record: RunRecord,
    title: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    images: Images,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    content = _content(record, images)
    charts = [shown for _, shown in content["features"]]
    charts += [part for one in content["methods"] for part in (one.spectra, one.scores, one.training)]
    return environment.get_template("report.html").render(
        title=title,
        subtitle=tables.conditions(record.scan),
        links=_links(content),
        script=Markup(script),  # noqa: S704 - a file of ours
        script_hash=f"sha256-{digest}",
        many_charts=sum(map(len, charts)) > _MANY_CHARTS,
        configuration=yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=88),
        **content | {"tables": content["tables"] | {"provenance": [tables.provenance_table(provenance)]}},
    )


def _content(record: RunRecord, images: Images) -> dict[str, Any]:
    """What stands in the page's sections, by the names that the template uses."""
    scan = record.scan
    improvement, matrices = comparison_parts(record)
    return {
        "headline": headline(record),
        "excesses": tables.excesses(scan),
        "global_p_values": global_p_values(scan),
        "over_methods": over_methods(scan),
        "account": record.account,
        "counts": event_tables.account_counts(record.account),
        "methods": selection_parts(record, images),
        "features": feature_parts(record),
        "simulation_words": simulation_words(record),
        "limit_words": limit_words(record),
        "events": shown_events(record.studies, record.events),
        "event_axes": shared_axes(record.events.events.values()),
        "any_particles": any(event.has_particles for event in record.events.events.values()),
        "systematics_in_limits": record.systematics.in_limits,
        "figures": {
            **{name: [shown for _, shown in images.get(name, ())] for name in _PLAIN},
            "simulation": simulation_parts(record),
            "comparison": improvement,
        },
        "tables": _tables(record) | {"comparison": matrices},
    }


def _tables(record: RunRecord) -> dict[str, list[tables.Table]]:
    scan = record.scan
    windows, remarks = tables.window_table(scan, side_bands_kept(record)), tables.remark_table(scan)
    return {
        "data": [
            *event_tables.account_tables(record.account),
            *event_tables.luminosity_tables(record.account),
        ],
        "cutflow": event_tables.cutflow_tables(record.cutflow),
        "windows": [] if windows is None else [windows],
        "remarks": [] if remarks is None else [remarks],
        "limits": [
            table for name, points in scan.selections.items() for table in tables.limit_tables(points, name)
        ],
        "retraining": retraining_tables(record.limits),
        "systematics": systematics_tables(record.systematics.selections),
    }


def _links(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Addresses and words of the page's sections, in their order."""
    shown, figures = content["tables"], content["figures"]
    found = [
        ("summary", "Summary", True),
        ("data", "Events", True),
        ("windows", "Windows", shown["windows"]),
        ("features", "Features", content["features"] or figures["simulation"]),
        *((f"selection-{part.name}", part.title, True) for part in content["methods"]),
        ("comparison", "Side by side", figures["comparison"] or shown["comparison"]),
        ("limits", "Limits", True),
        ("retraining", "Retraining", shown["retraining"]),
        ("systematics", "Uncertainties", True),
        ("events", "Event display", content["events"]),
        ("provenance", "Provenance", True),
    ]
    return [(anchor, words) for anchor, words, there in found if there]
