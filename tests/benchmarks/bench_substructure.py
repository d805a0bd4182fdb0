"""CPU per jet of our substructure kernels and of fastjet, one core, in one run on the same jets.

Jets of the shipped simulation (data/mini: pT of 1.1 TeV on average, multijets and a signal); toy jets for the growth
of the cost with the number of particles. Prints one JSON object; run it as
``python tests/benchmarks/bench_substructure.py [number of jets]``.
"""

import json
import sys
import time
from pathlib import Path

import awkward as ak
import numba
import numpy as np
import uproot

from processors.kernels import flat_nsubjettiness, flat_soft_drop
from processors.kernels.buffers import flat_jets
from processors.kernels.clustering import CAMBRIDGE, KT, cluster, largest_jet, load_jet, new_nodes
from processors.kernels.combined import flat_features
from processors.substructure import jet_substructure, lsf, nsubjettiness, soft_drop

MINI = Path(__file__).parents[2] / "data" / "mini"
N = [1, 2, 3, 4]

FEWEST = 45  # particles of a jet


def toy_jets(n_jets, *, seed, n_prongs=2, pt=600.0, generations=7):
    """Jets by collinear splittings: a few hard prongs, then angular-ordered emissions with dP ~ dz/z dθ/θ.

    Returns an awkward array jets × particles of ``pt eta phi mass`` (GeV, rad), some 70 particles a jet.
    """
    rng = np.random.default_rng(seed)
    jet = np.repeat(np.arange(n_jets), n_prongs)
    share = rng.dirichlet(np.full(n_prongs, 3.0), n_jets).ravel()
    energy = pt * share * np.repeat(rng.uniform(0.7, 1.5, n_jets), n_prongs)
    eta = np.repeat(rng.normal(0, 1, n_jets), n_prongs) + rng.normal(0, 0.2, jet.size)
    phi = np.repeat(rng.uniform(-np.pi, np.pi, n_jets), n_prongs) + rng.normal(0, 0.2, jet.size)
    angle = np.full(jet.size, 0.4)
    for _ in range(generations):
        z = 0.5 * 0.02 ** rng.uniform(size=jet.size)
        z = np.where(energy > 3.0, z, 0.0)  # soft particles split no more
        angle = angle * rng.uniform(size=jet.size) ** 0.5
        side = rng.uniform(0, 2 * np.pi, jet.size)
        emitted = z > 0
        d_eta, d_phi = angle * np.cos(side), angle * np.sin(side)
        eta, phi = (
            np.concatenate([eta - z * d_eta, (eta + (1 - z) * d_eta)[emitted]]),
            np.concatenate([phi - z * d_phi, (phi + (1 - z) * d_phi)[emitted]]),
        )
        energy = np.concatenate([energy * (1 - z), (energy * z)[emitted]])
        jet, angle = np.concatenate([jet, jet[emitted]]), np.concatenate([angle, angle[emitted]])
    order = np.argsort(jet, kind="stable")
    columns = {
        "pt": energy,
        "eta": eta,
        "phi": np.angle(np.exp(1j * phi)),
        "mass": np.full(jet.size, 0.13957),
    }
    counts = np.bincount(jet, minlength=n_jets)
    return ak.zip({name: ak.unflatten(values[order], counts) for name, values in columns.items()})


def cartesian(jets):
    """The same jets as ``px py pz E``, for fastjet."""
    px, py, pz = jets.pt * np.cos(jets.phi), jets.pt * np.sin(jets.phi), jets.pt * np.sinh(jets.eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + jets.mass**2)
    return ak.zip({"px": px, "py": py, "pz": pz, "E": energy}, with_name="Momentum4D")


def cpu_per_jet(function, n_jets, repeats=5):
    """Least CPU time of some calls, in µs per jet; what is compiled at the first is ready."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e6 * min(times) / n_jets


def shipped_jets(n_jets):
    """Jets with pT > 500 GeV of the shipped simulation, half multijets, half signal; and which particles are leptons.

    The simulation has no multiparton interactions: jets of 45 particles or more have about as many as those of data.
    """
    jets, leptons = [], []
    for sample in ("qcd", "signal"):
        names = [f"PFCands_{q}" for q in ("pt", "eta", "phi", "mass", "pdgId")]
        names += ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "FatJet_pt"]
        with uproot.open(MINI / f"{sample}_particles_0.root") as file:
            events = file["Events"].arrays(names)
        columns = {
            q: events[f"PFCands_{q}"][events.FatJetPFCands_pFCandsIdx] for q in ("pt", "eta", "phi", "mass")
        }
        identity = abs(events.PFCands_pdgId[events.FatJetPFCands_pFCandsIdx])
        is_lepton = ((identity == 11) | (identity == 13)) & (columns["pt"] > 10)
        for jet in (0, 1):
            here = (events.FatJetPFCands_jetIdx == jet)[events.FatJet_pt[:, jet] > 500]
            chosen = events.FatJet_pt[:, jet] > 500
            found, leptonic = ak.zip(columns)[chosen][here], is_lepton[chosen][here]
            large = ak.num(found) >= FEWEST
            jets.append(found[large][: n_jets // 4])
            leptons.append(leptonic[large][: n_jets // 4])
    return ak.concatenate(jets), ak.concatenate(leptons)


@numba.njit
def touch(px, py, pz, e):
    """Read every particle once: rapidity and pT²."""
    total = 0.0
    for i in range(len(px)):
        total += np.log((e[i] + pz[i]) / (e[i] - pz[i])) + px[i] * px[i] + py[i] * py[i]
    return total


@numba.njit
def histories(px, py, pz, e, offsets, algorithm):
    """Load every jet, and cluster it unless ``algorithm`` is negative."""
    largest = largest_jet(offsets)
    nodes, origin = new_nodes(largest), np.empty(largest, dtype=np.int64)
    child, parents = np.empty(2 * largest + 2, dtype=np.int64), np.empty((2, 2 * largest + 2), dtype=np.int64)
    for jet in range(len(offsets) - 1):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n > 0 and algorithm >= 0:
            cluster(nodes, n, algorithm, parents, child)


def fastjet_functions(momenta, has_lepton):
    """What fastjet does for the same results."""
    import fastjet

    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    cambridge = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)
    kt = fastjet.JetDefinition(fastjet.kt_algorithm, 10.0)
    with_lepton = momenta[has_lepton]

    def sequence():
        return fastjet.ClusterSequence(momenta, cambridge)

    return {
        "clustering": sequence,
        "soft_drop": lambda: sequence().exclusive_jets_softdrop_grooming(),
        "tau1234_onepass": lambda: sequence().njettiness("NormalizedMeasure", "OnePass_KT_Axes", N, 1.0, 0.8),
        "lund": lambda: sequence().exclusive_jets_lund_declusterings(1),
        "lsf3": lambda: fastjet.ClusterSequence(with_lepton, kt).exclusive_jets_constituent_index(3),
    }


def our_functions(jets, leptons):
    """Ours, from awkward arrays, and the parts of it, from flat buffers."""
    flat = flat_jets(jets)
    return {
        "soft_drop": lambda: soft_drop(jets),
        "tau1234_onepass": lambda: nsubjettiness(jets, N),
        "tau1234_kt": lambda: nsubjettiness(jets, N, axes="kt"),
        "lsf3": lambda: lsf(jets, leptons),
        "combined": lambda: jet_substructure(jets, leptons=leptons),
        "part_touch_each_particle": lambda: touch(*flat[:4]),
        "part_awkward_to_flat": lambda: flat_jets(jets),
        "part_load": lambda: histories(*flat, -1),
        "part_load_and_cambridge_aachen": lambda: histories(*flat, CAMBRIDGE),
        "part_load_and_kt": lambda: histories(*flat, KT),
    }


def growth(n_jets=20):
    """Exponents of the kernels' CPU against the number of particles, of jets of 100, 200 and 400."""
    jets = toy_jets(n_jets * 3, seed=5, pt=20000.0, generations=11)
    jets = jets[ak.num(jets) >= 400][:n_jets]
    cost = {}
    for size in (100, 200, 400):
        flat = flat_jets(jets[:, :size])
        no_lepton, ones = np.full(len(jets), -1), np.ones(len(flat.px))
        functions = {
            "soft_drop": lambda flat=flat: flat_soft_drop(*flat, 0.1, 0.0, 0.8),
            "tau1234_onepass": lambda flat=flat: flat_nsubjettiness(*flat, 4, 0.8, 1.0, True),  # noqa: FBT003
            "combined": lambda flat=flat, none=no_lepton, ones=ones: flat_features(
                *flat, ones, none, np.zeros(len(none)), 4, 3, (0.1, 0.0, 0.8)
            ),
        }
        cost[size] = {name: cpu_per_jet(call, len(jets)) for name, call in functions.items()}
    return {
        "cpu_us_per_jet": cost,
        "exponent_100_to_400": {f: float(np.log2(cost[400][f] / cost[100][f]) / 2) for f in cost[100]},
        "exponent_200_to_400": {f: float(np.log2(cost[400][f] / cost[200][f])) for f in cost[100]},
    }


def measure(n_jets):
    """CPU per jet (µs), ours and fastjet's with its clustering; ratios; growth."""
    jets, leptons = shipped_jets(n_jets)
    n = len(jets)
    ours, theirs = our_functions(jets, leptons), fastjet_functions(cartesian(jets), ak.any(leptons, axis=1))
    ours, theirs = ({name: cpu_per_jet(f, n) for name, f in calls.items()} for calls in (ours, theirs))
    # each of fastjet's functions clusters anew here; it could share the Cambridge/Aachen history
    together = theirs["lsf3"] + theirs["clustering"]
    together += sum(theirs[name] - theirs["clustering"] for name in ("soft_drop", "tau1234_onepass", "lund"))
    return {
        "n_jets": n,
        "particles_per_jet": float(ak.mean(ak.num(jets))),
        "cpu_us_per_jet": ours,
        "fastjet_cpu_us_per_jet": theirs | {"combined": together},
        "times_faster": {
            "soft_drop": theirs["soft_drop"] / ours["soft_drop"],
            # without the clustering, which fastjet's axes do again
            "tau1234_onepass": (theirs["tau1234_onepass"] - theirs["clustering"]) / ours["tau1234_onepass"],
            "combined": together / ours["combined"],
        },
        "growth": growth(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 4000), indent=2))
