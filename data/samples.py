"""Sample definitions: which files belong to a process and a year, and how to weight them."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic

from data.addresses import expand, replica_of
from data.errors import ConfigError
from data.sections import Section, read_yaml
from data.xrootd import DEFAULT_TIMEOUT, SCHEME, is_blocked, is_remote, path_of

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


class Sites(Section):
    """Rules for files on other machines; they hold for all samples of a definition."""

    blocked: tuple[str, ...] = ()
    """Hosts that nothing is read from, e.g. ``*.site.org`` or ``192.0.2.*``; a redirector is asked for other ones."""
    mirrors: tuple[str, ...] = ()
    """Servers (``root://HOST:PORT/``) that hold every ``root://`` file too, under the same path."""
    timeout: int = pydantic.Field(default=DEFAULT_TIMEOUT, ge=1, le=3600)
    """Seconds within which a server has to answer; then the next address is tried."""
    credential: Literal["proxy", "token"] | None = None
    """What the servers demand; None where any that is found will do, or none."""
    hours: float = pydantic.Field(default=1.0, ge=0, le=1000)
    """The credential must be valid for so many hours more when a stage starts."""
    check_replicas: Literal["folders", "all"] = "folders"
    """Whether one file of each folder of replicas, or every replica, is compared with its file before the work."""

    @pydantic.field_validator("blocked")
    @classmethod
    def _hosts(cls, blocked: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in blocked:
            port = pattern.count(":") == 1 or "]:" in pattern
            if not pattern or port or set(pattern) & set("/@ ") or (":" in pattern and "[" in pattern):
                msg = (
                    f"'{pattern}' is no host; write it without scheme, port, path and brackets, as *.site.org"
                )
                raise ValueError(msg)
        return blocked

    @pydantic.field_validator("mirrors")
    @classmethod
    def _servers(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        for mirror in mirrors:
            if not is_remote(mirror) or path_of(mirror) != "/":
                msg = f"'{mirror}' is no server; write it as {SCHEME}HOST:PORT/"
                raise ValueError(msg)
        return mirrors


class Entry(Section):
    """What a definition says of a file, where it says more than a number."""

    entries: int | None = None
    """Entries that it must hold."""
    replicas: tuple[str, ...] = ()
    """Further addresses of the same file; one that ends in ``/`` is a folder that holds it under its name."""


class _FilesMixin(Section):
    kind: Kind
    """``data``, or ``simulation`` that is weighted to its cross section."""
    process: str = pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")
    """What the events are: the label of their histograms; one for all masses of a signal."""
    year: str
    """Key of ``data/years.yaml``: triggers, filters, luminosity, centre-of-mass energy."""
    description: str = ""
    """For people."""
    tree: str = "Events"
    """Name of the tree of events."""
    cross_section_pb: float | None = pydantic.Field(default=None, gt=0)
    """Of simulation, in pb; needed."""
    luminosity_ifb: float | None = pydantic.Field(default=None, gt=0)
    """Integrated luminosity in fb⁻¹; that of the year if left out."""
    mass: float | None = pydantic.Field(default=None, gt=0)
    """Resonance mass of a signal, GeV."""
    golden_json: Path | None = None
    """Certified luminosity sections of data; all others are dropped."""
    luminosity_table: Path | None = None
    """Luminosity of each section (brilcalc, by section); with ``golden_json``."""
    without_corrections: tuple[str, ...] = ()
    """Corrections of the year that this simulation has no branches for."""
    generated: Generated | None = None
    """Sums over all generated events, where the files have no tree ``Runs``."""
    mock: bool = False
    """Of data: they are simulated events, searched as if they were data; each counts once, without its weight."""


@dataclass(frozen=True)
class Access:
    """Where and how to read a file.

    Attributes
    ----------
    addresses
        All that hold the file, the first choice first.
    blocked
        Patterns of hosts that are not to be read from, behind a redirector either.
    timeout
        Seconds within which a server has to answer.
    """

    addresses: tuple[str, ...]
    blocked: tuple[str, ...] = ()
    timeout: int = DEFAULT_TIMEOUT


class Sample(_FilesMixin):
    """A set of files of one process and one year.

    ``files`` maps each file, an absolute path or a ``root://`` address, to the entries that it must hold
    (None where the definition does not say); ``replicas`` maps some of them to the other addresses that hold the same
    file. ``cross_section_pb`` is needed for simulation;
    ``luminosity_ifb`` overrides the year's; ``mass`` is the resonance mass in GeV of a signal sample.
    ``golden_json`` lists the certified luminosity sections of data, all others are dropped; ``luminosity_table``
    (brilcalc, by section) then gives the luminosity that was processed. ``without_corrections`` names corrections of
    the year that this simulation has no branches for, e.g. ``scale`` and ``pdf`` where no matrix-element program ran.
    ``generated`` stands for the ``Runs`` trees of simulation whose files have none. ``mock`` says of data that they are
    simulated events, searched as if they were data: each counts once, whatever its generator's weight.
    """

    name: str
    files: dict[str, int | None]
    replicas: dict[str, tuple[str, ...]] = pydantic.Field(default_factory=dict)
    sites: Sites = Sites()

    def access(self, file: str) -> Access:
        """Where and how to read a file of the sample, blocked sites left out."""
        known = dict.fromkeys((file, *self.replicas.get(file, ())))
        allowed = tuple(address for address in known if not is_blocked(address, self.sites.blocked))
        return Access(allowed, self.sites.blocked, self.sites.timeout)

    def luminosity(self) -> float:
        """Integrated luminosity: the sample's own, else the year's.

        Returns
        -------
        float
            fb⁻¹.

        Raises
        ------
        ConfigError
            If the year is unknown.
        """
        return self.luminosity_ifb if self.luminosity_ifb is not None else year(self.year).luminosity_ifb


class Definition(_FilesMixin):
    """A sample as the user writes it down."""

    files: dict[str, int | Entry | None]
    """File, folder (ends in /), pattern or address to the entries that it must hold, or null."""


class SampleFile(Section):
    """A whole sample definition: samples by name, and rules for files on other machines."""

    samples: dict[str, Definition]
    """Samples by name."""
    sites: Sites = Sites()


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
"""Samples name folders, files and jobs."""


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
        YAML file; file names in it are relative to its folder. A name with ``*``, ``[`` or, on disk, ``?`` stands for
        all files that match it, one that ends in ``/`` for all ROOT files of the folder; ``root://`` folders are listed too.

    Returns
    -------
    dict
        Sample name to sample, in the order of the file.

    Raises
    ------
    ConfigError
        If a key is unknown, a year is unknown, a name is none for a folder, a sample has no file, simulation has no
        cross section or is mock data, data have generated sums, a file is named twice, a file does not exist, an
        address stands for two files, or no site that has it is allowed.
    ReadError
        If a ``root://`` folder cannot be listed.
    """
    parsed = SampleFile.parse(read_yaml(path), str(path))
    samples = {name: _resolve(name, entry, path, parsed.sites) for name, entry in parsed.samples.items()}
    owner: dict[str, str] = {}
    for sample, file in _all_files(samples):
        if file in owner:
            msg = f"{path}: file '{file}' stands in samples '{owner[file]}' and '{sample}', an event counts once; take it out of one"
            raise ConfigError(msg)
        owner[file] = sample
    _check_replicas(samples, path)
    return samples


def _check_replicas(samples: dict[str, Sample], path: Path) -> None:
    """Refuse an address that stands for two files."""
    owner = {file: file for _, file in _all_files(samples)}
    for name, sample in samples.items():
        for file, replicas in sample.replicas.items():
            for replica in replicas:
                other = owner.setdefault(replica, file)
                if other != file:
                    msg = (
                        f"{path}: sample '{name}': '{replica}' stands for two files, '{other}' and '{file}'; "
                        "correct the replicas"
                    )
                    raise ConfigError(msg)


def _all_files(samples: dict[str, Sample]) -> Iterator[tuple[str, str]]:
    for name, sample in samples.items():
        for file in sample.files:
            yield name, file


def _resolve(name: str, entry: Definition, path: Path, sites: Sites) -> Sample:
    where = f"{path}: sample '{name}'"
    if not _NAME.fullmatch(name):
        msg = f"{where}: its name becomes that of folders and jobs; use letters, digits and _ . + - after the first"
        raise ConfigError(msg)
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
    if entry.kind == "simulation" and entry.mock:
        msg = f"{where} is simulation with 'mock', which only data are; set kind: data to search it, or remove the key"
        raise ConfigError(msg)
    files, replicas = _files(entry, path.parent, where, sites)
    beside = {
        key: _beside(getattr(entry, key), key, entry, path, where)
        for key in ("golden_json", "luminosity_table")
    }
    given = {**entry.model_dump(), "files": files, "replicas": replicas, "sites": sites, **beside}
    sample = Sample(name=name, **given)
    for file in files:
        if not sample.access(file).addresses:
            msg = (
                f"{where}: every site that has '{file}' is blocked by sites.blocked; add a replica elsewhere"
            )
            raise ConfigError(msg)
    return sample


def _files(
    entry: Definition, folder: Path, where: str, sites: Sites
) -> tuple[dict[str, int | None], dict[str, tuple[str, ...]]]:
    """The files that a definition names, with their entries and their other addresses."""
    files: dict[str, int | None] = {}
    replicas: dict[str, tuple[str, ...]] = {}
    for name, given in entry.files.items():
        about = given if isinstance(given, Entry) else Entry(entries=given)
        found = expand(name, folder, where, sites.mirrors, sites.timeout)
        if about.entries is not None and found.pattern:
            msg = f"{where}: '{name}' stands for any number of files, which have no one number of entries; write null"
            raise ConfigError(msg)
        for file in found.files:
            if file in files:
                msg = f"{where}: file '{file}' is named twice, the second time by '{name}', an event counts once; remove one"
                raise ConfigError(msg)
            files[file] = about.entries
            others = [replica_of(file, replica, folder, where) for replica in about.replicas]
            if is_remote(file):
                others += [mirror.rstrip("/") + "/" + path_of(file) for mirror in sites.mirrors]
            if others:
                replicas[file] = tuple(other for other in dict.fromkeys(others) if other != file)
    return files, replicas


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
        place = "" if file.is_absolute() else f" in {path.parent}"
        msg = f"{where}: {key} '{file}' does not exist{place}; correct the path or remove it"
        raise ConfigError(msg)
    return absolute
