"""Closure of the Lund-plane reweighting on W jets, with other showers as "data", and CPU per jet.

Jets of X → WW with scalar W (80.4 GeV) to two light quarks, from particles without a detector. Ratio maps are made of
jets of one range in pT and applied to independent jets of the same range and of a higher one. τ21 and soft-drop masses
are then compared with "data", with the statistical errors and the uncertainties of the reweighting.

"Data" are another tune, and two showers whose αS is changed by much more than tunes differ. Those show where the method
ends: a jet's weight is the product of ratios over the primary splittings of its prongs, whatever these come from. With
αS of the final state alone, radiation of the initial state that a jet picks up is reweighted too although it is the
same: too many jets above the W's mass. Nor do the seven uncertainties know of splittings that depend on each other.

Prints one JSON object; run it as
``python tests/benchmarks/bench_lund_closure.py [events a sample] [seed] [cambridge or kt] [plot of the first shower]``.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import chi2

from data.simulation.config import Generator
from data.simulation.generator import generate
from data.simulation.signals.xyy import Xyy
from processors.clustering import cluster
from processors.kernels.buffers import FlatJets
from processors.kernels.combined import flat_features
from processors.lund_reweighting import LundReweighter
from processors.lund_reweighting_making import JetSample, make_ratio_maps
from processors.lund_reweighting_maps import Binning
from processors.lund_reweighting_normalisation import geometric_mean, normalisation_of
from processors.lund_reweighting_planes import measure_plane
from processors.lund_reweighting_prongs import Quarks, find_prongs
from processors.momenta import mass_of
from processors.ragged import offsets_of, owners

SIMULATION: dict[str, Any] = {}
"""Monash 2013: αS(mZ) = 0.1365 in both showers."""
SHOWERS: dict[str, dict[str, Any]] = {
    "tune": {"tune": 21},
    "final": {"settings": ("TimeShower:alphaSvalue = 0.155",)},
    "both": {"settings": ("TimeShower:alphaSvalue = 0.155", "SpaceShower:alphaSvalue = 0.155")},
}
"""Settings of the "data": ATLAS A14 with NNPDF2.3 LO (ATL-PHYS-PUB-2014-021; αS = 0.127); αS changed as much as half
the renormalisation scale does, in the final state and in both."""
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


def w_jets(mass, shower, n_events, seed):
    """W jets among the two leading jets of each event: two quarks inside, and a mass in the window."""
    process = Xyy(type="xyy", mass=mass, mass_y=W_MASS, mass_y_prime=W_MASS)
    options = Generator(multiparton_interactions=False, **shower)
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


def as_measured(prongs):
    """The subjets as they are had without quarks to compare with: all count."""
    return JetSample(replace(prongs.nominal, matched=np.ones_like(prongs.nominal.matched)))


def weights_of(jets, maps, prongs):
    """Normalised weights of the jets: nominal, of each variation, and of the toys."""
    plane = measure_plane(prongs.nominal, maps.binning).density
    reweighter = LundReweighter(maps, SOURCES, plane=plane)
    one = np.ones(len(jets.pt))
    centre = geometric_mean(reweighter.distortion(prongs)[None], one)
    reweighter = replace(reweighter, centre=centre)

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
        "misplaced": {
            "before": float(np.abs(before - seen).sum() / 2 / seen.sum()),
            "after": float(np.abs(after - seen).sum() / 2 / seen.sum()),
        },
        "integral": float(after.sum() / before.sum()),
        "histograms": {
            "edges": edges.tolist(),
            "data": seen.tolist(),
            "before": before.tolist(),
            "after": after.tolist(),
            "error": np.sqrt(np.diag(covariance) - seen).tolist(),
        },
    }


def closure(n_events, seed=1, history="cambridge", showers=tuple(SHOWERS)):
    """Everything, as one JSON object."""
    places = {**MASSES, "other": MASSES["low"]}

    def sample(place, shower, number):
        jets = w_jets(places[place], shower, n_events, 100 * seed + 10 * list(places).index(place) + number)
        prongs = prongs_of(jets, history)
        if (place, number) != ("low", 0):  # of the others no more is wanted, and they are large
            jets.particles = None
        return jets, prongs

    simulation = {place: sample(place, SIMULATION, 0) for place in places}
    out = {"events": n_events, "seed": seed, "history": history, "jets": len(simulation["low"][0].pt)}
    for name in showers:
        data = {place: sample(place, SHOWERS[name], 1 + list(SHOWERS).index(name)) for place in places}
        maps = make_ratio_maps(
            as_measured(data["low"][1]), as_measured(simulation["low"][1]), history=history
        )
        out[name] = {
            place: _closure_of(*simulation[place], data[place][0], maps) for place in ("other", "high")
        }
    return out | {"cpu_us_per_jet": _cpu(*simulation["low"], maps)}


def _closure_of(jets, prongs, data, maps):
    weights = weights_of(jets, maps, prongs)
    made = {name: compare(jets, data, weights, name) for name in OBSERVABLES}
    made |= {"mean_pt": float(jets.pt.mean()), "badly_matched": float(prongs.bad.mean())}
    return made | {"mean_weight": float(weights[0].mean())}


def _cpu(jets, prongs, maps):
    """CPU time (µs) a jet of each step; everything has been compiled by now."""
    times = [time.process_time()]
    prongs_of(jets, maps.history)
    times.append(time.process_time())
    LundReweighter(maps, ()).nominal(prongs)
    times.append(time.process_time())
    weights_of(jets, maps, prongs)
    times.append(time.process_time())
    steps = ("prongs", "nominal_weight", "all_variations_and_200_toys")
    return dict(zip(steps, 1e6 * np.diff(times) / len(jets.pt), strict=True))


def draw(out, path, shower):
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    made_with = out[shower]
    names = {"tau21": "$\\tau_{21}$", "msd": "soft-drop mass [GeV]"}
    figure, axes = plt.subplots(4, 2, figsize=(10, 10), height_ratios=[3, 1, 3, 1], layout="constrained")
    for row, place in enumerate(("other", "high")):
        for column, (name, label) in enumerate(names.items()):
            made = made_with[place][name]
            shown = {key: np.array(values) for key, values in made["histograms"].items()}
            edges, data = shown["edges"], shown["data"]
            middle = (edges[1:] + edges[:-1]) / 2
            top, ratio = axes[2 * row, column], axes[2 * row + 1, column]
            for panel, by in ((top, 1.0), (ratio, np.maximum(data, 1))):
                panel.stairs(shown["before"] / by, edges, color="tab:gray", ls="--", label="simulation")
                panel.stairs(shown["after"] / by, edges, color="tab:blue", label="reweighted")
                low, high = ((shown["after"] + sign * shown["error"]) / by for sign in (-1, 1))
                panel.stairs(high, edges, baseline=low, fill=True, color="tab:blue", alpha=0.25)
                panel.errorbar(middle, data / by, np.sqrt(data) / by, fmt="ko", ms=3, label=shower)
            before, after = made["before"], made["after"]
            top.set_title(
                f"mean $p_T$ {made_with[place]['mean_pt']:.0f} GeV: χ²/ndf {before['chi2']:.0f}/{before['ndf']} → "
                f"{after['chi2']:.1f}/{after['ndf']}, p = {after['p']:.2f}",
                fontsize=10,
            )
            top.set_ylabel("W jets")
            top.legend(frameon=False)
            ratio.set(xlabel=label, ylabel="ratio to data", ylim=(0.6, 1.4))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    n_events, number, declustering = (
        int(given.get(1, 10_000)),
        int(given.get(2, 1)),
        given.get(3, "cambridge"),
    )
    result = closure(n_events, number, declustering)
    if 4 in given:
        draw(result, Path(given[4]), next(iter(SHOWERS)))
    for shower in SHOWERS:
        for place in ("other", "high"):
            for name in OBSERVABLES:
                del result[shower][place][name]["histograms"]
    print(json.dumps(result, indent=1))
