"""All options that decide which events pass and what is computed of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from data.errors import ConfigError
from data.samples import Sample, year
from processors.branch_search import Demand
from processors.columns import columns
from processors.config import FeaturesConfig, JetsConfig, SelectionConfig
from processors.corrections.config import (
    CorrectionsConfig,
    TriggerConfig,
    required_roles,
    variation_names,
)
from processors.further import chosen_features
from processors.selection import VALIDATION_THIRD_PT

CLUSTERING_MARGIN = 0.8
"""Clustering keeps jets down to this share of the smallest pT that decides, for corrections that raise them."""
STORED_JET_ROLES = frozenset({"raw_factor", "area", "gen_jet"})


@dataclass(frozen=True)
class EventOptions:
    """The options of both passes.

    Attributes
    ----------
    selection, jets, features
        Cuts, jets and columns.
    corrections
        Year to the corrections of its samples.
    seed
        Of the random smearing of jets, together with each jet's event id.
    """

    selection: SelectionConfig = field(default_factory=SelectionConfig)
    jets: JetsConfig = field(default_factory=JetsConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    corrections: Mapping[str, CorrectionsConfig] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises
        ------
        ConfigError
            If clustering drops jets that the selection wants, a variation of their energy included; if a further
            feature is made of what clustered jets do not have, or has the name of another column.
        """
        wanted = CLUSTERING_MARGIN * min(self.selection.jet_pt_min, VALIDATION_THIRD_PT)
        if self.jets.source == "particles" and self.jets.pt_min > wanted:
            msg = (
                f"jets.pt_min is {self.jets.pt_min:g} GeV, but the selection looks at jets from "
                f"{min(self.selection.jet_pt_min, VALIDATION_THIRD_PT):g} GeV on: set it to {wanted:g} or less"
            )
            raise ConfigError(msg)
        self._check_further()

    def _check_further(self) -> None:
        """Refuse features that are columns already, or that clustered jets have no branches for."""
        columns(self.features, label=False)
        if self.jets.source == "stored":
            return
        for feature in chosen_features(self.features.further):
            if lost := feature.of_stored_jets():
                msg = (
                    f"features.further: '{feature.name}' is made of {lost[0]}, which clustered jets do not have; take it "
                    "out, or set jets.source: stored"
                )
                raise ConfigError(msg)

    def corrections_of(self, sample: Sample) -> CorrectionsConfig | None:
        """The corrections of a sample's year but for those that the sample does without; None if there are none."""
        section = self.corrections.get(sample.year)
        if section is None:
            return None
        blank = CorrectionsConfig()
        known = CorrectionsConfig.model_fields
        unknown = [name for name in sample.without_corrections if name not in known]
        if unknown:
            msg = (
                f"sample '{sample.name}': without_corrections names '{unknown[0]}', which is none; choose among "
                f"{', '.join(known)}"
            )
            raise ConfigError(msg)
        return section.model_copy(update={name: getattr(blank, name) for name in sample.without_corrections})

    def forgets_prefiring(self, sample: Sample) -> bool:
        """Whether a simulated sample is corrected, but not for the early triggers that its year had."""
        section = self.corrections_of(sample)
        known = "prefiring" in sample.without_corrections or sample.kind == "data" or section is None
        return not known and year(sample.year).prefiring and not (section and section.prefiring)

    def demand(self, sample: Sample) -> Demand:
        """What is read of a sample's files.

        Raises
        ------
        ConfigError
            If a correction needs what the options leave out.
        InputError
            If a correction file cannot be read or lacks a correction, or needs an input that is not there.
        """
        section = self.corrections_of(sample)
        if section is not None and section.btag is not None and "deepb" in self.features.without:
            msg = f"corrections.{sample.year}.btag needs the b score, which features.without leaves out: remove one of them"
            raise ConfigError(msg)
        roles = required_roles(self.corrections_of(sample), sample.kind)
        of_stored_jets = [role for role in roles if role in STORED_JET_ROLES]
        if self.jets.source == "particles" and of_stored_jets:
            msg = (
                f"corrections.{sample.year}: clustered jets have no {', '.join(of_stored_jets)}, which belong to stored "
                "jets; set jes.undo_stored: false and jer.method: stochastic, or jets.source: stored"
            )
            raise ConfigError(msg)
        if section is not None and section.trigger is not None and sample.kind == "simulation":
            self._try_trigger(section.trigger)
        return Demand(self.jets, self.features, roles)

    def _try_trigger(self, trigger: TriggerConfig) -> None:
        """Look up the trigger's efficiency for no event: an input that is not there shows before the loop."""
        from processors.corrections.weights import WeightInputs, weight_factors  # noqa: PLC0415 - numba takes seconds

        ids, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        known = {
            name: nothing for name, kind in columns(self.features, label=False).items() if not kind.shape
        }
        weight_factors(WeightInputs(ids, ids, ids, features=known), CorrectionsConfig(trigger=trigger))

    def variations(self, sample: Sample) -> tuple[str, ...]:
        """Names of all variations of a sample, ``nominal`` first."""
        kinematic, weights = variation_names(self.corrections_of(sample), sample.kind)
        return (*kinematic, *weights)
