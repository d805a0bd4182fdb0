"""What a configuration would do: samples, features, trainings, scan, limits, stages, and what they take."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis import plan_estimate as cost
from analysis.limit_pipeline import uncertain
from analysis.run import Run
from analysis.stages import planned, study_stage
from analysis.survey import survey
from data.eventid import N_FOLDS
from data.files import read_json
from data.samples import Sample
from processors.chunk_ranges import chunk_ranges, is_wide
from processors.columns import columns
from processors.preflight import SamplePlan
from processors.scorers import INCLUSIVE

_MOST_MEASURED = {False: 20_000, True: 1_000}
"""Entries of a chunk that is timed: with jets only, with particles."""
_SHARED = ("skim", "train", "hist", "limit")
"""Kinds of stages whose work several processes share."""


@dataclass(frozen=True)
class SampleView:
    """A sample of a plan.

    Attributes
    ----------
    name, part, year
        ``part``: data, signal or background.
    files, entries, chunks
        From the files' headers.
    selected
        Events that pass the selection; None where that is not known.
    particles
        Whether particles, or the objects of the rapidity–mass matrix, are read.
    rate
        Entries a second and core in a pass.
    measured
        Whether the rate is that of a chunk of this sample.
    """

    name: str
    part: str
    year: str
    files: int
    entries: int
    chunks: int
    selected: float | None
    particles: bool
    rate: float
    measured: bool = False


@dataclass(frozen=True)
class MethodView:
    """A method of a plan.

    Attributes
    ----------
    name, preset
        The method, and what its options begin from.
    windows, trainings
        Names of its windows, and how many trainings they are in all.
    seconds
        Of all its trainings on one core; None where no cost is known.
    """

    name: str
    preset: str
    windows: tuple[str, ...]
    trainings: int
    seconds: float | None


@dataclass(frozen=True)
class PlanView:
    """A whole plan.

    Attributes
    ----------
    title, output
        Of the run.
    samples, methods
        What is read and trained.
    columns, event_bytes
        Of the feature table.
    masses, selections, global_toys
        Of the scan.
    limit_trainings
        Folds that the limits with retraining train; None without limits.
    more_trainings
        Whether they train more for systematic uncertainties, how often is told by results of the trainings before.
    stages
        Stage to whether it is up to date.
    workers
        Processes.
    seconds
        Kind of stage to seconds on one core for what is to do.
    unknown
        Methods whose trainings are not in ``seconds``.
    disk, memory
        Bytes of the feature tables while they are made; bytes that a worker takes.
    """

    title: str
    output: str
    samples: tuple[SampleView, ...]
    methods: tuple[MethodView, ...]
    columns: int
    event_bytes: int
    masses: tuple[float, ...]
    selections: int
    global_toys: int
    limit_trainings: int | None
    more_trainings: bool
    stages: Mapping[str, bool]
    workers: int
    seconds: Mapping[str, float]
    unknown: tuple[str, ...]
    disk: float
    memory: float

    @property
    def wall(self) -> float:
        """Seconds until the end: what is read, trained and scored is shared by the workers."""
        if all(self.stages.values()):
            return 0.0
        shared = sum(self.seconds.get(kind, 0.0) for kind in _SHARED)
        return (
            cost.START
            + shared / self.workers
            + sum(seconds for kind, seconds in self.seconds.items() if kind not in _SHARED)
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        content = {**asdict(self), "stages": dict(self.stages), "seconds": dict(self.seconds)}
        return {**content, "wall_seconds": self.wall}


def plan_view(run: Run, *, measure: bool = False) -> PlanView:
    """Look at a run without doing anything.

    Parameters
    ----------
    run
        The run; nothing is written to its folder.
    measure
        Time a chunk of each sample, instead of taking costs measured elsewhere.

    Raises
    ------
    InputError
        If a file cannot be read, or lacks what the configuration needs.
    """
    stages = survey(run)
    plans = {name: planned(run, sample, keep=False) for name, sample in run.samples.items()}
    samples = {name: _sample_view(run, plan) for name, plan in plans.items()}
    if measure:
        samples = {name: _measured(run, plans[name], view) for name, view in samples.items()}
    config, searched = run.config, samples[run.data.name]
    kinds = columns(config.features, label=False)
    methods = tuple(_method_view(run, name, searched) for name in config.methods)
    limits = _limit_trainings(run)
    event_bytes = sum(
        int(np.prod(kind.shape, dtype=np.int64)) * kind.base.itemsize for kind in kinds.values()
    )
    sizes = {True: config.processing.particle_chunk_size, False: config.processing.chunk_size}
    longest = max(min(_largest(plans[name]), sizes[one.particles]) for name, one in samples.items())
    return PlanView(
        title=config.run.title,
        output=str(run.root),
        samples=tuple(samples.values()),
        methods=methods,
        columns=len(kinds),
        event_bytes=event_bytes,
        masses=config.scan.masses,
        selections=1 + len(methods),
        global_toys=config.scan.global_toys,
        limit_trainings=limits,
        more_trainings=trains_more(run, stages),
        stages=stages,
        workers=config.processing.workers,
        seconds=_seconds(run, samples, methods, stages),
        unknown=tuple(one.name for one in methods if one.seconds is None),
        disk=sum(cost.table_bytes(_selected(one), event_bytes) for one in samples.values()),
        memory=cost.worker_memory(
            longest, particles=any(one.particles for one in samples.values()), networks=bool(methods)
        ),
    )


def _largest(plan: SamplePlan) -> int:
    return max((file.entries for file in plan.files), default=0)


def _sample_view(run: Run, plan: SamplePlan) -> SampleView:
    sample = plan.sample
    particles = any(is_wide(file) for file in plan.files)
    account = run.root / "accounts" / f"skim.{sample.name}.json"
    known = read_json(account) if account.is_file() else None
    return SampleView(
        name=sample.name,
        part=_part(run, sample),
        year=sample.year,
        files=len(plan.files),
        entries=sum(file.entries for file in plan.files),
        chunks=sum(1 for _ in chunk_ranges(plan, run.config.processing)),
        selected=float(known["selected"]) if known is not None and known["complete"] else None,
        particles=particles,
        rate=cost.event_rate(particles=particles),
    )


def _part(run: Run, sample: Sample) -> str:
    if sample.name == run.data.name:
        return "mock data" if sample.mock else "data"
    return "background" if sample.name in run.config.search.background else "signal"


def _measured(run: Run, plan: SamplePlan, view: SampleView) -> SampleView:
    from analysis.chunk_trial import try_chunk  # noqa: PLC0415 - processing events takes seconds to import

    trial = try_chunk(plan, run.config.events(), _MOST_MEASURED[view.particles], timed=True)
    if trial is None:
        return view
    tables = trial.result["tables"]
    share = len(tables["nominal"]["mjj"]) / trial.entries if "nominal" in tables else 0.0
    selected = view.selected if view.selected is not None else share * view.entries
    return replace(view, rate=trial.rate, selected=selected, measured=True)


def _selected(view: SampleView) -> float:
    """Selected events; all where it is not known."""
    return view.entries if view.selected is None else view.selected


def _method_view(run: Run, name: str, searched: SampleView) -> MethodView:
    windows = tuple(window.name for window in run.config.windows())
    preset = str(run.config.methods[name].get("preset") or "default")
    each = cost.training_seconds(name, preset, _selected(searched))
    return MethodView(
        name, preset, windows, N_FOLDS * len(windows), None if each is None else each * len(windows)
    )


def _limit_trainings(run: Run) -> int | None:
    """Folds that the limits train: each cross section of a signal with each seed, in the signal's window."""
    if run.config.limits is None:
        return None
    methods = [name for name in run.limit_selections() if name in run.config.methods]
    injections = sum(len(values) for values in run.limits.signals.values())
    return len(methods) * injections * run.limits.seeds * N_FOLDS


def trains_more(run: Run, stages: Mapping[str, bool]) -> bool:
    """Whether the limits have trainings for systematic uncertainties to do, or it is not known yet.

    Parameters
    ----------
    run
        The run.
    stages
        Stage to whether it is up to date; a survey leaves out those that no result asks for yet.
    """
    if run.config.limits is None:
        return False
    named = [study_stage(*one) for one in uncertain(run)]
    return not all(
        stages.get(f"{name} injection", False) and stages.get(f"{name} retraining", True) for name in named
    )


def _seconds(
    run: Run, samples: Mapping[str, SampleView], methods: tuple[MethodView, ...], stages: Mapping[str, bool]
) -> dict[str, float]:
    """Seconds on one core for the stages that are not up to date, by kind of stage."""
    windows = {one.name: len(one.windows) for one in methods}
    found: dict[str, float] = {}
    for stage, current in stages.items():
        kind, _, rest = stage.partition(" ")
        if not current:
            found[kind] = found.get(kind, 0.0) + _stage_seconds(run, kind, rest, samples, methods, windows)
    return found


def _stage_seconds(
    run: Run,
    kind: str,
    rest: str,
    samples: Mapping[str, SampleView],
    methods: tuple[MethodView, ...],
    windows: Mapping[str, int],
) -> float:
    if kind in {"skim", "hist"}:
        view = samples[rest]
        about = cost.SampleCost(
            view.entries,
            _selected(view),
            view.rate,
            searched=rest == run.data.name,
        )
        return cost.pass_seconds(about, windows if kind == "hist" else None)
    if kind == "train":
        method = next(one for one in methods if one.name == rest.partition(" ")[0])
        return 0.0 if method.seconds is None else method.seconds / len(method.windows)
    if kind == "limit":
        return _limit_seconds(run, rest, methods)
    if kind == "scan":
        return cost.scan_seconds(len(run.config.scan.masses), 1 + len(methods), run.config.scan.global_toys)
    return cost.REPORT if kind in {"report", "studies"} else 0.0


def _limit_seconds(run: Run, rest: str, methods: tuple[MethodView, ...]) -> float:
    """The trainings of a signal's injections with one method."""
    signal, _, name = rest.partition(" ")
    method = next((one for one in methods if one.name == name), None)
    if method is None or method.name == INCLUSIVE or method.seconds is None:
        return 0.0
    return len(run.limits.signals[signal]) * run.limits.seeds * method.seconds / len(method.windows)
