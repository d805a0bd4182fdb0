"""Making of ratio maps: a planted ratio comes back, errors are those of pseudo-experiments; and their JSON document."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import f as f_distribution

from data.errors import InputError
from processors.lund_reweighting import nominal_tables, table_weights
from processors.lund_reweighting_making import JetSample, fit_extrapolation, make_ratio_maps
from processors.lund_reweighting_maps import Binning, read_ratio_maps, write_ratio_maps
from processors.lund_reweighting_planes import measure_plane
from processors.lund_reweighting_prongs import SubjetSplittings

CELLS = np.array([20 * x + y for x, y in ((3, 7), (10, 10), (12, 3), (5, 14), (15, 5))])
RATE = np.array([0.5, 0.8, 0.3, 1.0, 0.2])  # splittings a subjet


def toy_sample(rng, n_jets, ratio=1.0, pt=None, weights=None):
    """Jets of two subjets whose splittings are Poisson in each of five cells: ``ratio`` × RATE."""
    n = 2 * n_jets
    pt = rng.choice([30.0, 80.0, 140.0, 200.0, 270.0, 330.0], n) if pt is None else np.full(n, pt)
    made = rng.poisson(np.broadcast_to(RATE * ratio, (n, 5)))
    cells = np.concatenate([np.repeat(CELLS, row) for row in made])
    offsets = np.concatenate([[0], np.cumsum(made.sum(axis=1))])
    every = np.ones(n, dtype=np.bool_)
    subjets = SubjetSplittings(np.full(n_jets, 2), pt, every, ~every, offsets, cells)
    return JetSample(subjets, weights)


def at_cells(table):
    return table.reshape(*table.shape[:-2], 400)[..., CELLS]


def test_planted_ratios_come_back_exactly():
    """The same jets as data, each splitting weighted by what the bin is to have."""
    rng = np.random.default_rng(1)
    simulation = toy_sample(rng, 3000)
    planted = rng.uniform(0.5, 2.0, (6, 400))
    # data: the splittings of simulation, repeated 1 … 4 times by cell and bin of pT, each subjet once
    subjets = simulation.subjets
    times = np.where(planted > 1.25, 4, np.where(planted > 1, 3, np.where(planted > 0.75, 2, 1)))
    plane = Binning().planes(subjets.pt)
    owner = np.repeat(np.arange(len(subjets.pt)), np.diff(subjets.offsets))
    repeats = times[plane[owner], subjets.cells]
    lengths = np.bincount(owner, weights=repeats, minlength=len(subjets.pt)).astype(np.int64)
    data = JetSample(
        SubjetSplittings(
            subjets.counts, subjets.pt, subjets.matched, subjets.bottom, np.concatenate([[0], np.cumsum(lengths)]),
            np.repeat(subjets.cells, repeats),
        )
    )  # fmt: skip
    maps = make_ratio_maps(data, simulation)
    np.testing.assert_allclose(at_cells(maps.ratio), times[:, CELLS], rtol=1e-12)
    empty = np.ones((6, 400), dtype=np.bool_)
    empty[:, CELLS] = False
    assert np.all(maps.ratio.reshape(6, 400)[empty] == 1)
    assert np.all(maps.error.reshape(6, 400)[empty] == 1)
    np.testing.assert_array_equal(maps.up, maps.ratio)
    products = np.array([math.prod(row) for row in np.split(repeats, subjets.offsets[1:-1])])
    means = np.bincount(plane, weights=products) / np.bincount(plane)
    np.testing.assert_allclose(maps.mean_weight, means, rtol=1e-12)
    assert make_ratio_maps(data, simulation, divide_by_mean=False).mean_weight.tolist() == [1] * 6


def test_reweighting_takes_simulation_to_data():
    """Poisson splittings: the product of ratios, normalised to mean 1, is the ratio of the probabilities itself."""
    rng = np.random.default_rng(2)
    ratio = np.array([1.4, 0.7, 1.0, 1.3, 0.5])
    simulation, data = toy_sample(rng, 20_000), toy_sample(rng, 20_000, ratio)
    maps = make_ratio_maps(data, simulation)
    pulls = (at_cells(maps.ratio) - ratio) / at_cells(maps.error)
    assert abs(pulls.mean()) < 0.5
    assert 0.7 < pulls.std() < 1.35
    np.testing.assert_allclose(maps.mean_weight, math.exp(RATE @ (ratio - 1)), rtol=0.05)
    fresh, target = toy_sample(rng, 20_000), toy_sample(rng, 20_000, ratio)
    weights = table_weights(fresh.subjets, maps, nominal_tables(maps))[0]
    assert weights.mean() == pytest.approx(1, abs=0.03)

    def spectrum(sample, weights):
        number = np.diff(sample.subjets.offsets).reshape(-1, 2).sum(axis=1)
        return np.bincount(number, weights=weights, minlength=30)[:14]

    one, scaled = np.ones(20_000), weights / weights.mean()
    seen, before, after = spectrum(target, one), spectrum(fresh, one), spectrum(fresh, scaled)
    errors = np.sqrt(seen + spectrum(fresh, scaled**2))
    assert np.square((after - seen) / errors).sum() < 2 * 14
    assert np.square((before - seen) / errors).sum() > 5 * 14


def test_more_prongs_are_no_more_probable_in_data():
    """Data radiate more by 40 %: jets of four prongs gain no more weight than those of one."""
    rng = np.random.default_rng(9)
    maps = make_ratio_maps(toy_sample(rng, 20_000, 1.4), toy_sample(rng, 20_000))
    subjets = toy_sample(rng, 20_000).subjets
    one = table_weights(replace(subjets, counts=np.full(40_000, 1)), maps, nominal_tables(maps))[0]
    four = table_weights(replace(subjets, counts=np.full(10_000, 4)), maps, nominal_tables(maps))[0]
    assert one.mean() == pytest.approx(1, abs=0.02)
    assert four.mean() == pytest.approx(1, abs=0.1)


def test_background_is_subtracted_and_weights_count():
    rng = np.random.default_rng(3)
    simulation = toy_sample(rng, 4000, weights=rng.uniform(0.5, 1.5, 4000))
    background = toy_sample(rng, 3000, 2.5, weights=np.full(3000, 0.4))
    one, other = simulation.subjets, background.subjets
    # data: simulation and background themselves, with their weights
    mixed = JetSample(
        SubjetSplittings(
            np.concatenate([one.counts, other.counts]), np.concatenate([one.pt, other.pt]),
            np.concatenate([one.matched, other.matched]), np.concatenate([one.bottom, other.bottom]),
            np.concatenate([one.offsets, one.offsets[-1] + other.offsets[1:]]), np.concatenate([one.cells, other.cells]),
        ),
        np.concatenate([simulation.weights, background.weights]),
    )  # fmt: skip
    maps = make_ratio_maps(mixed, simulation, background)
    np.testing.assert_allclose(at_cells(maps.ratio), 1, rtol=1e-9)
    assert at_cells(make_ratio_maps(mixed, simulation).ratio).min() > 1.05
    above = measure_plane(mixed.subjets, Binning(), mixed.weights)
    below = measure_plane(simulation.subjets, Binning(), simulation.weights)
    less = measure_plane(background.subjets, Binning(), background.weights)
    by_hand = np.sqrt(
        at_cells(above.variance + less.variance) / at_cells(below.splittings) ** 2
        + at_cells(below.variance) / at_cells(below.splittings) ** 2
    )
    np.testing.assert_allclose(at_cells(maps.error), by_hand, rtol=1e-9)
    swamped = make_ratio_maps(
        toy_sample(rng, 100), simulation, toy_sample(rng, 50, np.array([9, 9, 9, 9, 0.1]))
    )
    assert np.all(at_cells(swamped.ratio)[:, :4] == 1)  # less than nothing is an empty bin
    assert np.all(at_cells(swamped.error)[:, :4] == 1)
    assert np.all(at_cells(swamped.ratio)[:, 4] > 1)


def test_errors_are_the_spread_of_pseudo_experiments():
    rng = np.random.default_rng(4)
    made = [
        make_ratio_maps(toy_sample(rng, 800, 1.3, pt=80.0), toy_sample(rng, 1600, pt=80.0)) for _ in range(60)
    ]
    spread = np.std([at_cells(maps.ratio)[1] for maps in made], axis=0, ddof=1)
    np.testing.assert_allclose(at_cells(made[0].error)[1], spread, rtol=0.35)
    assert np.mean(at_cells(made[0].error)[1] / spread) == pytest.approx(1, abs=0.15)


def test_systematic_variations_add_in_quadrature():
    rng = np.random.default_rng(5)
    data, plain = toy_sample(rng, 2000), toy_sample(rng, 2000)
    number = np.diff(plain.subjets.offsets).reshape(-1, 2).sum(axis=1)
    tilted = 1 + 0.1 * (number - number.mean())
    flat = np.ones(2000)
    varied = {"a": (tilted, flat), "b": (tilted, 2 - tilted), "scale": (2 * flat, flat / 2)}
    maps = make_ratio_maps(data, JetSample(plain.subjets, flat, varied))
    shifted = make_ratio_maps(data, JetSample(plain.subjets, tilted))
    other = make_ratio_maps(data, JetSample(plain.subjets, 2 - tilted))
    one, two = (at_cells(m.ratio) - at_cells(maps.ratio) for m in (shifted, other))
    highest, lowest = np.maximum(np.maximum(one, two), 0), np.minimum(np.minimum(one, two), 0)
    up = np.sqrt(np.maximum(one, 0) ** 2 + highest**2)
    down = np.sqrt(np.minimum(one, 0) ** 2 + lowest**2)
    assert down.max() > 0.01
    np.testing.assert_allclose(at_cells(maps.up) - at_cells(maps.ratio), up, atol=1e-12)
    np.testing.assert_allclose(at_cells(maps.ratio) - at_cells(maps.down), down, atol=1e-12)


def test_flavour_ratio_and_plane_of_the_simulation():
    rng = np.random.default_rng(6)
    simulation = toy_sample(rng, 1000)
    bottom, light = toy_sample(rng, 20_000, 1.5, pt=200.0), toy_sample(rng, 20_000, pt=200.0)
    maps = make_ratio_maps(toy_sample(rng, 1000), simulation, bottom=bottom, light=light)
    np.testing.assert_allclose(at_cells(maps.b_to_light)[3], 1.5, rtol=0.06)
    assert np.all(maps.b_to_light[0] == 1)
    np.testing.assert_array_equal(maps.simulated, measure_plane(simulation.subjets, Binning()).density)
    assert make_ratio_maps(simulation, simulation).b_to_light is None


@pytest.mark.parametrize(
    ("truth", "order"), [((1.2, 0, 0), 0), ((0.8, 40.0, 0), 1), ((1.0, -60.0, 2500.0), 2)]
)
def test_the_extrapolation_has_the_order_that_f_tests_choose(truth, order):
    x = 1 / np.array([40.0, 85.0, 140.0, 205.0, 270.0, 400.0])
    error = np.full((6, 1, 1), 0.01)
    wiggle = 0.004 * np.array([1, -1, 0.5, -1, 1, -0.5])
    y = truth[0] + truth[1] * x + truth[2] * x**2 + wiggle
    coefficients, covariance = fit_extrapolation(
        y.reshape(6, 1, 1), error, np.ones((6, 1, 1), dtype=bool), 1 / x
    )
    assert np.count_nonzero(coefficients[0, 0]) == order + 1
    by_numpy, cov = np.polynomial.polynomial.polyfit(x, y, order), covariance[0, 0][: order + 1, : order + 1]
    np.testing.assert_allclose(coefficients[0, 0][: order + 1], by_numpy, rtol=1e-6)
    design = np.vander(x, order + 1, increasing=True) / 0.01
    np.testing.assert_allclose(cov, np.linalg.inv(design.T @ design), rtol=1e-6)
    assert not covariance[0, 0][order + 1 :].any()
    # the next order that is left out gains too little
    if order < 2:
        chi2 = [
            np.sum((np.polynomial.polynomial.Polynomial.fit(x, y, k)(x) - y) ** 2) for k in (order, order + 1)
        ]
        assert f_distribution.sf((chi2[0] - chi2[1]) / (chi2[1] / (6 - order - 2)), 1, 6 - order - 2) > 0.05


def test_extrapolation_from_one_bin_and_from_none():
    filled = np.array([True, False]).reshape(2, 1, 1)
    values, errors, pt = (
        np.array([1.3, 1.0]).reshape(2, 1, 1),
        np.full((2, 1, 1), 0.2),
        np.array([50.0, 100.0]),
    )
    coefficients, covariance = fit_extrapolation(values, errors, filled, pt)
    assert coefficients[0, 0].tolist() == pytest.approx([1.3, 0, 0])
    assert covariance[0, 0, 0, 0] == pytest.approx(0.04)
    coefficients, covariance = fit_extrapolation(values, errors, np.zeros_like(filled), pt)
    assert coefficients[0, 0].tolist() == [1, 0, 0]
    assert covariance[0, 0, 0, 0] == 1


def test_samples_that_make_no_maps():
    rng = np.random.default_rng(7)
    sample = toy_sample(rng, 50)
    with pytest.raises(InputError, match="simulation: no subjet in any bin of pT"):
        make_ratio_maps(sample, JetSample(sample.subjets, np.zeros(50)))
    with pytest.raises(InputError, match="data less background: no subjet"):
        make_ratio_maps(sample, sample, sample)
    with pytest.raises(InputError, match="no bin of the plane has splittings both of data"):
        make_ratio_maps(toy_sample(rng, 50, pt=30.0), toy_sample(rng, 50, pt=80.0))
    with pytest.raises(
        InputError, match=r"weights has shape \(3,\): give one finite weight for each of the 50"
    ):
        JetSample(sample.subjets, np.ones(3))
    with pytest.raises(InputError, match=r"varied\['a'\] down has shape \(50,\): give one finite"):
        JetSample(sample.subjets, None, {"a": (np.ones(50), np.full(50, np.nan))})


@pytest.fixture
def document(tmp_path):
    rng = np.random.default_rng(8)
    bottom = toy_sample(rng, 200, 1.2)
    maps = make_ratio_maps(
        toy_sample(rng, 300, 1.2), toy_sample(rng, 300), bottom=bottom, light=bottom, history="kt",
        description="toys",
    )  # fmt: skip
    path = tmp_path / "maps.json"
    write_ratio_maps(path, maps)
    return path, maps


def test_maps_survive_the_document(document):
    path, maps = document
    read = read_ratio_maps(path)
    assert (read.binning, read.history, read.description) == (maps.binning, "kt", "toys")
    tables = (
        "ratio",
        "error",
        "up",
        "down",
        "coefficients",
        "covariance",
        "mean_weight",
        "b_to_light",
        "simulated",
    )
    for name in tables:
        np.testing.assert_array_equal(getattr(read, name), getattr(maps, name))
    before = path.read_bytes()
    write_ratio_maps(path, read)
    assert path.read_bytes() == before


def test_what_may_be_left_out_of_the_document(document):
    path, _ = document
    content = json.loads(path.read_text())
    for key in ("b_to_light", "simulated", "mean_weight", "history", "description", "pt_edges"):
        del content[key]
    content["ratio"][2][3][4] = content["error"][2][3][4] = None
    path.write_text(json.dumps(content))
    read = read_ratio_maps(path)
    assert read.b_to_light is read.simulated is None
    assert read.mean_weight.tolist() == [1] * 6
    assert (read.history, read.ratio[2, 3, 4], read.error[2, 3, 4]) == ("cambridge", 1, 1)


def edited(change):
    def edit(content):
        change(content)
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: "{", "maps.json: not valid JSON .*"),
        (lambda content: "[]", "expected a mapping of keys to values, found list"),
        (edited(lambda c: c.update(format="x")), "key 'format' is 'x', not 'oddjet Lund-plane ratio maps 1'"),
        (edited(lambda c: c.update(ratios=[])), "unknown key 'ratios'; did you mean 'ratio'"),
        (edited(lambda c: c.pop("error")), "key 'error': missing, and it has no default"),
        (edited(lambda c: c.update(history="antikt")), "key 'history': expected 'cambridge' or 'kt'"),
        (edited(lambda c: c["ratio"].pop()), "key 'ratio' holds 5 × 20 × 20 numbers where the edges make 6 × 20 × 20"),
        (edited(lambda c: c["up"][1][1].pop()), "key 'up' holds rows of different lengths where the edges make 6 × 20"),
        (edited(lambda c: c.update(ratio=[])), "key 'ratio' holds 0 numbers where the edges make 6 × 20 × 20"),
        (edited(lambda c: c["ratio"][0][0].__setitem__(0, "1.0")), "key 'ratio.0.0.0'"),
        (edited(lambda c: c["ratio"][0][0].append(c["ratio"][0][0].pop() > -1)), "key 'ratio.0.0.19'"),
        (lambda content: json.dumps(content).replace("{", '{"history": "kt", ', 1), "the key 'history' stands twice"),
        (
            edited(lambda c: c["extrapolation"]["covariance"][3].__setitem__(7, [[1, 1.0000004, 0], [1.0000011, 1, 0], [0, 0, 1]])),
            r"'extrapolation.covariance' is no covariance in bin \[3\]\[7\]",
        ),
        (edited(lambda c: c["ratio"][0][0].__setitem__(0, -0.5)), "key 'ratio.0.0.0': .* greater than or equal to 0"),
        (edited(lambda c: c["ratio"][0][0].__setitem__(0, math.inf)), "key 'ratio.0.0.0': .* finite number"),
        (edited(lambda c: c.update(pt_edges=[10, 65, 60, 175, 240, 300])), "key 'pt_edges': edges must ascend"),
        (
            edited(lambda c: c["extrapolation"].update(pt_range=[350, 15])),
            "key 'extrapolation': pt_range .* must be two ascending numbers above 0",
        ),
        (
            edited(lambda c: c["extrapolation"]["covariance"][3][7][0].__setitem__(1, 99.0)),
            r"'extrapolation.covariance' is no covariance in bin \[3\]\[7\]",
        ),
        (
            edited(lambda c: c["extrapolation"]["covariance"][3][7][0].__setitem__(0, -1.0)),
            r"'extrapolation.covariance' is no covariance in bin \[3\]\[7\]",
        ),
    ],
)  # fmt: skip
def test_documents_that_are_wrong(document, edit, message):
    path, _ = document
    path.write_text(edit(json.loads(path.read_text())))
    with pytest.raises(InputError, match=message) as error:
        read_ratio_maps(path)
    assert "maps.json" in str(error.value)


def test_a_document_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none.json: cannot be read \(No such file"):
        read_ratio_maps(tmp_path / "none.json")
