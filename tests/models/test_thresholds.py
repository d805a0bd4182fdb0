import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models.calibration import Calibration, ranks_of
from models.regions import HIGH, LOW, SIGNAL
from models.thresholds import side_band_threshold, weighted_quantile

PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=40).filter(
    lambda pairs: sum(weight for _, weight in pairs) > 0
)


@given(pairs=PAIRS, share=st.integers(1, 99))
def test_weighted_quantile_is_the_quantile_of_repeated_values(pairs, share):
    values, weights = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
    repeated = np.sort(np.repeat(values, weights.astype(int)))
    needed = -(-share * len(repeated) // 100)  # smallest count with count/n ≥ share, in exact integers
    assert weighted_quantile(values, weights, share / 100) == repeated[needed - 1]


def test_both_side_bands_count_equally():
    rng = np.random.default_rng(1)
    region = np.repeat([LOW, HIGH, SIGNAL], [9000, 1000, 500])
    score = np.where(region == HIGH, rng.random(len(region)) + 0.2, rng.random(len(region)))
    score[region == SIGNAL] = 7.0  # the signal region has no say
    threshold = side_band_threshold(score, region, 0.1)
    kept = [np.mean(score[region == band] > threshold) for band in (LOW, HIGH)]
    assert 0.5 * sum(kept) == pytest.approx(0.1, abs=1e-3)


def test_events_without_weight_leave_no_step_in_the_ranks():
    """A bundle refuses ranks that do not rise: simulation may hold events of weight 0, or of next to none."""
    rng = np.random.default_rng(6)
    raw, weight = rng.normal(size=400), rng.random(400)
    weight[::7] = 0.0
    used = weight > 0
    found, wanted = ranks_of(raw, weight, None), ranks_of(raw[used], weight[used], None)
    np.testing.assert_array_equal(found.knots, wanted.knots)
    np.testing.assert_array_equal(found.ranks, wanted.ranks)
    weight[1::7] = 1e-300
    tiny = ranks_of(raw, weight, 0.0)
    again = Calibration.from_arrays(Calibration(tiny, 0.5).arrays(), 0.5)
    np.testing.assert_array_equal(again.ranks(raw), tiny(raw))
