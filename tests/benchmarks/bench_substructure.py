"""CPU per jet of our substructure kernels and of fastjet, on toy jets of some 70 particles.

Prints one JSON object; run it as ``python tests/benchmarks/bench_substructure.py [number of jets]``.
"""

import json
import sys
import time

import awkward as ak
import numpy as np

from processors.substructure import nsubjettiness, soft_drop


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


def cpu_per_jet(function, n_jets):
    """Least CPU time of three calls, in µs per jet."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e6 * min(times) / n_jets


def measure(n_jets):
    """CPU per jet (µs) of soft drop and τ1…τ4, ours and fastjet's, reclustering included."""
    import fastjet

    jets = toy_jets(n_jets, seed=1)
    momenta = cartesian(jets)
    cambridge = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)
    soft_drop(jets)  # compile
    nsubjettiness(jets, [1, 2, 3, 4])

    def sequence():
        return fastjet.ClusterSequence(momenta, cambridge)

    clustering = cpu_per_jet(sequence, n_jets)
    return {
        "n_jets": n_jets,
        "particles_per_jet": float(ak.mean(ak.num(jets))),
        "cpu_us_per_jet": {
            "soft_drop": cpu_per_jet(lambda: soft_drop(jets), n_jets),
            "soft_drop_fastjet": cpu_per_jet(lambda: sequence().exclusive_jets_softdrop_grooming(), n_jets),
            "tau1234_onepass": cpu_per_jet(lambda: nsubjettiness(jets, [1, 2, 3, 4]), n_jets),
            "tau1234_onepass_fastjet": cpu_per_jet(lambda: sequence().njettiness(), n_jets) - clustering,
            "tau1234_kt": cpu_per_jet(lambda: nsubjettiness(jets, [1, 2, 3, 4], axes="kt"), n_jets),
            "clustering_fastjet": clustering,
        },
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 2000), indent=2))
