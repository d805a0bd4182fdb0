import numpy as np
import pytest

from data.simulation.detector import (
    HCAL_CELL,
    charge_of,
    ecal_resolution,
    hcal_resolution,
    respond,
    track_efficiency,
)
from data.simulation.generator import Particles


def shower(pdg_id, pt, eta, n_events, copies=1):
    """The same particle, in a random direction in φ, in every event."""
    rng = np.random.default_rng(3)
    total = n_events * copies
    phi = rng.uniform(-3.1, 3.1, total)
    pt, eta = np.full(total, float(pt)), np.full(total, float(eta))
    event = np.repeat(np.arange(n_events), copies)
    pz = pt * np.sinh(eta)
    return Particles(event, np.full(total, pdg_id), pt * np.cos(phi), pt * np.sin(phi), pz, np.hypot(pt, pz))


def energy(candidates, n_events):
    event = np.repeat(np.arange(n_events), np.diff(candidates.offsets))
    return np.bincount(event, weights=candidates.e, minlength=n_events)


def respond_to(particles, n_events, seed=1):
    return respond(particles, n_events, np.random.default_rng(seed))


def test_charges_of_long_lived_particles():
    identities = np.array(
        [211, -211, 321, 2212, -2212, 11, -11, 13, 22, 130, 2112, 3122, 3112, -3112, 3222, 3334]
    )
    expected = [1, -1, 1, 1, -1, -1, 1, -1, 0, 0, 0, 0, -1, 1, 1, -1]
    assert charge_of(identities).tolist() == expected


@pytest.mark.parametrize("identity", [12, -14, 16])
def test_neutrinos_are_not_seen(identity):
    assert len(respond_to(shower(identity, 50, 0, 20), 20).e) == 0


def test_photons_have_the_resolution_of_the_calorimeter():
    n = 20000
    seen = energy(respond_to(shower(22, 20, 0.0, n), n), n)
    assert seen.mean() == pytest.approx(20, rel=0.002)
    assert seen.std() / 20 == pytest.approx(float(ecal_resolution(np.array(20.0))), rel=0.03)


def test_neutral_hadrons_have_the_resolution_of_the_calorimeter():
    n = 20000
    candidates = respond_to(shower(2112, 100, 0.0, n), n)
    assert set(candidates.pdg_id.tolist()) == {130}
    assert energy(candidates, n).std() / 100 == pytest.approx(
        float(hcal_resolution(np.array(100.0))), rel=0.03
    )


def test_charged_hadrons_are_measured_by_tracks_or_else_by_the_calorimeter():
    n = 20000
    candidates = respond_to(shower(211, 10, 0.5, n), n)
    tracks = candidates.pdg_id == 211
    # 94 % have a track [CMS, arXiv:1405.6569]; without one the particle is a neutral hadron.
    assert tracks.sum() / n == pytest.approx(0.94, abs=0.01)
    pt = np.hypot(candidates.px, candidates.py)[tracks]
    assert pt.std() / 10 == pytest.approx(0.01, rel=0.1)
    # Upward fluctuations of the calorimeter behind a track become neutral hadrons: a bias of E[max(x - 1, 0)] σ or so.
    assert 1.0 < energy(candidates, n).mean() / (10 * np.cosh(0.5)) < 1.10


def test_a_neutral_hadron_behind_a_track_is_the_excess_over_it():
    n = 5000
    pion, neutron = shower(211, 5, 0.03, n), shower(2112, 60, 0.03, n)
    both = Particles(
        *(np.concatenate([getattr(x, f) for x in (pion, neutron)]) for f in pion.__dataclass_fields__)
    )
    order = np.argsort(both.event, kind="stable")
    seen = energy(respond_to(both[order], n), n)
    assert seen.mean() == pytest.approx(65, rel=0.06)


def test_cells_merge_what_the_calorimeter_cannot_tell_apart():
    base = shower(2112, 30, 0.2 * HCAL_CELL, 1)
    pair = Particles(*(np.concatenate([getattr(base, f)] * 2) for f in base.__dataclass_fields__))
    candidates = respond_to(pair, 1)
    assert len(candidates.e) == 1


def test_no_tracks_outside_the_tracker_or_below_its_threshold():
    eta = np.array([0.0, 2.6, 0.0])
    pt = np.array([5.0, 5.0, 0.2])
    assert (track_efficiency(np.array([211, 211, 211]), pt, eta) > 0).tolist() == [True, False, False]


def test_particles_along_the_beam_are_lost_without_a_warning():
    beam = Particles(
        np.array([0]), np.array([2212]), np.zeros(1), np.zeros(1), np.array([6000.0]), np.array([6000.0])
    )
    assert len(respond_to(beam, 1).e) == 0


def test_an_event_without_particles_keeps_its_place():
    three = shower(22, 20, 0.0, 3)
    candidates = respond_to(three[three.event != 1], 3)
    assert np.diff(candidates.offsets).tolist() == [1, 0, 1]


def test_the_same_state_gives_the_same_bits():
    particles = shower(211, 10, 0.5, 100, copies=5)
    first, second = respond_to(particles, 100), respond_to(particles, 100)
    assert np.array_equal(first.e, second.e)
    assert not np.array_equal(first.e[:50], respond_to(particles, 100, seed=2).e[:50])
