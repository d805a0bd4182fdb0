import gzip
import json
from bisect import bisect_right
from dataclasses import fields

import correctionlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from data.errors import InputError
from processors.corrections import kinematics
from processors.corrections.config import CorrectionsConfig, variation_names
from processors.corrections.kinematics import JetInputs, random_normals, smearing_factors, varied_jets

TAG = "AK4PFPuppi"
MC, JR = "Summer22_22Sep2023_V3_MC", "Summer22_22Sep2023_JRV1_MC"


def parse(**sections):
    return CorrectionsConfig.parse(sections, "search.yaml")


def make_jets(n=1, source="", **columns):
    base = {
        "pt": np.full(n, 100.0),
        "eta": np.zeros(n),
        "phi": np.zeros(n),
        "m": np.full(n, 80.0),
        "run": np.full(n, 1, dtype=np.uint32),
        "luminosity_block": np.full(n, 2, dtype=np.uint32),
        "event": np.arange(n, dtype=np.uint64) // 2,
        "number": np.arange(n) % 2,
    }
    columns = {name: np.asarray(values) for name, values in columns.items()}
    return JetInputs(**(base | columns), source=source)


def rows(jets, chosen):
    columns = {entry.name: getattr(jets, entry.name) for entry in fields(jets) if entry.name != "source"}
    return JetInputs(**{name: None if values is None else values[chosen] for name, values in columns.items()})


def random_jets(n, seed=1):
    rng = np.random.default_rng(seed)
    gen_pt = np.where(rng.random(n) < 0.3, np.nan, rng.uniform(50, 1000, n))
    columns = {
        "pt": np.where(np.isnan(gen_pt), rng.uniform(50, 1000, n), gen_pt * rng.normal(1, 0.05, n)),
        "eta": rng.uniform(-2.4, 2.4, n),
        "phi": rng.uniform(-np.pi, np.pi, n),
        "m": rng.uniform(0, 200, n),
        "raw_factor": rng.uniform(0, 0.2, n),
        "area": rng.uniform(0.4, 0.6, n),
        "rho": rng.uniform(5, 50, n),
        "gen_pt": gen_pt,
    }
    columns |= {"gen_eta": columns["eta"] + 0.05, "gen_phi": columns["phi"] - 0.05}
    return make_jets(n, **columns)


SMEAR = {"resolution": 0.05, "scale_factor": 1.2, "uncertainty": 0.1}
ALL = {"jes": {"relative_uncertainty": 0.01}, "jer": SMEAR, "jms": {"uncertainty": 0.02}, "jmr": SMEAR}


def test_hybrid_method_by_hand():
    # σ = 0.05, s = 1.2: within R/2 = 0.4 and 3σ·100 = 15 GeV of the generator jet the difference is scaled.
    gen = {
        "gen_pt": [90.0, 110.0, 84.9, 90.0, 90.0, 90.0, np.nan],
        "gen_eta": [0.0, 0.3, 0.0, 0.41, 0.0, 0.0, np.nan],
        "gen_phi": [0.0, 0.2, 0.0, 0.0, 2 * np.pi - 0.39, 0.39, np.nan],
    }
    jets = make_jets(7, phi=np.zeros(7), **gen)
    out = varied_jets(jets, parse(jer=SMEAR), "simulation")
    normal = random_normals(jets, 0x4A4552, 0)
    stochastic = 100 * (1 + normal * 0.05 * np.sqrt(1.2**2 - 1))
    expected = [102.0, 98.0, stochastic[2], stochastic[3], 102.0, 102.0, stochastic[6]]
    np.testing.assert_allclose(out["nominal"][0], expected, rtol=1e-14)
    np.testing.assert_allclose(out["jer_up"][0][:2], [103.0, 97.0], rtol=1e-14)
    np.testing.assert_allclose(out["jer_down"][0][:2], [101.0, 99.0], rtol=1e-14)
    # The mass scales with the momentum.
    np.testing.assert_allclose(out["jer_up"][1], 0.8 * out["jer_up"][0], rtol=1e-14)


@pytest.mark.parametrize("method", ["stochastic", "hybrid"])
def test_smeared_resolution_is_the_target(method):
    n, sigma = 100_000, 0.05
    rng = np.random.default_rng(7)
    gen_pt = rng.uniform(300, 2000, n)
    here = np.zeros(n)
    gen = {"gen_pt": gen_pt, "gen_eta": here, "gen_phi": here}
    jets = make_jets(n, pt=gen_pt * (1 + sigma * rng.normal(size=n)), **gen)
    out = varied_jets(jets, parse(jer=SMEAR | {"method": method}), "simulation")
    widths = {}
    for name, factor in (("nominal", 1.2), ("jer_up", 1.3), ("jer_down", 1.1)):
        response = out[name][0] / gen_pt
        widths[name] = np.std(response)
        # Stochastic: products of two Gaussians add σ²·σ²(s² − 1) to the variance.
        second_order = sigma**4 * (factor**2 - 1) if method == "stochastic" else 0.0
        target = np.sqrt((factor * sigma) ** 2 + second_order)
        assert widths[name] == pytest.approx(target, abs=4 * target / np.sqrt(2 * n))
        assert response.mean() == pytest.approx(1, abs=4 * target / np.sqrt(n))
    assert widths["jer_up"] > widths["nominal"] > widths["jer_down"] > np.std(jets.pt / gen_pt)


def test_mass_resolution_is_the_target():
    n = 100_000
    rng = np.random.default_rng(8)
    truth = np.full(n, 80.0)
    jets = make_jets(n, m=truth * (1 + 0.1 * rng.normal(size=n)))
    config = parse(jmr={"resolution": 0.1, "scale_factor": 1.3, "uncertainty": 0.2})
    out = varied_jets(jets, config, "simulation")
    for name, factor in (("nominal", 1.3), ("jmr_up", 1.5), ("jmr_down", 1.1)):
        target = np.sqrt((factor * 0.1) ** 2 + 0.1**4 * (factor**2 - 1))
        assert np.std(out[name][1] / truth) == pytest.approx(target, abs=4 * target / np.sqrt(2 * n))
        np.testing.assert_array_equal(out[name][0], jets.pt)


def test_random_numbers_are_normal_and_independent():
    n = 100_000
    jets = make_jets(n)
    normal = random_normals(jets, 1, 0)
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    others = {
        "other purpose": random_normals(jets, 2, 0),
        "other seed": random_normals(jets, 1, 1),
        "other jet of the event": random_normals(make_jets(n, number=1 - jets.number), 1, 0),
        "next event": random_normals(make_jets(n, event=jets.event + 1), 1, 0),
        "next block": random_normals(make_jets(n, luminosity_block=jets.luminosity_block + 1), 1, 0),
    }
    for what, other in others.items():
        assert abs(np.corrcoef(normal, other)[0, 1]) < 4.5 / np.sqrt(n), what
    np.testing.assert_array_equal(normal, random_normals(make_jets(n), 1, 0))


def test_same_bits_for_any_order_and_chunks():
    jets = random_jets(1000)
    config = parse(**ALL)
    whole = varied_jets(jets, config, "simulation", seed=3)
    order = np.random.default_rng(2).permutation(1000)
    for part in np.array_split(order, [1, 2, 300, 301, 301]):
        for name, (pt, mass) in varied_jets(rows(jets, part), config, "simulation", seed=3).items():
            np.testing.assert_array_equal(pt, whole[name][0][part])
            np.testing.assert_array_equal(mass, whole[name][1][part])


def test_variations_are_those_announced_and_ordered():
    jets = random_jets(500)
    out = varied_jets(jets, parse(**ALL), "simulation")
    assert tuple(out) == variation_names(parse(**ALL), "simulation")[0]
    nominal = out["nominal"]
    np.testing.assert_allclose(out["jes_up"][0], 1.01 * nominal[0], rtol=1e-14)
    np.testing.assert_allclose(out["jes_down"][1], 0.99 * nominal[1], rtol=1e-14)
    np.testing.assert_allclose(out["jms_up"][1], 1.02 * nominal[1], rtol=1e-14)
    np.testing.assert_allclose(out["jms_down"][1], 0.98 * nominal[1], rtol=1e-14)
    for name in ("jms_up", "jms_down", "jmr_up", "jmr_down"):
        np.testing.assert_array_equal(out[name][0], nominal[0])
    # The same random number everywhere: the nominal jet lies between up and down.
    for column, name in ((0, "jer"), (1, "jmr")):
        shifts = [out[f"{name}_{side}"][column] - nominal[column] for side in ("up", "down")]
        assert np.all(shifts[0] * shifts[1] <= 0)


def test_factors_of_the_mass_multiply():
    jets = random_jets(500)
    config = parse(**(ALL | {"jms": {"scale": 1.05, "uncertainty": 0.02}}))
    out = varied_jets(jets, config, "simulation")
    assert not np.allclose(out["nominal"][1], 1.05 * jets.m)  # the resolution of the mass is in it too
    # JES and JER act on momentum and mass alike: what is left is the nominal scale and resolution of the mass.
    left = {name: (mass / jets.m) / (pt / jets.pt) for name, (pt, mass) in out.items()}
    for name in ("jes_up", "jes_down", "jer_up", "jer_down"):
        np.testing.assert_allclose(left[name], left["nominal"], rtol=1e-12)
    np.testing.assert_allclose(left["jms_up"], left["nominal"] * 1.07 / 1.05, rtol=1e-12)


@pytest.mark.parametrize("state", [0, 2**64 - 1])
def test_no_random_number_is_infinite(monkeypatch, state):
    monkeypatch.setattr(kinematics, "splitmix64", lambda value: np.full(value.shape, state, dtype=np.uint64))
    assert 8 < abs(random_normals(make_jets(), 1, 0)[0]) < 9


def test_data_and_no_configuration_leave_jets_alone():
    jets = random_jets(20)
    for config, kind in ((None, "simulation"), (parse(**ALL), "data"), (parse(), "simulation")):
        out = varied_jets(jets, config, kind)
        assert list(out) == ["nominal"]
        np.testing.assert_array_equal(out["nominal"], (jets.pt, jets.m))


def test_no_jet():
    out = varied_jets(rows(random_jets(5), slice(0, 0)), parse(**ALL), "simulation")
    assert all(pt.shape == mass.shape == (0,) for pt, mass in out.values())


@given(st.floats(-2, 1), st.booleans(), st.floats(0.001, 0.99), st.floats(0.01, 10), st.floats(-8, 8))
def test_factors_are_not_negative_and_1_without_difference(difference, matched, sigma, scale, normal):
    args = [np.array([x]) for x in (difference, matched, sigma, scale, normal)]
    assert smearing_factors(*args)[0] >= 0
    args[3] = np.array([1.0])
    assert smearing_factors(*args)[0] == 1


def test_energy_scale_starts_from_raw_jets(write_corrections, nodes):
    # Raw pT 100·(1 − 0.2) = 80 → correction 1 + 80/800 = 1.1 → 88 GeV; uncertainty 0.001·88 = 8.8 %.
    corrections = {
        "MC": (("JetPt",), nodes["formula"]("1+x/800", "JetPt")),
        "DATA": (("JetPt", "run"), nodes["formula"]("1+x/1600+y-1", "JetPt", "run")),
        "Total": (("JetPt",), nodes["formula"]("0.001*x", "JetPt")),
    }
    file = str(write_corrections(corrections))
    jes = {"file": file, "correction": "MC", "data_correction": "DATA", "uncertainties": {"Total": "Total"}}
    jets = make_jets(raw_factor=[0.2])
    out = varied_jets(jets, parse(jes=jes), "simulation")
    expected = {"nominal": 88.0, "jes_Total_up": 88 * 1.088, "jes_Total_down": 88 * 0.912}
    assert {name: pt[0] for name, (pt, _) in out.items()} == pytest.approx(expected, rel=1e-12)
    assert {name: mass[0] / 0.8 for name, (_, mass) in out.items()} == pytest.approx(expected, rel=1e-12)
    data = varied_jets(jets, parse(jes=jes), "data")
    assert list(data) == ["nominal"]
    assert data["nominal"][0][0] == pytest.approx(80 * 1.05)
    raw = varied_jets(make_jets(), parse(jes=jes | {"undo_stored": False}), "simulation")
    assert raw["nominal"][0][0] == pytest.approx(112.5)


def test_factors_from_files(write_corrections, nodes):
    sides = {"nom": 0.99, "up": 1.02, "down": 0.97}
    corrections = {
        "JMS": (("JetEta", "systematic"), nodes["category"]("systematic", sides)),
        "JMR": (("systematic",), nodes["category"]("systematic", {"nom": 1.1, "up": 1.2, "down": 1.0})),
        "sigma": (("JetPt",), nodes["formula"]("10/x", "JetPt")),
    }
    file = str(write_corrections(corrections))
    jets = make_jets(3)
    out = varied_jets(jets, parse(jms={"file": file, "scale": "JMS"}), "simulation")
    for name, factor in (("nominal", 0.99), ("jms_up", 1.02), ("jms_down", 0.97)):
        np.testing.assert_allclose(out[name][1], 80 * factor, rtol=1e-14)
    jmr = {"file": file, "resolution": "sigma", "scale_factor": "JMR"}
    out = varied_jets(jets, parse(jmr=jmr), "simulation")
    normal = random_normals(jets, 0x4A4D52, 0)
    np.testing.assert_allclose(out["nominal"][1], 80 * (1 + normal * 0.1 * np.sqrt(0.21)), rtol=1e-14)
    np.testing.assert_array_equal(out["jmr_down"][1], 80.0)


def test_cms_file_against_correctionlib(jerc_file):
    config = parse(
        jes={
            "file": str(jerc_file),
            "correction": f"{MC}_L1L2L3Res_{TAG}",
            "uncertainties": {"Total": f"{MC}_Total_{TAG}"},
        },
        jer={
            "file": str(jerc_file),
            "resolution": f"{JR}_PtResolution_{TAG}",
            "scale_factor": f"{JR}_ScaleFactor_{TAG}",
            "radius": 0.4,
        },
    )
    jets = random_jets(2000)
    out = varied_jets(jets, config, "simulation")
    # The chain of levels by hand, each at the momentum that the one before left.
    corrections = correctionlib.CorrectionSet.from_file(str(jerc_file))
    raw = jets.pt * (1 - jets.raw_factor)
    pt = raw * corrections[f"{MC}_L1FastJet_{TAG}"].evaluate(jets.area, jets.eta, raw, jets.rho)
    for level in ("L2Relative", "L3Absolute", "L2L3Residual"):
        pt = pt * corrections[f"{MC}_{level}_{TAG}"].evaluate(jets.eta, pt)
    sigma = corrections[f"{JR}_PtResolution_{TAG}"].evaluate(jets.eta, pt, jets.rho)
    matched = np.abs(pt - jets.gen_pt) < 3 * sigma * pt  # ΔR = 0.07 for all that have one
    assert 0.3 < matched.mean() < 0.7
    normal = random_normals(jets, 0x4A4552, 0)
    for name, systematic in (("nominal", "nom"), ("jer_up", "up"), ("jer_down", "down")):
        s = corrections[f"{JR}_ScaleFactor_{TAG}"].evaluate(jets.eta, pt, systematic)
        gauss = pt * (1 + normal * sigma * np.sqrt(np.maximum(s**2 - 1, 0)))
        expected = np.where(matched, jets.gen_pt + s * (pt - jets.gen_pt), gauss)
        np.testing.assert_allclose(out[name][0], expected, rtol=1e-12)
    total = corrections[f"{MC}_Total_{TAG}"].evaluate(jets.eta, pt)
    np.testing.assert_allclose(out["jes_Total_up"][0], out["nominal"][0] * (1 + total), rtol=1e-12)
    np.testing.assert_allclose(out["jes_Total_down"][0], out["nominal"][0] * (1 - total), rtol=1e-12)
    assert np.all(total > 0)


def test_cms_numbers_by_hand(jerc_file):
    """The same file read without correctionlib: one bin of each table, its formula worked out here."""
    with gzip.open(jerc_file) as stream:
        tables = {entry["name"]: entry["data"] for entry in json.load(stream)["corrections"]}

    def bin_of(node, **values):
        while node["nodetype"] == "binning":
            node = node["content"][bisect_right(node["edges"], values[node["input"]]) - 1]
        return node

    pt, eta, rho = 500.0, 0.6, 25.0
    where = {"JetPt": pt, "JetEta": eta, "Rho": rho}
    _, _, n, s, c, d = bin_of(tables[f"{JR}_PtResolution_{TAG}"], **where)["parameters"]
    sigma = np.sqrt(n * abs(n) / pt**2 + s**2 * pt**d + c**2)
    sides = {
        entry["key"]: entry["value"]
        for entry in bin_of(tables[f"{JR}_ScaleFactor_{TAG}"], **where)["content"]
    }
    slope, offset, _, _ = bin_of(tables[f"{MC}_Total_{TAG}"], **where)["parameters"]
    file = str(jerc_file)
    config = parse(
        jes={"file": file, "uncertainty": f"{MC}_Total_{TAG}"},
        jer={
            "file": file,
            "resolution": f"{JR}_PtResolution_{TAG}",
            "scale_factor": f"{JR}_ScaleFactor_{TAG}",
            "method": "stochastic",
        },
    )
    jets = make_jets(pt=[pt], eta=[eta], rho=[rho])
    out = {name: values[0][0] for name, values in varied_jets(jets, config, "simulation").items()}
    normal = random_normals(jets, 0x4A4552, 0)[0]
    for name, side in (("nominal", "nom"), ("jer_up", "up"), ("jer_down", "down")):
        expected = pt * (1 + normal * sigma * np.sqrt(max(sides[side] ** 2 - 1, 0)))
        assert out[name] == pytest.approx(expected, rel=1e-12)
    assert out["jes_up"] / out["nominal"] == pytest.approx(1 + slope * pt + offset, rel=1e-12)
    assert 0.01 < sigma < 0.1
    assert sides["up"] > sides["nom"] > sides["down"] > 1


def test_missing_inputs_are_named(jerc_file, write_corrections, nodes):
    jets = make_jets()
    jes = {"file": str(jerc_file), "correction": f"{MC}_L1L2L3Res_{TAG}"}
    with pytest.raises(InputError, match=r"L1L2L3Res_AK4PFPuppi' starts from raw jets.*undo_stored: false"):
        varied_jets(jets, parse(jes=jes), "simulation")
    with pytest.raises(InputError, match="L1L2L3Res_AK4PFPuppi' needs the input 'JetA'"):
        varied_jets(jets, parse(jes=jes | {"undo_stored": False}), "simulation")
    with pytest.raises(InputError, match=r"'hybrid' needs generator jets.*set jer\.method: stochastic"):
        varied_jets(jets, parse(jer=SMEAR), "simulation")
    file = str(write_corrections({"MC": (("JetPt",), nodes["formula"]("x-200", "JetPt"))}))
    wrong = {"file": file, "correction": "MC", "undo_stored": False}
    with pytest.raises(InputError, match="gives the factor -100 for jet 0 of event 1:2:0"):
        varied_jets(jets, parse(jes=wrong), "simulation")


@pytest.mark.parametrize("pt", [0.0, -5.0, np.nan, np.inf])
def test_impossible_momenta_are_refused(pt):
    with pytest.raises(InputError, match=r"jet 1 of event 1:2:0 \(.*\) has pT .*, which no jet has"):
        varied_jets(make_jets(2, pt=[100.0, pt]), None, "simulation")


def test_messages_name_file_and_sample(write_corrections, nodes):
    jets = make_jets(2, "file 'a.root' of sample 'qcd'", pt=[100.0, np.nan])
    with pytest.raises(
        InputError, match=r"jet 1 of event 1:2:0 \(.*\) of file 'a\.root' of sample 'qcd' has pT"
    ):
        varied_jets(jets, None, "simulation")
    content = nodes["binning"]("JetPt", [0.0, 150.0], [1.0])
    file = str(write_corrections({"MC": (("JetPt",), content)}))
    jes = {"file": file, "correction": "MC", "undo_stored": False}
    jets = make_jets(5, "file 'a.root'", pt=[100.0, 120.0, 100.0, 200.0, 300.0])
    with pytest.raises(
        InputError, match=r"'MC' cannot be evaluated for jet 1 of event 1:2:1 \(.*\) of file 'a\.root': Index"
    ):
        varied_jets(jets, parse(jes=jes), "simulation")


@pytest.mark.parametrize("turn", [-1, 0, 1])
def test_generator_jets_match_across_the_cut_in_azimuth(turn):
    """ΔR = 0.2 < 0.4 on both sides of ±π, and where azimuths lie a full turn apart."""
    phi = np.array([np.pi - 0.1, -np.pi + 0.1])
    gen_phi = np.array([-np.pi + 0.1, np.pi - 0.1]) + 2 * np.pi * turn
    jets = make_jets(2, phi=phi, gen_phi=gen_phi, gen_eta=[0.0, 0.0], gen_pt=[98.0, 98.0])
    moved = varied_jets(jets, parse(jer=SMEAR), "simulation")
    np.testing.assert_allclose(moved["nominal"][0], 98.0 + 1.2 * 2.0)  # hybrid method, s = 1.2
