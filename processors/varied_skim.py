"""Feature tables of simulated signal with its systematic variations, for studies of what they do to a training.

A kinematic variation has a table of its own, as other events may pass; a variation of the weight is a column
``weight_NAME`` beside the nominal table.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from processors.features import Columns
from processors.recipe import NOMINAL, Recipe, Selected
from processors.skim import read_features
from processors.tables import write_part

_PREFIX = "weight_"


@dataclass(frozen=True)
class VariedSkim:
    """coffea processor: writes each chunk's table of each kinematic variation into a folder of ``folder``."""

    recipe: Recipe
    folder: Path

    def __call__(self, events: Any) -> dict[str, Any]:
        """Process one chunk, given as coffea's array of virtual columns."""
        parts: list[str] = []

        def write(part: Selected) -> None:
            if len(part.table["mjj"]):
                name = next(iter(part.weights))
                parts.append(f"{name}/{uuid.uuid4().hex}.arrow")
                (self.folder / name).mkdir(exist_ok=True)
                write_part(self.folder / parts[-1], part.table | _further_weights(part, name))

        tally = self.recipe.each(events, write, self.recipe.options.features, vary=True)
        return {**tally, "parts": parts}


def _further_weights(part: Selected, name: str) -> Columns:
    """Weights of all variations with the kinematics of one; toys are numbered."""
    found = {f"{_PREFIX}{other}": weight for other, weight in part.weights.items() if other != name}
    for source, toys in part.toys.items():
        found |= {f"{_PREFIX}lund_{source}_{number}": weight for number, weight in enumerate(toys)}
    return found


def read_varied(folder: Path) -> dict[str, Columns]:
    """Read the feature tables of a simulated sample, nominal and varied.

    Parameters
    ----------
    folder
        ``varied/SAMPLE``, as `processors.run.run_varied_skim` writes it.

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
        msg = f"{folder}: no varied feature tables; write them first"
        raise InputError(msg)
    nominal = read_features(folder / NOMINAL)
    features = {name: values for name, values in nominal.items() if not name.startswith(_PREFIX)}
    weights = {name.removeprefix(_PREFIX): nominal[name] for name in nominal if name.startswith(_PREFIX)}
    kinematic = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != NOMINAL)
    return {
        NOMINAL: features,
        **{path.name: read_features(path) for path in kinematic},
        **{name: features | {"weight": weight} for name, weight in weights.items()},
    }
