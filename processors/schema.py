"""From roles to branch names: which branch of a file plays which part, with named fall-backs.

The names are data (``ROLES``): a new version of NanoAOD is a new entry here, not new code.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from data.errors import InputError
from data.samples import Sample, Year


@dataclass(frozen=True)
class Role:
    """One quantity that oddjet reads.

    ``branches`` are tried in order; ``{b_score}`` stands for the year's b-tag branch. ``purpose`` says who
    needs it, for the error message.
    """

    branches: tuple[str, ...]
    purpose: str
    simulation_only: bool = False
    optional: bool = False


ROLES: dict[str, Role] = {
    "run": Role(("run",), "the event id"),
    "luminosity_block": Role(("luminosityBlock",), "the event id"),
    "event": Role(("event",), "the event id"),
    "generator_weight": Role(("genWeight",), "the weight of simulated events", simulation_only=True),
    "label": Role(("Generator_label",), "evaluation", simulation_only=True, optional=True),
    "pt": Role(("FatJet_pt",), "the selection, mjj and the feature pt"),
    "eta": Role(("FatJet_eta",), "the selection, mjj and the feature eta"),
    "phi": Role(("FatJet_phi",), "mjj and the feature phi"),
    "m": Role(("FatJet_msoftdrop",), "mjj, the order of the jets and the features m, rho and delta_m"),
    "jet_id": Role(("FatJet_jetId",), "the selection of jets"),
    "tau1": Role(("FatJet_tau1",), "the features tau1, tau21 and tau41"),
    "tau2": Role(("FatJet_tau2",), "the features tau2, tau21 and tau32"),
    "tau3": Role(("FatJet_tau3",), "the features tau3, tau32 and tau43"),
    "tau4": Role(("FatJet_tau4",), "the features tau4, tau43 and tau41"),
    "lsf3": Role(("FatJet_lsf3",), "the feature lsf3"),
    # PFNano of NanoAOD v9 has no multiplicity of AK8 jets: there the stored constituents are counted.
    "n_pf": Role(("FatJet_nConstituents", "FatJetPFCands_jetIdx", "FatJetPFCand_jetIdx"), "the feature n_pf"),
    "subjet1": Role(("FatJet_subJetIdx1",), "the feature deepb"),
    "subjet2": Role(("FatJet_subJetIdx2",), "the feature deepb"),
    "b_score": Role(("SubJet_{b_score}",), "the feature deepb"),
}

COUNTED = frozenset({"FatJetPFCands_jetIdx", "FatJetPFCand_jetIdx"})
"""Branches that hold one entry a constituent: the role is the number of entries of each jet."""


@dataclass(frozen=True)
class FileSchema:
    """The branches of one file: ``roles`` maps role to branch."""

    roles: dict[str, str] = field(hash=False)
    triggers: tuple[str, ...]
    filters: tuple[str, ...]

    def branches(self) -> frozenset[str]:
        """Every branch that will be read."""
        return frozenset((*self.roles.values(), *self.triggers, *self.filters))


def resolve(keys: Collection[str], sample: Sample, year: Year, file: str) -> FileSchema:
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

    Returns
    -------
    FileSchema
        Triggers are those of the year's list that the file has; filters are all of the year's list.

    Raises
    ------
    InputError
        If a branch is missing (all of them are named, each with what needs it), or no trigger is there.
    """
    present = frozenset(keys)
    roles: dict[str, str] = {}
    missing: list[str] = []
    for name, role in ROLES.items():
        if role.simulation_only and sample.kind != "simulation":
            continue
        names = [branch.format(b_score=year.b_score) for branch in role.branches]
        found = next((branch for branch in names if branch in present), None)
        if found is not None:
            roles[name] = found
        elif not role.optional:
            missing.append(f"{' or '.join(names)} (needed for {role.purpose})")
    missing += [f"{flag} (noise filter of {sample.year})" for flag in year.filters if flag not in present]
    triggers = tuple(trigger for trigger in year.triggers if trigger in present)
    if not triggers:
        missing.append(f"{' or '.join(year.triggers)} (trigger of {sample.year}, one is enough)")
    if missing:
        msg = (
            f"file '{file}' of sample '{sample.name}' has no branch {'; no branch '.join(missing)}. "
            f"Use a file that holds it, or correct the sample's year ('{sample.year}') and kind ('{sample.kind}')"
        )
        raise InputError(msg)
    return FileSchema(roles, triggers, year.filters)
