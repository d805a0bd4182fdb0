"""W_KK → R W of quark–antiquark fusion, three W."""

from typing import Literal, Self

import pydantic

from data.simulation.processes import W_MASS, Signal
from data.simulation.pythia_settings import W_PRIME, W, process_settings, quarks_only, scalar, w_prime

R = 9000003  # made up


class WkkToRW(Signal):
    """W_KK made by quark–antiquark fusion, W_KK → R W with a scalar R → W W; the W decay as they do in nature."""

    type: Literal["wkk"]
    mass_r: float = pydantic.Field(ge=150)
    """Slightly below two W masses one W is off its mass shell."""
    hadronic_only: bool = False
    """The W decay to quarks only."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("mass_r + 80.4 GeV", self.mass_r + W_MASS)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"wkk_{self.mass_r:.0f}"


@process_settings.register
def settings(process: WkkToRW, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    return [
        *w_prime(process),
        *scalar(R, "R void 1 0 0", process.mass_r, (f"1.0 100 {W} -{W}",)),
        f"{W_PRIME}:oneChannel = 1 1.0 100 {W} {R}",
        *quarks_only(process.hadronic_only),
    ]
