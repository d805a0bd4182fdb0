"""The Lund plane of awkward arrays jets × particles: declusterings and their density."""

import math
from typing import Any, Literal, NamedTuple

import awkward as ak
import numpy as np

from data.errors import ConfigError
from data.types import FloatArray, IntArray
from processors.kernels.buffers import flat_jets
from processors.kernels.clustering import CAMBRIDGE, KT
from processors.kernels.lund import flat_lund
from processors.option_checks import are_counts, check_positive

FIELDS = ("delta", "kt", "z", "mass", "psi", "pt_hard", "pt_soft")
LN_R0_DELTA_RANGE = (-1.0, 8.0)
LN_KT_RANGE = (-5.0, math.log(1000.0))
"""Ranges of the plane in CMS's measurement of it, with 20 × 20 bins (CMS, arXiv:2507.07775)."""


def splitting_records(splittings: FloatArray, counts: IntArray, R0: float) -> Any:
    """Turn the buffers of a kernel into the records of `lund_declustering`.

    Parameters
    ----------
    splittings : array (N_LUND, n_splittings)
        Quantities of the splittings of all jets, end to end.
    counts : array (n_jets,)
        Number of splittings of each jet.
    R0 : float
        Jet radius (rad) of ln(R0/Δ).

    Returns
    -------
    awkward array (n_jets, splittings) of records
    """
    columns = dict(zip(FIELDS, splittings, strict=True))
    with np.errstate(divide="ignore"):
        columns["ln_r0_delta"] = math.log(R0) - np.log(columns["delta"])
        columns["ln_kt"] = np.log(columns["kt"])
    return ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})


def lund_declustering(
    particles: Any,
    *,
    algorithm: Literal["cambridge", "kt"] = "cambridge",
    R0: float = 0.8,
    primary: bool = True,
    weights: Any = None,
) -> Any:
    """Lund declusterings of jets: reclustering (E-scheme, R → ∞), then back along the branches.

    The harder (pT) branch of each splitting is the emitter, the softer one the emission.

    Parameters
    ----------
    particles : awkward array (n_jets, particles) of records
        ``pt eta phi`` or ``px py pz`` with ``mass`` or ``E`` (GeV, rad).
    algorithm : {"cambridge", "kt"}
        Cambridge/Aachen, as the Lund plane is defined, or the history of the kT algorithm.
    R0 : float
        Jet radius (rad) of ln(R0/Δ).
    primary : bool
        Follow the harder branch only; else take all branches.
    weights : awkward array (n_jets, particles), optional
        Weights of the momenta (PUPPI).

    Returns
    -------
    awkward array (n_jets, splittings) of records
        ``delta`` (rad, in rapidity and azimuth), ``kt`` = pT,soft Δ (GeV), ``z`` = pT,soft / (pT,soft + pT,hard),
        ``mass`` (GeV) of the pair, ``psi`` = atan2(Δy, Δφ) (rad) of the softer as seen from the harder branch,
        ``pt_hard pt_soft`` (GeV), ``ln_r0_delta`` = ln(R0/Δ) and ``ln_kt`` = ln(kT/GeV) (±∞ where Δ is 0); the last
        recombination comes first, with Cambridge/Aachen the widest angle. Without ``primary`` also ``order``: 1 on
        the primary plane, one more each time that a softer branch is taken. Jets of one or no particle (with
        pT > 0) have no splittings.

    Raises
    ------
    ConfigError
        If an option is out of range.
    InputError
        If momenta or weights are missing, not finite or negative; the message names the jet.

    References
    ----------
    F. Dreyer, G. Salam, G. Soyez, JHEP 12 (2018) 064.
    """
    if algorithm not in {"cambridge", "kt"}:
        msg = f"algorithm = {algorithm!r} must be 'cambridge' or 'kt'"
        raise ConfigError(msg)
    check_positive(R0=R0)
    jets = flat_jets(particles, weights)
    splittings, order, counts = flat_lund(*jets, KT if algorithm == "kt" else CAMBRIDGE, primary)
    records = splitting_records(splittings, counts, R0)
    return records if primary else ak.with_field(records, ak.unflatten(order, counts), "order")


class LundImage(NamedTuple):
    """Density of splittings in the Lund plane.

    Attributes
    ----------
    counts : array (bins_x, bins_y)
        Splittings in each bin of ln(R0/Δ) and ln(kT/GeV), or the sum of their weights.
    density : array (bins_x, bins_y)
        Splittings per jet (or unit of weight) and unit of area; 0 without jets.
    ln_r0_delta, ln_kt : array (bins + 1,)
        Edges of the bins.
    """

    counts: FloatArray
    density: FloatArray
    ln_r0_delta: FloatArray
    ln_kt: FloatArray


def lund_image(
    splittings: Any,
    *,
    bins: tuple[int, int] = (20, 20),
    ln_r0_delta: tuple[float, float] = LN_R0_DELTA_RANGE,
    ln_kt: tuple[float, float] = LN_KT_RANGE,
    jet_weights: FloatArray | None = None,
) -> LundImage:
    """Histogram of the Lund plane of many jets.

    Parameters
    ----------
    splittings : awkward array (n_jets, splittings) of records
        ``ln_r0_delta`` and ``ln_kt``, as from `lund_declustering`; splittings outside the ranges are not counted.
    bins : (int, int)
        Numbers of bins in ln(R0/Δ) and in ln(kT/GeV).
    ln_r0_delta, ln_kt : (float, float)
        Ranges.
    jet_weights : array (n_jets,), optional
        A weight for each jet; 1 if not given.

    Returns
    -------
    LundImage

    Raises
    ------
    ConfigError
        If bins, a range or the number of weights make no sense.

    References
    ----------
    F. Dreyer, G. Salam, G. Soyez, JHEP 12 (2018) 064; CMS Collaboration, arXiv:2507.07775 (the default bins).
    """
    if np.shape(bins) != (2,) or not are_counts(bins):
        msg = f"bins = {bins!r} must be two integers of at least 1"
        raise ConfigError(msg)
    for name, (low, high) in (("ln_r0_delta", ln_r0_delta), ("ln_kt", ln_kt)):
        if not low < high:
            msg = f"{name} = ({low}, {high}) must be a range of increasing numbers"
            raise ConfigError(msg)
    weights = np.ones(len(splittings)) if jet_weights is None else np.asarray(jet_weights, dtype=np.float64)
    if weights.shape != (len(splittings),):
        msg = f"jet_weights has shape {weights.shape}: give one weight for each of the {len(splittings)} jets"
        raise ConfigError(msg)
    x, y = (ak.to_numpy(ak.flatten(splittings[name], axis=1)) for name in ("ln_r0_delta", "ln_kt"))
    inside = (x >= ln_r0_delta[0]) & (x <= ln_r0_delta[1]) & (y >= ln_kt[0]) & (y <= ln_kt[1])
    of_splitting = np.repeat(weights, ak.to_numpy(ak.num(splittings, axis=1)))[inside]
    counts, edges_x, edges_y = np.histogram2d(
        x[inside], y[inside], bins=bins, range=(ln_r0_delta, ln_kt), weights=of_splitting
    )
    area = np.outer(np.diff(edges_x), np.diff(edges_y))
    total = float(np.sum(weights))
    density = counts / (total * area) if total else np.zeros_like(counts)
    return LundImage(counts, density, edges_x, edges_y)
