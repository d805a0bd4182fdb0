"""Pythia 8: settings of each process, veto before the shower, and events as flat arrays."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from data.errors import ConfigError, OddjetError
from data.simulation.config import Generator
from data.simulation.processes import Background, Process
from data.simulation.pythia_settings import process_settings
from data.simulation.veto import make_veto
from data.types import FloatArray, IntArray

PB_PER_MB = 1e9
_CHUNK = 250  # events a Pythia batch: bounds the memory that full event records take
_SURVEY_EVENTS = 20_000
_SURVEY_PASSED, _SURVEY_SHOWERS = 2000, 200_000
_HEAVY_PT_MIN = 5.0  # GeV; softer b and c hadrons do not tag a jet


@dataclass(frozen=True)
class Particles:
    """Particles of many events, end to end.

    Attributes
    ----------
    event
        Number of the event of each, shape (n,).
    pdg_id
        PDG number, shape (n,).
    px, py, pz, e
        Four-momentum, shape (n,), GeV.
    """

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

    Attributes
    ----------
    n_events, n_tried
        Events, and the phase-space points tried for them.
    cross_section_pb
        Cross section, pb.
    stable
        The final particles.
    heavy
        The b and c hadrons with pT > 5 GeV.
    hard
        The n particles of the hard process.
    hard_status, hard_mother
        Pythia's status code of each, and the position of its mother in the same event or −1, shape (n,).
    """

    n_events: int
    n_tried: int
    cross_section_pb: float
    stable: Particles
    heavy: Particles
    hard: Particles
    hard_status: IntArray
    hard_mother: IntArray


def _pythia() -> Any:
    try:
        import pythia8mc  # noqa: PLC0415 - an extra: the base install does without
    except ImportError:
        msg = "pythia8mc is not installed; the simulation needs it: pip install 'oddjet[simulation]'"
        raise ConfigError(msg) from None
    return pythia8mc


def _start(
    process: Process,
    mhat: tuple[float, float],
    seed: int,
    sqrt_s: float,
    options: Generator,
    extra: tuple[str, ...] = (),
    *,
    count_only: bool = False,
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
        *process_settings(process, mhat),
        *options.settings,
        *extra,
    ]
    for line in switches:
        if not pythia.readString(line):
            msg = f"pythia8 refuses the setting '{line}'; correct the recipe"
            raise ConfigError(msg)
    hook = make_veto(_pythia(), process, count_only=count_only) if isinstance(process, Background) else None
    if hook is not None:
        pythia.setUserHooksPtr(hook)
    if not pythia.init():
        msg = f"pythia8 cannot be initialised for process {process!r}; see its messages above"
        raise ConfigError(msg)
    return pythia, hook


def survey_cross_section(
    process: Background, mhat: tuple[float, float], seed: int, sqrt_s: float, options: Generator
) -> float:
    """Cross section (pb) of a slice after its vetoes.

    To some 0.5 %, from partons alone; the efficiency of an early veto to some 2 %, from showers down to its scale.

    Parameters
    ----------
    process, mhat, seed, sqrt_s, options
        As for :func:`generate`.

    Returns
    -------
    float
        pb.

    Raises
    ------
    OddjetError
        If no event passes the vetoes.
    """
    pythia, _hook = _start(process, mhat, seed, sqrt_s, options, ("PartonLevel:all = off",))
    for _ in range(_SURVEY_EVENTS):
        pythia.next()
    cross_section = float(pythia.infoPython().sigmaGen()) * PB_PER_MB
    if process.early_veto is not None and cross_section > 0:
        cross_section *= _early_efficiency(process, mhat, seed, sqrt_s, options)
    if cross_section == 0:
        msg = f"no {process.label()} event above a parton mass of {mhat[0]:g} GeV passes the vetoes; loosen them"
        raise OddjetError(msg)
    return cross_section


def _early_efficiency(
    process: Background, mhat: tuple[float, float], seed: int, sqrt_s: float, options: Generator
) -> float:
    extra = ("Check:abortIfVeto = on", "PartonLevel:MPI = off")
    pythia, hook = _start(process, mhat, seed, sqrt_s, options, extra, count_only=True)
    while hook.passed < _SURVEY_PASSED and hook.reached < _SURVEY_SHOWERS:
        pythia.next()
    return float(hook.passed / hook.reached)


def generate(
    process: Process,
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
        Lower and upper invariant mass (GeV) of the partons of a background, −1 for no upper end; ignored for signals.
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
