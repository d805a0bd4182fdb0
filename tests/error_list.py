"""Every error of the five packages, found in their source: where it is made, its class and its message.

``python -m tests.error_list`` writes ``analysis/errors.md``, the page for users.
"""

import ast
import builtins
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analysis", "condor", "data", "models", "processors")
PAGE = ROOT / "analysis" / "errors.md"
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


@dataclass(frozen=True)
class Site:
    """One place that makes an error.

    ``first`` and ``last`` are the lines of the statement; ``templates`` the message in its variants, with the names
    of what is filled in between braces; ``known`` what a caller or a configuration gives by name at this place: the
    parameters of the function, the fields of the module's classes.
    """

    file: str
    first: int
    last: int
    function: str
    error: str
    templates: tuple[str, ...]
    known: frozenset[str]
    checks_section: bool
    """Whether a section of a configuration refuses a value here: `data.sections` adds file and key."""
    passes_ours: bool
    """Whether the message ends with that of another error of ours, which has the remedy."""

    @property
    def passed_on(self) -> bool:
        """Whether the message was made at another place: there is no word of its own."""
        return not any(words(template) for template in self.templates)

    @property
    def key(self) -> str:
        """What names the place although lines move."""
        return f"{self.file} {self.function} {self.error}: {self.templates[0]}"


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
        fields = [_last(n.target) for one in classes for n in one.body if isinstance(n, ast.AnnAssign)]
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
            node.name: (_last(node.bases[0]), ast.get_docstring(node) or "")
            for node in classes
            if node.name not in found and (_last(node.bases[0]) in found or _last(node.bases[0]) in BUILTIN)
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


def _last(node: ast.AST) -> str:
    """``c`` of ``a.b.c``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def short(node: ast.AST) -> str:
    """The name by which a reader knows what an expression fills in."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return short(node.value) if node.attr == "__name__" else node.attr
        case ast.Call(func=ast.Name(id="len"), args=[argument]):
            return f"number of {short(argument)}"
        case ast.Call(func=ast.Name(id="type"), args=[argument]):
            return f"type of {short(argument)}"
        case ast.Call(func=function, args=[argument, *_]) if _last(function) in _SAME:
            return short(argument)
        case ast.Call(func=ast.Attribute(value=value)) if not isinstance(value, ast.Name):
            return short(value)
        case ast.Call():
            return _last(node.func).strip("_").replace("_", " ")
        case ast.GeneratorExp() | ast.ListComp() | ast.SetComp():
            return short(node.generators[0].iter)
        case ast.Subscript() | ast.Starred() | ast.FormattedValue():
            return short(node.value)
        case ast.UnaryOp():
            return short(node.operand)
        case ast.BinOp():
            return f"{short(node.left)} {_OPERATORS.get(type(node.op), '…')} {short(node.right)}"
        case ast.IfExp():
            return f"{short(node.body)} or {short(node.orelse)}"
        case ast.BoolOp():
            return " or ".join(short(value) for value in node.values)
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return next((short(part) for part in node.values if isinstance(part, ast.FormattedValue)), "text")
    return ast.unparse(node)


_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "·", ast.Div: "/", ast.FloorDiv: "//", ast.BitOr: "and"}


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
        case ast.IfExp():
            found = texts(module, node.body, depth) + texts(module, node.orelse, depth)
        case ast.BoolOp(op=ast.Or()):
            found = [text for value in node.values for text in texts(module, value, depth)]
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.GeneratorExp() | ast.ListComp() as items]):
            found = texts(module, items.elt, depth)
        case ast.Name():
            found = [text for value in _assigned(module, node) for text in texts(module, value, depth)]
        case ast.Subscript(value=ast.Name() as table):
            tables = [value for value in _assigned(module, table) if isinstance(value, ast.Dict)]
            found = [text for one in tables for value in one.values for text in texts(module, value, depth)]
        case ast.Call() if depth < 3:
            found = _called(module, node, depth)
        case _:
            return shown
    found = list(dict.fromkeys(found))
    return found if any(words(text) for text in found) and len(found) <= _MOST else shown


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
        and name.id in {_last(target) for target in _targets(node)}
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


def _constants_of(name: str) -> dict[str, ast.expr]:
    return modules()[name].constants if name in modules() else {}


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _called(module: Module, call: ast.Call, depth: int) -> list[str]:
    """The texts that a function of ours returns."""
    name = _last(call.func)
    where, original = module.imports.get(name, (module.name, name))
    function = modules()[where].functions.get(original) if where in modules() else None
    if function is None or (isinstance(call.func, ast.Attribute) and _last(call.func.value) != "self"):
        return []
    returned = [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value is not None]
    return [text for value in returned for text in texts(modules()[where], value, depth + 1)]


def _made(module: Module, node: ast.AST) -> tuple[str, ast.Call] | None:
    """The class and the call if a node makes an error."""
    if not isinstance(node, ast.Call):
        return None
    name = _last(node.func)
    raised = isinstance(module.parents[node], ast.Raise)
    if is_ours(name) or (raised and (name in error_classes() or name in BUILTIN)):
        return name, node
    if raised and isinstance(node.func, ast.Attribute) and name.endswith(("Error", "Parameter")):
        return name, node
    if raised and isinstance(node.func, ast.Call) and _last(node.func.func) == "type":
        return f"type of {short(node.func)}", node
    return None


def _statement(module: Module, node: ast.AST) -> ast.stmt:
    return next(up for up in module.above(node) if isinstance(up, ast.stmt))


def is_control_flow(module: Module, name: str, node: ast.Call) -> bool:
    """Whether nobody ever reads the error's message.

    Classes with a private name are caught by those who raise them; an AssertionError says that a line cannot be
    reached; Python itself asks for the AttributeError of a ``__getattr__``.
    """
    function = module.around(node)
    return (
        name.startswith("_")
        or name == "AssertionError"
        or (name == "AttributeError" and function is not None and function.name == "__getattr__")
    )


def _checks_section(module: Module, node: ast.AST) -> bool:
    """Whether pydantic calls the function: a decorator or an annotation says so."""
    function = module.around(node)
    if function is None:
        return False
    if any(
        "validator" in ast.unparse(one) or "model_serializer" in ast.unparse(one)
        for one in function.decorator_list
    ):
        return True
    used = [
        n for n in ast.walk(module.tree) if isinstance(n, ast.Call) and _last(n.func).endswith("Validator")
    ]
    return any(_last(argument) == function.name for call in used for argument in call.args)


def _passes_ours(module: Module, node: ast.AST, message: str) -> bool:
    """Whether the message ends with the text of a caught error of ours."""
    handler = next((up for up in module.above(node) if isinstance(up, ast.ExceptHandler)), None)
    if handler is None or handler.type is None or not re.search(rf"\{{{handler.name}\}}$", message):
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return all(is_ours(_last(kind)) for kind in kinds)


@cache
def sites() -> tuple[Site, ...]:
    """Every place of the packages that makes an error which somebody can read."""
    found = []
    for module in modules().values():
        for node in ast.walk(module.tree):
            made = _made(module, node)
            if made is None or is_control_flow(module, *made):
                continue
            statement = _statement(module, node)
            name, call = made
            message = max(
                ([text.strip() for text in texts(module, argument)] for argument in call.args),
                key=lambda variants: max(len(words(text)) for text in variants),
                default=["{no message}"],
            )
            found.append(
                Site(
                    module.file,
                    statement.lineno,
                    statement.end_lineno or statement.lineno,
                    module.qualified(node),
                    name,
                    tuple(message),
                    module.given_names(node),
                    _checks_section(module, node),
                    any(_passes_ours(module, node, text) for text in message),
                )
            )
    return tuple(sorted(found, key=lambda site: (site.file, site.first)))
