"""The spectrum file: every key, and the message for every wrong one."""

import json

import numpy as np
import pytest

from analysis.scan_inputs import document_inputs
from analysis.spectrum import Spectrum
from analysis.spectrum_document import MassRange, SpectrumDocument, mass_key
from data.errors import ConfigError, InputError

SHAPE = {"mean": 2990, "sigma": 150, "alpha_low": 1.2, "n_low": 5, "alpha_high": 1.5, "n_high": 10}
TEMPLATE = {"edges": [2900, 3000, 3100], "values": [1, 2]}
COUNTS = np.round(4000 * np.exp(-np.arange(40) / 4)).astype(int).tolist()


def document(**changes):
    content = {"edges": {"lo": 2000, "width": 100, "n": 40}, "counts": COUNTS, "masses": [3000]}
    return {**content, **changes}


def parse(**changes):
    return SpectrumDocument.parse(document(**changes), "s.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maases": [1]}, r"unknown key 'maases'; did you mean 'masses'\?"),
        ({"globl": {}}, r"unknown key 'globl'; did you mean 'global'\?"),
        ({"edges": [1, "x"]}, r"key 'edges.1': expected a number, found \"x\""),
        ({"edges": {"lo": 1, "width": 2, "n": "3"}}, r"key 'edges.n': expected a number, found \"3\""),
        ({"counts": ["3", 1]}, r"key 'counts.0': expected a number, found \"3\"; write it without quotes"),
        ({"counts": [3, True]}, r"key 'counts.1': expected a number, found true"),
        ({"masses": ["2000"]}, r"key 'masses.0': expected a number"),
        ({"sqrt_s": "13000"}, r"key 'sqrt_s': expected a number"),
        ({"signal": {"2000": SHAPE, "3000": {"template": TEMPLATE}}}, r"key 'signal': some masses have a shape and some a template"),
        ({"fit": {"range": [1, 2, 3]}}, r"key 'fit.range': expected at most 2 entries, found 3"),
        ({"edges": {"lo": 1, "widht": 2, "n": 3}}, r"unknown key 'edges.widht'; did you mean 'width'\?"),
        ({"edges": {"lo": 1, "width": 2, "n": 0}}, r"key 'edges.n': .* greater than or equal to 1"),
        ({"counts": [1, "many"]}, r"key 'counts.1'"),
        ({"counts": None}, r"key 'counts'"),
        ({"masses": [2500, 2500]}, r"key 'masses': the mass 2500 stands twice"),
        ({"masses": [-5]}, r"key 'masses.0': .*greater than 0"),
        ({"signal": {"shape": "gauss"}}, r"key 'signal.shape': expected 'double_crystal_ball', found gauss"),
        ({"signal": {"shape": "double_crystal_ball", "sigma_over_mas": 1}}, r"unknown key 'signal.sigma_over_mas'; did you mean 'sigma_over_mass'"),
        ({"signal": {"2000": {**SHAPE, "n_low": 0.5}}}, r"key 'signal.2000.n_low': .*greater than 1"),
        ({"signal": {"2000": {"mean": 1}}}, r"key 'signal.2000.sigma': missing, and it has no default"),
        ({"signal": {"heavy": SHAPE}}, r"'heavy' is not a mass in GeV"),
        ({"signal": {}}, r"key 'signal': expected at least 1 entry, found 0"),
        ({"signal": {"template": {"edges": [1, 2]}}}, r"key 'signal.template.values': missing, and it has no default"),
        ({"fit": {"range": "serch"}}, r"key 'fit.range'.*'search'"),
        ({"fit": {"candidates": []}}, r"key 'fit.candidates'"),
        ({"fit": {"functoin": "auto"}}, r"unknown key 'fit.functoin'; did you mean 'function'"),
        ({"calculator": "exact"}, r"key 'calculator'"),
        ({"global": {"masses": {"lo": 3, "hi": 1, "step": 1}}}, r"key 'global.masses': hi = 1 GeV lies below lo = 3 GeV"),
        ({"global": {"masses": {"lo": 1, "hi": 3, "step": 0}}}, r"key 'global.masses.step'"),
        ({"sqrt_s": 0}, r"key 'sqrt_s'"),
    ],
)  # fmt: skip
def test_wrong_keys_are_named(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse(**changes)
    several = "missing, and it has no default" in message or "unknown key" in message  # one line a key
    assert several or "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"counts": [5, -1]}, InputError, r"count -1 in bin 2100–2200 GeV is negative"),
        ({"counts": [5, 1.5]}, InputError, r"count 1.5 in bin 2100–2200 GeV is not a whole number"),
        ({"counts": [1e17]}, InputError, r"too large to be exact"),
        ({"counts": [1] * 41}, InputError, r"41 edges need 40 counts, found 41"),
        ({"counts": []}, InputError, r"no events between 2000 and 6000 GeV"),
        ({"edges": [2000, 2200, 2100], "counts": [5, 1]}, InputError, r"2200 GeV is followed by 2100 GeV; sort"),
        ({"coarse_edges": [3000, 2000]}, InputError, r"coarse_edges must increase"),
        ({"masses": []}, ConfigError, r'no mass to test; add a key "masses"'),
        ({"fit": {"range": [3000, 2000]}}, ConfigError, r"fit.range \[3000, 2000\] does not rise"),
        ({"fit": {"range": [1000, 5000]}}, ConfigError, r"reaches beyond the spectrum, 2000–6000 GeV"),
        ({"fit": {"function": "dijet9"}}, ConfigError, r"function 'dijet9' is unknown; known functions: dijet2, "),
        ({"fit": {"candidates": [2, 9]}}, ConfigError, r"function 'dijet9'"),
    ],
)  # fmt: skip
def test_wrong_numbers_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        document_inputs(parse(**changes))


def test_trailing_zeros_may_be_left_out():
    short = document_inputs(parse(counts=COUNTS[:20])).spectrum
    full = document_inputs(parse(counts=COUNTS[:20] + [0] * 20)).spectrum
    assert np.array_equal(short.counts, full.counts)
    assert short.hi == 6000


def test_the_fit_range_is_the_whole_spectrum_unless_given():
    config = document_inputs(parse()).config
    assert (config.fit_start, config.fit_stop) == (2000, 6000)
    config = document_inputs(parse(fit={"range": [2100, 5000]})).config
    assert (config.fit_start, config.fit_stop) == (2100, 5000)


def test_options_reach_the_scan():
    inputs = document_inputs(
        parse(
            fit={"function": "mine", "candidates": [2, "dijet4"], "uncertainty_veto": False, "nuisances": True,
                 "own_functions": {"mine": {"expression": "exp(-a*x)/x**b", "start": {"a": 1.0, "b": 5.0}}}},
            calculator="toys", sqrt_s=14000, seed=7,
        ),
        limits=False,
    )  # fmt: skip
    config = inputs.config
    assert config.function == "mine"
    assert config.background("mine").n_shape == 2
    assert config.candidates == ("dijet2", "dijet4")
    assert (config.uncertainty_veto, config.nuisances, config.limits) == (False, True, False)
    assert (config.calculator, config.sqrt_s, config.seed) == ("toys", 14000, 7)


def test_all_ways_to_write_a_signal_give_the_same_template():
    edges = np.arange(2000.0, 6001.0, 100.0)
    generic = {"shape": "double_crystal_ball", "mean_over_mass": 2990 / 3000, "sigma_over_mass": 0.05,
               **{key: SHAPE[key] for key in ("alpha_low", "n_low", "alpha_high", "n_high")}}  # fmt: skip
    first = document_inputs(parse(signal=generic)).signal.template(3000.0, edges).nominal
    by_mass = document_inputs(parse(signal={"3000": SHAPE})).signal.template(3000.0, edges).nominal
    histogram = {"template": {"edges": {"lo": 2000, "width": 100, "n": 40}, "values": (1e6 * first).tolist()}}
    alone = document_inputs(parse(signal=histogram)).signal.template(3000.0, edges).nominal
    of_mass = document_inputs(parse(signal={"3000": histogram})).signal.template(3000.0, edges).nominal
    assert first.sum() == pytest.approx(1.0)
    for other in (by_mass, alone, of_mass):
        assert other == pytest.approx(first, abs=1e-9)


def test_mass_ranges_hold_both_ends():
    assert MassRange(lo=1800, hi=2000, step=50).masses() == (1800, 1850, 1900, 1950, 2000)
    assert MassRange(lo=0.1, hi=0.3, step=0.1).masses() == pytest.approx((0.1, 0.2, 0.3))
    assert MassRange(lo=1800, hi=1890, step=50).masses() == (1800, 1850)


def test_masses_as_keys():
    assert mass_key(2000.0) == "2000"
    assert mass_key(2000.5) == "2000.5"
    assert mass_key(12345.675) == "12345.675"


def test_a_spectrum_reads_its_part_of_the_file(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(document(coarse_edges=[2000, 3000, 6000], bumphunter=True)))
    spectrum = Spectrum.from_json(path)
    assert spectrum.n_events == sum(COUNTS)
    assert spectrum.coarse_edges.tolist() == [2000, 3000, 6000]
