"""The recipe of a simulation: processes, generator settings, output skim and samples, as a YAML document."""

from typing import Self

import pydantic

from data.errors import ConfigError
from data.samples import Kind
from data.sections import Section
from data.simulation.known import ProcessEntry
from data.simulation.points import resolve
from data.simulation.processes import Background, Point, Process

FB_PER_PB = 1000.0
_NAME = r"^[A-Za-z0-9_]+$"


class Generator(Section):
    """Settings of Pythia 8."""

    tune: int = pydantic.Field(default=14, ge=1)
    """``Tune:pp``; 14 is Monash 2013, arXiv:1404.5630, with NNPDF2.3 LO."""
    multiparton_interactions: bool = True
    """Off: some four times faster, fewer soft particles a jet."""
    block: int = pydantic.Field(default=1000, ge=1, le=10000)
    """Events generated from one seed; the unit of work, of resumption and of the progress bar."""
    settings: tuple[str, ...] = ()
    """More lines for Pythia, after all others, e.g. ``TimeShower:alphaSvalue = 0.14``."""

    @pydantic.field_validator("settings")
    @classmethod
    def _seeded_by_block(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        for line in lines:
            if line.strip().lower().startswith("random:"):
                msg = f"'{line}' would give every block the same events: seeds follow from the recipe's; leave it out"
                raise ValueError(msg)
        return lines


class Jets(Section):
    """Jet definition and which jets are kept."""

    radius: float = pydantic.Field(default=0.8, gt=0, lt=1.6)
    """Radius of the anti-kT jets (rad)."""
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
    """Largest |Δη| of the two leading jets."""
    leading_pt_min: float = pydantic.Field(default=0.0, ge=0)
    """pT (GeV) of the leading jet."""
    leading_eta_max: float = pydantic.Field(default=10.0, gt=0)
    """|η| of the leading jet."""


class Plant(Section):
    """Signal events put among the events of a sample."""

    process: str = pydantic.Field(pattern=_NAME)
    generated: int = pydantic.Field(ge=1)
    """Number of signal events generated: σ·L of the planted signal. Those that pass the skim are written."""


class Inject(Section):
    """Signal events put among mock data of a given luminosity, by their cross section."""

    process: str = pydantic.Field(pattern=_NAME)
    cross_section_pb: float = pydantic.Field(gt=0)
    """Times the luminosity it gives the number of signal events generated. Those that pass the skim are written."""

    def events(self, luminosity_ifb: float) -> int:
        """Number of signal events to generate.

        Parameters
        ----------
        luminosity_ifb
            Integrated luminosity, fb⁻¹.

        Returns
        -------
        int
            Rounded.
        """
        return round(self.cross_section_pb * luminosity_ifb * FB_PER_PB)


class SampleRecipe(Section):
    """One sample to make: a number of events of one process, or mock data of a luminosity.

    Mock data are a ``mixture`` of backgrounds, of each the rounded number of events that its cross section times
    ``luminosity_ifb`` gives.
    """

    process: str | None = pydantic.Field(default=None, pattern=_NAME)
    kind: Kind
    generate: int | None = pydantic.Field(default=None, ge=1)
    """Events of ``process`` to generate, before the skim."""
    mixture: tuple[str, ...] = ()
    """Backgrounds of the mock data."""
    luminosity_ifb: float | None = pydantic.Field(default=None, gt=0)
    """Integrated luminosity (fb⁻¹) of the mixture."""
    files: int = pydantic.Field(default=1, ge=1)
    run: int = pydantic.Field(ge=1, lt=2**31)
    """Run number of every event; two samples must not share it."""
    seed: int | None = pydantic.Field(default=None, ge=0, lt=2**63)
    """Seed of this sample's events; the recipe's where there is none."""
    cross_section_pb: float | None = pydantic.Field(default=None, gt=0)
    """Cross section to quote for a signal, whose coupling is arbitrary; that of a background is what Pythia computes."""
    particles: bool = False
    """Also write particles, AK4 jets, leptons, photons and missing transverse momentum."""
    generator_record: bool = False
    """Also write the particles of the hard process as ``GenPart``."""
    compact_subjets: bool = False
    """Keep 7 bits (0.4 %) of the subjets' momenta, a tenth of a jets-only file; b-tag scores stay as they are."""
    plant: Plant | None = None
    """Signal events by their number."""
    inject: Inject | None = None
    """Signal events of a mixture by their cross section."""
    description: str = ""

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        single, mixed = {"process", "generate"}, {"mixture", "luminosity_ifb"}
        given = {name for name in single | mixed if getattr(self, name) not in {None, ()}}
        if given not in (single, mixed):
            msg = "give either 'process' and 'generate', or 'mixture' and 'luminosity_ifb'"
            raise ValueError(msg)
        if given == mixed and (self.kind != "data" or self.cross_section_pb is not None):
            msg = "a mixture is mock data: set 'kind: data' and remove 'cross_section_pb'"
            raise ValueError(msg)
        if self.inject and (self.plant or not self.mixture):
            msg = "'inject' needs a mixture and no 'plant'; to add a number of signal events, use 'plant'"
            raise ValueError(msg)
        if self.inject and self.luminosity_ifb and self.inject.events(self.luminosity_ifb) < 1:
            msg = "'inject' gives less than one event in this luminosity; raise its 'cross_section_pb' or remove it"
            raise ValueError(msg)
        return self

    def main_processes(self) -> tuple[str, ...]:
        """Processes that the sample consists of, without the planted signal."""
        return self.mixture if self.process is None else (self.process,)

    def planted(self) -> Plant | None:
        """Signal events put among the others, in either way of saying how many."""
        if self.inject is None or self.luminosity_ifb is None:
            return self.plant
        return Plant(process=self.inject.process, generated=self.inject.events(self.luminosity_ifb))


class SimulationConfig(Section):
    """The whole recipe: same recipe, same bits, whatever the number of workers."""

    seed: int = pydantic.Field(ge=0, lt=2**63)
    year: str
    generator: Generator = Generator()
    jets: Jets = Jets()
    skim: Skim = Skim()
    processes: dict[str, ProcessEntry]
    samples: dict[str, SampleRecipe] = pydantic.Field(min_length=1)

    def seed_of(self, sample: str) -> int:
        """Seed from which the events of a sample follow, together with its name."""
        own = self.samples[sample].seed
        return self.seed if own is None else own

    def process(self, name: str) -> Process:
        """The process of a name in ``processes``, model points resolved."""
        entry = self.processes[name]
        return resolve(entry) if isinstance(entry, Point) else entry

    @pydantic.field_validator("processes")
    @classmethod
    def _known_points(cls, processes: dict[str, ProcessEntry]) -> dict[str, ProcessEntry]:
        for name, entry in processes.items():
            if isinstance(entry, Point):
                try:
                    resolve(entry)
                except ConfigError as error:
                    msg = f"process '{name}': {error}"
                    raise ValueError(msg) from None
        return processes

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        runs: dict[int, str] = {}
        for name, sample in self.samples.items():
            self._check_sample(name, sample)
            if sample.run in runs:
                msg = f"samples '{runs[sample.run]}' and '{name}' share run {sample.run}, and event ids must be unique; give one another run"
                raise ValueError(msg)
            runs[sample.run] = name
        return self

    def _check_sample(self, name: str, sample: SampleRecipe) -> None:
        known = ", ".join(self.processes)
        signal = sample.plant or sample.inject
        for process in (*sample.main_processes(), *([signal.process] if signal else [])):
            if process not in self.processes:
                msg = f"sample '{name}' needs process '{process}', which is not in 'processes' ({known}); add it there"
                raise ValueError(msg)
        others = [p for p in sample.main_processes() if not isinstance(self.process(p), Background)]
        if sample.mixture and (others or len(set(sample.mixture)) < len(sample.mixture)):
            msg = f"sample '{name}': 'mixture' takes different backgrounds; put a signal into 'inject'"
            raise ValueError(msg)
        if not others and sample.cross_section_pb is not None:
            msg = f"sample '{name}': remove 'cross_section_pb', the cross section of a background is computed"
            raise ValueError(msg)
        if others and sample.cross_section_pb is None:
            msg = f"sample '{name}': add 'cross_section_pb', a signal's cross section is a choice"
            raise ValueError(msg)
        if sample.plant and (sample.kind != "data" or others):
            msg = (
                f"sample '{name}': 'plant' needs a background of kind 'data'; set 'kind: data', or remove it"
            )
            raise ValueError(msg)
