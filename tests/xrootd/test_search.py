"""A search whose events come from servers, one of which dies on the way, and whose outputs go to another."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from analysis.config import load_config
from analysis.pipeline import histogram, scan, skim
from analysis.run import Run
from data.files import sha256_file
from data.manifest import read_manifest

pytestmark = pytest.mark.slow
MINI = Path(__file__).parents[2] / "data" / "mini"
RESULTS = ("histograms.h5", "scan.json", "cutflow.json")


@pytest.fixture
def search(tmp_path):
    """Run a search with the shipped events, given by their names; what it leaves and where."""

    def run(name, data, signal, **more):
        folder = tmp_path / name
        folder.mkdir()
        defined = yaml.safe_load((MINI / "samples.yaml").read_text())["samples"]
        samples = {
            "mock": {**defined["mock"], "files": data},
            "signal": {**defined["signal_3000_400_400"], "files": signal},
        }
        (folder / "samples.yaml").write_text(
            yaml.safe_dump({"samples": samples, "sites": {"timeout": 3}}, sort_keys=False)
        )
        config = {
            "run": {"output": str(folder / "out"), **more},
            "samples": "samples.yaml",
            "search": {"data": "mock", "signals": ["signal"]},
            "scan": {"masses": [3000]},
            "processing": {"chunk_size": 5000},
        }
        (folder / "search.yaml").write_text(yaml.safe_dump(config))
        made = Run(*load_config(folder / "search.yaml", ()))
        for stage in (skim, histogram, scan):
            stage(made)
        return {result: sha256_file(made.root / result) for result in RESULTS}, made.root

    return run


def test_a_search_from_servers_is_the_search_from_disk(serve, search, tmp_path):
    for name in ("mock_0", "mock_1", "signal_3000_400_400_0"):
        assert (MINI / f"{name}.root").is_file()
    names = [MINI / f"mock_{number}.root" for number in range(2)]
    expected, _ = search(
        "disk", {str(path): None for path in names}, {str(MINI / "signal_3000_400_400_0.root"): None}
    )
    one, two, outputs = serve(), serve(), serve()
    for server in (one, two):
        for path in names:
            server.put(path, f"data/{path.name}")
        server.put(MINI / "signal_3000_400_400_0.root", "signal/0.root")
    stopped = []
    threading.Thread(
        target=when_begun, args=(tmp_path / "servers" / "out" / "partials", one.stop, stopped)
    ).start()
    found, out = search(
        "servers",
        {one.address("data/"): {"replicas": [two.address("data/")]}},
        {one.address("signal/0.root"): {"replicas": [two.address("signal/0.root")]}},
        copy_to=outputs.address("run"),
    )
    assert stopped, "the server was to die in mid-run"
    assert found == expected
    copied = outputs.on_disk("run")
    for manifest in (out / "manifests").iterdir():
        assert sha256_file(copied / "manifests" / manifest.name) == sha256_file(manifest)
        for name, digest in read_manifest(manifest).outputs.items():
            assert sha256_file(copied / name) == digest
    shutil.rmtree(out)


def when_begun(folder, action, done):
    """Do something when the first result of a chunk is there."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if any(path.is_file() and path.name[0] != "." for path in folder.rglob("*")):
            action()
            done.append(True)
            return
        time.sleep(0.01)


def test_what_cannot_be_read_ends_in_exit_code_1_and_the_list(serve, tmp_path):
    server = serve()
    names = [server.put(MINI / f"mock_{number}.root") for number in range(2)]
    sample = {"kind": "data", "process": "data", "year": "2017", "files": dict.fromkeys(names, 54_306)}
    definition = {"samples": {"mock": sample}, "sites": {"timeout": 30}}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump(definition))
    config = {
        "run": {"output": str(tmp_path / "out")},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "scan": {"masses": [3000]},
        "processing": {"chunk_size": 2000, "retries": 1},
    }
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    stopped = []
    thread = threading.Thread(target=when_begun, args=(tmp_path / "out" / "partials", server.stop, stopped))
    thread.start()
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from analysis.cli import main; main()",
            "skim",
            str(tmp_path / "search.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    thread.join()
    assert stopped
    assert ran.returncode == 1
    assert f"file '{names[1]}' of sample 'mock' cannot be had: {names[1]}: Connection error" in ran.stderr
    account = json.loads((tmp_path / "out" / "account.json").read_text())
    assert 0 < account["processed"] < account["expected"] == 2 * 54_306
    assert not account["complete"]
    lost = [failure for failure in account["failures"] if not failure["recovered"]]
    assert {failure["file"] for failure in lost} == set(names)
    assert account["stages"]["skim mock"]["failed"] == account["expected"] - account["processed"]
    assert not (tmp_path / "out" / "manifests").exists()
