"""A disk that is full while a stage writes: the error names the run folder and says what to do."""

import errno

import pytest

from analysis.config import Config
from analysis.run import Run
from analysis.stages import Product, run_stage
from data.errors import OutputError


@pytest.fixture
def run(tmp_path):
    content = {
        "run": {"output": str(tmp_path / "run")},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "scan": {"masses": [3000], "fit_start": 1960},
    }
    return Run(Config.parse(content, "search.yaml"), {})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_the_disk_refuses_is_told_with_the_folder(run, number):
    def work():
        raise OSError(number, "refused")

    wanted = (
        rf"{run.root}: cannot be written to \(refused\); make room or mend its permissions, then run again"
    )
    with pytest.raises(OutputError, match=wanted):
        run_stage(run, "scan", {}, {}, work)
    assert not run.manifest("scan").exists()


def test_other_errors_of_the_system_stay_what_they_are(run):
    def work():
        raise FileNotFoundError(errno.ENOENT, "no such file", "missing")

    with pytest.raises(FileNotFoundError, match="missing"):
        run_stage(run, "scan", {}, {}, work)
    run_stage(run, "scan", {}, {}, lambda: Product([], 0, 0))
    assert run.manifest("scan").exists()
