"""Feature tables of simulated signal with its systematic variations, for studies of what they do to a training.

A kinematic variation has a table of its own, as other events may pass; a variation of the weight is a column
``weight_NAME`` beside the nominal table.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.trees import Tree
from processors.columns import Columns
from processors.further import VARIED_WEIGHTS
from processors.recipe import Selected
from processors.schema import NOMINAL
from processors.skim import read_features
from processors.work import ChunkWork


@dataclass(frozen=True)
class VariedSkim(ChunkWork):
    """The feature tables of each chunk, one a kinematic variation."""

    def __call__(self, events: Any) -> Tree:
        """Process one chunk, given as coffea's array of virtual columns."""
        tables: dict[str, Columns] = {}

        def keep(part: Selected) -> None:
            if len(part.table["mjj"]):
                name = next(iter(part.weights))
                tables[name] = part.table | _further_weights(part, name)

        tally = self.recipe.each(events, keep, self.recipe.options.features, vary=True)
        return {**tally, "tables": tables}


def _further_weights(part: Selected, name: str) -> Columns:
    """Weights of all variations with the kinematics of one; toys are numbered."""
    found = {f"{VARIED_WEIGHTS}{other}": weight for other, weight in part.weights.items() if other != name}
    for source, toys in part.toys.items():
        found |= {f"{VARIED_WEIGHTS}lund_{source}_{number}": weight for number, weight in enumerate(toys)}
    return found


def read_varied(folder: Path, regions: Collection[str] | None = None) -> dict[str, Columns]:
    """Read the feature tables of a simulated sample, nominal and varied.

    Parameters
    ----------
    folder
        ``varied/SAMPLE``, as `processors.run.run_varied_skim` writes it.
    regions
        Names of the regions whose rows are wanted; None for all.

    Returns
    -------
    dict
        Name of the variation to its feature table, ``nominal`` first. Variations of the weight share the columns of
        the nominal table.

    Raises
    ------
    InputError
        If there is no nominal table or a file is damaged.
    """
    if not (folder / NOMINAL).is_dir():
        msg = f"{folder}: no varied feature tables; run `oddjet limit`, which writes them"
        raise InputError(msg)
    nominal = read_features(folder / NOMINAL, regions=regions)
    features = {name: values for name, values in nominal.items() if not name.startswith(VARIED_WEIGHTS)}
    weights = {
        name.removeprefix(VARIED_WEIGHTS): nominal[name]
        for name in nominal
        if name.startswith(VARIED_WEIGHTS)
    }
    kinematic = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != NOMINAL)
    return {
        NOMINAL: features,
        **{path.name: read_features(path, regions=regions) for path in kinematic},
        **{name: features | {"weight": weight} for name, weight in weights.items()},
    }
