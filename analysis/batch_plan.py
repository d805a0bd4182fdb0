"""A run cut into jobs of a batch system: which there are, what each must do, and what it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.batch_folder import folder_of
from analysis.limit_pipeline import studies, uncertain
from analysis.run import Run
from analysis.stages import planned, sample_options, varied_signals, varied_stage, without_folders
from condor.campaign import Campaign, StageRecord
from condor.config import BatchConfig
from condor.jobs import Entries, JobSpec, Stage
from condor.profile import Profile, read_profile
from condor.wheel import commit
from data.errors import ConfigError
from data.eventid import N_FOLDS
from data.files import hash_json
from data.manifest import code_version
from data.samples import Sample
from data.xrootd import is_remote
from processors.corrections.config import correction_files
from processors.loop import share, work_items
from processors.lund_reweighting_survey import survey_of
from processors.plan_io import write_plan
from processors.preflight import SamplePlan
from processors.run import prepared
from processors.tasks import ChunkTask

PARTIALS = "partials"


@dataclass(frozen=True)
class Plans:
    """What the files of all samples hold.

    Attributes
    ----------
    samples
        Sample to plan.
    surveyed
        Those with events that must be looked through before any pass over them.
    """

    samples: dict[str, SamplePlan]
    surveyed: frozenset[str]


def look(run: Run) -> Plans:
    """Look at all files of a run once; its jobs need not look again."""
    plans, surveyed = {}, set()
    for name, sample in run.samples.items():
        plans[name] = planned(run, sample)
        _, recipe = prepared(sample, run.config.events(), plans[name])
        if survey_of(recipe) is not None and any(file.entries for file in plans[name].files):
            surveyed.add(name)
    return Plans(plans, frozenset(surveyed))


def config_hash(run: Run) -> str:
    """Hash of the configuration and the samples; where files lie and how they are processed are not part of it."""
    shown = run.config.model_dump(
        mode="json",
        exclude={
            "run": {"output", "copy_to"},
            "processing": True,
            "batch": True,
            "corrections": True,
            "samples": True,
        },
    )
    corrections = {year: without_folders(part.model_dump()) for year, part in run.config.corrections.items()}
    return hash_json(
        [shown, corrections, {name: sample_options(sample) for name, sample in run.samples.items()}]
    )


def campaign_of(run: Run, plans: Plans, profile: Profile) -> Campaign:
    """The jobs of all stages of a run.

    Parameters
    ----------
    run
        The run.
    plans
        From `look`.
    profile
        The site.

    Returns
    -------
    Campaign
        The same for the same code, configuration and files.

    Raises
    ------
    ConfigError
        If jobs could not see a local file, or two files that they are given are called alike.
    """
    check_visible(run, profile)
    beside = side_files(run)
    specs = _specs(run, plans)
    stages: dict[Stage, StageRecord] = {}
    for stage, jobs in specs.items():
        if not jobs:
            continue
        events = {name: plans.samples[name] for name in _samples_of(run, plans, stage)}
        stages[stage] = StageRecord(
            jobs=tuple(jobs),
            memory_mb=run.config.batch.memory_mb.get(stage, profile.request.memory_mb),
            files={
                name: {file.uuid.hex(): file.entries for file in plan.files} for name, plan in events.items()
            },
            inputs=(*(str(path) for path in beside.values()), *_inputs(run, plans, stage)),
            own={job.name: str(_plan_file(run, job.task["sample"])) for job in jobs} if events else {},
        )
    return Campaign(
        title=run.config.run.title,
        code_version=code_version(),
        commit=commit(),
        config_hash=config_hash(run),
        profile=profile,
        container=run.config.batch.container,
        stages=stages,
    )


def site_of(batch: BatchConfig) -> Profile:
    """The site profile that a configuration names."""
    return read_profile(batch.profile)


def write_plans(run: Run, plans: Plans) -> None:
    """Write what the files hold, for the jobs."""
    for name, plan in plans.samples.items():
        write_plan(_plan_file(run, name), plan)


def payload_of(run: Run) -> dict[str, Any]:
    """What every job is told: the configuration and the samples, files beside them by their last names."""
    config = run.config.model_dump(mode="json")
    config["run"] |= {"output": ".", "copy_to": None}  # what is merged is copied, by the submit machine
    for section in config["corrections"].values():
        for part in section.values():
            if isinstance(part, dict):
                part.update(
                    {key: Path(part[key]).name for key in ("file", "efficiency_file") if part.get(key)}
                )
    samples = {name: sample.model_dump(mode="json") for name, sample in run.samples.items()}
    for sample in samples.values():
        sample.update(
            {key: Path(sample[key]).name for key in ("golden_json", "luminosity_table") if sample[key]}
        )
    return {"config": config, "samples": samples}


def side_files(run: Run) -> dict[str, Path]:
    """Files that jobs need besides events and what earlier stages made, by the names that jobs see.

    Raises
    ------
    ConfigError
        If two are called alike.
    """
    events = run.config.events()
    paths: list[Path] = []
    for sample in run.samples.values():
        paths += correction_files(events.corrections_of(sample))
        paths += [path for path in (sample.golden_json, sample.luminosity_table) if path is not None]
    named: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        if named.setdefault(path.name, path) != path:
            msg = f"'{named[path.name]}' and '{path}' are called alike, and a job has them in one folder; rename one"
            raise ConfigError(msg)
    return named


def check_visible(run: Run, profile: Profile) -> None:
    """Refuse local input files that workers do not see.

    Raises
    ------
    ConfigError
        Naming the first one and the folders that they do see.
    """
    for sample in run.samples.values():
        for file in sample.files:
            if any(_seen(address, profile) for address in sample.access(file).addresses):
                continue
            seen = ", ".join(str(folder) for folder in profile.visible) or "none"
            msg = (
                f"sample '{sample.name}': file '{file}' is local, and the profile says that workers see these folders: "
                f"{seen}; give a root:// address, or name the folder under 'visible' in a profile of your own"
            )
            raise ConfigError(msg)


def _seen(address: str, profile: Profile) -> bool:
    return is_remote(address) or any(Path(address).is_relative_to(folder) for folder in profile.visible)


def _plan_file(run: Run, sample: str) -> Path:
    return folder_of(run).path / "plans" / f"{sample}.plan.json"


def passes(run: Run) -> dict[Stage, list[str]]:
    """The samples whose events each pass reads; what they need looked through first, `survey` does for all passes."""
    return {"skim": list(run.samples), "hist": list(run.filled), "vary": list(varied_signals(run))}


def pass_name(stage: Stage, sample: str) -> str:
    """What a run calls a pass over a sample."""
    return varied_stage(sample) if stage == "vary" else f"{stage} {sample}"


def _samples_of(run: Run, plans: Plans, stage: Stage) -> list[str]:
    """The samples whose events a stage reads."""
    if stage == "survey":
        return [name for name in run.samples if name in plans.surveyed]
    return passes(run).get(stage, [])


def _inputs(run: Run, plans: Plans, stage: Stage) -> tuple[str, ...]:
    """What earlier stages made that a stage's jobs are given."""
    # where no sample of this stage was looked through first, nothing makes the folder, and its jobs would be held
    surveyed = (PARTIALS,) if plans.surveyed.intersection(_samples_of(run, plans, stage)) else ()
    models_needed = ("models",) if run.tasks() else ()
    together = run.config.scan.global_toys > 0  # toys ask which events the selections share
    features = ("features",) if together and run.tasks() else ()
    studied = ("features", "histograms", "manifests")
    names: Mapping[Stage, tuple[str, ...]] = {
        "survey": (),
        "skim": surveyed,
        "train": ("features",),
        "hist": (*surveyed, *models_needed),
        "limit": studied,
        "vary": surveyed,
        "retrain": (*studied, "limits", "varied"),
        "analyse": (
            "histograms",
            "manifests",
            *(("limits",) if run.config.limits is not None else ()),
            *features,
            *(models_needed if together else ()),
        ),
    }
    return tuple(str(run.root.resolve() / name) for name in names[stage])


def _specs(run: Run, plans: Plans) -> dict[Stage, list[JobSpec]]:
    common = {"config_hash": config_hash(run), "code_version": code_version()}
    specs: dict[Stage, list[JobSpec]] = {}
    event_stages: tuple[Stage, ...] = ("survey", "skim", "hist", "vary")
    for stage in event_stages:
        specs[stage] = [
            JobSpec(
                name=f"{stage}.{name}.{number:05d}",
                stage=stage,
                task={"sample": name, "part": [number, count]},
                entries=entries,
                **common,
            )
            for name in _samples_of(run, plans, stage)
            for number, count, entries in _parts(run, plans.samples[name])
        ]
    specs["train"] = [
        JobSpec(
            name=f"train.{task['method']}.{task['window']}.{_fold_label(task['folds'])}",
            stage="train",
            task=task,
            **common,
        )
        for task in _trainings(run)
    ]
    limits = run.config.limits is not None
    retrained: dict[Stage, list[tuple[str, str]]] = {
        "limit": studies(run) if limits else [],
        "retrain": uncertain(run) if limits else [],
    }
    for stage, tasks in retrained.items():
        specs[stage] = [
            JobSpec(
                name=f"{stage}.{signal}.{method}",
                stage=stage,
                task={"signal": signal, "method": method},
                **common,
            )
            for signal, method in tasks
        ]
    specs["analyse"] = [JobSpec(name="analyse", stage="analyse", task={}, **common)]
    return specs


def _parts(run: Run, plan: SamplePlan) -> list[tuple[int, int, tuple[Entries, ...]]]:
    """Number, count and entries of the shares of a sample's chunks that are not empty."""
    tasks = [ChunkTask(item, "") for item in work_items(plan, run.config.processing)]
    count = -(-len(tasks) // run.config.batch.chunks_per_job)
    parts = []
    for number in range(count):
        chosen = [task.item for task in share(tasks, (number, count))]
        if chosen:
            parts.append((number, count, _joined(plan.sample, chosen)))
    return parts


def _joined(sample: Sample, items: Sequence[Any]) -> tuple[Entries, ...]:
    """The entries of chunks, neighbours of one file in one piece."""
    joined: list[Entries] = []
    for item in items:
        piece = Entries(
            sample=sample.name,
            file=item.filename,
            uuid=item.fileuuid.hex(),
            start=item.entrystart,
            stop=item.entrystop,
        )
        last = joined[-1] if joined else None
        if last is not None and (last.uuid, last.stop) == (piece.uuid, piece.start):
            joined[-1] = last.model_copy(update={"stop": piece.stop})
        else:
            joined.append(piece)
    return tuple(joined)


def _trainings(run: Run) -> list[dict[str, Any]]:
    """Tasks of the training jobs: some folds of a method in a window."""
    size = run.config.batch.trainings_per_job
    groups = [list(range(first, min(first + size, N_FOLDS))) for first in range(0, N_FOLDS, size)]
    return [
        {"method": method, "window": window.name, "folds": folds}
        for method, window in run.tasks()
        for folds in groups
    ]


def _fold_label(folds: Sequence[int]) -> str:
    return "-".join(str(fold) for fold in dict.fromkeys((folds[0], folds[-1])))
