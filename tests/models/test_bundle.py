"""Bundles: the same bits in another process and folder, and damage is named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import models
from data.errors import InputError
from models.bundle import HEADER, WEIGHTS, serialise

SCORE = """
import sys, numpy, models
table, *folders = sys.argv[1:]
with numpy.load(table) as columns:
    for folder in folders:
        score, votes = models.load(folder).evaluate(dict(columns), trained_on=None)
        numpy.savez(folder + ".npz", score=score, votes=votes)
"""


@pytest.fixture
def folder(trained, tmp_path):
    trained.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_bundle_scores_the_same_bits_in_another_process_and_folder(quick, trained, table, other, tmp_path):
    methods = {"trees": trained, "mlp": quick("mlp").fit(table)}
    for name, method in methods.items():
        method.save(tmp_path / "first" / name)
    shutil.move(tmp_path / "first", tmp_path / "moved")
    both = {name: np.append(table[name], other[name]) for name in ("mjj", *trained.inputs)}
    np.savez(tmp_path / "table.npz", **both)
    command = [sys.executable, "-W", "error", "-c", SCORE, "table.npz", "moved/trees", "moved/mlp"]
    root = Path(models.__file__).parent.parent
    subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(root)})
    for name, method in methods.items():
        with np.load(tmp_path / "moved" / f"{name}.npz") as found:
            score, votes = method.evaluate(both, trained_on=None)
            np.testing.assert_array_equal(found["score"], score)
            np.testing.assert_array_equal(found["votes"], votes)


def test_loading_restores_everything_and_saving_again_gives_the_same_files(trained, folder, tmp_path):
    loaded = models.load(folder)
    for name in (
        "name",
        "signal_region",
        "low_band",
        "high_band",
        "working_point",
        "seed",
        "inputs",
        "options",
    ):
        assert getattr(loaded, name) == getattr(trained, name)
    loaded.save(tmp_path / "again")
    for name in (HEADER, WEIGHTS):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_header_names_what_was_trained(trained, folder, table):
    header = json.loads((folder / HEADER).read_text())
    assert header["method"] == "cwola"
    assert len(header["thresholds"]) == 5
    assert header["folds"]["identified_by"] == "event id"
    assert header["training"]["rows"] == len(table["mjj"])
    assert header["training"]["rows_signal"] == np.count_nonzero(trained.window.of(table["mjj"]) == 1)
    assert header["training"]["versions"] == models.versions()
    assert set(load_file(folder / WEIGHTS)) >= {
        "trained/hashes",
        "fold0/j1/network/left",
        "fold4/j2/rank/knots",
    }


def damage_header(folder, **changes):
    header = json.loads((folder / HEADER).read_text())
    (folder / HEADER).write_text(json.dumps(header | changes))


def change_arrays(folder, **changes):
    content, digest = serialise(load_file(folder / WEIGHTS) | changes)
    (folder / WEIGHTS).write_bytes(content)
    damage_header(folder, weights_sha256=digest)


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (lambda f: (f / HEADER).unlink(), "no bundle.json here"),
        (lambda f: (f / WEIGHTS).unlink(), "weights.safetensors: cannot be read"),
        (
            lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]),
            "weights.safetensors: contents differ",
        ),
        (lambda f: (f / HEADER).write_text("{"), "bundle.json: not valid JSON"),
        (lambda f: damage_header(f, method="magic"), "bundle.json: unknown method 'magic'"),
        (lambda f: damage_header(f, extra=1), "bundle.json: unknown key 'extra'.*train the method again"),
        (lambda f: damage_header(f, version=2), "bundle.json: key 'version'"),
        (lambda f: damage_header(f, thresholds=[0.5]), "bundle.json: key 'thresholds'"),
        (lambda f: damage_header(f, options={"bags": 1}), "bundle.json: options: unknown key 'bags'"),
        (
            lambda f: change_arrays(f, **{"trained/folds": np.zeros(2, np.int8)}),
            "bundle.json: array 'trained/folds'",
        ),
        (
            lambda f: change_arrays(f, **{"fold2/j1/network/left": np.zeros(2, np.int32)}),
            "the bundle is damaged",
        ),
        (lambda f: change_arrays(f, **{"fold2/j1/rank/ranks": np.zeros(2)}), "array 'ranks' is"),
        (
            lambda f: change_arrays(f, **{"calibration1/rank/knots": np.zeros(556)}),
            "bundle.json: .*the bundle is damaged",
        ),
    ],
)
def test_a_damaged_bundle_is_named(folder, harm, match):
    harm(folder)
    with pytest.raises(InputError, match=match):
        models.load(folder)


def test_a_file_that_is_no_safetensors_is_named(folder):
    import hashlib

    (folder / WEIGHTS).write_bytes(b"junk")
    damage_header(folder, weights_sha256=hashlib.sha256(b"junk").hexdigest())
    with pytest.raises(InputError, match="not a safetensors file"):
        models.load(folder)
