"""What the JSON files of a run say, in short: each kind is recognised by its keys."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.limit_record import LimitRecord, SelectionLimits
from analysis.spectrum_document import SpectrumDocument
from analysis.study_record import StudyRecord
from data.errors import InputError
from data.files import read_json
from data.manifest import Manifest

Facts = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """A kind of JSON file: what it is, the keys that tell it from others, and how it is summarised."""

    kind: str
    keys: frozenset[str]
    facts: Callable[[dict[str, Any], str], Facts]


def document_facts(path: Path) -> Facts:
    """What a JSON file holds.

    Parameters
    ----------
    path
        A file that oddjet wrote, or a workspace or spectrum of another program.

    Returns
    -------
    dict
        ``kind`` first; masses in GeV, cross sections in fb.

    Raises
    ------
    InputError
        If it is no JSON, or none of the kinds that are known.
    ConfigError
        If a key is missing or wrong.
    """
    content = read_json(path)
    keys = set(content) if isinstance(content, dict) else set()
    for document in DOCUMENTS:
        if document.keys <= keys:
            return {"kind": document.kind, **document.facts(content, str(path))}
    msg = (
        f"{path}: none of the JSON files that oddjet knows; known: {', '.join(one.kind for one in DOCUMENTS)}"
    )
    raise InputError(msg)


def _workspace(content: dict[str, Any], source: str) -> Facts:
    observed = {one["name"]: one["data"] for one in content["observations"]}
    channels = {
        channel["name"]: {
            "bins": len(observed.get(channel["name"], ())),
            "observed": sum(observed.get(channel["name"], ())),
            "samples": [sample["name"] for sample in channel["samples"]],
        }
        for channel in content["channels"]
    }
    measured = {one["name"]: one["config"]["poi"] for one in content["measurements"]}
    if not set(channels) <= set(observed):
        msg = f"{source}: channel '{min(set(channels) - set(observed))}' has no observation; add it to 'observations'"
        raise InputError(msg)
    return {"channels": channels, "parameter_of_interest": measured, "version": content["version"]}


def _manifest(content: dict[str, Any], source: str) -> Facts:
    manifest = Manifest.parse(content, source)
    return {
        "stage": manifest.stage,
        "entries_read": manifest.entries_read,
        "entries_expected": manifest.entries_expected,
        "code_version": manifest.code_version,
        "inputs": list(manifest.inputs),
        "outputs": list(manifest.outputs),
    }


def _scan(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    selections = {}
    for name, rows in content["selections"].items():
        valid = [row for row in rows if row["valid"]]
        best = max(valid, key=lambda row: row["z"], default=None)
        selections[name] = {
            "masses": len(rows),
            "valid": len(valid),
            "largest_excess": None if best is None else {key: best[key] for key in ("mass", "z", "p0")},
        }
    return {
        "sample": content["sample"],
        "luminosity_ifb": content["luminosity_ifb"],
        "masses": content["masses"],
        "selections": selections,
    }


def _limits(content: dict[str, Any], source: str) -> Facts:
    record = LimitRecord.parse(content, source)
    return {
        "sample": record.sample,
        "region": record.region,
        "luminosity_ifb": record.luminosity_ifb,
        "limits_fb": {
            signal: {name: _limit(found) for name, found in limits.selections.items()}
            for signal, limits in record.signals.items()
        },
    }


def _limit(found: SelectionLimits) -> Facts:
    if found.observed is None:
        return {"invalid": found.message}
    return {"observed": found.observed.crossing_fb, "expected": found.expected[2].crossing_fb}


def _studies(content: dict[str, Any], source: str) -> Facts:
    record = StudyRecord.parse(content, source)
    windows = {
        name: {"methods": list(window.methods), "features": len(window.features)}
        for name, window in record.windows.items()
    }
    return {"windows": windows, "data_against_simulation": list(record.simulation)}


def _account(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    rows = content["files"]
    return {
        "expected": content["expected"],
        "processed": content["processed"],
        "complete": content["complete"],
        "files": len(rows),
        "incomplete_files": [row["file"] for row in rows if row["processed"] != row["expected"]],
    }


def _spectrum(content: dict[str, Any], source: str) -> Facts:
    document = SpectrumDocument.parse(content, source)
    edges = content["edges"]
    return {
        "bins": len(document.counts),
        "edges": [edges[0], edges[-1]] if isinstance(edges, list) else edges,
        "events": sum(document.counts),
    }


DOCUMENTS = (
    Document("HistFactory workspace", frozenset({"channels", "observations", "measurements"}), _workspace),
    Document("manifest of a stage", frozenset({"stage", "config_hash", "outputs"}), _manifest),
    Document("result of a scan", frozenset({"sample", "masses", "selections"}), _scan),
    Document("limits with retraining", frozenset({"sample", "signals", "study"}), _limits),
    Document("studies of the report", frozenset({"windows", "simulation"}), _studies),
    Document("account of the events", frozenset({"files", "expected", "processed"}), _account),
    Document("spectrum", frozenset({"edges", "counts"}), _spectrum),
)
"""Every kind; a file is of the first whose keys it has."""
