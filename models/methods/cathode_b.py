"""CATHODE with the b scores of both jets."""

from models.base import register
from models.interpolation import CATHODE_INPUTS
from models.methods.cathode import Cathode, CathodeOptions


class CathodeBOptions(CathodeOptions):
    """Options of ``cathode_b``."""

    features: tuple[str, ...] = (*CATHODE_INPUTS, "deepb_j1", "deepb_j2")
    """Input columns; by default those of ``cathode`` and the b scores."""


@register
class CathodeB(Cathode):
    """CATHODE with b tagging: the inputs of `cathode` and the b scores of both jets.

    The b scores of many jets are exactly 0; the flow sees them spread over the ranks that they fill.

    *Assumes* what `cathode` assumes. *Is blind to* what `cathode` is blind to; for signals without b quarks the two
    further inputs are noise.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CathodeBOptions`.

    References
    ----------
    CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395; see also `cathode`.
    """

    name = "cathode_b"
    summary = "CATHODE with the b scores of both jets (CMS-EXO-22-026)"
    options_type = CathodeBOptions
