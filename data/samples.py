"""Sample definitions: which files belong to a process and a year, and how to weight them."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pydantic

from data.errors import ConfigError
from data.sections import Section, read_yaml

Kind = Literal["data", "simulation"]


class Year(Section):
    """What one year of data taking fixes."""

    sqrt_s: float
    """Centre-of-mass energy in GeV."""
    luminosity_ifb: float
    """Integrated luminosity in fb⁻¹."""
    triggers: tuple[str, ...]
    """Trigger branches; an event passes if one of them fired."""
    filters: tuple[str, ...]
    """Noise-filter branches; an event passes if all of them did."""
    hem_veto: bool
    """Whether jets in the dead HEM15/16 sector of the hadron calorimeter veto the event."""
    b_score: str
    """Suffix of the subjet b-tag branch, e.g. ``btagDeepB``."""


class _Years(Section):
    years: dict[str, Year]


class _FilesMixin(Section):
    kind: Kind
    process: str = pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")
    year: str
    description: str = ""
    files: dict[str, int | None]
    tree: str = "Events"
    cross_section_pb: float | None = pydantic.Field(default=None, gt=0)
    luminosity_ifb: float | None = pydantic.Field(default=None, gt=0)
    mass: float | None = pydantic.Field(default=None, gt=0)


class Sample(_FilesMixin):
    """A set of files of one process and one year.

    ``files`` maps each file, an absolute path or a ``root://`` address, to the entries that it must hold
    (None where the definition does not say). ``cross_section_pb`` is needed for simulation;
    ``luminosity_ifb`` overrides the year's; ``mass`` is the resonance mass in GeV of a signal sample.
    """

    name: str

    def luminosity(self) -> float:
        """Integrated luminosity in fb⁻¹: the sample's own, else the year's."""
        return self.luminosity_ifb if self.luminosity_ifb is not None else year(self.year).luminosity_ifb


class _SampleFile(Section):
    samples: dict[str, _FilesMixin]


@functools.cache
def years() -> dict[str, Year]:
    """All years that oddjet knows, by name."""
    path = Path(__file__).with_name("years.yaml")
    return _Years.parse(read_yaml(path), str(path)).years


def year(name: str) -> Year:
    """The facts of a year.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    if name not in years():
        msg = f"year '{name}' is unknown; known years: {', '.join(years())}"
        raise ConfigError(msg)
    return years()[name]


def read_samples(path: Path) -> dict[str, Sample]:
    """Read a sample definition.

    Parameters
    ----------
    path
        YAML file; file names in it are relative to its folder.

    Returns
    -------
    dict
        Sample name to sample, in the order of the file.

    Raises
    ------
    ConfigError
        If a key is unknown, a year is unknown, a sample has no file, simulation has no cross section, a
        file is named by two samples, or a file does not exist.
    """
    parsed = _SampleFile.parse(read_yaml(path), str(path))
    samples = {name: _resolve(name, entry, path) for name, entry in parsed.samples.items()}
    owner: dict[str, str] = {}
    for sample, file in _all_files(samples):
        if file in owner:
            msg = f"{path}: file '{file}' stands in samples '{owner[file]}' and '{sample}'; an event counts once"
            raise ConfigError(msg)
        owner[file] = sample
    return samples


def _all_files(samples: dict[str, Sample]) -> Iterator[tuple[str, str]]:
    for name, sample in samples.items():
        for file in sample.files:
            yield name, file


def _resolve(name: str, entry: _FilesMixin, path: Path) -> Sample:
    where = f"{path}: sample '{name}'"
    year(entry.year)
    if not entry.files:
        msg = f"{where} lists no files; add them or remove the sample"
        raise ConfigError(msg)
    if entry.kind == "simulation" and entry.cross_section_pb is None:
        msg = f"{where} is simulation without 'cross_section_pb'; add it so that its events can be weighted"
        raise ConfigError(msg)
    files: dict[str, int | None] = {}
    for file, entries in entry.files.items():
        absolute = file if "://" in file else str((path.parent / file).resolve())
        if "://" not in absolute and not Path(absolute).is_file():
            msg = f"{where}: file '{file}' does not exist in {path.parent}; correct the path or remove it"
            raise ConfigError(msg)
        files[absolute] = entries
    return Sample(name=name, **{**entry.model_dump(), "files": files})
