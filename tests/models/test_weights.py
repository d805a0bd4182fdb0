import numpy as np
import pytest

from data.errors import ConfigError, TrainingError
from models.preprocessing import fit_ranks, standardisation
from models.regions import HIGH, LOW, OUTSIDE, SIGNAL, regions
from models.weights import band_weights, match_pt


def test_band_weights_are_those_of_the_search():
    region = np.repeat([LOW, SIGNAL, HIGH, OUTSIDE], [600, 300, 120, 50])
    weight = band_weights(region)
    assert set(weight[region == LOW]) == {1.0}
    assert set(weight[region == HIGH]) == {600 / 120}
    assert set(weight[region == SIGNAL]) == {2 * 600 / 300}
    assert set(weight[region == OUTSIDE]) == {0.0}
    assert weight[region == SIGNAL].sum() == pytest.approx(weight[(region == LOW) | (region == HIGH)].sum())


@pytest.mark.parametrize("missing", [LOW, SIGNAL, HIGH])
def test_an_empty_band_is_an_error(missing):
    region = np.array([band for band in (LOW, SIGNAL, HIGH) if band != missing])
    with pytest.raises(TrainingError, match="choose a window inside the data"):
        band_weights(region)


def test_pt_spectrum_of_the_side_bands_becomes_that_of_the_signal_region():
    rng = np.random.default_rng(2)
    region = np.repeat([LOW, SIGNAL, HIGH], [8000, 4000, 2000])
    pt = rng.normal(np.array([1200, 1500, 1800])[region], 250.0)
    before = band_weights(region)
    after = match_pt(pt, region, before)
    low, high = np.percentile(pt, [1, 99])
    edges = np.linspace(low, high, 21)
    clipped = np.clip(pt, low, high)
    signal = region == SIGNAL
    expected = np.histogram(clipped[signal], edges, weights=before[signal])[0]
    found = np.histogram(clipped[~signal], edges, weights=after[~signal])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # np.histogram takes differences of sums
    np.testing.assert_array_equal(after[signal], before[signal])


def test_one_pt_for_all_needs_no_matching():
    region = np.array([LOW, SIGNAL, HIGH])
    weight = band_weights(region)
    np.testing.assert_array_equal(match_pt(np.full(3, 500.0), region, weight), weight)


def test_rank_transform_gives_middle_ranks_and_keeps_the_order_outside():
    ranks = fit_ranks(np.array([3.0, 1.0, 1.0, 5.0]))
    np.testing.assert_allclose(ranks(np.array([1.0, 3.0, 5.0, 4.0])), [0.25, 0.625, 0.875, 0.75])
    outside = ranks(np.array([-1e9, -9.0, 0.0, 1.0, 5.0, 6.0, 9.0, 1e9]))
    assert np.all(np.diff(outside) > 0)
    assert 0 < outside[0] < outside[-1] < 1
    # A hundredth of the knots' span (0.04) above the last one is half way to 1.
    assert ranks(np.array([5.04]))[0] == pytest.approx(0.5 * (0.875 + 1.0))
    np.testing.assert_allclose(
        fit_ranks(np.array([1.0, 2.0]), np.array([3.0, 1.0]))(np.array([1.0, 2.0])), [0.375, 0.875]
    )


def test_rank_transform_of_many_values_stays_small_and_uniform():
    output = np.random.default_rng(0).normal(size=40_000)
    ranks = fit_ranks(output)
    assert len(ranks.knots) == 10_001
    assert np.abs(np.sort(ranks(output)) - (np.arange(40_000) + 0.5) / 40_000).max() < 1e-4


def test_standardisation_of_a_constant_input_divides_by_one():
    mean, deviation = standardisation(np.array([[1, 2], [3, 2]], dtype=np.float32))
    np.testing.assert_array_equal(mean, [2, 2])
    np.testing.assert_array_equal(deviation, [1, 1])


def test_default_side_bands_are_the_neighbouring_bins_of_the_same_ratio():
    window = regions((3000.0, 3600.0))
    assert window.low == pytest.approx((2500.0, 3000.0))
    assert window.high == pytest.approx((3600.0, 4320.0))
    np.testing.assert_array_equal(
        window.of(np.array([2999.9, 3000.0, 3600.0, 9000.0])), [LOW, SIGNAL, HIGH, OUTSIDE]
    )


@pytest.mark.parametrize(
    ("edges", "match"),
    [
        ({"signal": (3600, 3000)}, "positive and ascending"),
        ({"signal": 3000}, "expected two edges"),
        ({"signal": (3000, 3600), "low": (2500, 3100)}, "overlap signal_region"),
        ({"signal": (3000, 3600), "high": (3500, 4000)}, "overlap signal_region"),
    ],
)
def test_wrong_edges_are_errors(edges, match):
    with pytest.raises(ConfigError, match=match):
        regions(**edges)
