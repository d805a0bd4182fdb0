"""What the JSON files of a run say, in short: each kind is recognised by its keys, or by the name of the file."""

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
    """A kind of JSON file: what it is, the keys that tell it from others, and how it is summarised.

    ``name``: of the file, where the keys are those of samples or selections and tell nothing.
    """

    kind: str
    keys: frozenset[str]
    facts: Callable[[dict[str, Any], str], Facts]
    name: str = ""

    def fits(self, content: Any, name: str) -> bool:
        """Whether a file of this name and content is of this kind."""
        if self.name:
            return name == self.name
        return isinstance(content, dict) and self.keys <= content.keys()


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
        If it is no JSON, none of the kinds that are known, or lacks what files of its kind hold.
    ConfigError
        If a key is missing or wrong.
    """
    content = read_json(path)
    for document in DOCUMENTS:
        if document.fits(content, path.name):
            return {"kind": document.kind, **_facts_of(document, content, str(path))}
    msg = (
        f"{path}: none of the JSON files that oddjet knows; known: {', '.join(one.kind for one in DOCUMENTS)}"
    )
    raise InputError(msg)


def _facts_of(document: Document, content: dict[str, Any], source: str) -> Facts:
    try:
        return document.facts(content, source)
    except KeyError as error:
        msg = f"{source}: {document.kind} without the key {error}; {_REMEDY}"
        raise InputError(msg) from None
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        msg = f"{source}: {document.kind} with another value than belongs there ({error}); {_REMEDY}"
        raise InputError(msg) from None


_REMEDY = "it was damaged or written by another program: write it again"


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
        # The remark says where p0 is a bound.
        shown = ("mass", "z", "p0", "message") if best and best.get("message") else ("mass", "z", "p0")
        selections[name] = {
            "masses": len(rows),
            "valid": len(valid),
            "largest_excess": None if best is None else {key: best[key] for key in shown},
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


def _cutflow(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    return {"events": {sample: _steps(rows) for sample, rows in content.items()}}


def _steps(rows: list[dict[str, Any]]) -> Facts:
    return {row["step"]: row["events"] for row in rows}


def _pass_record(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    counts = {key: content[key] for key in ("expected", "processed", "without_particles")}
    return {**counts, "events": _steps(content["cutflow"])}


def _fits(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    keys = ("mass", "range", "function", "chi2", "ndf", "fit_p")
    return {
        "selections": {
            name: {"invalid": True} if fit is None else {key: fit[key] for key in keys}
            for name, fit in content.items()
        }
    }


def _systematics(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    selections = {
        name: {
            f"{row['mass']:g}": {
                "down": row["down"], "up": row["up"], "sources": [one["name"] for one in row["sources"]],
            }
            for row in found["masses"]
        }
        for name, found in content["selections"].items()
    }  # fmt: skip
    return {"in_limits": content["in_limits"], "selections": selections}


def _index(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    files: dict[str, dict[str, str]] = {}
    for entry in content["workspaces"]:
        files.setdefault(entry["selection"], {})[f"{entry['mass']:g}"] = entry["file"]
    return {"files": files}


def _injections(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    seeds: dict[float, int] = {}
    for one in content["injections"]:
        seeds[one["cross_section_fb"]] = seeds.get(one["cross_section_fb"], 0) + 1
    facts = {key: content[key] for key in ("signal", "method", "window", "mass", "retrained")}
    return {**facts, "cross_sections_fb": list(seeds), "seeds": max(seeds.values(), default=0)}


def _best(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    return {key: content[key] for key in ("cross_section_fb", "fit_range", "message")}


def _retraining(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    return {
        "cross_section_fb": content["cross_section_fb"],
        "efficiencies": content["efficiencies"],
        "sources": {
            one["name"]: {key: one[key] for key in ("up", "down", "retrained")} for one in content["sources"]
        },
    }


def _plan(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    files = content["files"]
    return {"files": len(files), "entries": sum(one["entries"] for one in files)}


def _events(content: dict[str, Any], source: str) -> Facts:  # noqa: ARG001 - as every kind
    return {"events": list(content["events"])}


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
    Document("record of pass 2 over a sample", frozenset({"processed", "cutflow"}), _pass_record),
    Document("cutflow", frozenset(), _cutflow, name="cutflow.json"),
    Document("fits of the background", frozenset(), _fits, name="fits.json"),
    Document("systematic uncertainties", frozenset({"in_limits", "selections", "jes"}), _systematics),
    Document("index of the workspaces", frozenset({"workspaces"}), _index),
    Document("trainings with an injected signal", frozenset({"signal", "method", "injections"}), _injections),
    Document("best injection", frozenset({"cross_section_fb", "fit_range", "message"}), _best),
    Document("trainings with varied signals", frozenset({"efficiencies", "sources"}), _retraining),
    Document("what the files of a sample hold", frozenset({"scale", "schemas", "files"}), _plan),
    Document("events of the report's displays", frozenset({"events"}), _events),
    Document("spectrum", frozenset({"edges", "counts"}), _spectrum),
)
"""Every kind; a file is of the first whose keys it has."""
