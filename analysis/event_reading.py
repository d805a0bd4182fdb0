"""Single events looked up again in their ROOT files, for the event display."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import numpy.typing as npt

from analysis.study_record import DisplayEvent, DisplayJet
from data.errors import IncompleteError, InputError
from data.eventid import ID_COLUMNS
from data.samples import Sample
from data.types import FloatArray, IntArray, Table
from processors.chunks import Chunk
from processors.config import JetsConfig
from processors.jet_table import Branches
from processors.jets import Jets
from processors.lund import lund_declustering
from processors.particles import JetParticles, as_records
from processors.ragged import wrap
from processors.resolve import FileSchema, resolve_jets
from processors.root_files import open_root, reading
from processors.subjets import exclusive_subjets

STEP = 1_000_000
"""Event ids read at a time."""
_NEAR = 1e-3
"""Largest difference in η and φ (–, rad) between a jet of the feature table and the same jet of the file."""
_SUBJETS = ("SubJet_pt", "SubJet_eta", "SubJet_phi")
EventId = tuple[int, int, int]


@dataclass(frozen=True)
class Wanted:
    """An event to be looked up: its id, and direction (η, φ) of j1 and j2 in the feature table.

    Attributes
    ----------
    j1, j2
        η and φ (rad).
    """

    id: EventId
    j1: tuple[float, float]
    j2: tuple[float, float]

    @property
    def name(self) -> str:
        """The id in the experiments' way."""
        return ":".join(map(str, self.id))


def wanted_events(table: Table, names: Iterable[str]) -> list[Wanted]:
    """Events of a feature table by the names of their ids.

    Parameters
    ----------
    table
        Event ids, and ``eta`` and ``phi`` of both jets.
    names
        Ids as ``run:luminosity block:event``.

    Returns
    -------
    list of Wanted
        In the order of the names.
    """
    ids = [tuple(int(part) for part in name.split(":")) for name in names]
    found = []
    for run, block, event in ids:
        here = (table["run"] == run) & (table["luminosity_block"] == block) & (table["event"] == event)
        row = int(np.flatnonzero(here)[0])
        places = [(float(table[f"eta_{jet}"][row]), float(table[f"phi_{jet}"][row])) for jet in ("j1", "j2")]
        found.append(Wanted((run, block, event), places[0], places[1]))
    return found


def read_events(
    sample: Sample,
    wanted: Iterable[Wanted],
    config: JetsConfig,
    sections: Mapping[str, IntArray | None] | None = None,
) -> dict[str, DisplayEvent]:
    """Look events up in the files of a sample; only the ids of all events are read, and the entries that are wanted.

    Parameters
    ----------
    sample
        The searched data.
    wanted
        The events.
    config
        Where the jets come from, as the search has it.
    sections
        File to the luminosity sections (run, block) that it covers, shape (n, 2); a file that covers none of the events'
        is not opened, one whose sections are not known (None) is.

    Returns
    -------
    dict
        Event id to what its file holds of it, in the order wanted.

    Raises
    ------
    InputError
        If a file cannot be read, holds other jets than the feature table has, or an event twice; the message names it.
    IncompleteError
        If an event is in none of the files.
    """
    missing = {one.id: one for one in wanted}
    order = [one.name for one in missing.values()]
    found: dict[str, DisplayEvent] = {}
    others: dict[str, str] = {}
    for path in sorted(sample.files):
        if not _may_hold((sections or {}).get(path), missing):
            continue
        with (
            reading(path, sample.name),
            open_root(path, sample.name, access=sample.access(path)) as file,
        ):
            tree = file[sample.tree]
            if not int(tree.num_entries):
                continue
            schema = resolve_jets(tree.keys(recursive=False), path, config)
            for one, entries in _entries(tree, schema, missing).items():
                read = [_read(tree, path, schema, (entry, missing[one]), config) for entry in entries]
                same = [event for event in read if event is not None]
                name = missing[one].name
                if not same:
                    others[name] = f"file '{path}': entry {', '.join(map(str, entries))}"
                    continue
                found[name] = _only(same, path, name)
                del missing[one]
    _check_all_found(sample.name, list(missing.values()), others)
    return {name: found[name] for name in order}


def _only(events: Sequence[DisplayEvent], path: str, name: str) -> DisplayEvent:
    """The event of an id in a file, which must stand there once."""
    if len(events) > 1:
        entries = ", ".join(str(event.entry) for event in events)
        msg = (
            f"file '{path}': the event {name} (run:luminosity block:event) stands there {len(events)} times with the same "
            f"jets, in entries {entries}; remove the copies and run `oddjet skim` again"
        )
        raise InputError(msg)
    return events[0]


def _check_all_found(sample: str, missing: Sequence[Wanted], others: Mapping[str, str]) -> None:
    """Refuse events that were not found; ``others``: where their ids belong to other jets.

    Raises
    ------
    InputError
        If a file has other jets for an id.
    IncompleteError
        If no file has an id.
    """
    without = "or write `report: {events: 0}` into the configuration for a report without event display"
    for one in missing:
        if one.name in others:
            (eta, phi), (second, other) = one.j1, one.j2
            msg = (
                f"{others[one.name]}, event {one.name}, has no jets at η = {eta:.3f}, φ = {phi:.3f} and η = {second:.3f}, "
                f"φ = {other:.3f} as the feature table has; the file has changed: run `oddjet skim` again, {without}"
            )
            raise InputError(msg)
    if missing:
        names = ", ".join(one.name for one in missing)
        msg = (
            f"sample '{sample}': no file holds the selected events {names} (run:luminosity block:event) any more; "
            f"bring the files back that `oddjet skim` read, run it again with those that there are, {without}"
        )
        raise IncompleteError(msg)


def _may_hold(sections: IntArray | None, missing: Iterable[EventId]) -> bool:
    """Whether a file that covers these sections may hold one of the events."""
    here = {(run, block) for run, block, _ in missing}
    if sections is None:
        return bool(here)
    return not here.isdisjoint(map(tuple, sections.tolist()))


def _entries(tree: Any, schema: FileSchema, missing: Collection[EventId]) -> dict[EventId, list[int]]:
    """The entries of a file that have an id that is wanted; ids may repeat, as in simulation."""
    total = int(tree.num_entries)
    events = np.array([one[2] for one in missing], dtype=np.uint64)
    found: dict[EventId, list[int]] = {}
    for start in range(0, total, STEP):
        branches = Branches(tree, start, min(start + STEP, total))
        columns: list[npt.NDArray[Any]] = [ak.to_numpy(branches[schema.roles[name]]) for name in ID_COLUMNS]
        for row in np.flatnonzero(np.isin(columns[2].astype(np.uint64), events)).tolist():
            one = (int(columns[0][row]), int(columns[1][row]), int(columns[2][row]))
            if one in missing:
                found.setdefault(one, []).append(start + row)
    return found


def _read(
    tree: Any, path: str, schema: FileSchema, wanted: tuple[int, Wanted], config: JetsConfig
) -> DisplayEvent | None:
    """An entry as the page shows it; None where it has other jets than the wanted event."""
    entry, one = wanted
    branches = Branches(tree, entry, entry + 1)
    chunk = Chunk(None, path, entry, 1, schema, branches)
    jets = Jets(chunk, config, np.ones(1, dtype=np.bool_))
    count = len(jets.entry)
    everyone = np.arange(count)
    pt, eta, phi = (jets.of(name, everyone).astype(np.float64) for name in ("pt", "eta", "phi"))
    first, second = (_nearest(place, eta, phi) for place in (one.j1, one.j2))
    if first is None or second is None:
        return None
    roles: dict[int, Literal["j1", "j2"]] = {first: "j1", second: "j2"}
    mass: list[float | None] = [None] * count
    if "m" in schema.roles or "m" in schema.computed:
        mass = [max(value, 0.0) for value in jets.of("m", everyone).astype(np.float64).tolist()]
    insides = (
        _insides(jets, everyone, config.radius) if schema.reads_particles else [_Inside((), (), ())] * count
    )
    stored = _stored_subjets(branches, tree.keys(recursive=False), config)
    return DisplayEvent(
        file=Path(path).name,
        entry=entry,
        has_particles=schema.reads_particles,
        radius=config.radius,
        jets=tuple(
            DisplayJet(
                role=roles.get(k),
                pt=float(pt[k]),
                eta=float(eta[k]),
                phi=float(phi[k]),
                mass=mass[k],
                subjets=stored[k] if stored is not None else insides[k].subjets,
                particles=insides[k].particles if k in roles else (),
                lund=insides[k].lund if k in roles else (),
            )
            for k in everyone.tolist()
        ),
    )


def _nearest(place: tuple[float, float], eta: FloatArray, phi: FloatArray) -> int | None:
    """The jet of an entry that the feature table has; None without such a jet."""
    distance = np.maximum(np.abs(eta - place[0]), np.abs(wrap(phi - place[1])))
    return int(np.argmin(distance)) if len(distance) and distance.min() <= _NEAR else None


@dataclass(frozen=True)
class _Inside:
    """What the particles of a jet tell; see `DisplayJet`."""

    subjets: tuple[tuple[float, float, float], ...]
    particles: tuple[tuple[float, float, float, int], ...]
    lund: tuple[tuple[float, float], ...]


def _insides(jets: Jets, chosen: IntArray, radius: float) -> list[_Inside]:
    found: JetParticles = jets.particle_jets.particles_of(chosen)
    weighted = found.weighted()
    records = as_records(weighted)
    moving = (records.px != 0) | (records.py != 0)
    subjets, _ = exclusive_subjets(records[moving], 2)
    splittings = lund_declustering(records[moving], R0=radius)
    pt, eta, phi = _directions(weighted.px, weighted.py, weighted.pz)
    insides = []
    for k in range(len(chosen)):
        own = np.arange(found.offsets[k], found.offsets[k + 1])
        own = own[pt[own] > 0]
        own = own[np.argsort(-pt[own], kind="stable")]
        momenta = [ak.to_numpy(subjets[k][name]) for name in ("px", "py", "pz")]
        lund = [ak.to_numpy(splittings[k][name]) for name in ("ln_r0_delta", "ln_kt")]
        insides.append(
            _Inside(
                _triples(*_directions(*momenta)),
                tuple(
                    (
                        round(float(pt[i]), 3),
                        round(float(eta[i]), 4),
                        round(float(phi[i]), 4),
                        int(found.id[i]),
                    )
                    for i in own
                ),
                tuple(
                    (round(float(a), 3), round(float(b), 3))
                    for a, b in zip(*lund, strict=True)
                    if np.isfinite(a) and np.isfinite(b)
                ),
            )
        )
    return insides


def _directions(px: FloatArray, py: FloatArray, pz: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transverse momentum (GeV), pseudorapidity and azimuth (rad); 0 without transverse momentum."""
    pt = np.hypot(px, py)
    slope = np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0)
    return pt, np.arcsinh(slope), np.arctan2(py, px)


def _triples(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> tuple[tuple[float, float, float], ...]:
    return tuple(zip(pt.tolist(), eta.tolist(), phi.tolist(), strict=True))


def _stored_subjets(
    branches: Branches, keys: Iterable[str], config: JetsConfig
) -> list[tuple[tuple[float, float, float], ...]] | None:
    """The subjets that the file stores for its jets; None where it stores none, or the jets are clustered anew."""
    links = ("FatJet_subJetIdx1", "FatJet_subJetIdx2")
    if config.source != "stored" or not {*_SUBJETS, *links} <= set(keys):
        return None
    columns = [ak.to_numpy(branches[name][0]).astype(np.float64) for name in _SUBJETS]
    indices = [ak.to_numpy(branches[name][0]).astype(np.int64) for name in links]
    return [
        tuple(
            (float(columns[0][k]), float(columns[1][k]), float(columns[2][k]))
            for k in pair
            if 0 <= k < len(columns[0])
        )
        for pair in zip(*(index.tolist() for index in indices), strict=True)
    ]
