import runpy
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import vector
from coffea.nanoevents.methods import vector as coffea_vector
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError, InputError
from processors.kernels import flat_nsubjettiness, flat_soft_drop
from processors.kernels.buffers import flat_jets
from processors.lund import lund_declustering
from processors.substructure import jet_substructure, lsf, mmdt, nsubjettiness, soft_drop

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
N = [1, 2, 3, 4]
AXES = ["kt", "onepass_kt", "wta_kt", "onepass_wta_kt"]


def jets_of(*jets):
    """Awkward jets of (pt, eta, phi, mass) tuples."""
    names = ("pt", "eta", "phi", "mass")
    return ak.Array([[dict(zip(names, p, strict=True)) for p in jet] for jet in jets])


def total(jets):
    """E, pz, px, py summed over the particles of each jet."""
    momenta = cartesian(jets)
    return {q: ak.to_numpy(ak.sum(momenta[q], axis=1)) for q in ("px", "py", "pz", "E")}


small_jets = st.builds(
    lambda seed, n_prongs, generations: toy_jets(3, seed=seed, n_prongs=n_prongs, generations=generations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(0, 7),
)


def check_same(first, second, tolerance=1e-6):
    """Same substructure of the same jets seen in another way."""
    np.testing.assert_allclose(
        nsubjettiness(first, N, axes="kt"), nsubjettiness(second, N, axes="kt"), rtol=tolerance, atol=1e-9
    )
    np.testing.assert_allclose(
        nsubjettiness(first, N, axes="wta_kt"),
        nsubjettiness(second, N, axes="wta_kt"),
        rtol=tolerance,
        atol=1e-9,
    )
    # the minimisation may end a step earlier or later
    np.testing.assert_allclose(nsubjettiness(first, N), nsubjettiness(second, N), rtol=2e-3, atol=1e-7)
    groomed, other = soft_drop(first), soft_drop(second)
    for quantity in ("pt", "delta_r", "z"):
        np.testing.assert_allclose(groomed[quantity], other[quantity], rtol=tolerance, atol=1e-9)
    np.testing.assert_allclose(groomed.mass, other.mass, rtol=1e-5, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(-7, 7))
def test_rotation_leaves_all_as_it_is(jets, angle):
    check_same(jets, ak.with_field(jets, jets.phi + angle, "phi"))


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(-1.5, 1.5))
def test_boost_along_the_beam_leaves_all_as_it_is(jets, rapidity):
    p = cartesian(jets)
    e = np.cosh(rapidity) * p.E + np.sinh(rapidity) * p.pz
    pz = np.cosh(rapidity) * p.pz + np.sinh(rapidity) * p.E
    check_same(jets, ak.zip({"px": p.px, "py": p.py, "pz": pz, "E": e}))


@settings(max_examples=25, deadline=None)
@given(small_jets, st.integers(0, 2**32 - 1))
def test_order_of_particles_does_not_matter(jets, seed):
    rng = np.random.default_rng(seed)
    key = ak.unflatten(rng.uniform(size=ak.sum(ak.num(jets))), ak.num(jets))
    check_same(jets, jets[ak.argsort(key, axis=1)])


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(0.01, 100))
def test_scale_of_momenta_drops_out_of_tau(jets, factor):
    scaled = ak.zip({q: jets[q] * (factor if q in {"pt", "mass"} else 1) for q in jets.fields})
    np.testing.assert_allclose(
        nsubjettiness(scaled, N, axes="kt"), nsubjettiness(jets, N, axes="kt"), rtol=1e-6, atol=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(small_jets, st.sampled_from([0.5, 1.0, 1.5, 2.0]), st.sampled_from(["kt", "wta_kt"]))
def test_minimisation_never_raises_tau(jets, beta, axes):
    before = nsubjettiness(jets, N, axes=axes, beta=beta)
    assert np.all(nsubjettiness(jets, N, beta=beta, axes=f"onepass_{axes}") <= before * (1 + 1e-12))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_tau_vanishes_for_no_more_particles_than_axes(seed, n_particles):
    rng = np.random.default_rng(seed)
    jet = [(pt, *rng.normal(0, 0.3, 2), 0.0) for pt in rng.uniform(1, 100, n_particles)]
    taus = nsubjettiness(jets_of(jet, [(1.0, 0.0, 0.0, 0.0)]), [1, 2, 3, 4, 5, 6])
    assert np.all(taus[0, max(n_particles, 1) - 1 :] == 0)
    assert np.all(taus[0, : max(n_particles, 1) - 1] > 0)
    assert np.all(taus[1] == 0)


def test_tau_tends_to_zero_as_the_prongs_narrow():
    two = nsubjettiness(
        jets_of(*([(100, 0, 0, 0), (100, s, 0, 0), (80, 0.5, 0, 0), (70, 0.5, s, 0)] for s in (0.1, 1e-3))), 2
    )
    assert two[1] < 0.02 * two[0]
    assert two[1] == pytest.approx((100 + 70) * 1e-3 / (350 * 0.8), rel=0.05)


def test_minimum_is_the_weighted_median_of_collinear_particles():
    jet = jets_of([(50, -0.2, 1, 0), (60, 0.0, 1, 0), (70, 0.3, 1, 0), (5, 0.5, 1, 0)])
    expected = (50 * 0.2 + 70 * 0.3 + 5 * 0.5) / (185 * 0.8)
    assert nsubjettiness(jet, 1)[0] == pytest.approx(expected, rel=1e-3)
    mean = np.average([-0.2, 0.0, 0.3, 0.5], weights=[50, 60, 70, 5])  # beta = 2: the mean
    expected = np.sum([50, 60, 70, 5] * (np.array([-0.2, 0.0, 0.3, 0.5]) - mean) ** 2) / (185 * 0.64)
    assert nsubjettiness(jet, 1, beta=2.0)[0] == pytest.approx(expected, rel=1e-9)


def test_jets_across_the_seam_in_azimuth():
    jet = jets_of([(50, 0, 3.1, 0), (40, 0.1, -3.1, 0), (30, -0.1, 3.0, 0), (9, 0, -3.0, 0)])
    check_same(jet, ak.with_field(jet, jet.phi + 2, "phi"))
    assert soft_drop(jet, z_cut=0.0).phi[0] == pytest.approx(np.pi, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(small_jets)
def test_soft_drop_without_a_cut_is_the_jet(jets):
    groomed, jet = soft_drop(jets, z_cut=0.0), total(jets)
    mass = np.sqrt(np.maximum(jet["E"] ** 2 - jet["px"] ** 2 - jet["py"] ** 2 - jet["pz"] ** 2, 0))
    np.testing.assert_allclose(groomed.mass, mass, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(groomed.pt, np.hypot(jet["px"], jet["py"]), rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(0.01, 0.5), st.floats(0, 2))
def test_prongs_make_the_groomed_jet_and_pass_the_cut(jets, z_cut, beta):
    groomed = soft_drop(jets, z_cut=z_cut, beta=beta)
    both = groomed.subjet1 + groomed.subjet2
    passed = ak.to_numpy(groomed.z > 0)
    np.testing.assert_allclose(both.pt[passed], groomed.pt[passed], rtol=1e-9)
    np.testing.assert_allclose(both.mass[passed], groomed.mass[passed], rtol=1e-5, atol=1e-3)
    assert np.all(groomed.subjet1.pt >= groomed.subjet2.pt)
    assert np.all(groomed.z[passed] > z_cut * (groomed.delta_r[passed] / 0.8) ** beta)
    assert np.all(groomed.subjet1.pt[~passed] == 0)
    assert np.all(groomed.mass[~passed] < 0.2)  # one particle


def test_soft_drop_grooms_wide_soft_radiation():
    jet = jets_of([(100, 0.0, 0.0, 0), (80, 0.2, 0.0, 0), (5, 0.0, 0.7, 0)])
    groomed = soft_drop(jet)[0]
    assert groomed.pt == pytest.approx(180, rel=1e-9)
    assert groomed.mass**2 == pytest.approx(2 * 100 * 80 * (np.cosh(0.2) - 1), rel=1e-6)
    assert groomed.delta_r == pytest.approx(0.2)
    assert groomed.z == pytest.approx(80 / 180)
    assert soft_drop(jet, beta=3.0, R0=1.5)[0].pt > 180  # (0.7 / 1.5)³ z_cut = 0.010


def test_empty_jets_and_no_jets():
    jets = jets_of([], [(10.0, 0, 0, 0.1)], [])
    assert np.all(nsubjettiness(jets, N) == 0)
    groomed = soft_drop(jets)
    np.testing.assert_allclose(groomed.mass, [0, 0.1, 0], atol=1e-7)
    np.testing.assert_allclose(groomed.pt, [0, 10, 0])
    assert groomed.subjet1.pt.to_list() == [0, 0, 0]
    for nothing in (jets[:0], ak.Array([])):
        assert nsubjettiness(nothing, 2).shape == (0,)
        assert nsubjettiness(nothing, N).shape == (0, 4)
        assert len(soft_drop(nothing)) == 0
    assert nsubjettiness(ak.Array([[], []]), 1).tolist() == [0, 0]


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(0.02, 0.5), st.integers(0, 2**32 - 1))
def test_exact_collinear_splitting_changes_nothing(jets, z, seed):
    """Infrared and collinear safety: a particle, or two with the same direction and its momentum in all."""
    massless = ak.with_field(jets, jets.mass * 0, "mass")
    rng = np.random.default_rng(seed)
    split = ak.unflatten(rng.uniform(size=ak.sum(ak.num(jets))) < 0.3, ak.num(jets))
    first = ak.with_field(massless, ak.where(split, (1 - z) * massless.pt, massless.pt), "pt")
    second = ak.with_field(massless, massless.pt * z, "pt")[split]
    after = ak.concatenate([first, second], axis=1)
    for axes in ("kt", "wta_kt"):
        before = nsubjettiness(massless, N, axes=axes)
        # with fewer axes than particles: N particles have τ_N = 0 by convention, and more may not
        enough = ak.to_numpy(ak.num(massless))[:, np.newaxis] > np.array(N)
        np.testing.assert_allclose(
            np.where(enough, nsubjettiness(after, N, axes=axes), 0), before, rtol=1e-5, atol=1e-7
        )
    groomed, other = soft_drop(massless), soft_drop(after)
    passed = ak.to_numpy(groomed.z > 0)  # without, one particle is left, and it may have been split
    np.testing.assert_allclose(groomed.mass[passed], other.mass[passed], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(groomed.pt[passed], other.pt[passed], rtol=1e-9)


def test_winner_takes_all_axes_of_three_particles():
    jet = jets_of([(50, 0.0, 0.0, 0), (30, 0.3, 0.0, 0), (10, 0.3, 0.1, 0)])
    # d_ij: the soft pair first, to (40, 0.3, 0); then the axes are the hard particles
    assert nsubjettiness(jet, 2, axes="wta_kt")[0] == pytest.approx(10 * 0.1 / (90 * 0.8), rel=1e-9)
    expected = (30 * 0.3 + 10 * np.hypot(0.3, 0.1)) / (90 * 0.8)
    assert nsubjettiness(jet, 1, axes="wta_kt")[0] == pytest.approx(expected, rel=1e-9)
    pair = jets_of([(30, 0.0, 0.0, 0), (25, 0.1, 0.0, 0), (50, 0.6, 0.0, 0)])
    expected = (30 * 0.0 + 25 * 0.1 + 50 * 0.6) / (105 * 0.8)  # 30 + 25 win over 50
    assert nsubjettiness(pair, 1, axes="wta_kt")[0] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(small_jets, st.integers(0, 2**32 - 1))
def test_weights_multiply_the_momenta(jets, seed):
    rng = np.random.default_rng(seed)
    size = ak.sum(ak.num(jets))
    weights = ak.unflatten(rng.uniform(0.1, 1, size) * (rng.uniform(size=size) < 0.8), ak.num(jets))
    scaled = ak.zip(
        {q: jets[q] * (weights if q in {"pt", "mass"} else ak.ones_like(jets.pt)) for q in jets.fields}
    )
    for axes in AXES:
        np.testing.assert_allclose(
            nsubjettiness(jets, N, axes=axes, weights=weights),
            nsubjettiness(scaled, N, axes=axes),
            rtol=2e-3,
            atol=1e-7,
        )
    np.testing.assert_allclose(soft_drop(jets, weights=weights).pt, soft_drop(scaled).pt, rtol=1e-9)
    mask = jets.eta > ak.mean(jets.eta)
    np.testing.assert_allclose(lsf(jets, mask, weights=weights), lsf(scaled, mask), rtol=1e-9)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[1.0, 0.5], [1.0]], "weights hold 2 jets, the particles 3"),
        ([[1.0, 0.5], [1.0], [1.0, 1.0]], "weights of jet 1 are 1 for 0 particles"),
        ([[1.0, 0.5], [], [1.0, np.nan]], "weight of particle 1 in jet 2 is nan"),
        ([[1.0, 0.5], [], [1.0, np.inf]], "weight of particle 1 in jet 2 is inf"),
        ([[1.0, 0.5], [], [-1.0, 1.0]], "weight of particle 0 in jet 2 is -1"),
        ([[1.0, 0.5], [], [None, 1.0]], "weight of particle 0 in jet 2 is missing"),
        ([1.0, 0.5, 1.0], "weights must be an array jets × particles"),
    ],
)
@pytest.mark.parametrize(
    "function",
    [
        lambda p, w: nsubjettiness(p, 1, weights=w),
        lambda p, w: soft_drop(p, weights=w),
        lambda p, w: lsf(p, p.pt > 0, weights=w),
        lambda p, w: jet_substructure(p, weights=w),
    ],
)
def test_bad_weights_name_the_jet(function, weights, message):
    jets = jets_of([(10, 0, 0, 0), (9, 0.1, 0, 0)], [], [(10, 0, 0, 0), (9, 0.1, 0, 0)])
    with pytest.raises(InputError, match=message):
        function(jets, ak.Array(weights))


@settings(max_examples=25, deadline=None)
@given(small_jets, st.floats(0.0, 0.5), st.floats(0, 2), st.integers(0, 2**32 - 1))
def test_combined_pass_is_the_sum_of_its_parts(jets, z_cut, beta, seed):
    rng = np.random.default_rng(seed)
    jets = ak.concatenate([jets, jets[:1][:, :0], jets[:1][:, :1]])
    size = ak.sum(ak.num(jets))
    weights = ak.unflatten(rng.uniform(0, 1, size) * (rng.uniform(size=size) < 0.8), ak.num(jets))
    mask = ak.unflatten(rng.uniform(size=size) < 0.02, ak.num(jets))
    found = jet_substructure(jets, z_cut=z_cut, beta=beta, R0=0.9, leptons=mask, weights=weights)
    taus = nsubjettiness(jets, N, R0=0.9, weights=weights)
    assert np.array_equal(np.stack([found[f"tau{n}"] for n in N], axis=1), taus)
    groomed = soft_drop(jets, z_cut=z_cut, beta=beta, R0=0.9, weights=weights)
    assert found.groomed.to_list() == groomed.to_list()
    assert np.array_equal(found.lsf, lsf(jets, mask))
    assert np.array_equal(found.n_particles, ak.num(jets))
    assert found.lund.to_list() == lund_declustering(jets, R0=0.9, weights=weights).to_list()


def test_combined_pass_of_nothing():
    for nothing, n in ((ak.Array([]), 0), (ak.Array([[], []]), 2)):
        found = jet_substructure(nothing)
        assert len(found) == n
        assert found.tau3.to_list() == found.groomed.mass.to_list() == found.lsf.to_list() == [0] * n
        assert found.lund.to_list() == [[]] * n
    assert set(jet_substructure(toy_jets(2, seed=1), n_tau=2).fields) == {
        *("tau1", "tau2", "groomed", "lsf", "n_particles", "lund"),
    }


def test_particles_without_weight_are_left_out():
    jets = toy_jets(5, seed=3)
    zero = ak.zip({"pt": jets.pt * 0, "eta": jets.eta + 0.3, "phi": jets.phi, "mass": jets.mass * 0})
    check_same(jets, ak.concatenate([zero, jets], axis=1))


def test_kinds_of_records_agree():
    jets = toy_jets(4, seed=5)
    vectors = vector.zip({q: jets[q] for q in jets.fields})
    coffea = ak.zip(
        {q: jets[q] for q in jets.fields}, with_name="PtEtaPhiMLorentzVector", behavior=coffea_vector.behavior
    )
    float32 = ak.zip({q: ak.values_astype(jets[q], np.float32) for q in jets.fields})
    expected = nsubjettiness(jets, N)
    for other in (vectors, vectors.to_xyzt(), coffea, cartesian(jets), ak.to_packed(jets)):
        np.testing.assert_allclose(nsubjettiness(other, N), expected, rtol=1e-6)
        np.testing.assert_allclose(soft_drop(other).mass, soft_drop(jets).mass, rtol=1e-5)
    np.testing.assert_allclose(nsubjettiness(float32, N), expected, rtol=1e-3)
    np.testing.assert_allclose(soft_drop(float32).mass, soft_drop(jets).mass, rtol=1e-4)
    assert nsubjettiness(jets, 3) == pytest.approx(nsubjettiness(jets, [3])[:, 0], rel=0)
    assert nsubjettiness(float32, N).dtype == np.float64


def test_flat_entries_are_the_awkward_ones():
    jets = toy_jets(6, seed=6)
    flat = flat_jets(jets)
    for onepass, axes in ((True, "onepass_kt"), (False, "kt")):
        taus = flat_nsubjettiness(*flat, 4, 0.8, 1.0, onepass)
        assert np.array_equal(taus, nsubjettiness(jets, N, axes=axes))
    groomed, first, second, delta_r, z = flat_soft_drop(*flat, 0.1, 0.0, 0.8)
    record = soft_drop(jets)
    np.testing.assert_allclose(np.hypot(*groomed[:, :2].T), record.pt, rtol=1e-12)
    np.testing.assert_allclose(first[z > 0] + second[z > 0], groomed[z > 0], rtol=1e-12)
    assert np.array_equal(delta_r, record.delta_r)
    assert np.array_equal(z, record.z)


def test_lepton_subjet_fraction():
    jet = [(100, 0.0, 0.0, 0), (60, 0.4, 0.0, 0), (40, 0.41, 0.0, 0), (50, 0.0, 0.5, 0), (1, 0.0, 0.02, 0)]
    jets = jets_of(jet, jet, jet, [], jet[:2])
    masks = [[False] * 5, [False, False, True, False, True], [True] * 5, [], [False, True]]
    np.testing.assert_allclose(lsf(jets, ak.Array(masks)), [0, 0.4, 100 / 101, 0, 1], rtol=1e-3)
    assert lsf(jets[1:2], ak.Array(masks)[1:2], n=1)[0] == pytest.approx(
        40 / abs(200 + 50 * np.exp(0.5j) + np.exp(0.02j)), rel=1e-9
    )


def test_leptons_from_outside():
    jet = [(100, 0.0, 0.0, 0), (60, 0.4, 0.0, 0), (40, 0.41, 0.0, 0), (50, 0.0, 0.5, 0), (1, 0.0, 0.02, 0)]
    jets = jets_of(jet, jet, jet, [], [])
    leptons = jets_of(
        [(30.0, 0.42, 0.01, 0), (3.0, 0, 0, 0)], [], [(40, 0, 2 * np.pi, 0)], [], [(9, 0, 0, 0)]
    )
    np.testing.assert_allclose(lsf(jets, leptons), [0.3, 0, 40 / 101, 0, 0], rtol=1e-3)
    with pytest.raises(InputError, match="leptons are given for 4 jets, particles for 5"):
        lsf(jets, leptons[1:])
    leptons = jets_of([], [(3, 0, np.nan, 0)], [], [], [])
    with pytest.raises(InputError, match="hardest lepton of jet 1 has a pt, eta or phi that is not finite"):
        lsf(jets, leptons)


def test_mass_drop_tagger_is_soft_drop_without_an_angle():
    jets = toy_jets(20, seed=8)
    for z_cut in (0.05, 0.2):
        assert mmdt(jets, z_cut=z_cut).to_list() == soft_drop(jets, z_cut=z_cut, R0=0.1).to_list()


@pytest.mark.parametrize(
    ("particle", "message"),
    [
        ((np.nan, 0, 0, 0), "pt of particle 1 in jet 2 is nan"),
        ((5, 0, np.inf, 0), "phi of particle 1 in jet 2 is inf"),
        ((-5, 0, 0, 0), "pt of particle 1 in jet 2 is -5"),
        ((5, 0, 0, np.nan), "mass of particle 1 in jet 2 is nan"),
        ((5, 1e4, 0, 0), "eta of particle 1 in jet 2 is 10000"),
        ((5, None, 0, 0), "eta of particle 1 in jet 2 is missing.*ak.drop_none"),
    ],
)
@pytest.mark.parametrize(
    "function", [lambda p: nsubjettiness(p, 1), soft_drop, lambda p: lsf(p, p.pt > 0), jet_substructure]
)
def test_bad_momenta_name_the_jet(function, particle, message):
    good = (10, 0.1, 0.2, 0)
    with pytest.raises(InputError, match=message):
        function(jets_of([good] * 3, [], [good, particle], [good]))


def test_negative_energy_and_small_negative_mass():
    records = [[{"px": 1.0, "py": 0.0, "pz": 0.0, "E": -1.0}]]
    with pytest.raises(InputError, match="E of particle 0 in jet 0 is -1"):
        soft_drop(ak.Array(records))
    packed = jets_of([(10, 0, 0, -1e-3), (9, 0.1, 0, -2e-3)])  # as CMS packs masses
    assert soft_drop(packed).mass[0] == pytest.approx(np.sqrt(180 * (np.cosh(0.1) - 1)), rel=1e-3)


def test_wrong_arrays_say_what_is_missing():
    with pytest.raises(InputError, match="array jets × particles"):
        nsubjettiness(ak.Array([[1.0, 2.0]]), 1)
    with pytest.raises(InputError, match="array jets × particles"):
        nsubjettiness(toy_jets(1, seed=0)[0], 1)
    with pytest.raises(InputError, match="no pt, eta, phi and no px, py, pz, only pt, eta"):
        nsubjettiness(ak.Array([[{"pt": 1.0, "eta": 0.0}]]), 1)
    with pytest.raises(InputError, match="neither a mass nor an energy"):
        nsubjettiness(ak.Array([[{"pt": 1.0, "eta": 0.0, "phi": 0.0}]]), 1)
    jets = toy_jets(2, seed=0)
    with pytest.raises(InputError, match="mask of leptons has not one value"):
        lsf(jets, jets.pt[:, 1:] > 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: nsubjettiness(p, 0), "n = 0"),
        (lambda p: nsubjettiness(p, []), "n = "),
        (lambda p: nsubjettiness(p, 1.5), "n = 1.5"),
        (lambda p: nsubjettiness(p, 1, axes="wta"), "axes = 'wta' must be one of kt, onepass_kt, wta_kt"),
        (lambda p: nsubjettiness(p, 1, beta=2.5, axes="onepass_wta_kt"), "above 2.*axes='wta_kt'"),
        (lambda p: jet_substructure(p, n_tau=0), "n_tau = 0"),
        (lambda p: jet_substructure(p, n_subjets=0), "n_subjets = 0"),
        (lambda p: jet_substructure(p, z_cut=-0.1), "z_cut = -0.1"),
        (lambda p: nsubjettiness(p, 1, R0=0.0), "R0 = 0.0 must be a positive"),
        (lambda p: nsubjettiness(p, 1, beta=-1.0), "beta = -1.0 must be a positive"),
        (lambda p: nsubjettiness(p, 1, beta=2.5), "beta = 2.5 is above 2.*axes='kt'"),
        (lambda p: soft_drop(p, z_cut=0.6), "z_cut = 0.6"),
        (lambda p: soft_drop(p, beta=np.nan), "beta = nan"),
        (lambda p: soft_drop(p, R0=-0.8), "R0 = -0.8"),
        (lambda p: lsf(p, p.pt > 0, n=0), "n = 0"),
        (lambda p: lsf(p, p.pt > 0, n=2.5), "n = 2.5 must be an integer of at least 1"),
        (lambda p: lsf(p, p.pt > 0, n=True), "n = True must be an integer"),
        (lambda p: lsf(p, p.pt > 0, n=[2]), r"n = \[2\] must be an integer"),
        (lambda p: jet_substructure(p, n_tau=2.5), "n_tau = 2.5 must be an integer"),
        (lambda p: jet_substructure(p, n_subjets=2.0), "n_subjets = 2.0 must be an integer"),
        (lambda p: nsubjettiness(p, [1, 2.5]), r"n = \[1, 2.5\] must be an integer"),
        (lambda p: nsubjettiness(p, n=True), "n = True must be an integer"),
    ],
)
def test_bad_options_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(toy_jets(1, seed=0))
