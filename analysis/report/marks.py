"""What charts are made of: marks, panels over one axis, and their colours."""

from dataclasses import dataclass
from typing import Literal

from data.types import FloatArray

Colour = Literal[
    "ink", "blue", "red", "orange", "purple", "violet", "green", "teal", "brown", "grey", "inner", "outer"
]
CYCLE: tuple[Colour, ...] = ("blue", "red", "violet", "orange", "green", "brown", "teal", "purple", "grey")


@dataclass(frozen=True)
class Steps:
    """A histogram: one value a bin between ``edges``, with ``low`` to ``high`` about it where given; not-a-number is a gap.

    Attributes
    ----------
    edges
        Shape (n + 1,).
    values, low, high
        Shape (n,).
    """

    edges: FloatArray
    values: FloatArray
    label: str
    colour: Colour
    dashed: bool = False
    low: FloatArray | None = None
    high: FloatArray | None = None


@dataclass(frozen=True)
class Points:
    """Points with bars from ``low`` to ``high``; not-a-number leaves one out, one beyond the axis is an arrow at its end.

    Attributes
    ----------
    x, y, low, high
        Shape (n,).
    hollow
        Whether the points are rings.
    """

    x: FloatArray
    y: FloatArray
    label: str
    colour: Colour
    low: FloatArray | None = None
    high: FloatArray | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Line:
    """A line; not-a-number is a gap.

    Attributes
    ----------
    x, y
        Shape (n,).
    """

    x: FloatArray
    y: FloatArray
    label: str
    colour: Colour
    dashed: bool = False
    marked: bool = False


@dataclass(frozen=True)
class Band:
    """The area from ``low`` to ``high``; not-a-number is a gap.

    Attributes
    ----------
    x, low, high
        Shape (n,).
    """

    x: FloatArray
    low: FloatArray
    high: FloatArray
    label: str
    colour: Colour


Mark = Steps | Points | Line | Band


@dataclass(frozen=True)
class Panel:
    """One of the panels of a chart.

    Attributes
    ----------
    marks
        What is drawn, the last on top.
    title
        Title of the vertical axis.
    range
        Of the vertical axis.
    log
        Whether it is logarithmic.
    height
        In units of the box.
    levels
        Heights of horizontal lines, and what stands beside their right end; the first of two that would touch has its words.
    """

    marks: tuple[Mark, ...]
    title: str
    range: tuple[float, float]
    log: bool = False
    height: float = 210.0
    levels: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Chart:
    """Panels over one horizontal axis.

    Attributes
    ----------
    panels
        From top to bottom.
    title
        Title of the horizontal axis.
    range
        Of the horizontal axis.
    spans
        (low, high, word) of shaded stretches of it.
    tips
        (low, high, text): what a reader is told who points at a stretch; lines end in a line break.
    log
        Whether the horizontal axis is logarithmic.
    """

    panels: tuple[Panel, ...]
    title: str
    range: tuple[float, float]
    spans: tuple[tuple[float, float, str], ...] = ()
    tips: tuple[tuple[float, float, str], ...] = ()
    log: bool = False
