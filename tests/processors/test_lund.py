"""Lund declusterings against fjcontrib, a clustering written out, and jets made by hand."""

import math
import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError
from processors.lund import LN_KT_RANGE, LN_R0_DELTA_RANGE, lund_declustering, lund_image

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
small_jets = st.builds(
    lambda seed, n_prongs, generations: toy_jets(3, seed=seed, n_prongs=n_prongs, generations=generations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 5),
)
quick = settings(max_examples=15, deadline=None)


def direction(p):
    px, py, pz, energy = p
    return np.array([0.5 * np.log((energy + pz) / (energy - pz)), np.arctan2(py, px)])


def separation(p, q):
    """Δy, Δφ of two momenta."""
    d = direction(q) - direction(p)
    return np.array([d[0], np.angle(np.exp(1j * d[1]))])


def declustered(momenta, p):
    """Splittings (Δ, kT, order, ψ) of one jet, by a search over all pairs in every step; p is the power of pT."""

    def distance(a, b):
        pt2 = [a[0][0] ** 2 + a[0][1] ** 2, b[0][0] ** 2 + b[0][1] ** 2]
        return min(pt2) ** p * np.sum(separation(a[0], b[0]) ** 2)

    trees = [(q, None) for q in momenta]
    while len(trees) > 1:
        pairs = [(i, j) for i in range(len(trees)) for j in range(i)]
        i, j = min(pairs, key=lambda ij: distance(trees[ij[0]], trees[ij[1]]))
        a, b = trees.pop(i), trees.pop(j)
        trees.append((a[0] + b[0], (a, b)))

    def walk(tree, order):
        if tree[1] is None:
            return []
        soft, hard = sorted(tree[1], key=lambda t: np.hypot(*t[0][:2]))
        d = separation(hard[0], soft[0])
        delta = np.hypot(*d)
        here = (delta, delta * np.hypot(*soft[0][:2]), order, np.arctan2(*d))
        return [here, *walk(hard, order), *walk(soft, order + 1)]

    return walk(trees[0], 1)


def test_fastjet_contrib():
    jets = cartesian(toy_jets(200, seed=1))
    ours = lund_declustering(jets)
    sequence = fastjet.ClusterSequence(jets, fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0))
    theirs = sequence.exclusive_jets_lund_declusterings(1)[:, 0]
    assert ak.all(ak.num(ours) == ak.num(theirs))
    np.testing.assert_allclose(ak.flatten(ours.delta), ak.flatten(theirs.Delta), rtol=1e-9)
    np.testing.assert_allclose(ak.flatten(ours.kt), ak.flatten(theirs.kt), rtol=1e-9)


@pytest.mark.parametrize(("algorithm", "power"), [("cambridge", 0), ("kt", 1)])
@pytest.mark.parametrize("primary", [True, False])
def test_declustering_written_out(algorithm, power, primary):
    jets = toy_jets(6, seed=4, n_prongs=3, generations=3)
    p = cartesian(jets)
    ours = lund_declustering(jets, algorithm=algorithm, primary=primary)
    for jet, splittings in enumerate(ours):
        momenta = np.stack([ak.to_numpy(p[jet][q]) for q in ("px", "py", "pz", "E")], axis=1)
        expected = [s for s in declustered(momenta, power) if not primary or s[2] == 1]
        assert len(splittings) == len(expected)
        order = [s.order for s in splittings] if not primary else [1] * len(splittings)
        found = [(s.delta, s.kt, o, s.psi) for s, o in zip(splittings, order, strict=True)]
        if primary:
            np.testing.assert_allclose(found, expected, rtol=1e-5)
        else:
            np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-5)
            assert len({s[2] for s in expected}) > 1


def test_three_particles_by_hand():
    jets = ak.Array(
        [
            [
                {"pt": t, "eta": y, "phi": f, "mass": 0.0}
                for t, y, f in ((100, 0, 0), (30, 0.1, 0), (20, 0, 0.6))
            ]
        ]
    )
    wide, narrow = lund_declustering(jets, R0=0.8)[0]
    # the first two make 130 GeV at y = 0.023
    assert wide.delta == pytest.approx(math.hypot(0.6, 0.1 * 30 / 130), rel=1e-3)
    assert wide.kt == pytest.approx(20 * wide.delta)
    assert wide.z == pytest.approx(20 / 150, rel=1e-3)
    assert wide.psi == pytest.approx(math.atan2(-0.1 * 30 / 130, 0.6), rel=1e-2)
    assert (wide.pt_hard, wide.pt_soft) == pytest.approx((130, 20), rel=1e-9)
    assert (narrow.delta, narrow.kt, narrow.z) == pytest.approx((0.1, 3.0, 30 / 130))
    assert narrow.psi == pytest.approx(math.pi / 2)
    assert narrow.mass == pytest.approx(math.sqrt(2 * 100 * 30 * (math.cosh(0.1) - 1)))
    assert (narrow.ln_r0_delta, narrow.ln_kt) == pytest.approx((math.log(8), math.log(3)))
    assert [s.order for s in lund_declustering(jets, primary=False)[0]] == [1, 1]
    assert lund_declustering(jets, algorithm="kt").delta[0, 0] == pytest.approx(wide.delta)


@quick
@given(small_jets, st.floats(0.01, 0.99))
def test_collinear_splitting_adds_one_splitting_at_zero_angle(jets, z):
    p = cartesian(jets)
    first = ak.zip({q: p[q] * ak.where(ak.local_index(p) == 0, z, 1.0) for q in ("px", "py", "pz", "E")})
    second = ak.zip({q: p[q][:, :1] * (1 - z) for q in ("px", "py", "pz", "E")})
    before = lund_declustering(p, primary=False)
    after = lund_declustering(ak.concatenate([first, second], axis=1), primary=False)
    extra = after.delta < 1e-9
    assert ak.all(ak.sum(extra, axis=1) == 1)
    for name in ("delta", "kt", "z", "order"):
        found, expected = after[name][~extra], before[name]
        np.testing.assert_allclose(ak.flatten(found), ak.flatten(expected), rtol=1e-5, atol=1e-8)


@quick
@given(small_jets)
def test_splittings_hang_together(jets):
    primary, full = lund_declustering(jets), lund_declustering(jets, primary=False)
    assert ak.all(ak.num(full) == ak.num(jets) - 1)  # every particle is split off once
    assert ak.all(primary.kt == full.kt[full.order == 1])
    assert ak.all(primary.pt_soft <= primary.pt_hard)
    assert ak.all(primary.z <= 0.5)
    assert ak.all(primary.pt_hard[:, 1:] <= primary.pt_hard[:, :-1] * (1 + 1e-9))


def test_weights_empty_jets_no_jets_and_float32():
    jets = toy_jets(4, seed=2, n_prongs=1, generations=4)
    lonely = ak.concatenate([jets[:1, :0], jets[:1, :1], jets])
    splittings = lund_declustering(lonely)
    assert ak.num(splittings).to_list()[:2] == [0, 0]
    assert splittings[2:].to_list() == lund_declustering(jets).to_list()
    assert len(lund_declustering(jets[:0])) == 0
    assert lund_declustering(ak.Array([[], []])).to_list() == [[], []]
    halved = ak.zip({q: jets[q] * (0.5 if q in {"pt", "mass"} else 1) for q in jets.fields})
    weighted = lund_declustering(jets, weights=ak.full_like(jets.pt, 0.5))
    np.testing.assert_allclose(ak.flatten(weighted.kt), ak.flatten(lund_declustering(halved).kt), rtol=1e-9)
    float32 = lund_declustering(ak.values_astype(jets, np.float32)).kt
    np.testing.assert_allclose(float32[:, 0], lund_declustering(jets).kt[:, 0], rtol=1e-3)


def test_image_counts_the_splittings_of_each_bin():
    values = [
        [(0.0, 0.0), (1.0, 2.0), (1.1, 2.1)],
        [],
        [(7.9, -4.9), (9.0, 0.0), (0.0, 7.0), (np.inf, -np.inf)],
    ]
    splittings = ak.Array(
        [[{"ln_r0_delta": x, "ln_kt": y} for x, y in jet] for jet in values],
    )
    image = lund_image(splittings)
    assert image.counts.shape == (20, 20)
    assert (image.ln_r0_delta[0], image.ln_r0_delta[-1]) == LN_R0_DELTA_RANGE == (-1, 8)
    assert (image.ln_kt[0], image.ln_kt[-1]) == LN_KT_RANGE == (-5, math.log(1000))
    width = (math.log(1000) + 5) / 20  # the other width is 0.45
    assert image.counts[int(1 / 0.45), int(5 / width)] == 1
    assert image.counts[int(2 / 0.45), int(7 / width)] == 2
    assert image.counts[-1, 0] == 1
    assert image.counts.sum() == 4
    assert image.density.sum() * 0.45 * width == pytest.approx(4 / 3)
    weighted = lund_image(splittings, jet_weights=np.array([2.0, 1.0, 3.0]))
    assert weighted.counts.sum() == 9
    assert weighted.density.sum() * 0.45 * width == pytest.approx(9 / 6)
    assert not lund_image(splittings[:0]).density.any()
    assert lund_image(lund_declustering(toy_jets(1, seed=1)[:, :0])).counts.sum() == 0


def test_emissions_fill_the_plane_evenly():
    """Emissions dP = C dln(1/Δ) dln(kT) off one hard particle: the density in their region is flat and is C."""
    rng = np.random.default_rng(3)
    n_jets, low, high = 4000, 1.0, 3.0  # one emission a jet, ln(0.8/Δ) and ln(kT) in these ranges
    delta, kt = 0.8 * np.exp(-rng.uniform(low, high, n_jets)), np.exp(rng.uniform(low, high, n_jets))
    turn = rng.uniform(0, 2 * np.pi, n_jets)
    columns = {
        "pt": np.stack([np.full(n_jets, 5000.0), kt / delta], axis=1),
        "eta": np.stack([np.zeros(n_jets), delta * np.cos(turn)], axis=1),
        "phi": np.stack([np.zeros(n_jets), delta * np.sin(turn)], axis=1),
        "mass": np.zeros((n_jets, 2)),
    }
    image = lund_image(
        lund_declustering(ak.zip({name: ak.Array(v) for name, v in columns.items()})),
        bins=(4, 4),
        ln_r0_delta=(low, high),
        ln_kt=(low, high),
    )
    assert image.counts.sum() == pytest.approx(n_jets, abs=2)
    assert np.all(np.abs(image.density * 4 - 1) < 5 * math.sqrt(16 / n_jets))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda jets: lund_declustering(jets, algorithm="antikt"), "algorithm = 'antikt' must be"),
        (lambda jets: lund_declustering(jets, R0=0), "R0 = 0 must be a positive number"),
        (
            lambda jets: lund_image(lund_declustering(jets), bins=(0, 20)),
            "bins = .* two integers of at least 1",
        ),
        (lambda jets: lund_image(lund_declustering(jets), bins=(2.5, 20)), "bins = .* two integers"),
        (lambda jets: lund_image(lund_declustering(jets), bins=(20, 20, 20)), "bins = .* two integers"),
        (lambda jets: lund_image(lund_declustering(jets), ln_kt=(1, 1)), "ln_kt = .* increasing"),
        (
            lambda jets: lund_image(lund_declustering(jets), jet_weights=np.ones(3)),
            "one weight for each of the 2",
        ),
    ],
)
def test_options_that_make_no_sense(call, message):
    with pytest.raises(ConfigError, match=message):
        call(toy_jets(2, seed=1))
