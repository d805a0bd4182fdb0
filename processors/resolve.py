"""Which branches of a file are read, and what is computed of its particles instead."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import models
from data.errors import InputError
from data.samples import Sample, Year
from processors.branch_search import BranchSearch, Demand
from processors.config import FeaturesConfig, JetsConfig
from processors.further import chosen_features
from processors.schema import (
    B_TAG_ROLES,
    CLUSTERED_B_TAG_ROLES,
    CORRECTION_ROLES,
    COUNTED,
    EVENT_ROLES,
    FEATURE_ROLES,
    LABEL,
    LEPTON_LINK_ROLES,
    OBJECT_ROLES,
    PARTICLE_EXTRAS,
    QUARK_FLAGS,
    Role,
    format_name,
)

_DECIDING = ("b_score", "jet_id", "puppi_weight")
"""Roles whose branch changes the meaning of a feature: one search reads the same for all of its files."""

_REWEIGHTED = "quark_status"
"""The role whose demand says that particles are read for the weights of simulation."""


@dataclass(frozen=True)
class FileSchema:
    """The branches of one file.

    Attributes
    ----------
    roles
        Role to branch.
    computed
        Jet quantities that are computed from the particles.
    triggers, filters
        Branches of the trigger decisions and the noise filters.
    absent_triggers
        Triggers of the year that the file does not have.
    version
        Version of the branch names, in words.
    only_reweighted
        Whether the particles are read for weights of simulation alone, and no feature is made of them.
    further
        Roles of the further features.
    """

    roles: dict[str, str] = field(hash=False)
    computed: frozenset[str]
    triggers: tuple[str, ...]
    absent_triggers: tuple[str, ...]
    filters: tuple[str, ...]
    version: str
    only_reweighted: bool = False
    further: tuple[str, ...] = ()

    @property
    def reads_particles(self) -> bool:
        """Whether the particles are read."""
        return "particle_pt" in self.roles

    @property
    def names_leptons(self) -> bool:
        """Whether the leptons of jets are those that the file links to them."""
        return self.roles.keys() >= LEPTON_LINK_ROLES.keys() - {"electron_correction"}

    def branches(self) -> frozenset[str]:
        """Every branch that will be read."""
        return frozenset((*self.roles.values(), *self.triggers, *self.filters))

    def meaning(self) -> dict[str, str]:
        """What must be the same in all files of a search: where the quantities come from that have fall-backs."""
        chosen = {
            role: self.roles.get(role, "nothing") for role in (*FEATURE_ROLES, *_DECIDING, *self.further)
        }
        if chosen["n_pf"] in COUNTED:
            chosen["n_pf"] = "the number of cross-references"
        chosen |= {role: "particles" for role in FEATURE_ROLES if role in self.computed}
        if self.only_reweighted:
            chosen["puppi_weight"] = "nothing"
        elif self.reads_particles and "pt" not in self.computed:
            chosen["links"] = "cross-references" if "link_jet" in self.roles else "clustering"
        if "lsf3" in self.computed:
            chosen["leptons"] = (
                "links of the file" if self.names_leptons else "the hardest among the particles"
            )
            if self.names_leptons:
                chosen["electron_correction"] = self.roles.get("electron_correction", "nothing")
        return chosen

    def decisions(self) -> list[str]:
        """The choices in words, for the log."""
        meaning = self.meaning()
        lines = [f"{role} from {self.roles[role]}" for role in _DECIDING if role in self.roles]
        if "charged_multiplicity" in self.roles:
            lines.append("jet identification from multiplicities and energy fractions")
        if self.computed:
            lines.append(f"from the particles: {', '.join(sorted(self.computed))}")
        if "n_pf" in self.roles:
            lines.append(f"n_pf from {meaning['n_pf']}")
        if "links" in meaning:
            lines.append(f"particles linked to jets by {meaning['links']}")
        if "leptons" in meaning:
            lines.append(f"leptons of lsf3 from {meaning['leptons']}")
        if self.triggers:
            lines.append(f"trigger {' or '.join(self.triggers)}")
        if self.absent_triggers:
            lines.append(f"without the trigger {' or '.join(self.absent_triggers)}")
        return lines


def resolve(keys: Collection[str], sample: Sample, year: Year, file: str, demand: Demand) -> FileSchema:
    """Choose the branches of a file.

    Parameters
    ----------
    keys
        Names of the branches that the file has.
    sample
        The sample that the file belongs to.
    year
        Its year: triggers, filters and b-tag branch.
    file
        The file's name, for messages.
    demand
        What the configuration wants.

    Returns
    -------
    FileSchema
        Triggers are those of the year's list that the file has; filters are all of the year's list.

    Raises
    ------
    InputError
        If a branch is missing (all of them are named, each with what needs it and the methods that are not
        available without), if no trigger is there, or if data hold the generator's weight and are not ``mock``.
    """
    search = BranchSearch(frozenset(keys), sample.kind, year.b_score, demand)
    _check_kind(search.present, sample, file)
    search.take_all(EVENT_ROLES)
    search.take_optional({"label": LABEL})
    search.take_jets()
    search.take_features()
    search.take_further()
    only_reweighted = _REWEIGHTED in demand.corrections and not search.reads_particles()
    search.take_particles(even_if_unused=only_reweighted)
    search.warn_of_weights(file)
    search.take_all({role: CORRECTION_ROLES[role] for role in demand.corrections})
    search.take_optional(QUARK_FLAGS if _REWEIGHTED in demand.corrections else {})
    if demand.features.rapidity_mass_matrix is not None:
        search.take_all(OBJECT_ROLES)
    triggers = _flags(search, sample, year)
    if search.missing:
        msg = (
            f"file '{file}' of sample '{sample.name}' has no branch {'; no branch '.join(search.missing)}. "
            f"Use a file that holds it, or correct the sample's year ('{sample.year}') and kind ('{sample.kind}')"
            f"{_do_without(search.columns_missing)}{_without_further(search.further_missing)}{search.other_way()}"
        )
        raise InputError(msg)
    return FileSchema(
        search.roles,
        frozenset(search.computed),
        triggers,
        tuple(trigger for trigger in year.triggers if trigger not in triggers),
        year.filters,
        format_name(search.present),
        only_reweighted,
        tuple(role for one in chosen_features(demand.features.further) for role in one.branches),
    )


def resolve_jets(
    keys: Collection[str], file: str, jets: JetsConfig, further: tuple[str, ...] = ()
) -> FileSchema:
    """Choose the branches of a file's jets alone, without sample, triggers and filters.

    Parameters
    ----------
    keys
        Names of the branches that the file has.
    file
        The file's name, for messages.
    jets
        Where the jets and their substructure come from.
    further
        Names of further features of jets.

    Returns
    -------
    FileSchema
        Features that the file cannot give are in neither ``roles`` nor ``computed``. Where the file has particles,
        they are read even if nothing is computed of them.

    Raises
    ------
    InputError
        If the file has no event ids, no jets, or not what a further feature needs; all branches missing are named.
    """
    absent: tuple[str, ...] = ()
    search = _search_jets(frozenset(keys), jets, absent, further)
    if search.missing:
        absent = tuple(
            name for name in FEATURE_ROLES if name not in search.roles and name not in search.computed
        )
        b_tag = B_TAG_ROLES if jets.source == "stored" else CLUSTERED_B_TAG_ROLES
        if not b_tag.keys() <= search.roles.keys():
            absent = (*absent, "deepb")
        search = _search_jets(frozenset(keys), jets, absent, further)
    if search.missing:
        others = f", or do without {', '.join(search.further_missing)}" if search.further_missing else ""
        msg = (
            f"file '{file}' has no branch {'; no branch '.join(search.missing)}. Use a NanoAOD or PFNano file that "
            f"has the jets, or with particles to cluster them from{search.other_way()}{others}"
        )
        raise InputError(msg)
    search.warn_of_weights(file)
    return FileSchema(search.roles, frozenset(search.computed), (), (), (), format_name(search.present))


def _search_jets(
    present: frozenset[str], jets: JetsConfig, without: tuple[str, ...], further: tuple[str, ...]
) -> BranchSearch:
    # Without a dijet mass the soft-drop mass may be missing too, which no configuration may ask for.
    features = FeaturesConfig.model_construct(without=without, further=further)
    search = BranchSearch(present, "data", "", Demand(jets, features))
    search.take_all(EVENT_ROLES)
    search.take_jets()
    search.take_features()
    search.take_further()
    if search.has_particles() or search.reads_particles():
        search.take_particles(even_if_unused=True)
        search.take_optional({"particle_charge": PARTICLE_EXTRAS["particle_charge"]})
        if jets.source == "stored":
            search.take_optional(LEPTON_LINK_ROLES)
    return search


def _check_kind(present: frozenset[str], sample: Sample, file: str) -> None:
    """A file of simulation in a data sample would be counted as data without a word."""
    mark = EVENT_ROLES["generator_weight"].branches[0]
    if sample.kind == "data" and sample.mock is not (mark in present):
        found = f"no branch {mark}, so it is data, but the sample says mock: true; remove the key"
        if not sample.mock:
            found = f"the branch {mark}, so it is simulation, but the sample is data; put simulation into a sample of kind "
            found += "'simulation', or set mock: true to search it as if it were data"
        msg = f"file '{file}' of sample '{sample.name}' has {found}"
        raise InputError(msg)


def _flags(search: BranchSearch, sample: Sample, year: Year) -> tuple[str, ...]:
    """The triggers that the file has; noise filters and triggers that it lacks are noted as missing."""
    search.missing += [
        f"{flag} (noise filter of {sample.year})" for flag in year.filters if flag not in search.present
    ]
    triggers = tuple(trigger for trigger in year.triggers if trigger in search.present)
    if not triggers:
        wanted = " or ".join(year.triggers)
        search.missing.append(f"{wanted} (trigger of {sample.year}, one is enough)")
    return triggers


def _do_without(columns: Iterable[str]) -> str:
    """What a search loses without some columns of jets."""
    names = sorted(set(columns))
    if not names:
        return ""
    methods = models.needing([f"{name}_{jet}" for name in names for jet in ("j1", "j2")])
    lost = f"; then the methods {', '.join(methods)} are not available" if methods else ""
    return f", or list {', '.join(names)} in features.without{lost}"


def _without_further(names: Iterable[str]) -> str:
    """What to do without the further features of a search."""
    listed = ", ".join(sorted(names))
    return f", or take {listed} out of features.further" if listed else ""


def absent_columns(without: Collection[str]) -> frozenset[str]:
    """The columns of a jet that a search does without: those named and all that are made of them."""
    roles: dict[str, Role] = {**FEATURE_ROLES, **B_TAG_ROLES}
    return frozenset(
        column
        for role in roles.values()
        if role.columns and role.columns[0] in without
        for column in role.columns
    )
