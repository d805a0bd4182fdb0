"""Particles of a chunk: which jet they are in, their momenta, and what is refused."""

import awkward as ak
import numpy as np
import pytest

from data.errors import InputError
from processors.kernels.buffers import flat_jets
from processors.particles import Particles, charge_of, linked_particles


def changed(array, entry, place, value):
    """The array with one element replaced."""
    lists = ak.to_list(array)
    lists[entry][place] = value
    return ak.values_astype(ak.Array(lists), ak.type(array).content.content.primitive)


def members_by_hand(events, entry, jet):
    """The particles of one jet, straight from the branches."""
    linked = events["FatJetPFCands_jetIdx"][entry] == jet
    rows = events["FatJetPFCands_pFCandsIdx"][entry][linked]
    return {
        name: events[f"PFCands_{name}"][entry][rows]
        for name in ("pt", "eta", "phi", "mass", "pdgId", "charge")
    }


def test_particles_of_chosen_jets_are_those_the_file_links(read_events, jets_of):
    events = read_events()
    jets = jets_of(events, substructure="particles")
    chosen = np.array([7, 2, 30, 2])
    particles = jets.particle_jets.particles_of(chosen)
    first = np.cumsum(jets.counts) - jets.counts
    for number, jet in enumerate(chosen):
        entry = jets.entry[jet]
        expected = members_by_hand(events, entry, jet - first[entry])
        mine = slice(*particles.offsets[number : number + 2])
        records = ak.zip({name: ak.Array([expected[name]]) for name in ("pt", "eta", "phi", "mass")})
        for ours, theirs in zip(particles.unweighted()[:4], flat_jets(records)[:4], strict=True):
            np.testing.assert_allclose(ours[mine], theirs, rtol=1e-12)
        np.testing.assert_array_equal(particles.id[mine], expected["pdgId"])
        np.testing.assert_array_equal(particles.charge[mine], expected["charge"])


def test_charge_without_a_branch_follows_from_the_kind_of_particle(read_events, chunk_of):
    events = read_events()
    assert charge_of(np.array([211, -211, 11, -11, 13, -13, 22, 130, 1, 2])).tolist() == [
        *(1, -1, -1, 1, -1, 1),
        *(0, 0, 0, 0),
    ]
    stored = ak.to_numpy(ak.flatten(events.pop("PFCands_charge")))
    particles = Particles(chunk_of(events))
    rows = np.arange(len(stored))
    np.testing.assert_array_equal(particles.take(rows, np.array([0, len(rows)])).charge, stored)


def test_weights_multiply_the_momenta_and_are_one_without_a_branch(read_events, jets_of):
    events = read_events()
    n = ak.num(events["PFCands_pt"])
    events["PFCands_puppiWeight"] = ak.unflatten(np.linspace(0, 1, ak.sum(n)).astype(np.float32), n)
    particles = jets_of(events, substructure="particles").particle_jets.particles_of(np.arange(5))
    assert 0 < particles.weight.max() < 1
    np.testing.assert_array_equal(particles.weighted().pz, particles.pz * particles.weight)
    ignored = jets_of(events, substructure="particles", pt_weights="none")
    assert np.all(ignored.particle_jets.particles_of(np.arange(5)).weight == 1)


def test_links_out_of_order_and_links_to_no_jet(read_events, chunk_of):
    events = read_events(stop=3)
    counts = [ak.to_numpy(ak.num(events[name])) for name in ("FatJet_pt", "PFCands_pt")]
    ordered = linked_particles(chunk_of(events), *counts)
    order = ak.unflatten(
        np.random.default_rng(1).permuted(np.arange(ak.count(events["FatJetPFCands_jetIdx"]))),
        ak.num(events["FatJetPFCands_jetIdx"]),
    )
    order = ak.argsort(order, axis=1)
    for name in ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"):
        events[name] = events[name][order]
    shuffled = linked_particles(chunk_of(events), *counts)
    np.testing.assert_array_equal(shuffled.offsets, ordered.offsets)
    for start, stop in zip(ordered.offsets[:-1], ordered.offsets[1:], strict=True):
        assert set(shuffled.rows[start:stop]) == set(ordered.rows[start:stop])

    events["FatJetPFCands_jetIdx"] = ak.where(
        events["FatJetPFCands_jetIdx"] == 0, -1, events["FatJetPFCands_jetIdx"]
    )
    without = linked_particles(chunk_of(events), *counts)
    assert np.diff(without.offsets)[0] == 0
    np.testing.assert_array_equal(np.diff(without.offsets)[1], np.diff(ordered.offsets)[1])


@pytest.mark.parametrize(
    ("branch", "value", "message"),
    [
        ("PFCands_pt", np.nan, "PFCands_pt holds nan"),
        ("PFCands_pt", np.inf, "PFCands_pt holds inf"),
        ("PFCands_pt", -1.0, r"PFCands_pt holds -1\.0"),
        ("PFCands_eta", np.nan, "PFCands_eta holds nan"),
        ("PFCands_eta", 1e4, r"PFCands_eta holds 10000\.0"),
        ("PFCands_phi", -np.inf, "PFCands_phi holds -inf"),
        ("PFCands_mass", np.nan, "PFCands_mass holds nan"),
        ("PFCands_mass", -1e6, r"PFCands_mass holds -1000000\.0"),
        ("PFCands_puppiWeight", np.nan, "PFCands_puppiWeight holds nan"),
        ("PFCands_puppiWeight", -0.5, r"PFCands_puppiWeight holds -0\.5"),
        ("FatJetPFCands_pFCandsIdx", 30000, "FatJetPFCands_pFCandsIdx points to particle 30000"),
        ("FatJetPFCands_pFCandsIdx", -1, "FatJetPFCands_pFCandsIdx points to particle -1"),
        ("FatJetPFCands_jetIdx", 9, "FatJetPFCands_jetIdx points to jet 9, which is not there"),
    ],
)
def test_damaged_particles_and_links_are_refused(read_events, jets_of, branch, value, message):
    events = read_events(stop=5)
    events[branch] = changed(events[branch], 3, 2, value)
    with pytest.raises(InputError, match=rf"file 'a\.root': branch {message}.* in entry 1003"):
        jets_of(events, substructure="particles").of("tau1", np.array([0]))


def test_a_particle_twice_in_a_jet_is_refused(read_events, jets_of):
    events = read_events(stop=5)
    links = [ak.to_list(events[name]) for name in ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx")]
    second = links[0][3].index(1)
    particle = links[1][3][second]
    links[0][3].append(1)
    links[1][3].append(particle)
    for name, values in zip(("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx"), links, strict=True):
        events[name] = ak.Array(values)
    message = rf"file 'a\.root': branch FatJetPFCands_pFCandsIdx links particle {particle} to jet 1 twice in entry 1003"
    with pytest.raises(InputError, match=message):
        jets_of(events, substructure="particles").of("m", np.array([0]))


def test_a_particle_in_two_jets_counts_in_both(read_events, chunk_of):
    events = read_events(stop=3)
    counts = [ak.to_numpy(ak.num(events[name])) for name in ("FatJet_pt", "PFCands_pt")]
    before = np.diff(linked_particles(chunk_of(events), *counts).offsets)
    jet, particle = (ak.to_list(events[f"FatJetPFCands_{name}"]) for name in ("jetIdx", "pFCandsIdx"))
    jet[0].append(1)
    particle[0].append(particle[0][jet[0].index(0)])
    events["FatJetPFCands_jetIdx"], events["FatJetPFCands_pFCandsIdx"] = ak.Array(jet), ak.Array(particle)
    members = linked_particles(chunk_of(events), *counts)
    expected = before + (np.arange(len(before)) == 1)
    np.testing.assert_array_equal(np.diff(members.offsets), expected)
    shared = members.rows[members.offsets[2] - 1]
    assert shared in members.rows[: members.offsets[1]]


@pytest.mark.parametrize("branch", ["PFCands_phi", "FatJetPFCands_pFCandsIdx"])
def test_branches_of_unequal_length_are_refused(read_events, jets_of, branch):
    events = read_events(stop=5)
    events[branch] = ak.concatenate([events[branch][:4], events[branch][4:, 1:]])
    with pytest.raises(InputError, match=rf"branch {branch} has \d+ values where \w+ has \d+ in entry 1004"):
        jets_of(events, substructure="particles").of("tau1", np.array([0]))


def test_a_slightly_negative_mass_is_no_damage(read_events, jets_of):
    events = read_events(stop=5)
    events["PFCands_mass"] = changed(events["PFCands_mass"], 3, 2, -0.002)
    assert np.isfinite(jets_of(events, substructure="particles").of("m", np.array([0])))
