"""Compiled loops over flat particle buffers: momenta of all jets end to end, with offsets of the jets."""

from processors.kernels.grooming import flat_soft_drop
from processors.kernels.lepton import flat_lsf
from processors.kernels.taus import flat_nsubjettiness

__all__ = ["flat_lsf", "flat_nsubjettiness", "flat_soft_drop"]
