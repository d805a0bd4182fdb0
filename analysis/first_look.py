"""What a file of events says of itself: its tree, entries, runs, branches, and what oddjet can make of them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from data.addresses import expand
from data.errors import ConfigError, InputError
from processors.config import JetsConfig
from processors.remote import of_each
from processors.resolve import FileSchema, resolve_jets
from processors.root_files import named, open_root, reading
from processors.schema import B_TAG_ROLES, EVENT_ROLES, FEATURE_ROLES, OBJECT_ROLES, format_name

TREE = "Events"
_PEEK = 500
"""Entries whose generator's record is looked at."""
_HEAVY = 1000.0
"""A new particle of more mass (GeV) is the resonance of a signal."""
_FAMILIAR = frozenset((*range(1, 19), *range(21, 26), 82, 90, 91, 92, 93, 2212, 1114))
"""Particles of the standard model, and what generators write between them."""
_GENERATOR_ONLY = ("GenPart_pt", "GenJetAK8_pt", "GenJet_pt")


@dataclass(frozen=True)
class FileLook:
    """The facts of one file.

    Attributes
    ----------
    path, tree, storage, entries
        The file, its tree of events, ``TTree`` or ``RNTuple``, and the tree's entries.
    branches
        Names of the tree's branches.
    runs
        Run numbers, ascending: all of them where the file lists them, else those of its first and last event.
    sums
        Whether the sums of generated weights are there.
    resonance
        Mass in GeV of the heaviest new particle in the generator's record; None where there is none.
    """

    path: str
    tree: str
    storage: str
    entries: int
    branches: frozenset[str]
    runs: tuple[int, ...]
    sums: bool
    resonance: float | None

    @property
    def simulated(self) -> bool:
        """Whether the events have a generator's weight."""
        return EVENT_ROLES["generator_weight"].branches[0] in self.branches

    @property
    def format(self) -> str:
        """The branch names and the storage, in words."""
        return f"{format_name(self.branches)}, {self.storage}"


@dataclass(frozen=True)
class Possible:
    """What can be made of a file's events.

    Attributes
    ----------
    jets
        Where the jets come from.
    without
        Columns of a jet that the file cannot give.
    computed
        Quantities of jets that are computed from the particles.
    particles, objects
        Whether the constituents of jets, and the rapidity–mass matrix, can be had.
    """

    jets: JetsConfig
    without: tuple[str, ...]
    computed: tuple[str, ...]
    particles: bool
    objects: bool


def files_of(names: Sequence[str], folder: Path) -> list[str]:
    """The files that arguments of the command line stand for, each once.

    Parameters
    ----------
    names
        Files, folders, patterns or addresses, as in a sample definition.
    folder
        What relative names are relative to.

    Returns
    -------
    list of str
        Absolute paths and addresses, in the order of the arguments.

    Raises
    ------
    ConfigError
        If a file does not exist, a pattern matches none, or two names stand for one file.
    ReadError
        If a ``root://`` folder cannot be listed.
    """
    found: dict[str, str] = {}
    for name in names:
        local = "://" not in name and not name.endswith("/") and (folder / name).is_dir()
        for file in expand(f"{name}/" if local else name, folder, "oddjet init", (), 60).files:
            if file in found:
                msg = (
                    f"oddjet init: '{name}' and '{found[file]}' both stand for '{file}'; name each file once"
                )
                raise ConfigError(msg)
            found[file] = name
    return list(found)


def look_at_files(files: Sequence[str]) -> list[FileLook]:
    """Look at each file; of remote ones several are asked at a time.

    Raises
    ------
    InputError
        As `look_at_file`.
    """
    return of_each(look_at_file, files)


def look_at_file(path: str) -> FileLook:
    """Read the headers of a file, its list of runs and the generator's record of its first entries.

    Raises
    ------
    InputError
        If it cannot be read, or holds no tree of events.
    """
    with reading(path), open_root(path) as file:
        kinds: dict[str, str] = file.classnames(cycle=False)
        name = _tree_of(file, kinds, path)
        tree = file[name]
        branches = frozenset(tree.keys(recursive=False))
        runs = file["Runs"] if "Runs" in kinds else None
        listed = runs is not None and "run" in runs.keys(recursive=False)
        return FileLook(
            path=path,
            tree=name,
            storage="TTree" if kinds[name] == "TTree" else "RNTuple",
            entries=int(tree.num_entries),
            branches=branches,
            runs=_runs_of(runs, whole=True) if listed else _runs_of(tree, whole=False),
            sums=runs is not None and any("genEventSumw" in key for key in runs.keys(recursive=False)),
            resonance=_resonance(tree, branches),
        )


def _tree_of(file: Any, kinds: dict[str, str], path: str) -> str:
    """The tree with event ids: ``Events`` where there is one."""
    trees = [name for name, kind in kinds.items() if kind in {"TTree", "ROOT::RNTuple"}]
    wanted = set(EVENT_ROLES) - {"generator_weight"}
    needed = {EVENT_ROLES[role].branches[0] for role in wanted}
    for name in sorted(trees, key=lambda one: one != TREE):
        if needed <= set(file[name].keys(recursive=False)):
            return name
    msg = (
        f"{named(path, None)} has no tree of events with the branches {', '.join(sorted(needed))} (it has "
        f"{', '.join(trees) or 'no tree'}); give files in the format of NanoAOD"
    )
    raise InputError(msg)


def _runs_of(tree: Any, *, whole: bool) -> tuple[int, ...]:
    entries = int(tree.num_entries)
    if not entries:
        return ()
    parts = [(0, entries)] if whole else [(0, 1), (entries - 1, entries)]
    values = [tree["run"].array(entry_start=first, entry_stop=last) for first, last in parts]
    return tuple(sorted({int(run) for part in values for run in ak.to_numpy(part)}))


def _resonance(tree: Any, branches: Collection[str]) -> float | None:
    """The mass of the heaviest particle that is none of the standard model, in most of the first entries."""
    if not {"GenPart_pdgId", "GenPart_mass"} <= set(branches) or not tree.num_entries:
        return None
    kind, mass = (tree[f"GenPart_{name}"].array(entry_stop=_PEEK) for name in ("pdgId", "mass"))
    number = abs(kind)
    hadron = (number > 100) & (number < 100_000) & (number % 10 > 0)
    new = ~hadron & (number < 1_000_000_000)
    for one in _FAMILIAR:
        new = new & (number != one)
    heaviest = ak.to_numpy(ak.fill_none(ak.max(mass[new], axis=1), 0.0))
    found = heaviest[heaviest > _HEAVY]
    return float(np.median(found)) if 2 * len(found) > len(heaviest) else None


def what_is_possible(looks: Sequence[FileLook]) -> Possible:
    """What can be made of the events of all files alike.

    Parameters
    ----------
    looks
        Files of one search; those without entries count where no file has any.

    Returns
    -------
    Possible
        Jets as stored where all files store them, else clustered from their particles.

    Raises
    ------
    InputError
        If a file has neither the jets nor particles to cluster them from.
    """
    filled = [look for look in looks if look.entries]
    kinds = list({look.branches: look for look in filled or looks}.values())
    problems: list[str] = []
    for jets in (JetsConfig(), JetsConfig(source="particles")):
        try:
            schemas = [(look, resolve_jets(look.branches, look.path, jets)) for look in kinds]
        except InputError as error:
            problems.append(str(error))
            continue
        without = dict.fromkeys(name for look, schema in schemas for name in _absent(look, schema, jets))
        computed = {name for _, schema in schemas for name in schema.computed}
        return Possible(
            jets,
            tuple(without),
            tuple(sorted(computed)),
            particles=all(schema.reads_particles for _, schema in schemas),
            objects=all(_has_objects(look.branches) for look in kinds),
        )
    generated = [look for look in kinds if any(name in look.branches for name in _GENERATOR_ONLY)]
    if generated and not any(name.startswith(("FatJet_", "PFCand")) for name in generated[0].branches):
        msg = (
            f"file '{generated[0].path}' holds generated particles and jets only (NANOGEN): a search needs the jets or "
            "the particles of a detector; give NanoAOD or PFNano files"
        )
        raise InputError(msg)
    raise InputError(problems[0])


def _absent(look: FileLook, schema: FileSchema, jets: JetsConfig) -> list[str]:
    """The columns that a file cannot give, named as in ``features.without``."""
    if jets.source == "stored" and "m" not in schema.roles and "m" not in schema.computed:
        msg = (
            f"file '{look.path}' has no branch FatJet_msoftdrop and no particles: the dijet mass is made of soft-drop "
            "masses; give files with either"
        )
        raise InputError(msg)
    features = [name for name in FEATURE_ROLES if name not in schema.roles and name not in schema.computed]
    return [*features, *(() if "b_score" in schema.roles and _tags(schema, jets) else ("deepb",))]


def _tags(schema: FileSchema, jets: JetsConfig) -> bool:
    return jets.source == "particles" or schema.roles.keys() >= B_TAG_ROLES.keys()


def _has_objects(branches: Collection[str]) -> bool:
    return all(any(name in branches for name in role.branches) for role in OBJECT_ROLES.values())


def plain_name(text: str) -> str:
    """A text as the name of a sample or process: letters, digits and single underscores."""
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]+", "_", text)).strip("_") or "sample"
