"""A name belongs to one method, and to one process of a recipe; who comes second is told who was first."""

import sys
from types import ModuleType
from typing import ClassVar, Literal

import pytest

import models
from data.errors import ConfigError
from data.simulation.known import told_apart
from data.simulation.processes import Signal
from models import registry
from models.methods.kde import Kde


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    registry.all_methods()
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))


def declared(called, qualname, module="__main__"):
    """A method as a cell of a notebook declares it."""
    return type(qualname, (Kde,), {"name": called, "__module__": module, "__qualname__": qualname})


@pytest.mark.parametrize("name", ["kde", "union"])  # union stands in the file of another method
def test_a_method_cannot_take_the_name_of_another(name):
    shipped = models.describe(name)
    with pytest.raises(
        ConfigError, match=rf"'{name}' is registered twice, by models\.methods\.\w+\.\w+ and __main__.Mine"
    ):
        registry.register(declared(name, "Mine"))
    assert models.describe(name) is shipped


def test_a_class_from_elsewhere_is_compared_with_files_not_needed_yet(monkeypatch):
    monkeypatch.setattr(registry, "METHODS", {})
    monkeypatch.setattr(registry, "import_methods", lambda: registry.METHODS.setdefault("kde", Kde))
    with pytest.raises(
        ConfigError, match=r"by models\.methods\.kde\.Kde and __main__\.Mine; give one of them another name"
    ):
        registry.register(declared("kde", "Mine"))


def test_a_cell_that_is_run_again_replaces_its_own_class():
    first, second = declared("mine", "Mine"), declared("mine", "Mine")
    assert registry.register(first) is first
    assert registry.register(second) is second
    assert models.describe("mine") is second
    with pytest.raises(
        ConfigError, match=r"by __main__\.Mine and __main__.Renamed.*until the kernel is restarted"
    ):
        registry.register(declared("mine", "Renamed"))


def test_a_script_that_is_also_imported_declares_one_method(monkeypatch, tmp_path):
    for module in ("run_as_script", "imported"):
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        sys.modules[module].__file__ = str(tmp_path / "mine.py")
    registry.register(declared("mine", "Mine", "run_as_script"))
    again = declared("mine", "Mine", "imported")
    assert registry.register(again) is again
    with pytest.raises(
        ConfigError, match=r"by imported\.Mine and imported\.Renamed; give one of them another"
    ):
        registry.register(declared("mine", "Renamed", "imported"))


def test_a_process_may_have_several_types():
    class Glueball(Signal):
        type: Literal["glueball", "oddball"]
        __module__: ClassVar = "one"

    class Other(Signal):
        type: Literal["oddball"]

    assert told_apart([Glueball]) == [Glueball]
    with pytest.raises(ConfigError, match=r"type 'oddball' is declared twice, by .*Glueball and .*Other"):
        told_apart([Glueball, Other])


def test_a_process_type_belongs_to_one_class():
    class Glueball(Signal):
        type: Literal["glueball"]
        __module__: ClassVar = "one"

    class Other(Signal):
        type: Literal["glueball"]

    assert told_apart([Glueball, Glueball]) == [Glueball]
    with pytest.raises(
        ConfigError, match=r"type 'glueball' is declared twice, by .*Glueball and .*Other; rename one"
    ):
        told_apart([Glueball, Other])
