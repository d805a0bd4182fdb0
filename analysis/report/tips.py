"""What a reader is told who points at a chart, as attributes of it: words once, then the numbers of each bin.

A page can have some ten thousand bins. An element for each, with all words in it, would be most of the page; the page's
script makes elements of the chart that is pointed at.
"""

import re
from collections.abc import Sequence

from markupsafe import escape

_GAP = "#"
"""Stands in a pattern for a word of the bin's own."""
_OWN = re.compile(rf"[\d{_GAP}]")


def tip_attributes(tips: Sequence[tuple[int, int, str]]) -> str:
    """Attributes ``data-patterns`` and ``data-tips`` of a chart.

    Parameters
    ----------
    tips
        Left and right end of each bin in the chart's box, and what is told there; lines end in a line break.

    Returns
    -------
    str
        `` data-patterns="…" data-tips="…"``, or nothing without tips. Patterns are separated by tabs and hold ``#`` for
        each word with a digit; a line of tips is the number of its pattern, the two ends and those words, with spaces
        between.
    """
    if not tips:
        return ""
    patterns: dict[str, int] = {}
    lines = []
    for left, right, text in tips:
        # A tab is what separates the patterns.
        words = re.split(r"([ \n])", text.replace("\t", " "))
        own = [word for word in words if _OWN.search(word)]
        pattern = "".join(_GAP if _OWN.search(word) else word for word in words)
        number = patterns.setdefault(pattern, len(patterns))
        lines.append(" ".join([str(number), str(left), str(right), *own]))
    return f' data-patterns="{escape(chr(9).join(patterns))}" data-tips="{escape(chr(10).join(lines))}"'
