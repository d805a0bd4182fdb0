"""The workspaces of a run and ``workspaces.json``, which says of each what its JSON cannot: bins, events at mu = 1."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from analysis.results import ScanResult
from analysis.workspace import write_workspace
from data.errors import InputError
from data.files import read_json, write_json
from data.sections import Section

FOLDER = "workspaces"
INDEX = "workspaces.json"
_LOG = logging.getLogger("oddjet")


class WorkspaceFacts(Section):
    """Entry of ``workspaces.json``.

    Parameters
    ----------
    selection
        Label of the selection.
    mass
        In GeV.
    window
        Name of the mass window whose selection it is; None for the inclusive one.
    file
        Path inside the run folder.
    edges, signal_events, exact_at, bounded
        See `analysis.workspace.Export`.
    """

    selection: str
    mass: float
    window: str | None
    file: str
    edges: tuple[float, ...] = pydantic.Field(min_length=2)
    signal_events: float = pydantic.Field(gt=0)
    exact_at: dict[str, float]
    bounded: tuple[str, ...]

    @property
    def name(self) -> str:
        """``SELECTION_MASS``, as the file is called."""
        return f"{self.selection}_{self.mass:g}"


class Index(Section):
    """``workspaces.json``."""

    workspaces: tuple[WorkspaceFacts, ...]


@dataclass(frozen=True)
class StoredWorkspace:
    """A workspace of a run with its facts."""

    facts: WorkspaceFacts
    workspace: dict[str, Any]


def write_workspaces(
    root: Path,
    label: str,
    result: ScanResult,
    *,
    window: str | None = None,
    luminosity_uncertainty: float = 0.0,
) -> list[WorkspaceFacts]:
    """One HistFactory workspace a valid mass, ``workspaces/SELECTION_MASS.json``; those of earlier runs are removed.

    Parameters
    ----------
    root
        The run folder, or any other.
    label
        Name of the selection.
    result
        Its scan.
    window
        Name of the mass window whose selection it is; None for the inclusive one.
    luminosity_uncertainty
        Relative; gets a modifier of its own where the signal has an uncertainty of normalisation.

    Returns
    -------
    list of WorkspaceFacts
        For `write_index`.
    """
    for old in (root / FOLDER).glob(f"{label}_*.json"):
        old.unlink()
    facts = []
    for point in result.points:
        if point.test is not None:
            file = f"{FOLDER}/{label}_{point.mass:g}.json"
            share = luminosity_uncertainty if point.test.signal.norm_uncertainty > 0 else 0.0
            export = write_workspace(root / file, point, luminosity_uncertainty=share)
            known = {"selection": label, "mass": point.mass, "window": window, "file": file}
            facts.append(WorkspaceFacts.model_validate(known | export.facts()))
    bounded = [f"{entry.mass:g}" for entry in facts if entry.bounded]
    if bounded:
        _LOG.info(
            "workspaces of %s at %s GeV: normfactors of the background are bounded where they alone would turn it "
            "negative; %s names them",
            label,
            ", ".join(bounded),
            INDEX,
        )
    return facts


def write_index(root: Path, facts: Iterable[WorkspaceFacts]) -> list[Path]:
    """Write ``workspaces.json``; gives its path and those of the workspaces."""
    entries = list(facts)
    write_json(root / INDEX, {"workspaces": [entry.model_dump(mode="json") for entry in entries]})
    return [root / INDEX, *(root / entry.file for entry in entries)]


def read_workspaces(root: Path) -> list[StoredWorkspace]:
    """Workspaces of a finished run, in the order of the scan.

    Parameters
    ----------
    root
        The run folder.

    Raises
    ------
    InputError
        If the run has none, or a file is missing.
    """
    if not (root / INDEX).is_file():
        msg = f"{root}: no {INDEX}; run `oddjet scan` with this configuration first"
        raise InputError(msg)
    index = Index.parse(read_json(root / INDEX), str(root / INDEX))
    if not index.workspaces:
        msg = (
            f"{root / INDEX}: no mass of the scan is valid, so there is nothing to export; see `oddjet scan`"
        )
        raise InputError(msg)
    missing = [entry.file for entry in index.workspaces if not (root / entry.file).is_file()]
    if missing:
        msg = f"{root}: workspace '{missing[0]}' is missing; run `oddjet scan` again"
        raise InputError(msg)
    return [StoredWorkspace(entry, read_json(root / entry.file)) for entry in index.workspaces]
