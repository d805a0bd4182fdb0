"""The messages of errors, read from the source of the five packages."""

import ast
import builtins
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analysis", "condor", "data", "models", "processors")
BUILTIN = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
# The type of a value, or what is told of it, where its own name says more to a reader.
_SAME = {
    "str",
    "repr",
    "sorted",
    "list",
    "tuple",
    "set",
    "join",
    "dumps",
    "float",
    "int",
    "abs",
    "dict",
    "fspath",
}
_MOST = 8
"""Variants of one message beyond which its parts are shown by their names."""


def words(template: str) -> list[str]:
    """The words that are written in the code, without what is filled in."""
    return re.findall(r"[A-Za-z]{2,}", re.sub(r"\{[^{}]*\}", " ", template))


@dataclass(frozen=True)
class Module:
    """A module's syntax tree with what is needed to follow names in it."""

    file: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {n.name: n for n in ast.walk(self.tree) if isinstance(n, ast.FunctionDef)}

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        return {
            target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        return {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def around(self, node: ast.AST) -> ast.FunctionDef | None:
        return next((up for up in self.above(node) if isinstance(up, ast.FunctionDef)), None)

    def given_names(self, node: ast.AST) -> frozenset[str]:
        """Names of the parameters of the function around a node, and of the fields of the module's classes."""
        function = self.around(node)
        parameters = [n.arg for n in ast.walk(function) if isinstance(n, ast.arg)] if function else []
        classes = [n for n in ast.walk(self.tree) if isinstance(n, ast.ClassDef)]
        fields = [last(n.target) for one in classes for n in one.body if isinstance(n, ast.AnnAssign)]
        return frozenset(parameters + fields) - {"self", "cls"}

    def qualified(self, node: ast.AST) -> str:
        names = [up.name for up in self.above(node) if isinstance(up, ast.FunctionDef | ast.ClassDef)]
        return ".".join(reversed(names)) or "(module)"


@cache
def modules() -> dict[str, Module]:
    """All modules of the packages by their dotted names."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = Module(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text()))
            found[module.name] = module
    return found


@cache
def error_classes() -> dict[str, tuple[str, str]]:
    """Error classes that the packages define: name to its base and its docstring."""
    classes = [
        n for m in modules().values() for n in ast.walk(m.tree) if isinstance(n, ast.ClassDef) and n.bases
    ]
    found: dict[str, tuple[str, str]] = {}
    while True:
        new = {
            node.name: (last(node.bases[0]), ast.get_docstring(node) or "")
            for node in classes
            if node.name not in found and (last(node.bases[0]) in found or last(node.bases[0]) in BUILTIN)
        }
        if not new:
            return found
        found |= new


def is_ours(name: str) -> bool:
    """Whether a class comes from `data.errors.OddjetError`."""
    while name in error_classes():
        if name == "OddjetError":
            return True
        name = error_classes()[name][0]
    return False


def last(node: ast.AST) -> str:
    """``c`` of ``a.b.c``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "·", ast.Div: "/", ast.FloorDiv: "//", ast.BitOr: "and"}


def _short_call(call: ast.Call) -> str:
    name = last(call.func)
    if call.args and name in {"len", "type"}:
        return f"{'number' if name == 'len' else 'type'} of {short(call.args[0])}"
    if call.args and name in _SAME:
        return short(call.args[0])
    if isinstance(call.func, ast.Attribute) and not isinstance(call.func.value, ast.Name):
        return short(call.func.value)
    return name.strip("_").replace("_", " ")


_SHORT: dict[type[ast.expr], Callable[[Any], str]] = {
    ast.Name: lambda node: node.id.strip("_"),
    ast.Attribute: lambda node: short(node.value) if node.attr.startswith("__") else node.attr.strip("_"),
    ast.Call: _short_call,
    ast.GeneratorExp: lambda node: short(node.generators[0].iter),
    ast.ListComp: lambda node: short(node.generators[0].iter),
    ast.SetComp: lambda node: short(node.generators[0].iter),
    ast.Subscript: lambda node: short(node.value),
    ast.Starred: lambda node: short(node.value),
    ast.FormattedValue: lambda node: short(node.value),
    ast.UnaryOp: lambda node: short(node.operand),
    ast.BinOp: lambda node: f"{short(node.left)} {_OPERATORS.get(type(node.op), '…')} {short(node.right)}",
    ast.IfExp: lambda node: f"{short(node.body)} or {short(node.orelse)}",
    ast.BoolOp: lambda node: " or ".join(map(short, node.values)),
    ast.Constant: lambda node: str(node.value),
    ast.JoinedStr: lambda node: next(
        (short(p) for p in node.values if isinstance(p, ast.FormattedValue)), "text"
    ),
}


def short(node: ast.expr) -> str:
    """The name by which a reader knows what an expression fills in."""
    return _SHORT.get(type(node), ast.unparse)(node)


def texts(module: Module, node: ast.expr, depth: int = 0) -> list[str]:
    """The texts that an expression can give, with names between braces for what is filled in."""
    shown = [f"{{{short(node)}}}"]
    match node:
        case ast.Constant(value=str() as value):
            return [value]
        case ast.JoinedStr():
            return _joined(module, node.values, depth)
        case ast.FormattedValue():
            found = texts(module, node.value, depth)
        case ast.BinOp(op=ast.Add()):
            found = _joined(module, [node.left, node.right], depth)
        case ast.IfExp(body=first, orelse=second) | ast.BoolOp(op=ast.Or(), values=[first, second]):
            found = texts(module, first, depth) + texts(module, second, depth)
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.GeneratorExp() | ast.ListComp() as items]):
            found = texts(module, items.elt, depth)
        case ast.Name():
            found = _number(module, node) or [
                text for value in _assigned(module, node) for text in texts(module, value, depth)
            ]
        case ast.Subscript(value=ast.Name() as table):
            tables = [value for value in _assigned(module, table) if isinstance(value, ast.Dict)]
            found = [text for one in tables for value in one.values for text in texts(module, value, depth)]
        case ast.Call() if depth < 3:
            found = _called(module, node, depth)
        case _:
            return shown
    found = list(dict.fromkeys(found))
    told = any(words(text) or text[:1].isdigit() for text in found)
    return found if told and len(found) <= _MOST else shown


def _joined(module: Module, parts: list[ast.expr], depth: int) -> list[str]:
    choices = [texts(module, part, depth) for part in parts]
    while len(list(itertools.product(*choices))) > _MOST:
        widest = max(range(len(choices)), key=lambda index: len(choices[index]))
        choices[widest] = [f"{{{short(parts[widest])}}}"]
    return ["".join(one) for one in itertools.product(*choices)]


def _assigned(module: Module, name: ast.Name) -> list[ast.expr]:
    """What a name was given: before the statement on the way to it, else anywhere in its function or module."""
    function = module.around(name)
    if function is None:
        return [module.constants[name.id]] if name.id in module.constants else []
    given = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and node.value is not None
        and name.id in {last(target) for target in _targets(node)}
        and name not in ast.walk(node)
    ]
    way = set(module.above(name))
    before = [node for node in given if node.lineno < name.lineno and module.parents[node] in way]
    if before and isinstance(value := before[-1].value, ast.expr):
        later = [node for node in given if before[-1].lineno < node.lineno < name.lineno]
        return [value, *(node.value for node in later if node.value is not None)]
    if given:
        return [node.value for node in given if node.value is not None]
    arguments = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
    if name.id in arguments:
        return []
    if name.id in module.constants:
        return [module.constants[name.id]]
    where, original = module.imports.get(name.id, ("", ""))
    return [modules()[where].constants[original]] if original in _constants_of(where) else []


def _number(module: Module, name: ast.Name) -> list[str]:
    """The value of a name that stands for a number in all of its module, as `MAX_FAILED`."""
    values = _assigned(module, name) if name.id.isupper() else []
    if len(values) == 1 and isinstance(values[0], ast.Constant) and isinstance(values[0].value, int | float):
        return [str(values[0].value)]
    return []


def _constants_of(name: str) -> dict[str, ast.expr]:
    return modules()[name].constants if name in modules() else {}


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _called(module: Module, call: ast.Call, depth: int) -> list[str]:
    """The texts that a function of ours returns."""
    name = last(call.func)
    where, original = module.imports.get(name, (module.name, name))
    function = modules()[where].functions.get(original) if where in modules() else None
    if function is None or (isinstance(call.func, ast.Attribute) and last(call.func.value) != "self"):
        return []
    returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
    return [text for value in returned for text in texts(modules()[where], value, depth + 1)]
