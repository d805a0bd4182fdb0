"""Clustering of many events at once against fastjet on each event alone, and against the jets of CMS."""

import fastjet
import numpy as np
import pytest

from processors import particle_jets
from processors.clustering import ClusteredJets, cluster, partners
from processors.config import JetsConfig
from processors.jets import Jets
from processors.kernels.buffers import FlatJets
from processors.particles import Membership
from processors.ragged import offsets_of

ALGORITHMS = {
    "antikt": fastjet.antikt_algorithm,
    "cambridge": fastjet.cambridge_algorithm,
    "kt": fastjet.kt_algorithm,
}


def events_of(counts, seed=1):
    """Particles of random momenta, a fifth of them with a weight of 0."""
    rng = np.random.default_rng(seed)
    n = sum(counts)
    pt, eta, phi = rng.exponential(20, n), rng.normal(0, 1.5, n), rng.uniform(-np.pi, np.pi, n)
    pt *= rng.random(n) > 0.2
    p = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta))
    return FlatJets(
        *p, np.sqrt(p[0] ** 2 + p[1] ** 2 + p[2] ** 2 + 0.02 * (pt > 0)), offsets_of(np.array(counts))
    )


def one_by_one(particles, event, definition, pt_min):
    """(pT, η, φ, mass, particles) of each jet of one event, by fastjet's own objects."""
    rows = range(particles.offsets[event], particles.offsets[event + 1])
    inputs = []
    for row in rows:
        momentum = fastjet.PseudoJet(*(float(component[row]) for component in particles[:4]))
        momentum.set_user_index(row)
        if momentum.pt() > 0:
            inputs.append(momentum)
    if not inputs:
        return []
    sequence = fastjet._swig.ClusterSequence(inputs, definition)
    jets = fastjet.sorted_by_pt(sequence.inclusive_jets(pt_min))
    return [
        ((jet.pt(), jet.eta(), jet.phi_std(), jet.m()), {p.user_index() for p in jet.constituents()})
        for jet in jets
    ]


@pytest.mark.parametrize(
    ("algorithm", "radius", "pt_min"), [("antikt", 0.8, 20.0), ("cambridge", 0.4, 5.0), ("kt", 1.2, 0.0)]
)
@pytest.mark.parametrize("counts", [[30, 0, 1, 50, 0, 12], [0, 0], [], [25]])
def test_same_jets_as_event_by_event(algorithm, radius, pt_min, counts):
    particles = events_of(counts)
    jets = cluster(particles, algorithm=algorithm, radius=radius, pt_min=pt_min)
    definition = fastjet.JetDefinition(ALGORITHMS[algorithm], radius)
    expected = [one_by_one(particles, event, definition, pt_min) for event in range(len(counts))]
    assert jets.counts.tolist() == [len(event) for event in expected]
    flat = [jet for event in expected for jet in event]
    for k, (momentum, members) in enumerate(flat):
        ours = (jets.pt[k], jets.eta[k], jets.phi[k], jets.mass[k])
        np.testing.assert_allclose(ours, momentum, rtol=1e-9, atol=1e-6)
        assert set(jets.members.rows[jets.members.offsets[k] : jets.members.offsets[k + 1]]) == members


def clustered(counts, eta, phi):
    nothing = np.zeros(len(eta))
    members = Membership(np.zeros(len(eta) + 1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    return ClusteredJets(np.array(counts), nothing, np.array(eta), np.array(phi), nothing, members)


def test_partners_are_each_others_nearest_in_the_same_event():
    jets = clustered([3, 0, 1], eta=[0.0, 1.0, 0.1, 0.0], phi=[3.1, 0.0, 3.1, 0.0])
    stored = (np.array([0.02, 0.2, 1.3, 0.0, 2.0]), np.array([-3.1, 3.1, 0.0, 3.1, 0.0]))
    # the first across the seam in azimuth; the second nearer to the third clustered jet than to the first; the third 0.3 away;
    # the fourth in an event without clustered jets; the last too far away
    assert partners(stored, np.array([3, 1, 1]), jets, 0.4).tolist() == [0, 2, 1, -1, -1]
    assert partners(stored, np.array([3, 1, 1]), jets, 0.2).tolist() == [0, 2, -1, -1, -1]


def test_two_stored_jets_do_not_share_a_partner():
    jets = clustered([1], eta=[0.0], phi=[0.0])
    stored = (np.array([0.2, 0.1]), np.zeros(2))
    assert partners(stored, np.array([2]), jets, 0.4).tolist() == [-1, 0]


def flat(events, name):
    return np.concatenate([np.asarray(values, dtype=np.float64) for values in events[name]])


def test_reclustered_particles_are_the_jets_of_cms(cms_file, read_events, jets_of):
    """Bounds: pT before corrections within 1 %, axis within 0.02; measured 0.3 % and 0.0002."""
    events = read_events(cms_file("pfnano.root"))
    stored = jets_of(events, substructure="particles")
    ours = jets_of(events, source="particles", pt_min=100)
    entry = [np.flatnonzero(ours.entry == e) for e in stored.entry]
    eta, phi = flat(events, "FatJet_eta"), flat(events, "FatJet_phi")
    raw = flat(events, "FatJet_pt") * (1 - flat(events, "FatJet_rawFactor"))
    for k, candidates in enumerate(entry):
        d_phi = np.angle(np.exp(1j * (ours["phi"][candidates] - phi[k])))
        distance = np.hypot(ours["eta"][candidates] - eta[k], d_phi)
        match = candidates[np.argmin(distance)]
        assert distance.min() < 0.001
        assert ours["pt"][match] == pytest.approx(raw[k], rel=0.005)


def test_links_by_clustering_are_the_links_of_the_file(cms_file, read_events, jets_of):
    """All but particles of weight 0, which the file does not link either."""
    events = read_events(cms_file("pfnano.root"))
    by_file = jets_of(events, substructure="particles")
    by_clustering = jets_of(events, substructure="particles", links="clustering")
    every = np.arange(len(by_file.entry))
    for role in ("n_pf", "tau1", "tau4", "m"):
        np.testing.assert_allclose(by_clustering.of(role, every), by_file.of(role, every), rtol=1e-9)


def test_membership_of_stored_jets_ignores_the_radius_of_observables(read_events, jets_of):
    """Stored jets are CMS's AK8; τ_N = Σ …/(Σ pT R0) changes by R0 alone (J. Thaler, K. Van Tilburg, JHEP 03 (2011) 015)."""
    events = read_events(stop=20)
    usual = jets_of(events, substructure="particles", links="clustering")
    other = jets_of(
        events, substructure="particles", links="clustering", radius=1.2, algorithm="kt", pt_min=500
    )
    every = np.arange(len(usual.entry))
    for role in ("n_pf", "m"):
        np.testing.assert_array_equal(other.of(role, every), usual.of(role, every))
    # axes from exclusive kT clustering do not depend on R0 either
    np.testing.assert_allclose(other.of("tau1", every), usual.of("tau1", every) * 0.8 / 1.2, rtol=1e-9)


def test_leptons_of_stored_jets_ignore_the_radius_of_observables(cms_file, read_events, jets_of):
    events = read_events(cms_file("pfnano.root"))
    usual, other = (jets_of(events, substructure="particles", radius=radius) for radius in (0.8, 0.05))
    every = np.arange(len(usual.entry))
    np.testing.assert_array_equal(other.of("lsf3", every), usual.of("lsf3", every))


def test_only_entries_of_interest_are_clustered(read_events, chunk_of):
    config = JetsConfig(source="particles", pt_min=100)
    chunk = chunk_of(read_events(), config)
    alive = np.arange(chunk.size) % 3 == 0
    some, everything = Jets(chunk, config, alive), Jets(chunk, config, np.ones(chunk.size, dtype=bool))
    np.testing.assert_array_equal(some.counts, np.where(alive, everything.counts, 0))
    np.testing.assert_array_equal(some["pt"], everything["pt"][alive[everything.entry]])
    every = np.arange(len(some.entry))
    np.testing.assert_array_equal(
        some.of("tau2", every), everything.of("tau2", np.flatnonzero(alive[everything.entry]))
    )


def test_clustering_some_entries_at_a_time_changes_nothing(read_events, jets_of, monkeypatch):
    events = read_events()
    whole = jets_of(events, source="particles", pt_min=100)
    monkeypatch.setattr(particle_jets, "BATCH", 500)
    pieces = jets_of(events, source="particles", pt_min=100)
    np.testing.assert_array_equal(pieces.counts, whole.counts)
    every = np.arange(len(whole.entry))
    for role in ("pt", "eta", "phi", "m", "tau3", "n_pf"):
        np.testing.assert_array_equal(pieces.of(role, every), whole.of(role, every))


@pytest.mark.parametrize("n", [0, 3])
def test_entries_without_particles_have_no_clustered_jets(read_events, jets_of, n):
    events = read_events(stop=n)
    events |= {name: values[:, :0] for name, values in events.items() if name.startswith("PFCands")}
    jets = jets_of(events, source="particles")
    assert jets.counts.tolist() == [0] * n
    assert len(jets.of("tau1", np.zeros(0, dtype=np.int64))) == 0


def test_a_stored_jet_without_a_partner_has_no_particles(read_events, jets_of):
    events = read_events(stop=4)
    events["FatJet_eta"] = events["FatJet_eta"] + 20
    jets = jets_of(events, substructure="particles", links="clustering")
    every = np.arange(len(jets.entry))
    for role in ("n_pf", "m", "tau1", "lsf3"):
        assert np.all(jets.of(role, every) == 0)
