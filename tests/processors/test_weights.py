import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.samples import Sample
from processors.weights import (
    EXACT,
    GeneratedSums,
    WeightScale,
    check_exact,
    event_weights,
    total_sums,
    weight_scale,
)


def sample(**options):
    facts = {"name": "qcd", "kind": "simulation", "process": "qcd", "year": "2017", "files": {"/a.root": 1}}
    return Sample(**(facts | {"cross_section_pb": 1.0, "luminosity_ifb": 10.0} | options))


def test_sum_of_weights_is_cross_section_times_luminosity():
    scale = weight_scale(sample(), GeneratedSums(1000, 1000.0, 1000.0))
    weights = event_weights(np.ones(1000, dtype=np.float32), scale)
    assert weights.sum() == pytest.approx(1.0 * 1000 * 10.0, rel=1e-6)


@given(st.integers(1, 100_000_000), st.floats(1e-6, 1e6), st.floats(1e-9, 1e9), st.floats(0.1, 1.0))
def test_unit_is_fine_and_sums_stay_exact(count, cross_section, spread, cancellation):
    mean = spread * cancellation
    sums = GeneratedSums(count, count * mean, count * spread**2)
    scale = weight_scale(sample(cross_section_pb=cross_section), sums)
    assert np.frexp(scale.unit)[0] == 0.5  # a power of two
    typical = event_weights(np.array([spread]), scale)[0] / scale.unit
    assert typical >= 2**11 - 1  # 12 significant bits
    assert count * typical**2 < EXACT


def test_small_samples_leave_room_for_five_folds():
    sums = GeneratedSums(100_000, 1e5, 2e5)
    scale = weight_scale(sample(), sums)
    assert 25 * sums.sumw2 * scale.factor**2 / scale.unit**2 < EXACT


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=60), st.randoms())
def test_sums_do_not_depend_on_the_order(generated, random):
    values = np.array([*generated, 200.0], dtype=np.float32)
    total = float(values.astype(np.float64).sum())
    if total <= 0:
        return
    squares = float((values.astype(np.float64) ** 2).sum())
    scale = weight_scale(sample(), GeneratedSums(len(values), total, squares))
    weights = event_weights(values, scale).tolist()
    shuffled = weights[:]
    random.shuffle(shuffled)
    assert sum(weights) == sum(shuffled)
    assert sum(25 * w * w for w in weights) == sum(25 * w * w for w in shuffled)


def test_total_sums_do_not_depend_on_the_order():
    parts = [GeneratedSums(1, 0.1 * k, 10.0 ** (k - 5)) for k in range(10)]
    assert total_sums(parts) == total_sums(reversed(parts))


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        (GeneratedSums(0, 0.0, 0.0), "genEventCount 0"),
        (GeneratedSums(10, -1.0, 10.0), "positive sum"),
        (GeneratedSums(10, 10.0, 0.0), "genEventSumw2 0"),
        (GeneratedSums(10, 10.0, 1.0), "no set of weights"),
        (GeneratedSums(10**10, 1e10, 1e10), "split the sample"),
    ],
)
def test_impossible_sums_are_refused(sums, message):
    with pytest.raises(InputError, match=message):
        weight_scale(sample(), sums)


def test_missing_cross_section_is_refused():
    with pytest.raises(InputError, match="sample 'qcd' is simulation without 'cross_section_pb'"):
        weight_scale(sample(cross_section_pb=None), GeneratedSums(1, 1.0, 1.0))


def test_sum_beyond_the_exact_range_is_refused():
    check_exact(EXACT / 2, WeightScale(1.0, 1.0), "mjj")
    with pytest.raises(InputError, match="mjj: the sum of squared weights"):
        check_exact(EXACT, WeightScale(1.0, 1.0), "mjj")
