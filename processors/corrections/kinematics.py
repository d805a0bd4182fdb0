"""Corrections that move jets: energy scale and resolution, scale and resolution of the soft-drop mass.

The energy scale and resolution (JES, JER) multiply the transverse momentum and the soft-drop mass of a jet by
the same factor, those of the mass (JMS, JMR) the mass alone, as in CMS EXO-22-026 (arXiv:2412.03747).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from data.errors import InputError
from data.eventid import event_seed, splitmix64
from data.samples import Kind
from data.types import BoolArray, FloatArray, IntArray
from processors.corrections.config import CorrectionsConfig, JerConfig, JesConfig, JmsConfig, SmearingConfig
from processors.corrections.files import CorrectionTable, Value, correction_table
from processors.ragged import wrap

_JER_STREAM = 0x4A4552  # "JER": independent random numbers for the two smearings
_JMR_STREAM = 0x4A4D52  # "JMR"
_SIGMAS = 3.0  # a generator jet matches within this many resolutions


@dataclass(frozen=True)
class JetInputs:
    """Jets in one row, of any number of events; one element a jet.

    Attributes
    ----------
    pt, eta, phi, m
        As stored: GeV, –, rad, soft-drop mass in GeV (no negative ones).
    run, luminosity_block, event
        Id of the jet's event.
    number
        Position of the jet among all stored jets of its event: with the id it fixes its random numbers.
    raw_factor
        1 − pT(raw) / pT(stored).
    area, rho
        Jet area; momentum density of the event, GeV.
    gen_pt, gen_eta, gen_phi
        The generator jet that the file links to, NaN where there is none.
    source
        File and sample of the jets, for messages; empty where they have none.
    """

    pt: npt.NDArray[np.floating]
    eta: npt.NDArray[np.floating]
    phi: npt.NDArray[np.floating]
    m: npt.NDArray[np.floating]
    run: npt.NDArray[np.integer]
    luminosity_block: npt.NDArray[np.integer]
    event: npt.NDArray[np.integer]
    number: IntArray
    raw_factor: npt.NDArray[np.floating] | None = None
    area: npt.NDArray[np.floating] | None = None
    rho: npt.NDArray[np.floating] | None = None
    gen_pt: npt.NDArray[np.floating] | None = None
    gen_eta: npt.NDArray[np.floating] | None = None
    gen_phi: npt.NDArray[np.floating] | None = None
    source: str = ""

    def describe(self, jet: int) -> str:
        """Name a jet for messages."""
        ids = f"{self.run[jet]}:{self.luminosity_block[jet]}:{self.event[jet]}"
        of_source = f" of {self.source}" if self.source else ""
        return f"jet {self.number[jet]} of event {ids} (run:luminosity block:event){of_source}"

    def describe_all(self) -> str:
        """Name all the jets together for messages."""
        return f"the jets of {self.source}" if self.source else "these jets"

    def values(self) -> dict[str, Value]:
        """What correction files may ask for, under the names of CMS."""
        return {
            "JetPt": self.pt,
            "JetEta": self.eta,
            "JetPhi": self.phi,
            "JetA": self.area,
            "Rho": self.rho,
            "run": self.run,
        }


class UpDown(NamedTuple):
    """Factors on each jet: nominal and varied by one standard deviation.

    Attributes
    ----------
    nominal, up, down
        Shape (n_jets,).
    """

    nominal: FloatArray
    up: FloatArray
    down: FloatArray


def varied_jets(
    jets: JetInputs, config: CorrectionsConfig | None, kind: Kind, seed: int = 0
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Corrected transverse momenta and soft-drop masses, nominal and with each kinematic variation.

    Uncertainties and resolutions are looked up at the momentum after the nominal energy scale; the factors of
    JES, JER, JMS and JMR then multiply. One random number a jet and purpose serves nominal, up and down.

    Parameters
    ----------
    jets
        The jets as stored.
    config
        Corrections of the year; None leaves the jets as they are.
    kind
        Data get the nominal energy scale of data at most.
    seed
        Another seed gives other random numbers.

    Returns
    -------
    dict
        Name of the variation, in the order of ``variation_names``, to (pT, soft-drop mass): float64, GeV, one
        element a jet. The result for a jet depends on that jet alone, not on the others beside it.

    Raises
    ------
    InputError
        If a correction file or something that it needs is missing or wrong, or a jet's pT is not positive.
    """
    jets = replace(jets, pt=np.asarray(jets.pt, dtype=np.float64), m=np.asarray(jets.m, dtype=np.float64))
    _check_momenta(jets)
    if config is not None and config.jes is not None:
        scale = _energy_scale(jets, config.jes, kind)
        jets = replace(jets, pt=jets.pt * scale, m=jets.m * scale)
    pt, mass = np.asarray(jets.pt), np.asarray(jets.m)
    if config is None or kind == "data":
        return {"nominal": (pt, mass)}
    one = np.ones(len(pt))
    unit = UpDown(one, one, one)
    jer = unit if config.jer is None else _energy_resolution(jets, config.jer, seed)
    jms = unit if config.jms is None else _mass_scale(jets, config.jms)
    jmr = unit if config.jmr is None else _mass_resolution(jets, config.jmr, seed)
    pt, mass = pt * jer.nominal, mass * jer.nominal * jms.nominal * jmr.nominal
    out = {"nominal": (pt, mass)}
    for stem, source in {} if config.jes is None else config.jes.sources().items():
        shift = _uncertainty(jets, config.jes, source)
        out[f"{stem}_up"] = (pt * (1 + shift), mass * (1 + shift))
        out[f"{stem}_down"] = (pt * (1 - shift), mass * (1 - shift))
    if config.jer is not None:
        for side, factor in (("up", jer.up), ("down", jer.down)):
            out[f"jer_{side}"] = (jets.pt * factor, jets.m * factor * jms.nominal * jmr.nominal)
    for stem, section, part, others in (
        ("jms", config.jms, jms, jmr.nominal),
        ("jmr", config.jmr, jmr, jms.nominal),
    ):
        if section is not None:
            for side, factor in (("up", part.up), ("down", part.down)):
                out[f"{stem}_{side}"] = (pt, jets.m * jer.nominal * factor * others)
    return out


def smearing_factors(
    relative_difference: FloatArray,
    matched: BoolArray,
    resolution: FloatArray,
    scale_factor: FloatArray,
    normal: FloatArray,
) -> FloatArray:
    """Factors that smear jets of simulation to the resolution of data: the hybrid method of CMS.

    Parameters
    ----------
    relative_difference
        (pT − pT of the generator jet) / pT, shape (n_jets,); read only where there is a match.
    matched
        Whether a generator jet matches, shape (n_jets,).
    resolution
        σ of pT / pT(generated) in simulation, shape (n_jets,).
    scale_factor
        s: resolution in data over that in simulation, shape (n_jets,).
    normal
        A standard normal number for each jet.

    Returns
    -------
    numpy.ndarray
        float64, not negative: 1 + (s − 1)·(pT − pT,gen)/pT with a match, else 1 + N·σ·√max(s² − 1, 0).

    References
    ----------
    CMS, "Jet energy scale and resolution in the CMS experiment in pp collisions at 8 TeV", arXiv:1607.03663.
    """
    scaled = 1 + (scale_factor - 1) * np.where(matched, relative_difference, 0.0)
    smeared = 1 + normal * resolution * np.sqrt(np.maximum(scale_factor**2 - 1, 0.0))
    return np.maximum(np.where(matched, scaled, smeared), 0.0)


def random_normals(jets: JetInputs, stream: int, seed: int) -> FloatArray:
    """A standard normal number for each jet from its event id and its number in the event.

    Parameters
    ----------
    jets
        The jets; only ids and numbers count.
    stream
        Purpose: other purposes get independent numbers.
    seed
        Start of the chain.

    Returns
    -------
    numpy.ndarray
        float64, from 52 random bits each.
    """
    state = splitmix64(event_seed(jets.run, jets.luminosity_block, jets.event, seed) ^ np.uint64(stream))
    state = splitmix64(state ^ np.asarray(jets.number).astype(np.uint64))
    # With 52 bits adding one half is exact: never 0 nor 1, where the normal number is infinite.
    uniform = ((state >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    normal: FloatArray = ndtri(uniform)
    return normal


def _check_momenta(jets: JetInputs) -> None:
    bad = np.flatnonzero(~((jets.pt > 0) & np.isfinite(jets.pt)))
    if len(bad):
        msg = (
            f"{jets.describe(int(bad[0]))} has pT {jets.pt[bad[0]]}, which no jet has; repair the input file"
        )
        raise InputError(msg)


def _energy_scale(jets: JetInputs, jes: JesConfig, kind: Kind) -> FloatArray:
    """Factor on the stored momentum and mass."""
    name = jes.correction if kind == "simulation" else jes.data_correction
    if jes.file is None or name is None:
        return np.ones(len(jets.pt))
    table = correction_table(jes.file, name)
    to_raw = np.ones(len(jets.pt))
    if jes.undo_stored:
        if jets.raw_factor is None:
            msg = f"{table} starts from raw jets, but {jets.describe_all()} have no rawFactor; set jes.undo_stored: false"
            raise InputError(msg)
        to_raw = 1 - np.asarray(jets.raw_factor, dtype=np.float64)
    values = jets.values() | {"JetPt": jets.pt * to_raw}
    factor = to_raw * table.evaluate(values, len(jets.pt), jets.describe)
    bad = np.flatnonzero(~(factor > 0))
    if len(bad):
        where = jets.describe(int(bad[0]))
        msg = (
            f"{table} gives the factor {factor[bad[0]]:g} for {where}; it must be positive: use another file"
        )
        raise InputError(msg)
    return factor


def _uncertainty(jets: JetInputs, jes: JesConfig | None, source: str | float) -> FloatArray:
    if jes is None or jes.file is None or not isinstance(source, str):
        return np.full(len(jets.pt), float(source))
    return correction_table(jes.file, source).evaluate(jets.values(), len(jets.pt), jets.describe)


def _energy_resolution(jets: JetInputs, jer: JerConfig, seed: int) -> UpDown:
    resolution, factors = _resolution(jets, jer)
    difference, matched = np.zeros(len(jets.pt)), np.zeros(len(jets.pt), dtype=np.bool_)
    if jer.method == "hybrid":
        difference, matched = _match(jets, resolution, jer.radius)
    normal = random_normals(jets, _JER_STREAM, seed)
    return UpDown(*(smearing_factors(difference, matched, resolution, s, normal) for s in factors))


def _mass_resolution(jets: JetInputs, jmr: SmearingConfig, seed: int) -> UpDown:
    resolution, factors = _resolution(jets, jmr)
    none = np.zeros(len(jets.pt))
    normal = random_normals(jets, _JMR_STREAM, seed)
    unmatched = none.astype(np.bool_)
    return UpDown(*(smearing_factors(none, unmatched, resolution, s, normal) for s in factors))


def _mass_scale(jets: JetInputs, jms: JmsConfig) -> UpDown:
    if jms.file is None or not isinstance(jms.scale, str):
        return _flat(float(jms.scale), jms.uncertainty, len(jets.pt))
    return _from_file(correction_table(jms.file, jms.scale), jets, jms.systematics)


def _resolution(jets: JetInputs, config: SmearingConfig) -> tuple[FloatArray, UpDown]:
    """Relative resolution in simulation and scale factors to data."""
    size = len(jets.pt)
    values, file = jets.values(), config.file
    if file is not None and isinstance(config.resolution, str):
        resolution = correction_table(file, config.resolution).evaluate(values, size, jets.describe)
    else:
        resolution = np.full(size, float(config.resolution))
    if file is None or not isinstance(config.scale_factor, str):
        return resolution, _flat(float(config.scale_factor), config.uncertainty, size)
    return resolution, _from_file(correction_table(file, config.scale_factor), jets, config.systematics)


def _flat(nominal: float, uncertainty: float | None, size: int) -> UpDown:
    shift = uncertainty or 0.0
    return UpDown(*(np.full(size, value) for value in (nominal, nominal + shift, nominal - shift)))


def _from_file(table: CorrectionTable, jets: JetInputs, systematics: tuple[str, str, str]) -> UpDown:
    values: Mapping[str, Value] = jets.values()
    return UpDown(
        *(
            table.evaluate({**values, "systematic": systematic}, len(jets.pt), jets.describe)
            for systematic in systematics
        )
    )


def _match(jets: JetInputs, resolution: FloatArray, radius: float) -> tuple[FloatArray, BoolArray]:
    """Relative difference to the generator jet, and whether it matches: ΔR < R/2, |ΔpT| < 3σ·pT."""
    if jets.gen_pt is None or jets.gen_eta is None or jets.gen_phi is None:
        msg = f"jer.method 'hybrid' needs generator jets, which {jets.describe_all()} lack; set jer.method: stochastic"
        raise InputError(msg)
    difference = (jets.pt - np.asarray(jets.gen_pt, dtype=np.float64)) / jets.pt
    delta_phi = wrap(jets.phi.astype(np.float64) - jets.gen_phi)
    near = np.hypot(jets.eta.astype(np.float64) - jets.gen_eta, delta_phi) < radius / 2
    # Comparisons with NaN, where there is no generator jet, are false.
    return difference, near & (np.abs(difference) < _SIGMAS * resolution)
