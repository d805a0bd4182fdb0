"""Exclusive subjets and the groomed jet's particles against fastjet."""

import runpy
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError
from processors.subjets import exclusive_subjets, soft_drop_mask

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
ALGORITHMS = {"kt": fastjet.kt_algorithm, "cambridge": fastjet.cambridge_algorithm}


def sums(jets):
    """px, py, pz, E (n_jets, 4) summed over the particles."""
    p = cartesian(jets)
    return np.stack([ak.to_numpy(ak.sum(p[q], axis=1)) for q in ("px", "py", "pz", "E")], axis=1)


@pytest.mark.filterwarnings("ignore:dcut and exclusive jets")
@pytest.mark.parametrize("algorithm", ["kt", "cambridge"])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_fastjet(algorithm, n):
    jets = cartesian(toy_jets(100, seed=n, n_prongs=3))
    subjets, index = exclusive_subjets(jets, n, algorithm=algorithm)
    sequence = fastjet.ClusterSequence(jets, fastjet.JetDefinition(ALGORITHMS[algorithm], 1000.0))
    theirs, groups = sequence.exclusive_jets(n), sequence.exclusive_jets_constituent_index(n)
    hardest = ak.argsort(np.hypot(theirs.px, theirs.py), axis=1, ascending=False)
    theirs, groups = theirs[hardest], ak.to_list(groups[hardest])
    for q in ("px", "py", "pz", "E"):
        np.testing.assert_allclose(ak.to_numpy(subjets[q]), ak.to_numpy(theirs[q]), rtol=1e-9, atol=1e-6)
    for ours, expected in zip(ak.to_list(index), groups, strict=True):
        assert [sorted(np.flatnonzero(np.array(ours) == k)) for k in range(n)] == [
            sorted(g) for g in expected
        ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 4))
def test_particles_add_up_to_their_subjet(seed, n, generations):
    jets = toy_jets(4, seed=seed, n_prongs=1, generations=generations)
    subjets, index = exclusive_subjets(jets, n)
    assert ak.all(ak.num(subjets) == np.minimum(ak.num(jets), n))
    assert ak.all(subjets.pt[:, 1:] <= subjets.pt[:, :-1])
    for k in range(n):
        there = ak.to_numpy(ak.num(subjets) > k)
        if there.any():
            found = np.stack([ak.to_numpy(subjets[there][q][:, k]) for q in ("px", "py", "pz", "E")], axis=1)
            np.testing.assert_allclose(sums(jets[index == k])[there], found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("z_cut", "beta", "R0"), [(0.1, 0.0, 0.8), (0.2, 2.0, 1.0)])
def test_particles_that_soft_drop_keeps(z_cut, beta, R0):
    jets = toy_jets(100, seed=3)
    mask = soft_drop_mask(jets, z_cut=z_cut, beta=beta, R0=R0)
    groomed = fastjet.ClusterSequence(
        cartesian(jets), fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    ).exclusive_jets_softdrop_grooming(symmetry_cut=z_cut, beta=beta, R0=R0)
    px, py, pz, energy = sums(jets[mask]).T
    np.testing.assert_allclose(np.hypot(px, py), groomed.ptsoftdrop, rtol=1e-9)
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))
    np.testing.assert_allclose(mass, groomed.msoftdrop, rtol=1e-5, atol=1e-3)
    assert ak.any(~mask)


def test_no_cut_keeps_all():
    jets = toy_jets(5, seed=1)
    assert ak.all(soft_drop_mask(jets, z_cut=0.0))


def test_weights_empty_jets_no_jets_and_few_particles():
    jets = toy_jets(3, seed=2)
    mixed = ak.concatenate([jets[:1, :0], jets[:1, :2], jets])
    subjets, index = exclusive_subjets(mixed, 3)
    assert ak.num(subjets).to_list() == [0, 2, 3, 3, 3]
    assert sorted(index[1].to_list()) == [0, 1]
    assert ak.num(soft_drop_mask(mixed)).to_list() == ak.num(mixed).to_list()
    assert len(exclusive_subjets(jets[:0], 2)[0]) == len(soft_drop_mask(jets[:0])) == 0
    assert exclusive_subjets(ak.Array([[], []]), 2)[0].to_list() == [[], []]
    weights = ak.values_astype(ak.local_index(jets) % 2, np.float64)
    subjets, index = exclusive_subjets(jets, 3, weights=weights)
    assert ak.all((index == -1) == (weights == 0))
    expected, _ = exclusive_subjets(jets[weights == 1], 3)
    np.testing.assert_allclose(ak.to_numpy(subjets.px), ak.to_numpy(expected.px), rtol=1e-12)
    assert not ak.any(soft_drop_mask(jets, weights=weights)[weights == 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda jets: exclusive_subjets(jets, 0), "n = 0 must be an integer of at least 1"),
        (lambda jets: exclusive_subjets(jets, 2.5), "n = 2.5 must be an integer of at least 1"),
        (lambda jets: exclusive_subjets(jets, 2, algorithm="antikt"), "algorithm = 'antikt' must be"),
        (lambda jets: soft_drop_mask(jets, z_cut=0.6), r"z_cut = 0.6 must lie in \[0, 0.5\]"),
        (lambda jets: soft_drop_mask(jets, R0=-1.0), "R0 = -1.0 must be a positive number"),
    ],
)
def test_options_that_make_no_sense(call, message):
    with pytest.raises(ConfigError, match=message):
        call(toy_jets(1, seed=1))
