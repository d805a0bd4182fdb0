"""Every error of the program names who is to blame and what to do; the page of errors lists them all."""

import re

from tests.error_list import Site, words

# What a message may tell its reader to do, at the beginning of a clause: "…; run it again".
VERBS = [
    "add",
    "allow",
    "ask",
    "begin",
    "bring",
    "build",
    "change",
    "check",
    "choose",
    "clear",
    "close",
    "convert",
    "copy",
    "correct",
    "count",
    "cut",
    "decrease",
    "define",
    "delete",
    "download",
    "drop",
    "enlarge",
    "export",
    "extend",
    "fill",
    "find",
    "fit",
    "free",
    "get",
    "give",
    "histogram",
    "import",
    "include",
    "increase",
    "inject",
    "install",
    "keep",
    "label",
    "leave",
    "let",
    "list",
    "load",
    "look",
    "loosen",
    "lower",
    "make",
    "mark",
    "merge",
    "mount",
    "move",
    "name",
    "omit",
    "open",
    "pass",
    "pick",
    "place",
    "point",
    "put",
    "read",
    "rebin",
    "remake",
    "remove",
    "rename",
    "repair",
    "repeat",
    "replace",
    "report",
    "restore",
    "restrict",
    "run",
    "save",
    "scale",
    "see",
    "send",
    "set",
    "shift",
    "shorten",
    "skim",
    "sort",
    "split",
    "start",
    "stop",
    "submit",
    "swap",
    "take",
    "tell",
    "test",
    "train",
    "try",
    "turn",
    "upgrade",
    "update",
    "use",
    "vary",
    "wait",
    "weight",
    "widen",
    "write",
    "fetch",
    "raise",
]
REMEDY = re.compile(
    r"(?:^|[;:,.(\n]\s*|\b(?:or|and|then|so|first|again)\s+)"
    r"(?:first\s+|do\s+not\s+|only\s+|either\s+)?"
    rf"(?:{'|'.join(VERBS)})\b",
    re.IGNORECASE,
)
# Where a message says what is demanded, that is what to do: "must be 'kt' or 'cambridge'".
DEMAND = re.compile(
    r"\bmust\b|\bexpected\b|\bdid you mean\b|\b(?:at least|at most|needs?|lies?|between)\b.*\bfound\b"
    r"|\b(?:known|available|it has|configuration has|signals have|columns here|ready recipes|at one mass|there (?:is|are)"
    r"|(?:selections|folds|methods|keys) are)(?: \w+)?:? '?(?:\{|none)"
    r"|\{\w*(?:remedy|hint)\}|pip install"
)
NAMED = re.compile(r"'[^']+'|`[^`]+`|\b\w+\.\w+|\b\w+_\w+|--\w")
"""A thing called by its name: in quotes, a key of a configuration, an option of the command line."""

# Reasons that become part of a message: who finishes it, told by a part of its text.
COMPLETED = {
    ("models/", "ValueError"): "{source}: {error}; the bundle is damaged: train the method again",
    ("data/", "RemoteError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("processors/", "RemoteError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "NoFileError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "ExistsError"): "cannot be had: {reasons}; see that its server works, or add a replica",
    ("data/", "SilentError"): "cannot be had: {reasons}; see that its server works, or add a replica",
}
# About the command or the machine as a whole: there is nobody to name.
ABOUT_ALL: dict[str, str] = {}


def completed(site: Site) -> bool:
    """Whether another place adds file and remedy to the message before anybody reads it."""
    return any(site.file.startswith(where) and site.error == error for where, error in COMPLETED) and (
        not site.checks_section
    )


def lacks(site: Site) -> dict[str, str]:
    """What the messages of a place lack: 'culprit', 'remedy', with the first template that lacks it."""
    if site.passed_on or completed(site):
        return {}
    found = {}
    for template in filter(words, site.templates):
        named = {word for word in re.findall(r"\w+", template) if word in site.known}
        if "{" not in template and not NAMED.search(template) and not named:
            found.setdefault("culprit", template)
        if not (site.passes_ours or REMEDY.search(template) or DEMAND.search(template)):
            found.setdefault("remedy", template)
    return found
