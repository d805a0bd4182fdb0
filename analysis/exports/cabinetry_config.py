"""A workspace as a cabinetry configuration with template histograms, to build and fit it from the shell.

In the folder written, ``cabinetry workspace config.yml workspace.json`` builds the workspace, and ``cabinetry fit``,
``ranking``, ``significance`` and ``limit`` take it from there. cabinetry (Held, Cranmer, EPJ Web Conf. 251 (2021) 03067)
would add a statistical uncertainty to every sample and cut off under- and overflow: both are switched off here or
empty. Its shape uncertainties split into shape and normalisation, which is the same model to first order.
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from analysis.workspace import CHANNEL, POI
from analysis.workspace_index import StoredWorkspace
from data.files import atomic_path
from data.types import FloatArray

CONFIG = "config.yml"
TEMPLATES = "templates"
_DATA = "data"


def build_config(workspace: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a workspace.

    Parameters
    ----------
    workspace
        HistFactory JSON of `analysis.workspace`.

    Returns
    -------
    dict
        What ``config.yml`` holds; its templates are looked for in the folder ``templates`` beside it.
    """
    samples = workspace["channels"][0]["samples"]
    measurement = workspace["measurements"][0]
    factors = [
        {
            "Name": parameter["name"],
            "Samples": [
                sample["name"] for sample in samples if parameter["name"] in _names(sample, "normfactor")
            ],
            "Nominal": parameter["inits"][0],
            "Bounds": parameter["bounds"][0],
        }
        for parameter in measurement["config"]["parameters"]
    ]
    systematics = [
        _systematic(modifier, sample["name"]) for sample in samples for modifier in _constrained(sample)
    ]
    return {
        "General": {
            "Measurement": measurement["name"],
            "POI": POI,
            "InputPath": f"{TEMPLATES}/",
            "HistogramFolder": f"{TEMPLATES}/",
        },
        "Regions": [{"Name": CHANNEL}],
        "Samples": [
            {"Name": _DATA, "Data": True},
            *({"Name": sample["name"], "DisableStaterror": True} for sample in samples),
        ],
        "NormFactors": factors,
        **({"Systematics": systematics} if systematics else {}),
    }


def templates(workspace: dict[str, Any]) -> dict[str, FloatArray]:
    """Contents of the template histograms.

    Parameters
    ----------
    workspace
        HistFactory JSON of `analysis.workspace`.

    Returns
    -------
    dict of str to FloatArray
        Name that cabinetry gives the file to its events a bin, shape (n,).
    """
    found = {_file(_DATA): np.asarray(workspace["observations"][0]["data"], dtype=np.float64)}
    for sample in workspace["channels"][0]["samples"]:
        found[_file(sample["name"])] = np.asarray(sample["data"], dtype=np.float64)
        for modifier in _constrained(sample):
            if modifier["type"] == "histosys":
                for side, key in (("Up", "hi_data"), ("Down", "lo_data")):
                    name = _file(sample["name"], modifier["name"], side)
                    found[name] = np.asarray(modifier["data"][key], dtype=np.float64)
    return found


def write_cabinetry(folder: Path, stored: StoredWorkspace) -> list[Path]:
    """Write ``config.yml`` and ``templates/*.npz`` for one workspace.

    Parameters
    ----------
    folder
        Where to; cabinetry is to be run inside.
    stored
        The workspace.

    Returns
    -------
    list of Path
        What was written.
    """
    written = []
    for name, values in templates(stored.workspace).items():
        with atomic_path(folder / TEMPLATES / f"{name}.npz") as path:
            np.savez(
                path,
                yields=values,
                stdev=np.zeros_like(values),
                bins=np.asarray(stored.facts.edges, dtype=np.float64),
            )
        written.append(folder / TEMPLATES / f"{name}.npz")
    with atomic_path(folder / CONFIG) as path:
        path.write_text(yaml.safe_dump(build_config(stored.workspace), sort_keys=False))
    return [folder / CONFIG, *written]


def _names(sample: dict[str, Any], kind: str) -> list[str]:
    return [modifier["name"] for modifier in sample["modifiers"] if modifier["type"] == kind]


def _constrained(sample: dict[str, Any]) -> list[dict[str, Any]]:
    return [modifier for modifier in sample["modifiers"] if modifier["type"] != "normfactor"]


def _systematic(modifier: dict[str, Any], sample: str) -> dict[str, Any]:
    if modifier["type"] == "normsys":
        sides = {
            "Type": "Normalization",
            "Up": {"Normalization": modifier["data"]["hi"] - 1},
            "Down": {"Normalization": modifier["data"]["lo"] - 1},
        }
    else:
        sides = {"Type": "NormPlusShape", "Up": {}, "Down": {}}
    return {"Name": modifier["name"], "Samples": [sample], **sides}


def _file(sample: str, systematic: str | None = None, side: str | None = None) -> str:
    """Name of a template's file without its ending."""
    return "_".join(part for part in (CHANNEL, sample, systematic, side) if part)
