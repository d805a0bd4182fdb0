"""The rules of layout that hold the packages apart."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analysis", "condor", "data", "models", "processors")
ALLOWED = {
    "data": set(),
    "models": {"data"},
    "condor": {"data"},
    "processors": {"data", "models"},
    "data.simulation": {"data", "processors"},
    "analysis": {"condor", "data", "models", "processors", "data.simulation"},
}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}


def folder_of(dotted: str) -> str:
    return "data.simulation" if dotted.startswith("data.simulation") else dotted.split(".", maxsplit=1)[0]


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {folder_of(name) for name in names if name.split(".")[0] in PACKAGES}


def lines_of(function: ast.FunctionDef) -> int:
    """Lines of a function, docstring and signature included."""
    return function.end_lineno - function.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_imported_is_ours(package):
    module = importlib.import_module(package)
    assert Path(module.__file__).resolve().parent == ROOT / package


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = folder_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert imported(TREES[path]) - {here} <= ALLOWED[here]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_fit_on_a_screen(path):
    assert path.read_text().count("\n") <= 400
    functions = [n for n in ast.walk(TREES[path]) if isinstance(n, ast.FunctionDef)]
    assert not {n.name: lines_of(n) for n in functions if lines_of(n) > 60}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_untrusted_is_run(path):
    forbidden = {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal"}
    names = {alias.name for n in ast.walk(TREES[path]) if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in ast.walk(TREES[path]) if isinstance(n, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & forbidden
    calls = [n.func for n in ast.walk(TREES[path]) if isinstance(n, ast.Call)]
    assert not [f for f in calls if isinstance(f, ast.Name) and f.id in {"eval", "exec"}]
    assert "torch.load" not in {ast.unparse(f) for f in calls}
    loads = [n for n in ast.walk(TREES[path]) if isinstance(n, ast.Call) and ast.unparse(n.func) == "np.load"]
    assert all("allow_pickle=False" in ast.unparse(call) for call in loads)
