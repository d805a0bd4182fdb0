"""The recipe of a simulation: processes, generator settings, output skim and samples, as a YAML document."""

import itertools
from typing import Annotated, Literal, Self

import pydantic

from data.samples import Kind
from data.sections import Section

_NAME = r"^[A-Za-z0-9_]+$"


class EarlyVeto(Section):
    """A veto inside the parton shower, see :mod:`data.simulation.veto`. Leave a margin to the skim."""

    pt_scale: float = pydantic.Field(default=100.0, gt=10)
    """Transverse momentum (GeV) down to which the shower runs before it is looked at."""
    mjj_min: float = pydantic.Field(gt=0)
    """Mass (GeV) that two of the three leading jets of partons need."""
    delta_eta_max: float = pydantic.Field(gt=0)
    """Rapidity difference below which these two must lie."""


class Qcd(Section):
    """QCD dijets, 2 → 2 at leading order, in slices of the partons' invariant mass.

    Events of the slices are mixed in proportion to the slices' cross sections, so the sum is unweighted.
    """

    type: Literal["qcd"]
    mhat_edges: tuple[float, ...] = pydantic.Field(min_length=1)
    """Edges (GeV) of the slices, ascending; the last slice has no upper end."""
    delta_eta_max: float = pydantic.Field(default=1.8, gt=0)
    """Partons with a larger |Δη| are vetoed before the shower, at nearly no cost."""
    early_veto: EarlyVeto | None = None

    @pydantic.field_validator("mhat_edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if edges[0] < 50 or any(low >= high for low, high in itertools.pairwise(edges)):
            msg = f"edges must ascend and begin at 50 GeV or more, found {list(edges)}"
            raise ValueError(msg)
        return edges

    def label(self) -> str:
        """Name of the process in sample definitions."""
        return "qcd"

    def slices(self) -> tuple[tuple[float, float], ...]:
        """Lower and upper parton mass (GeV) of each slice; an upper end of −1 means none."""
        return tuple(zip(self.mhat_edges, (*self.mhat_edges[1:], -1.0), strict=True))


class Xyy(Section):
    """A narrow resonance X made by quark–antiquark fusion, X → Y Y′, each to two light quarks."""

    type: Literal["xyy"]
    mass: float = pydantic.Field(gt=200)
    mass_y: float = pydantic.Field(gt=5)
    mass_y_prime: float = pydantic.Field(gt=5)
    width: float = pydantic.Field(default=0.001, gt=0, lt=0.2)
    """Width of X over its mass."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        if self.mass_y + self.mass_y_prime >= self.mass:
            msg = f"mass_y + mass_y_prime must lie below mass = {self.mass:g} GeV"
            raise ValueError(msg)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"xyy_{self.mass_y:.0f}_{self.mass_y_prime:.0f}"


class WprimeToBprimeTop(Section):
    """W′ → B′ t with B′ → b Z and t → b W; W and Z decay as they do in nature."""

    type: Literal["wprime_bprime_top"]
    mass: float = pydantic.Field(gt=500)
    mass_b_prime: float = pydantic.Field(ge=100)
    width: float = pydantic.Field(default=0.001, gt=0, lt=0.2)
    """Width of W′ over its mass."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        if self.mass_b_prime + 173 >= self.mass:
            msg = f"mass_b_prime + 173 GeV must lie below mass = {self.mass:g} GeV"
            raise ValueError(msg)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"wprime_bprime_top_{self.mass_b_prime:.0f}"


Process = Annotated[Qcd | Xyy | WprimeToBprimeTop, pydantic.Field(discriminator="type")]


class Generator(Section):
    """Settings of Pythia 8."""

    tune: int = pydantic.Field(default=14, ge=1)
    """``Tune:pp``; 14 is Monash 2013, arXiv:1404.5630, with NNPDF2.3 LO."""
    multiparton_interactions: bool = True
    """Off: some four times faster, fewer soft particles a jet."""
    block: int = pydantic.Field(default=1000, ge=1, le=10000)
    """Events generated from one seed; the unit of work, of resumption and of the progress bar."""


class Jets(Section):
    """Jet definition and which jets are kept."""

    radius: float = pydantic.Field(default=0.8, gt=0, lt=1.6)
    pt_min: float = pydantic.Field(default=170.0, gt=0)
    """pT (GeV) that the two leading jets of an event need to be written."""
    third_pt_min: float = pydantic.Field(default=200.0, gt=0)
    """pT (GeV) that a third jet needs to be written."""


class Skim(Section):
    """What an event must pass to be written. The ``Runs`` tree counts every generated event."""

    pt_min: float = pydantic.Field(default=200.0, gt=0)
    """pT (GeV) of both leading jets."""
    mjj_min: float = pydantic.Field(default=0.0, ge=0)
    """Dijet mass (GeV) from pT, η, φ and soft-drop mass of the two leading jets."""
    delta_eta_max: float = pydantic.Field(default=10.0, gt=0)


class Plant(Section):
    """Signal events put among the events of a sample."""

    process: str = pydantic.Field(pattern=_NAME)
    generated: int = pydantic.Field(ge=1)
    """Number of signal events generated: σ·L of the planted signal. Those that pass the skim are written."""


class SampleRecipe(Section):
    """One sample to make."""

    process: str = pydantic.Field(pattern=_NAME)
    kind: Kind
    generate: int = pydantic.Field(ge=1)
    """Events to generate, before the skim."""
    files: int = pydantic.Field(default=1, ge=1)
    run: int = pydantic.Field(ge=1, lt=2**31)
    """Run number of every event; two samples must not share it."""
    seed: int | None = pydantic.Field(default=None, ge=0, lt=2**63)
    """Seed of this sample's events; the recipe's where there is none."""
    cross_section_pb: float | None = pydantic.Field(default=None, gt=0)
    """Cross section to quote for a signal, whose coupling is arbitrary; QCD's is what Pythia computes."""
    particles: bool = False
    """Also write particles, AK4 jets, leptons, photons and missing transverse momentum."""
    generator_record: bool = False
    """Also write the particles of the hard process as ``GenPart``."""
    compact_subjets: bool = False
    """Keep 7 bits (0.4 %) of the subjets' momenta, a tenth of a jets-only file; b-tag scores stay as they are."""
    plant: Plant | None = None
    description: str = ""


class SimulationConfig(Section):
    """The whole recipe: same recipe, same bits, whatever the number of workers."""

    seed: int = pydantic.Field(ge=0, lt=2**63)
    year: str
    generator: Generator = Generator()
    jets: Jets = Jets()
    skim: Skim = Skim()
    processes: dict[str, Process]
    samples: dict[str, SampleRecipe] = pydantic.Field(min_length=1)

    def seed_of(self, sample: str) -> int:
        """Seed from which the events of a sample follow, together with its name."""
        own = self.samples[sample].seed
        return self.seed if own is None else own

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        runs: dict[int, str] = {}
        for name, sample in self.samples.items():
            self._check_sample(name, sample)
            if sample.run in runs:
                msg = f"samples '{runs[sample.run]}' and '{name}' share run {sample.run}; event ids must be unique"
                raise ValueError(msg)
            runs[sample.run] = name
        return self

    def _check_sample(self, name: str, sample: SampleRecipe) -> None:
        known = ", ".join(self.processes)
        wanted = [sample.process, *([sample.plant.process] if sample.plant else [])]
        for process in wanted:
            if process not in self.processes:
                msg = f"sample '{name}' needs process '{process}', which is not in 'processes' ({known})"
                raise ValueError(msg)
        is_qcd = isinstance(self.processes[sample.process], Qcd)
        if is_qcd and sample.cross_section_pb is not None:
            msg = f"sample '{name}': remove 'cross_section_pb', the cross section of QCD is computed"
            raise ValueError(msg)
        if not is_qcd and sample.cross_section_pb is None:
            msg = f"sample '{name}': add 'cross_section_pb', a signal's cross section is a choice"
            raise ValueError(msg)
        if sample.plant and (sample.kind != "data" or not is_qcd):
            msg = f"sample '{name}': 'plant' needs a QCD sample of kind 'data'"
            raise ValueError(msg)
