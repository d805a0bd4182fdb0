"""Histograms in HDF5 as the Unified Histogram Interface lays them out, and their sum over samples."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import hist
import uhi.io.hdf5

from data.errors import InputError
from data.files import atomic_path
from processors.schema import NOMINAL

if TYPE_CHECKING:  # whoever reads histograms has no need of all that fills them
    from processors.histograms import Histograms


def write_histograms(path: Path, histograms: Histograms) -> None:
    """Write histograms to one HDF5 file, each in a group of its name; equal histograms give equal bytes.

    Raises
    ------
    OSError
        If the disk does not take it.
    """
    content = io.BytesIO()  # HDF5 that writes to a disk itself crashes the process when the disk is full
    with h5py.File(content, "w") as file:
        for name in sorted(histograms):
            uhi.io.hdf5.write(file.create_group(name), histograms[name])
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def read_histograms(path: Path) -> Histograms:
    """Read the histograms of an HDF5 file.

    Raises
    ------
    InputError
        If the file is missing, truncated, or holds something else.
    """
    if not path.is_file():
        msg = f"{path}: does not exist; run `oddjet hist` first, or `oddjet run`, which does all stages"
        raise InputError(msg)
    try:
        with h5py.File(path, "r") as file:
            found = {name: uhi.io.hdf5.read(file[name]) for name in sorted(file)}
            # hist takes what uhi reads; its signatures do not say so.
            return {name: hist.Hist(one) for name, one in found.items()}  # type: ignore[call-overload]
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = f"{path}: no readable histograms ({str(error).splitlines()[0]}); run `oddjet hist` again"
        raise InputError(msg) from None


def merge_histograms(parts: Iterable[Histograms]) -> Histograms:
    """Add histograms of samples; labels of ``process`` are united in alphabetical order, variations as they come.

    Parameters
    ----------
    parts
        Histograms of samples, all with the same names, selections and regions. Samples of one process are
        added in the order given: give them in a fixed one. Where a sample does not have a variation that another
        one has, its nominal contents stand: it does not vary.

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
    united = {
        "process": sorted({label for part in parts for label in part["mjj"].axes["process"]}),
        "variation": list(dict.fromkeys(label for part in parts for label in part["mjj"].axes["variation"])),
    }
    return {name: _sum([part[name] for part in parts], united, name) for name in sorted(parts[0])}


def _sum(parts: list[Any], united: dict[str, list[str]], name: str) -> Any:
    axes = [
        hist.axis.StrCategory(united[axis.name], name=axis.name) if axis.name in united else axis
        for axis in parts[0].axes
    ]
    fixed = [axis for axis in axes if axis.name not in united]
    total = hist.Hist(*axes, storage=hist.storage.Weight())
    into: Any = total.view(flow=True)
    for part in parts:
        if [axis for axis in part.axes if axis.name not in united] != fixed:
            msg = f"cannot merge histogram '{name}': axes differ; fill all samples with one configuration"
            raise InputError(msg)
        view = part.view(flow=True)
        growing = {axis.name: list(part.axes[axis.name]) for axis in axes if axis.name in united}
        for process, variation in itertools.product(
            growing["process"], united["variation"] if "variation" in growing else [None]
        ):
            known = variation in growing.get("variation", [])
            labels = {"process": process, "variation": variation if known else NOMINAL}
            source = _position(part, growing, labels)
            target = _position(total, united, {"process": process, "variation": variation})
            into["value"][target] += view["value"][source]
            into["variance"][target] += view["variance"][source]
    return total


def _position(histogram: Any, labels_of: dict[str, list[str]], labels: dict[str, Any]) -> tuple[Any, ...]:
    """Index of a row of a histogram's array."""
    return tuple(
        labels_of[axis.name].index(labels[axis.name])
        if axis.name in labels_of and axis.name in labels
        else slice(None)
        for axis in histogram.axes
    )
