"""Y → H H of gluon fusion, four top quarks."""

from typing import Literal, Self

import pydantic

from data.simulation.processes import TOP_MASS, Signal
from data.simulation.pythia_settings import process_settings, quarks_only, resonance, scalar

HEAVY_HIGGS = 35
H = 9000004  # made up


class YToHH(Signal):
    """A scalar Y of gluon fusion, Y → H H with scalars H → t t̄; the W decay as they do in nature."""

    type: Literal["yhh"]
    mass_h: float = pydantic.Field(ge=2 * TOP_MASS)
    """Mass of H (GeV)."""
    hadronic_only: bool = False
    """The W decay to quarks only."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("twice mass_h", 2 * self.mass_h)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"yhh_{self.mass_h:.0f}"


@process_settings.register
def settings(process: YToHH, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    return [
        "Higgs:useBSM = on",
        "HiggsBSM:gg2H2 = on",
        *resonance(HEAVY_HIGGS, process),
        *scalar(H, "H void 1 0 0", process.mass_h, ("1.0 100 6 -6",)),
        f"{HEAVY_HIGGS}:onMode = off",  # not oneChannel: production needs the width to gluons
        f"{HEAVY_HIGGS}:addChannel = 1 1.0 100 {H} {H}",
        *quarks_only(process.hadronic_only),
    ]
