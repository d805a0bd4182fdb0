"""The event display: the most anomalous events with their pictures, and what moved the scores of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from analysis.report.event_pictures import draw_event
from analysis.report.labels import fit_label, readable
from analysis.report.numbers import MISSING, change, count, counted, fixed, significant
from analysis.report.study_charts import feature_title
from analysis.report.tables import Table
from analysis.study_record import (
    Anomalous,
    DisplayEvent,
    EventRecord,
    StudyRecord,
    names_of_events,
)

_PARTS = {"j1": "jet j1", "j2": "jet j2", "event": "what is not of one jet"}
_RANKED = {"window": "window", "background": "simulated background in the signal region"}
_LEAST = 0.005  # of rarity; features that add less stand together


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
    places = "; ".join(
        f"{one.selection}: place {one.place}, score {significant(one.event.score, 5)}" for one in found
    )
    return ShownEvent(
        anchor=anchor_of(event),
        name=event.name,
        words=f"mjj = {event.mjj:.0f} GeV, soft-drop masses {event.masses[0]:.0f} and {event.masses[1]:.0f} GeV",
        source=f"{display.file}, entry {display.entry}",
        found=places,
        pictures=draw_event(display),
        tables=tuple(explanation(one) for one in found),
    )


def anomalous_table(
    label: str, events: Sequence[Anomalous], ranked_in: Literal["window", "background"]
) -> Table | None:
    """The most anomalous events of a selection, with links to their display; None without any.

    Parameters
    ----------
    label
        Of the selection.
    events
        The most anomalous first.
    ranked_in
        The events among which scores are ranks.

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
        f"in a thousand of the {_RANKED[ranked_in]}."
    )
    return Table(caption, head, rows, text_columns=0, words=(7,)) if rows else None


def _moved_by(event: Anomalous) -> str:
    if event.message is not None:
        return event.message
    leading = [one for one in event.contributions if one.rarity > 0][:3]
    return ", ".join(f"{_short(one.feature)} {change(one.rarity)}" for one in leading) or MISSING


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
            change(one.rarity),
            _bar(one.rarity / largest),
        )
        for one in event.contributions
        if abs(one.rarity) >= _LEAST
    )
    others = [one.rarity for one in event.contributions if abs(one.rarity) < _LEAST]
    if others:
        rows += ((counted(len(others), "other"), MISSING, MISSING, change(sum(others)), Markup("")),)
    ends = f"from {fixed(event.typical)} to {fixed(event.rarity)}"
    if any(one.value is None for one in event.contributions):
        caption = f"{found.selection}: what each part of the event as a whole adds to the rarity, {ends}, against the mean of side-band events."
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


def _short(feature: str) -> str:
    """A feature without its unit, the jet last."""
    if feature in _PARTS:
        return _PARTS[feature]
    jet, _, words = feature_title(feature).partition(": ")
    plain = (words or jet).partition(" [")[0]
    return f"{plain} ({jet})" if words else plain
