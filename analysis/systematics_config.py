"""Configuration of the systematic uncertainties of the signal."""

import itertools
from collections.abc import Collection, Mapping, Sequence

import pydantic

from analysis.signal_template import JER, JES
from analysis.systematics import LUMINOSITY, STATISTICS
from analysis.variation_sources import Ensemble, sources_of
from data.errors import ConfigError
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


def check_sources(
    config: SystematicsConfig,
    variations: Mapping[str, Collection[str]],
    simulated: Mapping[str, float],
    masses: Sequence[float],
    source: str,
) -> None:
    """Refuse sources that no signal has, and masses between signals whose sources differ.

    Parameters
    ----------
    config
        The section.
    variations
        Signal to the names of its variations.
    simulated
        Signal to its mass in GeV.
    masses
        Tested masses in GeV.
    source
        The configuration's name, for messages.

    Raises
    ------
    ConfigError
        Naming the source.
    """
    found = {
        signal: {one.name: None for one in sources_of(names, what=signal)}
        for signal, names in variations.items()
    }
    known = {name: None for names in found.values() for name in names}
    for key, wanted in (("leave_out", config.leave_out), ("ensembles", config.ensembles)):
        for name in wanted:
            if name not in known:
                msg = (
                    f"{source}: systematics.{key}: there is no source of uncertainty '{name}'; the signals have "
                    f"{', '.join(known) or 'none'}"
                )
                raise ConfigError(msg)
    again = [name for name in config.further if name in known and name not in config.leave_out]
    if again:
        msg = (
            f"{source}: systematics.further: '{again[0]}' is a source of the signals already; remove it, or name it in "
            "leave_out too"
        )
        raise ConfigError(msg)
    for pair in itertools.pairwise(sorted(found, key=lambda signal: simulated[signal])):
        between = [mass for mass in masses if simulated[pair[0]] < mass < simulated[pair[1]]]
        for signal, other in (pair, pair[::-1]):
            lacking = [name for name in found[other] if name not in {*found[signal], *config.leave_out}]
            if between and lacking:
                msg = (
                    f"{source}: signal '{signal}' has no uncertainty '{lacking[0]}' and '{other}' has, so it is not known at "
                    f"{between[0]:g} GeV between them: correct both alike, name it in systematics.leave_out, or leave out "
                    f"'{signal}' or the masses between"
                )
                raise ConfigError(msg)
