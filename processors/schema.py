"""From roles to branch names: which branch of a file plays which part, with named fall-backs.

The names are data: a new version of NanoAOD is a new entry here, not new code. NanoAOD v9, v12 and v15
and PFNano of both eras are known; a file of mixed names works too, since every role is looked up by itself.
"""

from dataclasses import dataclass

NOMINAL = "nominal"
"""Name of what is not varied, among the names of variations."""


@dataclass(frozen=True)
class Role:
    """One quantity that oddjet reads.

    ``branches`` are tried in order; ``{b_score}`` stands for the year's b-tag branch. ``purpose`` says who
    needs it, for the error message; ``columns`` are the feature columns of a jet that need it.
    """

    branches: tuple[str, ...]
    purpose: str
    columns: tuple[str, ...] = ()
    simulation_only: bool = False

    def names(self, b_score: str) -> tuple[str, ...]:
        """The branches to try, in order, each once."""
        return tuple(dict.fromkeys(branch.format(b_score=b_score) for branch in self.branches))


def _collection(prefix: str, branches: tuple[str, ...], fields: str, purpose: str) -> dict[str, Role]:
    """Roles ``prefix_field`` of the branches ``Collection_field``."""
    return {
        f"{prefix}_{field}": Role(tuple(f"{branch}_{field}" for branch in branches), purpose)
        for field in fields.split()
    }


EVENT_ROLES: dict[str, Role] = {
    "run": Role(("run",), "the event id"),
    "luminosity_block": Role(("luminosityBlock",), "the event id"),
    "event": Role(("event",), "the event id"),
    "generator_weight": Role(("genWeight",), "the weight of simulated events", simulation_only=True),
}
"""Always read."""

JET_ROLES: dict[str, Role] = {
    "pt": Role(("FatJet_pt",), "the selection, mjj and the feature pt"),
    "eta": Role(("FatJet_eta",), "the selection, mjj and the feature eta"),
    "phi": Role(("FatJet_phi",), "mjj and the feature phi"),
}
"""Without these there are no stored jets."""

JET_ID_ROLES: dict[str, Role] = {
    "jet_id": Role(("FatJet_jetId",), "the selection of jets"),
}
FRACTION_ROLES: dict[str, Role] = {
    name: Role((branch,), "the identification of jets where FatJet_jetId is missing")
    for name, branch in {
        "charged_hadron_fraction": "FatJet_chHEF",
        "neutral_hadron_fraction": "FatJet_neHEF",
        "neutral_em_fraction": "FatJet_neEmEF",
        "charged_multiplicity": "FatJet_chMultiplicity",
        "neutral_multiplicity": "FatJet_neMultiplicity",
    }.items()
}
"""The tight identification is made of these where the file does not store it (NanoAOD v15)."""

FEATURE_ROLES: dict[str, Role] = {
    "m": Role(
        ("FatJet_msoftdrop",), "mjj, the order of the jets and the features m, rho and delta_m", ("m",)
    ),
    "tau1": Role(("FatJet_tau1",), "the features tau1, tau21 and tau41", ("tau1", "tau21", "tau41")),
    "tau2": Role(("FatJet_tau2",), "the features tau2, tau21 and tau32", ("tau2", "tau21", "tau32")),
    "tau3": Role(("FatJet_tau3",), "the features tau3, tau32 and tau43", ("tau3", "tau32", "tau43")),
    "tau4": Role(("FatJet_tau4",), "the features tau4, tau43 and tau41", ("tau4", "tau43", "tau41")),
    "lsf3": Role(("FatJet_lsf3",), "the feature lsf3", ("lsf3",)),
    # PFNano of NanoAOD v9 has no multiplicity of AK8 jets: there the stored constituents are counted.
    "n_pf": Role(
        ("FatJet_nConstituents", "FatJetPFCands_jetIdx", "FatJetPFCand_jetIdx"),
        "the feature n_pf",
        ("n_pf",),
    ),
}
"""Substructure that the file holds, or that is computed from its particles."""

B_TAG_ROLES: dict[str, Role] = {
    "subjet1": Role(("FatJet_subJetIdx1",), "the feature deepb", ("deepb",)),
    "subjet2": Role(("FatJet_subJetIdx2",), "the feature deepb", ("deepb",)),
    "b_score": Role(
        ("SubJet_{b_score}", "SubJet_btagDeepB", "SubJet_btagDeepFlavB", "SubJet_btagUParTAK4B"),
        "the feature deepb",
        ("deepb",),
    ),
}
DISPENSABLE = tuple(
    dict.fromkeys(
        role.columns[0] for role in (*FEATURE_ROLES.values(), *B_TAG_ROLES.values()) if role.columns[0] != "m"
    )
)
"""Columns of a jet that a search can do without; the dijet mass needs the soft-drop masses."""
CLUSTERED_B_TAG_ROLES: dict[str, Role] = {
    "subjet_eta": Role(("SubJet_eta",), "the feature deepb of clustered jets", ("deepb",)),
    "subjet_phi": Role(("SubJet_phi",), "the feature deepb of clustered jets", ("deepb",)),
    "b_score": B_TAG_ROLES["b_score"],
}
"""Clustered jets have no cross-reference: the stored subjets inside the jet count."""

PARTICLE_ROLES: dict[str, Role] = {
    **{
        f"particle_{field}": Role((f"PFCands_{field}", f"PFCand_{field}"), "the particles of jets")
        for field in ("pt", "eta", "phi", "mass")
    },
    "particle_id": Role(("PFCands_pdgId", "PFCand_pdgId"), "the leptons inside jets"),
}
PARTICLE_EXTRAS: dict[str, Role] = {
    "puppi_weight": Role(("PFCands_puppiWeight", "PFCand_puppiWeight"), "the PUPPI weights of particles"),
    "particle_charge": Role(("PFCands_charge", "PFCand_charge"), "the charge of particles"),
}
LINK_ROLES: dict[str, Role] = {
    "link_jet": Role(("FatJetPFCands_jetIdx", "FatJetPFCand_jetIdx"), "the links from particles to jets"),
    "link_particle": Role(
        ("FatJetPFCands_pFCandsIdx", "FatJetPFCand_pfCandIdx", "FatJetPFCand_pFCandsIdx"),
        "the links from particles to jets",
    ),
}
LEPTON_LINK_ROLES: dict[str, Role] = {
    "jet_muon": Role(("FatJet_muonIdx3SJ",), "the feature lsf3 computed from particles"),
    "jet_electron": Role(("FatJet_electronIdx3SJ",), "the feature lsf3 computed from particles"),
    **{
        f"{lepton}_{field}": Role(
            (f"{lepton.capitalize()}_{field}",), "the feature lsf3 computed from particles"
        )
        for lepton in ("muon", "electron")
        for field in ("pt", "eta", "phi")
    },
    "electron_correction": Role(("Electron_eCorr",), "the feature lsf3 computed from particles"),
}

CORRECTION_ROLES: dict[str, Role] = {
    "raw_factor": Role(("FatJet_rawFactor",), "the jet energy scale"),
    "area": Role(("FatJet_area",), "the jet energy scale"),
    "rho": Role(
        ("Rho_fixedGridRhoFastjetAll", "fixedGridRhoFastjetAll"), "the jet energy scale and resolution"
    ),
    "gen_jet": Role(("FatJet_genJetAK8Idx",), "the jet energy resolution", simulation_only=True),
    "gen_pt": Role(("GenJetAK8_pt",), "the jet energy resolution", simulation_only=True),
    "gen_eta": Role(("GenJetAK8_eta",), "the jet energy resolution", simulation_only=True),
    "gen_phi": Role(("GenJetAK8_phi",), "the jet energy resolution", simulation_only=True),
    "n_true_interactions": Role(("Pileup_nTrueInt",), "the pile-up weights", simulation_only=True),
    "prefiring_nominal": Role(("L1PreFiringWeight_Nom",), "the prefiring weights", simulation_only=True),
    "prefiring_up": Role(("L1PreFiringWeight_Up",), "the prefiring weights", simulation_only=True),
    "prefiring_down": Role(("L1PreFiringWeight_Dn",), "the prefiring weights", simulation_only=True),
    "scale_weights": Role(("LHEScaleWeight",), "the μR and μF weights", simulation_only=True),
    "pdf_weights": Role(("LHEPdfWeight",), "the PDF weights", simulation_only=True),
    "shower_weights": Role(("PSWeight",), "the parton-shower weights", simulation_only=True),
    "subjet_pt": Role(("SubJet_pt",), "the b-tag weights", simulation_only=True),
    "subjet_eta": Role(("SubJet_eta",), "the b-tag weights", simulation_only=True),
    "subjet_flavour": Role(("SubJet_hadronFlavour",), "the b-tag weights", simulation_only=True),
    **{
        f"quark_{name}": Role(
            (branch,),
            "the Lund-plane weights; without_corrections: [lund] in the sample definition does without",
            simulation_only=True,
        )
        for name, branch in {
            "status": "GenPart_status",
            "eta": "GenPart_eta",
            "phi": "GenPart_phi",
            "id": "GenPart_pdgId",
        }.items()
    },
}
"""What corrections of simulated events need; read where the configuration asks for them."""

QUARK_FLAGS: dict[str, Role] = {
    "quark_flags": Role(("GenPart_statusFlags",), "the Lund-plane weights", simulation_only=True),
}

_RMM = "the rapidity–mass matrix"
OBJECT_ROLES: dict[str, Role] = {
    **_collection("small_jet", ("Jet",), "pt eta phi mass", _RMM),
    "small_jet_b_score": Role(("Jet_btagDeepFlavB",), _RMM),
    **_collection("muon", ("Muon",), "pt eta phi mass", _RMM),
    "muon_isolation": Role(("Muon_pfRelIso04_all", "Muon_pfRelIso03_all"), _RMM),
    **_collection("electron", ("Electron",), "pt eta phi mass", _RMM),
    "electron_isolation": Role(("Electron_pfRelIso03_all",), _RMM),
    **_collection("photon", ("Photon",), "pt eta phi", _RMM),
    "photon_isolation": Role(("Photon_pfRelIso03_all", "Photon_pfRelIso03_all_quadratic"), _RMM),
    "met_pt": Role(("PuppiMET_pt", "MET_pt", "PFMET_pt"), _RMM),
    "met_phi": Role(("PuppiMET_phi", "MET_phi", "PFMET_phi"), _RMM),
}
"""AK4 jets, leptons, photons and missing momentum of the rapidity–mass matrix."""

LABEL = Role(("Generator_label",), "evaluation", simulation_only=True)

COUNTED = frozenset({"FatJetPFCands_jetIdx", "FatJetPFCand_jetIdx"})
"""Branches that hold one entry a constituent: the role ``n_pf`` is the number of entries of each jet."""

VERSION_MARKS: tuple[tuple[str, str], ...] = (
    ("FatJet_globalParT3_QCD", "NanoAOD v15"),
    ("FatJet_particleNetWithMass_QCD", "NanoAOD v12"),
    ("FatJet_particleNetMD_QCD", "NanoAOD v9"),
    ("FatJet_msoftdrop", "NanoAOD-like"),
)
"""A branch that came with a version, newest first; for the printed decision only, no code depends on it."""


def format_name(keys: frozenset[str]) -> str:
    """The version of a file's names, in words."""
    version = next((name for mark, name in VERSION_MARKS if mark in keys), "no AK8 jets")
    particles = any(name in keys for name in LINK_ROLES["link_jet"].branches)
    return f"{version} with particles" if particles else version
