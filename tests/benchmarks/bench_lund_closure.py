"""Closure of the Lund-plane reweighting on W jets, with a shower of another αS as "data", and CPU per jet.

Jets of X → WW with scalar W (80.4 GeV) to two light quarks, from particles without a detector. Ratio maps are made of
jets of one range in pT and applied to independent jets of the same range and of a higher one. τ21 and soft-drop masses
are then compared with "data", with the statistical errors and the uncertainties of the reweighting. Prints one JSON
object; run it as ``python tests/benchmarks/bench_lund_closure.py [events a sample] [plot]``.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy.stats import chi2

from data.simulation.config import Generator
from data.simulation.generator import generate
from data.simulation.processes import Xyy
from processors.clustering import cluster
from processors.kernels.buffers import FlatJets
from processors.kernels.combined import flat_features
from processors.lund_reweighting import LundReweighter
from processors.lund_reweighting_making import JetSample, make_ratio_maps
from processors.lund_reweighting_maps import Binning
from processors.lund_reweighting_normalisation import normalisation_of
from processors.lund_reweighting_planes import measure_plane
from processors.lund_reweighting_prongs import Quarks, find_prongs
from processors.momenta import mass_of
from processors.ragged import offsets_of, owners

ALPHA_S = {"simulation": 0.1365, "data": 0.155}
"""The default of the tune, and a change as large as half the renormalisation scale makes."""
MASSES = {"low": 900.0, "high": 1300.0}  # GeV of X: jets of some 400 and 550 GeV
W_MASS = 80.4
SOURCES = ("stat", "pt", "sys", "prongs", "unclust", "distortion")
WINDOW = (65.0, 105.0)  # GeV, of the soft-drop mass
OBSERVABLES = {"tau21": np.linspace(0.1, 0.7, 13), "msd": np.linspace(*WINDOW, 17)}
CONTENT_MIN = 20


def momenta_of(stable):
    """Visible particles within |η| < 5, by event: px, py, pz, E (GeV) and the event of each."""
    pt = np.hypot(stable.px, stable.py)
    seen = ~np.isin(np.abs(stable.pdg_id), (12, 14, 16)) & (np.abs(stable.pz) < np.sinh(5.0) * pt)
    kept = stable[seen]
    return (kept.px, kept.py, kept.pz, kept.e), kept.event


def quarks_of_jets(made, entry):
    """The outgoing quarks of each jet's event."""
    hard = made.hard[(np.abs(made.hard_status) == 23) & (np.abs(made.hard.pdg_id) <= 5)]
    counts = np.bincount(hard.event, minlength=made.n_events)
    eta, phi = np.arcsinh(hard.pz / np.hypot(hard.px, hard.py)), np.arctan2(hard.py, hard.px)
    return Quarks(counts, eta, phi, hard.pdg_id).take(entry)


def w_jets(mass, alpha_s, n_events, seed):
    """W jets among the two leading jets of each event: two quarks inside, and a mass in the window."""
    process = Xyy(type="xyy", mass=mass, mass_y=W_MASS, mass_y_prime=W_MASS)
    lines = (f"TimeShower:alphaSvalue = {alpha_s}",)
    options = Generator(multiparton_interactions=False, settings=lines)
    made = generate(process, (0.0, -1.0), n_events, seed, 13000.0, options)
    momenta, event = momenta_of(made.stable)
    offsets = np.searchsorted(event, np.arange(n_events + 1))
    jets = cluster(FlatJets(*momenta, offsets), radius=0.8, pt_min=200.0)
    entry = owners(jets.counts)
    place = np.arange(len(entry)) - offsets_of(jets.counts)[entry]
    chosen = np.flatnonzero((place < 2) & (np.abs(jets.eta) < 2.4) & (jets.pt > 250))

    def features_of(which):
        rows, of_jet = jets.members.of(which)
        particles = FlatJets(*(component[rows] for component in momenta), of_jet)
        none = np.full(len(which), -1), np.zeros(len(which))
        return particles, flat_features(*particles, np.ones(len(rows)), *none, 2, 3, (0.1, 0.0, 0.8))

    axes, quarks = (jets.eta[chosen], jets.phi[chosen]), quarks_of_jets(made, entry[chosen])
    particles, features = features_of(chosen)
    n_quarks = find_prongs(particles, axes, quarks, Binning(), "cambridge").n_quarks
    groomed = mass_of(*features.groomed.T)
    kept = np.flatnonzero((n_quarks == 2) & (groomed > WINDOW[0]) & (groomed < WINDOW[1]))
    return SimpleNamespace(
        particles=features_of(chosen[kept])[0],
        axes=tuple(axis[kept] for axis in axes),
        quarks=quarks.take(kept),
        pt=jets.pt[chosen[kept]],
        tau21=features.taus[kept, 1] / (features.taus[kept, 0] + 1e-6),
        msd=groomed[kept],
    )


def prongs_of(jets, history):
    return find_prongs(jets.particles, jets.axes, jets.quarks, Binning(), history)


def weights_of(jets, maps, prongs):
    """Normalised weights of the jets: nominal, of each variation, and of the toys."""
    plane = measure_plane(prongs.nominal, maps.binning).density
    reweighter = LundReweighter(maps, SOURCES, plane=plane)
    one = np.ones(len(jets.pt))

    def normalised(raw):
        return normalisation_of(raw, one, jets.pt).apply(raw, jets.pt)

    varied, toys = reweighter.varied(prongs), reweighter.toy_weights(prongs)
    return (
        normalised(reweighter.nominal(prongs)[None])[0],
        {name: normalised(values[None])[0] for name, values in varied.items()},
        {name: normalised(values) for name, values in toys.items()},
    )


def compare(jets, data, weights, observable):
    """χ² to "data" before and after, the latter with and without the uncertainties of the reweighting."""
    edges = OBSERVABLES[observable]
    nominal, varied, toys = weights
    scale = len(data.pt) / len(jets.pt)

    def filled(sample, weight=None):
        values = np.clip(getattr(sample, observable), edges[0], np.nextafter(edges[-1], 0))
        return np.histogram(values, edges, weights=weight)[0].astype(np.float64)

    seen = filled(data)
    before, after = scale * filled(jets), scale * filled(jets, nominal)
    statistics = np.diag(seen + scale**2 * filled(jets, nominal**2))
    covariance, sizes = statistics.copy(), {}
    for source in ("sys", "prongs", "unclust", "distortion"):
        shift = scale * (filled(jets, varied[f"{source}_up"]) - filled(jets, varied[f"{source}_down"])) / 2
        covariance += np.outer(shift, shift)
        sizes[source] = float(np.abs(shift).sum() / seen.sum())
    for source, rows in toys.items():
        shifts = scale * np.stack([filled(jets, row) for row in rows]) - after
        covariance += shifts.T @ shifts / len(rows)
        sizes[source] = float(np.sqrt(np.square(shifts).mean(axis=0)).sum() / seen.sum())

    def p_value(expected, matrix):
        kept = seen + before > CONTENT_MIN
        difference = (expected - seen)[kept]
        value = float(difference @ np.linalg.solve(matrix[np.ix_(kept, kept)], difference))
        ndf = int(kept.sum()) - 1
        return {"chi2": round(value, 2), "ndf": ndf, "p": float(chi2.sf(value, ndf))}

    return {
        "before": p_value(before, np.diag(seen + scale**2 * filled(jets))),
        "after_statistics_only": p_value(after, statistics),
        "after": p_value(after, covariance),
        "uncertainties": sizes,
        "integral": float(after.sum() / before.sum()),
        "histograms": {
            "edges": edges.tolist(),
            "data": seen.tolist(),
            "before": before.tolist(),
            "after": after.tolist(),
            "error": np.sqrt(np.diag(covariance) - seen).tolist(),
        },
    }


def closure(n_events, seed=1, history="cambridge"):
    """Everything, as one JSON object."""
    samples = {
        (place, kind): w_jets(mass, alpha_s, n_events, seed + 10 * i + j)
        for i, (place, mass) in enumerate({**MASSES, "other": MASSES["low"]}.items())
        for j, (kind, alpha_s) in enumerate(ALPHA_S.items())
    }
    made = {name: prongs_of(jets, history) for name, jets in samples.items()}
    start = time.process_time()
    timed = samples["low", "simulation"]
    prongs_of(timed, history)
    found = time.process_time()
    maps = make_ratio_maps(
        JetSample(made["low", "data"].nominal), JetSample(made["low", "simulation"].nominal), history=history
    )
    out = {"events": n_events, "alpha_s": ALPHA_S, "history": history, "jets": len(timed.pt)}
    out["cpu_us_per_jet"] = {"prongs": 1e6 * (found - start) / len(timed.pt)}
    weights_of(timed, maps, made["low", "simulation"])
    start = time.process_time()
    LundReweighter(maps, ()).nominal(made["low", "simulation"])
    nominal = time.process_time()
    weights_of(timed, maps, made["low", "simulation"])
    end = time.process_time()
    out["cpu_us_per_jet"] |= {
        "nominal_weight": 1e6 * (nominal - start) / len(timed.pt),
        "all_variations_and_200_toys": 1e6 * (end - nominal) / len(timed.pt),
    }
    for place in ("other", "high"):
        jets, data, prongs = samples[place, "simulation"], samples[place, "data"], made[place, "simulation"]
        weights = weights_of(jets, maps, prongs)
        out[place] = {name: compare(jets, data, weights, name) for name in OBSERVABLES}
        out[place] |= {"mean_pt": float(jets.pt.mean()), "badly_matched": float(prongs.bad.mean())}
        out[place]["mean_weight"] = float(weights[0].mean())
    return out


def draw(out, path):
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    names = {"tau21": "$\\tau_{21}$", "msd": "soft-drop mass [GeV]"}
    figure, axes = plt.subplots(4, 2, figsize=(10, 10), height_ratios=[3, 1, 3, 1], layout="constrained")
    for row, place in enumerate(("other", "high")):
        for column, (name, label) in enumerate(names.items()):
            made = out[place][name]
            shown = {key: np.array(values) for key, values in made["histograms"].items()}
            edges, data = shown["edges"], shown["data"]
            middle = (edges[1:] + edges[:-1]) / 2
            top, ratio = axes[2 * row, column], axes[2 * row + 1, column]
            for panel, by in ((top, 1.0), (ratio, np.maximum(data, 1))):
                panel.stairs(shown["before"] / by, edges, color="tab:gray", ls="--", label="simulation")
                panel.stairs(shown["after"] / by, edges, color="tab:blue", label="reweighted")
                low, high = ((shown["after"] + sign * shown["error"]) / by for sign in (-1, 1))
                panel.stairs(high, edges, baseline=low, fill=True, color="tab:blue", alpha=0.25)
                panel.errorbar(
                    middle, data / by, np.sqrt(data) / by, fmt="ko", ms=3, label=f"α$_S$ = {ALPHA_S['data']}"
                )
            before, after = made["before"], made["after"]
            top.set_title(
                f"mean $p_T$ {out[place]['mean_pt']:.0f} GeV: χ²/ndf {before['chi2']:.0f}/{before['ndf']} → "
                f"{after['chi2']:.1f}/{after['ndf']}, p = {after['p']:.2f}",
                fontsize=10,
            )
            top.set_ylabel("W jets")
            top.legend(frameon=False)
            ratio.set(xlabel=label, ylabel="ratio to data", ylim=(0.6, 1.4))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    result = closure(int(sys.argv[1]) if len(sys.argv) > 1 else 12_000)
    if len(sys.argv) > 2:
        draw(result, Path(sys.argv[2]))
    for place in ("other", "high"):
        for name in OBSERVABLES:
            del result[place][name]["histograms"]
    print(json.dumps(result, indent=1))
