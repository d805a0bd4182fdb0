"""Weights of the Lund-plane reweighting: by hand for jets of one and two splittings, variations, toys, normalisation."""

import math
from dataclasses import replace

import numpy as np
import pytest

from data.errors import InputError
from processors.lund_reweighting import (
    LundReweighter,
    event_products,
    nominal_tables,
    pt_toys,
    stat_toys,
    table_weights,
)
from processors.lund_reweighting_maps import Binning, RatioMaps
from processors.lund_reweighting_normalisation import geometric_mean, normalisation_of, toy_uncertainty
from processors.lund_reweighting_planes import measure_plane
from processors.lund_reweighting_prongs import Prongs, SubjetSplittings

SHAPE = (6, 20, 20)
A, B, C, D = (3, 7), (10, 10), (0, 19), (12, 3)  # bins of the plane


def cell(bin_):
    return 20 * bin_[0] + bin_[1]


def maps_of(values=None, **fields):
    """Maps of ratio 1 but for some bins (pT, x, y), without errors."""
    ratio = np.ones(SHAPE)
    for place, value in (values or {}).items():
        ratio[place] = value
    coefficients = np.zeros((20, 20, 3))
    coefficients[..., 0] = 1.0
    plain = RatioMaps(
        Binning(), "cambridge", ratio, np.zeros(SHAPE), ratio, ratio, coefficients, np.zeros((20, 20, 3, 3)), np.ones(6),
        np.ones(SHAPE), np.ones(SHAPE),
    )  # fmt: skip
    return replace(plain, **fields)


def subjets_of(*jets):
    """Jets given as lists of subjets (pT, bins, matched, bottom)."""
    flat = [subjet for jet in jets for subjet in jet]
    cells = [cell(b) if b is not None else -1 for subjet in flat for b in subjet[1]]
    lengths = [len(subjet[1]) for subjet in flat]
    return SubjetSplittings(
        np.array([len(jet) for jet in jets]),
        np.array([subjet[0] for subjet in flat], dtype=np.float64),
        np.array([subjet[2] if len(subjet) > 2 else True for subjet in flat], dtype=np.bool_),
        np.array([subjet[3] if len(subjet) > 3 else False for subjet in flat], dtype=np.bool_),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array(cells, dtype=np.int64),
    )


def prongs_of(nominal, more=None, fewer=None, more_jets=(), fewer_jets=(), unclustered=()):
    n_jets = len(nominal.counts)
    empty = subjets_of()
    flags = np.isin(np.arange(n_jets), unclustered)
    return Prongs(
        nominal, more or empty, fewer or empty, np.array(more_jets, dtype=np.int64),
        np.array(fewer_jets, dtype=np.int64), nominal.counts, flags, flags,
    )  # fmt: skip


def weights(jets, maps):
    return table_weights(jets, maps, nominal_tables(maps))[0].tolist()


def test_one_and_two_splittings_by_hand():
    maps = maps_of({(1, *A): 1.5, (1, *B): 0.8, (3, *A): 2.0})
    jets = subjets_of(
        [(70, [A])],
        [(70, [A, B])],
        [(70, [A, B]), (200, [A])],
        [(200, [B, None])],  # ratio 1, and a splitting that is not reweighted
        [(70, [])],
        [],
    )
    assert weights(jets, maps) == pytest.approx([1.5, 1.2, 2.4, 1, 1, 1])
    assert event_products(np.array([1.5, 2.0, 3.0, 4.0])).tolist() == [4.5, 8.0]


def test_each_factor_is_clipped_not_the_product():
    maps = maps_of({(1, *A): 7.0, (1, *B): 0.01, (1, *C): 4.0})
    jets = subjets_of([(70, [A])], [(70, [B])], [(70, [A, B])], [(70, [A, C])])
    assert weights(jets, maps) == pytest.approx([5, 0.2, 1, 20])


def test_subjets_that_belong_to_no_quark_do_not_count():
    maps = maps_of({(1, *A): 1.5})
    jets = subjets_of([(70, [A], False)], [(70, [A]), (70, [A], False)])
    assert weights(jets, maps) == pytest.approx([1, 1.5])


def test_beyond_the_measured_momenta_a_polynomial_gives_the_factor():
    coefficients = np.zeros((20, 20, 3))
    coefficients[..., 0] = 1.0
    coefficients[A] = [1.1, 8.0, 30.0]
    maps = maps_of({(0, *A): 3.0, (5, *A): 0.5}, coefficients=coefficients)
    jets = subjets_of([(14.9, [A])], [(15.0, [A])], [(350, [A])], [(351, [A])], [(400, [A, B])], [(2, [A])])

    def polynomial(pt):
        return 1.1 + 8 / pt + 30 / pt**2

    expected = [polynomial(14.9), 3, 0.5, polynomial(351), polynomial(400), 5]
    assert weights(jets, maps) == pytest.approx(expected)


def test_mean_weights_divide():
    maps = maps_of({(1, *A): 1.5}, mean_weight=np.array([2, 1.25, 1, 1, 1, 4.0]))
    jets = subjets_of([(70, [A])], [(70, [A]), (12, []), (600, [])])
    assert weights(jets, maps) == pytest.approx([1.2, 1.2 / 2 / 4])


def test_systematic_maps_move_the_extrapolation_with_the_nearest_bin():
    coefficients = np.zeros((20, 20, 3))
    coefficients[..., 0] = 1.0
    coefficients[A] = [2.0, 0.0, 0.0]
    base = maps_of({(1, *A): 1.5, (5, *A): 1.2}, coefficients=coefficients)
    up, down = base.ratio.copy(), base.ratio.copy()
    up[1, *A], down[1, *A], up[5, *A] = 1.8, 1.3, 1.5
    reweighter = LundReweighter(replace(base, up=up, down=down), ("sys",))
    prongs = prongs_of(subjets_of([(70, [A])], [(500, [A])], [(70, [B])]))
    varied = reweighter.varied(prongs)
    assert list(varied) == ["sys_up", "sys_down"]
    assert varied["sys_up"] == pytest.approx([1.8, 2.0 * 1.5 / 1.2, 1])
    assert varied["sys_down"] == pytest.approx([1.3, 2.0, 1])


def test_bottom_quarks():
    b_to_light = np.ones(SHAPE)
    b_to_light[1, *A], b_to_light[5, *A], b_to_light[1, *C] = 0.5, 0.8, 9.0
    maps = maps_of({(1, *A): 1.5}, b_to_light=b_to_light)
    jets = subjets_of(
        [(70, [A], True, True)], [(70, [A])], [(70, [A, C], True, True), (900, [A], True, True)]
    )
    varied = LundReweighter(maps, ("bquark",)).varied(prongs_of(jets))
    assert varied["bquark_up"] == pytest.approx([0.75, 1.5, 1.5 * 0.5 * 5 * 0.8])  # 9 is clipped
    assert varied["bquark_down"] == pytest.approx([3.0, 1.5, 1.5 / 0.5 / 5 / 0.8])


def test_other_numbers_of_prongs_and_jets_that_none_describes():
    maps = maps_of({(1, *A): 1.5, (1, *B): 2.0, (1, *C): 3.0})
    prongs = prongs_of(
        subjets_of([(70, [A])], [(70, [A]), (70, [A])], [(70, [])]),
        more=subjets_of([(70, [B]), (70, [])]),
        fewer=subjets_of([(70, [C])]),
        more_jets=[1],
        fewer_jets=[2],
        unclustered=[1],
    )
    varied = LundReweighter(maps, ("prongs", "unclust")).varied(prongs)
    assert varied["prongs_up"] == pytest.approx([1.5, 2.0, 1])
    assert varied["prongs_down"] == pytest.approx([1.5, 2.25, 3])
    assert varied["unclust_up"] == pytest.approx([1.5, 2.25 * 5, 1])
    assert varied["unclust_down"] == pytest.approx([1.5, 2.25 / 5, 1])


def test_distortion_is_the_ratio_of_the_planes():
    simulated, own = np.zeros(SHAPE), np.zeros(SHAPE)
    simulated[1, *A], own[1, *A] = 0.3, 0.2  # shares 0.15 and 0.1
    simulated[1, *B], own[1, *B] = 1.2, 0.2  # 6, clipped
    simulated[1, *C], own[1, *D] = 0.5, 1.6  # empty on one side
    simulated[2, *A], own[2, *A] = 0.3, 3.0  # the same shape, other numbers of splittings
    maps = maps_of({(1, *A): 2.0}, simulated=simulated)
    jets = subjets_of(
        [(70, [A])], [(70, [B])], [(70, [C, D])], [(70, [A], False)], [(120, [A, A])], [(200, [A])]
    )
    reweighter = LundReweighter(maps, ("distortion",), plane=own)
    assert reweighter.distortion(prongs_of(jets)) == pytest.approx([1.5, 5, 1, 1, 1, 1])
    varied = replace(reweighter, centre=0.8).varied(prongs_of(jets))
    factors = np.array([1.5, 5, 1, 1, 1, 1]) / 0.8
    nominal = np.array([2, 1, 1, 1, 1, 1])
    assert varied["distortion_up"] == pytest.approx(nominal * factors)
    assert varied["distortion_down"] == pytest.approx(nominal / factors)
    with pytest.raises(InputError, match="'distortion' needs the Lund plane of the sample"):
        LundReweighter(maps, ("distortion",)).varied(prongs_of(jets))


def test_distortion_far_from_the_maps_goes_both_ways():
    """Five splittings a jet instead of two, and other places: hardly a weight is clipped, and down is not "nothing"."""
    rng, n = np.random.default_rng(11), 4000
    rates = {A: 2.0, B: 1.5, C: 1.0, D: 0.5}
    simulated, own = np.zeros(SHAPE), np.zeros(SHAPE)
    for place, rate in rates.items():
        own[5, *place] = rate
    for place, rate in zip(rates, (0.4, 0.5, 0.6, 0.5), strict=True):
        simulated[5, *place] = rate
    numbers = rng.poisson(list(rates.values()), (n, 4))
    jets = subjets_of(
        *([(500, [p for p, k in zip(rates, row, strict=True) for _ in range(k)])] for row in numbers)
    )
    prongs, one = prongs_of(jets), np.ones(n)
    reweighter = LundReweighter(maps_of(simulated=simulated), ("distortion",), plane=own)
    raw = reweighter.distortion(prongs)
    centre = geometric_mean(raw[None], one)
    assert centre == pytest.approx(math.exp(np.log(raw).mean()))
    varied = replace(reweighter, centre=centre).varied(prongs)
    assert varied["distortion_up"] * varied["distortion_down"] == pytest.approx(1)
    moved = []
    for side in ("up", "down"):
        weights = varied[f"distortion_{side}"][None]
        assert np.mean(weights > 10) < 0.05
        made = normalisation_of(weights, one, one).apply(weights, one)[0]
        moved.append(np.average(numbers[:, 0], weights=made) - rates[A])
    assert moved[0] < -0.3  # fewer splittings where the maps' simulation has fewer
    assert moved[1] > 0.3


@pytest.mark.parametrize(("source", "key"), [("bquark", "b_to_light"), ("distortion", "simulated")])
def test_maps_that_lack_what_a_source_needs(source, key):
    with pytest.raises(InputError, match=f"no '{key}', which the source '{source}' needs; add it, or leave"):
        LundReweighter(maps_of(**{key: None}))
    LundReweighter(maps_of(**{key: None}), ("stat", "pt"))


def test_statistical_toys_have_the_errors_of_the_bins_and_share_them_between_jets():
    error = np.zeros(SHAPE)
    error[1, *A], error[2, *B] = 0.1, 1.0
    maps = maps_of({(1, *A): 1.5}, error=error)
    jets = subjets_of([(70, [A])], [(90, [A])], [(70, [A, A])], [(120, [B])], [(70, [B])])
    toys = table_weights(jets, maps, stat_toys(maps, 2000, 7))
    assert toys.shape == (2000, 5)
    assert toys[:, 0].mean() == pytest.approx(1.5, abs=5 * 0.1 / math.sqrt(2000))
    assert toys[:, 0].std() == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(toys[:, 0], toys[:, 1])  # one bin, one noise
    np.testing.assert_allclose(toys[:, 2], toys[:, 0] ** 2)
    assert toys[:, 3].min() == pytest.approx(0.2)  # an empty bin, 1 ± 1
    assert np.mean(toys[:, 3] > 1) == pytest.approx(0.5, abs=0.04)
    np.testing.assert_array_equal(toys[:, 4], 1.0)
    np.testing.assert_array_equal(toys, table_weights(jets, maps, stat_toys(maps, 2000, 7)))
    assert not np.array_equal(toys, table_weights(jets, maps, stat_toys(maps, 2000, 8)))


def test_toys_of_the_extrapolation_have_its_covariance():
    coefficients, covariance = np.zeros((20, 20, 3)), np.zeros((20, 20, 3, 3))
    coefficients[..., 0] = 1.0
    coefficients[A] = [1.0, 40.0, 0.0]
    covariance[A][:2, :2] = [[0.01, -1.5], [-1.5, 400.0]]
    maps = maps_of({(5, *A): 1.3}, coefficients=coefficients, covariance=covariance)
    jets = subjets_of([(400, [A])], [(1000, [A])], [(340, [A])], [(400, [B])])
    toys = table_weights(jets, maps, pt_toys(maps, 2000, 3))
    for jet, pt in ((0, 400), (1, 1000)):
        spread = math.sqrt(0.01 - 2 * 1.5 / pt + 400 / pt**2)
        assert toys[:, jet].mean() == pytest.approx(1 + 40 / pt, abs=5 * spread / math.sqrt(2000))
        assert toys[:, jet].std() == pytest.approx(spread, rel=0.1)
    np.testing.assert_array_equal(toys[:, 2], 1.3)  # measured: not extrapolated
    np.testing.assert_array_equal(toys[:, 3], 1.0)


def test_sources_are_those_asked_for():
    prongs = prongs_of(subjets_of([(70, [A])]))
    every = LundReweighter(maps_of(), toys=3, plane=np.ones(SHAPE))
    assert {source: toys.shape for source, toys in every.toy_weights(prongs).items()} == {
        "stat": (3, 1),
        "pt": (3, 1),
    }
    stems = ["sys", "bquark", "prongs", "unclust", "distortion"]
    assert list(every.varied(prongs)) == [f"{stem}_{side}" for stem in stems for side in ("up", "down")]
    some = LundReweighter(maps_of(), ("pt", "unclust"), toys=2)
    assert list(some.toy_weights(prongs)) == ["pt"]
    assert list(some.varied(prongs)) == ["unclust_up", "unclust_down"]
    assert some.nominal(prongs).tolist() == [1.0]


def test_normalisation_by_hand():
    """Clipped to 10, over the mean, clipped from below to 0.1, over the mean again."""
    raw = np.array([[40.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    event = np.array([1.0, 2.0, 1.0, 2.0])
    mean = (10 + 2 * 1 + 0 + 2 * 1) / 6
    once = [10 / mean, 1 / mean, 0.1, 1 / mean]
    again = np.dot(once, event) / 6
    pt = np.array([300.0, 400, 500, 600])
    made = normalisation_of(raw, event, pt)
    np.testing.assert_allclose(made.apply(raw, pt), [np.array(once) / again, np.ones(4)])
    np.testing.assert_allclose(made.apply(raw, pt) @ event, [6, 6])
    np.testing.assert_allclose(made.only(0).apply(np.array([[2.0]]), pt[:1]), [[2 / mean / again]])


def test_normalisation_may_keep_the_spectrum_of_momenta():
    rng = np.random.default_rng(5)
    pt = rng.uniform(300, 1000, 3000)
    event = rng.uniform(0.5, 1.5, 3000)
    raw = np.stack([rng.lognormal(0, 0.5, 3000) * pt / 500, rng.lognormal(0, 0.2, 3000)])
    whole, kept = (normalisation_of(raw, event, pt, keep_pt_spectrum=keep) for keep in (False, True))
    edges = np.quantile(pt, np.linspace(0, 1, 21))
    edges[-1] += 1
    before = np.histogram(pt, edges, weights=event)[0]
    for row in (0, 1):
        same = np.histogram(pt, edges, weights=event * kept.apply(raw, pt)[row])[0]
        np.testing.assert_allclose(same, before)
    moved = np.histogram(pt, edges, weights=event * whole.apply(raw, pt)[0])[0]
    assert abs(moved / before - 1).max() > 0.3
    assert moved.sum() == pytest.approx(before.sum())
    few = normalisation_of(raw[:, :150], event[:150], pt[:150], keep_pt_spectrum=True)
    assert len(few.pt_edges) == 0  # too few events for bins


@pytest.mark.parametrize(
    ("event", "message"),
    [([], "no event to normalise"), ([1.0, -2.0], "is not positive"), ([2.0, -1.0], "is not positive")],
)
def test_samples_that_have_no_mean_weight(event, message):
    raw = np.array([[1.0, 5.0]])[:, : len(event)]
    with pytest.raises(InputError, match=message):
        normalisation_of(raw, np.array(event), np.full(len(event), 500.0))


def test_geometric_mean_of_jets_of_weighted_events():
    jets = np.array([[2.0, 1.0, 0.5], [8.0, 1.0, 32.0]])  # two jets of three events: 4, 1 and 4
    mean = 4 ** (3 / 4)
    assert geometric_mean(jets, np.array([2.0, 1.0, -1.0])) == pytest.approx(mean)
    assert geometric_mean(1 / jets, np.array([2.0, 1.0, -1.0])) == pytest.approx(1 / mean)


def test_uncertainty_of_toys():
    toys = [[1.0, 4.0], [3.0, 4.0]]
    np.testing.assert_allclose(toy_uncertainty(np.array([1.0, 3.0]), toys), [1 + math.sqrt(2), 1.0])


def test_plane_of_weighted_subjets_by_hand():
    jets = subjets_of([(70, [A, A, B]), (80, [])], [(70, [A], False)], [(70, [B, None]), (500, [C])])
    plane = measure_plane(jets, Binning(), np.array([1.0, 10.0, 2.0]))
    assert plane.subjets.tolist() == [0, 4, 0, 0, 0, 2]
    assert plane.splittings[1, *A] == 2
    assert plane.variance[1, *B] == 1 + 4
    assert plane.density[1, *B] == pytest.approx(3 / 4)
    assert plane.density[5, *C] == 1
    assert plane.density.sum() == pytest.approx(2 / 4 + 3 / 4 + 1)
    assert plane.mean_pt[[0, 1, 5]].tolist() == pytest.approx([1, (70 + 80 + 2 * 70) / 4, 500])
