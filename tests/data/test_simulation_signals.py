"""Every signal process: its decay chain and masses in the generator's record, and what must be conserved."""

import numpy as np
import pytest

from data.errors import OddjetError
from data.simulation import generator
from data.simulation.config import Generator
from data.simulation.detector import charge_of
from data.simulation.generator import generate
from data.simulation.jets import mass_of
from data.simulation.particles import has_lepton
from data.simulation.points import signal_points
from data.simulation.signals.xyy import Xyy

pytest.importorskip("pythia8mc", reason="the extra [simulation] is not installed")

OPTIONS = Generator(multiparton_interactions=False)
SQRT_S, N = 13000.0, 25
# PDG identities to mass, half its range and copies an event. W and Z: the Particle Data Group's masses (2024).
CHAINS = {
    "qstar_3000_25": {(4000001, 4000002): (3000, 80, 1), (34,): (25, 0.3, 1)},
    "qstar_3000_400": {(4000001, 4000002): (3000, 80, 1), (34,): (400, 4.1, 1)},
    "wkk_3000_170": {(34,): (3000, 80, 1), (9000003,): (170, 1.8, 1), (24,): (80.4, 45, 3)},
    "wkk_3000_400": {(34,): (3000, 80, 1), (9000003,): (400, 4.1, 1), (24,): (80.4, 45, 3)},
    "wprime_bprime_top_3000_25": {(34,): (3000, 80, 1), (7,): (25, 1.1, 1), (24,): (80.4, 45, 1)},
    "wprime_bprime_top_3000_80": {(34,): (3000, 80, 1), (7,): (80, 1.1, 1), (24,): (80.4, 45, 1)},
    "wprime_bprime_top_3000_400": {(34,): (3000, 80, 1), (7,): (400, 1.1, 1), (23,): (91.2, 60, 1)},
    "zprime_tt_3000_400": {
        (32,): (3000, 80, 1),
        (8,): (400, 1.1, 2),
        (23,): (91.2, 150, 2),
        (24,): (80.4, 60, 2),
    },
    "yhh_3000_400": {(35,): (3000, 80, 1), (9000004,): (400, 4.1, 2), (24,): (80.4, 60, 4)},
    "xyy_3000_80_170": {(34,): (3000, 80, 1), (9000001,): (80, 0.9, 1), (9000002,): (170, 1.8, 1)},
}
MOTHERS = {
    "qstar_3000_25": [((34,), (4000001, 4000002))],
    "wkk_3000_170": [((9000003,), (34,)), ((24,), (34, 9000003))],
    "wprime_bprime_top_3000_80": [((7, 6), (34,)), ((23,), (7,)), ((24,), (6,))],
    "zprime_tt_3000_400": [((8,), (32,)), ((6, 23), (8,)), ((24,), (6,))],
    "yhh_3000_400": [((9000004,), (35,)), ((6,), (9000004,)), ((24,), (6,))],
}


@pytest.fixture(scope="module")
def made():
    cache = {}

    def get(process):
        if process not in cache:
            cache[process] = generate(process, (0.0, -1.0), N, 7, SQRT_S, OPTIONS)
        return cache[process]

    return get


def point(name, **options):
    return signal_points(3000, **options)[name]


def decayed(found):
    """Identities, masses and events of the resonances of the hard process (Pythia's status 22)."""
    hard = found.hard[np.abs(found.hard_status) == 22]
    return np.abs(hard.pdg_id), mass_of(hard.px, hard.py, hard.pz, hard.e), hard.event


@pytest.mark.parametrize("name", CHAINS)
def test_the_decay_chain_has_the_masses_of_the_point(made, name):
    identity, mass, event = decayed(made(point(name)))
    for identities, (expected, half_range, copies) in CHAINS[name].items():
        rows = np.isin(identity, identities)
        assert np.bincount(event[rows], minlength=N).tolist() == [copies] * N
        assert np.median(mass[rows]) == pytest.approx(expected, rel=0.03 if expected > 100 else 0.06)
        if identities not in {(23,), (24,)}:
            assert np.all(np.abs(mass[rows] - expected) < half_range)


@pytest.mark.parametrize("name", MOTHERS)
def test_everything_stems_from_where_it_should(made, name):
    found = made(point(name))
    identity = np.abs(found.hard.pdg_id)
    first = np.searchsorted(found.hard.event, found.hard.event)
    mother = np.where(found.hard_mother >= 0, identity[first + found.hard_mother], 0)
    for daughters, mothers in MOTHERS[name]:
        rows = np.isin(identity, daughters) & (np.abs(found.hard_status) == 22)
        assert rows.sum() >= N
        assert set(mother[rows].tolist()) <= set(mothers)


@pytest.mark.parametrize("name", CHAINS)
def test_momentum_and_charge_are_conserved(made, name):
    found = made(point(name))
    stable = found.stable
    for component, expected in (("px", 0), ("py", 0), ("pz", 0), ("e", SQRT_S)):
        total = np.bincount(stable.event, weights=getattr(stable, component), minlength=N)
        assert np.allclose(total, expected, atol=0.5)
    charge = np.bincount(stable.event, weights=charge_of(stable.pdg_id), minlength=N)
    assert charge.tolist() == [2.0] * N  # two protons


def test_an_excited_quark_comes_with_its_quark(made):
    found = made(point("qstar_3000_25"))
    partons = found.hard[np.abs(found.hard_status) == 21]
    for event in range(N):
        incoming = np.abs(partons.pdg_id[partons.event == event]).tolist()
        assert 21 in incoming
        assert set(incoming) <= {1, 2, 21}


@pytest.mark.parametrize(("mass", "below"), [(25, 21), (80, 76)])
def test_a_light_b_prime_decays_through_a_z_off_its_mass_shell(made, mass, below):
    identity, z_mass, _ = decayed(made(point(f"wprime_bprime_top_3000_{mass}")))
    z_mass = z_mass[identity == 23]
    assert len(z_mass) == N
    assert np.all((z_mass >= 2) & (z_mass < below))
    # The Breit-Wigner curve rises towards its peak: more lies in the upper half of the range.
    assert np.median(z_mass) > below / 4


def test_three_prongs_are_three_quarks_of_the_masses_of_the_olympics(made):
    found = made(Xyy(type="xyy", mass=3500, mass_y=500, mass_y_prime=100, prongs=3))
    identity, mass, _ = decayed(found)
    assert np.allclose(mass[identity == 9000001], 500, atol=5.1)
    assert np.allclose(mass[identity == 9000002], 100, atol=1.1)
    parent = np.abs(found.hard.pdg_id)[
        np.searchsorted(found.hard.event, found.hard.event) + np.maximum(found.hard_mother, 0)
    ]
    for scalar, quarks in ((9000001, [1, 2, 2]), (9000002, [1, 2, 3])):
        rows = (parent == scalar) & (np.abs(found.hard_status) == 23)
        kinds = np.abs(found.hard.pdg_id[rows]).reshape(N, 3)
        assert np.all(np.sort(kinds, axis=1) == quarks)
    charge = np.bincount(found.stable.event, weights=charge_of(found.stable.pdg_id), minlength=N)
    assert charge.tolist() == [2.0] * N


@pytest.mark.parametrize(
    "name", ["wkk_3000_400", "zprime_tt_3000_400", "yhh_3000_400", "wprime_bprime_top_3000_25"]
)
def test_hadronic_only_leaves_no_lepton_in_the_hard_process(made, name):
    hadronic = made(point(name, hadronic_only=True))
    assert not np.any((np.abs(hadronic.hard.pdg_id) >= 11) & (np.abs(hadronic.hard.pdg_id) <= 16))
    assert not has_lepton(hadronic).any()


def test_leptons_are_flagged_as_often_as_the_branching_fractions_say(made):
    # Particle Data Group 2024: B(W → q q̄′) = 67.41 %; four W without a charged lepton: 0.6741⁴ = 0.2065.
    found = generate(point("yhh_3000_400"), (0.0, -1.0), 120, 9, SQRT_S, OPTIONS)
    flag = has_lepton(found)
    assert flag.mean() == pytest.approx(1 - 0.2065, abs=4 * np.sqrt(0.2065 * 0.7935 / 120))
    charged = np.isin(np.abs(found.hard.pdg_id), (11, 13, 15))
    assert set(found.hard.event[charged].tolist()) == set(np.flatnonzero(flag).tolist())


def test_leptons_of_little_mass_are_not_flagged(made):
    found = made(point("wprime_bprime_top_3000_25"))
    hard, flag = found.hard, has_lepton(found)
    identity = np.abs(hard.pdg_id)
    first = np.searchsorted(hard.event, hard.event)
    mother = identity[first + np.maximum(found.hard_mother, 0)]
    charged = np.isin(identity, (11, 13, 15))
    from_w = set(hard.event[charged & (mother == 24)].tolist())
    from_z = set(hard.event[charged & (mother == 23)].tolist()) - from_w
    assert set(np.flatnonzero(flag).tolist()) >= from_w
    z_mass = {e: m for i, m, e in zip(*decayed(found), strict=True) if i == 23}
    assert all(flag[event] == (z_mass[event] > 20) for event in from_z)


def test_a_decay_that_breaks_charge_conservation_ends_in_an_error(monkeypatch):
    genuine = generator.process_settings
    wrong = ["34:oneChannel = 1 1.0 100 9000001 -9000001"]  # W′⁺ → Y⁺ Y⁻
    monkeypatch.setattr(generator, "process_settings", lambda *args: [*genuine(*args), *wrong])
    with pytest.raises(OddjetError, match=r"pythia8 stopped after 0 of 3 events .* change the recipe's seed"):
        generate(point("xyy_3000_80_170"), (0.0, -1.0), 3, 1, SQRT_S, OPTIONS)
