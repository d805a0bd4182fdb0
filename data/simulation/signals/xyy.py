"""X → Y Y′ of quark–antiquark fusion, four or six light quarks."""

from typing import ClassVar, Literal, Self

import pydantic

from data.simulation.processes import Signal
from data.simulation.pythia_settings import W_PRIME, process_settings, scalar, w_prime

Y, Y_PRIME = 9000001, 9000002  # made up, as R and H of other signals


class Xyy(Signal):
    """X made by quark–antiquark fusion, X → Y Y′, each a scalar that decays to two light quarks or to three."""

    leptonic: ClassVar[bool] = False

    type: Literal["xyy"]
    mass_y: float = pydantic.Field(gt=5)
    """Mass of Y (GeV)."""
    mass_y_prime: float = pydantic.Field(gt=5)
    """Mass of Y′ (GeV)."""
    prongs: Literal[2, 3] = 2
    """Quarks that Y and Y′ decay to. Three: uud and uds, evenly in phase space; baryon number changes."""

    @pydantic.model_validator(mode="after")
    def _open(self) -> Self:
        self.need("mass_y + mass_y_prime", self.mass_y + self.mass_y_prime)
        return self

    def label(self) -> str:
        """Name of the process in sample definitions, the same for every resonance mass."""
        suffix = "" if self.prongs == 2 else "_3prong"
        return f"xyy_{self.mass_y:.0f}_{self.mass_y_prime:.0f}{suffix}"


@process_settings.register
def settings(process: Xyy, _mhat: tuple[float, float]) -> list[str]:
    """Lines for Pythia; see `data.simulation.pythia_settings.process_settings`."""
    two = {Y: ("1.0 101 2 -1",), Y_PRIME: ("1.0 101 1 -1",)}
    three = {Y: ("1.0 101 2 2 1",), Y_PRIME: ("0.5 101 2 1 3", "0.5 101 -2 -1 -3")}
    decays = two if process.prongs == 2 else three
    return [
        *w_prime(process),
        *scalar(Y, "Y Ybar 1 3 0", process.mass_y, decays[Y]),
        *scalar(Y_PRIME, "Yprime void 1 0 0", process.mass_y_prime, decays[Y_PRIME]),
        f"{W_PRIME}:oneChannel = 1 1.0 100 {Y} {Y_PRIME}",
    ]
