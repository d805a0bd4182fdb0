"""The spectrum file: a falling spectrum with all that its analysis needs, for ``--spectrum FILE``."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from analysis.bin_edges import Edges
from analysis.scan_config import FunctionConfig
from analysis.signal_histogram import TemplateDocument
from data.files import read_json
from data.sections import Number, Section, Whole, plain_number

_COUNTS_SCHEMA = pydantic.WithJsonSchema(
    {"type": "array", "items": {"type": "number", "minimum": 0, "multipleOf": 1}}
)

# The limits stand first, so that the schema has them too.
_Positive = Annotated[float, pydantic.Field(gt=0), pydantic.BeforeValidator(plain_number)]
_NotNegative = Annotated[float, pydantic.Field(ge=0), pydantic.BeforeValidator(plain_number)]


def mass_key(mass: float) -> str:
    """A mass as a key of a JSON document.

    Parameters
    ----------
    mass
        In GeV.

    Returns
    -------
    str
        E.g. ``2000`` or ``2000.5``.
    """
    return f"{mass:.10g}"


def _signal_kind(value: object) -> str:
    """Which of the ways to write a signal was used, for all masses or for one."""
    for kind, section in (("shape", GenericSignal), ("template", SignalTemplateShape)):
        if isinstance(value, section) or (isinstance(value, dict) and kind in value):
            return f"one {kind}"
    return "by mass"


def _range_kind(value: object) -> str:
    return "none" if value is None else "word" if isinstance(value, str) else "ends"


class GenericSignal(Section):
    """One double Crystal Ball whose mean and σ are proportional to the mass."""

    shape: Literal["double_crystal_ball"]
    mean_over_mass: Number = pydantic.Field(default=1.0, gt=0)
    sigma_over_mass: Number = pydantic.Field(default=0.05, gt=0)
    alpha_low: Number = pydantic.Field(default=1.2, gt=0)
    n_low: Number = pydantic.Field(default=5.0, gt=1)
    alpha_high: Number = pydantic.Field(default=1.5, gt=0)
    n_high: Number = pydantic.Field(default=10.0, gt=1)


class SignalShape(Section):
    """A double Crystal Ball at one mass; mean and σ in GeV, the tails begin α σ from the mean."""

    mean: Number = pydantic.Field(gt=0)
    sigma: Number = pydantic.Field(gt=0)
    alpha_low: Number = pydantic.Field(gt=0)
    n_low: Number = pydantic.Field(gt=1)
    alpha_high: Number = pydantic.Field(gt=0)
    n_high: Number = pydantic.Field(gt=1)
    errors: dict[str, _NotNegative] = pydantic.Field(default_factory=dict)
    """Standard errors by the names above; they widen the nuisance parameters."""


class SignalTemplateShape(Section):
    """A signal as histogram, in bins of its own; at one mass, or for masses inside its peak."""

    template: TemplateDocument


MassSignal = Annotated[
    Annotated[SignalTemplateShape, pydantic.Tag("one template")]
    | Annotated[SignalShape, pydantic.Tag("by mass")],
    pydantic.Discriminator(_signal_kind),
]


class FitOptions(Section):
    """How the background is fitted.

    Parameters
    ----------
    function
        ``auto`` (F-test over the candidates) or the name of a function; the F-test is reported in any case.
    candidates
        Functions that the F-test tries; a number K stands for dijetK.
    own_functions
        Functions of your own by name.
    range
        Lowest and highest mass in GeV, snapped to the bins (the upper end upwards), or ``search`` (shrink until
        the fit is good); the whole spectrum if None.
    nuisances
        Fit the signal with uncertainties of the jet energy scale (1 % on the mean) and resolution (3.5 % on σ).
    uncertainty_veto
        Avoid backgrounds of large relative uncertainty at the mass in the F-test.
    """

    function: str = "auto"
    candidates: tuple[int | str, ...] = pydantic.Field(default=(2, 3, 4), min_length=1)
    own_functions: dict[str, FunctionConfig] = pydantic.Field(default_factory=dict)
    range: Annotated[
        Annotated[tuple[Number, Number], pydantic.Tag("ends")]
        | Annotated[Literal["search"], pydantic.Tag("word")]
        | Annotated[None, pydantic.Tag("none")],
        pydantic.Discriminator(_range_kind),
    ] = None
    nuisances: bool = False
    uncertainty_veto: bool = True


class MassRange(Section):
    """Equally spaced masses in GeV, ``hi`` among them where the steps reach it."""

    lo: Number = pydantic.Field(gt=0)
    hi: Number
    step: Number = pydantic.Field(gt=0)

    @pydantic.model_validator(mode="after")
    def _rising(self) -> "MassRange":
        if self.hi < self.lo:
            msg = f"hi = {self.hi:g} GeV lies below lo = {self.lo:g} GeV; swap them"
            raise ValueError(msg)
        return self

    def masses(self) -> tuple[float, ...]:
        """The masses.

        Returns
        -------
        tuple of float
            In GeV, ascending.
        """
        count = math.floor((self.hi - self.lo) / self.step + 1e-9) + 1
        return tuple(self.lo + k * self.step for k in range(count))


class GlobalOptions(Section):
    """Pseudo-experiments for the look-elsewhere effect: masses scanned in each, and their number."""

    masses: MassRange
    toys: Whole = pydantic.Field(default=1000, ge=1)


class SpectrumDocument(Section):
    """What a spectrum file holds (JSON).

    Parameters
    ----------
    edges
        Bin edges in GeV: a list, or ``{"lo", "width", "n"}``.
    counts
        Events a bin: whole numbers; trailing zeros may be left out.
    coarse_edges
        Edges in GeV of the bins of χ² and F-test, merged from the right until each holds 5 events; BumpHunter
        takes them unmerged. Those of the CMS search if None.
    masses
        Tested masses in GeV.
    signal
        One shape that scales with the mass, a histogram, or a shape or histogram by mass.
    fit, calculator, global, bumphunter
        Options of the analysis; ``calculator`` is that of p-values and limits.
    sqrt_s
        Centre-of-mass energy in GeV.
    seed
        Of all pseudo-experiments.
    """

    edges: Edges
    counts: Annotated[list[Number], _COUNTS_SCHEMA]
    coarse_edges: list[Number] | None = None
    masses: tuple[_Positive, ...] = ()
    signal: Annotated[
        Annotated[GenericSignal, pydantic.Tag("one shape")]
        | Annotated[SignalTemplateShape, pydantic.Tag("one template")]
        | Annotated[dict[str, MassSignal], pydantic.Field(min_length=1), pydantic.Tag("by mass")],
        pydantic.Discriminator(_signal_kind),
    ] = GenericSignal(shape="double_crystal_ball")
    fit: FitOptions = FitOptions()
    calculator: Literal["auto", "asymptotic", "toys"] = "auto"
    look_elsewhere: GlobalOptions | None = pydantic.Field(default=None, alias="global")
    bumphunter: bool = False
    sqrt_s: Number = pydantic.Field(default=13000.0, gt=0)
    seed: Whole = pydantic.Field(default=0, ge=0)

    @pydantic.field_validator("masses")
    @classmethod
    def _once(cls, masses: tuple[float, ...]) -> tuple[float, ...]:
        keys = [mass_key(mass) for mass in masses]
        if twice := [key for key in keys if keys.count(key) > 1]:
            msg = f"the mass {twice[0]} stands twice; test each once"
            raise ValueError(msg)
        return masses

    @pydantic.field_validator("signal")
    @classmethod
    def _keys_are_masses(cls, signal: Any) -> Any:
        for key in signal if isinstance(signal, dict) else ():
            try:
                mass = float(key)
            except ValueError:
                mass = math.nan
            if not 0 < mass < math.inf:
                msg = f"'{key}' is not a mass in GeV; name each shape by its mass, or give a 'shape' for all masses"
                raise ValueError(msg)
        rows = list(signal.values()) if isinstance(signal, dict) else []
        if len({isinstance(row, SignalTemplateShape) for row in rows}) > 1:
            msg = "some masses have a shape and some a template; give the same kind for all"
            raise ValueError(msg)
        return signal

    @classmethod
    def read(cls, path: Path | str) -> "SpectrumDocument":
        """Read a spectrum file.

        Parameters
        ----------
        path
            JSON file.

        Returns
        -------
        SpectrumDocument
            Its content.

        Raises
        ------
        InputError
            If the file cannot be read or is not JSON.
        ConfigError
            If a key is unknown, missing or of the wrong type.
        """
        return cls.parse(read_json(Path(path)), str(path))
