"""Closure of the Lund-plane reweighting: jets of one shower become those of another one, with a larger αS."""

import runpy
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_lund_closure.py"


@pytest.mark.slow
def test_distorted_shower_is_reweighted_back():
    pytest.importorskip("pythia8mc", reason="pythia8mc is not installed: no showers to compare")
    bench = runpy.run_path(str(BENCH))
    found = bench["closure"](4000, seed=2)
    for place in ("other", "high"):  # independent jets of the same pT, and of a higher one
        for name in ("tau21", "msd"):
            made = found[place][name]
            assert made["before"]["p"] < 0.01, (place, name)
            assert made["after"]["p"] > 0.05, (place, name)
            assert made["integral"] == pytest.approx(1, abs=1e-9)
            assert made["after_statistics_only"]["chi2"] < 0.7 * made["before"]["chi2"]
        assert found[place]["tau21"]["before"]["chi2"] > 100
        assert 0 < found[place]["badly_matched"] < 0.1
        # the errors of the maps are small beside the effect itself, some 20 %
        assert found[place]["tau21"]["uncertainties"]["stat"] < 0.06
