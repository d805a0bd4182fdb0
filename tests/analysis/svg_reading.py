"""What the charts of a page draw and tell, read from their SVG as a browser and the page's script read it."""

import html
import re


def lines_of(path):
    """Places of each line of a path, absolute: of M, L, H, V, l, h, v and z."""
    found, here = [], (0.0, 0.0)
    for letter, numbers in re.findall(r"([MLHVlhvz])([^A-Za-z]*)", path):
        values = [float(one) for one in re.findall(r"-?\d*\.?\d+", numbers)]
        if letter == "z":
            continue
        step = 1 if letter in "HVhv" else 2
        for k in range(0, len(values), step):
            x, y = {
                "H": lambda v, at: (v[0], at[1]),
                "V": lambda v, at: (at[0], v[0]),
                "h": lambda v, at: (at[0] + v[0], at[1]),
                "v": lambda v, at: (at[0], at[1] + v[0]),
                "l": lambda v, at: (at[0] + v[0], at[1] + v[1]),
            }.get(letter, lambda v, _: (v[0], v[1]))(values[k : k + step], here)
            if letter == "M":
                found.append([])
            here = (x, y)
            found[-1].append(here)
    return found


def tips_of(text):
    """What the bins of all charts in a text tell: (left, right, words) of each."""
    found = []
    for patterns, lines in re.findall(r'data-patterns="([^"]*)" data-tips="([^"]*)"', text):
        known = html.unescape(patterns).split("\t")
        for line in html.unescape(lines).split("\n"):
            number, left, right, *own = line.split(" ")
            words = iter(own)
            told = re.sub("#", lambda _, words=words: next(words), known[int(number)])
            assert next(words, None) is None
            found.append((int(left), int(right), told))
    return found
