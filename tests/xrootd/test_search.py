"""A search whose events come from servers, one of which dies on the way, and whose outputs go to another."""

import shutil
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


def test_a_search_from_servers_is_the_search_from_disk(serve, search):
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
    stopping = threading.Timer(4.0, one.stop)
    stopping.start()
    start = time.monotonic()
    found, out = search(
        "servers",
        {one.address("data/"): {"replicas": [two.address("data/")]}},
        {one.address("signal/0.root"): {"replicas": [two.address("signal/0.root")]}},
        copy_to=outputs.address("run"),
    )
    assert time.monotonic() - start > 4.0, "the server was to die in mid-run"
    assert found == expected
    copied = outputs.on_disk("run")
    for manifest in (out / "manifests").iterdir():
        assert sha256_file(copied / "manifests" / manifest.name) == sha256_file(manifest)
        for name, digest in read_manifest(manifest).outputs.items():
            assert sha256_file(copied / name) == digest
    shutil.rmtree(out)
