"""Every error of the five packages, found in their source: where it is made, its class and its message.

``python -m tests.error_list`` writes ``analysis/errors.md``, the page for users.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache

from tests.error_messages import (
    BUILTIN,
    ROOT,
    Module,
    error_classes,
    is_ours,
    last,
    modules,
    short,
    texts,
    words,
)

PAGE = ROOT / "analysis" / "errors.md"


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


def _made(module: Module, node: ast.AST) -> tuple[str, ast.Call] | None:
    """The class and the call if a node makes an error."""
    if not isinstance(node, ast.Call):
        return None
    name = last(node.func)
    raised = isinstance(module.parents[node], ast.Raise)
    if is_ours(name) or (raised and (name in error_classes() or name in BUILTIN)):
        return name, node
    if raised and isinstance(node.func, ast.Attribute) and name.endswith(("Error", "Parameter")):
        return name, node
    if raised and isinstance(node.func, ast.Call) and last(node.func.func) == "type":
        return short(node.func), node
    return None


def _statement(module: Module, node: ast.AST) -> ast.stmt:
    return next(up for up in module.above(node) if isinstance(up, ast.stmt))


def is_control_flow(module: Module, name: str, node: ast.Call) -> bool:
    """Whether nobody ever reads the error's message.

    Classes with a private name are caught by those who raise them; an AssertionError or NotImplementedError says
    that a line cannot be reached; Python itself asks for the AttributeError of a ``__getattr__``.
    """
    function = module.around(node)
    return (
        name.startswith("_")
        or name in {"AssertionError", "NotImplementedError"}
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
        n for n in ast.walk(module.tree) if isinstance(n, ast.Call) and last(n.func).endswith("Validator")
    ]
    return any(last(argument) == function.name for call in used for argument in call.args)


def _passes_ours(module: Module, node: ast.AST, message: str) -> bool:
    """Whether the message ends with the text of a caught error of ours."""
    handler = next((up for up in module.above(node) if isinstance(up, ast.ExceptHandler)), None)
    if handler is None or handler.type is None or not re.search(rf"\{{{handler.name}\}}$", message):
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return all(is_ours(last(kind)) for kind in kinds)


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


_BUILTIN_MEANING = {
    "ValueError": (
        "A value that a section of a configuration, a bundle or a function refuses. In a configuration or a bundle it "
        "reaches you as a ConfigError or an InputError, with the file and the key in front."
    ),
    "TypeError": "A value of another type than the function takes.",
    "ConstructorError": "A mapping of a YAML file is wrong; it reaches you as a ConfigError with the file in front.",
}
_INTRODUCTION = """# Errors

Every error that oddjet raises on purpose, made from its code: look up the words that you read, what stands between
braces here is filled in there. The command line prints `error:` and the message, without a traceback, and ends with
exit code 1; exit code 2 means that the command itself was written wrongly (`oddjet COMMAND --help`). A traceback is a
bug of oddjet, please report it. From Python all classes of `data.errors` can be caught as `OddjetError`.
"""


def page() -> str:
    """The page of all errors: by class, then by module."""
    shown = [site for site in sites() if not site.passed_on]
    parts = [_INTRODUCTION]
    for error in sorted({site.error for site in shown}, key=lambda name: (not is_ours(name), name)):
        base, meaning = error_classes().get(error, ("", _BUILTIN_MEANING.get(error, "")))
        kind = f" It is a kind of {base}." if base not in {"", "OddjetError", "Exception"} else ""
        parts.append(f"## {error}\n\n{' '.join(meaning.split())}{kind}\n")
        for file in sorted({site.file for site in shown if site.error == error}):
            texts = {
                text for site in shown if (site.file, site.error) == (file, error) for text in site.templates
            }
            lines = [f"- {_code(text)}" for text in sorted(filter(words, texts))]
            parts.append(f"### {file}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _code(text: str) -> str:
    """A message as code in Markdown, on one line."""
    line = " ".join(text.split())
    return f"`` {line} ``" if "`" in line else f"`{line}`"


if __name__ == "__main__":
    PAGE.write_text(page())
