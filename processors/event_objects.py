"""Jets, b jets, muons, electrons, photons and missing momentum of an event, selected for event-wide methods."""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from data.errors import InputError
from data.types import FloatArray, IntArray
from processors.config import RmmConfig
from processors.ragged import offsets_of, wrap

MOMENTUM = ("pt", "eta", "phi", "mass")


def finite_column(records: Any, name: str, field: str) -> tuple[FloatArray, IntArray]:
    """One field of the objects of all events, end to end.

    Parameters
    ----------
    records : awkward array (n_events, objects) of records
    name, field : str
        What the objects are, and the field.

    Returns
    -------
    column : array (n_objects,) float64
    offsets : array (n_events + 1,)
        First row of each event, and the end.

    Raises
    ------
    InputError
        If the field is not there, or a value is missing or not finite; the message names object and event.
    """
    if field not in ak.fields(records):
        msg = (
            f"{name} have no field '{field}', only {', '.join(ak.fields(records)) or 'none'}: read its branch"
        )
        raise InputError(msg)
    counts = ak.to_numpy(ak.num(records, axis=1)).astype(np.int64)
    offsets = offsets_of(counts)
    column = ak.to_numpy(ak.fill_none(ak.flatten(records[field], axis=1), np.nan)).astype(np.float64)
    refuse_values(~np.isfinite(column), column, offsets, (name, field))
    return column, offsets


def refuse_values(bad: Any, column: FloatArray, offsets: IntArray, what: tuple[str, str]) -> None:
    """Raise on the first ``bad`` row, naming the object (counted from 0) and its event.

    Parameters
    ----------
    bad : array (n_objects,) of bool
    column, offsets
        As from ``finite_column``.
    what : tuple of str
        Name of the objects and of the field.

    Raises
    ------
    InputError
        If any row is bad.
    """
    if np.any(bad):
        row = int(np.argmax(bad))
        event = int(np.searchsorted(offsets, row, side="right")) - 1
        msg = (
            f"{what[1]} number {row - offsets[event]} of the {what[0]} in event {event} is {column[row]:g}: "
            "drop the object or the event"
        )
        raise InputError(msg)


def _central(records: Any, name: str, pt_min: float, config: RmmConfig) -> Any:
    """Objects within the cuts on pT, η and isolation."""
    fields = ["pt", "eta", "phi"]
    if name != "jets" and config.isolation_max is not None:
        fields.append("isolation")
    fields += [field for field in ("mass", "b_score") if field in ak.fields(records) or name == "jets"]
    columns = {}
    for field in fields:
        values, offsets = finite_column(records, name, field)
        columns[field] = ak.unflatten(values, np.diff(offsets))
    objects = ak.zip(columns)
    if "mass" not in fields:  # NanoAOD stores none of photons
        objects = ak.with_field(objects, ak.zeros_like(objects.pt), "mass")
    keep = (objects.pt > pt_min) & (abs(objects.eta) < config.eta_max)
    if "isolation" in fields:
        keep = keep & (objects.isolation < config.isolation_max)
    return objects[keep]


def _far_from(objects: Any, others: Any, delta_r: float) -> Any:
    """Objects with none of the others closer than ``delta_r`` (rad)."""
    one, other = ak.unzip(ak.cartesian([objects, others], nested=True))
    near = (one.eta - other.eta) ** 2 + wrap(one.phi - other.phi) ** 2 < delta_r**2
    return objects[~ak.any(near, axis=2)]


def event_objects(
    jets: Any, muons: Any, electrons: Any, photons: Any, met: Any, config: RmmConfig
) -> Mapping[str, Any]:
    """Choose the objects of the rapidity–mass matrix.

    Parameters
    ----------
    jets : awkward array (n_events, jets) of records
        ``pt eta phi mass b_score`` (GeV, rad) of small jets.
    muons, electrons, photons : awkward array (n_events, objects) of records
        ``pt eta phi`` and ``isolation`` (relative), and ``mass``, which is 0 where the field is missing.
    met : awkward array (n_events,) of records
        ``pt phi`` of the missing transverse momentum (GeV, rad).
    config : RmmConfig
        The cuts. Photons close to a kept muon or electron are always dropped.

    Returns
    -------
    mapping of str to awkward array
        ``jets``, ``bjets``, ``muons``, ``electrons``, ``photons``: (n_events, objects) of records ``pt eta phi mass``,
        float64, in the order of the input; ``met``: (n_events,) of records ``pt phi``. No jet is in two of them.

    Raises
    ------
    InputError
        If a field is not there, or a value is missing or not finite.
    """
    chosen = {
        "jets": _central(jets, "jets", config.jet_pt_min, config),
        "muons": _central(muons, "muons", config.lepton_pt_min, config),
        "electrons": _central(electrons, "electrons", config.lepton_pt_min, config),
        "photons": _central(photons, "photons", config.photon_pt_min, config),
    }
    leptons_and_photons = ("muons", "electrons", "photons")
    if config.overlap == "keep_jets":
        for kind in leptons_and_photons:
            chosen[kind] = _far_from(chosen[kind], chosen["jets"], config.delta_r_min)
    for lepton in ("muons", "electrons"):
        chosen["photons"] = _far_from(chosen["photons"], chosen[lepton], config.delta_r_min)
    if config.overlap == "keep_leptons":
        for kind in leptons_and_photons:
            chosen["jets"] = _far_from(chosen["jets"], chosen[kind], config.delta_r_min)
    is_b = chosen["jets"].b_score > config.b_score_min
    chosen |= {"bjets": chosen["jets"][is_b], "jets": chosen["jets"][~is_b]}
    momenta = {name: records[list(MOMENTUM)] for name, records in chosen.items()}
    pt, phi = missing_momentum(met)
    return {**momenta, "met": ak.zip({"pt": np.where(pt < config.met_min, 0.0, pt), "phi": phi})}


def missing_momentum(met: Any) -> tuple[FloatArray, FloatArray]:
    """Missing transverse momentum and its azimuth.

    Parameters
    ----------
    met : awkward array (n_events,) of records
        ``pt phi`` (GeV, rad).

    Returns
    -------
    pt, phi : array (n_events,) float64

    Raises
    ------
    InputError
        If a field is not there, or a value is missing, not finite, or a negative pT; the message names the event.
    """
    per_event = ak.unflatten(met, np.ones(len(met), dtype=np.int64))
    pt, offsets = finite_column(per_event, "missing momenta", "pt")
    refuse_values(pt < 0.0, pt, offsets, ("missing momenta", "pt"))
    return pt, finite_column(per_event, "missing momenta", "phi")[0]
