"""The root configuration of a search: one YAML file, each section declared beside the code that reads it."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

import models
from analysis.scan_config import ScanConfig
from analysis.windows import Window, window_of
from data.errors import ConfigError
from data.samples import Sample, read_samples
from data.sections import Section, read_yaml
from processors.config import ProcessingConfig, SelectionConfig
from processors.scorers import INCLUSIVE


class RunConfig(Section):
    """What a run is called, where it writes, and the seed from which all of its random numbers follow."""

    title: str = "oddjet search"
    output: Path
    """The run folder; a relative path is relative to the current folder."""
    seed: int = pydantic.Field(default=0, ge=0)
    status: str = ""
    """Words after "oddjet" above every plot, e.g. ``simulation`` or ``work in progress``."""


class SearchConfig(Section):
    """Which samples are searched and which give signal shape and efficiency."""

    data: str
    """The sample searched: trained on, scanned for an excess."""
    signals: tuple[str, ...] = ()
    """Simulated signal samples, one a resonance mass, of one process."""


class MassGrid(Section):
    """Equally spaced masses in GeV, both ends included."""

    start: float
    stop: float
    step: float = pydantic.Field(gt=0)

    def masses(self) -> tuple[float, ...]:
        """The masses, ascending."""
        count = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        return tuple(self.start + k * self.step for k in range(count))


class ScanSection(ScanConfig):
    """How the scan fits, and the resonance masses that it tests."""

    masses: tuple[float, ...] = pydantic.Field(min_length=1)
    """Masses in GeV: a list, or ``{start, stop, step}``."""

    @pydantic.field_validator("masses", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        return MassGrid.model_validate(value).masses() if isinstance(value, dict) else value

    @pydantic.field_validator("masses")
    @classmethod
    def _once(cls, masses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(masses)) != len(masses):
            msg = "a mass stands twice; test each once"
            raise ValueError(msg)
        return tuple(sorted(masses))


class Config(Section):
    """The whole configuration of ``oddjet run``."""

    run: RunConfig
    samples: Path
    """Sample definition; a relative path is relative to this configuration's folder."""
    search: SearchConfig
    processing: ProcessingConfig = ProcessingConfig()
    selection: SelectionConfig = SelectionConfig()
    methods: dict[str, dict[str, Any]] = pydantic.Field(default_factory=dict)
    """Method name to its options; see ``models.available()``."""
    scan: ScanSection

    def windows(self) -> list[Window]:
        """The windows that the scanned masses need, in order of mass, each once."""
        found = [window_of(mass) for mass in self.scan.masses]
        return list(dict.fromkeys(found))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Config, dict[str, Sample]]:
    """Read a configuration and the samples that it searches.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        ``section.key=value`` items from the command line, which win over the file.

    Returns
    -------
    config, samples
        The samples are those named in ``search`` only, data first.

    Raises
    ------
    ConfigError
        If a key, sample, method, option or mass is unknown or out of range.
    """
    mapping = read_yaml(path)
    for override in overrides:
        mapping = override_key(mapping, override)
    config = Config.parse(mapping, str(path))
    defined = read_samples(path.parent / config.samples)
    names = (config.search.data, *config.search.signals)
    for name in names:
        if name not in defined:
            msg = f"{path}: sample '{name}' is not defined in {config.samples}; known samples: {', '.join(defined)}"
            raise ConfigError(msg)
    samples = {name: defined[name] for name in names}
    _check_search(path, samples, config)
    for name, options in config.methods.items():
        models.check_options(name, options, f"{path}: methods.{name}")
    config.windows()
    return config, samples


def override_key(mapping: Mapping[str, Any], override: str) -> dict[str, Any]:
    """A configuration with one key replaced.

    Parameters
    ----------
    mapping
        The configuration as plain values; left as it is.
    override
        ``section.key=value``, the value in YAML.

    Raises
    ------
    ConfigError
        If it has no ``=``, the value is not YAML, or the path goes through something that is not a section.
    """
    path, separator, text = override.partition("=")
    keys = path.split(".")
    if not separator or not all(keys):
        msg = f"--set {override}: write section.key=value, e.g. run.seed=3"
        raise ConfigError(msg)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        msg = f"--set {override}: the value is not valid YAML"
        raise ConfigError(msg) from None
    changed = copy.deepcopy(dict(mapping))
    here: dict[str, Any] = changed
    for key in keys[:-1]:
        below = here.setdefault(key, {})
        if not isinstance(below, dict):
            msg = f"--set {override}: '{key}' is not a section"
            raise ConfigError(msg)
        here = below
    here[keys[-1]] = value
    return changed


def _check_search(path: Path, samples: dict[str, Sample], config: Config) -> None:
    """One data sample, and signals each at a mass of its own."""
    data, *signals = samples.values()
    if data.kind != "data":
        msg = f"{path}: search.data '{data.name}' is simulation; only a sample of kind 'data' can be searched"
        raise ConfigError(msg)
    for signal in signals:
        if signal.kind != "simulation" or signal.mass is None:
            msg = f"{path}: signal '{signal.name}' must be of kind 'simulation' with a 'mass' in GeV"
            raise ConfigError(msg)
    masses = [signal.mass for signal in signals]
    if len(set(masses)) != len(masses):
        msg = f"{path}: two signals have one mass; name one sample a mass in search.signals"
        raise ConfigError(msg)
    if INCLUSIVE in config.methods:
        msg = f"{path}: '{INCLUSIVE}' is scanned always and is no method; remove it from 'methods'"
        raise ConfigError(msg)
