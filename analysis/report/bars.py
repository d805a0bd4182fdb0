"""Bars of what moves a number up and down, the largest first, as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from analysis.report.charts import WIDTH, Axis
from analysis.report.ticks import linear_ticks

_LEFT, _RIGHT, _TOP, _BOTTOM, _ROW, _BAR = 170.0, 14.0, 8.0, 40.0, 30.0, 10.0
_LEAST = 1.0


@dataclass(frozen=True)
class Bar:
    """What moves a number: its changes at +1 and −1 standard deviation, in the axis' unit; ``total``: of all together.

    Attributes
    ----------
    up, down
        Changes, in the axis' unit.
    """

    name: str
    up: float
    down: float
    total: bool = False


@dataclass(frozen=True)
class Bars:
    """Bars from top to bottom, and the title of their axis."""

    bars: tuple[Bar, ...]
    title: str


def draw_bars(found: Bars, alt: str) -> Markup:
    """Bars as inline SVG below their legend.

    Parameters
    ----------
    found
        What is drawn, at least one bar.
    alt
        What a reader is told who cannot see it.

    Returns
    -------
    Markup
        HTML.
    """
    largest = max(_LEAST, *(abs(size) for bar in found.bars for size in (bar.up, bar.down))) * 1.1
    axis = Axis(-largest, largest, _LEFT, WIDTH - _RIGHT)
    bottom = _TOP + _ROW * len(found.bars)
    parts = [
        f'<path class="grid" d="M{axis(value):.1f} {_TOP:g}V{bottom:g}"/>'
        f'<text x="{axis(value):.1f}" y="{bottom + 16:g}">{word}</text>'
        for value, word in linear_ticks(-largest, largest, 5)
    ]
    parts += [_row(bar, axis, _TOP + _ROW * place) for place, bar in enumerate(found.bars)]
    parts.append(f'<path class="tick" d="M{axis(0.0):.1f} {_TOP:g}V{bottom:g}"/>')
    parts.append(
        f'<rect class="frame" x="{_LEFT:g}" y="{_TOP:g}" width="{WIDTH - _LEFT - _RIGHT:g}" height="{bottom - _TOP:g}"/>'
    )
    parts.append(
        f'<text class="title" x="{(_LEFT + WIDTH - _RIGHT) / 2:g}" y="{bottom + 34:g}">{escape(found.title)}</text>'
    )
    legend = "".join(
        f'<li><i class="key area {colour}"></i>{word}</li>'
        for colour, word in (("blue", "+1σ"), ("orange", "−1σ"), ("grey", "total"))
    )
    return Markup(  # noqa: S704 - numbers, and words that are escaped
        f'<ul class="legend">{legend}</ul><svg class="chart" viewBox="0 0 {WIDTH:g} {bottom + _BOTTOM:g}" role="img" '
        f'tabindex="0" aria-label="{escape(alt)}">{"".join(parts)}</svg>'
    )


def _row(bar: Bar, axis: Axis, top: float) -> str:
    middle = top + _ROW / 2
    name = f'<text class="end" x="{_LEFT - 8:g}" y="{middle + 4:g}">{escape(bar.name)}</text>'
    sides: Sequence[tuple[float, str, float, float]] = (
        (bar.up, "blue", middle - _BAR, _BAR),
        (bar.down, "orange", middle, _BAR),
    )
    if bar.total:
        sides = tuple((size, "grey", middle - _BAR, 2 * _BAR) for size in (bar.up, bar.down))
    shapes = "".join(
        f'<rect class="bar-of {colour}" x="{min(axis(0.0), axis(size)):.1f}" y="{y:g}" '
        f'width="{abs(axis(size) - axis(0.0)):.1f}" height="{height:g}"/>'
        for size, colour, y, height in sides
    )
    told = f"{bar.name}: {bar.up:+.2f} / {bar.down:+.2f} %".replace("-", "−")
    box = f'<path d="M0 {top:g}h{WIDTH:g}v{_ROW:g}h{-WIDTH:g}z"><title>{escape(told)}</title></path>'
    hit = f'<g class="hits">{box}</g>'
    return name + shapes + hit
