"""Base class of configuration sections: frozen, typed, and strict about unknown keys."""

import difflib
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

import pydantic
import yaml
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from data.errors import ConfigError


def plain_number(value: object) -> object:
    """Check before a field is read that its value is no text and not true or false; see `Number`."""
    if isinstance(value, str | bool):
        msg = f"expected a number, found {json.dumps(value)}; write it without quotes"
        raise ValueError(msg)  # noqa: TRY004 - pydantic takes it for its report
    return value


Number = Annotated[float, pydantic.BeforeValidator(plain_number)]
"""A number of a JSON document, not text that looks like one, nor true or false. (YAML reads 1e3 as text.)"""
Whole = Annotated[int, pydantic.BeforeValidator(plain_number)]
"""The same for whole numbers."""


class Section(pydantic.BaseModel):
    """One section of a YAML or JSON document, validated; unknown keys are errors.

    Each package declares the sections that it reads beside the code that reads them.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, mapping: object, source: str) -> Self:
        """Validate a mapping read from a document.

        Parameters
        ----------
        mapping
            What the YAML or JSON reader returned.
        source
            The document's name, for messages.

        Returns
        -------
        Section
            The validated section.

        Raises
        ------
        ConfigError
            With one line a problem: the key's full path, what is wrong, the nearest known key.
        """
        if not isinstance(mapping, dict):
            msg = f"{source}: expected a mapping of keys to values, found {type(mapping).__name__}"
            raise ConfigError(msg)
        try:
            return cls.model_validate(mapping)
        except pydantic.ValidationError as error:
            problems = error.errors()
            lines = [
                _describe(cls, mapping, dict(one)) for one in problems if not _follows(one["loc"], problems)
            ]
            raise ConfigError(f"{source}: " + "\n".join(lines)) from None


def _follows(location: tuple[object, ...], problems: list[ErrorDetails]) -> bool:
    """Whether a problem only follows from one below its key: a wrong entry makes a list too short as well."""
    below = [problem["loc"] for problem in problems if len(problem["loc"]) > len(location)]
    return any(place[: len(location)] == location for place in below)


def _describe(cls: type[Section], mapping: dict[Any, Any], problem: dict[str, Any]) -> str:
    location = problem["loc"]
    key = _key(mapping, location, absent=problem["type"] == "missing")
    if problem["type"] != "extra_forbidden":
        reason = reason_of(problem)
        return f"key '{key}': {reason}" if key else reason
    known = _known_keys(cls, location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key '{key}'; {hint}"


def _key(mapping: dict[Any, Any], location: tuple[object, ...], *, absent: bool) -> str:
    """The key of a problem as the document has it, without the names that pydantic gives to alternatives."""
    keys: list[str] = []
    here: Any = mapping
    for position, part in enumerate(location):
        below = dict(enumerate(here)) if isinstance(here, list) else here
        found = [key for key in below if str(key) == str(part)] if isinstance(below, dict) else []
        if found:
            here = below[found[0]]
        if found or (absent and position == len(location) - 1):
            keys.append(str(part))
    return ".".join(keys)


def reason_of(problem: Mapping[str, Any]) -> str:
    """What is wrong; pydantic's words do not know how YAML reads an unquoted number or an empty section.

    Parameters
    ----------
    problem
        One of the errors of a `pydantic.ValidationError`.

    Returns
    -------
    str
        Half a sentence, to follow the key.
    """
    value = problem["input"]
    if problem["type"] in {"string_type", "invalid_key"} and isinstance(value, bool | int | float):
        text = "" if isinstance(value, bool) else f': "{value}"'
        return f"YAML reads {value!r} as {type(value).__name__}, not as text; put it in quotes{text}"
    if problem["type"] in {"model_type", "dict_type"}:
        found = "nothing" if value is None else type(value).__name__
        return f"expected a mapping of keys to values, found {found}; fill it, or leave the key out"
    if problem["type"] in {"too_short", "too_long"}:
        limits = problem["ctx"]
        least = problem["type"] == "too_short"
        wanted = f"at least {limits['min_length']}" if least else f"at most {limits['max_length']}"
        found = limits["actual_length"]
        return f"expected {wanted} {'entry' if wanted.endswith(' 1') else 'entries'}, found {found}"
    if problem["type"] == "missing":
        return "missing, and it has no default"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    wanted = reason.removeprefix("Input should be ").partition(", unable to")[0]
    kind = "a number " if wanted.startswith(("greater", "less")) else ""
    return (
        reason if wanted == reason else f"expected {kind}{_PLAIN.get(wanted, wanted)}, found {_found(value)}"
    )


_PLAIN = {
    "a valid tuple": "a list in brackets",
    "a valid list": "a list in brackets",
    "a valid number": "a number",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "a valid string": "text",
}
"""What pydantic wants, in the words of those who write YAML."""


def _found(value: object) -> str:
    """A value as a message has it, short."""
    if value is None:
        return "nothing"
    kinds = ((dict, "a mapping"), (list, "a list"))
    return next((words for kind, words in kinds if isinstance(value, kind)), str(value)[:_SHORT] or "no text")


_SHORT = 60
"""Characters of a value in a message."""


def _known_keys(cls: type[Section], path: tuple[object, ...]) -> list[str]:
    """Keys allowed at a path inside nested sections, mappings and lists of sections."""
    here: list[type[Section]] = [cls]
    named = False  # the next part is the user's own name in a mapping, which may be that of a field too
    for part in path:
        below: list[type[Section]] = []
        chosen = [] if named else [section for section in here if _has_tag(section, part)]
        here = chosen or here
        fields = [None if named else _fields(section).get(str(part)) for section in here]
        for section, field in zip(here, fields, strict=True):
            below += [section] if field is None else _sections_in(field.annotation)
        named = any(field is not None and _is_mapping(field.annotation) for field in fields)
        here = below
    return sorted({name for section in here for name in _fields(section)})


def _has_tag(section: type[Section], part: object) -> bool:
    """Whether a part of a path is what tells this section from its alternatives, as ``type: qstar`` does."""
    kinds = [field.annotation for field in section.model_fields.values()]
    return any(typing.get_origin(kind) is typing.Literal and part in typing.get_args(kind) for kind in kinds)


def _fields(section: type[Section]) -> dict[str, FieldInfo]:
    """Fields by the key that the document has for them."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _is_mapping(annotation: object) -> bool:
    """Whether a field holds a mapping, perhaps among other things."""
    inner = () if typing.get_origin(annotation) is dict else typing.get_args(annotation)
    return typing.get_origin(annotation) is dict or any(_is_mapping(one) for one in inner)


def _sections_in(annotation: object) -> list[type[Section]]:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return [annotation] if issubclass(annotation, Section) else []
    return [found for inner in typing.get_args(annotation) for found in _sections_in(inner)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML document whose top level is a mapping.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict
        Plain Python values; no constructor of any other type is run.

    Raises
    ------
    ConfigError
        If the file is missing, is not text, is not YAML, repeats a key, or holds something other than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); check the path"
        raise ConfigError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path}: not text in UTF-8; give a file of YAML (`oddjet init` writes one for ROOT files)"
        raise ConfigError(msg) from None
    try:
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.YAMLError as error:
        msg = f"{path}: not valid YAML; correct it there: {error}"
        raise ConfigError(msg) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        msg = f"{path}: expected a mapping of keys to values at the top, found {found}; check that it is the right file"
        raise ConfigError(msg)
    return cast("dict[str, Any]", content)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; a configuration must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                msg = f"key '{key}' stands twice; remove one"
                raise yaml.constructor.ConstructorError(None, None, msg, node.start_mark)
        return super().construct_mapping(node, deep=deep)
