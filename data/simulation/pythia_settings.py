"""Pythia's settings for each process.

Most signals are a W′ of quark–antiquark fusion: Pythia's matrix element of it does not depend on what it decays to, so
made-up particles may stand there. Widths are forced, and branching ratios given (decay modes 100 and 101: phase space
alone; 101 shuts what has too little mass), so couplings never matter.
"""

import functools
import math

from data.errors import ConfigError
from data.simulation.processes import Background, Process, Qcd, Signal, SingleTop, TopPair, VectorBoson

# PDG identities
Z, W, W_PRIME = 23, 24, 34

_MASSLESS_MARGIN, _MASSIVE_MARGIN = 0.98, 0.8


@functools.singledispatch
def process_settings(process: Process, mhat: tuple[float, float]) -> list[str]:  # noqa: ARG001 - that of a kind reads it
    """Settings that make a process.

    Parameters
    ----------
    process
        What to make.
    mhat
        Lower and upper invariant mass (GeV) of the hard process for a background, −1 for no upper end; ignored for a
        signal.

    Returns
    -------
    list of str
        Lines for ``Pythia.readString``, in their order.

    Raises
    ------
    ConfigError
        If the file of the process says nothing of them.
    """
    name = type(process).__name__
    msg = f"process {name} has no settings for Pythia; give them in its file, by a function decorated with process_settings.register"
    raise ConfigError(msg)


def _phase_space(process: Background, mhat: tuple[float, float], margin: float) -> list[str]:
    low, high = mhat
    # Massless partons with |Δη| below the veto have at least this pT: no event is lost.
    pt_min = margin * (low / (2 * math.cosh(process.delta_eta_max / 2)))
    return [
        f"PhaseSpace:mHatMin = {low!r}",
        f"PhaseSpace:mHatMax = {high!r}",
        f"PhaseSpace:pTHatMin = {max(pt_min, process.pt_hat_min or 0.0)!r}",
    ]


@process_settings.register
def _(process: Qcd, mhat: tuple[float, float]) -> list[str]:
    return ["HardQCD:all = on", *_phase_space(process, mhat, _MASSLESS_MARGIN)]


@process_settings.register
def _(process: TopPair, mhat: tuple[float, float]) -> list[str]:
    return [
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        *_phase_space(process, mhat, _MASSIVE_MARGIN),
        *quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: SingleTop, mhat: tuple[float, float]) -> list[str]:
    return [
        "Top:qq2tq(t:W) = on",
        "Top:ffbar2tqbar(s:W) = on",
        *_phase_space(process, mhat, _MASSIVE_MARGIN),
        *quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: VectorBoson, mhat: tuple[float, float]) -> list[str]:
    return [
        *(f"WeakBosonAndParton:{name} = on" for name in ("qqbar2gmZg", "qg2gmZq", "qqbar2Wg", "qg2Wq")),
        "WeakZ0:gmZmode = 2",
        f"{W}:mMin = 49.",
        f"{W}:mMax = 112.",
        f"{Z}:mMin = 54.",
        f"{Z}:mMax = 129.",
        *_phase_space(process, mhat, _MASSIVE_MARGIN),
        *quarks_only(process.hadronic_only),
    ]


def w_prime(process: Signal) -> list[str]:
    """A W′ of quark–antiquark fusion with the mass and width of the signal; its decay is the caller's."""
    return ["NewGaugeBoson:ffbar2Wprime = on", *resonance(W_PRIME, process)]


def resonance(identity: int, process: Signal) -> list[str]:
    """Mass, width and range of the resonance: 25 widths, at most half the mass, on either side."""
    span = min(0.5, 25 * process.width)
    return [
        f"{identity}:m0 = {process.mass!r}",
        f"{identity}:doForceWidth = on",
        f"{identity}:mWidth = {process.width * process.mass!r}",
        f"{identity}:mMin = {(1 - span) * process.mass!r}",
        f"{identity}:mMax = {(1 + span) * process.mass!r}",
    ]


def narrow(identity: int, mass: float, width: float, span: float) -> list[str]:
    """Mass, width and range of a known particle.

    Parameters
    ----------
    identity
        PDG number.
    mass, width
        GeV.
    span
        Half the width of the range of masses, GeV.

    Returns
    -------
    list of str
        Settings of Pythia.
    """
    return [
        f"{identity}:m0 = {mass!r}",
        f"{identity}:mWidth = {width!r}",
        f"{identity}:mMin = {mass - span!r}",
        f"{identity}:mMax = {mass + span!r}",
        f"{identity}:doForceWidth = on",
    ]


def scalar(identity: int, quantum_numbers: str, mass: float, decays: tuple[str, ...]) -> list[str]:
    """A new, narrow scalar.

    Parameters
    ----------
    identity
        PDG identity, from 9000000 on.
    quantum_numbers
        Name, name of the antiparticle (``void``: none), spin type, three times the charge, colour.
    mass
        GeV; the width is a thousandth of it.
    decays
        Each a branching ratio, a decay mode, and the daughters.

    Returns
    -------
    list of str
        Lines for ``Pythia.readString``.
    """
    width, span = 1e-3 * mass, 1e-2 * mass
    return [
        f"{identity}:new = {quantum_numbers} {mass!r} {width!r} {mass - span!r} {mass + span!r} 0.",
        f"{identity}:isResonance = true",
        f"{identity}:oneChannel = 1 {decays[0]}",
        *(f"{identity}:addChannel = 1 {decay}" for decay in decays[1:]),
    ]


def quarks_only(hadronic_only: bool) -> list[str]:
    """W and Z decay to quarks only, if so wished."""
    if not hadronic_only:
        return []
    return [line for boson in (Z, W) for line in (f"{boson}:onMode = off", f"{boson}:onIfAny = 1 2 3 4 5")]
