"""Uncertainties of the signal in a run: from varied histograms to the limits' normalisation."""

import logging
import math

import numpy as np
import pytest

from analysis.config import Config
from analysis.run_systematics import (
    UncertainSignal,
    common_shifts,
    selection_systematics,
)
from analysis.search import analyse_run
from analysis.signal_shape import SignalModel
from analysis.spectra import Spectra, expected_events, resonance_mass
from analysis.spectrum import Spectrum
from analysis.systematics_config import check_sources
from data.errors import ConfigError, InputError
from data.files import read_json
from data.samples import Sample, year
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj

VARIATIONS = ("nominal", "jes_up", "jes_down", "mur_up", "mur_down")
SCALE = {
    "nominal": 1.0,
    "jes_up": 1 + 1 / 32,
    "jes_down": 1 - 3 / 64,
    "mur_up": 1.125,
    "mur_down": 1 - 1 / 16,
}
# Of powers of two, so that sums of weights are exact.


def sample(mass, **facts):
    given = {
        "name": f"s{mass:g}",
        "kind": "simulation",
        "process": "xyy",
        "year": "2018",
        "files": {},
        "mass": mass,
    }
    return Sample(**given, **facts)


DATA = Sample(name="mock", kind="data", process="data", year="2018", files={})
SIGNALS = [sample(2500.0), sample(3500.0)]
MASSES = {"s2500": 2500.0, "s3500": 3500.0}


def histogram(mass, *, events=100, variations=VARIATIONS, selected=True, shift=1.0):
    """``events`` events of weight 0.5 at each of four masses about a mean; the scale of variations is that above."""
    found = empty_histograms(["xyy"], ["cwola_B3"], variations=variations)["mjj"]
    mjj = np.repeat(mass * np.array([0.95, 0.99, 1.01, 1.05]), events)
    for name in variations:
        size = 1 + shift * (SCALE.get(name, 1.0) - 1)
        table = {"mjj": mjj, "region": np.zeros(mjj.size), "weight": np.full(mjj.size, 0.5 * size)}
        for selection in ("inclusive", "cwola_B3") if selected else ("inclusive",):
            votes = np.full(mjj.size, 1, dtype=np.int64)
            fill_mjj(found, table, "xyy", selection, votes, variation=name)
    return found


def spectra(**keywords):
    low, high = (histogram(s.mass, **keywords) for s in SIGNALS)
    return Spectra({SIGNALS[0].name: low, SIGNALS[1].name: high})


def config(*, nuisances=False, **systematics):
    return Config.parse(
        {
            "run": {"output": "out"}, "samples": "s.yaml", "search": {"data": "mock"}, "systematics": systematics,
            "scan": {"masses": [3000], "fit_start": 2000, "nuisances": nuisances},
        },
        "test",
    )  # fmt: skip


def spectrum():
    edges = np.arange(1200.0, 14001.0, 4.0)
    return Spectrum(edges, np.where(edges[:-1] < 6000, 10, 0))


def uncertainties(masses=(3000.0,), signals=SIGNALS, made=None, **options):
    return selection_systematics(
        spectra() if made is None else made, signals, "cwola_B3", masses, spectrum(), config(**options), DATA
    )


def test_shifts_of_a_selection_by_hand():
    found = uncertainties()
    (one,) = found.masses
    assert one.signals == ("s2500", "s3500")
    assert one.fit_ends == (2000, 6008)  # the last filled bin + 5 GeV, snapped up
    shifts = {shift.name: (shift.up, shift.down) for shift in one.shifts}
    assert list(shifts) == ["jes", "scales", "signal_statistics", "luminosity"]
    assert shifts["jes"] == pytest.approx((1 / 32, -3 / 64))
    assert shifts["scales"] == pytest.approx((1 / 8, -1 / 16))
    # 400 events each, halfway between: 1/√400/√2.
    assert shifts["signal_statistics"] == pytest.approx((0.05 / math.sqrt(2), -0.05 / math.sqrt(2)))
    assert shifts["luminosity"] == (0.025, -0.025)
    down = math.sqrt((3 / 64) ** 2 + 1 / 16**2 + 0.05**2 / 2 + 0.025**2)
    assert found.norm == {3000.0: pytest.approx(down)}
    assert [entry.mass for entry in found.signals] == [2500, 3500]
    assert found.signals[0].total.down == pytest.approx(
        math.sqrt((3 / 64) ** 2 + 1 / 16**2 + 0.05**2 + 0.025**2)
    )
    document = found.to_dict()["masses"][0]
    assert document["down"] == pytest.approx(down)
    assert document["sources"][0] == {
        "name": "jes", "kind": "up_down", "up": pytest.approx(1 / 32), "down": pytest.approx(-3 / 64),
        "mean": pytest.approx(0, abs=1e-12), "width": pytest.approx(0, abs=1e-12), "retrained": False,
    }  # fmt: skip


def test_only_the_neighbours_of_a_mass_count():
    made = Spectra({"s2500": histogram(2500.0), "s3500": histogram(3500.0, shift=2.0)})
    found = uncertainties((2200.0, 2500.0, 2750.0, 4000.0), made=made)
    assert [one.signals for one in found.masses] == [("s2500",), ("s2500",), ("s2500", "s3500"), ("s3500",)]
    assert [one.shifts[0].up for one in found.masses] == pytest.approx([1 / 32, 1 / 32, 5 / 128, 1 / 16])


def test_events_outside_the_fit_range_do_not_count():
    made = spectra()
    found = uncertainties((2100.0,), made=made)
    # 2500 · 0.95 = 2375 GeV is the lowest; from 2400 GeV on three of four are left.
    narrow = selection_systematics(
        made, SIGNALS[:1], "cwola_B3", [2500.0], spectrum(),
        config().model_copy(update={"scan": config().scan.model_copy(update={"fit_start": 2400.0})}), DATA,
    )  # fmt: skip
    statistics = [next(s.up for s in f.masses[0].shifts if s.kind == "statistics") for f in (found, narrow)]
    assert statistics == pytest.approx([1 / 20, 1 / math.sqrt(300)])


def test_without_signals_there_is_what_all_share():
    found = uncertainties(signals=[], luminosity=0.016, further={"random_variations": 0.12})
    assert found.norm == {3000.0: pytest.approx(math.hypot(0.016, 0.12))}
    assert found.signals == ()
    assert [shift.name for shift in common_shifts(config().systematics, DATA)] == ["luminosity"]
    assert year("2018").luminosity_uncertainty == 0.025


def test_sources_left_out():
    found = uncertainties(leave_out=["scales"])
    assert [shift.name for shift in found.masses[0].shifts] == ["jes", "signal_statistics", "luminosity"]


def test_variations_of_one_signal_only_are_refused():
    made = Spectra({"s2500": histogram(2500.0), "s3500": histogram(3500.0, variations=VARIATIONS[:3])})
    with pytest.raises(InputError, match=r"the signal of 3500 GeV lacks 'scales'"):
        uncertainties(made=made)
    assert uncertainties(made=made, leave_out=["scales"]).norm
    with pytest.raises(
        InputError, match=r"selection 'cwola_B3' of signal 's2500': variation 'jes_down' is missing"
    ):
        uncertainties(made=spectra(variations=VARIATIONS[:2]))


def test_where_no_signal_is_selected_nothing_is_known(caplog):
    made = spectra(selected=False)
    with caplog.at_level(logging.WARNING, logger="oddjet"):
        assert uncertainties(made=made).norm == {}
    assert "selection 'cwola_B3', 3000 GeV: nothing of signal 's2500' is selected" in caplog.text
    with pytest.raises(
        InputError, match=r"3000 GeV: nothing of signal 's2500' is selected, so it has no uncertainty"
    ):
        uncertainties(made=made, nuisances=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"leave_out": ["isr"]},
            r"systematics.leave_out: there is no source of uncertainty 'isr'; .* jes, scales",
        ),
        (
            {"ensembles": {"pdf": "hessian"}},
            r"systematics.ensembles: there is no source of uncertainty 'pdf'",
        ),
        ({"further": {"jes": 0.1}}, r"systematics.further: 'jes' is a source of the signals already"),
    ],
)
def test_sources_that_are_not_there_are_refused(options, message):
    def check(**options):
        variations = {signal.name: VARIATIONS for signal in SIGNALS}
        check_sources(config(**options).systematics, variations, MASSES, [3000.0], "search.yaml")

    with pytest.raises(ConfigError, match=f"search.yaml: {message}"):
        check(**options)
    check(leave_out=["jes"], further={"jes": 0.1})


def test_masses_between_signals_of_other_sources_are_refused():
    def check(masses, **options):
        variations = {"s3500": VARIATIONS[:3], "s2500": VARIATIONS}
        check_sources(config(**options).systematics, variations, MASSES, masses, "search.yaml")

    with pytest.raises(
        ConfigError, match=r"signal 's3500' has no uncertainty 'scales' and 's2500' has.* at 3000 GeV between"
    ):
        check([2500.0, 3000.0])
    check([2000.0, 2500.0, 3500.0, 4000.0])
    check([3000.0], leave_out=["scales"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"further": {"luminosity": 0.1}},
            r"'systematics.further': 'luminosity' is counted already.*set systematics.luminosity",
        ),
        ({"further": {"x": -0.1}}, r"'x' = -0.1; give a relative uncertainty"),
        ({"jes": 1.0}, "systematics.jes"),
        ({"jess": 0.1}, "did you mean 'jes'"),
        ({"ensembles": {"pdf": "gauss"}}, "systematics.ensembles.pdf"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        config(**options)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run folder with the histograms of 20,000 events of background and of a varied signal."""
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(8)
    made = empty_histograms(["data"], [])["mjj"]
    mjj = 2000 * (1 + rng.pareto(8.0, 20_000))
    mjj = mjj[mjj < 7000]
    table = {"mjj": mjj, "region": np.zeros(mjj.size), "weight": np.ones(mjj.size)}
    fill_mjj(made, table, "data", "inclusive", np.ones(mjj.size, dtype=np.int64))
    write_histograms(root / "histograms" / "mock.h5", {"mjj": made})
    made = empty_histograms(["xyy"], [], variations=VARIATIONS)["mjj"]
    mjj = rng.normal(3000, 150, 4000)
    for name in VARIATIONS:
        table = {"mjj": mjj, "region": np.zeros(mjj.size), "weight": np.full(mjj.size, SCALE[name])}
        fill_mjj(made, table, "xyy", "inclusive", np.ones(mjj.size, dtype=np.int64), variation=name)
    write_histograms(root / "histograms" / "s3000.h5", {"mjj": made})
    return root


def run_scan(root, *, nuisances):
    options = {
        "run": {"output": str(root)}, "samples": "s.yaml", "search": {"data": "mock", "signals": ["s3000"]},
        "systematics": {"further": {"tagging": 0.3}},
        "scan": {"masses": [3000], "fit_start": 2000, "nuisances": nuisances, "minuit": False, "function": "dijet3"},
    }  # fmt: skip
    samples = {"mock": DATA, "s3000": sample(3000.0, cross_section_pb=0.001)}
    analyse_run(root, Config.parse(options, "test"), samples)
    (row,) = read_json(root / "scan.json")["selections"]["inclusive"]
    return row, read_json(root / "systematics.json")


def test_uncertainties_enter_the_limits_of_a_run(searched):
    plain, document = run_scan(searched, nuisances=False)
    assert document["in_limits"] is False
    uncertain, document = run_scan(searched, nuisances=True)
    assert document["in_limits"] is True
    (one,) = document["selections"]["inclusive"]["masses"]
    size = math.sqrt((3 / 64) ** 2 + 1 / 16**2 + 1 / 4000 + 0.025**2 + 0.3**2)
    assert one["down"] == pytest.approx(size)
    assert plain["signal_uncertainty"] == uncertain["signal_uncertainty"] == one["down"]
    assert plain["valid"]
    assert uncertain["valid"]
    # A normalisation known to 31 % weakens the expected limit, by some 5 to 30 %; nuisances alone cannot strengthen it.
    ratio = uncertain["limit_expected"][2] / plain["limit_expected"][2]
    assert 1.03 < ratio < 1.4
    assert uncertain["z"] == pytest.approx(plain["z"], abs=0.3)


def test_the_signal_carries_the_uncertainties_into_a_fit():
    model = SignalModel.generic()
    edges = np.arange(2000.0, 6001.0, 4.0)
    signal = UncertainSignal(model, jes=0.02, jer=0.0, norm={3000.0: 0.2})
    plain = signal.template(3000.0, edges)
    assert plain.nuisances == ()
    assert np.array_equal(plain.nominal, model.template(3000.0, edges).nominal)
    uncertain = signal.template(3000.0, edges, nuisances=True)
    assert uncertain.nuisances == ("jes", "signal_norm")
    assert uncertain.norm_uncertainty == 0.2
    assert np.array_equal(
        uncertain.shifts[0].up, model.template(3000.0, edges, nuisances=True, jes=0.02).shifts[0].up
    )
    assert signal.template(3100.0, edges, nuisances=True).norm_uncertainty == 0
    assert signal.width(3000.0) == pytest.approx(150)


def test_histograms_that_do_not_serve_are_told():
    made = spectra()
    with pytest.raises(
        InputError, match=r"histograms/s2500\.h5: no selection 'tnt_B3'; run `oddjet hist` again"
    ):
        made.contents(SIGNALS[0], "tnt_B3")
    histogram_below = histogram(2500.0)
    histogram_below.view(flow=True)["value"][0, 0, 0, 0, 0] = 1.0
    told = r"sample 's2500', selection 'inclusive': events outside 1200–14000 GeV; check mjj"
    with pytest.raises(InputError, match=told):
        Spectra({"s2500": histogram_below}).contents(SIGNALS[0], "inclusive")


def test_signals_without_mass_or_cross_section_are_told():
    with pytest.raises(InputError, match=r"sample 's2500' has no 'cross_section_pb'; add it"):
        expected_events(SIGNALS[0])
    with pytest.raises(
        InputError, match=r"signal sample 'mock' has no 'mass'; add the resonance mass in GeV"
    ):
        resonance_mass(DATA)
