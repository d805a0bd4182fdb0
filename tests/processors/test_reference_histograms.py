"""Distributions of every feature for the shipped QCD and signals: as they were, and with the physics in them.

``reference_histograms.json`` is a regression reference: our own output, frozen. It tells that a change moved a feature,
not that the feature is right; that is the business of the physics below and of the oracles in the kernels' tests.
A definition that changes on purpose changes it: ``python tests/processors/test_reference_histograms.py`` writes it anew.
"""

import hashlib
import json
import re
import tempfile
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from sklearn.metrics import roc_auc_score

import data
from data.samples import read_samples
from processors.columns import EVENT_COLUMNS, columns
from processors.config import FeaturesConfig, JetsConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_skim
from processors.skim import read_features

REFERENCE = Path(__file__).with_name("reference_histograms.json")
MINI = Path(data.__file__).parent / "mini"
QCD, TWO_PRONGS, THREE_PRONGS = "qcd_particles", "signal_particles", "three_prong_particles"
SOURCES = ("stored", "particles")
EDGES = {  # number of bins, range
    "mjj": (25, 1500.0, 4000.0),
    "delta_eta": (26, 0.0, 1.3),
    "delta_m": (24, 0.0, 600.0),
    "pt": (20, 500.0, 2000.0),
    "eta": (20, -2.5, 2.5),
    "phi": (20, -3.1416, 3.1416),
    "m": (24, 0.0, 600.0),
    "rho": (20, 0.0, 0.5),
    "tau1": (20, 0.0, 0.5),
    "tau2": (20, 0.0, 0.25),
    "tau3": (20, 0.0, 0.15),
    "tau4": (20, 0.0, 0.1),
    "tau21": (20, 0.0, 1.0),
    "tau32": (20, 0.0, 1.0),
    "tau43": (20, 0.3, 1.05),
    "tau41": (20, 0.0, 0.8),
    "lsf3": (20, 0.0, 1.0),
    "deepb": (20, 0.0, 1.0),
    "n_pf": (20, 0.0, 160.0),
}
NOT_FEATURES = set(EVENT_COLUMNS) - {"mjj", "delta_eta"}
FEATURES = [name for name in columns(FeaturesConfig(), label=False) if name not in NOT_FEATURES]


def skimmed(sample, source, folder):
    """The feature table of a shipped sample."""
    options = EventOptions(jets=JetsConfig(substructure=source))
    run_skim(read_samples(MINI / "samples.yaml")[sample], ProcessingConfig(), options, folder)
    return read_features(folder / "features" / sample)


def edges_of(column):
    bins, low, high = EDGES[re.sub("_j[12]$", "", column)]
    return np.linspace(low, high, bins + 1)


def counted(table, column):
    """Events in each bin, with those below and above."""
    edges = np.concatenate([[-np.inf], edges_of(column), [np.inf]])
    return np.histogram(table[column].astype(np.float64), edges)[0].tolist()


def digests():
    return {
        name: hashlib.sha256((MINI / f"{name}_0.root").read_bytes()).hexdigest() for name in (QCD, TWO_PRONGS)
    }


def write_reference(path):
    """Freeze the histograms as they are now."""
    with tempfile.TemporaryDirectory() as folder:
        tables = {(n, s): skimmed(n, s, Path(folder) / s) for n in (QCD, TWO_PRONGS) for s in SOURCES}
    reference = {
        "what": "selected events of each feature; the first and the last number lie below and above the edges",
        "written_by": "tests/processors/test_reference_histograms.py",
        "sha256": digests(),
        "edges": {name: np.linspace(low, high, n + 1).tolist() for name, (n, low, high) in EDGES.items()},
        "counts": {
            name: {s: {column: counted(tables[name, s], column) for column in FEATURES} for s in SOURCES}
            for name in (QCD, TWO_PRONGS)
        },
    }
    text = json.dumps(reference, indent=1)
    path.write_text(re.sub(r"\[[^\[\]]*\]", lambda row: " ".join(row.group().split()), text) + "\n")


def most_moved(counts, reference):
    """Largest number of events that went over one border."""
    return int(np.abs(np.cumsum(counts) - np.cumsum(reference)).max())


@pytest.fixture(scope="module")
def reference():
    return json.loads(REFERENCE.read_text())


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    made = [(name, "particles") for name in (QCD, TWO_PRONGS, THREE_PRONGS)]
    made += [(name, "stored") for name in (QCD, TWO_PRONGS)]
    return {(n, s): skimmed(n, s, tmp_path_factory.mktemp(s)) for n, s in made}


def both_jets(table, feature):
    return np.concatenate([table[f"{feature}_{jet}"] for jet in ("j1", "j2")]).astype(np.float64)


# the frozen histograms


def test_the_reference_is_of_the_shipped_files(reference):
    assert reference["sha256"] == digests(), "the shipped sample changed: write the reference anew"
    assert {name: np.asarray(e).tolist() for name, e in reference["edges"].items()} == {
        name: edges_of(name).tolist() for name in EDGES
    }


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("sample", [QCD, TWO_PRONGS])
def test_every_feature_is_as_it_was(reference, tables, sample, source):
    """Stored values to the event.

    What is computed (of particles, and mjj by sine and cosine) may differ in the last bit between types of CPU,
    whose mathematical functions and fused multiply-add round differently: at each border of a bin one of some
    thousand events may lie so close that it changes sides.
    """
    table, frozen = tables[sample, source], reference["counts"][sample][source]
    assert list(frozen) == FEATURES
    moved = {}
    for column in FEATURES:
        counts = counted(table, column)
        assert sum(counts) == sum(frozen[column]) == len(table["mjj"])
        allowed = 0 if source == "stored" and column != "mjj" else 1
        if most_moved(counts, frozen[column]) > allowed:
            moved[column] = np.subtract(counts, frozen[column]).tolist()
    assert not moved, f"new − old: {moved}"


@pytest.mark.parametrize("column", [name for name in FEATURES if not name.startswith("lsf3")])
def test_the_reference_sees_a_change_of_two_percent(reference, tables, column):
    """A check of the check above; most jets have no lepton, so LSF3 is left out."""
    table = {column: tables[QCD, "particles"][column] * np.float32(1.02)}
    frozen = reference["counts"][QCD]["particles"][column]
    assert most_moved(counted(table, column), frozen) > 1


# the physics in them; masses of the particles by the recipe that simulated them


def peak(masses, low, high):
    """Median (GeV) of the masses within 10 % of the fullest 20 GeV bin, and then of itself until it stays."""
    inside = masses[(masses > low) & (masses < high)].astype(np.float64)
    counts, edges = np.histogram(inside, np.arange(low, high + 1, 20))
    position, before = edges[np.argmax(counts)] + 10, 0.0
    while position != before:
        before, position = position, np.median(inside[np.abs(inside / position - 1) < 0.1])
    return position


@pytest.mark.parametrize(
    ("sample", "column", "between", "mass", "precision"),
    [
        (TWO_PRONGS, "m_j1", (100, 600), 400.0, 0.05),  # Y
        (TWO_PRONGS, "m_j2", (100, 600), 400.0, 0.05),  # Y′
        (THREE_PRONGS, "m_j1", (200, 600), 400.0, 0.05),  # B′ → b Z
        (THREE_PRONGS, "m_j2", (120, 300), 172.6, 0.05),  # t → b W (PDG 2024)
        (THREE_PRONGS, "m_j2", (40, 140), (80.4 + 91.2) / 2, 0.10),  # W or Z without the b
        (TWO_PRONGS, "mjj", (1500, 4500), 3000.0, 0.10),  # X; what is radiated out of the jets is lost
        (THREE_PRONGS, "mjj", (1500, 4500), 3000.0, 0.10),  # W′
    ],
)
def test_masses_peak_where_the_particles_are(tables, sample, column, between, mass, precision):
    values = tables[sample, "particles"][column]
    found = peak(values, *between)
    assert found == pytest.approx(mass, rel=precision)
    # a peak, not a place on a slope: above the QCD of the same mass, and above its own neighbourhood
    near = {n: np.mean(np.abs(tables[n, "particles"][column] / found - 1) < 0.1) for n in (sample, QCD)}
    assert near[sample] > 1.8 * near[QCD]
    below, above = (np.mean(np.abs(values / (found * side) - 1) < 0.1) for side in (0.75, 1.3))
    assert near[sample] > 1.2 * max(below, above)


def area(tables, feature, lower, higher):
    """Probability that a jet of one sample has a lower value than one of the other, for jets above 200 GeV."""
    chosen = []
    for name in (lower, higher):
        table = tables[name, "particles"]
        chosen.append(both_jets(table, feature)[both_jets(table, "m") > 200.0])
    truth = np.repeat([1, 0], [len(values) for values in chosen])
    return roc_auc_score(truth, -np.concatenate(chosen))


def test_tau21_counts_two_prongs_and_tau32_three(tables):
    """J. Thaler, K. Van Tilburg, JHEP 03 (2011) 015: the ratio τ_N/τ_(N−1) is low for N prongs.

    At like masses (jets above 200 GeV), and for no other number of prongs.
    """
    assert area(tables, "tau21", TWO_PRONGS, QCD) > 0.7
    assert area(tables, "tau21", TWO_PRONGS, THREE_PRONGS) > 0.7
    assert 0.4 < area(tables, "tau21", THREE_PRONGS, QCD) < 0.6
    assert area(tables, "tau32", THREE_PRONGS, QCD) > 0.68
    assert area(tables, "tau32", THREE_PRONGS, TWO_PRONGS) > 0.62
    assert 0.45 < area(tables, "tau32", TWO_PRONGS, QCD) < 0.62


def test_conventional_cuts_select_their_prongs(tables):
    """The cuts on two and three prongs that CMS compares with (arXiv:2412.03747): τ21 < 0.4, τ32 < 0.65, m > 50 GeV."""

    def efficiency(name, feature, cut):
        table = tables[name, "particles"]
        passed = (both_jets(table, feature) < cut) & (both_jets(table, "m") > 50.0)
        return np.mean(passed)

    assert efficiency(TWO_PRONGS, "tau21", 0.4) > 3 * efficiency(QCD, "tau21", 0.4)
    assert efficiency(THREE_PRONGS, "tau32", 0.65) > 4 * efficiency(QCD, "tau32", 0.65)
    assert efficiency(TWO_PRONGS, "tau21", 0.4) > 1.5 * efficiency(THREE_PRONGS, "tau21", 0.4)
    assert efficiency(THREE_PRONGS, "tau32", 0.65) > 1.5 * efficiency(TWO_PRONGS, "tau32", 0.65)


def test_gluon_jets_have_more_particles_than_quark_jets():
    """More by less than the ratio of the colour factors, C_A/C_F = 9/4, to which it tends at very high energy.

    S. Brodsky, J. Gunion, Phys. Rev. Lett. 37 (1976) 402; measured: ATLAS, Eur. Phys. J. C 76 (2016) 322.
    """
    with uproot.open(MINI / f"{QCD}_0.root") as file:
        events = file["Events"].arrays(filter_name=["FatJet_*", "GenPart_*"])
    jets = ak.zip({q: events[f"FatJet_{q}"][:, :2] for q in ("eta", "phi", "nConstituents")})
    outgoing = events.GenPart_status == 23
    partons = ak.zip({q: events[f"GenPart_{q}"][outgoing] for q in ("eta", "phi", "pdgId")})
    jet, parton = ak.unzip(ak.cartesian([jets, partons], nested=True))
    d_phi = (jet.phi - parton.phi + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(jet.eta - parton.eta, d_phi)
    nearest = ak.argmin(distance, axis=2, keepdims=True)
    matched = ak.flatten(distance[nearest], axis=None) < 0.4
    gluon = (ak.flatten(parton.pdgId[nearest], axis=None) == 21)[matched]
    n_pf = ak.flatten(jets.nConstituents)[matched]
    assert min(ak.sum(gluon), ak.sum(~gluon)) > 1000
    assert 1.3 < ak.mean(n_pf[gluon]) / ak.mean(n_pf[~gluon]) < 9 / 4


def test_azimuth_is_flat(tables):
    """χ² of 20 bins: above 45 with a probability of 7·10⁻⁴."""
    for (name, source), table in tables.items():
        counts = np.histogram(table["phi_j1"], np.linspace(-np.pi, np.pi, 21))[0]
        expected = counts.sum() / 20
        assert np.sum((counts - expected) ** 2 / expected) < 45, (name, source)


def test_grooming_leaves_no_sudakov_peak_in_qcd(tables):
    """The mass that z > 0.1 leaves is spread evenly in ln m², but for slow logarithms.

    M. Dasgupta, A. Fregoso, S. Marzani, G. Salam, JHEP 09 (2013) 029. Between the region of hadronisation
    (m² ~ Λ pT R with Λ ~ 1 GeV) and m² = z_cut pT² R².
    """
    table = tables[QCD, "particles"]
    mass, pt = both_jets(table, "m"), both_jets(table, "pt")
    logarithm = np.log((mass[mass > 0] / (0.8 * pt[mass > 0])) ** 2)
    counts = np.histogram(logarithm, np.linspace(-6.5, -2.3, 7))[0]
    assert counts.min() > 0.5 * counts.max()


if __name__ == "__main__":
    write_reference(REFERENCE)
