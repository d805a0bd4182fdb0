"""What can be simulated: backgrounds with the cross section that Pythia computes, signals with one that is a choice."""

import abc
import itertools
from typing import ClassVar, Literal

import pydantic

from data.sections import Section

TOP_MASS, W_MASS, Z_MASS = 173.0, 80.4, 91.2  # GeV, to tell open decays from closed ones


class EarlyVeto(Section):
    """A veto inside the parton shower, see :mod:`data.simulation.veto`. Leave a margin to the skim."""

    pt_scale: float = pydantic.Field(default=100.0, gt=10)
    """Transverse momentum (GeV) down to which the shower runs before it is looked at."""
    mjj_min: float = pydantic.Field(gt=0)
    """Mass (GeV) that two of the three leading jets of partons need."""
    delta_eta_max: float = pydantic.Field(gt=0)
    """Rapidity difference below which these two must lie."""


class Background(Section):
    """A 2 → 2 process at leading order, in slices of the invariant mass of what comes out.

    Events of the slices are mixed in proportion to the slices' cross sections, so the sum is unweighted.
    """

    number: ClassVar[int]
    """``Generator_label`` of its events."""
    leptonic: ClassVar[bool] = False
    """Whether its hard process can hold leptons."""

    mhat_edges: tuple[float, ...] = pydantic.Field(min_length=1)
    """Edges (GeV) of the slices, ascending; the last slice has no upper end."""
    delta_eta_max: float = pydantic.Field(default=1.8, gt=0)
    """Partons with a larger |Δη| are vetoed before the shower, at nearly no cost."""
    pt_hat_min: float | None = pydantic.Field(default=None, gt=0)
    """Smallest transverse momentum (GeV) of the partons, where it is more than edges and ``delta_eta_max`` imply."""
    early_veto: EarlyVeto | None = None

    @pydantic.field_validator("mhat_edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if edges[0] < 50 or any(low >= high for low, high in itertools.pairwise(edges)):
            msg = f"edges must ascend and begin at 50 GeV or more, found {list(edges)}"
            raise ValueError(msg)
        return edges

    @abc.abstractmethod
    def label(self) -> str:
        """Name of the process in sample definitions."""

    def slices(self) -> tuple[tuple[float, float], ...]:
        """Ranges of parton mass that are generated one by one.

        Returns
        -------
        tuple
            Lower and upper end (GeV) of each; an upper end of −1 means none.
        """
        return tuple(zip(self.mhat_edges, (*self.mhat_edges[1:], -1.0), strict=True))


class Qcd(Background):
    """QCD dijets."""

    number: ClassVar[int] = 0

    type: Literal["qcd"]

    def label(self) -> str:
        """Name of the process in sample definitions."""
        return "qcd"


class TopPair(Background):
    """tt̄ from gluons and quarks."""

    number: ClassVar[int] = -2
    leptonic: ClassVar[bool] = True

    type: Literal["ttbar"]
    hadronic_only: bool = False
    """W bosons decay to quarks only, and the cross section is that of these decays."""

    def label(self) -> str:
        """Name of the process in sample definitions."""
        return "ttbar"


class VectorBoson(Background):
    """A W or Z boson and a parton.

    Bosons lie within 15 widths of their mass; photons, and their interference with the Z, are left out.
    """

    number: ClassVar[int] = -3
    leptonic: ClassVar[bool] = True

    type: Literal["vjets"]
    hadronic_only: bool = True
    """The boson decays to quarks only, and the cross section is that of these decays."""

    def label(self) -> str:
        """Name of the process in sample definitions."""
        return "vjets"


class SingleTop(Background):
    """A single top quark by a W in the t or s channel; Pythia has no Wt production, which is left out."""

    number: ClassVar[int] = -1
    leptonic: ClassVar[bool] = True

    type: Literal["single_top"]
    hadronic_only: bool = False
    """The W of the top decays to quarks only, and the cross section is that of this decay."""

    def label(self) -> str:
        """Name of the process in sample definitions."""
        return "single_top"


class Signal(Section):
    """A narrow resonance; its decay products have no spin correlations."""

    number: ClassVar[int] = 1
    """``Generator_label`` of its events."""
    leptonic: ClassVar[bool] = True
    """Whether its hard process can hold leptons."""

    mass: float = pydantic.Field(gt=200)
    """Mass of the resonance (GeV)."""
    width: float = pydantic.Field(default=0.001, gt=0, lt=0.2)
    """Width of the resonance over its mass."""

    @abc.abstractmethod
    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""

    def slices(self) -> tuple[tuple[float, float], ...]:
        """One slice without ends: the resonance itself sets the mass.

        Returns
        -------
        tuple
            (0, −1), GeV.
        """
        return ((0.0, -1.0),)

    def need(self, what: str, threshold: float) -> None:
        """Refuse masses of the daughters that leave the resonance no room to decay.

        Parameters
        ----------
        what
            What is too heavy, in the words of the message.
        threshold
            Sum of the daughters' masses, GeV.

        Raises
        ------
        ValueError
            Naming what is too heavy.
        """
        if threshold >= self.mass:
            msg = f"{what} must lie below mass = {self.mass:g} GeV"
            raise ValueError(msg)


Process = Background | Signal


class Point(Section):
    """A signal by the name of a model point, see :mod:`data.simulation.points`."""

    type: Literal["point"]
    name: str
    """For instance ``xyy_3000_80_170``: family, resonance mass, masses of the daughters (GeV)."""
    hadronic_only: bool = False
    """W and Z decay to quarks only."""
