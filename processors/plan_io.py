"""The plan of a sample as a file: what its files hold, so that they need not all be opened again."""

from dataclasses import replace
from pathlib import Path

import pydantic

from data.errors import InputError
from data.files import read_json, write_json
from data.samples import Sample
from data.trees import as_tree, from_tree
from processors.preflight import FileFacts, SamplePlan
from processors.resolve import FileSchema
from processors.weights import WeightScale

_FORMAT, _VERSION = "oddjet plan", 1


def write_plan(path: Path, plan: SamplePlan, identity: str = "") -> None:
    """Write a plan, atomically.

    Parameters
    ----------
    path
        The file, JSON.
    plan
        What was found in a sample's files.
    identity
        Hash of what the plan was made from.
    """
    schemas = list(dict.fromkeys(file.schema for file in plan.files if file.schema is not None))
    files = []
    for file in plan.files:
        sections = None if file.sections is None else file.sections.tolist()
        number = None if file.schema is None else schemas.index(file.schema)
        files.append({**as_tree(file), "schema": number, "sections": sections})
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "identity": identity,
        "sample": as_tree(plan.sample),
        "scale": as_tree(plan.scale),
        "schemas": [as_tree(schema) for schema in schemas],
        "files": files,
    }
    write_json(path, content)


def read_plan(path: Path, identity: str = "") -> SamplePlan:
    """Read a plan.

    Parameters
    ----------
    path
        The file.
    identity
        As it was written.

    Raises
    ------
    InputError
        If it cannot be read, is no plan, or was made from something else.
    """
    content = read_json(path)
    try:
        if (content["format"], content["version"], content["identity"]) != (_FORMAT, _VERSION, identity):
            msg = f"{path}: not the plan of these files and options; make it again"
            raise InputError(msg)
        schemas = [from_tree(FileSchema, tree) for tree in content["schemas"]]
        files = []
        for tree in content["files"]:
            number = tree["schema"]
            facts: FileFacts = from_tree(FileFacts, {**tree, "schema": None})
            sections = None if facts.sections is None else facts.sections.astype("int64")
            schema = None if number is None else schemas[number]
            files.append(replace(facts, schema=schema, sections=sections))
        sample, scale = from_tree(Sample, content["sample"]), from_tree(WeightScale, content["scale"])
        return SamplePlan(sample, tuple(files), scale)
    except (KeyError, TypeError, ValueError, IndexError, pydantic.ValidationError) as error:
        msg = f"{path}: not a plan of this version ({type(error).__name__}: {error}); make it again"
        raise InputError(msg) from None
