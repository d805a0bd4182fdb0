"""Z′ → T′ T̄′ of quark–antiquark fusion."""

from typing import Literal, Self

import pydantic

from data.simulation.processes import TOP_MASS, Z_MASS, Signal
from data.simulation.pythia_settings import Z, narrow, process_settings, quarks_only, resonance

T_PRIME, Z_PRIME = 8, 32


class ZprimeToTprimeTprime(Signal):
    """Z′ made by quark–antiquark fusion, Z′ → T′ T̄′ with T′ → t Z; W and Z decay as they do in nature."""

    type: Literal["zprime_tt"]
    mass_t_prime: float = pydantic.Field(ge=TOP_MASS + Z_MASS)
    """Mass of T′ (GeV)."""
    hadronic_only: bool = False
    """W and Z decay to quarks only."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("twice mass_t_prime", 2 * self.mass_t_prime)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"zprime_tt_{self.mass_t_prime:.0f}"


@process_settings.register
def settings(process: ZprimeToTprimeTprime, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    return [
        "NewGaugeBoson:ffbar2gmZZprime = on",
        "Zprime:gmZmode = 3",  # no photon, no Z
        "Zprime:coup2gen4 = on",  # else the matrix element knows no T′
        *resonance(Z_PRIME, process),
        *narrow(T_PRIME, process.mass_t_prime, width=0.1, span=1.0),
        f"{T_PRIME}:oneChannel = 1 1.0 100 6 {Z}",
        f"{Z_PRIME}:oneChannel = 1 1.0 100 {T_PRIME} -{T_PRIME}",
        *quarks_only(process.hadronic_only),
    ]
