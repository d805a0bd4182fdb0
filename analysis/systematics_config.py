"""Configuration of the systematic uncertainties of the signal."""

import pydantic

from analysis.signal_template import JER, JES
from analysis.systematics import LUMINOSITY, STATISTICS
from analysis.variation_sources import Ensemble
from data.sections import Section


class SystematicsConfig(Section):
    """Which uncertainties the signal has; they enter the limits where ``scan.nuisances`` is set.

    Parameters
    ----------
    jes, jer
        Relative uncertainties of the place and the width of the peak.
    luminosity
        Relative uncertainty of the luminosity; that of the data's year if None.
    leave_out
        Sources of the varied histograms that do not count, e.g. [isr, fsr] where the substructure of the jets is
        calibrated by other means.
    ensembles
        What the numbered variations of a source are: ``toys`` (if nothing is said), ``replicas`` or ``hessian``.
    further
        Relative uncertainties of the yield that are known from elsewhere, by name; ``random_variations`` is the spread
        over trainings with other injected signal events.
    """

    jes: float = pydantic.Field(default=JES, ge=0, lt=1)
    jer: float = pydantic.Field(default=JER, ge=0, lt=1)
    luminosity: float | None = pydantic.Field(default=None, ge=0, lt=1)
    leave_out: tuple[str, ...] = ()
    ensembles: dict[str, Ensemble] = pydantic.Field(default_factory=dict)
    further: dict[str, float] = pydantic.Field(default_factory=dict)

    @pydantic.field_validator("further")
    @classmethod
    def _known_sizes(cls, value: dict[str, float]) -> dict[str, float]:
        for name, size in value.items():
            if not 0 <= size < 1:
                msg = f"'{name}' = {size:g}; give a relative uncertainty from 0 to below 1"
                raise ValueError(msg)
            if name in {LUMINOSITY, STATISTICS}:
                msg = f"'{name}' is counted already; remove it" + (
                    ", or set systematics.luminosity" if name == LUMINOSITY else ""
                )
                raise ValueError(msg)
        return value
