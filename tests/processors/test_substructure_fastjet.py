"""Our kernels against fastjet and fjcontrib, on toy jets."""

import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest

from processors.substructure import lsf, nsubjettiness, soft_drop

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
N = [1, 2, 3, 4]
KT = fastjet.JetDefinition(fastjet.kt_algorithm, 10.0)
CAMBRIDGE = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids="{}_prong".format)
def jets(request):
    return BENCH["cartesian"](BENCH["toy_jets"](100, seed=request.param, n_prongs=request.param))


@pytest.mark.parametrize(("ours", "theirs"), [("kt", "KT_Axes"), ("wta_kt", "WTA_KT_Axes")])
@pytest.mark.parametrize(("beta", "R0"), [(1.0, 0.8), (0.5, 1.0), (3.0, 0.4)])
def test_kt_axes(jets, ours, theirs, beta, R0):
    expected = fastjet.ClusterSequence(jets, KT).njettiness(axes_definition=theirs, beta=beta, R0=R0)
    np.testing.assert_allclose(nsubjettiness(jets, N, axes=ours, beta=beta, R0=R0), expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("ours", "theirs", "share"),
    [("onepass_kt", "OnePass_KT_Axes", 0.98), ("onepass_wta_kt", "OnePass_WTA_KT_Axes", 0.9)],
)
@pytest.mark.parametrize(("beta", "R0"), [(1.0, 0.8), (1.5, 1.0), (2.0, 0.4)])
def test_onepass_axes(jets, ours, theirs, share, beta, R0):
    sequence = fastjet.ClusterSequence(jets, KT)
    expected = ak.to_numpy(sequence.njettiness(axes_definition=theirs, beta=beta, R0=R0))
    ratio = nsubjettiness(jets, N, axes=ours, beta=beta, R0=R0) / expected
    assert np.all(np.abs(np.median(ratio, axis=0) - 1) < 0.003)
    # another minimum may be found in rare jets, with several axes; less rarely where these begin on particles
    assert np.mean(np.abs(ratio - 1) < 0.01) > share
    assert np.all(np.abs(np.mean(ratio, axis=0) - 1) < 0.01)


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
    result = BENCH["measure"](40)
    assert set(result["times_faster"]) == {"soft_drop", "tau1234_onepass", "combined"}
    # fastjet's soft drop is slow by far: true on any machine, however busy
    assert result["times_faster"]["soft_drop"] > 3
