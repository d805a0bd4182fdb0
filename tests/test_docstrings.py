"""Public names say what they take and give, in numpydoc sections: every number and array, arrays with their shape."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analysis", "condor", "data", "models", "processors")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
QUANTITY = re.compile(r"\bfloat\b|Array|NDArray|Tensor|\bTable\b|\bColumns\b|Spectrum|Histogram\b")
"""Annotations of what has a shape or a unit."""
SECTION = re.compile(r"^(?P<name>Parameters|Attributes|Returns|Yields|Other Parameters)\n-+$", re.MULTILINE)
ARRAY = re.compile(r"^(?:npt\.NDArray\[[\w.\[\]]+\]|\w*Array|torch\.Tensor)(?: \| [\w.]+)*$")
"""Annotations of one array; what holds several has no shape of its own."""
SHAPED = re.compile(
    r"[Ss]hape|\([^()]*,[^()]*\)|\b[Oo]ne (?:an?|each|per|of each)\b|\beach\b|\ban (?:event|entry)\b"
    r"|\ba (?:\w+ )?(?:jet|bin|row|particle|toy|mass)\b"
    r"|\b(?:[Aa]s|[Ss]ee|[Ff]rom|[Aa]s for|of|[Ww]hat) (?:`|above)"
)
"""How a docstring tells a shape: (n, 3), \"one an event\", or where else it stands."""
INHERITED = {"override", "overload", "field_validator", "model_validator", "field_serializer", "fixture"}
"""Decorators of functions that are documented elsewhere or called by pydantic only."""


def test_sections_are_found():
    text = "One line.\n\nParameters\n----------\nx, y\n    Shape (n,), GeV.\n\nReturns\n-------\nfloat\n    GeV.\n"
    told = "Shape (n,), GeV."
    assert sections(text) == {"Parameters": {"x": told, "y": told}, "Returns": {"float": "GeV."}}


def test_arrays_without_shape_are_found():
    text = 'def f(x: FloatArray, y: FloatArray | None, z: float) -> None:\n    """Do.\n\n    Parameters\n    ----------\n'
    text += '    x\n        GeV.\n    y\n        GeV, shape (n,).\n    z\n        GeV.\n    """\n'
    (node,) = ast.parse(text).body
    assert lacking("", node) == ["shape of x"]


def sections(docstring: str) -> dict[str, dict[str, str]]:
    """Section to the names that it documents, with what it says of each."""
    found: dict[str, dict[str, str]] = {}
    heads = list(SECTION.finditer(docstring))
    for head in heads:
        body = docstring[head.end() :]
        end = re.search(r"^\S[^\n]*\n-+$", body, re.MULTILINE)
        lines = body[: end.start() if end else None].splitlines()
        found[head["name"]] = told = {}
        names: list[str] = []
        for line in filter(str.strip, lines):
            if line[0].isspace():
                told |= {name: f"{told[name]} {line.strip()}".strip() for name in names}
            else:
                written, _, kind = line.partition(" : ")
                names = [name.strip().lstrip("*") for name in written.split(",")]
                told |= dict.fromkeys(names, kind)
    return found


def public(name: str) -> bool:
    return not name.startswith("_")


def decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    calls = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return {d.attr if isinstance(d, ast.Attribute) else getattr(d, "id", "") for d in calls}


def methods() -> dict[str, dict[str, ast.FunctionDef]]:
    """Class to its documented methods, for those that only fill in what a base class declares."""
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {c.name: {f.name: f for f in c.body if isinstance(f, ast.FunctionDef)} for c in classes}


BASES = {
    node.name: [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}
METHODS = methods()


def declared_above(owner: str, name: str) -> bool:
    """Whether a base class of ours declares this method, and so documents it."""
    return any(name in METHODS.get(base, {}) or declared_above(base, name) for base in BASES.get(owner, []))


def functions(path: Path):
    """Public functions and methods with the class that they are in."""
    for node in TREES[path].body:
        if isinstance(node, ast.FunctionDef) and public(node.name):
            yield "", node
        elif isinstance(node, ast.ClassDef) and public(node.name):
            yield from (
                (node.name, one)
                for one in node.body
                if isinstance(one, ast.FunctionDef)
                and public(one.name)
                and not declared_above(node.name, one.name)
            )


def arguments(node: ast.FunctionDef) -> list[ast.arg]:
    every = [
        *node.args.posonlyargs,
        *node.args.args,
        *node.args.kwonlyargs,
        node.args.vararg,
        node.args.kwarg,
    ]
    return [arg for arg in every if arg is not None and arg.arg not in {"self", "cls"} and public(arg.arg)]


def lacking(owner: str, node: ast.FunctionDef) -> list[str]:
    """What the docstring of a function with numbers or arrays does not say."""
    marks = decorators(node)
    annotations = [ast.unparse(arg.annotation) for arg in arguments(node) if arg.annotation]
    returns = ast.unparse(node.returns) if node.returns else "None"
    if marks & INHERITED or "command" in marks or not QUANTITY.search(" ".join([*annotations, returns])):
        return []
    found = sections(ast.get_docstring(node) or "")
    given = found.get("Parameters", {}) | found.get("Other Parameters", {})
    lacks = [arg.arg for arg in arguments(node) if arg.arg not in given]
    arrays = [a.arg for a in arguments(node) if a.annotation and ARRAY.match(ast.unparse(a.annotation))]
    lacks += [f"shape of {name}" for name in arrays if name in given and not SHAPED.search(given[name])]
    said = "Returns" in found or "Yields" in found or marks & {"property", "cached_property"}
    return lacks + ([] if returns == "None" or said else ["Returns"])


def fields(node: ast.ClassDef) -> list[str]:
    """Fields of a dataclass or section with numbers or arrays of which nothing is said."""
    given = set().union(*sections(ast.get_docstring(node) or "").values())
    lacks = []
    for one, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name):
            continue
        told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if public(one.target.id) and QUANTITY.search(ast.unparse(one.annotation)):
            lacks += [] if told or one.target.id in given else [one.target.id]
    return lacks


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_say_what_they_take_and_give(path):
    found = {f"{owner}.{node.name}".lstrip("."): lacking(owner, node) for owner, node in functions(path)}
    assert {name: lacks for name, lacks in found.items() if lacks} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_records_say_what_their_fields_are(path):
    classes = [n for n in TREES[path].body if isinstance(n, ast.ClassDef) and public(n.name)]
    assert {c.name: fields(c) for c in classes if fields(c)} == {}
