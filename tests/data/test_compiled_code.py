"""Compiled kernels on disk: those that are older than a source are made again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from data.compiled_code import drop_stale, fresh

ROOT = Path(__file__).parents[2]
INNER = """
from models.kernels.compiled import compiled

@compiled
def inner(x):
    return FACTOR * x
"""
OUTER = """
from models.kernels.compiled import compiled
from models.kernels.inner import inner

@compiled
def outer(x):
    return inner(x) + 1.0
"""


def called(folder):
    ask = "from models.kernels.outer import outer; print(outer(1.0), sum(outer.stats.cache_hits.values()))"
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return tuple(map(float, done.stdout.split()))


def test_a_change_of_a_kernel_reaches_those_that_call_it(tmp_path):
    kernels = tmp_path / "models" / "kernels"
    kernels.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    shutil.copy(ROOT / "data" / "compiled_code.py", tmp_path / "data")
    for name in ("data", "models", "models/kernels"):
        (tmp_path / name / "__init__.py").touch()
    shutil.copy(ROOT / "models" / "kernels" / "compiled.py", kernels)
    (kernels / "outer.py").write_text(OUTER)
    (kernels / "inner.py").write_text(INNER.replace("FACTOR", "2.0"))
    assert called(tmp_path) == (3.0, 0)
    assert called(tmp_path) == (3.0, 1)
    (kernels / "inner.py").write_text(INNER.replace("FACTOR", "5.0"))
    assert called(tmp_path) == (6.0, 0)


def test_only_what_is_older_is_deleted(tmp_path):
    (tmp_path / "models" / "kernels").mkdir(parents=True)
    source = tmp_path / "models" / "kernels" / "a.py"
    for path, when in ((source, 100), (tmp_path / "old.nbi", 99), (tmp_path / "new.nbi", 101)):
        path.touch()
        os.utime(path, (when, when))
    drop_stale(tmp_path, tmp_path)
    assert not (tmp_path / "old.nbi").exists()
    assert (tmp_path / "new.nbi").exists()


def test_a_function_that_is_not_compiled_stays_as_it_is():
    assert fresh(abs) is abs
