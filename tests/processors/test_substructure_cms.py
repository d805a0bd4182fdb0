"""Substructure of the jets of a public CMS file (PFNano) against what CMS stored for them."""

import os
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from processors.substructure import jet_substructure, lsf, nsubjettiness, soft_drop

N = [1, 2, 3, 4]
ELECTRON, MUON = 11, 13
BRANCHES = [
    *(f"PFCands_{q}" for q in ("pt", "eta", "phi", "mass", "puppiWeight")),
    *(f"FatJetPFCands_{q}" for q in ("jetIdx", "pFCandsIdx")),
    *(f"FatJet_{q}" for q in ("pt", "eta", "phi", "lsf3", "muonIdx3SJ", "electronIdx3SJ")),
    *(f"FatJet_{q}" for q in ("subJetIdx1", "subJetIdx2", "tau1", "tau2", "tau3", "tau4")),
    *(f"SubJet_{q}" for q in ("pt", "eta", "phi", "mass", "rawFactor")),
    *(f"{lepton}_{q}" for lepton in ("Muon", "Electron") for q in ("pt", "eta", "phi")),
    "Electron_eCorr",
]


@pytest.fixture(scope="module", params=["pfnano.root", "pfnano_rntuple.root"])
def events(request):
    folder = os.environ.get("ODDJET_DATA")
    if not folder:
        pytest.skip("ODDJET_DATA is not set: no CMS file to compare with")
    with uproot.open(Path(folder) / "cms" / request.param) as file:
        tree = file["Events"]
        return ak.zip({name: tree[name].array() for name in BRANCHES}, depth_limit=1)


@pytest.fixture(scope="module")
def jets(events):
    """Candidates of each AK8 jet, and their PUPPI weights."""
    columns = {
        name: events[f"PFCands_{name}"][events.FatJetPFCands_pFCandsIdx]
        for name in ("pt", "eta", "phi", "mass", "puppiWeight")
    }
    weight = columns.pop("puppiWeight")
    of_jet = events.FatJetPFCands_jetIdx[:, np.newaxis] == ak.local_index(events.FatJet_pt)[:, :, np.newaxis]

    def by_jet(values):
        _, repeated = ak.broadcast_arrays(events.FatJet_pt, values[:, np.newaxis])
        return ak.flatten(repeated[of_jet], axis=1)

    return by_jet(ak.zip(columns)), by_jet(weight)


def test_n_subjettiness(events, jets):
    particles, weights = jets
    stored = np.stack([ak.to_numpy(ak.flatten(events[f"FatJet_tau{n}"])) for n in N], axis=1)
    deviation = np.abs(nsubjettiness(particles, N, weights=weights) / stored - 1)
    assert deviation.shape == (24, 4)
    assert np.all(np.median(deviation, axis=0) < 0.005)
    assert np.all(deviation < 0.06)


def test_weights_matter(events, jets):
    """A check of the check above: without PUPPI's weights the values are far off."""
    ratio = nsubjettiness(jets[0], 2) / ak.to_numpy(ak.flatten(events.FatJet_tau2))
    assert np.median(ratio) > 1.02


def test_groomed_mass_is_that_of_the_raw_subjets(events, jets):
    raw = {q: events[f"SubJet_{q}"] for q in ("pt", "eta", "phi", "mass")}
    scale = 1 - events.SubJet_rawFactor
    pt, mass = raw["pt"] * scale, raw["mass"] * scale
    p = ak.zip({"x": pt * np.cos(raw["phi"]), "y": pt * np.sin(raw["phi"]), "z": pt * np.sinh(raw["eta"])})
    energy = np.sqrt(p.x**2 + p.y**2 + p.z**2 + mass**2)
    mass_of_pair = []
    for i, pair in enumerate(zip(events.FatJet_subJetIdx1, events.FatJet_subJetIdx2, strict=True)):
        for first, second in zip(*pair, strict=True):
            if first < 0 or second < 0:
                mass_of_pair.append(0.0)
                continue
            x, y, z, e = (q[i][first] + q[i][second] for q in (p.x, p.y, p.z, energy))
            mass_of_pair.append(np.sqrt(max(e**2 - x**2 - y**2 - z**2, 0.0)))
    ours = ak.to_numpy(soft_drop(jets[0], weights=jets[1]).mass)
    heavy = ours > 5.0
    assert heavy.sum() >= 15
    np.testing.assert_allclose(ours[heavy], np.array(mass_of_pair)[heavy], rtol=0.01)
    # directions of subjets are stored with a dozen bits, which nearly collinear pairs feel
    np.testing.assert_allclose(ours, mass_of_pair, rtol=0.005, atol=0.4)


def leptons_of(events):
    """The lepton of each jet (list of none or one), as CMS chose it, and its flavour.

    The stored index of a lepton is left over from the jet before where a jet has none: it counts within the jet's
    radius only, and an electron before a muon. Electrons were not yet corrected in energy.
    """
    leptons, flavours = [], []
    for event in events:
        for jet in range(len(event.FatJet_pt)):
            leptons.append([])
            flavours.append(0)
            for name, index, flavour in (("Electron", "electronIdx3SJ", 11), ("Muon", "muonIdx3SJ", 13)):
                row = event[f"FatJet_{index}"][jet]
                if row < 0 or leptons[-1]:
                    continue
                pt, eta, phi = (float(event[f"{name}_{q}"][row]) for q in ("pt", "eta", "phi"))
                d_phi = np.angle(np.exp(1j * (phi - event.FatJet_phi[jet])))
                if np.hypot(eta - event.FatJet_eta[jet], d_phi) < 0.8:
                    correction = float(event.Electron_eCorr[row]) if flavour == ELECTRON else 1.0
                    leptons[-1].append({"pt": pt / correction, "eta": eta, "phi": phi})
                    flavours[-1] = flavour
    return ak.Array(leptons), np.array(flavours)


def test_lepton_subjet_fraction(events, jets):
    leptons, flavour = leptons_of(events)
    stored = ak.to_numpy(ak.flatten(events.FatJet_lsf3))
    assert np.array_equal(stored < 0, flavour == 0)
    ours = lsf(jets[0], leptons)
    assert np.all(ours[flavour == 0] == 0)
    muon, electron = flavour == MUON, flavour == ELECTRON
    assert (muon.sum(), electron.sum()) == (5, 3)
    assert np.all(np.abs(ours[muon] - stored[muon]) < 1e-3)
    np.testing.assert_allclose(ours[muon], stored[muon], rtol=1e-3)  # stored with 10 bits
    np.testing.assert_allclose(ours[electron], stored[electron], rtol=1e-3)


def test_combined_pass(events, jets):
    particles, weights = jets
    leptons, _ = leptons_of(events)
    found = jet_substructure(particles, weights=weights, leptons=leptons)
    linked = [
        np.sum(event.FatJetPFCands_jetIdx == j) for event in events for j in range(len(event.FatJet_pt))
    ]
    assert found.n_particles.to_list() == linked
    taus = nsubjettiness(particles, N, weights=weights)
    assert np.array_equal(np.stack([found[f"tau{n}"] for n in N], axis=1), taus)
    assert np.array_equal(found.lsf, lsf(particles, leptons))
    assert found.groomed.mass.to_list() == soft_drop(particles, weights=weights).mass.to_list()
