"""Global p-values: limits with closed forms, bounds, invariances, messages."""

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal, norm

from analysis.bumphunter import BumpHunterConfig, find_bumps, hunt
from analysis.fit import fit_background
from analysis.functions import density
from analysis.global_pvalue import GlobalPValue, count_above
from analysis.joint_toys import Overlaps
from analysis.look_elsewhere import global_significance, methods_significance, stitched_significance
from analysis.pseudo_experiments import ScannedSelection, scan_toys
from analysis.results import MassResult, ScanResult
from analysis.scan import ScanConfig, scan
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from data.errors import FitError, InputError

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_global.py"
EDGES = np.arange(1460.0, 5001.0, 20.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
CONFIG = ScanConfig(fit_start=1460, fit_stop=5000, function="dijet3", limits=False, minuit=False)


def spectrum(n_events=30_000, signal=0.0, mass=2600.0, seed=1, edges=EDGES):
    middles = 0.5 * (edges[1:] + edges[:-1])
    shape = density(middles, 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * SignalModel.generic().at(mass).template(edges)
    return Spectrum(edges, np.random.default_rng(seed).poisson(expected))


def scanned(name, masses, **options):
    return ScannedSelection.from_scan(name, scan(spectrum(**options), masses, None, CONFIG))


def test_at_a_single_mass_the_global_p_value_is_the_local_one():
    found = global_significance(spectrum(signal=150), None, CONFIG, [2600], 3000, seed=3)
    local = norm.sf(found.max_z)
    assert 0.01 < local < 0.3
    assert found.counted.p == pytest.approx(local, abs=3 * found.counted.error)
    assert found.gross_vitells.p_global == pytest.approx(local)
    assert found.counted.n_failed == 0


def test_independent_single_masses_have_the_trial_factor_of_their_number():
    windows = [scanned(str(seed), [2600], signal=150 * (seed == 1), seed=seed) for seed in (1, 2, 3)]
    found = stitched_significance(windows, 3000, seed=4)
    assert (found.selection, found.mass, found.correlation) == ("1", 2600, "independent")
    exact = 1 - norm.cdf(found.max_z) ** 3
    assert found.counted.p == pytest.approx(exact, abs=3 * found.counted.error)
    assert found.gross_vitells.p_global == pytest.approx(3 * norm.sf(found.max_z))


def test_selections_of_the_same_events_have_no_trial_factor():
    data = {"signal": 150, "seed": 1}
    windows = [scanned(name, [2600], **data) for name in "ab"]
    same = Overlaps.of({"a": np.ones(9), "b": np.ones(9)})
    both = stitched_significance(windows, 500, seed=4, shared=same)
    assert both.correlation == "shared events"
    assert both.counted.p == pytest.approx(norm.sf(both.max_z), abs=2 * both.counted.error)
    q0 = scan_toys(windows, 500, 4, shared=same).q0
    assert np.array_equal(q0[:, 0], q0[:, 1])
    apart = stitched_significance(windows, 500, seed=4)
    assert apart.counted.n_above > both.counted.n_above


@pytest.mark.parametrize(("both", "rho"), [(30, 1.0), (15, 0.5), (0, 0.0)])
def test_overlaps_correlate_the_significances_of_selections(both, rho):
    """Two selections of 30 events each, tested at one mass: 1 − Φ₂(z, z; ρ), ρ the share of common events."""
    passed = {"a": np.arange(60) < 30, "b": (np.arange(60) >= 30 - both) & (np.arange(60) < 60 - both)}
    windows = [scanned(name, [2600], signal=120 * (name == "a"), seed=1) for name in "ab"]
    found = stitched_significance(windows, 4000, seed=4, shared=Overlaps.of(passed))
    z = found.max_z
    assert 0.5 < z < 2
    exact = 1 - multivariate_normal([0, 0], [[1, rho], [rho, 1]], allow_singular=True).cdf([z, z])
    assert found.counted.p == pytest.approx(exact, abs=3 * found.counted.error)


def test_methods_share_their_toys():
    methods = {"inclusive": [scanned("inclusive", [2400, 2600, 2800], seed=5)]}
    methods["cwola"] = [scanned("cwola_A", [2400], seed=6), scanned("cwola_B", [2600, 2800], signal=120)]
    found = methods_significance(methods, 800, seed=2)
    assert found.method == "cwola"
    assert found.single["cwola"].max_z == found.overall.max_z
    assert 0.001 < found.single["cwola"].counted.p < found.overall.counted.p
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["methods"] == ["inclusive", "cwola"]
    # If both methods are one, there is nothing more to look at.
    twice = {name: [scanned(name, [2400, 2600, 2800], signal=200)] for name in "ab"}
    same = Overlaps.of({"a": np.ones(9), "b": np.ones(9)})
    shared = methods_significance(twice, 800, seed=2, shared=same)
    assert shared.overall.correlation == "shared events"
    assert shared.overall.counted == shared.single["a"].counted == shared.single["b"].counted


def test_gross_vitells_stands_beside_the_toys():
    masses = np.arange(2000, 4001, 50)
    found = global_significance(spectrum(signal=60, seed=8), None, CONFIG, masses, 1000, seed=5)
    assert 2.5 < found.max_z < 3.3
    bound = found.gross_vitells
    error = math.hypot(found.counted.error, bound.p_global_error)
    assert found.counted.p == pytest.approx(bound.p_global, abs=3 * error)
    assert bound.n_scans == 1000
    assert found.counted.p > norm.sf(found.max_z)


def test_without_toys_the_data_are_the_one_scan():
    found = global_significance(spectrum(), None, CONFIG, np.arange(2000, 4001, 100), 0, seed=5)
    assert found.counted is None
    assert found.gross_vitells.n_scans == 1
    document = found.to_dict()
    assert (document["p_global"], document["n_toys"]) == (None, 0)
    assert document["gross_vitells"] <= 1


def test_results_do_not_depend_on_workers_or_functions_of_neighbours():
    config = CONFIG.model_copy(update={"function": "auto", "fit_stop": None})
    masses = [2000, 3000, 4000, 4160]
    data = spectrum(6000)
    selection = ScannedSelection.from_scan("x", scan(data, masses, None, config))
    assert len(selection.parts) > 1  # the range grows with the mass
    one, two = (scan_toys([selection], 300, 1, workers=workers) for workers in (1, 2))
    assert np.array_equal(one.q0, two.q0)
    assert one.q0.shape == (300, 4)
    best = [point.test.q0 for point in scan(data, masses, None, config).points]
    assert selection.observed == pytest.approx(best, abs=2e-3)


def test_masses_that_are_not_valid_are_left_out_and_named():
    points = scan(spectrum(), [2600, 2800], None, CONFIG).points
    failed = MassResult(2700.0, None, (), None, None, "did not converge")
    selection = ScannedSelection.from_scan("x", ScanResult((*points, failed)))
    found = stitched_significance([selection], 10, seed=1)
    assert found.left_out == (2700.0,)
    assert found.to_dict()["masses_left_out"] == [2700.0]
    with pytest.raises(FitError, match="selection 'x': no mass is valid"):
        ScannedSelection.from_scan("x", ScanResult((failed,)))


def test_what_cannot_be_combined_is_refused():
    other = np.arange(1460.0, 5001.0, 30.0)
    pair = [scanned("a", [2600]), scanned("b", [2600], edges=other)]
    with pytest.raises(InputError, match="not in the same bins"):
        stitched_significance(pair, 10, seed=1)
    with pytest.raises(InputError, match="there are no methods to compare; give one"):
        methods_significance({}, 10, seed=1)


def test_binomial_error_is_that_of_clopper_and_pearson():
    # PDG Review of Particle Physics, 40.4.2.5: no event in n trials is 1 − α^(1/n) at most.
    none = GlobalPValue(0, 1000)
    assert none.interval == (0.0, pytest.approx(1 - norm.sf(1) ** (1 / 1000)))
    assert none.z_is_bound
    # Of p = 1 − 0.05^(1/1000), a thousand toys all miss with a probability of 5 %.
    assert norm.sf(none.z) == pytest.approx(0.0029912495)
    assert (1 - norm.sf(none.z)) ** 1000 == pytest.approx(0.05)
    every = GlobalPValue(1000, 1000)
    assert (every.z, every.z_is_bound) == (-none.z, True)
    assert math.isfinite(GlobalPValue(1, 1).z)
    some = GlobalPValue(40, 1000)
    assert some.error == pytest.approx(math.sqrt(0.04 * 0.96 / 1000), rel=0.2)
    assert some.z == pytest.approx(norm.isf(0.04))


def test_failed_toys_are_counted_and_refused_when_many():
    toys = np.arange(98.0)
    assert count_above(90.0, toys, 2, "x") == GlobalPValue(8, 98, 2)
    with pytest.raises(FitError, match="x: the fits of 3 of 101 pseudo-experiments did not converge"):
        count_above(90.0, toys, 3, "x")
    with pytest.raises(InputError, match="x: no pseudo-experiments"):
        count_above(90.0, np.empty(0), 0, "x")


def test_bumphunter_in_a_flat_spectrum_has_its_closed_form():
    # Windows of one bin in n equal ones: p_global = 1 − (1 − p)ⁿ.
    n, b = 20, 10.0
    narrow = BumpHunterConfig(max_width=1, side_bands=False)
    counts = np.full(n, 9)
    counts[7] = 19
    observed = find_bumps(counts, np.full(n, b), narrow)
    toys = find_bumps(np.random.default_rng(1).poisson(b, (20_000, n)), np.full(n, b), narrow)
    found = count_above(observed.t[0], toys.t, 0, "x")
    p = math.exp(-observed.t[0])
    assert found.p == pytest.approx(1 - (1 - p) ** n, abs=3 * found.error)


def test_bumphunter_finds_what_was_put_in():
    fit = fit_background(spectrum(signal=450), "dijet3")
    found = hunt(fit, 300, seed=1)
    assert found.lo < 2600 < found.hi
    assert found.lo > 2000
    assert found.hi < 3300
    assert found.observed - found.expected > 100
    assert found.counted.p < 0.02
    assert found.function == "dijet3"
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["t"] > 8
    assert document["n_toys"] == 300
    assert hunt(fit, 0, seed=1).counted is None


def test_bumphunter_windows_are_the_coarse_bins_not_merged():
    coarse = np.arange(1460.0, 5000.0, 130.0)  # on no edge of the fine bins: snapped
    data = Spectrum(EDGES, spectrum(400).counts, coarse)
    found = hunt(fit_background(data.between(1460, 5000), "dijet2"), 0, seed=1)
    snapped = {data.snap(edge) for edge in coarse} | {5000.0}
    assert {found.lo, found.hi} <= snapped
    assert data.merged_edges(0).size > data.merged_edges(5).size


def test_bumphunter_p_values_are_flat_when_toys_are_refitted():
    p = {True: [], False: []}
    for seed in range(80):
        fit = fit_background(spectrum(3000, seed=seed), "dijet3")
        for refit, values in p.items():
            values.append(hunt(fit, 150, seed, options=BumpHunterConfig(refit=refit)).counted.p)
    assert kstest(p[True], "uniform").pvalue > 0.01
    # A fit follows the data's fluctuations: against toys of the fit that are not refitted, data look too good.
    assert np.mean(p[False]) > np.mean(p[True]) + 0.05


@pytest.mark.slow
def test_gross_vitells_agrees_with_a_hundred_thousand_toys():
    compare, spectra = (runpy.run_path(str(BENCH))[name] for name in ("compare", "SPECTRA"))
    for options in spectra.values():
        found = compare(options, n_toys=100_000, n_few=100, workers=1)
        assert found["n_failed"] < 1000
        for row in found["significances"]:
            assert abs(row["difference_in_errors"]) < 2.5


def test_toys_are_scanned_with_the_nuisances_of_the_data():
    """The observed q0 of the toys' engine is that of the scan, whose signal is uncertain in place and width."""
    config = CONFIG.model_copy(update={"nuisances": True})
    data = spectrum(signal=150)
    result = scan(data, [2550, 2600], config=config)
    tested = ScannedSelection.from_scan("spectrum", result)
    assert all(len(template.shifts) == 2 for template in tested.parts[0].templates)
    assert tested.observed == pytest.approx([point.test.q0 for point in result.points], abs=1e-4)
    plain = ScannedSelection.from_scan("spectrum", scan(data, [2550, 2600], config=CONFIG))
    assert np.abs(tested.observed - plain.observed).max() > 1e-3
