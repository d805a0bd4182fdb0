"""Our kernels against fastjet and fjcontrib, on toy jets."""

import os
import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot

from processors.substructure import lsf, nsubjettiness, soft_drop

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
N = [1, 2, 3, 4]
KT = fastjet.JetDefinition(fastjet.kt_algorithm, 10.0)
CAMBRIDGE = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids="{}_prong".format)
def jets(request):
    return BENCH["cartesian"](BENCH["toy_jets"](100, seed=request.param, n_prongs=request.param))


def test_kt_axes(jets):
    theirs = fastjet.ClusterSequence(jets, KT).njettiness(axes_definition="KT_Axes")
    np.testing.assert_allclose(nsubjettiness(jets, N, axes="kt"), theirs, rtol=1e-9)


@pytest.mark.parametrize(("beta", "R0"), [(1.0, 0.8), (1.5, 1.0), (2.0, 0.4)])
def test_onepass_axes(jets, beta, R0):
    theirs = ak.to_numpy(fastjet.ClusterSequence(jets, KT).njettiness(beta=beta, R0=R0))
    ratio = nsubjettiness(jets, N, beta=beta, R0=R0) / theirs
    assert np.all(np.abs(np.median(ratio, axis=0) - 1) < 0.003)
    # another minimum may be found in rare jets, with several axes
    assert np.mean(np.abs(ratio - 1) < 0.01) > 0.98
    assert np.all(np.abs(np.mean(ratio, axis=0) - 1) < 0.005)


@pytest.mark.parametrize(("z_cut", "beta", "R0"), [(0.1, 0.0, 0.8), (0.05, 1.0, 0.8), (0.2, 2.0, 1.0)])
def test_soft_drop(jets, z_cut, beta, R0):
    ours = soft_drop(jets, z_cut=z_cut, beta=beta, R0=R0)
    theirs = fastjet.ClusterSequence(jets, CAMBRIDGE).exclusive_jets_softdrop_grooming(
        symmetry_cut=z_cut, beta=beta, R0=R0
    )
    passed = ak.to_numpy(ours.z > 0)
    assert passed.sum() > 95
    np.testing.assert_allclose(ours.mass, theirs.msoftdrop, rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(ours.pt, theirs.ptsoftdrop, rtol=1e-9)
    np.testing.assert_allclose(ours.delta_r[passed], theirs.deltaRsoftdrop[passed], rtol=1e-9)
    np.testing.assert_allclose(ours.z[passed], theirs.symmetrysoftdrop[passed], rtol=1e-9)


def test_lepton_subjet(jets):
    lepton = ak.local_index(jets) == 5
    subjets = fastjet.ClusterSequence(jets, KT).exclusive_jets_constituent_index(3)
    indices, expected = ak.to_list(subjets), []
    for particles, groups in zip(jets, indices, strict=True):
        (group,) = [group for group in groups if 5 in group]
        px, py = np.sum(particles.px[group]), np.sum(particles.py[group])
        expected.append(np.hypot(particles.px[5], particles.py[5]) / np.hypot(px, py))
    np.testing.assert_allclose(lsf(jets, lepton), expected, rtol=1e-9)


def test_large_jets():
    jets = BENCH["cartesian"](BENCH["toy_jets"](5, seed=9, pt=8000.0, generations=10))
    assert ak.min(ak.num(jets)) > 300
    theirs = fastjet.ClusterSequence(jets, KT).njettiness(axes_definition="KT_Axes")
    np.testing.assert_allclose(nsubjettiness(jets, N, axes="kt"), theirs, rtol=1e-9)


def test_benchmark_runs():
    cost = BENCH["measure"](20)["cpu_us_per_jet"]
    assert {"soft_drop", "soft_drop_fastjet", "tau1234_onepass", "tau1234_onepass_fastjet"} < cost.keys()


@pytest.fixture(scope="module")
def cms_jets():
    folder = os.environ.get("ODDJET_DATA")
    if not folder:
        pytest.skip("ODDJET_DATA is not set: no CMS file to compare with")
    with uproot.open(Path(folder) / "cms" / "pfnano.root") as file:
        events = file["Events"].arrays(filter_name=["PFCands_*", "FatJetPFCands_*", "FatJet_*", "SubJet_*"])
    columns = {
        name: events[f"PFCands_{name}"][events.FatJetPFCands_pFCandsIdx]
        for name in ("pt", "eta", "phi", "mass", "puppiWeight", "pdgId")
    }
    weight = columns.pop("puppiWeight")
    candidates = ak.zip(columns | {"pt": columns["pt"] * weight, "mass": columns["mass"] * weight})
    of_jet = events.FatJetPFCands_jetIdx[:, np.newaxis] == ak.local_index(events.FatJet_pt)[:, :, np.newaxis]
    _, repeated = ak.broadcast_arrays(events.FatJet_pt, candidates[:, np.newaxis])
    return events, ak.flatten(repeated[of_jet], axis=1)


def test_tau_of_cms(cms_jets):
    events, particles = cms_jets
    stored = np.stack([ak.to_numpy(ak.flatten(events[f"FatJet_tau{n}"])) for n in N], axis=1)
    deviation = np.abs(nsubjettiness(particles, N) / stored - 1)
    assert deviation.shape == (24, 4)
    assert np.all(np.median(deviation, axis=0) < 0.005)
    assert np.all(deviation < 0.06)


def test_soft_drop_mass_of_cms(cms_jets):
    events, particles = cms_jets
    p = {q: events[f"SubJet_{q}"] for q in ("pt", "eta", "phi", "mass", "rawFactor")}
    raw = ak.zip({q: p[q] * (1 - p["rawFactor"]) if q in {"pt", "mass"} else p[q] for q in p})
    pair = BENCH["cartesian"](raw)
    both = []
    for jet_pair, first, second in zip(pair, events.FatJet_subJetIdx1, events.FatJet_subJetIdx2, strict=True):
        for i, j in zip(first, second, strict=True):
            px, py, pz, e = (jet_pair[q][i] + jet_pair[q][j] for q in ("px", "py", "pz", "E"))
            both.append(np.sqrt(max(e**2 - px**2 - py**2 - pz**2, 0)) if i >= 0 and j >= 0 else 0)
    # subjets are stored with 10 bits: nearly collinear pairs lose their angle
    ours = ak.to_numpy(soft_drop(particles).mass)
    np.testing.assert_allclose(ours, both, rtol=0.005, atol=0.4)


def test_lepton_fraction_of_cms(cms_jets):
    events, particles = cms_jets
    is_muon = abs(particles.pdgId) == 13
    stored = ak.to_numpy(ak.flatten(events.FatJet_lsf3))
    ours = lsf(particles, is_muon & (particles.pt > 0))
    assert np.any(ours > 0)  # CMS also counts leptons whose candidates have no weight
    np.testing.assert_allclose(ours[ours > 0], stored[ours > 0], rtol=0.02)
