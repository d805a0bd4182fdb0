"""Coverage of q0, limits and p-values by pseudo-experiments: the numbers of ``bench_coverage.py``, fixed seeds."""

import pytest

from tests.benchmarks.bench_coverage import FEW, REGIMES, discovery, exclusion, few_events


@pytest.mark.slow
@pytest.mark.parametrize("n_events", REGIMES)
def test_q0_has_half_chi_square(n_events):
    found = discovery(n_events, REGIMES[n_events])
    assert found["converged"] == 2000
    assert found["ks_p"] > 0.01
    assert found["share_above_zero"] == pytest.approx(0.5, abs=0.035)
    assert abs(found["pull_mean"]) < 0.15
    assert 0.9 < found["pull_width"] < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("n_events", REGIMES)
def test_limits_cover(n_events, strength):
    found = exclusion(n_events, REGIMES[n_events], strength)
    assert found["converged"] > 1990
    assert found["excluded"] <= found["allowed"]
    assert found["excluded"] > 0.005  # a limit that excludes never says nothing


@pytest.mark.slow
@pytest.mark.parametrize("n_events", FEW)
def test_few_events_switch_to_toys_and_cover(n_events):
    found = few_events(n_events, FEW[n_events], 60)
    # Some experiments of 20 events have less than the ten without which there is no fit.
    assert found["too_few"] <= (5 if n_events == 20 else 0)
    assert found["by_toys"] == found["valid"] >= 0.95 * (60 - found["too_few"])
    assert found["p0_below_alpha"] <= found["allowed"]
    found = few_events(n_events, FEW[n_events], 15, injected=8.0)
    assert found["by_toys"] == found["valid"] >= 0.95 * (15 - found["too_few"])
    assert found["excluded"] <= found["allowed"]
