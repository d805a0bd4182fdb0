"""CPU per jet of energy correlators, Lund plane, subjets, images and constituents, ours and fastjet's in one run.

The jets are those of ``data/mini/qcd_particles_0.root``. Prints one JSON object; run it as
``python tests/benchmarks/bench_shapes.py [number of jets]``.
"""

import json
import runpy
import sys
import warnings
from pathlib import Path

import awkward as ak
import uproot

from processors.correlators import energy_correlators
from processors.images import constituent_array, jet_image
from processors.jet_shapes import jet_charge, pt_dispersion
from processors.lund import lund_declustering
from processors.subjets import exclusive_subjets, soft_drop_mask

BENCH = runpy.run_path(str(Path(__file__).with_name("bench_substructure.py")))
MINI = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"


def mini_jets(n_jets):
    """Particles ``pt eta phi mass charge`` of the first ``n_jets`` jets above 300 GeV of the shipped file."""
    with uproot.open(MINI) as file:
        events = file["Events"].arrays(filter_name=["PFCands_*", "FatJetPFCands_*", "FatJet_pt"])
    rows = events.FatJetPFCands_pFCandsIdx
    names = ("pt", "eta", "phi", "mass", "charge")
    linked = ak.zip({name: events[f"PFCands_{name}"][rows] for name in names})
    of_jet = events.FatJetPFCands_jetIdx[:, None] == ak.local_index(events.FatJet_pt)[:, :, None]
    _, repeated = ak.broadcast_arrays(events.FatJet_pt, linked[:, None])
    jets = ak.flatten(repeated[of_jet][events.FatJet_pt > 300], axis=1)
    return ak.to_packed(jets[:n_jets])


def measure(n_jets):
    """CPU per jet (µs), ours and fastjet's (reclustering included), and how many times slower fastjet's is."""
    import fastjet

    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # standard output is JSON

    jets = mini_jets(n_jets)
    few = max(1, n_jets // 20)  # fastjet takes tens of milliseconds a jet for N3
    momenta = BENCH["cartesian"](jets)
    cambridge = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    kt = fastjet.JetDefinition(fastjet.kt_algorithm, 1000.0)

    def correlators(*functions, upto=n_jets):
        sequence = fastjet.ClusterSequence(momenta[:upto], cambridge)
        for function in functions:
            sequence.exclusive_jets_energy_correlator(njets=1, beta=1.0, func=function)

    def subjets():
        sequence = fastjet.ClusterSequence(momenta, kt)
        with warnings.catch_warnings():  # it warns of every algorithm
            warnings.simplefilter("ignore")
            prongs, groups = sequence.exclusive_jets(3), sequence.exclusive_jets_constituent_index(3)
        # as ours: the hardest first, and the subjet of each particle
        hardest = ak.argsort(prongs.px**2 + prongs.py**2, axis=1, ascending=False)
        prongs, groups = prongs[hardest], groups[hardest]
        subjet, _ = ak.broadcast_arrays(ak.local_index(groups, axis=1), groups)
        particle = ak.argsort(ak.flatten(groups, axis=2), axis=1)
        return prongs, ak.flatten(subjet, axis=2)[particle]

    def groomed():
        fastjet.ClusterSequence(momenta, cambridge).exclusive_jets_softdrop_grooming()

    def lund():
        fastjet.ClusterSequence(momenta, cambridge).exclusive_jets_lund_declusterings(1)

    ours = {
        "correlators_3": lambda: energy_correlators(jets),
        "correlators_4": lambda: energy_correlators(jets, four_points=True),
        "correlators_4_groomed": lambda: energy_correlators(jets[soft_drop_mask(jets)], four_points=True),
        "lund_primary": lambda: lund_declustering(jets),
        "lund_all": lambda: lund_declustering(jets, primary=False),
        "subjets_3": lambda: exclusive_subjets(jets, 3),
        "soft_drop_mask": lambda: soft_drop_mask(jets),
        "charge_and_dispersion": lambda: (jet_charge(jets, jets.charge), pt_dispersion(jets)),
        "image_40": lambda: jet_image(jets),
        "constituents_100": lambda: constituent_array(jets),
    }
    theirs = {
        "correlators_3": (lambda: correlators("C2", "D2", "N2"), n_jets),
        "correlators_4": (lambda: correlators("N3", upto=few), few),
        "lund_primary": (lund, n_jets),
        "subjets_3": (subjets, n_jets),
        "soft_drop_mask": (groomed, n_jets),
    }
    for function in ours.values():
        function()  # compile
    cost = {name: BENCH["cpu_per_jet"](function, n_jets) for name, function in ours.items()}
    cost_fastjet = {name: BENCH["cpu_per_jet"](*task) for name, task in theirs.items()}
    return {
        "n_jets": n_jets,
        "particles_per_jet": float(ak.mean(ak.num(jets))),
        "cpu_us_per_jet": cost,
        "cpu_us_per_jet_fastjet": cost_fastjet,
        "fastjet_over_ours": {name: cost_fastjet[name] / cost[name] for name in cost_fastjet},
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000), indent=2))
