"""Pythia 8: settings of each process, veto before the shower, and events as flat arrays."""

import math
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, OddjetError
from data.simulation.config import Generator, Qcd, WprimeToBprimeTop, Xyy
from data.simulation.veto import make_veto
from data.types import FloatArray, IntArray

PB_PER_MB = 1e9
_CHUNK = 250  # events a Pythia batch: bounds the memory that full event records take
_SURVEY_EVENTS = 20_000
_HEAVY_PT_MIN = 5.0  # GeV; softer b and c hadrons do not tag a jet
_W_PRIME = 34
_Y = 9000001
_Y_PRIME = 9000002
_B_PRIME = 7


@dataclass(frozen=True)
class Particles:
    """Particles of many events, end to end: row → event, PDG identity, four-momentum (GeV)."""

    event: IntArray
    pdg_id: IntArray
    px: FloatArray
    py: FloatArray
    pz: FloatArray
    e: FloatArray

    def __getitem__(self, rows: npt.NDArray[Any]) -> "Particles":
        """The rows of a mask or of positions, in their order."""
        return Particles(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Generated:
    """Generated events before the detector.

    ``stable`` are the final particles, ``heavy`` the b and c hadrons with pT > 5 GeV, ``hard`` the particles of the
    hard process (with ``hard_status`` and ``hard_mother``, the position in the same event or −1).
    """

    n_events: int
    n_tried: int
    cross_section_pb: float
    stable: Particles
    heavy: Particles
    hard: Particles
    hard_status: IntArray
    hard_mother: IntArray


def _settings(process: Qcd | Xyy | WprimeToBprimeTop, mhat: tuple[float, float]) -> list[str]:
    if isinstance(process, Qcd):
        low, high = mhat
        # Massless partons with |Δη| below the veto have at least this pT: no event is lost.
        pt_min = low / (2 * math.cosh(process.delta_eta_max / 2))
        return [
            "HardQCD:all = on",
            f"PhaseSpace:mHatMin = {low!r}",
            f"PhaseSpace:mHatMax = {high!r}",
            f"PhaseSpace:pTHatMin = {0.98 * pt_min!r}",
        ]
    common = [
        "NewGaugeBoson:ffbar2Wprime = on",
        f"{_W_PRIME}:m0 = {process.mass!r}",
        f"{_W_PRIME}:doForceWidth = on",
        f"{_W_PRIME}:mWidth = {process.width * process.mass!r}",
        f"{_W_PRIME}:mMin = {(1 - min(0.5, 25 * process.width)) * process.mass!r}",
        f"{_W_PRIME}:mMax = {(1 + min(0.5, 25 * process.width)) * process.mass!r}",
    ]
    if isinstance(process, WprimeToBprimeTop):
        return [
            *common,
            f"{_B_PRIME}:m0 = {process.mass_b_prime!r}",
            f"{_B_PRIME}:mWidth = 0.1",
            f"{_B_PRIME}:mMin = {process.mass_b_prime - 1!r}",
            f"{_B_PRIME}:mMax = {process.mass_b_prime + 1!r}",
            f"{_B_PRIME}:doForceWidth = on",
            f"{_B_PRIME}:oneChannel = 1 1.0 100 5 23",
            f"{_W_PRIME}:oneChannel = 1 1.0 100 6 -{_B_PRIME}",
        ]
    # Made-up scalars: the W' matrix element does not depend on what it decays to, that of a Z' would.
    daughters = [
        *_scalar(_Y, "Y Ybar 1 3 0", process.mass_y, "2 -1"),
        *_scalar(_Y_PRIME, "Yprime void 1 0 0", process.mass_y_prime, "1 -1"),
    ]
    return [*common, *daughters, f"{_W_PRIME}:oneChannel = 1 1.0 100 {_Y} {_Y_PRIME}"]


def _scalar(identity: int, quantum_numbers: str, mass: float, quarks: str) -> list[str]:
    width, span = 1e-3 * mass, 1e-2 * mass
    return [
        f"{identity}:new = {quantum_numbers} {mass!r} {width!r} {mass - span!r} {mass + span!r} 0.",
        f"{identity}:isResonance = true",
        f"{identity}:oneChannel = 1 1.0 101 {quarks}",
    ]


def _pythia() -> Any:
    try:
        import pythia8mc  # noqa: PLC0415 - an extra: the base install does without
    except ImportError:
        msg = "pythia8mc is not installed; the simulation needs it: pip install 'oddjet[simulation]'"
        raise ConfigError(msg) from None
    return pythia8mc


def _start(
    process: Qcd | Xyy | WprimeToBprimeTop,
    mhat: tuple[float, float],
    seed: int,
    sqrt_s: float,
    options: Generator,
    extra: tuple[str, ...] = (),
) -> tuple[Any, Any]:
    """An initialised Pythia, and its veto, which lives only as long as Python holds it."""
    pythia = _pythia().Pythia("", False)  # noqa: FBT003 - no banner
    switches = [
        f"Beams:eCM = {sqrt_s!r}",
        "Print:quiet = on",
        f"Tune:pp = {options.tune}",
        f"PartonLevel:MPI = {'on' if options.multiparton_interactions else 'off'}",
        "ParticleDecays:limitTau0 = on",  # K0S, Λ, Σ reach the calorimeters: cτ > 10 mm is stable
        "ParticleDecays:tau0Max = 10.",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        *_settings(process, mhat),
        *extra,
    ]
    for line in switches:
        if not pythia.readString(line):
            msg = f"pythia8 refuses the setting '{line}'; correct the recipe"
            raise ConfigError(msg)
    hook = make_veto(_pythia(), process) if isinstance(process, Qcd) else None
    if hook is not None:
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        msg = f"pythia8 cannot be initialised for process {process!r}; see its messages above"
        raise ConfigError(msg)
    return pythia, hook


def survey_cross_section(
    process: Qcd, mhat: tuple[float, float], seed: int, sqrt_s: float, options: Generator
) -> float:
    """Cross section (pb) of a slice after the parton veto, to some 0.5 %, from partons alone.

    Parameters
    ----------
    process, mhat, seed, sqrt_s, options
        As for :func:`generate`.
    """
    pythia, _hook = _start(process, mhat, seed, sqrt_s, options, ("PartonLevel:all = off",))
    for _ in range(_SURVEY_EVENTS):
        pythia.next()
    return float(pythia.infoPython().sigmaGen()) * PB_PER_MB


def generate(
    process: Qcd | Xyy | WprimeToBprimeTop,
    mhat: tuple[float, float],
    n_events: int,
    seed: int,
    sqrt_s: float,
    options: Generator,
) -> Generated:
    """Generate events of one process from one seed.

    Parameters
    ----------
    process
        What to make.
    mhat
        Lower and upper invariant mass (GeV) of the partons for QCD, −1 for no upper end; ignored for signals.
    n_events
        Events to make.
    seed
        Pythia's seed, 1 … 900,000,000.
    sqrt_s
        Centre-of-mass energy (GeV).
    options
        Tune and multiparton interactions.

    Returns
    -------
    Generated
        Events, the cross section after the parton veto, and the number of phase-space points tried.

    Raises
    ------
    ConfigError
        If pythia8mc is not installed or refuses the settings.
    OddjetError
        If Pythia gives up before it has made the events.

    References
    ----------
    C. Bierlich et al., "A comprehensive guide to the physics and usage of PYTHIA 8.3", arXiv:2203.11601.
    """
    pythia, _hook = _start(process, mhat, seed, sqrt_s, options)
    batches = _run(pythia, n_events, seed)
    info = pythia.infoPython()
    parts = [np.concatenate(columns) for columns in zip(*batches, strict=True)]
    return Generated(
        n_events,
        int(info.nTried()),
        float(info.sigmaGen()) * PB_PER_MB,
        Particles(*parts[0:6]),
        Particles(*parts[6:12]),
        Particles(*parts[12:18]),
        parts[18],
        parts[19],
    )


def _run(pythia: Any, n_events: int, seed: int) -> list[list[npt.NDArray[Any]]]:
    """Columns of the wanted number of events, batch by batch."""
    batches: list[list[npt.NDArray[Any]]] = []
    made = 0
    while made < n_events:
        batch = pythia.nextBatch(min(_CHUNK, n_events - made))
        if len(batch) == 0:
            msg = f"pythia8 stopped after {made} of {n_events} events (seed {seed}); change the recipe's seed"
            raise OddjetError(msg)
        batches.append(_extract(batch.prt, made))
        made += len(batch)
    return batches


def _extract(record: Any, first_event: int) -> list[npt.NDArray[Any]]:
    """Final particles, heavy hadrons and hard process of one batch of event records, as flat columns."""
    event = np.repeat(first_event + np.arange(len(record)), np.asarray(ak.num(record)))
    flat = {name: np.asarray(ak.flatten(record[name])) for name in ("id", "status", "mother1")}
    momentum = record["p"]
    everything = Particles(
        event.astype(np.int64),
        flat["id"].astype(np.int64),
        *(np.asarray(ak.flatten(momentum[name]), dtype=np.float64) for name in ("px", "py", "pz", "e")),
    )
    final = flat["status"] > 0
    size = np.abs(flat["id"])
    # Quark content from the digits of the PDG numbering: mesons nq = 100s, baryons 1000s.
    digits = np.maximum((size // 100) % 10, (size // 1000) % 10)
    hadron = (size > 100) & (size < 1000000) & (digits >= 4) & (digits <= 5)
    heavy = hadron & (np.hypot(everything.px, everything.py) > _HEAVY_PT_MIN)
    hard = (np.abs(flat["status"]) >= 21) & (np.abs(flat["status"]) <= 29)
    start = np.concatenate(([0], np.cumsum(np.asarray(ak.num(record)))))[event - first_event]
    mother = _hard_mother(start, flat["mother1"], hard)
    columns: list[npt.NDArray[Any]] = []
    for rows in (final, heavy, hard):
        chosen = everything[rows]
        columns += [getattr(chosen, name) for name in chosen.__dataclass_fields__]
    return [*columns, flat["status"][hard].astype(np.int64), mother[hard].astype(np.int64)]


def _hard_mother(start: IntArray, mother1: IntArray, hard: npt.NDArray[np.bool_]) -> IntArray:
    """Nearest ancestor of each particle in the hard process, as its position there in the event; −1 for none.

    Decaying resonances stand in the record a second time, with their recoil against the shower: such copies are
    climbed over.
    """
    row = start + mother1
    while np.any(open_ := ~hard[row] & (row > start)):
        row = np.where(open_, start + mother1[row], row)
    rank = np.cumsum(hard) - 1
    first = np.concatenate(([0], np.cumsum(hard)))[start]
    return np.where(hard[row], rank[row] - first, -1)
