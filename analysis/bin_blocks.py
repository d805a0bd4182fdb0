"""Arrays over bins in the layout of the kernels: blocks that fit into the fastest cache."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from analysis.likelihood import template_rows
from analysis.signal_template import SignalTemplate
from data.types import FloatArray

_BLOCK = 240
"""Bins of a block at most."""
_LANES = 8
_CORE = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class SignalBlocks:
    """A signal as the kernels take it.

    Attributes
    ----------
    rows
        T₀, then A_k and B_k of each shape nuisance, shape (blocks, 1 + 2 shapes, size).
    core
        1 in the bins with at least a tenth of the largest fraction, shape (blocks, size).
    kappa
        Logarithm of one plus the uncertainty of the normalisation.
    """

    rows: FloatArray
    core: FloatArray
    kappa: float

    @property
    def shapes(self) -> int:
        """Number of shape nuisances."""
        return int(self.rows.shape[1] - 1) // 2


class BinBlocks:
    """Bins in blocks of equal size, the last one padded with zeros.

    Parameters
    ----------
    bins
        Number of bins.
    """

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self._blocks = math.ceil(bins / _BLOCK)
        self._size = _LANES * math.ceil(bins / self._blocks / _LANES)

    def split(self, values: npt.ArrayLike) -> FloatArray:
        """Cut bins into blocks; missing bins of the last one are 0.

        Parameters
        ----------
        values
            Shape (rows, bins).

        Returns
        -------
        array (rows, blocks, size)
            In the unit of the values.
        """
        array = np.asarray(values)
        padded = np.zeros((len(array), self._blocks * self._size))
        padded[:, : self._bins] = array
        return padded.reshape(len(array), self._blocks, self._size)

    def rows(self, values: npt.ArrayLike) -> FloatArray:
        """Cut bins into blocks, the blocks first; missing bins of the last one are 0.

        Parameters
        ----------
        values
            Shape (rows, bins).

        Returns
        -------
        array (blocks, rows, size)
            In the unit of the values.
        """
        return np.ascontiguousarray(self.split(values).transpose(1, 0, 2))

    def signal(self, template: SignalTemplate) -> SignalBlocks:
        """A template in blocks."""
        core = template.nominal >= _CORE * template.nominal.max()
        rows = self.rows(template_rows(template))
        return SignalBlocks(rows, self.split(core[None])[0], math.log1p(template.norm_uncertainty))
