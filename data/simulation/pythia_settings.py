"""Pythia's settings for each process.

Most signals are a W′ of quark–antiquark fusion: Pythia's matrix element of it does not depend on what it decays to, so
made-up particles may stand there. Widths are forced, and branching ratios given (decay modes 100 and 101: phase space
alone; 101 shuts what has too little mass), so couplings never matter.
"""

import functools
import math

from data.simulation.processes import (
    Z_MASS,
    Background,
    Process,
    Qcd,
    QstarToQW,
    Signal,
    SingleTop,
    TopPair,
    VectorBoson,
    WkkToRW,
    WprimeToBprimeTop,
    Xyy,
    YToHH,
    ZprimeToTprimeTprime,
)

# PDG identities; from 9000000 on made up.
B_PRIME, T_PRIME = 7, 8
Z, W = 23, 24
Z_PRIME, W_PRIME, HEAVY_HIGGS = 32, 34, 35
D_STAR, U_STAR = 4000001, 4000002
Y, Y_PRIME, R, H = 9000001, 9000002, 9000003, 9000004

_OFF_SHELL_Z_MASS_MIN = 2.0  # GeV; below, hadrons of a quark pair are not a string
_MASSLESS_MARGIN, _MASSIVE_MARGIN = 0.98, 0.8


@functools.singledispatch
def process_settings(process: Process, mhat: tuple[float, float]) -> list[str]:
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
    """
    raise NotImplementedError(type(process).__name__)


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
        *_quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: SingleTop, mhat: tuple[float, float]) -> list[str]:
    return [
        "Top:qq2tq(t:W) = on",
        "Top:ffbar2tqbar(s:W) = on",
        *_phase_space(process, mhat, _MASSIVE_MARGIN),
        *_quarks_only(process.hadronic_only),
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
        *_quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: Xyy, _mhat: tuple[float, float]) -> list[str]:
    two = {Y: ("1.0 101 2 -1",), Y_PRIME: ("1.0 101 1 -1",)}
    three = {Y: ("1.0 101 2 2 1",), Y_PRIME: ("0.5 101 2 1 3", "0.5 101 -2 -1 -3")}
    decays = two if process.prongs == 2 else three
    return [
        *_w_prime(process),
        *_scalar(Y, "Y Ybar 1 3 0", process.mass_y, decays[Y]),
        *_scalar(Y_PRIME, "Yprime void 1 0 0", process.mass_y_prime, decays[Y_PRIME]),
        f"{W_PRIME}:oneChannel = 1 1.0 100 {Y} {Y_PRIME}",
    ]


@process_settings.register
def _(process: QstarToQW, _mhat: tuple[float, float]) -> list[str]:
    lines = [
        "ExcitedFermion:dg2dStar = on",
        "ExcitedFermion:ug2uStar = on",
        f"ExcitedFermion:Lambda = {process.mass!r}",
    ]
    for excited, decay in ((D_STAR, f"2 -{W_PRIME}"), (U_STAR, f"1 {W_PRIME}")):
        lines += [*_resonance(excited, process), f"{excited}:oneChannel = 1 1.0 100 {decay}"]
    mass = process.mass_w_prime
    return [
        *lines,
        *_narrow(W_PRIME, mass, width=1e-3 * mass, span=1e-2 * mass),
        f"{W_PRIME}:oneChannel = 1 0.5 101 2 -1",
        f"{W_PRIME}:addChannel = 1 0.5 101 4 -3",
    ]


@process_settings.register
def _(process: WprimeToBprimeTop, _mhat: tuple[float, float]) -> list[str]:
    below = process.mass_b_prime < Z_MASS + 5  # b mass
    return [
        *_w_prime(process),
        *_narrow(B_PRIME, process.mass_b_prime, width=0.1, span=1.0),
        f"{B_PRIME}:oneChannel = 1 1.0 100 5 {Z}",
        *([f"{Z}:mMin = {_OFF_SHELL_Z_MASS_MIN!r}"] if below else []),
        f"{W_PRIME}:oneChannel = 1 1.0 100 6 -{B_PRIME}",
        *_quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: WkkToRW, _mhat: tuple[float, float]) -> list[str]:
    return [
        *_w_prime(process),
        *_scalar(R, "R void 1 0 0", process.mass_r, (f"1.0 100 {W} -{W}",)),
        f"{W_PRIME}:oneChannel = 1 1.0 100 {W} {R}",
        *_quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: ZprimeToTprimeTprime, _mhat: tuple[float, float]) -> list[str]:
    return [
        "NewGaugeBoson:ffbar2gmZZprime = on",
        "Zprime:gmZmode = 3",  # no photon, no Z
        "Zprime:coup2gen4 = on",  # else the matrix element knows no T′
        *_resonance(Z_PRIME, process),
        *_narrow(T_PRIME, process.mass_t_prime, width=0.1, span=1.0),
        f"{T_PRIME}:oneChannel = 1 1.0 100 6 {Z}",
        f"{Z_PRIME}:oneChannel = 1 1.0 100 {T_PRIME} -{T_PRIME}",
        *_quarks_only(process.hadronic_only),
    ]


@process_settings.register
def _(process: YToHH, _mhat: tuple[float, float]) -> list[str]:
    return [
        "Higgs:useBSM = on",
        "HiggsBSM:gg2H2 = on",
        *_resonance(HEAVY_HIGGS, process),
        *_scalar(H, "H void 1 0 0", process.mass_h, ("1.0 100 6 -6",)),
        f"{HEAVY_HIGGS}:onMode = off",  # not oneChannel: production needs the width to gluons
        f"{HEAVY_HIGGS}:addChannel = 1 1.0 100 {H} {H}",
        *_quarks_only(process.hadronic_only),
    ]


def _w_prime(process: Signal) -> list[str]:
    return ["NewGaugeBoson:ffbar2Wprime = on", *_resonance(W_PRIME, process)]


def _resonance(identity: int, process: Signal) -> list[str]:
    """Mass, width and range of the resonance: 25 widths, at most half the mass, on either side."""
    span = min(0.5, 25 * process.width)
    return [
        f"{identity}:m0 = {process.mass!r}",
        f"{identity}:doForceWidth = on",
        f"{identity}:mWidth = {process.width * process.mass!r}",
        f"{identity}:mMin = {(1 - span) * process.mass!r}",
        f"{identity}:mMax = {(1 + span) * process.mass!r}",
    ]


def _narrow(identity: int, mass: float, width: float, span: float) -> list[str]:
    return [
        f"{identity}:m0 = {mass!r}",
        f"{identity}:mWidth = {width!r}",
        f"{identity}:mMin = {mass - span!r}",
        f"{identity}:mMax = {mass + span!r}",
        f"{identity}:doForceWidth = on",
    ]


def _scalar(identity: int, quantum_numbers: str, mass: float, decays: tuple[str, ...]) -> list[str]:
    width, span = 1e-3 * mass, 1e-2 * mass
    return [
        f"{identity}:new = {quantum_numbers} {mass!r} {width!r} {mass - span!r} {mass + span!r} 0.",
        f"{identity}:isResonance = true",
        f"{identity}:oneChannel = 1 {decays[0]}",
        *(f"{identity}:addChannel = 1 {decay}" for decay in decays[1:]),
    ]


def _quarks_only(hadronic_only: bool) -> list[str]:
    if not hadronic_only:
        return []
    return [line for boson in (Z, W) for line in (f"{boson}:onMode = off", f"{boson}:onIfAny = 1 2 3 4 5")]
