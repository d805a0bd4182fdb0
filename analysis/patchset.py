"""One background-only workspace and a pyhf patch set over the masses, as HEPData publishes likelihoods.

Each mass has its own expansion of the background (`analysis.workspace`): its first direction is the one in which a
signal of that mass pulls. So a patch replaces the samples and the measurement; the counts only where its fit range
differs. A patched workspace is that mass's own. The format: https://scikit-hep.org/pyhf/likelihood.html
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.workspace import POI
from analysis.workspace_index import StoredWorkspace
from data.errors import InputError
from data.files import write_json

BACKGROUND_ONLY = "background_only.json"
PATCHSET = "patchset.json"
NO_RECORD = "ins0000000"
"""Stands for the INSPIRE number of the publication, which the format demands, until there is one."""


@dataclass(frozen=True)
class PatchSetExport:
    """A background-only workspace and the patches that turn it into that of each mass.

    Attributes
    ----------
    background_only
        HistFactory JSON without a signal.
    patchset
        Patch set JSON; the patches are called ``mass_M`` and their value is the mass in GeV.
    """

    background_only: dict[str, Any]
    patchset: dict[str, Any]


def build_patchset(
    stored: Sequence[StoredWorkspace], description: str, *, record: str = NO_RECORD
) -> PatchSetExport:
    """Patch set of the masses of one search.

    Parameters
    ----------
    stored
        Workspaces, each of another mass.
    description
        What they are of.
    record
        INSPIRE number of the publication, ``ins`` and seven digits.

    Returns
    -------
    PatchSetExport
        Background-only workspace, of the fit range that most masses share, and patch set.

    Raises
    ------
    InputError
        If there are no workspaces or two of one mass.
    """
    from pyhf.utils import digest  # noqa: PLC0415  (it takes a second to import)

    masses = [entry.facts.mass for entry in stored]
    if not masses or len(set(masses)) != len(masses):
        found = ", ".join(f"{mass:g}" for mass in masses) or "none"
        msg = f"patch set '{description}': give one workspace a mass; the masses are {found} (GeV)"
        raise InputError(msg)
    counts = [tuple(entry.workspace["observations"][0]["data"]) for entry in stored]
    reference = counts.index(Counter(counts).most_common(1)[0][0])
    base = _background_only(stored[reference].workspace)
    patches = [
        {
            "metadata": {"name": f"mass_{entry.facts.mass:g}", "values": [entry.facts.mass]},
            "patch": _operations(entry.workspace, same_counts=observed == counts[reference]),
        }
        for entry, observed in zip(stored, counts, strict=True)
    ]
    metadata = {
        "references": {"hepdata": record},
        "description": description,
        "digests": {"sha256": digest(base)},
        "labels": ["mass_gev"],
    }
    return PatchSetExport(base, {"metadata": metadata, "patches": patches, "version": "1.0.0"})


def write_patchset(folder: Path, stored: Sequence[StoredWorkspace], description: str) -> list[Path]:
    """Write ``background_only.json`` and ``patchset.json``; gives their paths.

    Raises
    ------
    InputError
        As `build_patchset`.
    """
    export = build_patchset(stored, description)
    write_json(folder / BACKGROUND_ONLY, export.background_only)
    write_json(folder / PATCHSET, export.patchset)
    return [folder / BACKGROUND_ONLY, folder / PATCHSET]


def _background_only(workspace: dict[str, Any]) -> dict[str, Any]:
    channel = workspace["channels"][0]
    samples = [
        sample
        for sample in channel["samples"]
        if not any(modifier["name"] == POI for modifier in sample["modifiers"])
    ]
    parameters = [
        parameter
        for parameter in workspace["measurements"][0]["config"]["parameters"]
        if parameter["name"] != POI
    ]
    return {
        "channels": [{"name": channel["name"], "samples": samples}],
        "observations": workspace["observations"],
        # An empty name is how pyhf says that there is no parameter of interest.
        "measurements": [{"name": "background_only", "config": {"poi": "", "parameters": parameters}}],
        "version": workspace["version"],
    }


def _operations(workspace: dict[str, Any], *, same_counts: bool) -> list[dict[str, Any]]:
    places = {
        "/channels/0/samples": workspace["channels"][0]["samples"],
        "/measurements/0": workspace["measurements"][0],
    }
    if not same_counts:
        places["/observations/0/data"] = workspace["observations"][0]["data"]
    return [{"op": "replace", "path": path, "value": value} for path, value in places.items()]
