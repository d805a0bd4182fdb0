"""Pseudo-experiments of a background fit as spectra, for other programs, and their largest local significances."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.joint_toys import draw
from analysis.pseudo_experiments import ScannedSelection, scan_toys
from analysis.scan import scan
from analysis.scan_inputs import ScanInputs
from data.errors import ConfigError
from data.files import atomic_path, write_json
from data.types import FloatArray, IntArray

FORMATS = (".json", ".parquet")


@dataclasses.dataclass(frozen=True, eq=False)
class ToySpectra:
    """Pseudo-experiments of one background fit.

    Attributes
    ----------
    edges
        Bin edges in GeV, shape (n + 1,).
    expected
        Background that they were drawn from, shape (n,).
    counts
        Shape (toys, n).
    function
        Name of the background function.
    seed
        Of the random numbers.
    masses
        Masses scanned in GeV; empty if none were.
    max_z
        Largest local significance over the masses, not-a-number where a fit failed, shape (toys,); None if none were
        scanned.
    """

    edges: FloatArray
    expected: FloatArray
    counts: IntArray
    function: str
    seed: int
    masses: tuple[float, ...] = ()
    max_z: FloatArray | None = None

    def facts(self) -> dict[str, Any]:
        """What is common to all toys, as plain values."""
        return {
            "edges": self.edges.tolist(),
            "expected": self.expected.tolist(),
            "function": self.function,
            "seed": self.seed,
            "masses": list(self.masses),
        }


def toy_spectra(
    inputs: ScanInputs, n_toys: int, seed: int, *, masses: tuple[float, ...] = (), workers: int = 1
) -> ToySpectra:
    """Draw pseudo-experiments from the background-only fit to the data, and scan them.

    Parameters
    ----------
    inputs
        Spectrum, signal and options of the fit. The background is that of the mass with the largest significance, among
        ``masses``, or those of the inputs if there are none.
    n_toys
        Their number.
    seed
        Of their random numbers.
    masses
        Masses in GeV at which each is scanned, with the functions that the data were; not scanned if empty.
    workers
        Threads; results do not depend on them.

    Returns
    -------
    ToySpectra
        Counts of all toys and, where they were scanned, their largest significances.

    Raises
    ------
    FitError
        If no mass of the data is valid.
    InputError
        If a mass lies outside the spectrum.
    ConfigError
        If the fit range depends on the mass.
    """
    quick = inputs.config.model_copy(update={"limits": False, "minuit": False, "calculator": "asymptotic"})
    tested = ScannedSelection.from_scan(
        "spectrum", scan(inputs.spectrum, masses or inputs.masses, inputs.signal, quick)
    )
    fit = tested.generating
    ranges = {(part.background.spectrum.lo, part.background.spectrum.hi) for part in tested.parts}
    if len(ranges) > 1:
        msg = (
            "toys: the fit range depends on the mass; give one, as fit.range: [lo, hi] in a spectrum file, or as "
            "scan.fit_start and scan.fit_stop without scan.range_search"
        )
        raise ConfigError(msg)
    expected = fit.model.expected_in(fit.spectrum.edges, fit.minimum.theta)
    counts = np.concatenate([block for (block,) in draw(expected[None], n_toys, seed)])
    max_z = None
    if masses:
        toys = scan_toys([tested], n_toys, seed, workers=workers)
        max_z = np.where(toys.converged[:, 0], np.sqrt(toys.q0.max(axis=1)), np.nan)
    return ToySpectra(
        fit.spectrum.edges, expected, counts, fit.function, seed, tuple(tested.masses.tolist()) if masses else (), max_z
    )  # fmt: skip


def write_toys(toys: ToySpectra, path: Path) -> None:
    """Write pseudo-experiments as JSON or Parquet, by the file's name.

    Parameters
    ----------
    toys
        What to write. Parquet has one row each: ``counts`` and, where they were scanned, ``max_z``; what they have in
        common is JSON in the schema's metadata ``oddjet``. JSON holds the same keys side by side.
    path
        ``….json`` or ``….parquet``.

    Raises
    ------
    ConfigError
        If the name ends differently.
    """
    if path.suffix not in FORMATS:
        msg = f"{path}: toys are written as {' or '.join(FORMATS)}; name the file so"
        raise ConfigError(msg)
    max_z = None if toys.max_z is None else [None if np.isnan(z) else float(z) for z in toys.max_z]
    if path.suffix == ".json":
        write_json(path, toys.facts() | {"counts": toys.counts.tolist(), "max_z": max_z})
        return
    columns: dict[str, Any] = {"counts": pa.array(list(toys.counts), type=pa.list_(pa.int64()))}
    if max_z is not None:
        columns["max_z"] = pa.array(max_z, type=pa.float64())
    table = pa.table(columns).replace_schema_metadata({"oddjet": json.dumps(toys.facts())})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
