"""Single events looked up again in their ROOT files, for the event display."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        If a file cannot be read, or holds other jets than the feature table has; the message names it.
    IncompleteError
        If an event is in none of the files.
    """
    missing = {one.id: one for one in wanted}
    order = [one.name for one in missing.values()]
    found: dict[str, DisplayEvent] = {}
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
            for entry, one in _entries(tree, schema, missing):
                found[one.name] = _read(tree, path, schema, (entry, one), config)
                del missing[one.id]
    if missing:
        names = ", ".join(one.name for one in missing.values())
        msg = (
            f"sample '{sample.name}': no file holds the selected events {names} (run:luminosity block:event) any more; "
            "bring the files back that `oddjet skim` read, or run it again with those that there are"
        )
        raise IncompleteError(msg)
    return {name: found[name] for name in order}


def _may_hold(sections: IntArray | None, missing: Iterable[EventId]) -> bool:
    """Whether a file that covers these sections may hold one of the events."""
    here = {(run, block) for run, block, _ in missing}
    if sections is None:
        return bool(here)
    return not here.isdisjoint(map(tuple, sections.tolist()))


def _entries(tree: Any, schema: FileSchema, missing: Mapping[EventId, Wanted]) -> list[tuple[int, Wanted]]:
    """The entries of a file that are wanted."""
    total = int(tree.num_entries)
    events = np.array([one[2] for one in missing], dtype=np.uint64)
    found = []
    for start in range(0, total, STEP):
        branches = Branches(tree, start, min(start + STEP, total))
        columns: list[npt.NDArray[Any]] = [ak.to_numpy(branches[schema.roles[name]]) for name in ID_COLUMNS]
        for row in np.flatnonzero(np.isin(columns[2].astype(np.uint64), events)).tolist():
            one = missing.get((int(columns[0][row]), int(columns[1][row]), int(columns[2][row])))
            if one is not None:
                found.append((start + row, one))
    return found


def _read(
    tree: Any, path: str, schema: FileSchema, wanted: tuple[int, Wanted], config: JetsConfig
) -> DisplayEvent:
    entry, one = wanted
    branches = Branches(tree, entry, entry + 1)
    chunk = Chunk(None, path, entry, 1, schema, branches)
    jets = Jets(chunk, config, np.ones(1, dtype=np.bool_))
    count = len(jets.entry)
    everyone = np.arange(count)
    pt, eta, phi = (jets.of(name, everyone).astype(np.float64) for name in ("pt", "eta", "phi"))
    roles = {
        _nearest(one, place, eta, phi, path, entry): role for role, place in (("j1", one.j1), ("j2", one.j2))
    }
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


def _nearest(
    one: Wanted, place: tuple[float, float], eta: FloatArray, phi: FloatArray, path: str, entry: int
) -> int:
    """The jet of a file that the feature table has."""
    distance = np.maximum(np.abs(eta - place[0]), np.abs(wrap(phi - place[1])))
    if not len(distance) or distance.min() > _NEAR:
        msg = (
            f"file '{path}': entry {entry}, event {one.name}, has no jet at η = {place[0]:.3f}, φ = {place[1]:.3f} as the "
            "feature table has; the file has changed: run `oddjet skim` again"
        )
        raise InputError(msg)
    return int(np.argmin(distance))


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
