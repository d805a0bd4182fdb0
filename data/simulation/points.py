"""The 22 signal model points per resonance mass of the CMS search for dijet resonances with anomalous jets.

References
----------
CMS, "Model-agnostic search for dijet resonances with anomalous jet substructure in proton–proton collisions at √s = 13
TeV", arXiv:2412.03747.
"""

import difflib
import re

from data.errors import ConfigError
from data.simulation.processes import Point, Signal
from data.simulation.signals.qstar import QstarToQW
from data.simulation.signals.wkk import WkkToRW
from data.simulation.signals.wprime_bprime_top import WprimeToBprimeTop
from data.simulation.signals.xyy import Xyy
from data.simulation.signals.yhh import YToHH
from data.simulation.signals.zprime_tt import ZprimeToTprimeTprime

_LIGHT = (25, 80, 170, 400)
_XYY = (
    *((25, second) for second in _LIGHT),
    *((80, second) for second in (80, 170, 400)),
    *((170, second) for second in (170, 400)),
    (400, 400),
)
MASS_MIN, MASS_MAX = 1000.0, 10000.0


def signal_points(mass: float, *, hadronic_only: bool = False) -> dict[str, Signal]:
    """The model points at one resonance mass.

    Parameters
    ----------
    mass
        Resonance mass in GeV, a whole number from 1000 to 10000.
    hadronic_only
        Whether the W and Z of the points that have them decay to quarks only.

    Returns
    -------
    dict
        Name, e.g. ``wprime_bprime_top_3000_400``, to process: Q* → q W′ (4), W_KK → R W (2), W′ → B′ t (4),
        Z′ → T′ T̄′ (1), Y → H H (1), X → Y Y′ (10).

    Raises
    ------
    ConfigError
        If the mass is out of range or broken.

    Examples
    --------
    >>> len(signal_points(3000))
    22
    """
    if not MASS_MIN <= mass <= MASS_MAX or mass != int(mass):
        msg = f"signal points need a whole resonance mass from 1000 to 10000 GeV, found {mass:g}"
        raise ConfigError(msg)
    whole = int(mass)
    points: dict[str, Signal] = {}
    for light in _LIGHT:
        points[f"qstar_{whole}_{light}"] = QstarToQW(type="qstar", mass=mass, mass_w_prime=light)
    for light in (170, 400):
        points[f"wkk_{whole}_{light}"] = WkkToRW(
            type="wkk", mass=mass, mass_r=light, hadronic_only=hadronic_only
        )
    for light in _LIGHT:
        points[f"wprime_bprime_top_{whole}_{light}"] = WprimeToBprimeTop(
            type="wprime_bprime_top", mass=mass, mass_b_prime=light, hadronic_only=hadronic_only
        )
    points[f"zprime_tt_{whole}_400"] = ZprimeToTprimeTprime(
        type="zprime_tt", mass=mass, mass_t_prime=400, hadronic_only=hadronic_only
    )
    points[f"yhh_{whole}_400"] = YToHH(type="yhh", mass=mass, mass_h=400, hadronic_only=hadronic_only)
    for first, second in _XYY:
        points[f"xyy_{whole}_{first}_{second}"] = Xyy(
            type="xyy", mass=mass, mass_y=first, mass_y_prime=second
        )
    return points


def resolve(point: Point) -> Signal:
    """The process that a named point stands for.

    Raises
    ------
    ConfigError
        If no point has the name.
    """
    masses = re.findall(r"\d+", point.name)
    known: dict[str, Signal] = {}
    if masses and MASS_MIN <= int(masses[0]) <= MASS_MAX:
        known = signal_points(int(masses[0]), hadronic_only=point.hadronic_only)
    if point.name not in known:
        names = list(known or signal_points(3000))
        near = difflib.get_close_matches(point.name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"points at one mass: {', '.join(names)}"
        msg = f"no signal point is named '{point.name}'; {hint}"
        raise ConfigError(msg)
    return known[point.name]
