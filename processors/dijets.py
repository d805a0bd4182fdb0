"""From the jets of a chunk to its dijet events: every cut as a mask, so that the cutflow knows N and N − 1."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.luminosity import GoldenJson
from data.samples import Year
from data.types import BoolArray, FloatArray, IntArray
from processors.chunks import Chunk
from processors.config import SelectionConfig
from processors.jets import Jets
from processors.root_files import named
from processors.selection import (
    REGIONS,
    Dijets,
    dijet_mass,
    heavier_first,
    in_hem,
    is_validation,
    kept_regions,
    leading_pair,
    region_of,
    soft_drop_mass,
)

Counts = dict[str, float]
Cutflow = dict[str, Counts]
"""Step to ``events`` and ``weighted`` (passing all steps up to this one) and ``n_minus_1_events`` and
``n_minus_1_weighted`` (passing all others, this one or not), in the order of the steps."""
TWO_JETS, BLIND = "two_jets", "blind"


@dataclass(frozen=True)
class Flags:
    """Decisions on whole events.

    Attributes
    ----------
    masks
        Step to a mask over the entries of a chunk, shape (size,), in the order of the steps.
    size
        Entries of the chunk.
    """

    masks: dict[str, BoolArray]
    size: int

    def failures(self) -> IntArray:
        """Number of steps that each entry fails.

        Returns
        -------
        array (size,) of int64
            0 for an entry that passes all.
        """
        failed = np.zeros(self.size, dtype=np.int64)
        for mask in self.masks.values():
            failed += ~mask
        return failed


@dataclass(frozen=True)
class Candidates:
    """The pair of jets of every event that has one, and which cuts it passes.

    Attributes
    ----------
    pairs
        All pairs, selected or not.
    masks
        Step to a mask over the pairs, in the order of the steps.
    """

    pairs: Dijets
    masks: dict[str, BoolArray]

    def passing(self, *, without: str = "") -> BoolArray:
        """Pairs that pass every step, but for one.

        Parameters
        ----------
        without
            The step that does not count; none if empty.

        Returns
        -------
        array (n_pairs,) of bool
            Mask over the pairs.
        """
        kept = np.ones(len(self.pairs.entry), dtype=np.bool_)
        for step, mask in self.masks.items():
            if step != without:
                kept &= mask
        return kept

    def selected(self) -> Dijets:
        """The pairs that pass every step."""
        return self.pairs.take(np.flatnonzero(self.passing()))


@dataclass(frozen=True)
class DijetCuts:
    """The cuts on pairs of jets in one sample."""

    cuts: SelectionConfig
    hem_veto: bool
    blind: bool

    @classmethod
    def of(cls, cuts: SelectionConfig, year: Year, kind: str) -> "DijetCuts":
        """The cuts for a sample of a year and a kind: only data are blinded."""
        return cls(cuts, year.hem_veto, cuts.blind and kind == "data")


def event_flags(chunk: Chunk, golden: GoldenJson | None) -> Flags:
    """Trigger, noise filters and certification of each entry.

    Parameters
    ----------
    chunk
        The chunk.
    golden
        Certified luminosity sections; None for simulation and where there is no golden JSON.

    Returns
    -------
    Flags
        ``golden_json`` where there is one, ``trigger`` and ``noise_filters``.

    Raises
    ------
    InputError
        If a branch is damaged, or holds a run or block that is none.
    """
    masks: dict[str, BoolArray] = {}
    if golden is not None:
        try:
            masks["golden_json"] = golden.certified(chunk.role("run"), chunk.role("luminosity_block"))
        except InputError as error:
            msg = f"{named(chunk.file, chunk.sample)}: {error}"
            raise InputError(msg) from None
    fired = np.zeros(chunk.size, dtype=np.bool_)
    for trigger in chunk.schema.triggers:
        fired |= chunk.column(trigger).astype(np.bool_)
    clean = np.ones(chunk.size, dtype=np.bool_)
    for flag in chunk.schema.filters:
        clean &= chunk.column(flag).astype(np.bool_)
    return Flags({**masks, "trigger": fired, "noise_filters": clean}, chunk.size)


def finite(chunk: Chunk, jets: Jets, role: str) -> FloatArray:
    """All jets' values of a role as float64.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets.
    role
        The quantity.

    Returns
    -------
    array (n_jets,) of float64
        In the unit of the role.

    Raises
    ------
    InputError
        If one is NaN or inf: it would decide at random.
    """
    values: npt.NDArray[np.floating] = jets[role]
    chunk.check_finite(role, values, jets.entry)
    return values.astype(np.float64)


def find_candidates(
    chunk: Chunk, jets: Jets, cuts: DijetCuts, alive: BoolArray, *, identified: bool = True
) -> Candidates:
    """The pair of the two hardest central jets of every entry, with the mask of every cut.

    Parameters
    ----------
    chunk, jets
        The chunk and its jets.
    cuts
        The cuts.
    alive
        Entries that are looked at, shape (n_entries,).
    identified
        Take only jets of tight identification.

    Returns
    -------
    Candidates
        One pair of each entry that has two such jets.

    Raises
    ------
    InputError
        If a branch that decides holds NaN or inf.
    """
    limits = cuts.cuts
    pt, eta = finite(chunk, jets, "pt"), finite(chunk, jets, "eta")
    good = alive[jets.entry] & (np.abs(eta) < limits.jet_eta_max)
    if identified:
        good &= jets.tight()
    entry, first, second, third_pt = leading_pair(pt, jets.entry, good, chunk.size)
    mass = [soft_drop_mass(jets.of("m", jet)) for jet in (first, second)]
    heavy, light = heavier_first((first, second), (mass[0], mass[1]))
    swapped = heavy != first
    masses = (np.where(swapped, mass[1], mass[0]), np.where(swapped, mass[0], mass[1]))
    pts, etas = (pt[heavy], pt[light]), (eta[heavy], eta[light])
    phis = (jets.of("phi", heavy).astype(np.float64), jets.of("phi", light).astype(np.float64))
    mjj = dijet_mass(pts, etas, phis, masses)
    delta_eta = np.abs(etas[0] - etas[1])
    region = region_of(delta_eta, is_validation(pts, mjj, delta_eta, third_pt), limits)
    masks: dict[str, BoolArray] = {}
    if cuts.blind:
        masks[BLIND] = delta_eta >= limits.delta_eta_max
    masks["jet_pt"] = np.minimum(*pts) > limits.jet_pt_min
    if cuts.hem_veto:
        masks["hem_veto"] = ~(in_hem(etas[0], phis[0]) | in_hem(etas[1], phis[1]))
    masks["mjj"] = mjj > limits.mjj_min
    masks["delta_eta"] = np.isin(region, [REGIONS.index(name) for name in kept_regions(limits)])
    return Candidates(Dijets(entry, heavy, light, mjj, delta_eta, region), masks)


def cutflow_of(flags: Flags, found: Candidates, unidentified: Candidates, weight: FloatArray) -> Cutflow:
    """Events and weights after each step, and with each step left out.

    Parameters
    ----------
    flags
        Decisions on whole events.
    found, unidentified
        Pairs of identified jets, and of any jets, among the entries that fail at most one of the flags.
    weight
        float64, one an entry.

    Returns
    -------
    dict
        Step to its counts; ``all`` and ``blind`` have no N − 1.
    """
    failures = flags.failures()
    cutflow: Cutflow = {"all": _counts(weight)}
    passed = np.ones(flags.size, dtype=np.bool_)
    in_pair = found.pairs.entry
    kept = found.passing()
    for step, mask in flags.masks.items():
        passed &= mask
        others = failures[in_pair] == (~mask[in_pair]).astype(np.int64)
        cutflow[step] = _counts(weight[passed]) | _n_minus_1(weight[in_pair[kept & others]])
    clean = failures[in_pair] == 0
    open_entry = failures == 0
    if BLIND in found.masks:
        # Other jets may be hardest without identification: that does not take the event out of the signal region.
        open_entry[in_pair[~found.masks[BLIND]]] = False
    any_jets = unidentified.pairs.entry[unidentified.passing()]
    cutflow[TWO_JETS] = _counts(weight[in_pair[clean]]) | _n_minus_1(weight[any_jets[open_entry[any_jets]]])
    here = clean.copy()
    for step, mask in found.masks.items():
        here &= mask
        cutflow[step] = _counts(weight[in_pair[here]])
        if step != BLIND:
            others = found.passing(without=step) & clean
            cutflow[step] |= _n_minus_1(weight[in_pair[others]])
    return cutflow


def _counts(weight: FloatArray) -> Counts:
    return {"events": len(weight), "weighted": float(weight.sum())}


def _n_minus_1(weight: FloatArray) -> Counts:
    return {"n_minus_1_events": len(weight), "n_minus_1_weighted": float(weight.sum())}
