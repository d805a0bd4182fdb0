"""Q* → q W′ of quark–gluon fusion, three light quarks."""

from typing import ClassVar, Literal, Self

import pydantic

from data.simulation.processes import Signal
from data.simulation.pythia_settings import W_PRIME, narrow, process_settings, resonance

D_STAR, U_STAR = 4000001, 4000002


class QstarToQW(Signal):
    """An excited quark of quark–gluon fusion, Q* → q W′ with W′ → q q̄′ of light quarks."""

    leptonic: ClassVar[bool] = False

    type: Literal["qstar"]
    mass_w_prime: float = pydantic.Field(gt=5)
    """Mass of W′ (GeV)."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("mass_w_prime", self.mass_w_prime)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        return f"qstar_{self.mass_w_prime:.0f}"


@process_settings.register
def settings(process: QstarToQW, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    lines = [
        "ExcitedFermion:dg2dStar = on",
        "ExcitedFermion:ug2uStar = on",
        f"ExcitedFermion:Lambda = {process.mass!r}",
    ]
    for excited, decay in ((D_STAR, f"2 -{W_PRIME}"), (U_STAR, f"1 {W_PRIME}")):
        lines += [*resonance(excited, process), f"{excited}:oneChannel = 1 1.0 100 {decay}"]
    mass = process.mass_w_prime
    return [
        *lines,
        *narrow(W_PRIME, mass, width=1e-3 * mass, span=1e-2 * mass),
        f"{W_PRIME}:oneChannel = 1 0.5 101 2 -1",
        f"{W_PRIME}:addChannel = 1 0.5 101 4 -3",
    ]
