"""Histograms in HDF5 as the Unified Histogram Interface lays them out, and their sum over samples."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import hist
import uhi.io.hdf5

from data.errors import InputError
from data.files import atomic_path
from processors.histograms import Histograms


def write_histograms(path: Path, histograms: Histograms) -> None:
    """Write histograms to one HDF5 file, each in a group of its name; equal histograms give equal bytes."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name in sorted(histograms):
            uhi.io.hdf5.write(file.create_group(name), histograms[name])


def read_histograms(path: Path) -> Histograms:
    """Read the histograms of an HDF5 file.

    Raises
    ------
    InputError
        If the file is missing, truncated, or holds something else.
    """
    try:
        with h5py.File(path, "r") as file:
            return {name: hist.Hist(uhi.io.hdf5.read(file[name])) for name in sorted(file)}
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = f"{path}: no readable histograms ({str(error).splitlines()[0]}); run `oddjet hist` again"
        raise InputError(msg) from None


def merge_histograms(parts: Iterable[Histograms]) -> Histograms:
    """Add histograms of samples; labels of ``process`` are united in alphabetical order.

    Parameters
    ----------
    parts
        Histograms of samples, all with the same names and the same selections. Samples of one process are
        added in the order given: give them in a fixed one.

    Returns
    -------
    dict
        Name to sum.

    Raises
    ------
    InputError
        If there is no part, or names or axes differ.
    """
    parts = list(parts)
    names = {tuple(sorted(part)) for part in parts}
    if len(names) != 1:
        msg = f"cannot merge histograms with different names: {sorted(names)}; fill all samples with one configuration"
        raise InputError(msg)
    processes = sorted({label for part in parts for label in part["mjj"].axes["process"]})
    return {name: _sum([part[name] for part in parts], processes, name) for name in sorted(parts[0])}


def _sum(parts: list[Any], processes: list[str], name: str) -> Any:
    first = parts[0]
    axes = [
        hist.axis.StrCategory(processes, name="process") if axis.name == "process" else axis
        for axis in first.axes
    ]
    total = hist.Hist(*axes, storage=hist.storage.Weight())
    position = [axis.name for axis in axes].index("process")
    into: Any = total.view(flow=True)
    for part in parts:
        others = [axis for axis in part.axes if axis.name != "process"]
        if others != [axis for axis in axes if axis.name != "process"]:
            msg = f"cannot merge histogram '{name}': axes differ; fill all samples with one configuration"
            raise InputError(msg)
        view = part.view(flow=True)
        for number, process in enumerate(part.axes["process"]):
            source = (slice(None),) * position + (number,)
            target = (slice(None),) * position + (processes.index(process),)
            into["value"][target] += view["value"][source]
            into["variance"][target] += view["variance"][source]
    return total
