import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.windows import window, window_of
from data.errors import ConfigError

# CMS EXO-22-026 (arXiv:2412.03747): windows, their working points and the masses tested in each.
PUBLISHED = {
    "A1": ((1450, 1650), (1650, 2017), (2017, 2465), 0.01, [1800, 1900]),
    "A4": ((2465, 3013), (3013, 3682), (3682, 4500), 0.03, [3200, 3300, 3400, 3500]),
    "A6": ((3682, 4500), (4500, 5500), (5500, 8000), 0.05, [4800, 4900, 5000, 5100, 5200]),
    "B3": ((2230, 2725), (2725, 3331), (3331, 4071), 0.01, [2900, 3000, 3100]),
    "B4": ((2725, 3331), (3331, 4071), (4071, 4975), 0.03, [3600, 3700, 3800]),
    "B6": ((4071, 4975), (4975, 6081), (6081, 8000), 0.05, [5300, 5400, 5500, 5600, 5700, 5800]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_windows_are_the_published_ones(name):
    low, signal, high, working_point, masses = PUBLISHED[name]
    found = window(name)
    assert (found.low_band, found.signal_region, found.high_band) == (low, signal, high)
    assert found.working_point == working_point
    assert {window_of(mass).name for mass in masses} == {name}


@given(st.floats(1750, 5850))
def test_every_mass_lies_inside_the_region_that_tests_it(mass):
    low, high = window_of(mass).signal_region
    assert low <= mass < high


def test_half_way_the_lower_window_is_used():
    assert window_of(3150).name == "B3"
    assert window_of(3151).name == "A4"


@pytest.mark.parametrize("mass", [1749.9, 5850.1, float("nan")])
def test_masses_without_a_window_are_refused(mass):
    with pytest.raises(ConfigError, match="GeV has no window; test masses between 1750 and 5850 GeV"):
        window_of(mass)


def test_unknown_windows_are_refused():
    with pytest.raises(ConfigError, match="window 'C1' is unknown; known windows: A1, A2"):
        window("C1")
