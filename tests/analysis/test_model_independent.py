"""Limits on Gaussians: closed forms, the direct fit, and what a reader does with them."""

import numpy as np
import pytest
from scipy.stats import norm

from analysis.functions import density
from analysis.model_independent import GaussianSignal, model_independent_limits
from analysis.scan import scan
from analysis.scan_config import ScanConfig
from analysis.spectrum import Spectrum
from data.errors import FitError, InputError

EDGES = np.arange(2232.0, 6001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
CONFIG = ScanConfig(minuit=False, calculator="asymptotic", function="dijet2")


@pytest.fixture(scope="module")
def spectrum():
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
    return Spectrum(EDGES, np.random.default_rng(3).poisson(shape * 20_000 / shape.sum()))


@pytest.fixture(scope="module")
def rows(spectrum):
    return model_independent_limits(
        spectrum, [3000.0, 3500.0], widths=[0.03, 0.1], config=CONFIG, luminosity_ifb=10.0
    )


def test_one_row_a_mass_and_width_in_order(rows):
    found = [(row["mass"], row["relative_width"]) for row in rows]
    assert found == [(3000.0, 0.03), (3000.0, 0.1), (3500.0, 0.03), (3500.0, 0.1)]
    assert all(row["valid"] for row in rows)


def test_limits_in_fb_are_events_per_luminosity(rows):
    for row in rows:
        assert row["limit_observed_fb"] == pytest.approx(row["limit_observed"] / 10.0)
        assert row["limit_expected_fb"] == pytest.approx([value / 10.0 for value in row["limit_expected"]])


def test_wider_signals_have_weaker_expected_limits(rows):
    expected = [row["limit_expected"][2] for row in rows]
    assert expected[1] > expected[0]
    assert expected[3] > expected[2]


def test_the_fraction_in_range_is_that_of_the_normal_distribution(rows):
    # The range begins at 2232 GeV, and both Gaussians end far below its upper end.
    assert rows[1]["fraction_in_range"] == pytest.approx(norm.sf((2232 - 3000) / 300), abs=1e-3)


def test_limits_are_those_of_a_scan_with_that_shape(spectrum, rows):
    point = scan(spectrum, [3500.0], GaussianSignal(0.1), CONFIG).points[0]
    assert rows[3]["limit_observed"] == pytest.approx(point.limit.observed, rel=1e-6)


def test_the_template_is_a_binned_gaussian():
    template = GaussianSignal(0.05).template(3000.0, EDGES).nominal
    wanted = np.diff(norm.cdf(EDGES, 3000.0, 150.0))
    assert template == pytest.approx(wanted / wanted.sum(), rel=1e-9, abs=1e-15)


def test_without_a_luminosity_there_are_no_cross_sections(spectrum):
    row = model_independent_limits(spectrum, [3000.0], widths=[0.05], config=CONFIG)[0]
    assert row["limit_observed"] > 0
    assert row["limit_observed_fb"] is None


def test_wrong_numbers_are_named(spectrum):
    with pytest.raises(InputError, match=r"relative width 0.9; give σ/m"):
        GaussianSignal(0.9)
    with pytest.raises(InputError, match="luminosity_ifb = -1"):
        model_independent_limits(spectrum, [3000.0], luminosity_ifb=-1.0)
    with pytest.raises(InputError, match="0 masses and 5 relative widths; give one of each"):
        model_independent_limits(spectrum, [])
    with pytest.raises(InputError, match="no uncertainties of simulation"):
        GaussianSignal(0.05).template(3000.0, EDGES, nuisances=True)
    with pytest.raises(FitError, match=r"Gaussian of 9000 GeV, σ/m = 0.05: only"):
        GaussianSignal(0.05).template(9000.0, EDGES)
