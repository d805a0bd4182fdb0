"""What a run will take: time, disk and memory, from costs that were measured.

The costs are seconds of one core and bytes, on the machines where the benchmarks ran (2026); a factor of two either way is
to be expected elsewhere. Where it is not known how many events pass the selection, all are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from data.eventid import N_FOLDS

JET_EVENTS = 150_000.0
"""Events a second of either pass where only jets are read (tests/benchmarks/bench_pass1.py, shipped sample)."""
PARTICLE_EVENTS = 3_400.0
"""The same with the particles of jets and all kernels (bench_pass1.py, PFNano events of CMS)."""
SCORED: Mapping[str, float] = {
    "anode": 78_585, "autoencoder": 263_131, "cathode": 89_910, "cathode_b": 84_262, "combination": 11_098,
    "conv_autoencoder": 1_568, "cvae": 80_200, "cwola": 23_725, "flow_density": 118_540, "idealised": 111_826,
    "kde": 17_037, "lacathode": 46_838, "linear_autoencoder": 243_746, "llp": 91_910,
    "normalised_autoencoder": 243_838, "prong2": 5_192_693, "prong3": 4_858_074, "quak": 41_940,
    "quak_autoencoder": 99_617, "r_anode": 90_067, "random_grid_search": 6_069_840, "rmm_autoencoder": 9_565,
    "supervised": 22_675, "tnt": 22_808, "union": 11_518, "vae_qr": 6_296,
}  # fmt: skip
"""Events a second that a method scores in one window by the networks of one fold (bench_scoring.py, default options)."""
TRAINED: Mapping[str, float] = {
    "anode": 3.4, "autoencoder": 5.4, "cathode": 8.9, "cathode_b": 10.4, "combination": 33.8, "cvae": 8.4,
    "cwola": 8.9, "flow_density": 6.9, "idealised": 3.1, "kde": 5.4, "lacathode": 10.7, "linear_autoencoder": 4.4,
    "llp": 26.6, "normalised_autoencoder": 15.5, "prong2": 0.1, "prong3": 0.1, "quak": 15.6,
    "quak_autoencoder": 16.9, "r_anode": 5.0, "random_grid_search": 0.4, "supervised": 8.7, "tnt": 22.4, "union": 30.8,
}  # fmt: skip
"""Seconds of training in one window, all folds, preset quick, on `TRAINED_ROWS` rows (bench_shipped.py)."""
TRAINED_ROWS = 95_000
TRAINED_FEW: Mapping[str, float] = {"conv_autoencoder": 2.9, "rmm_autoencoder": 1.1, "vae_qr": 5.5}
"""The same for methods on arrays, on `TRAINED_FEW_ROWS` rows (bench_shipped.py)."""
TRAINED_FEW_ROWS = 2_000
PRESETS: Mapping[str, float] = {"quick": 1.0, "default": 4.0}
"""Time of a preset over that of quick (default: tnt 4.3, cwola 4.1, cathode 2.9, quak 1.7); the authors' recipes differ too
much to say."""
FIT = 0.1
"""Seconds for a mass in a selection: fits, limits, workspace (bench_fits.py, and what `oddjet scan` writes)."""
TOY_FIT = 0.0001
"""Seconds for a pseudo-experiment at a mass in a selection (bench_global.py)."""
START = 8.0
"""Seconds until the libraries are imported and the kernels loaded."""
REPORT = 10.0
"""Seconds for the page with its plots, and for the studies that it shows."""
BASE_MEMORY = 330 * 2**20
"""Bytes of a process before it has read an event (bench_scale.py)."""
NETWORK_MEMORY = 350 * 2**20
"""Bytes more where methods score or train (boosted trees on the shipped sample)."""
JET_BYTES, PARTICLE_BYTES = 1_000, 20_000
"""Bytes of memory an entry of a chunk, with jets only and with particles (bench_scale.py, bench_pass1.py)."""
COPIES = 3
"""How often a feature table is on disk at most: the chunks' results, the merge, the table (bench_scale.py)."""


@dataclass(frozen=True)
class SampleCost:
    """What an estimate knows of a sample.

    Attributes
    ----------
    entries, selected
        Entries, and those that pass the selection.
    rate
        Entries a second and core in a pass.
    searched
        Whether it is the data: scored by one fold, others by all.
    """

    entries: int
    selected: float
    rate: float
    searched: bool


def event_rate(*, particles: bool) -> float:
    """Entries a second and core in a pass.

    Parameters
    ----------
    particles
        Whether the particles of the jets are read.

    Returns
    -------
    float
        Entries a second and core.
    """
    return PARTICLE_EVENTS if particles else JET_EVENTS


def pass_seconds(sample: SampleCost, methods: Mapping[str, int] | None = None) -> float:
    """One pass over a sample.

    Parameters
    ----------
    sample
        The sample.
    methods
        Method to its windows; None for pass 1, which scores nothing.

    Returns
    -------
    float
        Seconds of one core.
    """
    folds = 1 if sample.searched else N_FOLDS
    scoring = sum(
        windows * folds / SCORED.get(name, min(SCORED.values())) for name, windows in (methods or {}).items()
    )
    return sample.entries / sample.rate + sample.selected * scoring


def training_seconds(method: str, preset: str, rows: float) -> float | None:
    """All folds of a method in one window.

    Parameters
    ----------
    method, preset
        The method, and what its options begin from.
    rows
        Events that are selected.

    Returns
    -------
    float or None
        Seconds of one core; None where no cost of the method, or of the preset, is known.
    """
    factor = PRESETS.get(preset)
    if factor is None:
        return None
    if method in TRAINED_FEW:
        return factor * TRAINED_FEW[method] * rows / TRAINED_FEW_ROWS
    known = TRAINED.get(method)
    return None if known is None else factor * known * rows / TRAINED_ROWS


def scan_seconds(masses: int, selections: int, toys: int) -> float:
    """Fits of all masses in all selections, and pseudo-experiments for global p-values.

    Parameters
    ----------
    masses, selections
        How many of each.
    toys
        Pseudo-experiments; 0 for none.

    Returns
    -------
    float
        Seconds of one core.
    """
    return masses * selections * (FIT + toys * TOY_FIT)


def table_bytes(selected: float, bytes_an_event: int) -> float:
    """Disk that a feature table takes at most while it is made.

    Parameters
    ----------
    selected
        Events in the table.
    bytes_an_event
        Of one row.

    Returns
    -------
    float
        Bytes.
    """
    return COPIES * selected * bytes_an_event


def worker_memory(chunk: int, *, particles: bool, networks: bool) -> float:
    """Memory of a worker.

    Parameters
    ----------
    chunk
        Entries that it reads at once.
    particles
        Whether the particles of the jets are read.
    networks
        Whether methods score or train in it.

    Returns
    -------
    float
        Bytes.
    """
    base = BASE_MEMORY + (NETWORK_MEMORY if networks else 0)
    return base + chunk * (PARTICLE_BYTES if particles else JET_BYTES)


def size_in_words(size: float) -> str:
    """A number of bytes for people.

    Parameters
    ----------
    size
        Bytes; infinite where the system does not say.

    Returns
    -------
    str
        E.g. ``3.4 GB``.
    """
    if size == float("inf"):
        return "an unknown amount"
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.2g} {unit}" if size / scale < 10 else f"{size / scale:.0f} {unit}"
    return f"{size / 1e3:.0f} kB"
