"""Which corrections are applied, and the names of the variations that follow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic

from data.samples import Kind
from data.sections import Section
from processors.corrections.files import correction_table
from processors.lund_reweighting_config import LundConfig

Systematics = tuple[str, str, str]
"""What the file's input ``systematic`` is called for the nominal value, up and down."""
Label = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Constant = str | int | float

INPUT_ROLES = {"JetA": "area", "Rho": "rho"}
"""Inputs of jet corrections that need a branch of their own, and its role."""
GENERATOR_JET_ROLES = ("gen_jet", "gen_pt", "gen_eta", "gen_phi")


class JesConfig(Section):
    """Jet energy scale: changes the transverse momentum and the soft-drop mass by the same factor."""

    file: Path | None = None
    """Correction file; inputs that it may use: JetPt, JetEta, JetPhi, JetA, Rho, run."""
    correction: str | None = None
    """Correction of simulated jets, simple or compound; absent: the stored scale stays."""
    data_correction: str | None = None
    """Correction of the jets of data; absent: the stored scale stays."""
    undo_stored: bool = True
    """Whether the corrections start from the raw jets, pT · (1 − rawFactor), or from the jets as stored."""
    uncertainty: str | None = None
    """The only relative uncertainty in ``file``: variations ``jes_up``, ``jes_down``."""
    uncertainties: dict[Label, str] = pydantic.Field(default_factory=dict)
    """Label to relative uncertainty in ``file``: variations ``jes_LABEL_up``, ``jes_LABEL_down``."""
    relative_uncertainty: float | None = pydantic.Field(default=None, gt=0, lt=1)
    """One relative uncertainty for all jets, without a file: variations ``jes_up``, ``jes_down``."""

    @pydantic.model_validator(mode="after")
    def _one_meaning(self) -> Self:
        kinds = [self.uncertainty, self.uncertainties or None, self.relative_uncertainty]
        if sum(kind is not None for kind in kinds) > 1:
            msg = "give only one of uncertainty, uncertainties and relative_uncertainty"
            raise ValueError(msg)
        named = [self.correction, self.data_correction, self.uncertainty, *self.uncertainties.values()]
        _file_where_needed(self.file, [name for name in named if name is not None])
        if self.file is None and self.relative_uncertainty is None:
            msg = "gives neither a correction nor an uncertainty; give one, or leave jes out"
            raise ValueError(msg)
        return self

    def sources(self) -> dict[str, str | float]:
        """Stem of the variations' names to the uncertainty: a number, or its name in ``file``.

        Returns
        -------
        dict
            Stem of the variations' names to the uncertainty: relative to the jet's momentum, or its name in
            ``file``.
        """
        if self.relative_uncertainty is not None:
            return {"jes": self.relative_uncertainty}
        if self.uncertainty is not None:
            return {"jes": self.uncertainty}
        return {f"jes_{label}": name for label, name in self.uncertainties.items()}


class SmearingConfig(Section):
    """Smearing of simulated jets to the resolution of data."""

    file: Path | None = None
    """Correction file; inputs that it may use: JetPt, JetEta, JetPhi, Rho, systematic."""
    resolution: str | Annotated[float, pydantic.Field(gt=0, lt=1)]
    """Relative resolution in simulation: a number, or its name in ``file``."""
    scale_factor: str | Annotated[float, pydantic.Field(gt=0, lt=10)]
    """Resolution in data over that in simulation: a number, or its name in ``file``."""
    uncertainty: float | None = pydantic.Field(default=None, gt=0, lt=10)
    """Uncertainty of ``scale_factor``, where that is a number."""
    systematics: Systematics = ("nom", "up", "down")
    """Names of the scale factor's variations in ``file``."""

    @pydantic.model_validator(mode="after")
    def _one_meaning(self) -> Self:
        _file_where_needed(self.file, [x for x in (self.resolution, self.scale_factor) if isinstance(x, str)])
        _uncertainty_of_numbers("scale_factor", self.scale_factor, self.uncertainty)
        return self


class JerConfig(SmearingConfig):
    """Jet energy resolution: changes the transverse momentum and the soft-drop mass by the same factor."""

    method: Literal["hybrid", "stochastic"] = "hybrid"
    """``hybrid``: scale the difference to a matching generator jet, smear at random where there is none;
    ``stochastic``: always smear at random (scale factors below 1 then count as 1)."""
    radius: float = pydantic.Field(default=0.8, gt=0, le=2)
    """Jet radius R; a matching generator jet is nearer than R/2."""


class JmrConfig(SmearingConfig):
    """Resolution of the soft-drop mass, smeared at random (scale factors below 1 count as 1)."""


class JmsConfig(Section):
    """Scale of the soft-drop mass."""

    file: Path | None = None
    """Correction file; inputs that it may use: JetPt, JetEta, JetPhi, Rho, systematic."""
    scale: str | Annotated[float, pydantic.Field(gt=0, lt=10)] = 1.0
    """Factor on the mass: a number, or its name in ``file``."""
    uncertainty: float | None = pydantic.Field(default=None, gt=0, lt=1)
    """Uncertainty of ``scale``, where that is a number."""
    systematics: Systematics = ("nom", "up", "down")
    """Names of the variations in ``file``."""

    @pydantic.model_validator(mode="after")
    def _one_meaning(self) -> Self:
        _file_where_needed(self.file, [self.scale] if isinstance(self.scale, str) else [])
        _uncertainty_of_numbers("scale", self.scale, self.uncertainty)
        return self


class PileupConfig(Section):
    """Weights that give simulation the number of interactions of data."""

    file: Path
    """Correction file; inputs: NumTrueInteractions, and weights or systematic for the variation."""
    name: str
    """Name of the correction."""
    systematics: Systematics = ("nominal", "up", "down")
    """Names of the variations in ``file``."""


class PdfConfig(Section):
    """Uncertainty of the parton distribution functions from ``LHEPdfWeight``."""

    kind: Literal["hessian", "replicas"]
    """Members are eigenvectors of a symmetric Hessian, or Monte Carlo replicas."""
    members: int = pydantic.Field(default=100, ge=2, le=1000)
    """Number of members, without the central one."""
    central: bool = True
    """Whether the first entry is the central member, which is skipped."""
    alpha_s: float | None = pydantic.Field(default=None, gt=0, le=10)
    """Factor on half the difference of the two entries after the members, fits with other α_s (0.75 where
    they differ by ±0.002 and ±0.0015 is wished); absent: there are no such entries."""


class TableConfig(Section):
    """A correction in a file that other corrections share."""

    name: str
    """Name of the correction; inputs that it may use: pt, eta, abseta, flavor, systematic."""
    fixed: dict[str, Constant] = pydantic.Field(default_factory=dict)
    """Inputs that are the same for all subjets, e.g. ``working_point: M``."""


class BtagConfig(Section):
    """Scale factors of the subjets' b tag at one working point, as a weight of the event."""

    file: Path
    """Correction file."""
    heavy: TableConfig
    """Scale factors of b and c subjets: variations ``btag_heavy_up``, ``btag_heavy_down``."""
    light: TableConfig
    """Scale factors of the other subjets: variations ``btag_light_up``, ``btag_light_down``."""
    efficiency: TableConfig
    """Probability of the tag in simulation."""
    efficiency_file: Path | None = None
    """File of ``efficiency``; absent: ``file``."""
    threshold: float
    """Subjets with a larger b score are tagged."""
    systematics: Systematics = ("central", "up", "down")
    """Names of the variations in ``file``."""


class TriggerConfig(Section):
    """Scale factor of the trigger's efficiency."""

    file: Path
    """Correction file."""
    name: str
    """Name of the correction."""
    inputs: dict[str, str] = pydantic.Field(default_factory=dict)
    """Name of an input in the file to the feature column that it gets, e.g. ``HT: mjj``; inputs that are not
    named here get the column of their own name. The input ``systematic`` needs no entry."""
    systematics: Systematics = ("nominal", "up", "down")
    """Names of the variations in ``file``."""


class CorrectionsConfig(Section):
    """The corrections of one year; each one that is absent is not applied and not varied.

    Data get ``jes.data_correction`` and nothing else.
    """

    jes: JesConfig | None = None
    """Jet energy scale."""
    jer: JerConfig | None = None
    """Jet energy resolution."""
    jms: JmsConfig | None = None
    """Scale of the soft-drop mass."""
    jmr: JmrConfig | None = None
    """Resolution of the soft-drop mass."""
    pileup: PileupConfig | None = None
    """Number of interactions."""
    prefiring: bool = False
    """Stored weights for triggers lost to early firing (2016 and 2017)."""
    scale: bool = False
    """Renormalisation and factorisation scales μR, μF by factors of 2, from ``LHEScaleWeight``."""
    pdf: PdfConfig | None = None
    """Parton distribution functions."""
    parton_shower: bool = False
    """Scales of initial- and final-state radiation by factors of 2, from ``PSWeight``."""
    btag: BtagConfig | None = None
    """b tag of subjets."""
    trigger: TriggerConfig | None = None
    """Trigger efficiency."""
    lund: LundConfig | None = None
    """Radiation pattern inside the jets."""


def variation_names(config: CorrectionsConfig | None, kind: Kind) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the variations of a sample.

    Parameters
    ----------
    config
        Corrections of the sample's year, if any.
    kind
        Data are never varied.

    Returns
    -------
    tuple
        Kinematic variations, ``nominal`` first, and weight variations, in a fixed order.
    """
    if config is None or kind == "data":
        return ("nominal",), ()
    kinematic = list(config.jes.sources()) if config.jes else []
    kinematic += [stem for stem in ("jer", "jms", "jmr") if getattr(config, stem) is not None]
    stems = {
        "pileup": ("pileup",),
        "prefiring": ("prefiring",),
        "scale": ("mur", "muf", "murf"),
        "pdf": ("pdf",),
        "parton_shower": ("isr", "fsr"),
        "btag": ("btag_heavy", "btag_light"),
        "trigger": ("trigger",),
    }
    weights = [stem for field, group in stems.items() if getattr(config, field) for stem in group]
    weights += [f"lund_{source}" for source in (config.lund.sources if config.lund else ())]
    return ("nominal", *_up_down(kinematic)), tuple(_up_down(weights))


def required_roles(config: CorrectionsConfig | None, kind: Kind = "simulation") -> tuple[str, ...]:
    """Roles of the branches that the corrections need beyond those of the selection and the features.

    Parameters
    ----------
    config
        Corrections of the sample's year, if any; its files are opened, all that this kind of sample uses, to see
        what they need and that they hold it.
    kind
        Kind of the sample.

    Returns
    -------
    tuple of str
        Each role once, in a fixed order.

    Raises
    ------
    InputError
        If a correction file cannot be read or lacks a correction.
    """
    if config is None:
        return ()
    if kind == "simulation":
        for path, name in _weight_tables(config):
            correction_table(path, name)
        if config.lund is not None:
            from processors.lund_reweighting import reweighter  # noqa: PLC0415 - numba takes seconds to import

            reweighter(config.lund)
    return tuple(dict.fromkeys((*_jet_roles(config, kind), *_weight_roles(config, kind))))


def correction_files(config: CorrectionsConfig | None) -> tuple[Path, ...]:
    """Every correction file that a configuration names, once: what a manifest has to hash."""
    if config is None:
        return ()
    sections = [getattr(config, name) for name in type(config).model_fields]
    names = ("file", "efficiency_file")
    paths = [getattr(section, name, None) for section in sections for name in names]
    return tuple(dict.fromkeys(path for path in paths if path is not None))


def _jet_roles(config: CorrectionsConfig, kind: Kind) -> Iterator[str]:
    simulated = kind == "simulation"
    tables: list[tuple[Path | None, str | float | None]] = []
    if config.jes is not None:
        correction = config.jes.correction if simulated else config.jes.data_correction
        if correction is not None and config.jes.undo_stored:
            yield "raw_factor"
        tables += [(config.jes.file, correction)]
        tables += [(config.jes.file, source) for source in config.jes.sources().values() if simulated]
    for section in (config.jer, config.jmr):
        if section is not None and simulated:
            tables += [(section.file, section.resolution), (section.file, section.scale_factor)]
    if config.jms is not None and simulated:
        tables += [(config.jms.file, config.jms.scale)]
    for path, name in tables:
        if path is not None and isinstance(name, str):
            inputs = correction_table(path, name).inputs
            yield from (role for key, role in INPUT_ROLES.items() if key in inputs)
    if config.jer is not None and config.jer.method == "hybrid" and simulated:
        yield from GENERATOR_JET_ROLES


def _weight_tables(config: CorrectionsConfig) -> Iterator[tuple[Path, str]]:
    """File and name of the corrections that weights are made of."""
    if config.pileup is not None:
        yield config.pileup.file, config.pileup.name
    if config.btag is not None:
        btag = config.btag
        yield btag.file, btag.heavy.name
        yield btag.file, btag.light.name
        yield btag.efficiency_file or btag.file, btag.efficiency.name
    if config.trigger is not None:
        yield config.trigger.file, config.trigger.name


def _weight_roles(config: CorrectionsConfig, kind: Kind) -> Iterator[str]:
    if kind == "data":
        return
    roles = {
        "pileup": ("n_true_interactions",),
        "prefiring": ("prefiring_nominal", "prefiring_up", "prefiring_down"),
        "scale": ("scale_weights",),
        "pdf": ("pdf_weights",),
        "parton_shower": ("shower_weights",),
        "btag": ("subjet_pt", "subjet_eta", "subjet_flavour"),
        "lund": ("quark_status", "quark_eta", "quark_phi", "quark_id"),
    }
    for field, needed in roles.items():
        if getattr(config, field):
            yield from needed


def _up_down(stems: list[str]) -> list[str]:
    return [f"{stem}_{side}" for stem in stems for side in ("up", "down")]


def _file_where_needed(file: Path | None, names: list[str]) -> None:
    if names and file is None:
        msg = f"'{names[0]}' is the name of a correction in a file; give the file as key 'file'"
        raise ValueError(msg)
    if file is not None and not names:
        msg = f"file {file} is given, but no name of a correction in it; give one, or remove the file"
        raise ValueError(msg)


def _uncertainty_of_numbers(key: str, value: str | float, uncertainty: float | None) -> None:
    if isinstance(value, str) and uncertainty is not None:
        msg = f"uncertainty {uncertainty:g}: the file holds the variations of the {key} '{value}'; remove it"
        raise ValueError(msg)
    if not isinstance(value, str) and uncertainty is None:
        msg = f"{key} is a number: give its uncertainty too, as key 'uncertainty'"
        raise ValueError(msg)
    if not isinstance(value, str) and uncertainty is not None and uncertainty >= value:
        msg = (
            f"uncertainty {uncertainty:g} is not smaller than the {key} {value:g} itself; give a smaller one"
        )
        raise ValueError(msg)
