"""Energy correlation functions against sums written out, fjcontrib, closed forms and CMS's stored values."""

import itertools
import os
import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError, InputError
from processors.correlators import energy_correlators
from processors.subjets import soft_drop_mask

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BENCH = runpy.run_path(str(BENCHMARKS / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
small_jets = st.builds(
    lambda seed, n_prongs, generations: toy_jets(3, seed=seed, n_prongs=n_prongs, generations=generations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 4),
)
quick = settings(max_examples=15, deadline=None)


def massless(*jets):
    """Awkward jets of (pt, eta, phi) tuples: rapidity is pseudorapidity."""
    names = ("pt", "eta", "phi")
    return ak.Array([[dict(zip(names, p, strict=True), mass=0.0) for p in jet] for jet in jets])


def written_out(jet, beta):
    """v_e_n of one massless jet as the definition has it: every set of n particles, its angles sorted."""
    pt, eta, phi = np.array(jet).T
    z = pt / pt.sum()

    def angle(i, j):
        d_phi = np.angle(np.exp(1j * (phi[i] - phi[j])))
        return np.hypot(eta[i] - eta[j], d_phi) ** beta

    def correlator(v, n):
        total = 0.0
        for particles in itertools.combinations(range(len(jet)), n):
            angles = sorted(angle(i, j) for i, j in itertools.combinations(particles, 2))
            total += np.prod(z[list(particles)]) * np.prod(angles[:v])
        return total

    wanted = {"e2": (1, 2), "e3_1": (1, 3), "e3_2": (2, 3), "e3": (3, 3), "e4_2": (2, 4)}
    return {name: correlator(*vn) for name, vn in wanted.items()}


@quick
@given(
    st.lists(
        st.tuples(st.floats(0.1, 100), st.floats(-0.5, 0.5), st.floats(2.8, 3.6)), min_size=1, max_size=8
    ),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_sums_written_out(jet, beta):
    ours, expected = energy_correlators(massless(jet), beta=beta, four_points=True)[0], written_out(jet, beta)
    for name, value in expected.items():
        # the rapidity of nearly equal directions is good to some 1e-8
        assert ours[name] == pytest.approx(value, rel=1e-6, abs=1e-7), name


def test_two_and_three_particles_by_hand():
    # shares 0.75 and 0.25 at ΔR = 0.5: e2 = z1 z2 θ^β
    two = energy_correlators(massless([(75, 0, 0), (25, 0.3, 0.4)]), beta=2.0, four_points=True)[0]
    assert two.e2 == pytest.approx(0.75 * 0.25 * 0.5**2)
    assert [two[name] for name in ("e3", "c2", "d2", "n2", "n3")] == [0, 0, 0, 0, 0]
    # a right triangle of sides 0.3, 0.4, 0.5 with shares 0.5, 0.3, 0.2
    three = energy_correlators(massless([(50, 0, 0), (30, 0.3, 0), (20, 0, 0.4)]))[0]
    e2 = 0.15 * 0.3 + 0.1 * 0.4 + 0.06 * 0.5
    assert three.e2 == pytest.approx(e2)
    assert three.e3_1 == pytest.approx(0.03 * 0.3)
    assert three.e3_2 == pytest.approx(0.03 * 0.3 * 0.4)
    assert three.e3 == pytest.approx(0.03 * 0.3 * 0.4 * 0.5)
    assert three.c2 == pytest.approx(0.03 * 0.06 / e2**2)
    assert three.d2 == pytest.approx(0.03 * 0.06 / e2**3)
    assert three.n2 == pytest.approx(0.03 * 0.12 / e2**2)


@pytest.mark.parametrize("n_prongs", [1, 3])
@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_fastjet_contrib(n_prongs, beta):
    jets = cartesian(toy_jets(40, seed=n_prongs, n_prongs=n_prongs))
    ours = energy_correlators(jets[:40], beta=beta)
    cambridge = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)

    def theirs(function, upto):
        sequence = fastjet.ClusterSequence(jets[:upto], cambridge)
        values = sequence.exclusive_jets_energy_correlator(njets=1, beta=beta, func=function)
        return ak.to_numpy(values).ravel()

    for function in ("C2", "D2", "N2"):
        np.testing.assert_allclose(ours[function.lower()], theirs(function, 40), rtol=1e-9, err_msg=function)
    n3 = energy_correlators(jets[:4], beta=beta, four_points=True).n3
    np.testing.assert_allclose(n3, theirs("N3", 4), rtol=1e-9)


@pytest.fixture(scope="module")
def cms_jets():
    folder = os.environ.get("ODDJET_DATA")
    if not folder:
        pytest.skip("ODDJET_DATA is not set: no CMS file to compare with")
    with uproot.open(Path(folder) / "cms" / "pfnano.root") as file:
        events = file["Events"].arrays(filter_name=["PFCands_*", "FatJetPFCands_*", "FatJet_*"])
    rows = events.FatJetPFCands_pFCandsIdx
    names = ("pt", "eta", "phi", "mass", "puppiWeight")
    linked = ak.zip({name: events[f"PFCands_{name}"][rows] for name in names})
    of_jet = events.FatJetPFCands_jetIdx[:, np.newaxis] == ak.local_index(events.FatJet_pt)[:, :, np.newaxis]
    _, repeated = ak.broadcast_arrays(events.FatJet_pt, linked[:, np.newaxis])
    return events, ak.flatten(repeated[of_jet], axis=1)


@pytest.mark.parametrize(("name", "n_stored"), [("n2", 20), ("n3", 15)])
def test_n2_and_n3_of_cms(cms_jets, name, n_stored):
    """CMS takes them of the soft-drop jet (z > 0.1); -1: too few particles, and N3 only above 250 GeV."""
    events, particles = cms_jets
    kept = particles[soft_drop_mask(particles, weights=particles.puppiWeight)]
    ours = ak.to_numpy(energy_correlators(kept, weights=kept.puppiWeight, four_points=True)[name])
    stored = ak.to_numpy(ak.flatten(events[f"FatJet_{name}b1"]))
    there = stored >= 0
    assert there.sum() == n_stored
    deviation = np.abs(ours / stored - 1)[there]
    assert np.median(deviation) < 0.002
    assert np.all(deviation < 0.05)
    if name == "n2":
        assert np.all(ours[~there] == 0)


@quick
@given(small_jets)
def test_soft_particles_and_those_without_weight_do_not_count(jets):
    soft = ak.zip({"pt": jets.pt * 1e-10, "eta": jets.eta + 0.3, "phi": jets.phi, "mass": jets.mass * 0})
    both = ak.concatenate([jets, soft], axis=1)
    one, two = energy_correlators(jets, four_points=True), energy_correlators(both, four_points=True)
    for name in ("e2", "e3_1", "e3_2", "e3", "e4_2"):  # ratios may be of two numbers that both vanish
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-8, err_msg=name)
    weights = ak.concatenate([ak.ones_like(jets.pt), ak.zeros_like(jets.pt)], axis=1)
    weighted = energy_correlators(both, weights=weights, four_points=True)
    for name in one.fields:
        assert np.array_equal(ak.to_numpy(weighted[name]), ak.to_numpy(one[name])), name


def test_ratios_of_one_two_and_three_prongs():
    """C2 and N2 are small for two prongs next to three, D2 for two next to one."""
    jets = {n: toy_jets(200, seed=n, n_prongs=n, generations=4) for n in (1, 2, 3)}
    median = {
        n: {name: np.median(ak.to_numpy(values[name])) for name in ("c2", "d2", "n2")}
        for n, values in ((n, energy_correlators(jet)) for n, jet in jets.items())
    }
    assert median[2]["d2"] < 0.8 * median[1]["d2"]
    assert median[2]["n2"] < 0.9 * median[3]["n2"]
    assert median[2]["c2"] < 0.9 * median[3]["c2"]


def test_weights_scale_the_momenta():
    jet = massless([(100, 0, 0), (60, 0.3, 0), (40, 0, 0.4)])
    halved = energy_correlators(jet, weights=ak.Array([[0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(halved.e3, energy_correlators(jet).e3, rtol=1e-12)
    weighted = energy_correlators(jet, weights=ak.Array([[0.5, 0.5, 0.25]]))
    expected = energy_correlators(massless([(50, 0, 0), (30, 0.3, 0), (10, 0, 0.4)]))
    np.testing.assert_allclose(weighted.n2, expected.n2, rtol=1e-12)


def test_empty_jets_no_jets_and_float32():
    jets = ak.concatenate([toy_jets(2, seed=1)[:, :0], toy_jets(2, seed=1), toy_jets(1, seed=2)[:, :1]])
    values = energy_correlators(jets, four_points=True)
    for name in values.fields:
        assert np.array_equal(ak.to_numpy(values[name]) > 0, [False, False, True, True, False])
    assert len(energy_correlators(jets[:0])) == 0
    assert energy_correlators(ak.Array([[], []])).n2.to_list() == [0, 0]
    float32 = energy_correlators(ak.values_astype(jets, np.float32), four_points=True)
    assert ak.to_numpy(float32.n3).dtype == np.float64
    np.testing.assert_allclose(float32.n3, values.n3, rtol=1e-3)


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, np.inf])
def test_angular_exponents_that_make_no_sense(beta):
    with pytest.raises(ConfigError, match=r"beta = .* must be a positive number"):
        energy_correlators(massless([(1, 0, 0)]), beta=beta)


def test_bad_momenta_name_the_jet():
    with pytest.raises(InputError, match="particle 1 in jet 1 is nan"):
        energy_correlators(massless([(1, 0, 0)], [(1, 0, 0), (np.nan, 0, 0)]))


def test_benchmark_runs():
    bench = runpy.run_path(str(BENCHMARKS / "bench_shapes.py"))
    result = bench["measure"](20)
    assert result["fastjet_over_ours"].keys() == result["cpu_us_per_jet_fastjet"].keys()
    assert result["cpu_us_per_jet_fastjet"].keys() < result["cpu_us_per_jet"].keys()
