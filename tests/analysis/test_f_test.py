"""The F-test: by hand, on spectra with known truth, with vetoes and failed fits."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import f as f_distribution

from analysis.f_test import FailedFit, f_probability, f_test, fit_candidates
from analysis.functions import density
from analysis.spectrum import Spectrum
from data.errors import FitError

EDGES = np.arange(1460.0, 7001.0, 4.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])


def spectrum(n_events, parameters, seed=1):
    shape = density(MIDDLES, 0.0, np.array(parameters))
    counts = np.random.default_rng(seed).poisson(shape * n_events / shape.sum())
    data = Spectrum(EDGES, counts)
    return data.between(1460, data.snap(data.last_filled + 5, up=True))


TWO = [9.3, 4.8]
FOUR = [9.3, 10.4, 2.35, 0.418]


def test_two_parameters_suffice_for_two():
    chosen = [
        f_test(fit_candidates(spectrum(50_000, TWO, seed), ("dijet2", "dijet3")), 3000.0).chosen.n_shape
        for seed in range(8)
    ]
    assert chosen.count(2) >= 5  # one in ten goes on by chance


def test_four_are_found_in_many_events():
    result = f_test(fit_candidates(spectrum(3_000_000, FOUR), ("dijet4", "dijet2", "dijet3")), 3000.0)
    assert result.chosen.n_shape >= 3
    assert result.chosen.goodness[2] > 0.01
    assert [step.n for step in result.steps] == [2, 3, 4]
    assert result.steps[0].p < 1e-3


def test_probability_by_hand():
    fits = fit_candidates(spectrum(100_000, FOUR), ("dijet2", "dijet3"))
    (chi2_a, ndf_a, _), (chi2_b, ndf_b, _) = fits["dijet2"].goodness, fits["dijet3"].goodness
    assert ndf_a - ndf_b == 1
    by_hand = f_distribution.sf((chi2_a - chi2_b) / (chi2_b / ndf_b), 1, ndf_b)
    assert f_probability(*fits.values()) == pytest.approx(by_hand)


class Stub:
    """A fit with chosen goodness and uncertainty."""

    def __init__(self, n_shape, chi2, uncertainty, n_bins=30):
        self.n_shape = n_shape
        self.function = f"dijet{n_shape}"
        self.goodness = (chi2, n_bins - n_shape - 1, 0.5)
        self._uncertainty = uncertainty

    def relative_uncertainty(self, mass):
        return self._uncertainty


@pytest.mark.parametrize(
    ("fits", "options", "chosen"),
    [
        ([(2, 60, 0.01), (3, 30, 0.02)], {}, 3),  # better and certain
        ([(2, 60, 0.01), (3, 30, 0.20)], {}, 2),  # better, but too uncertain
        ([(2, 60, 0.30), (3, 30, 0.20)], {}, 3),  # too uncertain, yet less so than before
        ([(2, 30, 0.30), (3, 30, 0.10)], {}, 3),  # not better, but the choice so far was too uncertain
        ([(2, 60, 0.01), (3, 30, 0.20)], {"uncertainty_veto": False}, 3),
        ([(2, 30, 0.30), (3, 30, 0.10)], {"uncertainty_veto": False}, 2),
        ([(2, 31, 0.01), (3, 30, 0.02), (4, 15, 0.02)], {}, 4),
        ([(2, 30, 0.01), (3, 31, 0.02)], {}, 2),  # a χ² that rises (the fit minimises the likelihood)
    ],
)
def test_rules(fits, options, chosen):
    stubs = {n: Stub(n, chi2, uncertainty) for n, chi2, uncertainty in fits}
    assert f_test(stubs, 3000.0, **options).chosen.n_shape == chosen


def test_no_degrees_of_freedom_no_step():
    stubs = {2: Stub(2, 1.0, 0.01, n_bins=4), 3: Stub(3, 0.1, 0.01, n_bins=4)}
    result = f_test(stubs, 3000.0)
    assert result.chosen.n_shape == 2
    assert result.steps[1].p_f is None


def test_failed_fits_are_passed_over_and_told():
    result = f_test(
        {"a": Stub(2, 30, 0.01), "b": FailedFit("b", 3, "ran away"), "c": Stub(4, 10, 0.02)}, 3000.0
    )
    assert result.chosen.n_shape == 4
    assert dataclasses.asdict(result.steps[1])["message"] == "ran away"
    assert result.steps[1].n == 3
    with pytest.raises(FitError, match=r"no background function could be fitted; add candidates .*: a; b"):
        f_test({"x": FailedFit("x", 2, "a"), "y": FailedFit("y", 3, "b")}, 3000.0).chosen  # noqa: B018
    assert [step.message for step in f_test({"x": FailedFit("x", 2, "a")}, 3000.0).steps] == ["a"]


def test_report_is_plain():
    result = f_test(fit_candidates(spectrum(2000, TWO), ("dijet2", "dijet3")), 3000.0)
    assert set(result.steps[0].to_dict()) == {
        "function", "n", "chi2", "ndf", "p", "p_f", "uncertainty", "accepted", "message",
    }  # fmt: skip
