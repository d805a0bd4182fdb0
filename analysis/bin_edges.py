"""Bin edges as JSON documents give them: a list, or equal bins by their first edge, width and number."""

from typing import Annotated

import numpy as np
import pydantic

from data.sections import Number, Section, Whole
from data.types import FloatArray


class RegularEdges(Section):
    """Bin edges lo, lo + width, …, lo + n·width, in GeV."""

    lo: Number
    width: Number = pydantic.Field(gt=0)
    n: Whole = pydantic.Field(ge=1)

    def edges(self) -> FloatArray:
        """The edges.

        Returns
        -------
        array (n + 1,)
            GeV.
        """
        return self.lo + self.width * np.arange(self.n + 1, dtype=np.float64)


def _kind(value: object) -> str:
    return "regular" if isinstance(value, dict | RegularEdges) else "list"


Edges = Annotated[
    Annotated[list[Number], pydantic.Tag("list")] | Annotated[RegularEdges, pydantic.Tag("regular")],
    pydantic.Discriminator(_kind),
]
"""Field of a section that takes both."""


def edge_array(edges: list[float] | RegularEdges) -> FloatArray:
    """Edges of either kind.

    Parameters
    ----------
    edges
        A list (GeV), or a regular grid.

    Returns
    -------
    array (n + 1,)
        GeV.
    """
    return edges.edges() if isinstance(edges, RegularEdges) else np.asarray(edges, dtype=np.float64)
