"""BumpHunter against pyBumpHunter, a plain double loop and closed forms."""

import decimal
import math
from pathlib import Path

import numpy as np
import pytest
from pyBumpHunter import BumpHunter1D
from scipy.stats import poisson

import data
from analysis.bumphunter import BumpHunterConfig, find_bumps
from analysis.kernels.poisson_tails import log_lower_tail, log_upper_tail
from data.errors import ConfigError, InputError

EXPECTED = np.geomspace(1e5, 0.8, 36)
PLAIN = BumpHunterConfig(side_bands=False)


def histograms(n, seed=1):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(EXPECTED, (n, EXPECTED.size))
    counts[::2, 14:17] += rng.poisson(2 * np.sqrt(EXPECTED[14:17]), (len(counts[::2]), 3))
    counts[::3, 20] += 30
    return counts


def test_the_folder_data_of_pybumphunter_does_not_hide_ours():
    # pyBumpHunter puts a package-like folder of this name beside itself.
    assert Path(data.__file__).resolve().parent == Path(__file__).resolve().parents[2] / "data"


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 40, 1000])
@pytest.mark.parametrize("mean", [0.3, 2.0, 15.5, 40.0, 990.0])
def test_tails_agree_with_scipy(n, mean):
    upper, lower = poisson.logsf(n - 1, mean), poisson.logcdf(n, mean)
    for ours, theirs in ((log_upper_tail(n, mean), upper), (log_lower_tail(n, mean), lower)):
        if theirs > -600:
            assert ours == pytest.approx(theirs, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize(("n", "mean"), [(400, 3.0), (3000, 900.0), (7, 1e-60), (20, 1e-30)])
def test_tails_are_exact_where_probabilities_underflow(n, mean):
    with decimal.localcontext() as context:
        context.prec = 60
        term = (-decimal.Decimal(mean)).exp()
        total = decimal.Decimal(0)
        for k in range(n + 2000):
            total += term if k >= n else 0
            term *= decimal.Decimal(mean) / (k + 1)
        exact = float(total.ln())
    assert exact < -300
    assert log_upper_tail(n, mean) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("scan_step", [1, 2, "half", "full"])
@pytest.mark.parametrize(("min_width", "max_width", "width_step"), [(1, None, 1), (2, 9, 3)])
def test_window_and_statistic_are_those_of_pybumphunter(scan_step, min_width, max_width, width_step):
    counts = histograms(12)
    config = BumpHunterConfig(
        min_width=min_width, max_width=max_width, width_step=width_step, scan_step=scan_step, side_bands=False
    )
    found = find_bumps(counts, EXPECTED, config)
    edges = np.arange(EXPECTED.size + 1.0)
    for row, t, first, width in zip(counts, found.t, found.first, found.width, strict=True):
        hunter = BumpHunter1D(
            rang=[0, EXPECTED.size], bins=edges, width_min=min_width, width_max=max_width,
            width_step=width_step, scan_step=scan_step, npe=0, nworker=1, seed=1,
        )  # fmt: skip
        hunter.bump_scan(row, EXPECTED, is_hist=True, do_pseudo=False)
        assert t == pytest.approx(-math.log(hunter.min_Pval_ar[0]), rel=1e-10)
        assert (first, width) == (hunter.min_loc_ar[0], hunter.min_width_ar[0])


def plain_search(counts, expected):
    """All windows with side bands, one after the other."""
    n, best = counts.size, (0.0, 0, 0)
    vetoed = False
    for w in range(1, n // 2 + 1):
        for at in range(n - w + 1):
            d, b = counts[at : at + w].sum(), expected[at : at + w].sum()
            t = -poisson.logsf(d - 1, b)
            if d <= b or t <= best[0]:
                continue
            band = max(1, w // 2)
            sides = [slice(max(at - band, 0), at), slice(at + w, at + w + band)]
            sums = [(counts[s].sum(), expected[s].sum()) for s in sides if expected[s].size]
            p = [poisson.sf(n_s - 1, b_s) if n_s >= b_s else poisson.cdf(n_s, b_s) for n_s, b_s in sums]
            if min(p) > 1e-3:
                best = (t, at, w)
            else:
                vetoed = True
    return best, vetoed


def test_side_bands_forbid_what_a_plain_search_forbids():
    counts = histograms(24, seed=3)
    counts[:16, 5:30] += wide_excess(counts[:16, 5:30])
    found = find_bumps(counts, EXPECTED)
    any_vetoed = 0
    for row, t, first, width in zip(counts, found.t, found.first, found.width, strict=True):
        (t_plain, first_plain, width_plain), vetoed = plain_search(row, EXPECTED)
        any_vetoed += vetoed
        assert t == pytest.approx(t_plain, rel=1e-9)
        assert (first, width) == (first_plain, width_plain)
    assert any_vetoed > 8
    assert (found.t < find_bumps(counts, EXPECTED, PLAIN).t).sum() > 5


def wide_excess(counts):
    """An excess too wide for any window."""
    return np.round(4 * np.sqrt(counts + 1)).astype(np.int64)


def test_sets_with_backgrounds_of_their_own():
    counts = histograms(5)
    scaled = EXPECTED * np.linspace(0.97, 1.03, 5)[:, None]
    together = find_bumps(counts, scaled)
    for row, expected, t in zip(counts, scaled, together.t, strict=True):
        assert find_bumps(row, expected).t[0] == t


def test_windows_in_a_tail_do_not_drown_in_the_bulk():
    expected = np.append(np.full(10, 1e9), [1e-9, 1e-9, 1e-9])
    counts = np.append(np.full(10, 1_000_000_000), [0, 1, 0])
    found = find_bumps(counts, expected, PLAIN)
    assert (found.first[0], found.width[0]) == (11, 1)
    assert found.t[0] == pytest.approx(-math.log(1e-9), rel=1e-9)


def test_no_excess_gives_no_window():
    found = find_bumps(np.zeros(8, dtype=int), np.full(8, 3.0))
    assert (found.t[0], found.width[0]) == (0.0, 0)


@pytest.mark.parametrize(
    ("counts", "expected", "message"),
    [
        (np.ones(3), np.ones(4), "do not match"),
        (np.ones((2, 3)), np.ones((3, 3)), "do not match"),
        (np.array([1.0, -1.0]), np.ones(2), "whole numbers"),
        (np.array([1.0, 0.5]), np.ones(2), "whole numbers"),
        (np.ones(3), np.array([1.0, 0.0, 1.0]), "background of bin 1 is not a positive number"),
    ],
)
def test_bad_numbers_are_refused(counts, expected, message):
    with pytest.raises(InputError, match=message):
        find_bumps(counts, expected)


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="no window of 9 to 5 bins fits into 11 bins"):
        find_bumps(np.ones(11), np.ones(11), BumpHunterConfig(min_width=9))
    with pytest.raises(ConfigError, match=r"scan_step.*at least one bin"):
        BumpHunterConfig.parse({"scan_step": 0}, "x")
    with pytest.raises(ConfigError, match=r"unknown key 'side_band'; did you mean 'side_bands'\?"):
        BumpHunterConfig.parse({"side_band": True}, "x")
