"""Configuration of the Lund-plane reweighting."""

from pathlib import Path
from typing import Literal, get_args

import pydantic

from data.sections import Section

Source = Literal["stat", "pt", "sys", "bquark", "prongs", "unclust", "distortion"]
SOURCES: tuple[Source, ...] = get_args(Source)


class LundConfig(Section):
    """Reweighting of simulated jets to the Lund plane of data, one subjet a quark of the hard process.

    It is for signals whose jets are of quarks; other simulation does without it by ``without_corrections: [lund]``.
    Weights of a sample have a mean of 1 over its selected events in the region that is searched.
    """

    file: Path
    """Ratio maps as JSON, see ``processors.lund_reweighting_maps``."""
    sources: tuple[Source, ...] = SOURCES
    """Uncertainties: variations ``lund_SOURCE_up``, ``lund_SOURCE_down``."""
    toys: int = pydantic.Field(default=100, ge=2, le=1000)
    """Toys of the sources ``stat`` and ``pt``."""
    keep_pt_spectrum: bool = False
    """Whether the mean weight is 1 in each bin of the harder jet's pT rather than over all events."""

    @pydantic.field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        twice = [source for source in SOURCES if sources.count(source) > 1]
        if twice:
            msg = f"'{twice[0]}' stands twice; name each source once"
            raise ValueError(msg)
        return sources
