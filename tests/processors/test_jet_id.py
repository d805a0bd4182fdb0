"""Tight identification by hand, and the composition of jets against CMS's own fractions."""

import awkward as ak
import numpy as np
import pytest

from processors import particle_jets
from processors.jet_id import Composition, composition, tight
from processors.particles import JetParticles

GOOD = {
    "charged_hadron": 0.5,
    "neutral_hadron": 0.2,
    "neutral_em": 0.3,
    "charged_multiplicity": 10,
    "neutral_multiplicity": 10,
}


def passes(eta, **changes):
    made_of = {name: np.array([value]) for name, value in (GOOD | changes).items()}
    return bool(tight(np.array([eta]), Composition(**made_of))[0])


@pytest.mark.parametrize(
    ("eta", "changes", "expected"),
    [  # the cuts of JetID13p6TeV for PUPPI jets, each from both sides
        (0.0, {}, True),
        (-2.6, {"neutral_hadron": 0.989}, True),
        (2.6, {"neutral_hadron": 0.99}, False),
        (2.6, {"neutral_em": 0.899}, True),
        (2.6, {"neutral_em": 0.9}, False),
        (-1.0, {"charged_multiplicity": 1, "neutral_multiplicity": 0}, False),
        (1.0, {"charged_multiplicity": 1, "neutral_multiplicity": 1}, True),
        (1.0, {"charged_multiplicity": 0}, False),
        (1.0, {"charged_hadron": 0.01}, False),
        (1.0, {"charged_hadron": 0.011}, True),
        (2.65, {"charged_multiplicity": 0, "charged_hadron": 0.0}, True),
        (2.65, {"neutral_hadron": 0.9}, False),
        (-2.7, {"neutral_em": 0.99}, False),
        (2.7, {"neutral_em": 0.98, "neutral_hadron": 0.01}, True),
        (2.8, {"neutral_em": 1.0, "neutral_hadron": 0.0}, True),
        (-3.0, {"neutral_hadron": 0.99}, False),
        (3.1, {"neutral_hadron": 0.99, "neutral_em": 0.0}, True),
        (3.1, {"neutral_em": 0.4}, False),
        (-4.0, {"neutral_multiplicity": 1}, False),
        (4.0, {"neutral_multiplicity": 2}, True),
    ],
)
def test_cuts_by_hand(eta, changes, expected):
    assert passes(eta, **changes) is expected


def test_composition_by_hand():
    energy = np.array([40.0, 30.0, 20.0, 10.0, 50.0, 8.0, 2.0])
    ids = np.array([211, 22, 130, -11, -211, 1, 2])
    weight = np.array([1.0, 1.0, 0.5, 1.0, 0.0, 1.0, 0.5])
    zero = np.zeros(7)
    particles = JetParticles(zero, zero, zero, energy, weight, ids, zero.astype(int), np.array([0, 5, 7, 7]))
    made_of = composition(particles)
    np.testing.assert_allclose(made_of.charged_hadron, [40 / 90, 0, 0])
    np.testing.assert_allclose(made_of.neutral_em, [30 / 90, 1 / 9, 0])
    np.testing.assert_allclose(made_of.neutral_hadron, [10 / 90, 8 / 9, 0])
    assert made_of.charged_multiplicity.tolist() == [2, 0, 0]  # the hadron of weight 0 does not count
    assert made_of.neutral_multiplicity.tolist() == [2, 2, 0]


def flat(events, name):
    return ak.to_numpy(ak.flatten(events[name]))


def test_composition_is_that_of_cms(cms_file, read_events, jets_of):
    """The file stores shares and multiplicities of its jets; it has no particles in the forward calorimeter."""
    events = read_events(cms_file("nano_tt_v15.root"), None)
    jets = jets_of(events)
    central = np.flatnonzero(np.abs(jets["eta"]) < 2.5)
    assert len(central) == 62
    made_of = composition(jets.particle_jets.particles_of(central))
    for share, branch in (
        ("charged_hadron", "FatJet_chHEF"),
        ("neutral_hadron", "FatJet_neHEF"),
        ("neutral_em", "FatJet_neEmEF"),
    ):
        np.testing.assert_allclose(getattr(made_of, share), flat(events, branch)[central], atol=0.002)
    for number, branch in (
        ("charged_multiplicity", "FatJet_chMultiplicity"),
        ("neutral_multiplicity", "FatJet_neMultiplicity"),
    ):
        # CMS rounds the sums of PUPPI weights
        difference = getattr(made_of, number) - flat(events, branch)[central]
        assert np.all((difference >= 0) & (difference <= 2))
    np.testing.assert_array_equal(tight(jets["eta"][central], made_of), jets.tight()[central])


def test_identification_without_stored_bits(cms_file, read_events, jets_of):
    jets = jets_of(read_events(cms_file("nano_tt_v15.root"), None))
    assert "jet_id" not in jets._chunk.schema.roles
    assert jets.tight().all()


def test_identification_of_particles_is_the_stored_one(cms_file, read_events, jets_of):
    events = read_events(cms_file("pfnano.root"))
    stored = jets_of(events)
    particles = stored.particle_jets.particles_of(np.arange(len(stored.entry)))
    np.testing.assert_array_equal(tight(stored["eta"], composition(particles)), stored.tight())
    assert jets_of(events, source="particles").tight().all()


def test_clustered_jets_are_identified_once(read_events, jets_of, monkeypatch):
    asked = []

    def counting(particles):
        asked.append(len(particles.offsets) - 1)
        return composition(particles)

    monkeypatch.setattr(particle_jets, "composition", counting)
    jets = jets_of(read_events(stop=20), source="particles")
    first = jets.tight()
    np.testing.assert_array_equal(jets.varied(pt=jets["pt"] * 1.02).tight(), first)
    np.testing.assert_array_equal(jets.of("jet_id", np.array([3, 1, 3])) > 0, first[[3, 1, 3]])
    assert asked == [len(first)]
