"""All jets of a file with all their features, one row a jet, without any selection.

Columns: ``run luminosity_block event``, ``jet`` (its number in the event), the features of a search's table as far as the
file gives them, ``tight`` (the identification), and where the file has particles those of `particle_features`. Beside a
stored feature stands the one computed of the particles, its name ending in ``_particles``. Masses and momenta are in GeV,
angles in rad.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import ConfigError, IncompleteError, InputError
from data.files import atomic_path
from data.types import BoolArray, FloatArray, IntArray
from processors.chunks import Chunk
from processors.columns import Columns
from processors.config import JetsConfig
from processors.correlators import energy_correlators
from processors.features import as_float32, checked_values, jet_features
from processors.further import Feature, chosen_features
from processors.jet_shapes import jet_charge, pt_dispersion
from processors.jets import Jets
from processors.lund import lund_declustering
from processors.particles import counted_records
from processors.ragged import offsets_of
from processors.resolve import FileSchema, absent_columns, resolve_jets
from processors.root_files import named, open_root, reading
from processors.schema import B_TAG_ROLES, CLUSTERED_B_TAG_ROLES, FEATURE_ROLES
from processors.subjets import soft_drop_mask
from processors.substructure import soft_drop

_LOG = logging.getLogger(__name__)
TREE = "Events"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class JetTable:
    """What was written.

    Attributes
    ----------
    entries, jets
        Events read, and rows written.
    empty_jets
        Jets without a particle, where particles were read.
    """

    entries: int
    jets: int
    empty_jets: int


class Branches:
    """The branches of a range of entries, each read when it is asked for, once."""

    def __init__(self, tree: Any, start: int, stop: int) -> None:
        self._tree, self._start, self._stop = tree, start, stop
        self._read: dict[str, ak.Array] = {}

    def __getitem__(self, branch: str) -> ak.Array:
        if branch not in self._read:
            self._read[branch] = self._tree[branch].array(entry_start=self._start, entry_stop=self._stop)
        return self._read[branch]


def write_jet_table(
    file: str,
    out: Path,
    jets: JetsConfig,
    *,
    pt_min: float = 0.0,
    further: tuple[str, ...] = (),
    chunk_size: int = 10_000,
    progress: Progress | None = None,
) -> JetTable:
    """Write the features of all jets of a NanoAOD or PFNano file as Parquet, chunk by chunk; columns as above.

    Parameters
    ----------
    file
        The file, a path or a ``root://`` address.
    out
        The Parquet file.
    jets
        Where the jets and their substructure come from.
    pt_min
        Jets of less transverse momentum (GeV) are left out.
    further
        Names of further features of jets (`processors.further`).
    chunk_size
        Entries read at a time.
    progress
        Called with the entries done and all.

    Returns
    -------
    JetTable
        What was written.

    Raises
    ------
    ConfigError
        If ``out`` is a folder or the file itself, or a further feature is not of jets, needs other jets, or is
        there already.
    InputError
        If the file is damaged, lacks event ids or jets, or holds a pT that no jet has; the message names file and
        branch.
    IncompleteError
        If fewer entries were read than the file says it has.
    """
    if out.exists() and "://" not in file and Path(file).exists() and out.samefile(file):
        msg = f"{out} is the file that is read, and would be overwritten; write to another file"
        raise ConfigError(msg)
    features = _of_jets(further, jets)
    root, tree, schema = _opened(file, jets, further)
    absent = _absent(schema, jets)
    _log_decisions(file, schema, absent)
    make = partial(_table, config=jets, pt_min=pt_min, absent=absent, further=features)
    chunks = _chunks(tree, file, schema, tree.num_entries, chunk_size)
    with root, atomic_path(out) as temporary:
        return _write(temporary, chunks, make, file, tree.num_entries, progress)


def _opened(file: str, jets: JetsConfig, further: tuple[str, ...]) -> tuple[Any, Any, FileSchema]:
    """The open file, its tree of events, and which of its branches are read."""
    with reading(file):
        root = open_root(file)
        if TREE not in root.keys(cycle=False):
            msg = f"{named(file, None)} has no tree '{TREE}'; use a NanoAOD or PFNano file"
            raise InputError(msg)
        tree = root[TREE]
        return root, tree, resolve_jets(tree.keys(recursive=False), file, jets, further)


def _write(
    path: Path,
    chunks: Iterable[Chunk],
    make: Callable[[Chunk], tuple[Columns, int]],
    file: str,
    total: int,
    progress: Progress | None,
) -> JetTable:
    """Write what is made of each chunk of a file of ``total`` entries."""
    done, rows, empty = 0, 0, 0
    with _Writer(path) as writer:
        for chunk in chunks:
            table, without_particles = make(chunk)
            writer.write(table)
            done, rows, empty = done + chunk.size, rows + len(table["jet"]), empty + without_particles
            if progress is not None:
                progress(done, total)
    if done != total:
        msg = f"{named(file, None)}: {done} of {total} entries were read; run again"
        raise IncompleteError(msg)
    return JetTable(done, rows, empty)


class _Writer:
    """A Parquet file that grows by one row group a chunk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parquet: Any = None

    def __enter__(self) -> Self:
        return self

    def write(self, table: Columns) -> None:
        """Add rows."""
        arrow = pa.table(table)
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._path, arrow.schema, compression="zstd")
        self._parquet.write_table(arrow)

    def __exit__(self, *reason: object) -> None:
        if self._parquet is not None:
            self._parquet.close()


def _chunks(tree: Any, file: str, schema: FileSchema, total: int, size: int) -> Iterator[Chunk]:
    """The chunks of a file; one empty chunk of a file without entries, so that the table has its columns."""
    for start in range(0, max(total, 1), size):
        events = Branches(tree, start, min(start + size, total))
        entries = len(events[schema.roles["event"]])
        yield Chunk(None, file, start, entries, schema, events)


def _log_decisions(file: str, schema: FileSchema, absent: frozenset[str]) -> None:
    """Say what was recognised, which fall-backs are used and what is left out."""
    words = [schema.version, *schema.decisions()]
    if absent:
        words.append(f"not in this file: {', '.join(sorted(absent))}")
    _LOG.info("%s: %s", named(file, None), "; ".join(words))


def _table(
    chunk: Chunk, config: JetsConfig, pt_min: float, absent: frozenset[str], further: tuple[Feature, ...]
) -> tuple[Columns, int]:
    """The jets of a chunk, and how many of them have no particle."""
    alive: BoolArray = np.ones(chunk.size, dtype=np.bool_)
    jets = Jets(chunk, config, alive)
    if config.source == "stored":
        _refuse_impossible(chunk, jets)
    chosen = np.flatnonzero(jets["pt"] >= pt_min)
    entry = jets.entry[chosen]
    table: Columns = {
        name: chunk.role(name)[entry].astype(kind)
        for name, kind in (("run", "uint32"), ("luminosity_block", "uint32"), ("event", "uint64"))
    }
    table["jet"] = (chosen - offsets_of(jets.counts)[entry]).astype(np.int16)
    for name, values in jet_features(jets, chosen, absent).items():
        table[name] = as_float32(values)
    table["tight"] = jets.tight()[chosen]
    if not chunk.schema.reads_particles:
        return table | _further(further, chunk, jets, chosen, table), 0
    for role in FEATURE_ROLES:
        if role in chunk.schema.roles:
            table[f"{role}_particles"] = as_float32(jets.particle_jets.of(role, chosen))
    for name, values in particle_features(jets, chosen, config).items():
        table[name] = as_float32(values)
    table |= _further(further, chunk, jets, chosen, table)
    return table, int(np.count_nonzero(jets.particle_jets.of("n_pf", chosen) == 0))


def _of_jets(names: tuple[str, ...], jets: JetsConfig) -> tuple[Feature, ...]:
    """The further features of a table of jets."""
    features = chosen_features(names)
    for feature in features:
        if feature.of != "jet":
            msg = f"feature '{feature.name}' is of events, a table of jets has none; leave it out"
            raise ConfigError(msg)
        if jets.source == "particles" and (lost := feature.of_stored_jets()):
            msg = f"feature '{feature.name}' is made of {lost[0]}, which clustered jets do not have; leave it out"
            raise ConfigError(msg)
    return features


def _further(
    features: tuple[Feature, ...], chunk: Chunk, jets: Jets, chosen: IntArray, table: Columns
) -> Columns:
    columns: Columns = {}
    for feature in features:
        if feature.name in table:
            msg = f"feature '{feature.name}': a table of jets has this column in any case; leave it out"
            raise ConfigError(msg)
        values = feature.values(chunk, jets, chosen)
        columns[feature.name] = checked_values(feature, values, chunk, jets.entry[chosen])
    return columns


def _refuse_impossible(chunk: Chunk, jets: Jets) -> None:
    """Refuse stored pT that are no number or not positive: NaN would fall below any cut without a word."""
    pt = jets["pt"]
    bad = np.flatnonzero(~(np.isfinite(pt) & (pt > 0)))
    if len(bad):
        chunk.refuse("pt", f"holds {pt[bad[0]]}", int(jets.entry[bad[0]]))


def _absent(schema: FileSchema, config: JetsConfig) -> frozenset[str]:
    """Columns of the features that the file cannot give."""
    b_tag = B_TAG_ROLES if config.source == "stored" else CLUSTERED_B_TAG_ROLES
    lacking = [name for name in FEATURE_ROLES if name not in schema.roles and name not in schema.computed]
    return absent_columns((*lacking, *(() if b_tag.keys() <= schema.roles.keys() else ("deepb",))))


def particle_features(jets: Jets, chosen: IntArray, config: JetsConfig) -> dict[str, FloatArray]:
    """Observables that only the particles give, their weights applied.

    Parameters
    ----------
    jets
        The jets of a chunk.
    chosen
        Positions in the row of jets, shape (n,).
    config
        Radius and grooming.

    Returns
    -------
    dict
        ``m_ungroomed`` (GeV); ``pt_groomed`` (GeV), ``delta_r`` (rad) and ``z`` of soft drop; ``c2 d2 n2 n3`` of the
        groomed jet (β = 1); ``jet_charge`` (κ = 0.5), ``pt_dispersion``, and the number of primary Lund splittings
        ``n_splittings``, all of the ungroomed jet.
    """
    # correlators cost the cube of the number of particles: those without weight are left out
    records, charge = counted_records(jets.particle_jets.particles_of(chosen))
    grooming = {"z_cut": config.z_cut, "beta": config.soft_drop_beta, "R0": config.radius}
    groomed = soft_drop(records, **grooming)
    whole = soft_drop(records, z_cut=0.0, R0=config.radius)
    kept = records[soft_drop_mask(records, **grooming)]
    correlators = energy_correlators(kept, four_points=True)
    splittings = lund_declustering(records, R0=config.radius)
    columns: dict[str, Any] = {
        "m_ungroomed": whole.mass,
        "pt_groomed": groomed.pt,
        "delta_r": groomed.delta_r,
        "z": groomed.z,
        **{name: correlators[name] for name in ("c2", "d2", "n2", "n3")},
        "jet_charge": jet_charge(records, charge),
        "pt_dispersion": pt_dispersion(records),
        "n_splittings": ak.num(splittings, axis=1),
    }
    return {name: _floats(values) for name, values in columns.items()}


def _floats(values: Any) -> FloatArray:
    column: npt.NDArray[Any] = ak.to_numpy(values)
    return column.astype(np.float64)
