"""The root configuration of a search: one YAML file, each section declared beside the code that reads it."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import yaml

import models
from analysis.limit_config import LimitConfig, check_limits
from analysis.report_config import ReportConfig
from analysis.scan_config import ScanConfig
from analysis.systematics_config import SystematicsConfig, check_sources
from analysis.training_tables import check_columns, check_tables
from analysis.windows import Region, Window, window_of
from condor.config import BatchConfig
from data.errors import ConfigError
from data.samples import Sample, read_samples, year
from data.sections import Section, read_yaml
from processors.config import FeaturesConfig, JetsConfig, ProcessingConfig, SelectionConfig
from processors.corrections.config import CorrectionsConfig, JesConfig, variation_names
from processors.event_options import EventOptions
from processors.scorers import INCLUSIVE

VALIDATION_FIT_START = 2000.0
VALIDATION_FIRST_MASS = 2250.0
FILE_KEYS = ("file", "efficiency_file")


class RunConfig(Section):
    """What a run is called, where it writes, and the seed from which all of its random numbers follow."""

    title: str = "oddjet search"
    """What the report is headed with."""
    output: Path
    """The run folder; a relative path is relative to the current folder."""
    copy_to: str | None = None
    """A folder or a ``root://`` address that the outputs of each finished stage are copied to."""
    seed: int = pydantic.Field(default=0, ge=0)
    """All random numbers of the run follow from it."""
    status: str = ""
    """Words after "oddjet" above every plot, e.g. ``simulation`` or ``work in progress``."""


class SearchConfig(Section):
    """Which samples are searched and which give signal shape and efficiency."""

    data: str
    """The sample searched: trained on, scanned for an excess."""
    signals: tuple[str, ...] = ()
    """Simulated signal samples, one a resonance mass, of one process; methods that take ``signal`` are trained on them."""
    background: tuple[str, ...] = ()
    """Simulated background samples: methods that take ``background`` are trained on them. They are skimmed and enter no
    histogram."""

    def tables(self) -> dict[str, tuple[str, ...]]:
        """The samples of each simulated table that methods can be given: keyword to names, those that there are."""
        given = {"signal": self.signals, "background": self.background}
        return {keyword: names for keyword, names in given.items() if names}


class MassGrid(Section):
    """Equally spaced masses in GeV, both ends included."""

    start: float
    """The first mass."""
    stop: float
    """The last mass, if the steps reach it."""
    step: float = pydantic.Field(gt=0)
    """Between neighbouring masses."""

    def masses(self) -> tuple[float, ...]:
        """The masses, ascending.

        Returns
        -------
        tuple of float
            GeV.
        """
        count = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        return tuple(self.start + k * self.step for k in range(count))


class ScanSection(ScanConfig):
    """How the scan fits, and the resonance masses that it tests."""

    masses: tuple[float, ...] = pydantic.Field(min_length=1)
    """Masses in GeV: a list, or ``{start, stop, step}``."""
    global_toys: int = pydantic.Field(default=0, ge=0)
    """Pseudo-experiments for the global p-value of each method and over all of them; 0: only local p-values."""

    @pydantic.field_validator("masses", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        return MassGrid.model_validate(value).masses() if isinstance(value, dict) else value

    @pydantic.field_validator("masses")
    @classmethod
    def _once(cls, masses: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(masses)) != len(masses):
            twice = next(mass for mass in masses if masses.count(mass) > 1)
            msg = f"the mass {twice:g} stands twice; test each once"
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
    jets: JetsConfig = JetsConfig()
    features: FeaturesConfig = FeaturesConfig()
    corrections: dict[str, CorrectionsConfig] = pydantic.Field(default_factory=dict)
    """Year to the corrections of its samples; file names are relative to this configuration's folder."""
    methods: dict[str, dict[str, Any]] = pydantic.Field(default_factory=dict)
    """Method name to its options, ``preset`` among them; see ``oddjet models``."""
    scan: ScanSection
    systematics: SystematicsConfig = SystematicsConfig()
    limits: LimitConfig | None = None
    """What ``oddjet limit`` does; without it there are no limits with retraining."""
    report: ReportConfig = ReportConfig()
    batch: BatchConfig = BatchConfig()
    """How ``oddjet submit`` cuts the stages into jobs, and where they run."""

    def windows(self) -> list[Window]:
        """The windows that the scanned masses need, in order of mass, each once."""
        found = [window_of(mass) for mass in self.scan.masses]
        return list(dict.fromkeys(found))

    def events(self) -> EventOptions:
        """The options of both passes over the events."""
        return EventOptions(self.selection, self.jets, self.features, self.corrections, self.run.seed)


def load_config(
    path: Path, overrides: tuple[str, ...] = (), region: Region | None = None
) -> tuple[Config, dict[str, Sample]]:
    """Read a configuration and the samples that it searches.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        ``section.key=value`` items from the command line, which win over the file.
    region
        ``validation``: search the side band in |Δη| instead, blind; see `validation_overrides`. ``signal`` wins over
        the file's ``selection.region``, but not over its ``blind``. None: as the file says.

    Returns
    -------
    config, samples
        The samples are those named in ``search`` only: data, signals, background.

    Raises
    ------
    ConfigError
        If a key, sample, method, option or mass is unknown or out of range.
    """
    written = mapping = read_yaml(path)
    for override in overrides:
        mapping = override_key(mapping, override)
    if region == "signal":
        mapping = _selecting(mapping, region="signal")
    if region == "validation":
        given = any(override.startswith("run.output=") for override in overrides)
        mapping = validation_overrides(mapping, str(path), keep_output=given)
    config = with_paths(_parse(mapping, written, path, overrides), path.parent)
    defined = read_samples(path.parent / config.samples)
    names = (config.search.data, *config.search.signals, *config.search.background)
    for name in names:
        if name not in defined:
            msg = f"{path}: sample '{name}' is not defined in {config.samples}; known samples: {', '.join(defined)}"
            raise ConfigError(msg)
    samples = {name: defined[name] for name in names}
    _check_search(path, samples, config)
    _check_methods(path, config)
    _check_corrected_years(path, samples, config)
    _check_systematics(path, samples, config)
    config.windows()
    if config.limits is not None:
        check_limits(
            config.limits,
            samples,
            config.search.signals,
            tuple(config.methods),
            config.scan.masses,
            str(path),
        )
        for name in config.limits.references:
            check_columns(name, models.check_options(name, {}, str(path)), config.features, str(path))
    return config, samples


def _parse(
    mapping: Mapping[str, Any], written: Mapping[str, Any], path: Path, overrides: tuple[str, ...]
) -> Config:
    """Validate; what is wrong only with the overrides is told of them, not of the file."""
    try:
        return Config.parse(mapping, str(path))
    except ConfigError:
        if not overrides:
            raise
    Config.parse(written, str(path))
    return Config.parse(mapping, f"{path} with {' '.join(f'--set {override}' for override in overrides)}")


def validation_overrides(
    mapping: Mapping[str, Any], source: str, *, keep_output: bool = False
) -> dict[str, Any]:
    """A configuration whose search runs in the side band in |Δη|, with the signal region never opened.

    Parameters
    ----------
    mapping
        The configuration as plain values; left as it is.
    source
        The document's name, for messages.
    keep_output
        Write to ``run.output`` itself; else its name gets the ending ``_validation``, so that the search proper keeps
        a folder of its own.

    Returns
    -------
    dict
        Region ``validation``, blind; the fit begins at 2000 GeV or where it did, if that is more, and masses below
        2250 GeV are not tested, which leaves out the windows A1 and B1 (CMS EXO-22-026, arXiv:2412.03747).

    Raises
    ------
    ConfigError
        If the configuration is wrong, or all masses lie below.
    """
    changed = _selecting(mapping, region="validation", blind=True)
    config = Config.parse(changed, source)  # from here on every section is known to be one
    if not keep_output:
        changed["run"] = {**changed["run"], "output": f"{config.run.output}_validation"}
        if config.run.copy_to is not None:
            changed["run"]["copy_to"] = f"{config.run.copy_to.rstrip('/')}_validation"
    scan = {**changed["scan"]}
    scan["fit_start"] = max(VALIDATION_FIT_START, config.scan.fit_start or VALIDATION_FIT_START)
    scan["masses"] = [mass for mass in config.scan.masses if mass >= VALIDATION_FIRST_MASS]
    if not scan["masses"]:
        msg = (
            f"scan.masses: none is {VALIDATION_FIRST_MASS:g} GeV or more, where the validation region begins; add masses, "
            "or leave out --region validation"
        )
        raise ConfigError(msg)
    changed["scan"] = scan
    return changed


def _selecting(mapping: Mapping[str, Any], **chosen: object) -> dict[str, Any]:
    """A copy with some keys of ``selection`` replaced; what is no section is left for the parser to refuse."""
    selection = mapping.get("selection", {})
    changed = {**selection, **chosen} if isinstance(selection, dict) else selection
    return copy.deepcopy({**mapping, "selection": changed})


def with_paths(config: Config, folder: Path) -> Config:
    """The configuration with correction files as absolute paths, so that workers and manifests find them."""
    corrections = {name: _absolute(section, folder) for name, section in config.corrections.items()}
    return config.model_copy(update={"corrections": corrections})


def _absolute(section: CorrectionsConfig, folder: Path) -> CorrectionsConfig:
    update: dict[str, Any] = {}
    for name in type(section).model_fields:
        part = getattr(section, name)
        keys = [key for key in FILE_KEYS if getattr(part, key, None) is not None]
        if keys:
            paths = {key: (folder / getattr(part, key)).resolve() for key in keys}
            update[name] = part.model_copy(update=paths)
    return section.model_copy(update=update)


def _scales_data(jes: JesConfig | None) -> bool:
    """Whether the jets of data are corrected too."""
    return jes is not None and jes.data_correction is not None


def _check_corrected_years(path: Path, samples: dict[str, Sample], config: Config) -> None:
    """Corrections of a year that is not searched would do nothing."""
    simulated = {sample.year for sample in samples.values() if sample.kind == "simulation"}
    scales = {name: section.jes for name, section in config.corrections.items()}
    scaled = {sample.year for sample in samples.values() if _scales_data(scales.get(sample.year))}
    searched = sorted(simulated | scaled)
    for corrected in config.corrections:
        year(corrected)
        if corrected not in searched:
            msg = (
                f"{path}: corrections.{corrected} corrects no sample of this search (those that it could are of "
                f"{', '.join(searched) or 'no year'}); correct the year, or remove the section"
            )
            raise ConfigError(msg)


def _check_systematics(path: Path, samples: dict[str, Sample], config: Config) -> None:
    """The sources that the configuration names are among those of its signals' corrections."""
    variations, masses = {}, {}
    for name in config.search.signals:
        sample = samples[name]
        kinematic, weights = variation_names(config.events().corrections_of(sample), sample.kind)
        variations[name] = (*kinematic, *weights)
        masses[name] = sample.mass or 0.0  # that it has one is checked
    check_sources(config.systematics, variations, masses, config.scan.masses, str(path))


def _check_methods(path: Path, config: Config) -> None:
    """Options are known, and no method needs a column or a table that the search does without."""
    tables = {*config.search.tables(), *(("wide",) if config.selection.train_wide else ())}
    for name, options in config.methods.items():
        source = f"{path}: methods.{name}"
        check_columns(name, models.check_options(name, options, source), config.features, str(path))
        check_tables(name, models.describe(name).takes, tables, str(path))


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
        msg = f"--set {override}: the value is not valid YAML; put it in quotes, or close its brackets"
        raise ConfigError(msg) from None
    changed = copy.deepcopy(dict(mapping))
    here: dict[str, Any] = changed
    for key in keys[:-1]:
        below = here.setdefault(key, {})
        if not isinstance(below, dict):
            msg = f"--set {override}: '{key}' is not a section; name a key of one"
            raise ConfigError(msg)
        here = below
    here[keys[-1]] = value
    return changed


def _check_search(path: Path, samples: dict[str, Sample], config: Config) -> None:
    """One data sample, signals each at a mass of its own, and simulated background; no sample twice."""
    named = (config.search.data, *config.search.signals, *config.search.background)
    twice = [name for name in samples if named.count(name) > 1]
    if twice:
        msg = f"{path}: sample '{twice[0]}' stands twice in search; name it once"
        raise ConfigError(msg)
    data, signals = samples[config.search.data], [samples[name] for name in config.search.signals]
    for name in config.search.background:
        if samples[name].kind != "simulation":
            msg = (
                f"{path}: background '{name}' must be of kind 'simulation'; data are searched, as search.data"
            )
            raise ConfigError(msg)
    if data.kind != "data":
        msg = f"{path}: search.data '{data.name}' is simulation; name a sample of kind 'data'"
        raise ConfigError(msg)
    for signal in signals:
        if signal.kind != "simulation" or signal.mass is None:
            msg = f"{path}: signal '{signal.name}' must be of kind 'simulation' with a 'mass' in GeV"
            raise ConfigError(msg)
    by_mass: dict[float | None, str] = {}
    for signal in signals:
        if (other := by_mass.setdefault(signal.mass, signal.name)) != signal.name:
            msg = f"{path}: signals '{other}' and '{signal.name}' are both of {signal.mass:g} GeV; name one of them in search.signals"
            raise ConfigError(msg)
    if INCLUSIVE in config.methods:
        msg = f"{path}: '{INCLUSIVE}' is scanned always and is no method; remove it from 'methods'"
        raise ConfigError(msg)
