"""Jet images and constituent arrays against pixels worked out by hand, and their invariances."""

import runpy
import statistics
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError, InputError
from processors.images import constituent_array, jet_image, mean_std, standardise

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_substructure.py"))
toy_jets, cartesian = BENCH["toy_jets"], BENCH["cartesian"]
small_jets = st.builds(
    lambda seed, n_prongs, generations: toy_jets(3, seed=seed, n_prongs=n_prongs, generations=generations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(0, 5),
)
quick = settings(max_examples=15, deadline=None)


def massless(*jets):
    names = ("pt", "eta", "phi")
    return ak.Array([[dict(zip(names, p, strict=True), mass=0.0) for p in jet] for jet in jets])


def filled(image):
    """Pixels that are not 0: {(row, column): value}."""
    return {(int(r), int(c)): float(image[r, c]) for r, c in np.argwhere(image)}


def test_pixels_by_hand():
    # the mean is at y = 0.11: the particles are 0.11 below and 0.33 above, in pixels of 0.05
    jet = massless([(30.0, 0.0, 1.0), (10.0, 0.44, 1.0)])
    plain = {"pixels": 32, "width": 1.6, "rotate": False, "flip": False, "normalise": False}
    assert filled(jet_image(jet, **plain)[0]) == {(16, 13): 30, (16, 22): 10}
    assert filled(jet_image(jet, **plain | {"normalise": True})[0]) == {(16, 13): 0.75, (16, 22): 0.25}
    assert filled(jet_image(jet, **plain | {"flip": True})[0]) == {(16, 18): 30, (16, 9): 10}
    # upright, the harder one up
    assert filled(jet_image(jet, **plain | {"flip": True, "rotate": True})[0]) == {(18, 16): 30, (9, 16): 10}
    # turned by +90 degrees only: what lay at high rapidity is up
    assert filled(jet_image(jet, **plain | {"rotate": True})[0]) == {(13, 16): 30, (22, 16): 10}
    # about the axis of the jet: tanh(y) = 10 sinh(0.44) / (30 + 10 cosh(0.44)), y = 0.1112
    assert filled(jet_image(jet, **plain | {"centre": False})[0]) == {(16, 13): 30, (16, 22): 10}
    assert filled(jet_image(jet, **plain | {"width": 0.6})[0]) == {(16, 10): 30}  # the other is outside


def test_the_axis_of_the_jet_is_not_the_mean():
    jet = massless([(30.0, 0.0, 0.0), (30.0, 0.0, 1.0), (20.0, 0.0, 1.2)])
    pt, phi = np.array([30, 30, 20]), np.array([0, 1, 1.2])
    axis, mean = np.angle(np.sum(pt * np.exp(1j * phi))), np.average(phi, weights=pt)
    for centre, origin in ((True, mean), (False, axis)):
        image = jet_image(jet, pixels=1000, width=2.0, centre=centre, rotate=False, flip=False)[0]
        assert set(np.argwhere(image)[:, 0]) == {int(x) for x in (phi - origin + 1) * 500}
    assert abs(axis - mean) > 0.002


@quick
@given(small_jets)
def test_sum_of_pixels(jets):
    image = jet_image(jets, normalise=False, width=20.0)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image.sum(axis=(1, 2)), ak.sum(jets.pt, axis=1), rtol=1e-5)
    np.testing.assert_allclose(jet_image(jets).sum(axis=(1, 2)), 1, rtol=1e-5)


@quick
@given(st.integers(0, 2**32 - 1), st.floats(0, 2 * np.pi), st.sampled_from([1, -1]))
def test_turning_or_mirroring_the_particles_leaves_all_as_it_is(seed, angle, sign):
    rng = np.random.default_rng(seed)
    pt, x, y = rng.uniform(1, 100, 12), rng.normal(0, 0.15, 12), rng.normal(0, 0.05, 12)
    u, v = np.cos(angle) * x - np.sin(angle) * y, sign * (np.sin(angle) * x + np.cos(angle) * y)
    jets = massless(list(zip(pt, x, y, strict=True)), list(zip(pt, u, v, strict=True)))
    np.testing.assert_allclose(*jet_image(jets), atol=2e-6)


def test_two_prongs_stand_upright():
    jets = toy_jets(300, seed=5, n_prongs=2, generations=4)
    image = jet_image(jets).sum(axis=0, dtype=np.float64)
    centre = (np.arange(40) + 0.5) * 0.04 - 0.8
    rows, columns = image.sum(axis=1) / image.sum(), image.sum(axis=0) / image.sum()
    assert np.sum(rows * centre**2) > 5 * np.sum(columns * centre**2)
    upper, lower = image[20:], image[:20]
    assert upper[:, 20:].sum() == max(
        q.sum() for q in (upper[:, 20:], upper[:, :20], lower[:, 20:], lower[:, :20])
    )


def test_empty_jets_no_jets_weights_and_float32():
    jets = toy_jets(3, seed=2)
    mixed = ak.concatenate([jets[:1, :0], jets[:1, :1], jets])
    images = jet_image(mixed, pixels=32)
    assert images.shape == (5, 32, 32)
    assert not images[0].any()
    assert filled(images[1]) == {(16, 16): 1.0}
    assert jet_image(jets[:0]).shape == (0, 40, 40)
    assert jet_image(ak.Array([[], []]), pixels=2).tolist() == np.zeros((2, 2, 2)).tolist()
    half = (ak.local_index(jets) % 2) * 0.5
    weighted = jet_image(jets, weights=half, normalise=False)
    np.testing.assert_allclose(
        weighted, 0.5 * jet_image(jets[half > 0], normalise=False), rtol=1e-5, atol=1e-6
    )
    # rounding moves few particles to another pixel
    assert np.abs(jet_image(ak.values_astype(jets, np.float32)) - jet_image(jets)).sum() < 0.05


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([0.0, 1.0, 2.5, 40.0]), st.floats(-2, 2), st.floats(-3, 3)), max_size=7
        ),
        max_size=4,
    ),
    st.integers(1, 5),
)
def test_constituents_written_out(jets, n):
    particles = massless([(1.0, 0.0, 0.0)], *jets)[1:]
    array = constituent_array(particles, n=n)
    angles = constituent_array(particles, n=n, coordinates="pt_eta_phi")
    assert array.shape == angles.shape == (len(jets), n, 3)
    assert array.dtype == angles.dtype == np.float32
    for jet, rows, rows_angles in zip(jets, array, angles, strict=True):
        kept = sorted((p for p in jet if p[0] > 0), key=lambda p: -p[0])[:n]  # sorted is stable
        expected = np.zeros((n, 3))
        for i, (pt, eta, phi) in enumerate(kept):
            expected[i] = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(rows_angles[:, 0], np.hypot(*expected.T[:2]), rtol=1e-5, atol=1e-5)
        assert np.all(np.abs(rows_angles[:, 2]) <= np.float32(np.pi))


def test_constituents_about_the_axis_across_the_seam():
    jet = massless([(50.0, 0.3, 3.1), (50.0, 0.3, -3.1), (10.0, 0.3, np.pi)])
    array = constituent_array(jet, n=4, coordinates="pt_eta_phi")[0]
    half = np.pi - 3.1
    np.testing.assert_allclose(array[:, 2], [-half, half, 0, 0], atol=1e-5)
    # the axis is that of the sum: its pT is a little less than the sum of the pT
    assert array[:3, 1] == pytest.approx(
        0.3 - np.arcsinh(110 * np.sinh(0.3) / (100 * np.cos(half) + 10)), abs=1e-6
    )
    assert not array[3].any()


def test_weights_change_the_order_of_the_constituents():
    jet = massless([(50.0, 0.0, 0.0), (40.0, 0.1, 0.0), (30.0, 0.2, 0.0)])
    array = constituent_array(jet, n=3, coordinates="pt_eta_phi", weights=ak.Array([[0.0, 0.5, 1.0]]))[0]
    assert array[:, 0] == pytest.approx([30, 20, 0])


def test_mean_and_deviation_are_exact():
    array = constituent_array(toy_jets(50, seed=8), n=60)
    mean, std = mean_std(array)
    particles = array[np.any(array != 0, axis=-1)].astype(float)
    assert 0 < len(particles) < array.shape[0] * array.shape[1]
    for q in range(3):
        column = particles[:, q].tolist()
        assert mean[q] == statistics.fmean(column)
        assert std[q] == pytest.approx(statistics.pstdev(column), rel=1e-15)
    order = np.random.default_rng(1).permutation(len(array))
    for one, two in zip(mean_std(array[order][:, ::-1]), (mean, std), strict=True):
        assert np.array_equal(one, two)


def test_standardised_particles_and_padding():
    array = constituent_array(toy_jets(50, seed=8), n=60)
    scaled = standardise(array, *mean_std(array))
    padding = ~np.any(array != 0, axis=-1)
    assert scaled.dtype == np.float32
    assert not scaled[padding].any()
    np.testing.assert_allclose(scaled[~padding].astype(float).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled[~padding].astype(float).std(axis=0), 1, atol=1e-6)


def test_arrays_that_cannot_be_standardised():
    array = constituent_array(massless([(50.0, 0.0, 0.0), (40.0, 0.0, 0.0)]), n=3)
    mean, std = mean_std(array)
    with pytest.raises(InputError, match="a coordinate that is constant"):
        standardise(array, mean, std)
    with pytest.raises(InputError, match="one number for each of 3 columns"):
        standardise(array, mean[:2], std[:2])
    with pytest.raises(InputError, match="holds 0 particles"):
        mean_std(array * 0)
    with pytest.raises(InputError, match="not float32"):
        mean_std(array.astype(float))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda jets: jet_image(jets, pixels=0), "pixels = 0 must be an integer of at least 1"),
        (lambda jets: jet_image(jets, pixels=2.5), "pixels = 2.5 must be an integer of at least 1"),
        (lambda jets: jet_image(jets, width=-1.0), "width = -1.0 must be a positive number"),
        (lambda jets: constituent_array(jets, n=0), "n = 0 must be an integer of at least 1"),
        (lambda jets: constituent_array(jets, n=1.5), "n = 1.5 must be an integer of at least 1"),
        (lambda jets: constituent_array(jets, coordinates="polar"), "coordinates = 'polar' must be"),
    ],
)
def test_options_that_make_no_sense(call, message):
    with pytest.raises(ConfigError, match=message):
        call(toy_jets(1, seed=1))
