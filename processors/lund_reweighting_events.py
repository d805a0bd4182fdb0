"""Lund-plane weights of the selected events of a chunk."""

from dataclasses import dataclass

import numpy as np

from data.types import FloatArray
from processors.chunks import Chunk
from processors.jets import Jets
from processors.lund_reweighting import TOY_SOURCES, LundReweighter, event_products, reweighter
from processors.lund_reweighting_config import LundConfig, Source
from processors.lund_reweighting_normalisation import Normalisation
from processors.lund_reweighting_prongs import BOTTOM, Prongs, Quarks, find_prongs
from processors.ragged import owners
from processors.selection import Dijets

STEM = "lund"
OUTGOING = 23
"""Pythia's status of the partons that leave the hard process, the decays of its resonances included."""
_HARD_PROCESS = 1 << 7  # bit isHardProcess of NanoAOD's statusFlags


@dataclass(frozen=True)
class LundFactors:
    """Weights of events.

    Attributes
    ----------
    nominal : array (n_events,)
        Nominal weights.
    varied
        Variation (``lund_sys_up``) to weights (n_events,).
    toys
        Source to weights in each toy (T, n_events).
    """

    nominal: FloatArray
    varied: dict[str, FloatArray]
    toys: dict[Source, FloatArray]


@dataclass(frozen=True)
class LundConstants:
    """What is known of a sample only when all of its events have been seen.

    Attributes
    ----------
    plane : array (P, X, Y)
        Density of its Lund plane.
    centre
        Geometric mean of its jets' distortion.
    single
        Normalisation of the nominal weights, then of each variation.
    toys
        Source to the normalisation of its toys.
    """

    plane: FloatArray
    centre: float
    single: Normalisation
    toys: dict[Source, Normalisation]


@dataclass(frozen=True)
class SampleReweighting:
    """The reweighting of one sample, its constants once they are known."""

    config: LundConfig
    seed: int
    constants: LundConstants | None = None

    def prongs(self, chunk: Chunk, jets: Jets, dijets: Dijets) -> Prongs:
        """The prongs of both jets of the selected events: the heavier jets of all, then the lighter ones.

        Raises
        ------
        InputError
            If a particle or a quark is damaged, or the ratio maps cannot be read.
        """
        maps = reweighter(self.config).maps
        rows = np.concatenate([dijets.heavy, dijets.light])
        axes = tuple(jets.of(name, rows).astype(np.float64) for name in ("eta", "phi"))
        particles = jets.particle_jets.particles_of(rows).weighted()
        quarks = quarks_of(chunk).take(jets.entry[rows])
        return find_prongs(particles, (axes[0], axes[1]), quarks, maps.binning, maps.history)

    def factors(self, prongs: Prongs, pt: FloatArray, *, vary: bool) -> LundFactors:
        """Normalised weights of events.

        Parameters
        ----------
        prongs
            Both jets of each event, as of `prongs`.
        pt
            Transverse momentum (GeV) of each event's harder jet.
        vary
            Whether variations and toys are wanted.

        Returns
        -------
        LundFactors
            Nominal and, where wanted, varied weights, shape (n_events,), and those of toys, shape (T,
            n_events).

        Raises
        ------
        ValueError
            If the constants are not known yet.
        """
        if self.constants is None:
            msg = "constants is None: the sample has not been looked through yet; look through it first (with_lund_weights)"
            raise ValueError(msg)
        weigh = reweighter(self.config, self.seed, self.constants.plane, self.constants.centre)
        if not vary:
            nominal = event_products(weigh.nominal(prongs))[None]
            return LundFactors(self.constants.single.only(0).apply(nominal, pt)[0], {}, {})
        names, raw = single_weights(weigh, prongs)
        single = self.constants.single.apply(raw, pt)
        toys = {
            source: self.constants.toys[source].apply(event_products(weights), pt)
            for source, weights in weigh.toy_weights(prongs).items()
        }
        varied = {f"{STEM}_{name}": row for name, row in zip(names, single[1:], strict=True)}
        return LundFactors(single[0], varied, toys)


def single_weights(weigh: LundReweighter, prongs: Prongs) -> tuple[tuple[str, ...], FloatArray]:
    """Raw weights of events, the nominal ones and those of each variation without toys.

    Parameters
    ----------
    weigh
        The reweighting.
    prongs
        Both jets of each event.

    Returns
    -------
    names
        Those of the variations.
    weights
        Shape (1 + number of names, n_events), the nominal ones first.
    """
    varied = weigh.varied(prongs)
    return tuple(varied), event_products(np.stack([weigh.nominal(prongs), *varied.values()]))


def quarks_of(chunk: Chunk) -> Quarks:
    """The quarks, u to b, that leave the hard process of each entry of a chunk.

    By Pythia's status 23, and by the flag ``isHardProcess`` where the file has it.

    Raises
    ------
    InputError
        If a direction is NaN or inf, or the branches differ in length.
    """
    status, counts = chunk.jagged(chunk.schema.roles["quark_status"])
    column = {name: chunk.jagged_as(f"quark_{name}", "quark_status", counts) for name in ("eta", "phi", "id")}
    identity = column["id"].astype(np.int64)
    kept = (np.abs(status.astype(np.int64)) == OUTGOING) & (identity != 0) & (np.abs(identity) <= BOTTOM)
    if "quark_flags" in chunk.schema.roles:
        flags = chunk.jagged_as("quark_flags", "quark_status", counts).astype(np.int64)
        kept &= (flags & _HARD_PROCESS) != 0
    entry = owners(counts)[kept]
    for name in ("eta", "phi"):
        chunk.check_finite(f"quark_{name}", column[name][kept], entry)
    eta, phi = (column[name][kept].astype(np.float64) for name in ("eta", "phi"))
    return Quarks(np.bincount(entry, minlength=len(counts)), eta, phi, identity[kept])


def toy_variations(sources: tuple[Source, ...]) -> dict[Source, tuple[str, str]]:
    """Source with toys to the names of its variations up and down, in a fixed order."""
    return {
        source: (f"{STEM}_{source}_up", f"{STEM}_{source}_down")
        for source in TOY_SOURCES
        if source in sources
    }
