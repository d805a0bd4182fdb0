"""The conventional selection of two jets with two prongs."""

import pydantic

from models.base import register
from models.cuts import ProngOptions, ProngSelection


class Prong2Options(ProngOptions):
    """Options of ``prong2``."""

    ratio_below: float = pydantic.Field(default=0.4, gt=0)
    """Largest tau21 of either jet."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Both jets' mass and tau21."""
        return ("m_j1", "m_j2", "tau21_j1", "tau21_j2")


@register
class Prong2(ProngSelection):
    """Both jets with tau21 < 0.4 and a soft-drop mass above 50 GeV: what a search without machine learning asks for.

    The selection is fixed: it does not depend on the data nor on the working point. The score is the distance to the
    nearest of the four cuts, relative to the cut; it orders events on both sides of the selection.

    *Assumes* that both jets of the signal are heavy and have two prongs. *Is blind to* signals with one light jet and
    to jets of three prongs or more, whose tau21 is that of the background; it does not adapt to mjj, along which tau21
    of the background moves.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `Prong2Options`.

    References
    ----------
    The 2-prong reference selection of CMS-EXO-22-026, arXiv:2412.03747. J. Thaler, K. Van Tilburg, "Identifying
    boosted objects with N-subjettiness", JHEP 03 (2011) 015, arXiv:1011.2268.
    """

    name = "prong2"
    summary = "Reference: both jets tau21 < 0.4 and soft-drop mass > 50 GeV (arXiv:2412.03747)"
    options_type = Prong2Options
    options: Prong2Options
