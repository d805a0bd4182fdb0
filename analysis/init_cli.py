"""``oddjet init``: a first configuration for files, after a look at them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import quietly
from analysis.completion import files
from data.errors import ConfigError, OddjetError
from data.files import atomic_path
from data.samples import Sample, read_samples

if TYPE_CHECKING:
    from analysis.first_events import Suggestion
    from analysis.first_look import Possible
    from analysis.first_samples import SearchDraft


_FIRST_ENTRIES = 20_000
_FIRST_WITH_PARTICLES = 1_000
_SAMPLES = "_samples"

FilesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="ROOT files of data and simulation: files, folders, patterns, root:// addresses.",
        autocompletion=files(".root"),
    ),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", help="The configuration to write; its samples go to NAME_samples.yaml beside."),
]


def init_command(files: FilesArgument, out: OutOption = Path("search.yaml")) -> None:
    """Look at files, and write a commented configuration that searches them; nothing is overwritten."""
    from analysis.config import load_config
    from analysis.config_schema import shipped
    from analysis.first_config import config_text, samples_text
    from analysis.first_look import files_of, look_at_files, what_is_possible
    from analysis.first_samples import draft_search

    samples_path = out.with_name(f"{out.stem}{_SAMPLES}.yaml")
    for path in (out, samples_path):
        if path.exists():
            msg = f"{path} is there already; give another name with --out, or remove it"
            raise ConfigError(msg)
    looks = look_at_files(files_of(files, Path.cwd()))
    draft = draft_search(looks)
    possible = what_is_possible([look for sample in draft.searched for look in sample.looks])
    write_text(samples_path, samples_text(draft, samples_path.parent, shipped("samples")))
    try:
        samples = read_samples(samples_path)
        with quietly():
            suggestion, note = first_events(draft, possible, samples)
        text = config_text(draft, possible, suggestion, samples_path.name, out.stem, shipped("search"))
        write_text(out, text)
        load_config(out)
    except BaseException:
        samples_path.unlink(missing_ok=True)
        out.unlink(missing_ok=True)
        raise
    for line in _told(draft, suggestion):
        typer.echo(line)
    if note:
        typer.echo(f"not yet: {note}")
    typer.echo(f"{out} and {samples_path} are written; next: oddjet plan {out}, then oddjet run {out}")


def write_text(path: Path, text: str) -> None:
    """Write a text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def first_events(
    draft: "SearchDraft", possible: "Possible", samples: dict[str, Sample]
) -> "tuple[Suggestion, str]":
    """Select among the first events of the data, and see what the samples lack for a search together.

    Parameters
    ----------
    draft
        The search.
    possible
        What can be made of the files.
    samples
        The samples as defined.

    Returns
    -------
    suggestion, note
        Fit range and masses; what stops a run of these files, empty where nothing does.
    """
    from analysis.chunk_trial import try_chunk
    from analysis.first_events import suggest
    from processors.config import FeaturesConfig
    from processors.event_options import EventOptions
    from processors.look import check_same_sources
    from processors.preflight import plan_sample
    from processors.selection import REGIONS

    options = EventOptions(jets=possible.jets, features=FeaturesConfig(without=possible.without))
    data = samples[draft.data.name]
    try:
        plan = plan_sample(data, options.demand(data))
        wide = any(file.schema is not None and file.schema.reads_particles for file in plan.files)
        trial = try_chunk(plan, options, _FIRST_WITH_PARTICLES if wide else _FIRST_ENTRIES)
        if draft.signals:
            check_same_sources([samples[one.name] for one in draft.searched], options)
    except OddjetError as error:
        return suggest_nothing(), str(error)
    table = None if trial is None else trial.result["tables"].get("nominal")
    if trial is None or table is None:
        return suggest_nothing(), ""
    mjj = table["mjj"][table["region"] == REGIONS.index("signal")]
    masses = [signal.mass for signal in draft.signals if signal.mass is not None]
    return suggest(mjj, draft.data.entries / trial.entries, masses), ""


def suggest_nothing() -> "Suggestion":
    """The suggestion of no event."""
    import numpy as np

    from analysis.first_events import suggest

    return suggest(np.zeros(0), 1.0)


def _told(draft: "SearchDraft", suggestion: "Suggestion") -> list[str]:
    """What was found, in a few lines."""
    from analysis.first_config import number_of_files
    from analysis.first_events import LEAST_FOR_FIT

    lines = []
    for sample in draft.samples:
        what = "mock data" if sample.mock else sample.part
        mass = f", {sample.mass:g} GeV" if sample.mass else ""
        left = f" — not in the search: {draft.left_out[sample.name]}" if sample.name in draft.left_out else ""
        formats = ", ".join(dict.fromkeys(look.format for look in sample.looks))
        lines.append(
            f"{sample.name}: {what}{mass}, year {sample.year.year} ({sample.year.how}), {number_of_files(sample)}, "
            f"{sample.entries:,} entries, {formats}{left}"
        )
    masses = suggestion.masses
    span = f"{masses[0]:g}" if len(masses) == 1 else f"{masses[0]:g} to {masses[-1]:g}"
    lines.append(f"about {suggestion.expected:,.0f} events are selected; masses tested: {span} GeV")
    if suggestion.expected < LEAST_FOR_FIT:
        lines += [
            "these are few: a mass whose fit range does not hold two bins of 5 events gets no p-value and no limit",
            f"all jets, whatever is selected: oddjet substructure {draft.data.looks[0].path} --out jets.parquet",
        ]
    return lines
