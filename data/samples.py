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
    luminosity_uncertainty: float
    """Its relative uncertainty."""
    triggers: tuple[str, ...]
    """Trigger branches; an event passes if one of them fired."""
    filters: tuple[str, ...]
    """Noise-filter branches; an event passes if all of them did."""
    hem_veto: bool
    """Whether jets in the dead HEM15/16 sector of the hadron calorimeter veto the event."""
    b_score: str
    """Suffix of the subjet b-tag branch, e.g. ``btagDeepB``."""
    prefiring: bool
    """Whether simulation is weighted with the probability that the trigger did not fire a bunch crossing early."""


class _Years(Section):
    years: dict[str, Year]


class Generated(Section):
    """Sums over all generated events of a sample, for files that lost their ``Runs`` tree."""

    count: int = pydantic.Field(gt=0)
    """Number of events, before any skim."""
    sumw: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Sum of their ``genWeight``."""
    sumw2: float = pydantic.Field(gt=0, allow_inf_nan=False)
    """Sum of the squares."""


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
    golden_json: Path | None = None
    luminosity_table: Path | None = None
    without_corrections: tuple[str, ...] = ()
    generated: Generated | None = None


class Sample(_FilesMixin):
    """A set of files of one process and one year.

    ``files`` maps each file, an absolute path or a ``root://`` address, to the entries that it must hold
    (None where the definition does not say). ``cross_section_pb`` is needed for simulation;
    ``luminosity_ifb`` overrides the year's; ``mass`` is the resonance mass in GeV of a signal sample.
    ``golden_json`` lists the certified luminosity sections of data, all others are dropped; ``luminosity_table``
    (brilcalc, by section) then gives the luminosity that was processed. ``without_corrections`` names corrections of
    the year that this simulation has no branches for, e.g. ``scale`` and ``pdf`` where no matrix-element program ran.
    ``generated`` stands for the ``Runs`` trees of simulation whose files have none.
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
        If a key is unknown, a year is unknown, a sample has no file, simulation has no cross section, data
        have generated sums, a file is named by two samples, or a file does not exist.
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
    if entry.kind == "data" and entry.generated is not None:
        msg = f"{where} is data with 'generated', which only simulation has; remove the key"
        raise ConfigError(msg)
    files: dict[str, int | None] = {}
    for file, entries in entry.files.items():
        absolute = file if "://" in file else str((path.parent / file).resolve())
        if "://" not in absolute and not Path(absolute).is_file():
            msg = f"{where}: file '{file}' does not exist in {path.parent}; correct the path or remove it"
            raise ConfigError(msg)
        files[absolute] = entries
    beside = {
        key: _beside(getattr(entry, key), key, entry, path, where)
        for key in ("golden_json", "luminosity_table")
    }
    return Sample(name=name, **{**entry.model_dump(), "files": files, **beside})


def _beside(file: Path | None, key: str, entry: _FilesMixin, path: Path, where: str) -> Path | None:
    """A file that belongs to a data sample, relative to the definition's folder."""
    if file is None:
        return None
    if entry.kind != "data":
        msg = f"{where} is simulation with '{key}', which only data have; remove the key"
        raise ConfigError(msg)
    if key == "luminosity_table" and entry.golden_json is None:
        msg = f"{where} has a 'luminosity_table' without 'golden_json'; add the list of certified sections"
        raise ConfigError(msg)
    absolute = (path.parent / file).resolve()
    if not absolute.is_file():
        msg = f"{where}: {key} '{file}' does not exist in {path.parent}; correct the path or remove it"
        raise ConfigError(msg)
    return absolute
