"""JSON schemas of the configuration and of sample definitions, for editors: keys, values, and what each is for.

``python -m analysis.config_schema`` writes the shipped files again after a change of the sections.
"""

import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

import models
from analysis.config import Config, MassGrid
from analysis.method_facts import field_texts
from data.files import write_json
from data.samples import SampleFile
from data.sections import Section
from models.base import PRESETS
from processors.further import known_features

FOLDER = Path(__file__).with_name("schemas")
"""Where the shipped schemas stand."""
Name = Literal["search", "samples"]
DOCUMENTS: dict[str, type[Section]] = {"search": Config, "samples": SampleFile}
"""Name of each schema to the section that it comes from."""
_TITLES = {"search": "Configuration of an oddjet search", "samples": "Sample definition of oddjet"}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def shipped(name: Name) -> Path:
    """Where the schema of a document stands."""
    return FOLDER / f"{name}.json"


def config_schema(name: Name) -> dict[str, Any]:
    """The schema of a document that the user writes, as draft 2020-12.

    Parameters
    ----------
    name
        ``search``: the configuration, with the options of every method; ``samples``: a sample definition.

    Returns
    -------
    dict
        Every key has the description that its section gives.
    """
    methods = _methods() if name == "search" else {}
    grid: list[type[Section]] = [MassGrid] if name == "search" else []
    sections: list[type[Section]] = [DOCUMENTS[name], *grid, *dict.fromkeys(methods.values())]
    references, defined = models_json_schema([(section, "validation") for section in sections])
    known = {references[section, "validation"]["$ref"].rpartition("/")[2]: section for section in sections}
    known |= {one.__name__: one for section in sections for one in _inside(section)}
    definitions = defined["$defs"]
    for key, section in known.items():
        _describe(definitions[key], section, definitions)
    places = {section: references[section, "validation"]["$ref"] for section in sections}
    top = definitions.pop(places[DOCUMENTS[name]].rpartition("/")[2])
    if name == "search":
        _open(top, definitions, {method: places[section] for method, section in methods.items()})
    return {"$schema": _DRAFT, **top, "title": _TITLES[name], "$defs": definitions}


def _methods() -> dict[str, type[Section]]:
    return {name: models.describe(name).options_type for name in models.available()}


def _inside(section: type[Section]) -> Iterator[type[Section]]:
    """The sections below a section, itself not among them."""
    for field in section.model_fields.values():
        for below in _sections(field.annotation):
            yield below
            yield from _inside(below)


def _sections(annotation: object) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        if issubclass(annotation, Section):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _sections(inner)


def _describe(definition: dict[str, Any], section: type[Section], definitions: dict[str, Any]) -> None:
    """Put the texts of a section's fields into its definition, and leave out what tells an editor nothing."""
    texts = field_texts(section)
    if "description" in definition:
        definition["description"] = (
            definition["description"].partition("\n\nParameters\n")[0].replace("``", "")
        )
    for key, about in definition.get("properties", {}).items():
        about.pop("title", None)
        text = texts.get(key) or _of_section(about, definitions)
        if text:
            about["description"] = text


def _of_section(about: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What the section of a key says of itself, in its first paragraph."""
    places = [one["$ref"] for one in (about, *about.get("anyOf", ())) if "$ref" in one]
    words = definitions[places[0].rpartition("/")[2]].get("description", "") if places else ""
    return " ".join(words.partition("\n\n")[0].replace("``", "").split())


def _open(top: dict[str, Any], definitions: dict[str, Any], methods: dict[str, str]) -> None:
    """Allow what the sections take beyond their own types: grids of masses, numbers of parameters, presets."""
    scan = definitions["ScanSection"]["properties"]
    masses = {key: scan["masses"].pop(key) for key in ("type", "items", "minItems")}
    scan["masses"]["anyOf"] = [masses, {"$ref": "#/$defs/MassGrid"}]
    scan["candidates"]["items"] = {"type": ["string", "integer"]}
    definitions["FeaturesConfig"]["properties"]["further"]["items"]["enum"] = list(known_features())
    preset = {
        "enum": list(PRESETS),
        "default": PRESETS[0],
        "description": "Options to start from: quick (minutes become seconds) or paper (the authors' recipe).",
    }
    properties = {}
    for method, place in methods.items():
        definition = definitions[place.rpartition("/")[2]]
        definition["properties"] = {"preset": preset, **definition["properties"]}
        properties[method] = {"$ref": place, "description": models.describe(method).summary}
    about = top["properties"]["methods"]
    about |= {"properties": properties, "additionalProperties": False}


def write_config_schemas(folder: Path = FOLDER) -> list[Path]:
    """Write both schemas.

    Parameters
    ----------
    folder
        Where to.

    Returns
    -------
    list of Path
        The files.
    """
    paths = []
    for name in typing.get_args(Name):
        paths.append(folder / f"{name}.json")
        write_json(paths[-1], config_schema(name))
    return paths


if __name__ == "__main__":
    write_config_schemas()
