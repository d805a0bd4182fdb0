"""``oddjet plan``: what a configuration would do, and how long it would take."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import (
    ConfigArgument,
    JsonOption,
    OutOption,
    RegionOption,
    SetOption,
    WorkersOption,
    prepare,
    quietly,
)
from analysis.windows import window_of
from processors.progress import time_words

if TYPE_CHECKING:
    from analysis.plan_view import PlanView, SampleView


MeasureOption = Annotated[
    bool,
    typer.Option(
        "--measure", help="Time a chunk of each sample, instead of taking costs measured elsewhere."
    ),
]


def plan_command(
    config: ConfigArgument,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    measure: MeasureOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do and take: files, trainings, scan, which stages are up to date; nothing is written."""
    with quietly():
        run = prepare(config, out, workers, settings, region)
        from analysis.plan_view import plan_view

        view = plan_view(run, measure=measure)
    if as_json:
        typer.echo(json.dumps(view.to_json(), indent=1, ensure_ascii=False))
        return
    for line in plan_lines(view):
        typer.echo(line)


def plan_lines(view: "PlanView") -> Iterator[str]:
    """A plan in words."""
    yield f"{view.title}, into {view.output}"
    yield "samples"
    for sample in view.samples:
        yield f"  {_sample_line(sample)}"
    yield f"features: {view.columns} columns, {view.event_bytes:,} bytes an event"
    windows = list(dict.fromkeys(window_of(mass).name for mass in view.masses))
    if view.methods:
        yield f"methods, each in the window{'s' if len(windows) > 1 else ''} {', '.join(windows)}"
        for method in view.methods:
            time = "time not known" if method.seconds is None else f"{time_words(method.seconds)} of one core"
            yield f"  {method.name} (preset {method.preset}): {method.trainings} trainings, {time}"
    else:
        yield "methods: none, the spectrum alone is searched"
    masses = view.masses
    span = (
        f"{masses[0]:g}" if len(masses) == 1 else f"{len(masses)} masses from {masses[0]:g} to {masses[-1]:g}"
    )
    toys = f", {view.global_toys:,} pseudo-experiments for global p-values" if view.global_toys else ""
    selections = "1 selection" if view.selections == 1 else f"{view.selections} selections each"
    yield f"scan: {span} GeV in {selections}{toys}"
    if view.limit_trainings is not None:
        least = "at least " if view.more_trainings else ""
        yield f"limits with retraining: {least}{view.limit_trainings} trainings"
    yield from _stage_lines(view)
    yield from _estimate_lines(view)


def _sample_line(sample: "SampleView") -> str:
    selected = "" if sample.selected is None else f", {sample.selected:,.0f} selected"
    rate = f"{sample.rate:,.0f} events/s a core{', measured' if sample.measured else ''}"
    what = "with particles, " if sample.particles else ""
    files = "1 file" if sample.files == 1 else f"{sample.files:,} files"
    chunks = "1 chunk" if sample.chunks == 1 else f"{sample.chunks:,} chunks"
    return f"{sample.name} ({sample.part}, {sample.year}): {files}, {sample.entries:,} entries{selected}, {chunks}, {what}{rate}"


def _stage_lines(view: "PlanView") -> Iterator[str]:
    done = [stage for stage, current in view.stages.items() if current]
    left = [stage for stage, current in view.stages.items() if not current]
    if not left:
        yield f"stages: all {len(done)} are up to date"
        return
    kinds = Counter(stage.partition(" ")[0] for stage in left)
    words = [kind if number == 1 else f"{kind} ({number})" for kind, number in kinds.items()]
    yield f"stages: {len(done)} of {len(view.stages)} up to date; to do: {', '.join(words)}"


def _estimate_lines(view: "PlanView") -> Iterator[str]:
    from analysis.plan_estimate import START, size_in_words

    if all(view.stages.values()):
        return
    parts = [f"start {time_words(START)}"]
    parts += [f"{kind} {time_words(seconds)}" for kind, seconds in view.seconds.items() if seconds >= 0.05]
    least = "at least " if view.unknown or view.more_trainings else "about "
    processes = "1 process" if view.workers == 1 else f"{view.workers} processes"
    yield f"time: {least}{time_words(view.wall)} with {processes} (one core: {', '.join(parts)})"
    if view.unknown:
        yield f"  without the trainings of {', '.join(view.unknown)}, whose time is not known"
    if view.more_trainings:
        yield "  without another pass over the signals of the limits and further trainings, for systematic uncertainties:"
        yield "  the trainings before tell which are needed"
    if any(sample.selected is None for sample in view.samples):
        yield "  how many events pass the selection is not known: all are counted; --measure looks at some"
    yield f"disk: up to {size_in_words(view.disk)} for feature tables while they are made"
    yield f"memory: about {size_in_words(view.memory)} a process, {size_in_words(view.memory * view.workers)} in all"
