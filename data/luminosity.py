"""Certified luminosity sections, and the luminosity of those that were processed.

A section is one (run, luminosity block) of data taking. coffea's ``LumiMask`` answers the same question, but wraps
numbers beyond 32 bits in silence, takes any list of ranges as it comes, and compiles for seconds in every process.
"""

import csv
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import BoolArray, FloatArray, IntArray

BITS = 32
"""A section is one integer: the run above this many bits of the luminosity block."""
IN_FB = {"/ub": 1e-9, "/nb": 1e-6, "/pb": 1e-3, "/fb": 1.0}
"""Units of integrated luminosity that brilcalc writes, in fb⁻¹."""


@dataclass(frozen=True)
class GoldenJson:
    """Certified sections: ranges, sorted and disjoint.

    Attributes
    ----------
    source
        Name of the file, for messages.
    first, last
        array (n_ranges,) int64, first and last section of each range, run and block in one number.
    """

    source: str
    first: IntArray
    last: IntArray

    def certified(self, run: npt.NDArray[np.integer], luminosity_block: npt.NDArray[np.integer]) -> BoolArray:
        """Whether each event (or section) is certified.

        Parameters
        ----------
        run, luminosity_block : array (n,) of integers
            Its run and luminosity block.

        Returns
        -------
        array (n,) of bool

        Raises
        ------
        InputError
            If a number is negative or has more than 31 (run) or 32 bits.
        """
        return self._contains(_keys(run, luminosity_block))

    def _contains(self, key: IntArray) -> BoolArray:
        at = np.searchsorted(self.first, key, side="right") - 1
        inside: BoolArray = (at >= 0) & (key <= self.last[np.maximum(at, 0)])
        return inside

    def sections(self) -> int:
        """Number of certified sections."""
        return int(np.sum(self.last - self.first + 1))

    def _keys(self) -> IntArray:
        lengths = self.last - self.first + 1
        starts = np.repeat(self.first - (np.cumsum(lengths) - lengths), lengths)
        return starts + np.arange(len(starts))


@dataclass(frozen=True)
class LuminosityTable:
    """Recorded luminosity per section.

    Attributes
    ----------
    source
        Name of the file, for messages.
    key
        array (n,) int64, the sections, ascending, run and block in one number.
    recorded_ifb
        array (n,) float64, recorded luminosity of each, fb⁻¹.
    """

    source: str
    key: IntArray
    recorded_ifb: FloatArray

    def recorded(self, key: IntArray) -> tuple[float, int]:
        """Recorded luminosity of some sections.

        Parameters
        ----------
        key
            Shape (m,), run and block in one number.

        Returns
        -------
        recorded
            Sum over the sections, fb⁻¹, rounded once, at the end.
        unknown
            How many of them the table lacks.
        """
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        known = self.key[at] == key
        return math.fsum(self.recorded_ifb[at[known]]), int(np.sum(~known))


@dataclass(frozen=True)
class ProcessedLuminosity:
    """What part of the certified data was processed.

    Attributes
    ----------
    sections_certified
        Sections of the golden JSON.
    sections_processed
        Certified sections among those seen.
    fraction
        The second over the first.
    certified_ifb, luminosity_ifb
        Recorded luminosity of the certified and of the processed certified sections, fb⁻¹; None without a table.
    sections_without_luminosity
        Processed certified sections that the table does not hold, counted as zero; None without a table.
    """

    sections_certified: int
    sections_processed: int
    fraction: float
    certified_ifb: float | None = None
    luminosity_ifb: float | None = None
    sections_without_luminosity: int | None = None


def _keys(run: npt.NDArray[np.integer], luminosity_block: npt.NDArray[np.integer]) -> IntArray:
    """Sections as one integer each, ordered as (run, block)."""
    for name, values, bits in (("run", run, BITS - 1), ("luminosity block", luminosity_block, BITS)):
        if values.dtype.kind not in "iu":
            msg = f"{name} numbers are of type {values.dtype}: they must be integers"
            raise InputError(msg)
        bad = (values < 0) | (values >= 2**bits)
        if bad.any():
            msg = f"{name} {values[np.argmax(bad)]} is not between 0 and 2^{bits}; replace the file by a whole copy"
            raise InputError(msg)
    return (run.astype(np.int64) << BITS) + luminosity_block.astype(np.int64)


def unique_sections(run: npt.NDArray[np.integer], luminosity_block: npt.NDArray[np.integer]) -> IntArray:
    """Sections that occur in a chunk.

    Parameters
    ----------
    run, luminosity_block : array (n,) of integers
        Of the events, or of the rows of ``LuminosityBlocks``.

    Returns
    -------
    array (n_sections, 2) int64
        Run and block of each section, once, ascending.

    Raises
    ------
    InputError
        If a number is negative or too large.
    """
    key = np.unique(_keys(run, luminosity_block))
    return np.stack([key >> BITS, key & (2**BITS - 1)], axis=1)


def merge_sections(parts: Iterable[IntArray]) -> IntArray:
    """Sections of all chunks: the same whatever the order or the number of the parts.

    Parameters
    ----------
    parts : iterable of array (n, 2)
        What ``unique_sections`` returned.

    Returns
    -------
    array (n_sections, 2) int64
        Each section once, ascending.
    """
    merged = np.concatenate([np.zeros((0, 2), dtype=np.int64), *parts])
    return unique_sections(merged[:, 0], merged[:, 1])


def read_golden_json(path: Path) -> GoldenJson:
    """Read a list of certified sections, ``{"run": [[first, last], …], …}``.

    Parameters
    ----------
    path
        The file that CMS publishes for each year.

    Returns
    -------
    GoldenJson

    Raises
    ------
    InputError
        If the file is missing, is not JSON of that form, or a run stands twice, or its ranges are reversed or
        overlap; the message names the run.
    """
    ranges: list[tuple[int, int]] = []
    for name, entry in _read_runs(path):
        where = f"{path}: run '{name}'"
        if not re.fullmatch(r"[0-9]{1,9}", name):
            msg = f"{where} is not a number; take the file as CMS publishes it"
            raise InputError(msg)
        run = int(name) << BITS
        before = 0
        for first, last in sorted(_ranges(entry, where)):
            if first <= before:
                msg = f"{where} certifies section {first} twice; merge its ranges"
                raise InputError(msg)
            before = last
            ranges.append((run + first, run + last))
    if not ranges:
        msg = f"{path}: certifies no section, every event would be dropped; give the file as CMS publishes it"
        raise InputError(msg)
    first_last = np.array(sorted(ranges), dtype=np.int64)
    if np.any(first_last[1:, 0] <= first_last[:-1, 1]):
        at = int(np.argmax(first_last[1:, 0] <= first_last[:-1, 1]))
        msg = f"{path}: run {first_last[at, 0] >> BITS} stands twice; merge its ranges"
        raise InputError(msg)
    return GoldenJson(str(path), first_last[:, 0].copy(), first_last[:, 1].copy())


def _read_runs(path: Path) -> list[tuple[str, Any]]:
    """Top level of the JSON as pairs; a dict would keep the last of two equal runs without a word."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=tuple)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path"
        raise InputError(msg) from None
    except ValueError as error:
        msg = f"{path}: not valid JSON ({error}); it may be truncated: download it again"
        raise InputError(msg) from None
    if not isinstance(content, tuple):
        msg = f"{path}: expected a mapping of runs to ranges of sections, found {type(content).__name__}"
        raise InputError(msg)
    names = [name for name, _ in content]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"{path}: run '{twice}' stands twice; merge its ranges"
        raise InputError(msg)
    return list(content)


def _ranges(entry: object, where: str) -> list[tuple[int, int]]:
    """Check the ranges of one run."""
    if not isinstance(entry, list):
        msg = f"{where} holds no list of ranges [first, last]; take the file as CMS publishes it"
        raise InputError(msg)
    out = []
    for pair in entry:
        # bool is an int in Python, and JSON's true is no section
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(x) is int for x in pair)
        if not whole or not 1 <= pair[0] <= pair[1] < 2**BITS:
            msg = f"{where} has the range {pair}: write two whole numbers first ≤ last, from 1"
            raise InputError(msg)
        out.append((pair[0], pair[1]))
    return out


def read_luminosity_table(path: Path) -> LuminosityTable:
    """Read a table of brilcalc with one row a section (``brilcalc lumi --byls --output-style csv``).

    Parameters
    ----------
    path
        The CSV file. Its header ``#run:fill,ls,…,recorded(/pb),…`` names the columns and the unit.

    Returns
    -------
    LuminosityTable

    Raises
    ------
    InputError
        If the file is missing, has no such header or another unit than integrated luminosity, holds a row that
        cannot be read (its line is named) or a section twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path"
        raise InputError(msg) from None
    column, in_fb = _recorded_column(lines, path)
    rows = []
    for number, row in enumerate(csv.reader(lines), start=1):
        if not row or row[0].startswith("#"):
            continue
        try:
            run, section = int(row[0].split(":")[0]), int(row[1].split(":")[0])
            recorded = float(row[column]) * in_fb
        except (ValueError, IndexError):
            recorded = math.nan
        if not recorded >= 0:
            what = ",".join(row)
            msg = f"{path}: line {number} is no section with its luminosity: {what}; run brilcalc again, with --byls"
            raise InputError(msg)
        rows.append((run, section, recorded))
    if not rows:
        msg = f"{path}: holds no section; run brilcalc with --byls --output-style csv"
        raise InputError(msg)
    runs, sections, luminosities = zip(*rows, strict=True)
    key, at, count = np.unique(
        _keys(np.array(runs), np.array(sections)), return_index=True, return_counts=True
    )
    if count.max() > 1:
        twice = key[np.argmax(count)]
        msg = f"{path}: section {twice & (2**BITS - 1)} of run {twice >> BITS} stands twice; keep one normtag"
        raise InputError(msg)
    return LuminosityTable(str(path), key, np.array(luminosities)[at])


def _recorded_column(lines: list[str], path: Path) -> tuple[int, float]:
    """Position of the recorded luminosity and its unit in fb⁻¹, from the header."""
    header = next((line for line in lines if line.startswith("#run:fill,ls,")), "")
    for position, name in enumerate(header.split(",")):
        match = re.fullmatch(r"recorded\((.*)\)", name.strip())
        if match and match[1] in IN_FB:
            return position, IN_FB[match[1]]
    msg = (
        f"{path}: has no header '#run:fill,ls,…,recorded(UNIT),…' with UNIT one of {', '.join(IN_FB)}; "
        "run brilcalc lumi with --byls -u /pb --output-style csv"
    )
    raise InputError(msg)


def processed_luminosity(
    sections: IntArray, golden: GoldenJson, table: LuminosityTable | None = None
) -> ProcessedLuminosity:
    """Luminosity of the sections that were processed.

    Parameters
    ----------
    sections : array (n, 2) int64
        Run and block of every section seen, from ``merge_sections``. Take them from ``LuminosityBlocks`` where the
        files have it: a section of which no event was stored counts too.
    golden
        The certified sections; others do not count.
    table
        Recorded luminosity per section.

    Returns
    -------
    ProcessedLuminosity

    Raises
    ------
    InputError
        If the table holds none of the processed certified sections.
    """
    key = np.unique(_keys(sections[:, 0], sections[:, 1]))
    key = key[golden._contains(key)]  # noqa: SLF001 - the same module
    certified = golden.sections()
    if table is None:
        return ProcessedLuminosity(certified, len(key), len(key) / certified)
    recorded, missing = table.recorded(key)
    if len(key) and missing == len(key):
        msg = (
            f"{table.source}: holds none of the {len(key)} certified sections processed, it is of another year; take the "
            "table of the sample's year"
        )
        raise InputError(msg)
    whole, _ = table.recorded(golden._keys())  # noqa: SLF001
    return ProcessedLuminosity(certified, len(key), len(key) / certified, whole, recorded, missing)
