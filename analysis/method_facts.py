"""What there is to say of a method before it is trained: what it needs, its options, its presets."""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import models
from data.sections import Section
from models import Method

FAMILIES = ("weak supervision", "unsupervised", "hybrid", "event level", "combination", "reference")
"""Families of methods, in the order in which they are listed; any other comes last."""


@dataclass(frozen=True)
class MethodFacts:
    """A method in a line.

    Attributes
    ----------
    name, family, summary
        Words.
    needs
        What it reads and is trained on, beyond the dijet mass.
    flat
        Whether it promises a selection flat in the dijet mass.
    """

    name: str
    family: str
    needs: str
    flat: bool
    summary: str


@dataclass(frozen=True)
class Option:
    """One option of a method: its key (nested ones with dots), its default, its values and what it is for."""

    key: str
    default: str
    values: str
    text: str


def all_facts() -> list[MethodFacts]:
    """Every method, by family and name."""
    found = [facts(models.describe(name)) for name in models.available()]
    return sorted(found, key=lambda one: (*_place(one.family), one.name))


def _place(family: str) -> tuple[int, str]:
    return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), family)


def facts(method: type[Method]) -> MethodFacts:
    """What stands of a method in the list."""
    needs = [_columns_in_words(default_columns(method)), *_tables_in_words(method.takes)]
    return MethodFacts(method.name, method.family, ", ".join(needs), method.flat, method.summary)


def default_columns(method: type[Method]) -> tuple[str, ...]:
    """The columns that a method of default options reads, without ``mjj``."""
    return models.check_options(method.name, {}, method.name)


def _columns_in_words(columns: tuple[str, ...]) -> str:
    """Features by their number, arrays an event by name."""
    arrays = {"rmm": "rmm", "constituents_j1": "constituents", "constituents_j2": "constituents"}
    named = list(dict.fromkeys(arrays[name] for name in columns if name in arrays))
    others = [name for name in columns if name not in arrays]
    if len(others) <= 2:
        return ", ".join([*others, *named]) or "mjj only"
    return ", ".join([f"{len(others)} features", *named])


def _tables_in_words(takes: Mapping[str, bool]) -> list[str]:
    return [f"{keyword} table" if required else f"({keyword} table)" for keyword, required in takes.items()]


def options_of(section: type[Section]) -> list[Option]:
    """The options of a section, then those of the sections inside it with dots."""
    found = _options(section, {}, "")
    return sorted(found, key=lambda option: "." in option.key)


def _options(section: type[Section], defaults: Mapping[str, Any], prefix: str) -> list[Option]:
    """Options by field; ``defaults`` are those of the section that this one stands in."""
    texts = field_texts(section)
    found: list[Option] = []
    for name, field in section.model_fields.items():
        inner, default = field.annotation, field.get_default(call_default_factory=True)
        default = defaults.get(name, default)
        if isinstance(default, Section):
            found += _options(type(default), dict(default), f"{prefix}{name}.")
        else:
            found.append(Option(prefix + name, plain(default), _values(inner), texts.get(name, "")))
    return found


def plain(value: Any) -> str:
    """A default as YAML would have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(plain(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(annotation: Any) -> str:
    """The values that an option may have, in words."""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return {"float": "number", "int": "integer", "bool": "true | false", "str": "text"}.get(
            annotation.__name__, annotation.__name__
        )
    if get_origin(annotation) in {tuple, list}:
        return "list"
    return " | ".join(dict.fromkeys(_values(inner) for inner in get_args(annotation)))


def field_texts(section: type[Section]) -> dict[str, str]:
    """What is said of each field of a section, and of its bases: below it in the source, or in the class's docstring.

    Parameters
    ----------
    section
        The section.

    Returns
    -------
    dict
        Field to one line of text; fields of which nothing is said are left out.
    """
    texts: dict[str, str] = {}
    for owner in reversed(section.__mro__):
        if not issubclass(owner, Section) or owner is Section:
            continue
        texts |= _documented(owner)
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        lines = body.body if isinstance(body, ast.ClassDef) else []
        for field, below in itertools.pairwise(lines):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _string(below)
                texts |= {field.target.id: text} if text else {}
    return texts


def _documented(section: type[Section]) -> dict[str, str]:
    """What stands below "Parameters" in a docstring: several names may share one text."""
    text = inspect.cleandoc(section.__doc__ or "")
    block = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(
        r"^(\w[^\n]*)\n((?:[ ]+[^\n]*\n?|\n)+)", block.group(1) if block else "", flags=re.MULTILINE
    )
    return {
        name.strip(): " ".join(words.replace("``", "").split())
        for names, words in found
        for name in names.split(",")
    }


def _string(node: ast.stmt) -> str:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return " ".join(node.value.value.replace("``", "").split())
    return ""


def story(method: type[Method]) -> str:
    """A method's docstring without its parameters: what it does, assumes, is blind to, and the papers."""
    text = inspect.cleandoc(method.__doc__ or "")
    text = re.sub(r"Parameters\n-+\n.*?(?=\n\S[^\n]*\n-+\n|\Z)", "", text, flags=re.DOTALL)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def presets_of(method: type[Method]) -> dict[str, list[str]]:
    """Preset to the options that it changes, as ``key: value``; ``default`` changes none."""
    return {"default": [], **{name: _flat(options) for name, options in method.presets.items()}}


def _flat(options: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in options.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, Section):
            found += _flat(value.model_dump(exclude_unset=True), f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}: {plain(value)}")
    return found
