"""W′ → B′ t of quark–antiquark fusion."""

from typing import Literal, Self

import pydantic

from data.simulation.processes import TOP_MASS, Z_MASS, Signal
from data.simulation.pythia_settings import W_PRIME, Z, narrow, process_settings, quarks_only, w_prime

B_PRIME = 7
OFF_SHELL_Z_MASS_MIN = 2.0  # GeV; below, hadrons of a quark pair are not a string


class WprimeToBprimeTop(Signal):
    """W′ → B′ t with B′ → b Z and t → b W; W and Z decay as they do in nature.

    Below threshold the Z is off its mass shell: its mass follows the Breit–Wigner curve, times two-body phase space.
    """

    type: Literal["wprime_bprime_top"]
    mass: float = pydantic.Field(gt=500)
    """Mass of W′ (GeV)."""
    mass_b_prime: float = pydantic.Field(ge=20)
    """Mass of B′ (GeV)."""
    hadronic_only: bool = False
    """W and Z decay to quarks only."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("mass_b_prime + 173 GeV", self.mass_b_prime + TOP_MASS)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"wprime_bprime_top_{self.mass_b_prime:.0f}"


@process_settings.register
def settings(process: WprimeToBprimeTop, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    below = process.mass_b_prime < Z_MASS + 5  # b mass
    return [
        *w_prime(process),
        *narrow(B_PRIME, process.mass_b_prime, width=0.1, span=1.0),
        f"{B_PRIME}:oneChannel = 1 1.0 100 5 {Z}",
        *([f"{Z}:mMin = {OFF_SHELL_Z_MASS_MIN!r}"] if below else []),
        f"{W_PRIME}:oneChannel = 1 1.0 100 6 -{B_PRIME}",
        *quarks_only(process.hadronic_only),
    ]
