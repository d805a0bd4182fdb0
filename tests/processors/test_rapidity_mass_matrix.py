import runpy
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError, InputError
from processors.rapidity_mass_matrix import (
    cell_names,
    compact_index,
    rapidity_mass_matrix,
    reduced_index,
)

BENCH = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_rmm.py"))
toy_events, plain_matrix = BENCH["toy_events"], BENCH["plain_matrix"]
KINDS = ("jets", "bjets", "muons", "electrons", "photons")
SQRT_S = 13000.0


def events(*, met=((0.0, 0.0),), **objects):
    """Events of lists of (pt, eta, phi, mass) a type; types not given are empty."""
    names = ("pt", "eta", "phi", "mass")
    empty = ak.zip({name: ak.Array([[0.0]] * len(met))[:, :0] for name in names})
    found = dict.fromkeys(KINDS, empty)
    for kind, lists in objects.items():
        records = ak.Array([[dict(zip(names, map(float, o), strict=True)) for o in event] for event in lists])
        found[kind] = records if ak.fields(records) else empty
    return found | {"met": ak.Array([{"pt": float(pt), "phi": float(phi)} for pt, phi in met])}


def cells(objects, **options):
    """The full matrix of the first event by the names of its non-zero cells, float64, without angular scale."""
    options = {"sqrt_s": 1000.0, "angular_scale": 1.0, "dtype": np.float64} | options
    matrix = rapidity_mass_matrix(objects, **options)[0]
    return dict(zip(cell_names(options.get("n"))[matrix != 0].tolist(), matrix[matrix != 0], strict=True))


def test_every_element_of_an_event_worked_out_by_hand():
    # jets: massless, pT 300 at y = 0 and pT 100 at y = ln 2 (cosh = 1.25), a right angle apart in azimuth;
    # muon: massless, pT 50, y = ln 4 (cosh = 2.125), opposite to the first jet; MET 40 along the second jet
    objects = events(
        jets=[[(100, np.log(2), np.pi / 2, 0), (300, 0, 0, 0)]],
        muons=[[(50, np.log(4), np.pi, 0)]],
        met=[(40, np.pi / 2)],
    )

    def half(cosh):  # cosh(x / 2) − 1 from cosh x
        return np.sqrt((1 + cosh) / 2) - 1

    expected = {
        "met": 40,
        "mt(j1)": np.sqrt(2 * 300 * 40),  # 2 pT MET (1 − cos Δφ), cos = 0
        "mt(mu1)": np.sqrt(2 * 50 * 40),
        "et(j1)": 300,
        "et(mu1)": 50,
        "m(j1,j2)": np.sqrt(2 * 300 * 100 * 1.25),  # 2 pT pT (cosh Δη − cos Δφ)
        "m(j1,mu1)": np.sqrt(2 * 300 * 50 * (2.125 + 1)),
        "m(j2,mu1)": np.sqrt(2 * 100 * 50 * 1.25),  # Δη = ln 4 − ln 2
    }
    expected = {name: value / 1000 for name, value in expected.items()} | {
        "det(j2)": (300 - 100) / (300 + 100),
        "hl(j2)": 0.25,
        "hl(mu1)": 1.125,
        "h(j1,j2)": half(1.25),
        "h(j1,mu1)": half(2.125),
        "h(j2,mu1)": half(1.25),
    }  # mt(j2) is 0: along the MET
    assert cells(objects) == pytest.approx(expected, rel=1e-12)


def test_massive_objects():
    # a jet of pT 30 and mass 40 at y = 0: E = 50 = m_T, E_T = E (no p_z); a b jet of mass 120, pT 50, p_z 0: E = 130
    objects = events(jets=[[(30, 0, 0, 40)]], bjets=[[(50, 0, np.pi, 120)]], met=[(10, np.pi)])
    expected = {
        "met": 10,
        "et(j1)": 50,
        "et(b1)": 130,
        "m(j1,b1)": np.sqrt((50 + 130) ** 2 - (30 - 50) ** 2),
        "mt(j1)": np.sqrt((50 + 10) ** 2 - (30 - 10) ** 2),
        "mt(b1)": np.sqrt((130 + 10) ** 2 - (50 + 10) ** 2),
    }
    assert cells(objects) == pytest.approx({k: v / 1000 for k, v in expected.items()}, rel=1e-12)
    # E sin θ and the rapidity of a moving massive jet: pT 3, p_z 4, m 12: |p| = 5, E = 13
    moving = cells(events(jets=[[(3, np.arcsinh(4 / 3), 0, 12)]]))
    assert moving["et(j1)"] == pytest.approx(13 * 3 / 5 / 1000, rel=1e-12)
    y = 0.5 * np.log((13 + 4) / (13 - 4))
    assert moving["hl(j1)"] == pytest.approx(np.cosh(y) - 1, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_agrees_with_plain_formulas_in_numpy(scale):
    objects = toy_events(300, seed=7, scale=scale)
    slots = dict.fromkeys(KINDS, 10)
    matrix = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, dtype=np.float64)
    assert matrix.shape == (300, 51, 51)
    np.testing.assert_allclose(
        matrix, plain_matrix(objects, sqrt_s=SQRT_S, slots=slots), rtol=1e-7, atol=1e-9
    )
    single = rapidity_mass_matrix(objects, sqrt_s=SQRT_S)
    assert single.dtype == np.float32
    assert np.array_equal(single, matrix.astype(np.float32))


def test_fewer_slots_and_unequal_ones():
    objects = toy_events(100, seed=3, scale=2.0)
    slots = {"jets": 4, "bjets": 1, "muons": 2, "electrons": 3, "photons": 1}
    matrix = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, n=slots, dtype=np.float64)
    np.testing.assert_allclose(
        matrix, plain_matrix(objects, sqrt_s=SQRT_S, slots=slots), rtol=1e-7, atol=1e-9
    )


def test_light_collinear_pairs_lose_no_digits():
    # m² = 2 m² + 2 (m_T² cosh Δy − pT²): two muons 10⁻⁶ apart; E² − p² has no digit left of it
    m, pt, angle = 0.1056583755, 500.0, 1e-6
    found = cells(events(muons=[[(pt, 0.0, 0.0, m), (pt, 0.0, angle, m)]]), sqrt_s=1.0)
    assert found["m(mu1,mu2)"] == pytest.approx(np.sqrt(4 * m**2 + (pt * angle) ** 2), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-7, 7))
def test_rotation_in_azimuth_changes_nothing(seed, angle):
    objects = toy_events(3, seed=seed)
    turned = {k: ak.with_field(o, o.phi + angle, "phi") for k, o in objects.items()}
    options = {"sqrt_s": SQRT_S, "dtype": np.float64}
    np.testing.assert_allclose(
        rapidity_mass_matrix(turned, **options),
        rapidity_mass_matrix(objects, **options),
        rtol=1e-6,
        atol=1e-10,
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1.0, 1.0))
def test_boost_along_the_beam_leaves_masses_and_rapidity_differences(seed, rapidity):
    objects = toy_events(3, seed=seed)
    massless = {k: ak.with_field(o, o.pt * 0, "mass") if k in KINDS else o for k, o in objects.items()}
    boosted = {k: ak.with_field(o, o.eta + rapidity, "eta") if k in KINDS else o for k, o in massless.items()}
    names = cell_names()
    same = np.char.find(names, "hl") < 0  # for massless objects E_T = pT does not change either
    before, after = (
        rapidity_mass_matrix(o, sqrt_s=SQRT_S, dtype=np.float64)[:, same] for o in (massless, boosted)
    )
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_the_input_does_not_matter(seed):
    objects = toy_events(3, seed=seed)
    shuffled = {k: o[:, ::-1] if k in KINDS else o for k, o in objects.items()}
    one, other = (rapidity_mass_matrix(o, sqrt_s=SQRT_S) for o in (objects, shuffled))
    assert np.array_equal(one, other)


def test_objects_are_sorted_by_transverse_energy_and_the_softest_dropped():
    jets = [(30 + 10 * k, 0.1 * k, k, 0.0) for k in range(12)]
    found = cells(events(jets=[jets]))
    assert found["et(j1)"] == pytest.approx(0.140)
    assert found["det(j10)"] == pytest.approx(10 / (60 + 50))  # 30 and 40 GeV have no slot
    assert not [name for name in found if "j11" in name]
    # the heavier of two jets of one pT has more transverse energy
    found = cells(events(jets=[[(30, 0, 0, 0), (30, 0, 1, 40)]]))
    assert found["et(j1)"] == pytest.approx(0.050)
    assert found["det(j2)"] == pytest.approx(20 / 80)


def test_empty_events_are_zero_and_no_event_gives_no_row():
    matrix = rapidity_mass_matrix(events(met=[(0, 0), (50, 1)]), sqrt_s=SQRT_S)
    assert not matrix[0].any()
    assert matrix[1, 0, 0] == np.float32(50 / SQRT_S)
    assert np.count_nonzero(matrix[1]) == 1
    nothing = {k: o[:0] for k, o in toy_events(3, seed=1).items()}
    for form, shape in (("full", (0, 51, 51)), ("reduced", (0, 1287)), ("compact", (0, 46))):
        assert rapidity_mass_matrix(nothing, sqrt_s=SQRT_S, form=form).shape == shape


def test_without_missing_momentum_there_is_no_transverse_mass():
    found = cells(events(jets=[[(30, 0, 0, 40)]]))
    assert set(found) == {"et(j1)"}


def test_angular_scale_is_for_cells_below_the_diagonal():
    objects = toy_events(20, seed=5)
    plain, scaled = (
        rapidity_mass_matrix(objects, sqrt_s=SQRT_S, angular_scale=a, dtype=np.float64) for a in (1.0, 0.15)
    )
    below = np.tril(np.ones((51, 51), dtype=bool), k=-1)
    np.testing.assert_allclose(scaled[:, below], 0.15 * plain[:, below], rtol=1e-14)
    assert np.array_equal(scaled[:, ~below], plain[:, ~below])


def test_reduced_form_is_the_matrix_without_the_nine_masses():
    # arXiv:2307.01612: 1287 inputs; m(jj), m(jb), m(jμ), m(je), m(jγ), m(bb), m(bμ), m(be), m(bγ) are left out
    objects = toy_events(50, seed=9, scale=2.0)
    reduced = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, form="reduced")
    names = reduced_index()
    assert reduced.shape == (50, 1287)
    assert len(set(names)) == 1287
    slots = {"jets": 10, "bjets": 10, "muons": 5, "electrons": 5, "photons": 5}
    every = cell_names(slots).ravel().tolist()
    leading = ("mu1", "e1", "g1")
    searched = {"m(j1,j2)", "m(j1,b1)", "m(b1,b2)"} | {
        f"m({jet},{x})" for jet in ("j1", "b1") for x in leading
    }
    assert set(every) - set(names) == searched
    assert [name for name in every if name not in searched] == list(names)
    matrix = dict(
        zip(cell_names().ravel(), rapidity_mass_matrix(objects, sqrt_s=SQRT_S).reshape(50, -1).T, strict=True)
    )
    for k, name in enumerate(names):
        assert np.array_equal(reduced[:, k], matrix[name]), name


def test_compact_form_is_one_number_a_zone():
    # the 46 zones of arXiv:2602.17563, made here from the names of the cells
    objects = toy_events(40, seed=11, scale=2.0)
    matrix = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, dtype=np.float64)
    zone_of = {"et": "et", "det": "et", "mt": "t", "hl": "l", "h": "h", "m": "m"}
    zones = np.array([["met"] + [""] * 50] + [[""] * 51] * 50, dtype="U10")
    for (i, k), name in np.ndenumerate(cell_names()):
        if name != "met":
            quantity, rest = name[:-1].split("(")
            zones[i, k] = f"{zone_of[quantity]}({','.join(o.rstrip('0123456789') for o in rest.split(','))})"
    assert set(zones.ravel()) == set(compact_index())
    assert len(compact_index()) == 46
    frobenius = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, form="compact", dtype=np.float64)
    sums = rapidity_mass_matrix(objects, sqrt_s=SQRT_S, form="compact", aggregate="sum", dtype=np.float64)
    for k, zone in enumerate(compact_index()):
        inside = matrix[:, zones == zone]
        np.testing.assert_allclose(
            frobenius[:, k], np.sqrt((inside**2).sum(axis=1)), rtol=1e-12, err_msg=zone
        )
        np.testing.assert_allclose(sums[:, k], inside.sum(axis=1), rtol=1e-12, err_msg=zone)


def test_compact_form_by_hand():
    objects = events(jets=[[(300, 0, 0, 0), (100, 0, np.pi, 0)]], photons=[[(80, 0, np.pi / 2, 0)]])
    found = rapidity_mass_matrix(objects, sqrt_s=1000.0, form="compact", dtype=np.float64)[0]
    named = {name: value for name, value in zip(compact_index(), found, strict=True) if value}
    assert named == pytest.approx(
        {
            "et(j)": np.hypot(0.3, 200 / 400),
            "et(g)": 0.08,
            "m(j,j)": np.sqrt(4 * 300 * 100) / 1000,
            "m(j,g)": np.sqrt(2 * 300 * 80 + 2 * 100 * 80) / 1000,
        },
        rel=1e-12,
    )


def test_float32_input_and_negative_mass():
    objects = toy_events(20, seed=13)
    float32 = {
        k: ak.zip({f: ak.values_astype(o[f], np.float32) for f in ak.fields(o)}) for k, o in objects.items()
    }
    np.testing.assert_allclose(
        rapidity_mass_matrix(float32, sqrt_s=SQRT_S),
        rapidity_mass_matrix(objects, sqrt_s=SQRT_S),
        rtol=1e-4,
        atol=1e-6,
    )
    light = [cells(events(jets=[[(30, 1, 0, m), (40, 0, 1, m)]], met=[(9, 2)])) for m in (0.0, -0.01)]
    assert light[0] == light[1]  # CMS packs masses so


@pytest.mark.parametrize(
    ("muon", "message"),
    [
        ((np.nan, 0, 0, 0), "pt number 1 of the muons in event 2 is nan"),
        ((5, np.inf, 0, 0), "eta number 1 of the muons in event 2 is inf"),
        ((5, 60, 0, 0), "eta number 1 of the muons in event 2 is 60"),
        ((0, 0, 0, 0), "pt number 1 of the muons in event 2 is 0: drop the object or the event"),
        ((-5, 0, 0, 0), "pt number 1 of the muons in event 2 is -5"),
        ((5, 0, 0, np.nan), "mass number 1 of the muons in event 2 is nan"),
    ],
)
def test_bad_objects_are_named(muon, message):
    good = (50, 0, 0, 0)
    objects = events(muons=[[good], [], [good, muon], [good]], met=[(0, 0)] * 4)
    with pytest.raises(InputError, match=message):
        rapidity_mass_matrix(objects, sqrt_s=SQRT_S)


def test_wrong_arrays_say_what_is_missing():
    objects = toy_events(3, seed=1)
    with pytest.raises(InputError, match="objects have no photons: give an empty list"):
        rapidity_mass_matrix({k: o for k, o in objects.items() if k != "photons"}, sqrt_s=SQRT_S)
    with pytest.raises(InputError, match="muons hold 2 events, the missing momentum 3"):
        rapidity_mass_matrix(objects | {"muons": objects["muons"][:2]}, sqrt_s=SQRT_S)
    with pytest.raises(InputError, match="jets have no field 'mass', only pt, eta, phi"):
        rapidity_mass_matrix(objects | {"jets": objects["jets"][["pt", "eta", "phi"]]}, sqrt_s=SQRT_S)
    missing = ak.zip({"pt": [1.0, -2.0, 3.0], "phi": [0.0, 0.0, 0.0]})
    with pytest.raises(InputError, match="pt number 0 of the missing momenta in event 1 is -2"):
        rapidity_mass_matrix(objects | {"met": missing}, sqrt_s=SQRT_S)
    none = ak.Array([[{"pt": 5.0, "eta": None, "phi": 0.0, "mass": 0.0}], [], []])
    with pytest.raises(InputError, match="eta number 0 of the photons in event 0 is nan"):
        rapidity_mass_matrix(objects | {"photons": none}, sqrt_s=SQRT_S)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sqrt_s": 0.0}, "sqrt_s = 0.0 must be a positive"),
        ({"angular_scale": -1.0}, "angular_scale = -1.0 must be a positive"),
        ({"n": 0}, "n = 0 must be an integer from 1 to 100"),
        ({"n": 2.5}, "n = 2.5 must be"),
        ({"n": {"jets": 3}}, "or one for each of jets, bjets, muons, electrons, photons"),
        ({"n": 1, "form": "reduced"}, "must have two jets and two bjets"),
        ({"form": "half"}, "form = 'half' must be 'full', 'reduced' or 'compact'"),
        ({"aggregate": "mean"}, "aggregate = 'mean' must be 'frobenius' or 'sum'"),
        ({"dtype": np.int64}, "must be float32 or float64"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        rapidity_mass_matrix(toy_events(1, seed=0), **({"sqrt_s": SQRT_S} | options))
