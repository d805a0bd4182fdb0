"""The search for the branches of one file: what was found so far, and what is missing."""

import logging
from dataclasses import dataclass, field

from data.samples import Kind
from processors.config import FeaturesConfig, JetsConfig
from processors.further import Feature, chosen_features
from processors.schema import (
    B_TAG_ROLES,
    CLUSTERED_B_TAG_ROLES,
    FEATURE_ROLES,
    FRACTION_ROLES,
    JET_ID_ROLES,
    JET_ROLES,
    LEPTON_LINK_ROLES,
    LINK_ROLES,
    PARTICLE_EXTRAS,
    PARTICLE_ROLES,
    Role,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Demand:
    """What the configuration wants of every file."""

    jets: JetsConfig = field(default_factory=JetsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    corrections: tuple[str, ...] = ()
    """Roles that the configured corrections need."""


class BranchSearch:
    """The search for branches in one file: what was found and what is missing so far."""

    def __init__(self, present: frozenset[str], kind: Kind, b_score: str, demand: Demand) -> None:
        self.present = present
        self.kind = kind
        self.b_score = b_score
        self.demand = demand
        self.roles: dict[str, str] = {}
        self.computed: set[str] = set()
        self.missing: list[str] = []
        self.columns_missing: list[str] = []
        self.further_missing: list[str] = []

    def branch(self, role: Role) -> str | None:
        """The first branch of a role that the file has."""
        return next((name for name in role.names(self.b_score) if name in self.present), None)

    def has(self, roles: dict[str, Role]) -> bool:
        """Whether every role has a branch."""
        return all(self.branch(role) is not None for role in roles.values())

    def take_all(self, roles: dict[str, Role]) -> None:
        """Take every role; note those without a branch as missing."""
        for name, role in roles.items():
            if role.simulation_only and self.kind != "simulation":
                continue
            branch = self.branch(role)
            if branch is not None:
                self.roles[name] = branch
            else:
                tried = " or ".join(role.names(self.b_score))
                self.missing.append(f"{tried} (needed for {role.purpose})")
                # The dijet mass needs soft-drop masses: no search does without them.
                self.columns_missing += [name for name in role.columns[:1] if name != "m"]

    def take_optional(self, roles: dict[str, Role]) -> None:
        """Take the roles that have a branch."""
        for name, role in roles.items():
            branch = self.branch(role)
            if branch is not None and not (role.simulation_only and self.kind != "simulation"):
                self.roles[name] = branch

    def take_jets(self) -> None:
        """Momenta and identification of the jets."""
        if self.demand.jets.source == "particles":
            self.computed |= {*JET_ROLES, *JET_ID_ROLES}
            return
        self.take_all(JET_ROLES)
        stored = self.has(JET_ID_ROLES) or not self.has(FRACTION_ROLES)
        self.take_all(JET_ID_ROLES if stored else FRACTION_ROLES)

    def take_features(self) -> None:
        """Substructure: stored, or computed from the particles."""
        jets, without = self.demand.jets, self.demand.features.without
        # Where it has to be computed, particles that are not there are missing: stored values are no way out.
        compute = jets.source == "particles" or jets.substructure == "particles"
        may_compute = jets.substructure == "auto" and self.has_particles()
        for name, role in FEATURE_ROLES.items():
            if name in without:
                continue
            if compute or (may_compute and self.branch(role) is None):
                self.computed.add(name)
            else:
                self.take_all({name: role})
        if "deepb" not in without:
            self.take_all(B_TAG_ROLES if jets.source == "stored" else CLUSTERED_B_TAG_ROLES)

    def take_further(self) -> None:
        """What the further features need beside the particles."""
        for feature in chosen_features(self.demand.features.further):
            before = len(self.missing)
            self.take_all(feature.roles() | self._roles_of_absent(feature))
            if len(self.missing) > before or (feature.particles and not self.has_particles()):
                self.further_missing.append(feature.name)

    def _roles_of_absent(self, feature: Feature) -> dict[str, Role]:
        """What columns would need that a feature is made of and the table is without."""
        absent = {*feature.made_of} & {*self.demand.features.without}
        b_tag = B_TAG_ROLES if self.demand.jets.source == "stored" else CLUSTERED_B_TAG_ROLES
        return {
            name: Role(role.branches, f"the feature {feature.name}")
            for name, role in {**FEATURE_ROLES, **b_tag}.items()
            if absent & {*role.columns[:1]}
        }

    def has_particles(self) -> bool:
        """Whether something can be computed of the file's particles."""
        linked = self.demand.jets.links != "file" or self.has(LINK_ROLES)
        return self.has(PARTICLE_ROLES) and (linked or self.demand.jets.source == "particles")

    def reads_particles(self) -> bool:
        """Whether a feature is made of the particles."""
        features = self.demand.features
        further = any(feature.particles for feature in chosen_features(features.further))
        return bool(self.computed) or features.constituents or further

    def take_particles(self, *, even_if_unused: bool = False) -> None:
        """Particles and their links to jets, where something is computed of them."""
        if not (self.reads_particles() or even_if_unused):
            return
        jets = self.demand.jets
        self.take_all(PARTICLE_ROLES)
        if jets.pt_weights == "puppi":
            self.take_all({"puppi_weight": PARTICLE_EXTRAS["puppi_weight"]})
        elif jets.pt_weights == "auto":
            self.take_optional({"puppi_weight": PARTICLE_EXTRAS["puppi_weight"]})
        if jets.source == "stored":
            if jets.links == "file" or (jets.links == "auto" and self.has(LINK_ROLES)):
                self.take_all(LINK_ROLES)
            if "lsf3" in self.computed:
                self.take_optional(LEPTON_LINK_ROLES)

    def other_way(self) -> str:
        """The option that does without what is missing for the computation of stored jets' substructure."""
        jets = self.demand.jets
        if jets.source == "particles" or jets.substructure != "particles" or self.has_particles():
            return ""
        return f", or set jets.{'links' if self.has(PARTICLE_ROLES) else 'substructure'}: auto"

    def warn_of_weights(self, file: str) -> None:
        """Momenta without the weights that CMS applies are said once a file."""
        wanted = self.demand.jets.pt_weights == "auto" and "particle_pt" in self.roles
        if wanted and "puppi_weight" not in self.roles:
            _LOG.warning(
                "file '%s' has no PUPPI weights: momenta of particles are taken as they are; unless they are stored "
                "weighted, as in NanoAOD v15, N-subjettiness and groomed masses made of them differ from CMS's",
                file,
            )
