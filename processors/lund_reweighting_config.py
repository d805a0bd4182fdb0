"""Configuration of the Lund-plane reweighting, and the reweighter that it names."""

import functools
from pathlib import Path

import pydantic

from data.errors import InputError
from data.sections import Section
from data.types import FloatArray
from processors.corrections.files import content_hash
from processors.lund_reweighting import SOURCES, LundReweighter, Source
from processors.lund_reweighting_maps import RatioMaps, read_ratio_maps


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


def reweighter(
    config: LundConfig, seed: int = 0, plane: FloatArray | None = None, centre: float = 1.0
) -> LundReweighter:
    """The reweighter of a configuration.

    Parameters
    ----------
    config
        The configuration.
    seed
        Of the toys.
    plane
        The sample's Lund plane, for the source ``distortion``.
    centre
        Geometric mean of its distortion.

    Returns
    -------
    LundReweighter

    Raises
    ------
    InputError
        If the file cannot be read, or lacks what a source needs.
    """
    maps = _maps(config.file, content_hash(config.file))
    try:
        return LundReweighter(maps, config.sources, config.toys, seed, plane, centre)
    except InputError as error:
        msg = f"{config.file}: {error}"
        raise InputError(msg) from None


@functools.lru_cache(maxsize=8)
def _maps(path: Path, sha256: str) -> RatioMaps:  # noqa: ARG001 - part of the key of the cache
    return read_ratio_maps(path)
