"""Bias studies: closure where there is no bias, a bias where there must be one, and fits as a scan makes them."""

import json
from pathlib import Path

import numpy as np
import pytest

import analysis
from analysis.bias import bias_study
from analysis.bias_config import BiasConfig
from analysis.bias_toys import FittedToys, fit_toys, summarise
from analysis.f_test import f_test, fit_candidates
from analysis.functions import density
from analysis.plots.bias import bias_figures
from analysis.plots.style import PlotLabel
from analysis.result_document import BiasDocument
from analysis.scan import scan
from analysis.scan_config import ScanConfig
from analysis.scan_inputs import ScanInputs, document_inputs
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.spectrum_document import SpectrumDocument
from data.errors import FitError
from data.files import read_json

EDGES = np.arange(2000.0, 6001.0, 50.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
MASS = 3000.0


def inputs(function="dijet2", n_events=20_000, seed=1, masses=(MASS,), **options):
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8]))
    counts = np.random.default_rng(seed).poisson(n_events * shape / shape.sum())
    config = ScanConfig(
        fit_start=2000, fit_stop=6000, function=function, limits=False, minuit=False, **options
    )
    return ScanInputs(Spectrum(EDGES, counts), tuple(masses), SignalModel.generic(), config)


def test_the_same_function_is_not_biased():
    """Toys of the function that is fitted: mean 0 and width 1 up to their errors, and no spurious signal."""
    result = bias_study(inputs(), BiasConfig(alternatives=("dijet2",), toys=400, seed=3))
    assert [row["injected_sigma"] for row in result["pulls"]] == [0, 2, 5]
    for row in result["pulls"]:
        assert abs(row["pull_mean"]) < 3.5 / np.sqrt(400)
        assert row["pull_width"] == pytest.approx(1.0, abs=3.5 / np.sqrt(800))
        assert row["pull_mean_error"] == pytest.approx(row["pull_width"] / np.sqrt(400), rel=0.02)
        assert row["functions"] == {"dijet2": 400}
        assert (row["n_toys"], row["n_failed"], row["n_outliers"]) == (400, 0, 0)
    assert abs(result["max_spurious_ratio"]["ratio"]) < 1e-3
    assert result["passed"]


def test_injections_are_in_units_of_the_expected_error():
    rows = bias_study(inputs(), BiasConfig(alternatives=("dijet2",), toys=10))["pulls"]
    spurious = bias_study(inputs(), BiasConfig(alternatives=("dijet2",), toys=10))["spurious_signal"][0]
    assert [row["injected_yield"] for row in rows] == pytest.approx(
        [0, 2 * spurious["error"], 5 * spurious["error"]]
    )
    data = inputs()
    point = scan(data.spectrum, [MASS], data.signal, data.config).points[0]
    assert spurious["error"] == pytest.approx(point.row()["signal_yield_error"], rel=0.1)


def test_a_wrong_function_is_found_out():
    """Two parameters cannot follow a spectrum of four: a bias on large numbers, as spurious signal and in the pulls."""
    shape = np.exp(-MIDDLES / 13000 * 20 - (MIDDLES / 13000) ** 2 * 40)
    counts = np.random.default_rng(2).poisson(3e6 * shape / shape.sum())
    data = inputs()
    wrong = ScanInputs(Spectrum(EDGES, counts), (2600.0, 3000.0, 4000.0), data.signal, data.config)
    result = bias_study(
        wrong, BiasConfig(alternatives=("alternative3",), toys=50), grid=(2400.0, 2600.0, 3000.0)
    )
    assert not result["passed"]
    assert abs(result["max_spurious_ratio"]["ratio"]) > 1
    assert {row["mass"] for row in result["spurious_signal"]} == {2400, 2600, 3000}
    ratios = {row["mass"]: row["ratio"] for row in result["spurious_signal"]}
    pulls = {row["mass"]: row for row in result["pulls"] if row["injected_sigma"] == 0}
    for mass in (2600.0, 3000.0):
        # The mean of the toys is the bias of their expectation.
        assert pulls[mass]["pull_mean"] == pytest.approx(ratios[mass], abs=3.5 / np.sqrt(50))
    assert pulls[4000.0]["pull_mean"] < -1


def test_every_toy_is_fitted_as_a_scan_would():
    """F-test, its fall-back and the fit with signal agree with those of a scan of the same counts."""
    data = inputs("auto", n_events=3000)
    part = data.spectrum
    standard = fit_candidates(part, data.config.candidates)
    template = data.signal.template(MASS, part.edges)
    expected = standard["dijet3"].expected
    counts = np.random.default_rng(8).poisson(expected + 60 * template.nominal, (25, expected.size))
    found = fit_toys(counts, part, standard, template, MASS, data.config)
    used = []
    for toy, row in enumerate(counts):
        point = scan(Spectrum(EDGES, row), [MASS], data.signal, data.config).points[0].row()
        assert found.signal_yield[toy] == pytest.approx(
            point["signal_yield"], abs=0.02 * point["signal_yield_error"]
        )
        assert found.error[toy] == pytest.approx(point["signal_yield_error"], rel=0.01)
        used.append(point["function"])
    assert found.functions == {name: used.count(name) for name in data.config.candidates}
    assert len(set(used)) > 1
    assert found.converged.all()


def test_the_choice_is_that_of_the_f_test():
    """On one toy in detail: functions fitted to it one by one."""
    data = inputs("auto", n_events=200_000, uncertainty_veto=False)
    fits = fit_candidates(data.spectrum, data.config.candidates)
    chosen = f_test(fits, MASS, uncertainty_veto=False).chosen.function
    template = data.signal.template(MASS, data.spectrum.edges)
    found = fit_toys(data.spectrum.counts[None, :], data.spectrum, fits, template, MASS, data.config)
    assert [name for name, number in found.functions.items() if number] == [chosen]


def test_the_order_of_the_candidates_decides_nothing():
    """Nor do two functions of equally many parameters: the F-test's choice is fitted, whatever stands beside it."""
    toys = BiasConfig(alternatives=("alternative1",), toys=30, injections=(0.0,), seed=2)
    (rising,), (falling,), (beside,) = (
        bias_study(inputs("auto", n_events=3000, candidates=candidates), toys)["pulls"]
        for candidates in ((2, 3, 4), (4, 3, 2), (2, 3, 4, "atlas5"))
    )
    assert len(rising["functions"]) > 1
    assert falling["functions"] == rising["functions"]
    assert falling["pull_mean"] == rising["pull_mean"]
    assert (
        beside["functions"] == rising["functions"]
    )  # of as many parameters as dijet4, which stands before it


def test_a_toy_whose_background_runs_away_is_given_to_a_smaller_function():
    """60 events and five shape parameters: second derivatives without an inverse."""
    document = read_json(Path(analysis.__file__).parent / "examples" / "spectrum.json")
    share = np.array(document["counts"]) / np.sum(document["counts"])
    few = np.random.default_rng(5).poisson(60 * share).tolist()
    changed = {"counts": few, "masses": [2500], "fit": {"candidates": [2, 3, 4, 5]}}
    thinned = document_inputs(SpectrumDocument.parse({**document, **changed}, "few"))
    (row,) = bias_study(thinned, BiasConfig(alternatives=("alternative1",), toys=50, injections=(0.0,)))[
        "pulls"
    ]
    assert (row["n_toys"], row["n_failed"]) == (50, 0)
    assert row["functions"]["dijet2"] > 40


def test_summary_of_pulls_by_hand():
    toys = FittedToys(
        np.array([12.0, 8.0, 100.0, 11.0, 3.0]), np.array([2.0, 2.0, 2.0, 2.0, np.nan]),
        np.array([True, True, True, True, False]), {"dijet2": 4, "dijet3": 0},
    )  # fmt: skip
    row = summarise(toys, 10.0, 5.0)
    assert (row["n_toys"], row["n_failed"], row["n_outliers"]) == (5, 1, 1)  # pulls 1, −1, 45, ½
    assert row["pull_mean"] == pytest.approx(1 / 6)
    assert row["pull_width"] == pytest.approx(np.std([1, -1, 0.5], ddof=1))
    assert row["pull_mean_error"] == pytest.approx(row["pull_width"] / np.sqrt(3))
    assert row["functions"] == {"dijet2": 4}
    none = summarise(toys, 1e6, 5.0)
    assert none["pull_mean"] is None
    assert none["n_outliers"] == 4


def test_few_events_are_fitted_too():
    result = bias_study(
        inputs(n_events=150, masses=(4000.0,)),
        BiasConfig(alternatives=("dijet2",), toys=100, injections=(0.0,)),
    )
    (row,) = result["pulls"]
    assert row["n_failed"] <= 2
    assert abs(row["pull_mean"]) < 0.6


def test_results_do_not_depend_on_threads_and_follow_the_seed():
    config = BiasConfig(alternatives=("alternative3",), toys=80, injections=(2.0,), seed=4)
    first = bias_study(inputs("auto"), config)
    assert bias_study(inputs("auto"), config, workers=2) == first
    other = bias_study(inputs("auto"), config.model_copy(update={"seed": 5}))
    assert other["pulls"][0]["pull_mean"] != first["pulls"][0]["pull_mean"]


def test_an_alternative_that_cannot_be_fitted_is_told(monkeypatch):
    import analysis.bias as module
    from analysis.f_test import FailedFit

    original = module.fit_candidates

    def without(part, candidates, **options):
        fits = original(part, candidates, **options)
        return fits | {"alternative4": FailedFit("alternative4", 2, "alternative4: ran away")}

    monkeypatch.setattr(module, "fit_candidates", without)
    config = BiasConfig(alternatives=("alternative3", "alternative4"), toys=10)
    result = bias_study(inputs(), config)
    assert result["alternatives"]["alternative4"]["message"] == "alternative4: ran away"
    assert {row["alternative"] for row in result["pulls"]} == {"alternative3"}
    with pytest.raises(
        FitError,
        match="none of the alternative functions could be fitted; choose others: alternative4: ran away",
    ):
        bias_study(inputs(), BiasConfig(alternatives=("alternative4",), toys=10))


def test_result_is_plain_and_drawn():
    steps = []
    result = bias_study(
        inputs(masses=(2600.0, 3000.0)),
        BiasConfig(toys=20),
        progress=lambda done, total: steps.append((done, total)),
    )
    plain = json.loads(json.dumps(result, allow_nan=False))
    BiasDocument.parse(plain, "bias.json")
    assert steps[-1] == (8, 8)
    assert set(result["alternatives"]) == {f"alternative{number}" for number in (1, 2, 3, 4)}
    figures = bias_figures(plain, PlotLabel())
    assert set(figures) == {"pulls", "spurious"}
    panels = figures["pulls"].axes
    assert len(panels) == 3
    drawn = [container for axes in panels for container in axes.containers]
    assert sum(len(container.lines[0].get_ydata()) for container in drawn) == len(plain["pulls"])
