"""Closure of the Lund-plane reweighting: jets of one shower become those of another one."""

import runpy
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_lund_closure.py"


@pytest.mark.slow
def test_another_shower_is_reweighted_back():
    pytest.importorskip("pythia8mc", reason="pythia8mc is not installed: no showers to compare")
    bench = runpy.run_path(str(BENCH))
    found = bench["closure"](4000, seed=2, showers=("tune", "final"))
    for place in ("other", "high"):  # independent jets of the same pT, and of a higher one
        for shower in ("tune", "final"):
            tau21, msd = (found[shower][place][name] for name in ("tau21", "msd"))
            assert tau21["before"]["p"] < 0.01, (shower, place)
            assert tau21["after_statistics_only"]["chi2"] < 0.7 * tau21["before"]["chi2"], (shower, place)
            for made in (tau21, msd):
                assert made["integral"] == pytest.approx(1, abs=1e-9)
            assert 0 < found[shower][place]["badly_matched"] < 0.1
            # the errors of the maps are small beside the effect of αS, some 20 %
            assert tau21["uncertainties"]["stat"] < 0.06
        # another tune: agreement within the uncertainties
        for name in ("tau21", "msd"):
            assert found["tune"][place][name]["after"]["p"] > 0.05, (place, name)
        # αS of the final state by 14 %: more than the seven uncertainties know of in large samples, here by its size
        tau21, msd = (found["final"][place][name]["misplaced"] for name in ("tau21", "msd"))
        assert tau21["before"] > 0.09
        assert tau21["after"] < 0.5 * tau21["before"]
        assert msd["after"] < 0.05
