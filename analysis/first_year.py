"""Which year of data taking a file belongs to: told by its runs, by its dataset's name, or by its trigger menu."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from analysis.first_look import FileLook
from data.samples import years

RUNS: dict[str, tuple[int, int]] = {
    "2016BG": (272007, 280385),
    "2016H": (280919, 284044),
    "2017": (294927, 306462),
    "2018": (314472, 325175),
    "2022": (355794, 358999),
    "2022EE": (359000, 362760),
    "2023": (366442, 369802),
    "2023BPix": (369803, 370790),
    "2024": (378981, 386951),
}
"""First and last run of each year of data, as in the names of CMS's lists of certified sections and the bounds of its
eras."""
_DATASETS: tuple[tuple[str, str], ...] = (
    (r"Run2016[B-G]", "2016BG"),
    (r"Run2016H", "2016H"),
    (r"UL16|Summer16|Run2016", "2016"),
    (r"UL17|Fall17|Run2017", "2017"),
    (r"UL18|Autumn18|Run2018", "2018"),
    (r"Summer22EE|Run2022[EFG]", "2022EE"),
    (r"Summer22|Run2022[CD]", "2022"),
    (r"Summer23BPix|Run2023D", "2023BPix"),
    (r"Summer23|Run2023[BC]", "2023"),
    (r"Summer24|Run2024", "2024"),
)
"""What the names of CMS's datasets and campaigns hold, the longer words first."""
_MENUS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"^HLT_PFHT800$", ("2016", "2016BG")),
    (r"BTagCSV", ("2017",)),
    (r"BoostedDoubleB_np", ("2018",)),
    (r"PFAK8ParticleNet", ("2022", "2022EE")),
    (r"PNetBB0p06", ("2023", "2023BPix", "2024")),
)
"""Triggers that came and went with a menu."""


@dataclass(frozen=True)
class YearGuess:
    """A year, how it was told, and which others it might be as well."""

    year: str
    how: str
    others: tuple[str, ...] = ()


def year_of(looks: Sequence[FileLook]) -> YearGuess:
    """The year of files that belong together.

    Parameters
    ----------
    looks
        Files of one sample, at least one.
    """
    runs = sorted({run for look in looks for run in look.runs if not look.simulated})
    of_runs = {name for run in runs for name, (first, last) in RUNS.items() if first <= run <= last}
    if len(of_runs) == 1:
        return YearGuess(of_runs.pop(), f"by its runs, {_span(runs)}")
    named = {name for look in looks for name in [_of_dataset(look.path)] if name}
    if len(named) == 1:
        return YearGuess(named.pop(), "by the name of its dataset")
    branches = frozenset.intersection(*(look.branches for look in looks))
    best = _of_menu(branches)
    if len(best) == 1:
        return YearGuess(best[0], "by its triggers")
    return YearGuess(best[0], f"a choice: triggers and filters fit {', '.join(best)}", best[1:])


def _span(runs: Sequence[int]) -> str:
    return f"{runs[0]}" if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]}"


def _of_dataset(path: str) -> str | None:
    return next((name for pattern, name in _DATASETS if re.search(pattern, path)), None)


def _of_menu(branches: Collection[str]) -> tuple[str, ...]:
    """The years that fit the branches best, in the order of the years: fewest filters and triggers missing first."""
    triggers = [name for name in branches if name.startswith("HLT_")]
    marked = {
        year
        for pattern, of in _MENUS
        if any(re.search(pattern, trigger) for trigger in triggers)
        for year in of
    }

    def lacking(name: str) -> tuple[bool, bool, int, bool, bool]:
        about = years()[name]
        absent = [flag for flag in about.filters if flag not in branches]
        fired = [trigger for trigger in about.triggers if trigger in branches]
        other_tag = f"SubJet_{about.b_score}" not in branches
        return not fired, bool(absent), len(absent), bool(marked) and name not in marked, other_tag

    least = min(lacking(name) for name in years())
    return tuple(name for name in years() if lacking(name) == least)
