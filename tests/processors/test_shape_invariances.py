"""What neither the frame, nor the order of particles, nor a collinear splitting may change."""

import runpy
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.correlators import energy_correlators
from processors.images import jet_image
from processors.lund import lund_declustering

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
small_jets = st.builds(
    lambda seed, n_prongs, generations: toy_jets(3, seed=seed, n_prongs=n_prongs, generations=generations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 5),
)


def same_correlators(first, second):
    one, two = energy_correlators(first, four_points=True), energy_correlators(second, four_points=True)
    for name in one.fields:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-9, err_msg=name)


def same_splittings(first, second):
    for options in ({}, {"algorithm": "kt"}, {"primary": False}):
        one, two = lund_declustering(first, **options), lund_declustering(second, **options)
        assert ak.all(ak.num(one) == ak.num(two))
        for name in ("delta", "kt", "z", "pt_hard", "pt_soft"):
            np.testing.assert_allclose(ak.flatten(one[name]), ak.flatten(two[name]), rtol=1e-5, atol=1e-8)


def same_image(first, second):
    np.testing.assert_allclose(jet_image(first), jet_image(second), atol=2e-6)


everything = pytest.mark.parametrize("check_same", [same_correlators, same_splittings, same_image])
quick = settings(max_examples=15, deadline=None)


@everything
@quick
@given(jets=small_jets, rapidity=st.floats(-1.5, 1.5), angle=st.floats(-7, 7))
def test_boost_along_the_beam_and_rotation(check_same, jets, rapidity, angle):
    p = cartesian(ak.with_field(jets, jets.phi + angle, "phi"))
    e = np.cosh(rapidity) * p.E + np.sinh(rapidity) * p.pz
    pz = np.cosh(rapidity) * p.pz + np.sinh(rapidity) * p.E
    check_same(jets, ak.zip({"px": p.px, "py": p.py, "pz": pz, "E": e}))


@everything
@quick
@given(jets=small_jets, seed=st.integers(0, 2**32 - 1))
def test_order_of_particles(check_same, jets, seed):
    rng = np.random.default_rng(seed)
    key = ak.unflatten(rng.uniform(size=ak.sum(ak.num(jets))), ak.num(jets))
    check_same(jets, jets[ak.argsort(key, axis=1)])


@pytest.mark.parametrize("check_same", [same_correlators, same_image])
@quick
@given(jets=small_jets, z=st.floats(0.01, 0.99))
def test_collinear_splitting(check_same, jets, z):
    p = cartesian(jets)
    share = ak.where(ak.local_index(p) == 0, z, 1.0)
    first = ak.zip({q: p[q] * share for q in ("px", "py", "pz", "E")})
    second = ak.zip({q: p[q][:, :1] * (1 - z) for q in ("px", "py", "pz", "E")})
    check_same(p, ak.concatenate([first, second], axis=1))
