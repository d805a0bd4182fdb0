"""The text of a first configuration and its sample definition: what was found, what was chosen, and why."""

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from analysis.first_events import Suggestion
from analysis.first_look import FileLook, Possible
from analysis.first_samples import SampleDraft, SearchDraft
from data.samples import year
from data.xrootd import is_remote
from models.heads import JET_INPUTS, JETS
from processors.resolve import absent_columns

_MANY = 20_000
"""Entries from which on several processes pay."""


def header(schema: Path) -> str:
    """The line by which editors find the schema of a document."""
    return f"# yaml-language-server: $schema={schema}"


def samples_text(draft: SearchDraft, folder: Path, schema: Path) -> str:
    """The sample definition.

    Parameters
    ----------
    draft
        The samples.
    folder
        Where the definition will stand: files below it are named relative to it.
    schema
        The JSON schema of sample definitions.
    """
    lines = [
        header(schema),
        "# Written by `oddjet init`: what the files say, and what had to be chosen.",
        "samples:",
    ]
    for sample in draft.samples:
        lines += ["", *_sample_lines(sample, draft, folder)]
    return "\n".join(lines) + "\n"


def _sample_lines(sample: SampleDraft, draft: SearchDraft, folder: Path) -> list[str]:
    formats = ", ".join(dict.fromkeys(look.format for look in sample.looks))
    guess = sample.year
    others = f"; it may be {' or '.join(guess.others)} as well: correct it" if guess.others else ""
    lines = [f"  # {formats}; {number_of_files(sample)}, {sample.entries:,} entries"]
    if sample.name in draft.left_out:
        lines.append(f"  # not in the search: {draft.left_out[sample.name]}")
    lines += [
        f"  {plain_text(sample.name)}:",
        f"    kind: {'data' if sample.part == 'data' else 'simulation'}",
        f"    process: {plain_text(sample.process)}",
        f'    year: "{guess.year}"  # {guess.how}{others}',
        *_kind_lines(sample),
    ]
    if any(look.tree != "Events" for look in sample.looks):
        lines.append(f"    tree: {plain_text(sample.looks[0].tree)}")
    return [*lines, "    files:", *(f"      {_file(look, folder)}: {look.entries}" for look in sample.looks)]


def plain_text(name: str) -> str:
    """A text as YAML reads it again: in quotes where it would be a number, true or nothing without them."""
    return name if yaml.safe_load(name) == name else json.dumps(name)


def number_of_files(sample: SampleDraft) -> str:
    """The number of files, in words."""
    return "1 file" if len(sample.looks) == 1 else f"{len(sample.looks):,} files"


def _kind_lines(sample: SampleDraft) -> list[str]:
    """What a kind of sample needs beyond its files."""
    if sample.part == "data":
        luminosity = year(sample.year.year).luminosity_ifb
        why = "of the whole year: the files do not tell; limits in fb scale with it"
        lines = [f"    luminosity_ifb: {luminosity:g}  # {why}"]
        if sample.mock:
            meaning = "simulation, searched as if it were data: every event counts once, without its weight"
            return [f"    mock: true  # {meaning}", *lines]
        return [*lines, "    # golden_json: FILE  # certified luminosity sections; without it all are taken"]
    lines = ["    cross_section_pb: 0.001  # the files do not tell: a placeholder"]
    if sample.mass is not None:
        lines.append(f"    mass: {sample.mass:g}  # GeV, {sample.mass_from}")
    if not sample.weighted:
        lines.append(
            "    # generated: {count: …, sumw: …, sumw2: …}  # no tree Runs: give the sums of all generated weights"
        )
    return lines


def _file(look: FileLook, folder: Path) -> str:
    if is_remote(look.path) or "://" in look.path:
        return json.dumps(look.path)
    relative = os.path.relpath(look.path, folder.resolve())
    return json.dumps(look.path if relative.startswith("..") else relative)


def config_text(
    draft: SearchDraft, possible: Possible, suggestion: Suggestion, samples: str, title: str, schema: Path
) -> str:
    """The configuration.

    Parameters
    ----------
    draft
        The samples of the search.
    possible
        What can be made of their events.
    suggestion
        Fit range and masses.
    samples
        Name of the sample definition beside it.
    title
        Of the search; the run folder is called after it.
    schema
        The JSON schema of configurations.
    """
    lines = [
        header(schema),
        "# Written by `oddjet init`. See what it would do: oddjet plan; do it: oddjet run. All keys: the README.",
        "run:",
        f"  title: {json.dumps(title)}",
        f"  output: {json.dumps(f'output/{title}')}  # relative to the folder where oddjet is started",
        "  seed: 1",
    ]
    if any(look.simulated for look in draft.data.looks):
        lines.append("  status: simulation  # above every plot")
    lines += ["", f"samples: {json.dumps(samples)}", "", *_search_lines(draft)]
    lines += _processing_lines(draft)
    lines += _event_lines(possible)
    lines += _method_lines(draft, possible, suggestion)
    lines += _scan_lines(draft, suggestion)
    return "\n".join(lines) + "\n"


def _search_lines(draft: SearchDraft) -> list[str]:
    data = draft.data
    lines = ["search:"]
    if data.mock:
        lines.append(
            "  # No file holds data. This simulation is searched in their stead, to see that all works."
        )
    lines.append(f"  data: {plain_text(data.name)}")
    if draft.signals:
        names = ", ".join(plain_text(one.name) for one in draft.signals)
        lines.append(f"  signals: [{names}]  # shape of the peak, and efficiency")
    else:
        lines.append(
            "  # signals: [NAME]  # simulated signals; without one the shape is generic, and limits are in events"
        )
    known = [one for one in draft.samples if one.part == "background" and one.weighted]
    if backgrounds := [plain_text(one.name) for one in known]:
        lines.append(f"  # background: [{', '.join(backgrounds)}]  # for the methods that take it")
    return lines


def _processing_lines(draft: SearchDraft) -> list[str]:
    cores = len(os.sched_getaffinity(0))
    if cores == 1 or sum(one.entries for one in draft.searched) < _MANY:
        return []
    return [
        "",
        "processing:",
        "  executor: futures",
        f"  workers: {cores}  # cores of the machine that wrote this",
    ]


def _event_lines(possible: Possible) -> list[str]:
    lines = []
    if possible.jets.source == "particles":
        lines += [
            "",
            "jets:",
            "  source: particles  # not all files store AK8 jets: they are clustered of the particles",
        ]
    if possible.without:
        lines += [
            "",
            "features:",
            f"  without: [{', '.join(possible.without)}]  # the files cannot give these columns of jets",
        ]
    if possible.computed:
        lines += [
            "",
            f"# Computed of the particles, as the files do not store it: {', '.join(possible.computed)}.",
        ]
    more = [
        *(["features.constituents: true (vae_qr, conv_autoencoder)"] if possible.particles else []),
        *(["features.rapidity_mass_matrix: {} (rmm_autoencoder)"] if possible.objects else []),
    ]
    if more:
        lines += ["", f"# The files hold enough for {' and '.join(more)} too."]
    return lines


def _method_lines(draft: SearchDraft, possible: Possible, suggestion: Suggestion) -> list[str]:
    found = f"about {suggestion.expected:,.0f} of {draft.data.entries:,} events pass the selection"
    if not suggestion.expected:
        return [
            "",
            "# None of the first events passes the selection: there is nothing to train a method on.",
            "methods: {}",
        ]
    if not suggestion.trainable:
        return [
            "",
            f"# {found}: too few in the signal region and the side bands of",
            "# every mass window to train a method; the spectrum alone is searched.",
            "methods: {}",
        ]
    lines = ["", f"# {found[0].upper()}{found[1:]}. Others: oddjet models list.", "methods:", "  cwola:"]
    lines.append("    classifier: trees  # or mlp, the dense network of CMS")
    absent = absent_columns(possible.without)
    if kept := _kept(JET_INPUTS, absent):
        lines.append(f"    features: [{', '.join(kept)}]  # those that the files can give")
    return lines


def _kept(inputs: Sequence[str], absent: Iterable[str]) -> list[str]:
    """The inputs of both jets that are there; none where all are."""
    absent = set(absent)
    names = [name for name in inputs if name not in absent]
    return [] if len(names) == len(inputs) else [f"{name}_{jet}" for jet in JETS for name in names]


def _scan_lines(draft: SearchDraft, suggestion: Suggestion) -> list[str]:
    masses = suggestion.masses
    lines = ["", "scan:"]
    if len(masses) > 1:
        trained = "enough events for a training in their windows"
        why = trained if suggestion.trainable else "where there are events"
        why += ", between the signals" if len(draft.signals) > 1 else ""
        step = min(second - first for first, second in itertools.pairwise(masses))
        if list(masses) == [masses[0] + step * k for k in range(len(masses))]:
            lines.append(
                f"  masses: {{start: {masses[0]:g}, stop: {masses[-1]:g}, step: {step:g}}}  # GeV, {why}"
            )
        else:
            lines.append(f"  masses: [{', '.join(f'{mass:g}' for mass in masses)}]  # GeV, {why}")
    else:
        why = "amid the few events that pass the selection" if suggestion.expected else "a guess"
        lines.append(f"  masses: [{masses[0]:g}]  # GeV, {why}")
    if suggestion.fit_start is not None:
        lines.append(f"  fit_start: {suggestion.fit_start:g}  # GeV, where the spectrum falls")
    return [*lines, f"  sqrt_s: {year(draft.data.year.year).sqrt_s:g}  # GeV"]
