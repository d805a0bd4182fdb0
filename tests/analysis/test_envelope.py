"""Discrete profiling: closed forms of parabolas, real spectra, coverage when the truth is not the nominal function."""

from types import SimpleNamespace

import numpy as np
import pytest

from analysis.envelope import Curve, Envelope, envelope
from analysis.f_test import FailedFit, fit_candidates
from analysis.fit import fit_background
from analysis.functions import density
from analysis.limits import asymptotic_limit, profile_limit
from analysis.minimiser import Minimum
from analysis.profile_likelihood import SignalTest
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import FitError, InputError

EDGES = np.arange(2232.0, 5201.0, 16.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
SHAPE = density(MIDDLES, 0.0, np.array([9.3, 4.8, -0.1]))
TEMPLATE = SignalModel.generic().template(3000.0, EDGES)


class Parabola:
    """−ln L = floor + (s − best)²/(2 error²)."""

    def __init__(self, floor, best, error):
        self.floor, self.middle, self.yield_error = floor, best, error
        self.best, self.null = self.at(best), self.at(0.0)

    def at(self, signal_yield):
        value = self.floor + 0.5 * ((signal_yield - self.middle) / self.yield_error) ** 2
        return Minimum(np.empty(0), signal_yield, value, np.empty((0, 0)))


def curves(*parabolas):
    return [Curve(f"f{n}", n, Parabola(*values)) for n, *values in parabolas]


def spectrum(n_events, signal=0.0, seed=1):
    expected = SHAPE * n_events / SHAPE.sum() + signal * TEMPLATE.nominal
    return Spectrum(EDGES, np.random.default_rng(seed).poisson(expected))


def test_one_function_is_its_own_profile():
    found = Envelope(curves((3, 10.0, 50.0, 20.0)))
    assert found.z == pytest.approx(2.5)
    assert found.best.signal_yield == 50
    assert found.interval == pytest.approx((30, 70), rel=1e-4)
    assert found.q_tilde(90.0) == pytest.approx(4.0)
    assert found.q_tilde(40.0) == 0


def test_the_lower_curve_counts_and_widens_the_interval():
    # At c = 1 both have the same floor: 10 + 3/2 = 9.5 + 4/2 = 11.5.
    found = Envelope(curves((3, 10.0, 50.0, 20.0), (4, 9.5, 20.0, 20.0)))
    assert found.at(60.0).value == pytest.approx(11.5 + 0.125)
    assert found.at(10.0).value == pytest.approx(11.5 + 0.125)
    assert found.interval == pytest.approx((0, 70), abs=1e-2)
    assert found.yield_error == pytest.approx(35, rel=1e-3)
    assert found.q0 == pytest.approx(1.0)  # Λ(0) of the second curve, min Λ of either
    assert found.null_curve.function == "f4"


def test_the_correction_decides():
    two = curves((3, 10.0, 50.0, 20.0), (4, 9.7, 0.0, 20.0))
    assert Envelope(two, correction=0.0).best_curve.function == "f4"
    assert Envelope(two, correction=1.0).best_curve.function == "f3"
    assert Envelope(two, correction=2.0).best.value == pytest.approx(13.0)


def test_a_function_that_is_never_lowest_changes_nothing():
    alone = Envelope(curves((3, 10.0, 50.0, 20.0)))
    both = Envelope(curves((3, 10.0, 50.0, 20.0), (3, 30.0, 0.0, 20.0)))
    assert both.interval == pytest.approx(alone.interval)
    assert (both.q0, both.q_tilde(90.0)) == (alone.q0, alone.q_tilde(90.0))


def test_a_deficit_has_z_zero():
    found = Envelope(curves((3, 10.0, -50.0, 20.0)))
    assert (found.z, found.p0) == (0.0, 0.5)
    assert found.q_tilde(10.0) == pytest.approx(9.0 - 6.25)


def test_a_curve_that_never_rises_is_named():
    flat = SimpleNamespace(
        best=Minimum(np.empty(0), 0.0, 1.0, np.empty((0, 0))),
        null=None,
        yield_error=1.0,
        at=lambda s: Minimum(np.empty(0), s, 1.0, np.empty((0, 0))),
    )
    with pytest.raises(FitError, match="likelihood of flat does not rise"):
        _ = Envelope([Curve("flat", 2, flat)]).interval


def test_bad_input():
    with pytest.raises(InputError, match="there is no background function; add candidates"):
        Envelope([])
    with pytest.raises(InputError, match="correction = -1; give 0 or more"):
        Envelope(curves((3, 1.0, 1.0, 1.0)), correction=-1)


def test_of_fits_to_a_spectrum():
    data = spectrum(20_000, signal=300)
    fits = fit_candidates(data, ["dijet2", "dijet3", "dijet4", "alternative4"])
    found, failed = envelope(fits.values(), TEMPLATE)
    assert failed == ()
    assert [curve.function for curve in found.curves] == list(fits)
    singles = [
        SignalTest(data.counts.astype(float), fit.model, TEMPLATE, fit.minimum.theta) for fit in fits.values()
    ]
    for signal_yield in (0.0, 100.0, 400.0):
        by_hand = min(
            2 * single.at(signal_yield).value + fit.n_shape + 1
            for single, fit in zip(singles, fits.values(), strict=True)
        )
        assert 2 * found.at(signal_yield).value == pytest.approx(by_hand, abs=1e-6)
    assert found.z <= max(single.z for single in singles) + 1e-6
    assert found.yield_error >= 0.99 * min(single.yield_error for single in singles)
    assert found.best.signal_yield == pytest.approx(300, abs=3 * found.yield_error)


def test_functions_that_fail_are_left_out_and_told():
    fit = fit_background(spectrum(5000), "dijet2")
    found, failed = envelope([fit, FailedFit("dijet4", 4, "ran away")], TEMPLATE)
    assert [curve.function for curve in found.curves] == ["dijet2"]
    assert failed == ("ran away",)
    with pytest.raises(
        FitError, match=r"no background function could be fitted; add candidates .*: ran away"
    ):
        envelope([FailedFit("dijet4", 4, "ran away")], TEMPLATE)


def test_limits_of_one_function_are_those_without_an_envelope():
    fit = fit_background(spectrum(20_000, signal=100), "dijet3")
    found, _ = envelope([fit], TEMPLATE)
    limit = profile_limit(found, found.asimov())
    alone = asymptotic_limit(found.curves[0].test)
    assert limit.observed == pytest.approx(alone.observed, rel=1e-4)
    assert limit.expected == pytest.approx(alone.expected, rel=1e-4)


def test_limits_of_several_functions_are_no_stronger():
    fits = fit_candidates(spectrum(20_000), ["dijet2", "dijet3", "dijet4"])
    found, _ = envelope(fits.values(), TEMPLATE)
    limit = profile_limit(found, found.asimov())
    alone = asymptotic_limit(found.null_curve.test)
    assert limit.observed >= 0.99 * alone.observed
    assert limit.expected == tuple(sorted(limit.expected))


def test_the_asimov_set_of_the_background_has_no_signal():
    fits = fit_candidates(spectrum(20_000, signal=200), ["dijet2", "dijet3"])
    found, _ = envelope(fits.values(), TEMPLATE)
    asimov = found.asimov()
    assert asimov.best.signal_yield == pytest.approx(0.0, abs=0.2 * asimov.yield_error)
    assert asimov.yield_error == pytest.approx(found.yield_error, rel=0.5)


@pytest.mark.slow
def test_coverage_with_a_truth_that_the_smallest_function_misses():
    """Toys from dijet3: dijet2 alone covers too rarely, the envelope of both nearly as often as it should."""
    truth = fit_background(spectrum(300_000, seed=5), "dijet3")
    rng = np.random.default_rng(7)
    inside = {"dijet2": 0, "envelope": 0}
    n_toys = 120
    curved = truth.model.start + np.array([0.0, 0.0, 0.0, 6.0])
    shape = truth.model.expected(curved)
    for _ in range(n_toys):
        data = Spectrum(EDGES, rng.poisson(shape))
        fits = fit_candidates(data, ["dijet2", "dijet3", "dijet4"])
        found, _ = envelope(fits.values(), TEMPLATE)
        low, high = found.interval
        inside["envelope"] += low <= 0 <= high
        low, high = Envelope([found.curves[0]]).interval
        inside["dijet2"] += low <= 0 <= high
    assert inside["envelope"] / n_toys > 0.68 - 3 * 0.043
    assert inside["dijet2"] < inside["envelope"]
