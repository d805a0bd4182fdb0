"""What methods are trained on: the searched data, and the further tables that a method takes."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from data.errors import ConfigError, InputError
from data.eventid import ID_COLUMNS
from processors.columns import Columns, columns
from processors.config import FeaturesConfig
from processors.further import known_features
from processors.resolve import absent_columns
from processors.selection import REGIONS

if TYPE_CHECKING:  # networks need seconds to import, which a command without any should not wait
    from models.folded import FoldedMethod

PRIOR = "prior"
"""Column of the table ``signal``: position of an event's sample among the signals."""
EVENT_COLUMNS = ("mjj", "weight", *ID_COLUMNS)
"""What is read of an event for any selection."""
CONFIGURED_BY = {
    "signal": "name simulated signals in search.signals",
    "background": "name simulated background in search.background",
    "wide": "set selection.train_wide: true",
}
"""What to do in a configuration for each further table."""


def check_tables(
    method: str,
    takes: Mapping[str, bool],
    configured: Collection[str],
    source: str,
    remedies: Mapping[str, str] = CONFIGURED_BY,
) -> None:
    """Refuse a method that cannot be given a table without which it cannot be trained.

    Parameters
    ----------
    method
        Name of the method.
    takes
        The further tables that it takes: keyword to whether it needs the table.
    configured
        The keywords that there are tables for.
    source
        The configuration's name, for messages.
    remedies
        Keyword to what gives its table.

    Raises
    ------
    ConfigError
        Naming the method, the table, and the key to set.
    """
    for keyword, required in takes.items():
        if required and keyword not in configured:
            msg = (
                f"{source}: method '{method}' is trained on a table '{keyword}', which is not there; "
                f"{remedies[keyword]}, or remove the method"
            )
            raise ConfigError(msg)


def check_columns(method: str, needed: Collection[str], features: FeaturesConfig, source: str) -> None:
    """Refuse a search that does not write a column which a method reads.

    Parameters
    ----------
    method
        Name of the method.
    needed
        The columns that it reads.
    features
        What is written.
    source
        The configuration's name, for messages.

    Raises
    ------
    ConfigError
        Naming the method, the columns, and what to change in ``features``.
    """
    written = columns(features, label=False)
    missing = sorted(set(needed).difference(written))
    if not missing:
        return
    absent = {f"{name}_{jet}" for name in absent_columns(features.without) for jet in ("j1", "j2")}
    if left_out := [name for name in missing if name in absent]:
        what = f"the columns {', '.join(left_out)}, which features.without leaves out"
        remedy = f"give it others in methods.{method}.features, or remove the method"
    elif any(name.startswith("constituents_") for name in missing):
        what, remedy = (
            "the constituents of the jets",
            "set features.constituents: true (all files need particles)",
        )
    elif "rmm" in missing:
        what = "the rapidity–mass matrix"
        remedy = "set features.rapidity_mass_matrix: {form: reduced} (all files need AK4 jets, leptons and photons)"
    elif further := [one.name for one in known_features().values() if {*missing}.intersection(one.columns())]:
        what = f"the column '{missing[0]}', which is written where it is asked for"
        remedy = f"set features.further: [{', '.join((*features.further, *further))}]"
    else:
        near = difflib.get_close_matches(missing[0], written, n=1)
        what = f"the column '{missing[0]}', which is none of a feature table"
        remedy = f"did you mean '{near[0]}'?" if near else f"choose among {', '.join(written)}"
    msg = f"{source}: method '{method}' needs {what}; {remedy}"
    raise ConfigError(msg)


def searched(table: Columns, region: str) -> Columns:
    """The rows of the region that is searched.

    Parameters
    ----------
    table
        Columns of a feature table, with ``region``, shape (events, …) each.
    region
        Name of the region, as in `processors.selection.REGIONS`.

    Returns
    -------
    Columns
        Its rows of that region.
    """
    return _rows(table, table["region"] == REGIONS.index(region))


def beside(table: Columns, region: str) -> Columns:
    """The rows of the regions beside the one that is searched; see `regions_beside`.

    Parameters
    ----------
    table
        Columns of a feature table, with ``region``, shape (events, …) each.
    region
        Name of the region that is searched.

    Returns
    -------
    Columns
        Its rows of the other regions.
    """
    return _rows(table, np.isin(table["region"], [REGIONS.index(name) for name in regions_beside(region)]))


def regions_beside(region: str) -> tuple[str, ...]:
    """The regions beside the one that is searched, rich in QCD; the signal region is never among them."""
    return tuple(name for name in REGIONS if name not in {region, "signal"})


def columns_read(method: "FoldedMethod") -> frozenset[str]:
    """The columns that training and scoring read, with weights and event ids."""
    optional = [name for names in method.optional_columns.values() for name in names]
    return frozenset((*EVENT_COLUMNS, *method.inputs, *method.training_columns(), *optional))


def stacked(tables: Sequence[Columns]) -> Columns:
    """Simulated samples end to end, without truth labels, with the column ``prior``: whose row it is.

    Parameters
    ----------
    tables
        Feature tables of a search, at least one.

    Returns
    -------
    dict
        All columns but ``label``; ``prior`` is int64, the position in ``tables``.

    Raises
    ------
    InputError
        If a table lacks a column of the first.
    """
    names = [name for name in tables[0] if name != "label"]
    for number, table in enumerate(tables):
        if lacking := [name for name in names if name not in table]:
            msg = f"simulated table {number + 1} has no column '{lacking[0]}', which the first has; give all the same columns"
            raise InputError(msg)
    joined = {name: np.concatenate([table[name] for table in tables]) for name in names}
    joined[PRIOR] = np.repeat(np.arange(len(tables)), [len(table["mjj"]) for table in tables])
    return joined


def _rows(table: Columns, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Columns:
    return {name: column[chosen] for name, column in table.items()}
