"""Charts of the page: panels over one axis as inline SVG, which takes the page's colours and needs no script.

A chart is drawn in a box 480 wide, so that its letters can be read where it is as narrow as a telephone. What a reader
is told of a bin stands among the chart's attributes (`analysis.report.tips`), from where the page's script shows it.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from analysis.report.marks import Band, Chart, Mark, Panel, Points, Steps
from analysis.report.ticks import linear_ticks, log_ticks
from analysis.report.tips import tip_attributes
from data.types import FloatArray

Place = tuple[float, float]
"""Where a point stands in the box, from the left and from the top."""
WIDTH = 480.0
LEFT, RIGHT, TOP, BOTTOM, GAP = 60.0, 12.0, 22.0, 40.0, 12.0
RIGHT_OF_WORDS = 34.0
"""Room at the right where horizontal lines have words there."""
_APART = 14.0
"""Least distance of the words beside horizontal lines."""
_LETTER = 8.6
"""Width of a digit at most, that is on a telephone."""


@dataclass(frozen=True)
class Axis:
    """From values to places in the box; values beyond the range stand at its end.

    Attributes
    ----------
    low, high
        Range of the values.
    start, stop
        Their places in the box.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, high, here = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, here = math.log(low), math.log(high), math.log(here)
        return self.start + (self.stop - self.start) * (here - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Marks and their words.

        Parameters
        ----------
        most
            Marks at most.

        Returns
        -------
        list of (float, str)
            Values and words.
        """
        return (log_ticks if self.log else linear_ticks)(self.low, self.high, most)


def reach(values: Iterable[FloatArray], *, log: bool, head: float = 0.12) -> tuple[float, float]:
    """A range that holds all finite values (of a logarithmic axis those above 0), with room above.

    Parameters
    ----------
    values
        Arrays of any shape.
    log
        Whether the axis is logarithmic.
    head
        Share of the axis that is left free at the top.

    Returns
    -------
    low, high
        0 and more on a linear axis without negative values; (0, 1) or (0.1, 1) where there is nothing to show.
    """
    joined = np.concatenate([np.ravel(value) for value in values] or [np.zeros(0)]).astype(np.float64)
    shown = joined[np.isfinite(joined) & (joined > 0 if log else True)]
    if not shown.size or (not log and not shown.any()):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(shown.min()), float(shown.max())
    if log:
        low, high = low / 1.5, max(high, low * 3)
        return low, high * (high / low) ** (head / (1 - head))
    low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * head / (1 - head)
    return low - (room if low < 0 else 0.0), high + room


def draw_chart(chart: Chart, alt: str) -> Markup:
    """A chart as inline SVG below its legend.

    Parameters
    ----------
    chart
        What is drawn.
    alt
        What a reader is told who cannot see it.

    Returns
    -------
    Markup
        HTML.
    """
    height = TOP + sum(panel.height for panel in chart.panels) + GAP * (len(chart.panels) - 1) + BOTTOM
    x = Axis(*chart.range, _left_of(chart), WIDTH - _right_of(chart), chart.log)
    parts, top = [], TOP
    for number, panel in enumerate(chart.panels):
        y = Axis(*panel.range, top + panel.height, top, panel.log)
        parts.append(_panel(chart, panel, x, y, last=number == len(chart.panels) - 1))
        if number == 0:
            parts += [_word((x(low) + x(high)) / 2, top - 7, word) for low, high, word in chart.spans]
        top += panel.height + GAP
    parts.append(_word((x.start + x.stop) / 2, height - 6, chart.title, "title"))
    told = tip_attributes([(round(x(low)), round(x(high)), text) for low, high, text in chart.tips])
    svg = (
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {height:g}" role="img" tabindex="0" '
        f'aria-label="{escape(alt)}"{told}>{"".join(parts)}</svg>'
    )
    return Markup(_legend(chart) + svg)  # noqa: S704 - every word in it is escaped


def _left_of(chart: Chart) -> float:
    """Room for the longest number beside a vertical axis, and for the axis' title."""
    words = [
        word
        for panel in chart.panels
        for _, word in _ticks_of(panel, Axis(*panel.range, 1.0, 0.0, panel.log))
    ]
    return max(LEFT, 26.0 + _LETTER * max(map(len, words), default=0))


def _right_of(chart: Chart) -> float:
    """Room for the words of horizontal lines, where there are some."""
    return RIGHT if all(not word for panel in chart.panels for _, word in panel.levels) else RIGHT_OF_WORDS


def _ticks_of(panel: Panel, y: Axis) -> list[tuple[float, str]]:
    return y.ticks(6 if panel.height > 120 else 4)


def _panel(chart: Chart, panel: Panel, x: Axis, y: Axis, *, last: bool) -> str:
    parts = []
    for number, (low, high, _) in enumerate(chart.spans):
        if number % 2 == 0:
            parts.append(_box("span", x(low), y.stop, x(high) - x(low), y.start - y.stop))
    lines, marks = "", ""
    for value, word in _ticks_of(panel, y):
        lines += f"M{x.start:g} {y(value):.1f}H{x.stop:g}"
        parts.append(_word(x.start - 6, y(value) + 4, word, "end"))
    for value, word in x.ticks(7):
        marks += f"M{x(value):.1f} {y.start:g}v-5"
        if last:
            parts.append(_word(x(value), y.start + 16, word))
    parts.append(f'<path class="grid" d="{lines}"/><path class="tick" d="{marks}"/>')
    levels = [(y(value), word) for value, word in panel.levels if panel.range[0] < value < panel.range[1]]
    parts += [f'<path class="level" d="M{x.start:g} {place:.1f}H{x.stop:g}"/>' for place, _ in levels]
    parts += [_mark(mark, x, y) for mark in panel.marks]
    parts += _level_words(levels, x.stop)
    parts.append(_box("frame", x.start, y.stop, x.stop - x.start, y.start - y.stop))
    middle = (y.start + y.stop) / 2
    parts.append(
        f'<text class="title" transform="translate(13 {middle:.1f}) rotate(-90)">{escape(panel.title)}</text>'
    )
    return "".join(parts)


def _level_words(levels: Sequence[tuple[float, str]], stop: float) -> list[str]:
    """Words of horizontal lines at their right end, those that are given first where two would touch."""
    placed: list[float] = []
    words = []
    for place, word in levels:
        if word and all(abs(place - other) >= _APART for other in placed):
            placed.append(place)
            words.append(_word(stop + 5, place + 4, word, "level-word"))
    return words


def _mark(mark: Mark, x: Axis, y: Axis) -> str:
    if isinstance(mark, Steps):
        return _steps(mark, x, y)
    if isinstance(mark, Points):
        return _points(mark, x, y)
    if isinstance(mark, Band):
        below, above = (_stretches(_places(mark.x, side, x, y)) for side in (mark.low, mark.high))
        path = "".join(f"{_drawn([*a, *b[::-1]])}z" for a, b in zip(below, above, strict=True))
        return f'<path class="area {mark.colour}" d="{path}"/>' if path else ""
    places = _places(mark.x, mark.y, x, y)
    dash = " dashed" if mark.dashed else ""
    path = "".join(_drawn(stretch) for stretch in _stretches(places) if len(stretch) > 1)
    dots = _dots(places) if mark.marked or not path else _dots(_alone(places))
    line = f'<path class="line {mark.colour}{dash}" d="{path}"/>' if path else ""
    return line + (f'<path class="dots {mark.colour}" d="{dots}"/>' if dots else "")


def _steps(mark: Steps, x: Axis, y: Axis) -> str:
    edges = [round(x(float(edge))) for edge in mark.edges]
    dash = " dashed" if mark.dashed else ""
    found = ""
    filled = [slice(first, last) for first, last in _runs(mark.values)]
    if mark.low is not None and mark.high is not None:
        area = ""
        ends_known = np.where(np.isnan(mark.low) | np.isnan(mark.high), np.nan, mark.values)
        for part in (slice(first, last) for first, last in _runs(ends_known)):
            ends = edges[part.start : part.stop + 1]
            back = _outline(ends[::-1], mark.low[part][::-1], y)
            area += f"M{_outline(ends, mark.high[part], y)}L{back}z"
        found += f'<path class="area {mark.colour}" d="{area}"/>' if area else ""
    line = "".join(f"M{_outline(edges[part.start : part.stop + 1], mark.values[part], y)}" for part in filled)
    return found + f'<path class="line {mark.colour}{dash}" d="{line}"/>'


def _runs(values: FloatArray) -> list[tuple[int, int]]:
    """First bin, and that after the last, of each stretch of bins that hold a number."""
    there = np.concatenate([[False], ~np.isnan(values), [False]])
    turns = np.flatnonzero(there[1:] != there[:-1]).tolist()
    return list(zip(turns[::2], turns[1::2], strict=True))


def _outline(edges: Sequence[int], values: FloatArray, y: Axis) -> str:
    """Steps along edges, in the order given: a place, then how far across and up or down."""
    heights = [round(y(float(value))) for value in values]
    path, last, here = f"{edges[0]} {heights[0]}", len(heights) - 1, edges[0]
    for place, (height, edge) in enumerate(zip(heights, edges[1:], strict=True)):
        if place and height != heights[place - 1]:
            path += f"v{height - heights[place - 1]}"
        if place == last or height != heights[place + 1]:
            path += f"h{edge - here}"
            here = edge
    return path


def _points(mark: Points, x: Axis, y: Axis) -> str:
    inside = (np.asarray(mark.y) >= y.low) & (np.asarray(mark.y) <= y.high)
    places = _places(mark.x, np.where(inside, mark.y, np.nan), x, y, digits=0)
    arrows = _arrows(mark, x, y)
    bars = ""
    if mark.low is not None and mark.high is not None:
        bars = "".join(
            f"M{round(x(float(place)))} {round(y(float(low)))}v{round(y(float(high))) - round(y(float(low)))}"
            for place, value, low, high in zip(mark.x, mark.y, mark.low, mark.high, strict=True)
            if np.isfinite(value) and (value > 0 or not y.log) and high >= y.low and low <= y.high
        )
        bars = f'<path class="line {mark.colour}" d="{bars}"/>' if bars else ""
    dots = _dots(places)
    if not dots:
        return bars + arrows
    holes = f'<path class="holes" d="{dots}"/>' if mark.hollow else ""
    return f'{bars}{arrows}<path class="dots {mark.colour}" d="{dots}"/>{holes}'


def _arrows(mark: Points, x: Axis, y: Axis) -> str:
    """Heads of arrows at the end of the axis for the points that lie beyond it."""
    path = ""
    for place, value in zip(mark.x.tolist(), mark.y.tolist(), strict=True):
        if value > y.high:
            path += f"M{x(place) - 4:.1f} {y.stop + 8:.1f}l4 -7l4 7z"
        elif value < y.low and not y.log:
            path += f"M{x(place) - 4:.1f} {y.start - 8:.1f}l4 7l4 -7z"
    return f'<path class="arrow {mark.colour}" d="{path}"/>' if path else ""


def _places(xs: FloatArray, ys: FloatArray, x: Axis, y: Axis, digits: int = 1) -> list[Place | None]:
    """Places of points; None where there is none to show."""
    return [
        (round(x(float(a)), digits), round(y(float(b)), digits))
        if np.isfinite(b) and (b > 0 or not y.log)
        else None
        for a, b in zip(xs, ys, strict=True)
    ]


def _drawn(places: Sequence[Place]) -> str:
    """A line through places: the first one, then how far it is to each next one."""
    (x, y), *_ = places
    steps = [
        _short(to - start)
        for one, other in itertools.pairwise(places)
        for start, to in zip(one, other, strict=True)
    ]
    path = f"M{_short(x)} {_short(y)}"
    return f"{path}l{' '.join(steps)}".replace(" -", "-") if steps else path


def _short(size: float) -> str:
    """A length with one decimal at most."""
    text = f"{size:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _stretches(places: Sequence[Place | None]) -> list[list[Place]]:
    """Points between gaps."""
    found: list[list[Place]] = [[]]
    for place in places:
        if place is None:
            found.append([])
        else:
            found[-1].append(place)
    return [stretch for stretch in found if stretch]


def _alone(places: Sequence[Place | None]) -> list[Place | None]:
    """Points without a neighbour, which no line shows."""
    return [stretch[0] for stretch in _stretches(places) if len(stretch) == 1]


def _dots(places: Iterable[Place | None]) -> str:
    """Lines of no length: with round ends they are dots."""
    return "".join(f"M{_short(place[0])} {_short(place[1])}h0" for place in places if place is not None)


def _box(name: str, left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="{name}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _word(x: float, y: float, text: str, name: str = "") -> str:
    own = f'class="{name}" ' if name else ""
    return f'<text {own}x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>' if text else ""


def _legend(chart: Chart) -> str:
    """The labels of all marks, each once, with a key in their colour."""
    marks = {mark.label: mark for panel in chart.panels for mark in panel.marks if mark.label}
    keys = []
    for label, mark in marks.items():
        kind = {Points: "dot", Band: "area"}.get(type(mark), "line")
        if isinstance(mark, Steps) and mark.low is not None:
            kind = "area"
        kind += " hollow" if getattr(mark, "hollow", False) else ""
        dash = " dashed" if getattr(mark, "dashed", False) else ""
        keys.append(f'<li><i class="key {kind} {mark.colour}{dash}"></i>{escape(label)}</li>')
    return f'<ul class="legend">{"".join(keys)}</ul>' if keys else ""
