"""Tight identification of PUPPI jets from multiplicities and energy fractions."""

from dataclasses import dataclass

import numpy as np

from data.types import BoolArray, FloatArray, IntArray
from processors.particles import JetParticles
from processors.ragged import owners

TIGHT = 2
"""Bit of ``jetId``: tight identification."""
_CHARGED_HADRON, _NEUTRAL_HADRON, _PHOTON, _FORWARD_HADRON, _FORWARD_PHOTON = 211, 130, 22, 1, 2
_LEPTONS = (11, 13)


@dataclass(frozen=True)
class Composition:
    """What jets are made of, one element a jet.

    Attributes
    ----------
    charged_hadron, neutral_hadron, neutral_em : array (n_jets,)
        Shares of the jet's energy: charged hadrons, neutral hadrons, photons.
    charged_multiplicity, neutral_multiplicity : array (n_jets,)
        Numbers of particles.
    """

    charged_hadron: FloatArray
    neutral_hadron: FloatArray
    neutral_em: FloatArray
    charged_multiplicity: IntArray
    neutral_multiplicity: IntArray


def tight(eta: FloatArray, jets: Composition) -> BoolArray:
    """Whether each jet passes the tight identification of PUPPI jets at 13.6 TeV.

    Parameters
    ----------
    eta : array (n_jets,)
        Pseudorapidity of the jets.
    jets : Composition
        What they are made of.

    Returns
    -------
    array (n_jets,)

    References
    ----------
    CMS Collaboration, "Jet algorithms performance in 13 TeV data", CMS-PAS-JME-16-003, with the cuts that the CMS
    jet and MET group recommends for PUPPI jets at 13.6 TeV (JetID13p6TeV).
    """
    distance = np.abs(eta)
    n_particles = jets.charged_multiplicity + jets.neutral_multiplicity
    neutral = (jets.neutral_hadron < 0.99) & (jets.neutral_em < 0.9) & (n_particles > 1)
    central = neutral & (jets.charged_hadron > 0.01) & (jets.charged_multiplicity > 0)
    edge = (jets.neutral_hadron < 0.9) & (jets.neutral_em < 0.99)
    endcap = jets.neutral_hadron < 0.99
    forward = (jets.neutral_multiplicity >= 2) & (jets.neutral_em < 0.4)
    passed: BoolArray = np.select(
        [distance <= 2.6, distance <= 2.7, distance <= 3.0], [central, edge, endcap], default=forward
    )
    return passed


def composition(particles: JetParticles) -> Composition:
    """What jets are made of, from the kinds of their particles.

    Energies are weighted; particles of weight 0 do not count. Deposits in the forward calorimeter (PDG codes 1 and 2)
    count as neutral hadrons and photons, as in CMS's jets. Shares of a jet without energy are 0.
    """
    n_jets = len(particles.offsets) - 1
    jet, kind = owners(np.diff(particles.offsets)), np.abs(particles.id)
    energy = particles.weight * particles.e
    total = np.bincount(jet, weights=energy, minlength=n_jets)

    def share(*kinds: int) -> FloatArray:
        part = np.bincount(jet, weights=np.where(np.isin(kind, kinds), energy, 0.0), minlength=n_jets)
        return np.divide(part, total, out=np.zeros(n_jets), where=total > 0.0)

    counted = particles.weight > 0.0
    charged = np.isin(kind, (_CHARGED_HADRON, *_LEPTONS))
    return Composition(
        share(_CHARGED_HADRON),
        share(_NEUTRAL_HADRON, _FORWARD_HADRON),
        share(_PHOTON, _FORWARD_PHOTON),
        np.bincount(jet[counted & charged], minlength=n_jets),
        np.bincount(jet[counted & ~charged], minlength=n_jets),
    )
