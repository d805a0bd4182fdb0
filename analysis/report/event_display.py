"""The event display: jets, subjets and particles in η and φ, Lund planes, and what moved the scores of an event."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from analysis.report.numbers import MISSING, count, fixed, percent, significant
from analysis.report.record import fit_label, readable
from analysis.report.study_charts import feature_title
from analysis.report.tables import Table
from analysis.report.ticks import linear_ticks
from analysis.study_record import (
    Anomalous,
    DisplayEvent,
    DisplayJet,
    EventRecord,
    StudyRecord,
    names_of_events,
)
from processors.lund import LN_KT_RANGE, LN_R0_DELTA_RANGE

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 320.0, 40.0, 10.0, 10.0, 38.0
_KINDS = {211: "hadron", 130: "neutral", 22: "photon", 11: "lepton", 13: "lepton"}
_WORDS = {
    "neutral": "neutral hadrons",
    "hadron": "charged hadrons",
    "photon": "photons",
    "lepton": "electrons, muons",
}
_PARTS = {"j1": "jet j1", "j2": "jet j2", "event": "what is not of one jet"}
_TOLD = 3.0  # GeV; particles below are dots of one size
_LEAST = 0.005  # of rarity; features that add less stand together
_ETA = 2.5


@dataclass(frozen=True)
class Found:
    """A selection that has an event among its most anomalous: where, at which place, and what moved the score."""

    selection: str
    place: int
    event: Anomalous


@dataclass(frozen=True)
class ShownEvent:
    """An event as the page shows it.

    Attributes
    ----------
    anchor, name
        Where links to it lead, and its id.
    words
        Its masses, in one line.
    source
        File and entry.
    found
        The selections that have it, in words.
    pictures
        HTML of each picture with its caption.
    tables
        What moved the score of each selection.
    """

    anchor: str
    name: str
    words: str
    source: str
    found: str
    pictures: tuple[tuple[Markup, str], ...]
    tables: tuple[Table, ...]


def anchor_of(event: Anomalous) -> str:
    """The page's own address of an event."""
    return f"event-{event.name.replace(':', '-')}"


def shown_events(studies: StudyRecord, events: EventRecord) -> list[ShownEvent]:
    """Every displayed event, each once, in the order of windows and methods."""
    found: dict[str, list[Found]] = {}
    for window, study in studies.windows.items():
        for method, one in study.methods.items():
            for place, event in enumerate(one.anomalous, 1):
                label = readable(fit_label(method, window))
                found.setdefault(event.name, []).append(Found(label, place, event))
    return [
        _shown(event, events.events[name], found[name]) for name, event in names_of_events(studies).items()
    ]


def _shown(event: Anomalous, display: DisplayEvent, found: Sequence[Found]) -> ShownEvent:
    pictures = [_overview(display)]
    for role in ("j1", "j2"):
        jet = next(jet for jet in display.jets if jet.role == role)
        pictures.append(_zoom(jet, display))
        if jet.lund:
            pictures.append(_lund(jet, display.radius))
    places = "; ".join(
        f"{one.selection}: place {one.place}, score {significant(one.event.score, 5)}" for one in found
    )
    return ShownEvent(
        anchor=anchor_of(event),
        name=event.name,
        words=f"mjj = {event.mjj:.0f} GeV, soft-drop masses {event.masses[0]:.0f} and {event.masses[1]:.0f} GeV",
        source=f"{display.file}, entry {display.entry}",
        found=places,
        pictures=tuple(pictures),
        tables=tuple(explanation(one) for one in found),
    )


def anomalous_table(label: str, events: Sequence[Anomalous]) -> Table | None:
    """The most anomalous events of a selection, with links to their display; None without any.

    Parameters
    ----------
    label
        Of the selection.
    events
        The most anomalous first.

    Returns
    -------
    Table or None
        One row an event.
    """
    rows = tuple(
        (
            str(place),
            Markup('<a href="#{}">{}</a>').format(anchor_of(event), event.name),
            f"{event.mjj:.0f}",
            f"{event.masses[0]:.0f}",
            f"{event.masses[1]:.0f}",
            significant(event.score, 5),
            fixed(event.rarity),
            _moved_by(event),
        )
        for place, event in enumerate(events, 1)
    )
    head = ("Place", "Event", "mjj [GeV]", "m(j1) [GeV]", "m(j2) [GeV]", "Score", "Rarity", "Moved most by")
    caption = (
        f"{readable(label)}: most anomalous selected events of the signal region. Rarity is −log₁₀(1 − score): 3 is one event "
        "in a thousand of the window."
    )
    return Table(caption, head, rows, text_columns=0, words=(7,)) if rows else None


def _moved_by(event: Anomalous) -> str:
    if event.message is not None:
        return event.message
    leading = [one for one in event.contributions if one.rarity > 0][:3]
    return ", ".join(f"{_short(one.feature)} {_signed(one.rarity)}" for one in leading) or MISSING


def explanation(found: Found) -> Table:
    """What each feature adds to the rarity of an event.

    Parameters
    ----------
    found
        An event and where it is displayed.

    Returns
    -------
    Table
        One row a feature, the largest share first.
    """
    event = found.event
    if event.message is not None:
        return Table(f"{found.selection}: {event.message}.", (), (), text_columns=0)
    largest = max((abs(one.rarity) for one in event.contributions), default=0.0) or 1.0
    rows = tuple(
        (
            _part(one.feature),
            _value(one.value),
            _value(one.median),
            _signed(one.rarity),
            _bar(one.rarity / largest),
        )
        for one in event.contributions
        if abs(one.rarity) >= _LEAST
    )
    others = [one.rarity for one in event.contributions if abs(one.rarity) < _LEAST]
    if others:
        rows += ((f"{len(others)} others", MISSING, MISSING, _signed(sum(others)), Markup("")),)
    ends = f"from {fixed(event.typical)} to {fixed(event.rarity)}"
    if any(one.value is None for one in event.contributions):
        caption = f"{found.selection}: what each jet as a whole adds to the rarity, {ends}, against the mean of side-band events."
        return Table(caption, ("Part", "Adds", ""), tuple((row[0], *row[3:]) for row in rows))
    caption = f"{found.selection}: what each feature adds to the rarity, {ends}, against the medians of the side bands."
    return Table(caption, ("Feature", "Event", "Median", "Adds", ""), rows)


def _part(feature: str) -> str:
    """A feature, a jet or what is known beside the jets in words."""
    if feature in _PARTS:
        return _PARTS[feature]
    return feature_title(feature)


def _value(value: float | None) -> str:
    """A number of a feature; whole ones, such as numbers of particles, without decimals."""
    if value is not None and value.is_integer() and abs(value) < 1e6:
        return count(value).replace("-", "−")
    return significant(value)


def _bar(share: float) -> Markup:
    """A bar to the right of the middle for what makes an event rarer, to the left for the contrary."""
    side = "up" if share >= 0 else "down"
    return Markup('<span class="bar {}"><i style="width:{}%"></i></span>').format(
        side, round(50 * abs(share), 1)
    )


def _signed(value: float) -> str:
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if text in {"+0.00", "−0.00"} else text


def _short(feature: str) -> str:
    """A feature without its unit, the jet last."""
    if feature in _PARTS:
        return _PARTS[feature]
    jet, _, words = feature_title(feature).partition(": ")
    plain = (words or jet).partition(" [")[0]
    return f"{plain} ({jet})" if words else plain


@dataclass(frozen=True)
class _Frame:
    """A square picture with axes."""

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

    def draw(self, parts: Sequence[str], alt: str) -> Markup:
        """The picture as SVG."""
        low = self.height - _BOTTOM
        words = []
        for value, text in linear_ticks(*self.x, 5):
            words.append(f'<text x="{self.place(value, 0)[0]:.1f}" y="{low + 15:g}">{text}</text>')
        for value, text in linear_ticks(*self.y, 5):
            place = self.place(0, value)[1] + 4
            words.append(f'<text class="end" x="{_LEFT - 5:g}" y="{place:.1f}">{text}</text>')
        frame = f'<rect class="frame" x="{_LEFT:g}" y="{_TOP:g}" width="{_WIDTH - _RIGHT - _LEFT:g}" height="{low - _TOP:g}"/>'
        titles = (
            f'<text class="title" x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{self.height - 5:g}">{escape(self.titles[0])}</text>'
            f'<text class="title" transform="translate(11 {(low + _TOP) / 2:g}) rotate(-90)">{escape(self.titles[1])}</text>'
        )
        return Markup(  # noqa: S704 - numbers, and words that are escaped
            f'<svg class="chart event" viewBox="0 0 {_WIDTH:g} {self.height:g}" role="img" aria-label="{escape(alt)}">'
            f"{''.join(parts)}{frame}{''.join(words)}{titles}</svg>"
        )


def _circle(frame: _Frame, x: float, y: float, radius: float, name: str, text: str = "") -> str:
    place = frame.place(x, y)
    own = f'class="{name}" ' if name else ""
    box = f'{own}cx="{place[0]:.0f}" cy="{place[1]:.0f}" r="{radius:.1f}"'
    return f"<circle {box}><title>{escape(text)}</title></circle>" if text else f"<circle {box}/>"


def _overview(display: DisplayEvent) -> tuple[Markup, str]:
    """All jets of an event in η and φ."""
    frame = _Frame((-_ETA - 0.5, _ETA + 0.5), (-math.pi, math.pi), ("η", "φ [rad]"))
    parts = []
    for jet in sorted(display.jets, key=lambda jet: jet.role is not None):
        if abs(jet.eta) > _ETA + 0.5:
            continue
        words = f"{jet.role or 'jet'}: pT {jet.pt:.0f} GeV, η {jet.eta:.2f}, φ {jet.phi:.2f}"
        parts.append(
            _circle(
                frame, jet.eta, jet.phi, frame.length(display.radius), f"jet {jet.role or 'other'}", words
            )
        )
        if jet.role:
            x, y = frame.place(jet.eta, jet.phi)
            parts.append(f'<text class="name" x="{x:.1f}" y="{y + 5:.1f}">{jet.role}</text>')
    told = "; ".join(f"{jet.role}: pT {jet.pt:.0f} GeV" for jet in display.jets if jet.role)
    others = sum(jet.role is None for jet in display.jets)
    return (
        frame.draw(parts, f"Jets of the event in η and φ; {told}; {others} others."),
        f"Jets ({told}; {others} others).",
    )


def _zoom(jet: DisplayJet, display: DisplayEvent) -> tuple[Markup, str]:
    """The particles and subjets of a jet about its axis."""
    size = 1.25 * display.radius
    frame = _Frame((-size, size), (-size, size), ("Δη", "Δφ [rad]"))
    parts = [_circle(frame, 0.0, 0.0, frame.length(display.radius), f"jet {jet.role}")]
    hard: dict[str, list[str]] = {}
    soft: dict[str, str] = {}
    for pt, eta, phi, code in jet.particles:
        x, y = eta - jet.eta, _wrapped(phi - jet.phi)
        if max(abs(x), abs(y)) > size:
            continue
        kind = _KINDS.get(abs(code), "neutral")
        if pt > _TOLD:
            hard.setdefault(kind, []).append(
                _circle(frame, x, y, 1.1 * math.sqrt(pt), "", f"pT {pt:.1f} GeV")
            )
        else:
            place = frame.place(x, y)
            soft[kind] = soft.get(kind, "") + f"M{place[0]:.0f} {place[1]:.0f}h0"
    present = hard.keys() | soft.keys()
    parts += [f'<g class="{kind}">{"".join(hard[kind])}</g>' for kind in _WORDS if kind in hard]
    parts += [f'<path class="soft {kind}" d="{soft[kind]}"/>' for kind in _WORDS if kind in soft]
    for pt, eta, phi in jet.subjets:
        x, y = frame.place(eta - jet.eta, _wrapped(phi - jet.phi))
        cross = f"M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14"
        parts.append(f'<path class="subjet" d="{cross}"><title>subjet, pT {pt:.0f} GeV</title></path>')
    mass = MISSING if jet.mass is None else f"{jet.mass:.0f} GeV"
    shares = ", ".join(percent(pt / max(jet.pt, 1e-9), 2) for pt, _, _ in jet.subjets)
    inside = (
        f"{len(jet.particles)} particles, area ∝ pT ({', '.join(_WORDS[kind] for kind in _WORDS if kind in present)})"
        if display.has_particles
        else "the file has no particles"
    )
    subjets = f"; crosses: subjets with {shares} of its pT" if jet.subjets else ""
    words = f"{jet.role}: pT {jet.pt:.0f} GeV, soft-drop mass {mass}; {inside}{subjets}."
    return frame.draw(parts, f"Inside of {words}"), words


def _lund(jet: DisplayJet, radius: float) -> tuple[Markup, str]:
    """The primary declusterings of a jet."""
    frame = _Frame((-0.5, LN_R0_DELTA_RANGE[1] - 1), LN_KT_RANGE, ("ln(R/Δ)", "ln(kT / GeV)"))
    inside = [
        point
        for point in jet.lund
        if all(lo < v < hi for v, (lo, hi) in zip(point, (frame.x, frame.y), strict=True))
    ]
    places = [frame.place(*point) for point in inside]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""
    parts = [f'<path class="chain" d="{path}"/>'] if path else []
    for (a, b), number in zip(inside, range(1, len(inside) + 1), strict=True):
        text = f"splitting {number}: Δ {significant(radius * math.exp(-a), 2)}, kT {significant(math.exp(b), 2)} GeV"
        parts.append(_circle(frame, a, b, 4.0, f"split {jet.role}", text))
    hardest = max((b for _, b in jet.lund), default=0.0)
    words = f"{jet.role}: primary Lund plane, {len(jet.lund)} splittings, the hardest of kT {math.exp(hardest):.0f} GeV."
    return frame.draw(parts, words), words


def _wrapped(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi
