"""What corrections read of a chunk: jets for the kinematic ones, selected events for the weights."""

from typing import Any

import numpy as np
import numpy.typing as npt

from data.samples import Kind
from data.types import FloatArray, IntArray
from processors.chunks import Chunk
from processors.columns import Columns
from processors.corrections.config import CorrectionsConfig
from processors.corrections.kinematics import JetInputs, varied_jets
from processors.corrections.weights import Jagged, Subjets, WeightInputs
from processors.jets import Jets
from processors.ragged import offsets_of, ranges
from processors.root_files import named
from processors.selection import Dijets, soft_drop_mass

_EVENT_ROLES = ("n_true_interactions", "prefiring_nominal", "prefiring_up", "prefiring_down")
_JAGGED_ROLES = ("scale_weights", "pdf_weights", "shower_weights")


def variations(
    chunk: Chunk, jets: Jets, config: CorrectionsConfig | None, kind: Kind, seed: int, *, vary: bool
) -> dict[str, Jets]:
    """The jets of a chunk as corrected, and with each kinematic variation.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets as the file has them.
    config
        Corrections of the sample's year.
    kind
        Data are not varied.
    seed
        Of the random smearing.
    vary
        Whether the variations are wanted, or the nominal jets alone.

    Returns
    -------
    dict
        Name of the variation to jets, ``nominal`` first.
    """
    if config is None:
        return {"nominal": jets}
    moved = varied_jets(jet_inputs(chunk, jets), config, kind, seed)
    return {
        name: jets.varied(pt=pt, m=mass) for name, (pt, mass) in moved.items() if vary or name == "nominal"
    }


def jet_inputs(chunk: Chunk, jets: Jets) -> JetInputs:
    """All jets of a chunk with what the jet corrections may ask for."""
    entry = jets.entry
    ids: dict[str, Any] = {name: chunk.role(name)[entry] for name in ("run", "luminosity_block", "event")}
    first = offsets_of(jets.counts)
    roles = chunk.schema.roles
    extra: dict[str, Any] = {
        name: chunk_jets for name in ("raw_factor", "area") if name in roles for chunk_jets in (jets[name],)
    }
    if "rho" in roles:
        extra["rho"] = chunk.role("rho")[entry]
    if "gen_jet" in roles:
        extra |= _generator_jets(chunk, jets)
    return JetInputs(
        pt=jets["pt"],
        eta=jets["eta"],
        phi=jets["phi"],
        m=soft_drop_mass(jets["m"]),
        number=np.arange(len(entry)) - first[entry],
        source=named(chunk.file, chunk.sample),
        **ids,
        **extra,
    )


def _generator_jets(chunk: Chunk, jets: Jets) -> dict[str, FloatArray]:
    """The generator jet that each jet points to; NaN where it points to none."""
    index = jets["gen_jet"].astype(np.int64)
    columns: dict[str, FloatArray] = {}
    for name in ("gen_pt", "gen_eta", "gen_phi"):
        values, counts = chunk.jagged(chunk.schema.roles[name])
        chunk.refuse_outside("gen_jet", "generator jet", index, jets.entry, counts)
        has = np.flatnonzero(index >= 0)
        columns[name] = np.full(len(index), np.nan)
        columns[name][has] = values[offsets_of(counts)[jets.entry[has]] + index[has]]
    return columns


def weight_inputs(chunk: Chunk, jets: Jets, dijets: Dijets, table: Columns) -> WeightInputs:
    """Selected events with what the corrections of weights may ask for.

    Parameters
    ----------
    chunk, jets, dijets
        The chunk, its jets and the selected events.
    table
        The feature table of these events.

    Returns
    -------
    WeightInputs
        One element a selected event; momenta and masses in GeV.
    """
    entry, roles = dijets.entry, chunk.schema.roles
    simple: dict[str, Any] = {name: chunk.role(name)[entry] for name in _EVENT_ROLES if name in roles}
    jagged: dict[str, Any] = {
        name: _of_entries(*chunk.jagged(roles[name]), entry) for name in _JAGGED_ROLES if name in roles
    }
    subjets = _subjets(chunk, jets, dijets) if "subjet_flavour" in roles else None
    features = {name: values.astype(np.float64) for name, values in table.items() if values.ndim == 1}
    return WeightInputs(
        run=table["run"],
        luminosity_block=table["luminosity_block"],
        event=table["event"],
        subjets=subjets,
        features=features,
        source=named(chunk.file, chunk.sample),
        **simple,
        **jagged,
    )


def _of_entries(values: npt.NDArray[Any], counts: IntArray, entry: IntArray) -> Jagged:
    """The values of some entries of a jagged column."""
    return values[ranges(offsets_of(counts)[entry], counts[entry])], counts[entry]


def _subjets(chunk: Chunk, jets: Jets, dijets: Dijets) -> Subjets:
    """The subjets of both selected jets, in the order of events, j1 first."""
    rows, events = [], []
    for jet in (dijets.heavy, dijets.light):
        row, owner = jets.subjets(jet)
        rows.append(row)
        events.append(owner)
    order = np.argsort(np.concatenate(events), kind="stable")
    row, event = np.concatenate(rows)[order], np.concatenate(events)[order]
    column = {
        name: chunk.jagged(chunk.schema.roles[name])[0][row]
        for name in ("subjet_pt", "subjet_eta", "subjet_flavour", "b_score")
    }
    return Subjets(event, *column.values())
