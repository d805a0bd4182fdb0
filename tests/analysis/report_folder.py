"""A run folder as the report reads it, made up: no event, no training, no fit."""

import json
import math

import numpy as np
from scipy import stats

from analysis.study_record import (
    Anomalous,
    Contribution,
    DisplayEvent,
    DisplayJet,
    EventRecord,
    FeatureComparison,
    FeatureShape,
    Flatness,
    Improvement,
    Matrices,
    MethodStudy,
    StudyRecord,
    TrainingCurve,
    WindowStudy,
)
from analysis.windows import window, window_of
from processors.histogram_io import write_histograms
from processors.histograms import empty_histograms, fill_mjj, fill_score

MASSES = tuple(range(2900, 3900, 100))
METHODS = ("cwola_B3", "cwola_A4", "cwola_B4")
PROVENANCE = {
    "versions": {"oddjet": "0.1.0+0123456789abcdef", "numpy": "2.0.0"},
    "seed": 1,
    "inputs": {"mock_0.root": "ab" * 32},
}
CONFIG = {
    "run": {"title": "x", "seed": 1, "output": "output/demo"},
    "search": {"data": "mock", "signals": ["signal_3000"]},
    "methods": {"cwola": {"classifier": "trees"}},
}


def spectrum(generator, events, low=2232.0, high=6800.0, slope=9.5):
    """Falling masses in GeV, and coarse edges of growing width."""
    x = generator.pareto(slope, size=events) + 1
    masses = 2232.0 * x
    edges = [low]
    while edges[-1] < high:
        edges.append(min(edges[-1] * 1.032, high))
    return masses[masses < high], np.round(np.array(edges))


def fit_entry(generator, events, signal):
    masses, edges = spectrum(generator, events)
    cumulative = 1 - (edges / 2232.0) ** -9.5
    background = np.diff(cumulative) * events
    observed = np.histogram(masses, edges)[0].astype(float)
    shape = np.diff(stats.norm.cdf(edges, 2980, 110))
    observed += generator.poisson(signal * shape)
    error = background * 0.02 + 0.3
    pull = (observed - background) / np.sqrt(background)
    chi2 = float((pull**2).sum())
    return {
        "range": [2232.0, 6800.0],
        "function": "dijet3",
        "parameters": [1.0, 2.0, 3.0],
        "f_test": [
            {"n": 2, "chi2": chi2 + 12, "ndf": len(pull) - 2, "p": 0.3, "p_f": None},
            {"n": 3, "chi2": chi2, "ndf": len(pull) - 3, "p": 0.3, "p_f": 0.0011},
            {"n": 4, "chi2": chi2 - 0.3, "ndf": len(pull) - 4, "p": 0.3, "p_f": 0.61},
        ],
        "chi2": chi2,
        "ndf": len(pull) - 3,
        "fit_p": float(stats.chi2.sf(chi2, len(pull) - 3)),
        "edges": edges.tolist(),
        "observed": observed.tolist(),
        "background": background.tolist(),
        "background_error": error.tolist(),
        "pull": [*pull.tolist()[:-1], None],
        "signal_fits": {
            "3000": {"signal": (signal * shape).tolist(), "background": (background * 0.99).tolist()}
        },
    }


def scan_points(name, invalid=()):
    points = []
    for mass in MASSES:
        point = {"mass": mass, "function": "dijet3", "fit_p": 0.42, "valid": mass not in invalid}
        point["window"] = None if name == "inclusive" else window_of(mass).name
        keys = ("z", "p0", "signal_yield", "signal_yield_error", "limit_observed", "limit_observed_fb")
        if not point["valid"]:
            point |= dict.fromkeys((*keys, "limit_expected", "limit_expected_fb", "efficiency", "fit_p"))
            point["message"] = f"mass {mass} GeV: the fit did not converge"
            points.append(point)
            continue
        peak = 1.3 if name == "inclusive" else 4.6
        z = peak * np.exp(-0.5 * ((mass - 3000) / 90) ** 2) + 0.3 * np.cos(mass)
        scale = 260 * (3000 / mass) ** 6 * (1 if name == "inclusive" else 0.2)
        expected = [scale * factor for factor in (0.55, 0.73, 1.0, 1.4, 1.9)]
        efficiency = 0.74 if name == "inclusive" else 0.36
        point |= {"z": z, "p0": float(stats.norm.sf(z)), "signal_yield": z * scale / 2}
        point |= {"signal_yield_error": scale / 2, "limit_observed": scale * (1 + max(z, -0.4) / 2)}
        point |= {"limit_expected": expected, "efficiency": efficiency, "calculator": "asymptotic"}
        point |= {"limit_observed_fb": point["limit_observed"] / efficiency / 12.3}
        point |= {"limit_expected_fb": [value / efficiency / 12.3 for value in expected]}
        points.append(point)
    return points


def systematics(labels):
    """Uncertainties of three sources; window B4 knows none."""

    def at(mass, size):
        sources = [("jes", 0.02, -0.03), ("lund_prongs", size, -size), ("scales", 0.0, -0.012)]
        down, up = (
            math.hypot(*(max(0.0, sign * one[k]) for one in sources)) for k, sign in ((2, -1), (1, 1))
        )
        moved = {"jes": {"mean": 0.014}}
        named = [
            {"name": name, "up": high, "down": low, "kind": "up_down", "mean": 0.0, "width": 0.0}
            | moved.get(name, {})
            for name, high, low in sources
        ]
        return {"mass": mass, "down": down, "up": up, "sources": named}

    found = {}
    for label in labels:
        tested = [] if label == "cwola_B4" else [at(mass, mass / 3e4) for mass in MASSES]
        found[label] = {
            "masses": tested,
            "signals": [at(mass, mass / 3e4) for mass in (2800, 3000)] if tested else [],
        }
    return {"in_limits": False, "jes": 0.01, "jer": 0.035, "selections": found}


def histograms(generator):
    """Histograms of the searched sample and of a signal sample."""
    masses, _ = spectrum(generator, 90000)
    weights = np.ones(len(masses))
    searched, signal = empty_histograms(["data"], METHODS), empty_histograms(["xyy_400_400"], METHODS)
    table = {"mjj": masses, "region": np.zeros(len(masses)), "weight": weights}
    fill_mjj(searched["mjj"], table, "data", "inclusive", np.ones(len(masses), dtype=np.int64))
    for name in METHODS:
        here = window(name.removeprefix("cwola_"))
        rank = np.maximum(generator.random(len(masses)), generator.random(len(masses)))
        passing = rank > 1 - here.working_point / 2
        fill_mjj(searched["mjj"], table, "data", name, passing.astype(np.int64))
        band = np.digitize(masses, [here.low_band[0], *here.signal_region, here.high_band[1]]) - 1
        band = np.where((band < 0) | (band > 2), 3, band)
        fill_score(searched["score"], (rank, band), "data", name, weights)
        anomalous = np.maximum(generator.beta(6, 1, 3000), generator.beta(6, 1, 3000))
        # Four fifths of the 3 TeV signal lie in B3; in B4 it is a tail only.
        band = np.where(np.arange(3000) % 5 < (4 if name == "cwola_B3" else 1), 1, 0)
        fill_score(signal["score"], (anomalous, band), "xyy_400_400", name, np.full(3000, 0.125))
    return searched, signal


def feature_shape(generator, low, high):
    edges = np.linspace(low, high, 21)
    beside = generator.poisson(4000 * np.exp(-np.linspace(0, 3, 20))).astype(float)
    inside = generator.poisson(beside / 4).astype(float)
    picked = generator.poisson(inside / 50).astype(float)
    signal = 30 * np.exp(-0.5 * ((np.arange(20) - 14) / 1.5) ** 2)
    return FeatureShape(
        edges=tuple(edges),
        signal_region=tuple(inside),
        side_bands=tuple(beside),
        selected={"cwola": tuple(picked)},
        signals={"signal_3000": tuple(signal)},
    )


def flatness_record(generator):
    edges = np.array([2232.0, *np.arange(2300, 3400, 100), 4000, 6000])
    error = np.full(len(edges) - 1, 0.001)
    fraction = generator.normal(0.01, error)
    numbers = {"mean": 0.01, "chi2": 11.5, "dof": 12, "p_value": 0.49}
    slopes = {"slope": 0.21, "slope_error": 0.15, "slope_p_value": 0.16}
    return Flatness(edges=tuple(edges), fraction=tuple(fraction), error=tuple(error), **numbers, **slopes)


def anomalous(event, rarity, *, message=None):
    shares = (
        ()
        if message
        else (("m_j1", 401.5, 90.0, 2.0), ("tau21_j1", 0.12, 0.6, rarity - 2.4), ("m_j2", 35.0, 30.0, -0.1))
    )
    contributions = [Contribution(feature=f, value=v, median=m, rarity=r) for f, v, m, r in shares]
    return Anomalous(
        run=300001, luminosity_block=8, event=event, mjj=3021.4, masses=(401.5, 35.0), score=1 - 10**-rarity, rarity=rarity,
        typical=None if message else 0.5, contributions=tuple(contributions), message=message,
    )  # fmt: skip


def display_event(generator, *, particles):
    def jet(role, pt, eta, phi):
        count = 40 if particles and role else 0
        momenta = generator.exponential(pt / 40, count)
        inside = zip(
            momenta, eta + generator.normal(0, 0.2, count), phi + generator.normal(0, 0.2, count), strict=True
        )
        codes = (211, -211, 22, 130, 13)
        return DisplayJet(
            role=role, pt=pt, eta=eta, phi=phi, mass=None if role is None else 88.0,
            subjets=((0.7 * pt, eta + 0.1, phi), (0.3 * pt, eta - 0.3, phi + 0.1)),
            particles=tuple((a, b, c, codes[k % 5]) for k, (a, b, c) in enumerate(inside)),
            lund=((0.4, 4.0), (1.2, 2.5), (3.0, -0.5)) if count else (),
        )  # fmt: skip

    # j2 lies across the end of the azimuth.
    jets = (jet("j2", 1300.0, -0.4, 3.1), jet("j1", 1250.0, 0.3, -0.1), jet(None, 90.0, 1.9, 1.0))
    return DisplayEvent(file="mock_0.root", entry=17, has_particles=particles, radius=0.8, jets=jets)


def trainings():
    """Losses of trees for each jet, and of a flow."""
    tree = TrainingCurve(
        members=20, first=0, median=(0.7, 0.6), low=(0.69, 0.5), high=(0.7, 0.69), training=(0.7, 0.4)
    )
    flow = TrainingCurve(
        members=4,
        first=1,
        median=(5.0, 3.0, 2.0),
        low=(4.0, 2.5, 1.5),
        high=(6.0, 4.0, 3.0),
        training=(5.5, 2.8, 1.6),
    )
    return {"trees": {"j1": tree, "j2": tree}, "spline flow": {"1": flow}}


def study_records(generator):
    """Studies of the method in all windows, with one event that two windows share, and events with and without particles."""
    kept = np.geomspace(1e-3, 1, 20)
    gain = Improvement(
        reference="side bands", background_efficiency=tuple(kept), signal_efficiency=tuple(kept**0.3), value=tuple(kept**-0.2),
        error=tuple(0.1 * kept**-0.2), background_events=20000,
    )  # fmt: skip
    alone = {"B3": 22, "A4": 23, "B4": 24}
    windows = {}
    for name, number in alone.items():
        found = (
            anomalous(11, 4.2),
            anomalous(number, 3.1, message="not explained: rmm is an array" if name == "B4" else None),
        )
        method = MethodStudy(
            in_signal_region=17525, selected=263, ranked_in="background" if name == "B4" else "window", flatness=None if name == "B4" else flatness_record(generator),
            improvement={"signal_3000": gain} if name == "B3" else {}, anomalous=found,
            training=trainings() if name == "B3" else {},
        )  # fmt: skip
        matrices = Matrices(
            methods=("cwola", "kde"), correlation=((1.0, 0.31), (0.31, 1.0)), overlap=((1.0, None), (None, 1.0)),
            both=((263.0, 0.0), (0.0, 0.0)),
        )  # fmt: skip
        features = {"m_j1": feature_shape(generator, 0, 500), "tau21_j1": feature_shape(generator, 0, 1)}
        windows[name] = WindowStudy(
            features=features, methods={"cwola": method}, alike={"mock": matrices} if name == "B3" else {}
        )
    data = generator.poisson(np.linspace(900, 10, 30)).astype(float)
    compared = FeatureComparison(
        edges=tuple(np.linspace(0, 300, 31)),
        data=tuple(data),
        simulation=tuple(data * 1.02),
        variance=tuple(data * 0.2),
    )
    displays = {
        anomalous(k, 3).name: display_event(generator, particles=k == 11) for k in (11, *alone.values())
    }
    return StudyRecord(windows=windows, simulation={"m_j1": compared}), EventRecord(events=displays)


def make_run_folder(folder, *, invalid=(3200, 3500), with_fb=True):
    generator = np.random.default_rng(5)
    scan = {
        "masses": list(MASSES),
        "selections": {"inclusive": scan_points("inclusive"), "cwola": scan_points("cwola", invalid)},
        "sqrt_s": 13000,
        "luminosity_ifb": 12.3,
        "sample": "mock",
        "region": "signal",
    }
    if not with_fb:
        for point in (point for points in scan["selections"].values() for point in points):
            point.update(dict.fromkeys(("limit_observed_fb", "limit_expected_fb", "efficiency")))
    fits = {"inclusive": fit_entry(generator, 90000, 320)}
    fits |= {name: fit_entry(generator, 900, 75 if name == "cwola_B3" else 10) for name in METHODS}
    steps = (
        ("all", 250000),
        ("trigger", 240000),
        ("two_jets", 180000),
        ("delta_eta", 120000),
        ("mjj", 90000),
    )
    cutflow = {"mock": [{"step": s, "events": n, "weighted": float(n)} for s, n in steps]}
    cutflow["signal_3000"] = [{"step": s, "events": n // 10, "weighted": n * 0.00123} for s, n in steps]
    files = [
        {
            "sample": "mock",
            "file": f"mock_{i}.root",
            "expected": 125000,
            "processed": 125000,
            "selected": 45000,
        }
        for i in range(2)
    ]
    account = {"files": files, "expected": 250000, "processed": 250000, "complete": True}
    folder.mkdir(parents=True, exist_ok=True)
    content = {"scan": scan, "fits": fits, "cutflow": cutflow, "account": account}
    content["systematics"] = systematics(fits)
    studies, events = study_records(generator)
    content |= {"studies": studies.model_dump(mode="json"), "events": events.model_dump(mode="json")}
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    searched, signal = histograms(generator)
    write_histograms(folder / "histograms" / "mock.h5", searched)
    write_histograms(folder / "histograms" / "signal_3000.h5", signal)
    return folder
