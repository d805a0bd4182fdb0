"""Files that were looked at, as samples: which are data, which a signal of which mass, and what belongs together."""

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from analysis.first_look import FileLook, plain_name
from analysis.first_year import YearGuess, year_of
from analysis.windows import window_of
from data.errors import ConfigError

Part = Literal["data", "signal", "background"]
_MASS_STEP = 50.0
_SIGNAL_WORDS = r"signal|prime|qstar|xyy|wkk|graviton|radion|bulk|resonan"
_MASS_AFTER = r"(?i)(?<![a-z0-9])(?:mx|m)[-_]?(\d{4})(?!\d)"
_FOUR_DIGITS = r"(?<!\d)(?!20(?:1[5-9]|2[0-6]))(\d{4})(?!\d)"
"""A mass in GeV; not a year of data taking."""
_NUMBERED = re.compile(r"[-_.](part)?(\d{1,3})$")
"""How the name of a file of a dataset may end."""
_STORE = ("mc", "data")


@dataclass(frozen=True)
class SampleDraft:
    """A sample as the files tell it.

    Attributes
    ----------
    name, process
        Of the sample definition.
    part
        What it is in a search.
    year
        Its year, and how it was told.
    looks
        Its files.
    mass, mass_from
        Resonance mass of a signal, GeV, and where it stands.
    mock
        Whether it is simulation searched as if it were data.
    """

    name: str
    process: str
    part: Part
    year: YearGuess
    looks: tuple[FileLook, ...]
    mass: float | None = None
    mass_from: str = ""
    mock: bool = False

    @property
    def entries(self) -> int:
        """Of all files."""
        return sum(look.entries for look in self.looks)

    @property
    def weighted(self) -> bool:
        """Whether simulation can be weighted: all files have the sums of generated weights."""
        return all(look.sums for look in self.looks)


@dataclass(frozen=True)
class SearchDraft:
    """Samples, and those that are searched.

    Attributes
    ----------
    samples
        All samples.
    data, signals
        Those of the search.
    left_out
        Sample to the reason why the search does without.
    """

    samples: tuple[SampleDraft, ...]
    data: SampleDraft
    signals: tuple[SampleDraft, ...]
    left_out: dict[str, str]

    @property
    def searched(self) -> tuple[SampleDraft, ...]:
        """Data and signals."""
        return (self.data, *self.signals)


def draft_search(looks: Sequence[FileLook]) -> SearchDraft:
    """Make samples of files, and choose what is searched.

    Parameters
    ----------
    looks
        The files.

    Returns
    -------
    SearchDraft
        The data sample of most entries is searched; without data, the simulated sample of most entries that is no
        signal, as mock data.

    Raises
    ------
    ConfigError
        If there is no event in any file.
    """
    if not any(look.entries for look in looks):
        msg = f"the files hold no entry ('{looks[0].path}' the first): there is nothing to search; give files with events"
        raise ConfigError(msg)
    samples = _named([*_data([one for one in looks if not one.simulated]), *_simulated(looks)])
    data = max(samples, key=_as_data)
    if data.part != "data":
        data = replace(data, part="data", mock=True, mass=None, mass_from="")
        samples = tuple(data if one.name == data.name else one for one in samples)
    samples = tuple(one if one is data else _of_year(one, data.year) for one in samples)
    signals, left_out = _signals(samples, data)
    return SearchDraft(samples, data, signals, left_out)


def _as_data(sample: SampleDraft) -> tuple[bool, bool, int]:
    return sample.part == "data", sample.part == "background", sample.entries


def _data(looks: Sequence[FileLook]) -> list[SampleDraft]:
    """Data, a sample a year."""
    by_year: dict[str, list[FileLook]] = {}
    for look in looks:
        by_year.setdefault(year_of([look]).year, []).append(look)
    return [
        SampleDraft(f"data_{name}", "data", "data", year_of(files), tuple(files))
        for name, files in by_year.items()
    ]


def _simulated(looks: Sequence[FileLook]) -> list[SampleDraft]:
    """Simulation, a sample for each dataset and year."""
    groups: dict[tuple[str, str], list[FileLook]] = {}
    simulated = [look for look in looks if look.simulated]
    names = datasets_of([look.path for look in simulated])
    for look in simulated:
        groups.setdefault((names[look.path], year_of([look]).year), []).append(look)
    return [_simulated_sample(name, files) for (name, _), files in groups.items()]


def _simulated_sample(name: str, looks: list[FileLook]) -> SampleDraft:
    mass, origin = _mass(name, looks)
    digits = f"{mass:g}" if mass else ""
    without_mass = re.sub(rf"(?<!\d){digits}(?!\d)", "", name) if digits else name
    process = re.sub(r"(?i)(^|_)(mx|m)(?=_|$)", r"\1", plain_name(without_mass))
    part: Part = "signal" if mass else "background"
    return SampleDraft(name, plain_name(process), part, year_of(looks), tuple(looks), mass, origin)


def _mass(name: str, looks: Iterable[FileLook]) -> tuple[float | None, str]:
    """The resonance mass of a signal: of its generator's record, else in its name."""
    found = [look.resonance for look in looks if look.resonance is not None]
    if found:
        return round(max(found) / _MASS_STEP) * _MASS_STEP, "by the generator's record"
    marked = re.search(_MASS_AFTER, name)
    if marked is None and re.search(rf"(?i){_SIGNAL_WORDS}", name):
        marked = re.search(_FOUR_DIGITS, name)
    return (float(marked.group(1)), "by its name") if marked and marked.group(1)[0] != "0" else (None, "")


def datasets_of(paths: Sequence[str]) -> dict[str, str]:
    """The dataset that each file belongs to: that of CMS's store, else the file's name without its number.

    A number at the end of a name counts the files of a dataset where the word "part" says so, or where the numbers of
    all files of one name run from 0 or 1 without a gap. Any other is part of the name: a mass, a range of pT.

    Parameters
    ----------
    paths
        Files and addresses.

    Returns
    -------
    dict
        Each of them to its dataset.
    """
    numbers: dict[str, set[int]] = {}
    for path in paths:
        if found := _NUMBERED.search(stem := PurePosixPath(path).stem):
            numbers.setdefault(stem[: found.start()], set()).add(int(found[2]))
    counted = {name for name, of in numbers.items() if min(of) <= 1 and max(of) - min(of) == len(of) - 1}
    return {path: _stored_dataset(path) or _named_dataset(path, counted) for path in paths}


def _stored_dataset(path: str) -> str | None:
    parts = PurePosixPath(path.partition("://")[2] or path).parts
    for first, second in itertools.pairwise(parts):
        if first == "store" and second in _STORE:
            after = parts[parts.index(second) + 1 :]
            return plain_name(after[1] if len(after) > 2 else after[0])
    return None


def _named_dataset(path: str, counted: Collection[str]) -> str:
    stem = PurePosixPath(path).stem
    found = _NUMBERED.search(stem)
    if found and (found[1] or stem[: found.start()] in counted):
        return plain_name(stem[: found.start()])
    return plain_name(stem)


def _named(samples: Iterable[SampleDraft]) -> tuple[SampleDraft, ...]:
    """Samples of one name in several years get the year into their names."""
    samples = list(samples)
    names = [one.name for one in samples]
    return tuple(
        replace(one, name=f"{one.name}_{one.year.year}") if names.count(one.name) > 1 else one
        for one in samples
    )


def _of_year(sample: SampleDraft, data: YearGuess) -> SampleDraft:
    """Simulation whose year the files do not tell is of the data's year, if it may be."""
    if data.year not in (sample.year.year, *sample.year.others) or not sample.year.others:
        return sample
    return replace(sample, year=YearGuess(data.year, "as the data"))


def _signals(
    samples: Sequence[SampleDraft], data: SampleDraft
) -> tuple[tuple[SampleDraft, ...], dict[str, str]]:
    """The signals of the process with the most masses, and why others are left out."""
    left_out: dict[str, str] = {}
    for one in samples:
        reason = _reason(one, data)
        if reason:
            left_out[one.name] = reason
    usable = [one for one in samples if one.part == "signal" and one.name not in left_out]
    by_process: dict[str, dict[float, SampleDraft]] = {}
    for one in sorted(usable, key=lambda sample: -sample.entries):
        by_process.setdefault(one.process, {}).setdefault(one.mass or 0.0, one)
    chosen = max(
        by_process.values(),
        key=lambda of_mass: (len(of_mass), sum(one.entries for one in of_mass.values())),
        default={},
    )
    kept = [chosen[mass] for mass in sorted(chosen)]
    left_out |= {one.name: "another signal is searched for" for one in usable if one not in kept}
    return tuple(kept), left_out


def _reason(sample: SampleDraft, data: SampleDraft) -> str:
    """Why a sample cannot be in the search; empty where it can."""
    if sample is data:
        return ""
    if sample.part == "data":
        return "a search has one data sample"
    if sample.part == "background":
        return "background: methods that take it are trained on it, as search.background"
    if not sample.weighted:
        return "its files have no sums of generated weights: give them as generated"
    if not _has_window(sample.mass or 0.0):
        return "no mass window is around its mass"
    return ""


def _has_window(mass: float) -> bool:
    try:
        window_of(mass)
    except ConfigError:
        return False
    return True
