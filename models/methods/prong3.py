"""The conventional selection of two jets with three prongs."""

import pydantic

from models.base import register
from models.cuts import ProngOptions, ProngSelection


class Prong3Options(ProngOptions):
    """Options of ``prong3``."""

    ratio_below: float = pydantic.Field(default=0.65, gt=0)
    """Largest tau32 of either jet."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Both jets' mass and tau32."""
        return ("m_j1", "m_j2", "tau32_j1", "tau32_j2")


@register
class Prong3(ProngSelection):
    """Both jets with tau32 < 0.65 and a soft-drop mass above 50 GeV: what a search without machine learning asks for.

    The selection is fixed: it does not depend on the data nor on the working point. The score is the distance to the
    nearest of the four cuts, relative to the cut; it orders events on both sides of the selection.

    *Assumes* that both jets of the signal are heavy and have three prongs. *Is blind to* signals with one light jet and
    to jets of two prongs, whose tau32 is that of the background; it does not adapt to mjj, along which tau32 of the
    background moves.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `Prong3Options`.

    References
    ----------
    The 3-prong reference selection of CMS-EXO-22-026, arXiv:2412.03747. J. Thaler, K. Van Tilburg, "Identifying
    boosted objects with N-subjettiness", JHEP 03 (2011) 015, arXiv:1011.2268.
    """

    name = "prong3"
    summary = "Reference: both jets tau32 < 0.65 and soft-drop mass > 50 GeV (arXiv:2412.03747)"
    options_type = Prong3Options
    options: Prong3Options
