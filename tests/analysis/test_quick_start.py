"""The command line answers at once: what takes seconds to import is imported where it is used."""

import subprocess
import sys

import pytest

SLOW = {
    "torch", "coffea", "matplotlib", "mplhep", "scipy.stats", "sympy", "awkward", "uproot", "sklearn", "pyhf", "numba",
    "vector", "fastjet", "hist", "h5py", "pandas", "models.base", "analysis.config",
}  # fmt: skip
# Some of them are needed to read a configuration.
SLOW_TO_READ = SLOW - {"models.base", "analysis.config"}
# Files are opened by uproot, which needs awkward.
SLOW_TO_LOOK = SLOW_TO_READ - {"uproot", "awkward"}
# Options of some methods, and what features are made of, stand beside compiled code.
SLOW_TO_LIST = SLOW_TO_LOOK - {"numba", "fastjet"}
DEMO = "analysis/configs/demo.yaml"
LOOKING = {
    "doctor": [],
    "inspect": ["data/mini/mock_0.root"],
    "status": [DEMO, "--out", "{out}"],
    "plan": [DEMO, "--out", "{out}"],
    "doctor of": [DEMO, "--out", "{out}"],
}
"""Commands that look, and do nothing, in the order of what they import."""
LISTING = {"models": ["list"], "schema": ["search"]}


def loaded_by(*statements: str) -> set[str]:
    """Modules that a new process holds after some statements."""
    code = "\n".join(["import sys", *statements, "print(*sys.modules)"])
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def test_the_command_line_imports_nothing_slow():
    assert not loaded_by("import analysis.cli") & SLOW


def test_help_imports_nothing_slow():
    asked = ["from contextlib import redirect_stdout, suppress", "import io", "from analysis.cli import app"]
    asked += ["with suppress(SystemExit), redirect_stdout(io.StringIO()):", "    app(['skim', '--help'])"]
    assert not loaded_by(*asked) & SLOW


@pytest.mark.parametrize("wrong", ["seed: [1", "search: 3"])
def test_a_wrong_configuration_is_refused_before_anything_slow(tmp_path, wrong):
    (tmp_path / "search.yaml").write_text(wrong)
    asked = [
        "from contextlib import suppress",
        "from pathlib import Path",
        "from analysis.cli_common import prepare",
    ]
    asked += ["from data.errors import ConfigError", "with suppress(ConfigError):"]
    asked += [
        f"    prepare(Path({str(tmp_path / 'search.yaml')!r}), None, None, None); raise SystemExit('no error')"
    ]
    assert not loaded_by(*asked) & SLOW_TO_READ


@pytest.mark.parametrize(("commands", "slow"), [(LOOKING, SLOW_TO_LOOK), (LISTING, SLOW_TO_LIST)])
def test_commands_that_only_look_import_nothing_slow(tmp_path, commands, slow):
    asked = [
        "import io",
        "from contextlib import redirect_stdout, suppress",
        "from analysis.cli import app",
        "from data.errors import OddjetError",
        "told = []",
    ]
    for name, arguments in commands.items():
        words = [name.split()[0], *(word.format(out=tmp_path / "out") for word in arguments)]
        expected = "SystemExit, OddjetError" if name == "status" else "SystemExit"  # nothing was submitted
        asked += [
            f"with suppress({expected}), redirect_stdout(io.StringIO()):",
            f"    app({words!r})",
            f"told += ['{name.split()[0]}:' + one for one in {slow!r} if one in sys.modules]",
        ]
    assert [word for word in loaded_by(*asked, "print(*told)") if ":" in word] == []
