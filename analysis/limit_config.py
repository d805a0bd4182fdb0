"""Configuration of the limits with retraining."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pydantic

from analysis.published_significances import PUBLISHED
from analysis.windows import window_of
from data.errors import ConfigError
from data.samples import Sample
from data.sections import Section

CrossSections = Annotated[tuple[Annotated[float, pydantic.Field(ge=0)], ...], pydantic.Field(min_length=2)]
Reference = Literal["prong2", "prong3"]


class LimitConfig(Section):
    """Limits of methods that learn from the data, by injecting signals and training again (arXiv:2412.03747, appendix B).

    Parameters
    ----------
    signals
        Sample of ``search.signals`` to the cross sections in fb that are injected, increasing. Choose them around the
        cross section that is to be excluded, from about a third of it to three times it.
    methods
        Methods that are trained again; all of the search if left out.
    seeds
        Trainings a cross section, each with other signal events; their spread is the efficiency's uncertainty.
    systematics
        Train the methods again for the systematic uncertainties too: with each source's signal in the data that changes
        the features more than the injection's statistics would show, with every seed, at the cross section of the best
        expected limit.
        Other sources are propagated through trainings with the nominal signal, and so are those whose weights are too
        uneven to inject, with a warning; the published search has five ``seeds``.
        Without it all sources are those of the signal before the method.
    study
        Find the significance of every injection with the fixed selections too, as ``oddjet limit --study``.
    references
        Fixed selections that the study shows beside the methods and the spectrum without any selection.
    published
        Signal whose published significances the study's plot shows too.
    """

    signals: dict[str, CrossSections] = pydantic.Field(min_length=1)
    methods: tuple[str, ...] | None = pydantic.Field(default=None, min_length=1)
    seeds: int = pydantic.Field(default=3, ge=2)
    systematics: bool = False
    study: bool = False
    references: tuple[Reference, ...] = ("prong2", "prong3")
    published: str | None = None

    @pydantic.field_validator("signals")
    @classmethod
    def _increasing(cls, signals: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, values in signals.items():
            if list(values) != sorted(set(values)):
                msg = f"cross sections of '{name}' must increase, each given once"
                raise ValueError(msg)
        return signals

    @pydantic.field_validator("published")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in PUBLISHED:
            msg = f"significances of '{name}' are not known; known: {', '.join(PUBLISHED)}"
            raise ValueError(msg)
        return name


def check_limits(
    config: LimitConfig,
    samples: Mapping[str, Sample],
    signals: tuple[str, ...],
    methods: tuple[str, ...],
    masses: tuple[float, ...],
    source: str,
) -> None:
    """Refuse limits of what is not searched.

    Parameters
    ----------
    config
        The section.
    samples
        The samples of the search.
    signals, methods
        Those that the search names.
    masses
        The scanned masses in GeV.
    source
        The configuration's name, for messages.

    Raises
    ------
    ConfigError
        If a signal is none of ``search.signals``, a method none of ``methods``, there is no method, or no scanned
        mass lies in a signal's window.
    """
    windows = [window_of(mass) for mass in masses]
    for name in config.signals:
        if name not in signals:
            msg = f"{source}: limits.signals: '{name}' is none of search.signals ({', '.join(signals) or 'none'}); add it there, or leave it out"
            raise ConfigError(msg)
        mass = samples[name].mass
        if mass is not None and window_of(mass) not in windows:
            msg = (
                f"{source}: limits.signals: no scanned mass lies in window {window_of(mass).name} of '{name}'; "
                f"add {mass:g} to scan.masses"
            )
            raise ConfigError(msg)
    chosen = methods if config.methods is None else config.methods
    for method in chosen:
        if method not in methods:
            msg = f"{source}: limits.methods: '{method}' is none of methods ({', '.join(methods) or 'none'}); add it there, or leave it out"
            raise ConfigError(msg)
    if not chosen:
        msg = f"{source}: limits: there is no method to train again; add one under methods, or remove the section"
        raise ConfigError(msg)
