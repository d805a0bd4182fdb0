"""Sources of systematic uncertainty: grouping, combination, quadrature, interpolation, by hand."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from analysis.systematics import (
    SourceShift,
    given_shift,
    interpolated_shifts,
    random_variation,
    source_shifts,
    statistical_shift,
    total,
)
from analysis.variation_sources import Source, combined_change, sources_of
from data.errors import InputError
from processors.corrections.config import CorrectionsConfig, variation_names

EDGES = np.arange(2000.0, 4001.0, 4.0)
PAIR = [Source("jes", "up_down", ("jes_up", "jes_down"))]


def spectrum(mean=3000.0, sigma=150.0, events=1000.0):
    return events * np.diff(norm.cdf(EDGES, mean, sigma))


def test_variations_of_the_corrections_become_sources():
    everything = CorrectionsConfig.parse(
        {
            "jes": {"relative_uncertainty": 0.01}, "jms": {"uncertainty": 0.01}, "scale": True, "prefiring": True,
            "parton_shower": True, "pdf": {"kind": "hessian"},
        },
        "test",
    )  # fmt: skip
    kinematic, weights = variation_names(everything, "simulation")
    found = sources_of([*kinematic, *weights], leave_out=["isr", "fsr"])
    assert [(source.name, source.kind) for source in found] == [
        ("jes", "up_down"), ("jms", "up_down"), ("prefiring", "up_down"), ("scales", "envelope"), ("pdf", "up_down"),
    ]  # fmt: skip
    assert found[0].members == ("jes_up", "jes_down")
    assert found[3].members == ("mur_up", "mur_down", "muf_up", "muf_down", "murf_up", "murf_down")


def test_ensembles_and_single_sides():
    names = ["nominal", *(f"lund_stat_{k}" for k in range(12)), "lund_unmatched", "member_1", "member_2"]
    found = {source.name: source for source in sources_of(names, {"member": "hessian"})}
    assert found["lund_stat"].kind == "toys"
    assert found["lund_stat"].members[10:] == ("lund_stat_10", "lund_stat_11")
    assert found["member"] == Source("member", "hessian", ("member_1", "member_2"))
    assert found["lund_unmatched"] == Source("lund_unmatched", "one_sided", ("lund_unmatched",))


@pytest.mark.parametrize(
    ("names", "keywords", "message"),
    [
        (["jes_up"], {}, r"signal X: variation 'jes_down' is missing beside 'jes_up'"),
        (["jes_down"], {}, r"variation 'jes_up' is missing"),
        (["toy_0", "toy_1", "toy_3"], {}, r"variation 'toy_2' is missing"),
        (["toy_0"], {}, r"variation 'toy_1' is missing"),
        (["jes_up", "jes_down", "jes"], {}, r"'jes' do not belong together"),
        (["jes_up", "jes_down"], {"leave_out": ["isr"]}, r"no source of uncertainty 'isr'; there are jes"),
        (["jes_up", "jes_down"], {"ensembles": {"pdf": "hessian"}}, r"no source of uncertainty 'pdf'"),
    ],
)
def test_incomplete_sources_are_named(names, keywords, message):
    with pytest.raises(InputError, match=message):
        sources_of(names, what="signal X", **keywords)


def test_combinations_by_hand():
    nominal = np.array([10.0, 20.0])
    varied = np.array([[11.0, 18.0], [8.0, 21.0], [13.0, 20.0]])

    def sides(kind, rows=3):
        return [side.tolist() for side in combined_change(kind, nominal, varied[:rows])]

    assert sides("up_down", 2) == [[1, -2], [-2, 1]]
    assert sides("one_sided", 1) == [[1, -2], [-1, 2]]
    assert sides("envelope") == [[3, 1], [-2, -2]]
    assert sides("envelope", 1) == [[1, 0], [0, -2]]
    hessian = [math.sqrt(1 + 4 + 9), math.sqrt(4 + 1)]
    assert sides("hessian")[0] == pytest.approx(hessian)
    deviation = [np.std([1, -2, 3], ddof=1), np.std([-2, 1, 0], ddof=1)]
    assert sides("replicas")[0] == pytest.approx(deviation)
    assert sides("toys")[0] == pytest.approx([2 / 3 + deviation[0], 1 / 3 + deviation[1]])
    assert sides("toys")[1] == pytest.approx([-2 / 3 - deviation[0], -1 / 3 - deviation[1]])


def test_a_shifted_gaussian_in_closed_form():
    spectra = {
        "nominal": spectrum(),
        "jes_up": spectrum(mean=3030),
        "jes_down": spectrum(mean=2970, events=950),
    }
    (shift,) = source_shifts(EDGES, spectra, PAIR)
    assert shift.up == pytest.approx(0, abs=1e-6)
    assert shift.down == pytest.approx(-0.05, abs=1e-6)
    assert shift.mean == pytest.approx(0.01, abs=1e-5)
    assert shift.width == pytest.approx(0, abs=1e-4)
    assert (shift.downward, shift.upward) == pytest.approx((0.05, 0), abs=1e-6)
    spectra = {"nominal": spectrum(), "jer_up": spectrum(sigma=165), "jer_down": spectrum(sigma=142.5)}
    (shift,) = source_shifts(EDGES, spectra, [Source("jer", "up_down", ("jer_up", "jer_down"))])
    assert shift.width == pytest.approx(0.1, rel=1e-3)


def test_events_that_leave_the_range_lower_the_yield():
    edges = EDGES[EDGES >= 2800]
    spectra = {
        name: np.diff(norm.cdf(edges, mean, 150))
        for name, mean in (("nominal", 3000), ("jes_up", 3030), ("jes_down", 2970))
    }
    (shift,) = source_shifts(edges, spectra, PAIR)
    inside = [norm.cdf(4000, mean, 150) - norm.cdf(2800, mean, 150) for mean in (3000, 3030, 2970)]
    assert shift.up == pytest.approx(inside[1] / inside[0] - 1)
    assert shift.down == pytest.approx(inside[2] / inside[0] - 1)


def test_a_missing_variation_or_signal_is_named():
    with pytest.raises(
        InputError, match=r"cwola_B3 of s3000: variation 'jes_down' is missing; fill the histograms"
    ):
        source_shifts(EDGES, {"nominal": spectrum(), "jes_up": spectrum()}, PAIR, what="cwola_B3 of s3000")
    with pytest.raises(InputError, match=r"no signal between 2000 and 4000 GeV"):
        source_shifts(EDGES, {"nominal": 0 * spectrum()}, [])


def test_statistics_are_those_of_effective_events():
    weight = np.array([0.5, 1.0, 2.0, 0.1])
    shift = statistical_shift(weight, weight**2)
    effective = weight.sum() ** 2 / (weight**2).sum()
    assert shift.down == -shift.up == pytest.approx(-1 / math.sqrt(effective))
    with pytest.raises(InputError, match="no signal is selected"):
        statistical_shift(np.zeros(3), np.zeros(3))


def test_random_variation_is_the_spread_about_the_mean():
    shift = random_variation([0.2, 0.25, 0.3, 0.22, 0.28])
    assert (shift.up, shift.down) == pytest.approx((0.2, -0.2))
    with pytest.raises(InputError, match="two efficiencies or more"):
        random_variation([0.2])


def test_downward_shifts_in_quadrature():
    shifts = [
        SourceShift("a", "up_down", 0.03, -0.04),
        SourceShift("b", "up_down", -0.12, 0.05),
        SourceShift("c", "up_down", 0.02, 0.01),  # both sides gain: nothing downwards
        given_shift("luminosity", 0.03),
    ]
    found = total(shifts)
    assert found.down == pytest.approx(0.13)  # 4, 12, 3 in quadrature
    assert found.up == pytest.approx(math.sqrt(0.03**2 + 0.05**2 + 0.02**2 + 0.03**2))
    assert total([]).down == 0
    with pytest.raises(InputError, match=r"'luminosity' = -0\.1"):
        given_shift("luminosity", -0.1)
    with pytest.raises(InputError, match=r"'a': .* must be finite"):
        SourceShift("a", "up_down", math.nan, 0.0)


def test_between_masses():
    def shifts(size, error):
        return [
            SourceShift("jes", "up_down", size, -2 * size),
            SourceShift("signal_statistics", "statistics", error, -error),
        ]

    by_mass = {2000.0: shifts(0.02, 0.03), 3000.0: shifts(0.04, 0.04), 5000.0: shifts(0.10, 0.1)}
    jes, statistics = interpolated_shifts(by_mass, 2500.0)
    assert (jes.up, jes.down) == pytest.approx((0.03, -0.06))
    assert (statistics.up, statistics.down) == pytest.approx((0.025, -0.025))
    assert interpolated_shifts(by_mass, 3500.0)[0].up == pytest.approx(0.055)
    assert interpolated_shifts(by_mass, 3000.0) == by_mass[3000.0]
    assert interpolated_shifts(by_mass, 1000.0) == by_mass[2000.0]
    assert interpolated_shifts(by_mass, 9000.0) == by_mass[5000.0]
    assert interpolated_shifts({2000.0: shifts(0.02, 0.03)}, 2500.0) == shifts(0.02, 0.03)
    with pytest.raises(InputError, match=r"signal of 3000 GeV lacks 'signal_statistics'"):
        interpolated_shifts(by_mass | {3000.0: shifts(0.1, 0.1)[:1]}, 2500.0)
    with pytest.raises(InputError, match="no simulated mass"):
        interpolated_shifts({}, 2500.0)
