"""Jet charge, pT dispersion and multiplicity against sums written out and values by hand."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ConfigError, InputError
from processors.jet_shapes import jet_charge, multiplicity, pt_dispersion

particle = st.tuples(st.floats(0.1, 500), st.floats(-2, 2), st.floats(-3, 3), st.sampled_from([-1, 0, 1]))
jet_lists = st.lists(st.lists(particle, max_size=6), max_size=4)


def build(jets):
    """Awkward jets of (pt, eta, phi, charge) tuples; the first jet is made empty to fix the type."""
    names = ("pt", "eta", "phi", "charge")
    rows = [[dict(zip(names, p, strict=True), mass=0.1) for p in jet] for jet in jets]
    return ak.Array([[dict.fromkeys((*names, "mass"), 1.0)], *rows])[1:]


@settings(max_examples=40, deadline=None)
@given(jet_lists, st.sampled_from([0.3, 0.5, 1.0]), st.floats(-3, 3))
def test_sums_written_out(jets, kappa, angle):
    particles = build(jets)
    turned = ak.with_field(particles, particles.phi + angle, "phi")
    charge, dispersion = jet_charge(particles, particles.charge, kappa=kappa), pt_dispersion(particles)
    assert charge.shape == dispersion.shape == (len(jets),)
    assert multiplicity(particles).tolist() == [len(jet) for jet in jets]
    for jet, q, d in zip(jets, charge, dispersion, strict=True):
        if not jet:
            assert q == d == 0
            continue
        pt, _, phi, charges = np.array(jet).T
        total = np.abs(np.sum(pt * np.exp(1j * phi)))
        # a jet balanced to nothing has no charge to speak of
        if total > 1e-3:
            assert q == pytest.approx(np.sum(charges * pt**kappa) / total**kappa, rel=1e-6, abs=1e-9)
        assert d == pytest.approx(np.sqrt(np.sum(pt**2)) / np.sum(pt), rel=1e-9)
    np.testing.assert_allclose(pt_dispersion(turned), dispersion, rtol=1e-9)


def test_two_particles_by_hand():
    jet = build([[(9.0, 0.3, 1.0, 1), (4.0, -0.5, 1.0, -1)]])
    assert jet_charge(jet, jet.charge)[0] == pytest.approx((3 - 2) / 13**0.5)
    assert jet_charge(jet, jet.charge, kappa=1.0)[0] == pytest.approx(5 / 13)
    assert pt_dispersion(jet)[0] == pytest.approx(97**0.5 / 13)


def test_limits_of_the_dispersion():
    assert pt_dispersion(build([[(7.0, 0, 0, 0)], [(7.0, 0, f, 0) for f in range(4)]])) == pytest.approx(
        [1, 0.5]
    )


def test_weights():
    jet = build([[(9.0, 0, 1.0, 1), (8.0, 0, 1.0, -1), (50.0, 0, 2.0, 1)]])
    weights = ak.Array([[1.0, 0.5, 0.0]])
    assert jet_charge(jet, jet.charge, weights=weights)[0] == pytest.approx(1 / 13**0.5)
    assert pt_dispersion(jet, weights=weights)[0] == pytest.approx(97**0.5 / 13)
    assert multiplicity(jet, weights=weights)[0] == 1.5
    assert multiplicity(jet)[0] == 3
    assert jet_charge(jet, jet.charge, weights=weights * 0)[0] == 0


def test_charge_is_odd_and_blind_to_soft_particles():
    jet = build([[(90.0, 0, 0.1, 1), (20.0, 0.2, 0, -1), (1e-9, 0.4, 0, -1)]])
    charge = jet_charge(jet, jet.charge)
    assert jet_charge(jet, -jet.charge) == pytest.approx(-charge)
    assert jet_charge(jet[:, :2], jet.charge[:, :2]) == pytest.approx(charge, rel=1e-4)


def test_no_jets_and_float32():
    nothing = build([])
    assert jet_charge(nothing, nothing.charge).shape == multiplicity(nothing).shape == (0,)
    assert pt_dispersion(ak.Array([[], []])).tolist() == [0, 0]
    jet = build([[(9.0, 0, 1.0, 1), (4.0, 0, 1.0, -1)]])
    float32 = ak.values_astype(jet, np.float32)
    assert jet_charge(float32, float32.charge) == pytest.approx(jet_charge(jet, jet.charge), rel=1e-5)


def test_bad_charges_and_exponents():
    jets = build([[(9.0, 0, 1.0, 1)], [(4.0, 0, 1.0, np.nan)]])
    with pytest.raises(InputError, match="charge of a particle in jet 1 is not finite"):
        jet_charge(jets, jets.charge)
    with pytest.raises(InputError, match="not one value for each particle"):
        jet_charge(jets, jets.charge[:, :0])
    with pytest.raises(ConfigError, match="kappa = 0 must be a positive number"):
        jet_charge(jets, jets.charge, kappa=0)
