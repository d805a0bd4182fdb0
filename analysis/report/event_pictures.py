"""Pictures of an event: its jets in η and φ, the particles and subjets of a jet, its primary Lund plane."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from analysis.report.numbers import MISSING, counted, fixed, percent, significant
from analysis.report.ticks import linear_ticks
from analysis.study_record import DisplayEvent, DisplayJet
from processors.lund import LN_KT_RANGE, LN_R0_DELTA_RANGE

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 48.0, 10.0, 10.0, 38.0
_LIGHT = {22: "photon", 11: "lepton", 13: "lepton"}
_WORDS = {
    "neutral": "neutral hadrons",
    "hadron": "charged hadrons",
    "photon": "photons",
    "lepton": "electrons, muons",
}
_TOLD = 3.0  # GeV; particles below are dots of one size
_RADIUS = 1.1  # of a particle of 1 GeV
_ETA = 3.0


def draw_event(display: DisplayEvent) -> tuple[tuple[Markup, str], ...]:
    """All pictures of an event with their captions: its jets, then the inside and the Lund plane of each of the two.

    Parameters
    ----------
    display
        The event, with jets ``j1`` and ``j2``.

    Returns
    -------
    tuple of (Markup, str)
        HTML and caption; no Lund plane for a jet without splittings.
    """
    pictures = [_overview(display)]
    for role in ("j1", "j2"):
        jet = next(jet for jet in display.jets if jet.role == role)
        pictures.append(_zoom(jet, display))
        if jet.lund:
            pictures.append(_lund(jet, display.radius))
    return tuple(pictures)


def particle_kind(code: int) -> str:
    """What a particle is drawn as, by its PDG code; a hadron's quarks say whether it is charged.

    Parameters
    ----------
    code
        PDG code: its tens, hundreds and thousands are the quarks, of which the even ones have charge 2/3.

    Returns
    -------
    str
        ``photon``, ``lepton``, ``hadron`` (charged) or ``neutral``.
    """
    size = abs(code)
    if size in _LIGHT:
        return _LIGHT[size]
    first, second, third = (size // place % 10 for place in (1000, 100, 10))
    if first:
        thirds = sum(2 if quark % 2 == 0 else -1 for quark in (first, second, third))
    else:  # a meson: a quark and an antiquark
        thirds = second % 2 - third % 2
    return "hadron" if thirds else "neutral"


@dataclass(frozen=True)
class _Frame:
    """A picture with axes; what lies beyond them is cut off. All pictures of one name share their axes."""

    name: str
    x: tuple[float, float]
    y: tuple[float, float]
    titles: tuple[str, str]
    height: float = 320.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands."""
        right, low = _WIDTH - _RIGHT, self.height - _BOTTOM
        return (
            _LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (right - _LEFT),
            low - (y - self.y[0]) / (self.y[1] - self.y[0]) * (low - _TOP),
        )

    def length(self, size: float) -> float:
        """A length along the horizontal axis."""
        return size / (self.x[1] - self.x[0]) * (_WIDTH - _RIGHT - _LEFT)

    def axes(self) -> str:
        """What stands about all pictures of this kind, under its own address in the page."""
        low = self.height - _BOTTOM
        words = []
        for value, text in linear_ticks(*self.x, 5):
            words.append(f'<text x="{self.place(value, 0)[0]:.1f}" y="{low + 15:g}">{text}</text>')
        for value, text in linear_ticks(*self.y, 5):
            place = self.place(0, value)[1] + 4
            words.append(f'<text class="end" x="{_LEFT - 5:g}" y="{place:.1f}">{text}</text>')
        wide, high = _WIDTH - _RIGHT - _LEFT, low - _TOP
        inside = f'x="{_LEFT:g}" y="{_TOP:g}" width="{wide:g}" height="{high:g}"'
        frame = f'<rect class="frame" {inside}/>'
        titles = (
            f'<text class="title" x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{self.height - 5:g}">{escape(self.titles[0])}</text>'
            f'<text class="title" transform="translate(11 {(low + _TOP) / 2:g}) rotate(-90)">{escape(self.titles[1])}</text>'
        )
        return f'<g id="axes-{self.name}">{frame}{"".join(words)}{titles}</g>'

    def draw(self, parts: Sequence[str], alt: str) -> Markup:
        """The picture as SVG."""
        wide, high = _WIDTH - _RIGHT - _LEFT, self.height - _BOTTOM - _TOP
        inside = f'x="{_LEFT:g}" y="{_TOP:g}" width="{wide:g}" height="{high:g}"'
        box = f"{_LEFT:g} {_TOP:g} {wide:g} {high:g}"
        return Markup(  # noqa: S704 - numbers, and words that are escaped
            f'<svg class="chart event" viewBox="0 0 {_WIDTH:g} {self.height:g}" role="img" tabindex="0" '
            f'aria-label="{escape(alt)}"><svg {inside} viewBox="{box}">{"".join(parts)}</svg>'
            f'<use href="#axes-{self.name}"/></svg>'
        )


def _circle(frame: _Frame, x: float, y: float, radius: float, name: str, text: str = "") -> str:
    place = frame.place(x, y)
    own = f'class="{name}" ' if name else ""
    box = f'{own}cx="{place[0]:.0f}" cy="{place[1]:.0f}" r="{radius:.1f}"'
    return f"<circle {box}><title>{escape(text)}</title></circle>" if text else f"<circle {box}/>"


def _overview_frame() -> _Frame:
    return _true_frame("event", (-_ETA, _ETA), (-math.pi, math.pi), ("η", "φ [rad]"))


def _zoom_frame(radius: float) -> _Frame:
    size = 1.25 * radius
    return _true_frame(f"jet-{radius:g}", (-size, size), (-size, size), ("Δη", "Δφ [rad]"))


def _true_frame(name: str, x: tuple[float, float], y: tuple[float, float], titles: tuple[str, str]) -> _Frame:
    """Both axes have one scale, so that the circle of a jet holds what lies within its radius."""
    inside = (_WIDTH - _RIGHT - _LEFT) * (y[1] - y[0]) / (x[1] - x[0])
    return _Frame(name, x, y, titles, _TOP + inside + _BOTTOM)


def _lund_frame() -> _Frame:
    return _Frame("lund", (-0.5, LN_R0_DELTA_RANGE[1] - 1), LN_KT_RANGE, ("ln(R/Δ)", "ln(kT / GeV)"))


def shared_axes(displays: Iterable[DisplayEvent]) -> Markup:
    """Axes of all pictures of some events, each once, for the pictures to refer to.

    Parameters
    ----------
    displays
        The events.

    Returns
    -------
    Markup
        SVG that shows nothing where it stands.
    """
    zooms = [_zoom_frame(radius) for radius in sorted({display.radius for display in displays})]
    axes = "".join(frame.axes() for frame in (_overview_frame(), *zooms, _lund_frame()))
    return Markup(f'<svg width="0" height="0" aria-hidden="true"><defs>{axes}</defs></svg>')  # noqa: S704 - as above


def _particle(frame: _Frame, x: float, y: float, pt: float) -> str:
    """A circle whose area tells the transverse momentum (GeV)."""
    place = frame.place(x, y)
    return f'<circle cx="{place[0]:.0f}" cy="{place[1]:.0f}" r="{_RADIUS * math.sqrt(pt):.3f}"/>'


def _overview(display: DisplayEvent) -> tuple[Markup, str]:
    """All jets of an event in η and φ; a circle across the end of the azimuth goes on at the other end."""
    frame = _overview_frame()
    parts = []
    for jet in sorted(display.jets, key=lambda jet: jet.role is not None):
        if abs(jet.eta) > _ETA:
            continue
        words = f"{jet.role or 'jet'}: pT {jet.pt:.0f} GeV, η {fixed(jet.eta)}, φ {fixed(jet.phi)}"
        name, size = f"jet {jet.role or 'other'}", frame.length(display.radius)
        parts += [
            _circle(frame, jet.eta, phi, size, name, words)
            for phi in (jet.phi, jet.phi - 2 * math.pi, jet.phi + 2 * math.pi)
            if abs(phi) < math.pi + display.radius
        ]
        if jet.role:
            x, y = frame.place(jet.eta, jet.phi)
            y = min(max(y + 5, _TOP + 14), frame.height - _BOTTOM - 6)  # whole, at the end of the azimuth too
            parts.append(f'<text class="name" x="{x:.1f}" y="{y:.1f}">{jet.role}</text>')
    two = sorted((jet for jet in display.jets if jet.role), key=lambda jet: jet.role or "")
    told = "; ".join(f"{jet.role}: pT {jet.pt:.0f} GeV" for jet in two)
    others = [abs(jet.eta) > _ETA for jet in display.jets if jet.role is None]
    rest = counted(len(others), "other jet") if others else "no other jet"
    if any(others):
        rest += f", {sum(others)} of them beyond |η| = {_ETA:g} and not drawn"
    return frame.draw(parts, f"Jets of the event in η and φ; {told}; {rest}."), f"Jets ({told}; {rest})."


def _zoom(jet: DisplayJet, display: DisplayEvent) -> tuple[Markup, str]:
    """The particles and subjets of a jet about its axis."""
    frame = _zoom_frame(display.radius)
    size = frame.x[1]
    parts = [_circle(frame, 0.0, 0.0, frame.length(display.radius), f"jet {jet.role}")]
    hard: dict[str, list[str]] = {}
    soft: dict[str, str] = {}
    for pt, eta, phi, code in jet.particles:
        x, y = eta - jet.eta, _wrapped(phi - jet.phi)
        if max(abs(x), abs(y)) > size:
            continue
        kind = particle_kind(code)
        if pt > _TOLD:
            hard.setdefault(kind, []).append(_particle(frame, x, y, pt))
        else:
            place = frame.place(x, y)
            soft[kind] = soft.get(kind, "") + f"M{place[0]:.0f} {place[1]:.0f}h0"
    present = hard.keys() | soft.keys()
    scale = f'data-gev="{_RADIUS**-2:.4f}"'
    parts += [f'<g class="{kind}" {scale}>{"".join(hard[kind])}</g>' for kind in _WORDS if kind in hard]
    parts += [f'<path class="soft {kind}" d="{soft[kind]}"/>' for kind in _WORDS if kind in soft]
    for pt, eta, phi in jet.subjets:
        x, y = frame.place(eta - jet.eta, _wrapped(phi - jet.phi))
        cross = f"M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14"
        parts.append(f'<path class="subjet" d="{cross}"><title>subjet, pT {pt:.0f} GeV</title></path>')
    mass = MISSING if jet.mass is None else f"{jet.mass:.0f} GeV"
    shares = ", ".join(percent(pt / max(jet.pt, 1e-9), 2) for pt, _, _ in jet.subjets)
    inside = (
        f"{len(jet.particles)} particles, area ∝ pT above {_TOLD:g} GeV ({', '.join(_WORDS[kind] for kind in _WORDS if kind in present)})"
        if display.has_particles
        else "the file has no particles"
    )
    subjets = f"; crosses: subjets with {shares} of its pT" if jet.subjets else ""
    words = f"{jet.role}: pT {jet.pt:.0f} GeV, soft-drop mass {mass}; {inside}{subjets}."
    return frame.draw(parts, f"Inside of {words}"), words


def _lund(jet: DisplayJet, radius: float) -> tuple[Markup, str]:
    """The primary declusterings of a jet."""
    frame = _lund_frame()
    inside = [
        (number, point)
        for number, point in enumerate(jet.lund, 1)
        if all(lo < v < hi for v, (lo, hi) in zip(point, (frame.x, frame.y), strict=True))
    ]
    places = [frame.place(*point) for _, point in inside]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""
    parts = [f'<path class="chain" d="{path}"/>'] if path else []
    for number, (a, b) in inside:
        text = f"splitting {number}: Δ {significant(radius * math.exp(-a), 2)}, kT {significant(math.exp(b), 2)} GeV"
        parts.append(_circle(frame, a, b, 4.0, f"split {jet.role}", text))
    hardest = max((b for _, b in jet.lund), default=0.0)
    words = f"{jet.role}: primary Lund plane, {len(jet.lund)} splittings, the hardest of kT {math.exp(hardest):.0f} GeV."
    return frame.draw(parts, words), words


def _wrapped(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi
