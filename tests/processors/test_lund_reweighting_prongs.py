"""Prongs: subjets and their histories against fastjet, matching to quarks in jets made by hand."""

import math
import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest

from data.errors import InputError
from processors.kernels.buffers import FlatJets, flat_jets
from processors.kernels.clustering import CAMBRIDGE, KT
from processors.kernels.lund_subjets import flat_lund_subjets
from processors.lund import lund_declustering
from processors.lund_reweighting_maps import LN_KT_EDGES, LN_R0_DELTA_EDGES, Binning
from processors.lund_reweighting_prongs import Quarks, find_prongs, subjets_of

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
BEYOND = 1000.0  # R → ∞


def primary(jet, parents):
    """(Δ, kT) along the harder branch of a fastjet jet whose sequence is alive."""
    found = []
    while parents(jet) is not None:
        hard, soft = sorted(parents(jet), key=lambda p: -p.pt())
        found.append((hard.delta_R(soft), soft.pt() * hard.delta_R(soft)))
        jet = hard
    return found


def fastjet_subjets(jet, n, history):
    """(pT, [(Δ, kT), …]) of the exclusive kT subjets, the hardest first, by fastjet's own histories."""

    def parents(one):
        a, b = fastjet.PseudoJet(), fastjet.PseudoJet()
        return (a, b) if one.has_parents(a, b) else None

    particles = [fastjet.PseudoJet(*(float(p[q]) for q in ("px", "py", "pz", "E"))) for p in jet]
    sequence = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.kt_algorithm, BEYOND))
    out = []
    for subjet in sorted(sequence.exclusive_jets(n), key=lambda p: -p.pt()):
        if history == "kt":
            out.append((subjet.pt(), primary(subjet, parents)))
            continue
        again = fastjet.JetDefinition(fastjet.cambridge_algorithm, BEYOND)
        own = fastjet.ClusterSequence(list(subjet.constituents()), again)
        out.append((subjet.pt(), primary(own.inclusive_jets()[0], parents)))
    return out


@pytest.mark.parametrize("history", ["cambridge", "kt"])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_subjets_and_histories_are_those_of_fastjet(history, n):
    jets = cartesian(toy_jets(12, seed=n, n_prongs=3, generations=4))
    found = flat_lund_subjets(*flat_jets(jets), np.full(12, n), CAMBRIDGE if history == "cambridge" else KT)
    expected = [subjet for jet in jets for subjet in fastjet_subjets(jet, n, history)]
    assert found.counts.tolist() == [n] * 12
    assert found.n_splittings.tolist() == [len(splittings) for _, splittings in expected]
    assert found.n_splittings.sum() > 12
    np.testing.assert_allclose(np.hypot(*found.momenta.T[:2]), [pt for pt, _ in expected], rtol=1e-9)
    splittings = np.array([s for _, subjet in expected for s in subjet])
    np.testing.assert_allclose(found.delta, splittings[:, 0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.kt, splittings[:, 1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("history", ["cambridge", "kt"])
def test_one_subjet_is_the_plane_of_the_jet(history):
    jets = toy_jets(30, seed=9)
    algorithm = CAMBRIDGE if history == "cambridge" else KT
    found = flat_lund_subjets(*flat_jets(jets), np.ones(30, dtype=np.int64), algorithm)
    whole = lund_declustering(jets, algorithm=history)
    assert found.n_splittings.tolist() == ak.num(whole).to_list()
    np.testing.assert_array_equal(found.kt, ak.flatten(whole.kt))


def test_jets_of_few_particles_and_of_none():
    jets = toy_jets(3, seed=3, n_prongs=2, generations=1)
    mixed = ak.concatenate([jets[:1, :0], jets[:1, :1], jets[:1, :2], jets[1:]])
    found = flat_lund_subjets(*flat_jets(mixed), np.full(5, 3), CAMBRIDGE)
    assert found.counts.tolist()[:3] == [0, 1, 2]
    assert found.n_splittings.tolist()[:3] == [0, 0, 0]
    assert len(subjets_of(mixed[:0], 2).pt) == 0
    with pytest.raises(InputError, match="n = 0 subjets: give an integer of at least 1"):
        subjets_of(mixed, 0)


def test_cells_of_the_plane():
    binning = Binning()
    assert binning.shape == (6, 20, 20)
    delta = np.array([0.8, 0.8 * math.exp(-1.0), 0.0049, 0.4, 0.005, 3.0, 0.3, 0.0])
    kt = np.array([1.0, math.exp(2.0), 5.0, 0.0199, 0.02, 1.0, 1001.0, 0.0])
    cells = binning.cells(delta, kt)

    def cell(x, y):
        i = int((x + 1) / 0.45)
        j = int((y + 5) / ((math.log(1000) + 5) / 20))
        return 20 * i + j

    assert cells[:2].tolist() == [cell(0, 0), cell(1, 2)]
    assert cells[2:4].tolist() == [-1, -1]  # too narrow, too soft
    assert cells[4] == cell(math.log(0.8 / 0.005), math.log(0.02))
    assert cells[5:].tolist() == [-1, -1, -1]  # wider than the plane, harder than it, nothing
    assert (LN_R0_DELTA_EDGES[0], LN_R0_DELTA_EDGES[-1], LN_KT_EDGES[0]) == (-1, 8, -5)
    pt = np.array([5.0, 12.0, 64.9, 65.0, 109.0, 299.0, 300.0, 349.0, 351.0])
    assert binning.planes(pt).tolist() == [0, 0, 0, 1, 1, 4, 5, 5, 5]
    assert binning.measured_planes(pt).tolist() == [-1, -1, 0, 1, 1, 4, 5, 5, -2]


def jet_of(*particles):
    """FlatJets of one jet of massless particles (pT, η, φ)."""
    pt, eta, phi = np.array(particles, dtype=np.float64).T
    return FlatJets(
        pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), np.array([0, len(pt)])
    )


def quarks(*listed):
    """Quarks (η, φ, PDG number) of one jet."""
    eta, phi, identity = zip(*listed, strict=True) if listed else ((), (), ())
    return Quarks(
        np.array([len(listed)]), np.array(eta, dtype=float), np.array(phi, dtype=float), np.array(identity, dtype=np.int64)
    )  # fmt: skip


AXIS = np.zeros(1), np.zeros(1)
TWO = ((200, -0.3, 0.0), (100, -0.3, 0.02), (150, 0.3, 0.0), (20, 0.34, 0.0))


def found(particles, *listed, axis=AXIS):
    return find_prongs(jet_of(*particles), axis, quarks(*listed), Binning(), "cambridge")


def test_two_quarks_two_subjets():
    prongs = found(TWO, (-0.3, 0.0, 1), (0.32, 0.0, -5))
    nominal = prongs.nominal
    assert nominal.counts.tolist() == [2]
    assert nominal.pt.tolist() == pytest.approx([300, 170], rel=1e-3)
    assert nominal.matched.tolist() == [True, True]
    assert nominal.bottom.tolist() == [False, True]
    assert np.diff(nominal.offsets).tolist() == [1, 1]
    assert nominal.cells.tolist() == Binning().cells(np.array([0.02, 0.04]), np.array([2.0, 0.8])).tolist()
    assert (prongs.n_quarks.tolist(), prongs.bad.tolist(), prongs.unclustered.tolist()) == (
        [2],
        [False],
        [False],
    )
    assert len(prongs.more_jets) == len(prongs.fewer_jets) == 0


def test_no_quark_is_one_prong_that_is_not_used():
    prongs = found(TWO)
    assert prongs.nominal.counts.tolist() == [1]
    assert not prongs.nominal.matched.any()
    assert not prongs.bad.any()
    lone = found(TWO, (2.5, 0.0, 1))  # of the other jet
    assert lone.n_quarks.tolist() == [0]
    assert not lone.nominal.matched.any()


def test_badly_matched_jets_get_more_and_fewer_subjets():
    # the two quarks share a subjet; of three each finds its own, one alone lies too far from both
    prongs = found(TWO, (-0.3, 0.0, 1), (-0.3, 0.02, 2))
    assert prongs.bad.tolist() == [True]
    assert prongs.more_jets.tolist() == prongs.fewer_jets.tolist() == [0]
    assert (prongs.more.counts.tolist(), prongs.fewer.counts.tolist()) == ([3], [1])
    assert prongs.nominal.matched.tolist() == [True, False]  # the other subjet has no quark
    assert prongs.unclustered.tolist() == [False]
    # a quark that no subjet is near
    lost = found(TWO, (-0.3, 0.0, 1), (0.3, 0.6, 2))
    assert (lost.bad.tolist(), lost.unclustered.tolist()) == ([True], [True])


@pytest.mark.parametrize(
    ("eta", "n", "more", "fewer"),
    [(0.69, 2, 0, 0), (0.75, 2, 0, 1), (0.85, 1, 1, 0), (0.95, 1, 0, 0), (-0.85, 1, 1, 0)],
)
def test_a_quark_at_the_edge_makes_the_number_of_prongs_uncertain(eta, n, more, fewer):
    # its particles reach the jet, so that it is well matched
    particles = ((300, 0.0, 0.0), (50, math.copysign(0.69, eta), 0.0))
    prongs = found(particles, (0.0, 0.0, 1), (eta, 0.0, 2))
    assert prongs.n_quarks.tolist() == [n]
    assert prongs.nominal.counts.tolist() == [n]
    assert not prongs.bad.any()
    assert (len(prongs.more_jets), len(prongs.fewer_jets)) == (more, fewer)


def test_distances_go_round_in_azimuth_and_jets_keep_their_places():
    ring = tuple((pt, eta, phi + math.pi) for pt, eta, phi in TWO)
    one, other = jet_of(*ring), jet_of(*TWO)
    both = FlatJets(
        *(np.concatenate([getattr(one, q), getattr(other, q)]) for q in ("px", "py", "pz", "e")),
        np.array([0, 4, 8]),
    )
    listed = Quarks(
        np.array([2, 1]),
        np.array([-0.3, 0.3, -0.15]),
        np.array([math.pi, -math.pi + 0.01, 0.0]),
        np.array([1, 2, 3]),
    )
    prongs = find_prongs(
        both, (np.zeros(2), np.array([-math.pi + 0.05, 0.0])), listed, Binning(), "cambridge"
    )
    assert prongs.n_quarks.tolist() == [2, 1]
    assert prongs.nominal.counts.tolist() == [2, 1]
    assert prongs.nominal.matched.tolist() == [True, True, True]
    alone = found(TWO, (-0.15, 0.0, 3))
    second = prongs.nominal.cells[prongs.nominal.offsets[2] :]
    assert second.tolist() == alone.nominal.cells.tolist()


def test_weights_of_particles_count():
    jets = toy_jets(5, seed=2)
    halved = ak.zip({q: jets[q] * (0.5 if q in {"pt", "mass"} else 1) for q in jets.fields})
    weighted = subjets_of(jets, 2, weights=ak.full_like(jets.pt, 0.5))
    plain = subjets_of(halved, 2)
    np.testing.assert_allclose(weighted.pt, plain.pt, rtol=1e-9)
    assert weighted.matched.all()
    assert weighted.cells.tolist() == plain.cells.tolist()
