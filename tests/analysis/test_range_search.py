"""The search of the fit range: the order of the ranges and when it stops."""

import itertools
import json

import pytest

from analysis.range_search import RangeQuality, RangeRules, search_range
from data.errors import FitError, InputError

POOR = RangeQuality(0.01, 0.001, 0.05)
GOOD = RangeQuality(0.40, 0.30, 0.05)


def tried(lo, hi, mass, judge=lambda lo, hi: POOR):
    return [(step.lo, step.hi) for step in search_range(lo, hi, mass, judge).steps]


def test_the_published_order():
    # Start 1550, stop 6500, then in turn start + 100 and stop − 500 (− 200 from 5 TeV on), then the start alone.
    assert tried(1460, 7000, 2500) == [
        (1460, 7000), (1550, 7000), (1550, 6500),
        (1650, 6500), (1650, 6000), (1750, 6000), (1750, 5500), (1850, 5500), (1850, 5000),
        (1950, 5000), (1950, 4800), (2050, 4800), (2050, 4600), (2150, 4600), (2150, 4400),
        (2150, 4200), (2150, 4000), (2150, 3800), (2150, 3600), (2150, 3400), (2150, 3200), (2150, 3000), (2150, 2800),
        (2250, 2800), (2350, 2800),
    ]  # fmt: skip


def test_first_ends_must_shrink_the_range_and_keep_the_mass_inside():
    assert tried(1600, 6000, 1700)[0:2] == [(1600, 6000), (1600, 5500)]
    assert tried(1460, 7000, 1600)[1] == (1460, 6500)
    assert (1550, 6500) not in tried(1460, 7000, 6400)


@pytest.mark.parametrize("mass", [1500, 1800, 2000, 3000, 4990, 5100, 6400])
def test_the_mass_is_always_inside_and_ranges_only_shrink(mass):
    found = tried(1460, 7000, mass)
    assert all(lo < mass < hi for lo, hi in found)
    assert all(b[0] >= a[0] and b[1] <= a[1] and a != b for a, b in itertools.pairwise(found))


def test_the_first_good_range_is_taken():
    result = search_range(1460, 7000, 3000, lambda lo, hi: GOOD if hi < 6500 else POOR)
    assert (result.lo, result.hi, result.good) == (1650, 6000, True)
    assert len(result.steps) == 5


def test_no_good_range_is_flagged_and_the_last_one_kept():
    result = search_range(1460, 7000, 3000, lambda lo, hi: POOR)
    assert not result.good
    assert (result.lo, result.hi) == (result.steps[-1].lo, result.steps[-1].hi) == (2850, 3400)


@pytest.mark.parametrize(
    ("quality", "poor"),
    [
        (RangeQuality(0.04, 0.02, 0.05), False),  # the fit with signal describes the data
        (RangeQuality(0.06, 0.001, 0.05), False),  # the background alone does
        (RangeQuality(0.04, 0.009, 0.05), True),
        (RangeQuality(0.50, 0.50, 0.16), True),
        (RangeQuality(0.50, 0.50, 0.15), False),
        (RangeQuality(None, None, 0.05), True),
        (RangeQuality(0.04, None, 0.05), True),
        (RangeQuality(0.50, 0.50, float("nan")), True),
    ],
)
def test_what_is_poor(quality, poor):
    assert RangeRules().poor(quality) is poor


def test_failed_fits_go_on_and_are_told():
    def judge(lo, hi):
        if lo < 1550:
            msg = "ran away"
            raise FitError(msg)
        return GOOD

    result = search_range(1460, 7000, 3000, judge)
    first, second = json.loads(json.dumps([step.to_dict() for step in result.steps]))
    assert (first["message"], first["quality"]) == ("ran away", None)
    assert (second["lo"], second["quality"]["background_p"]) == (1550, 0.4)


def test_a_mass_outside_is_named():
    with pytest.raises(InputError, match="mass 1400 GeV lies outside the fit range 1460–7000"):
        search_range(1460, 7000, 1400, lambda lo, hi: GOOD)


def test_other_rules():
    rules = RangeRules(uncertainty=0.5, first_start=1500, start_step=50)
    result = search_range(
        1460, 7000, 3000, lambda lo, hi: GOOD if lo > 1500 else RangeQuality(0.5, 0.5, 0.6), rules=rules
    )
    assert (result.lo, result.hi) == (1550, 6500)
