"""Where the outputs of a run are copied to."""

import pytest
import yaml

from analysis.config import load_config
from analysis.run import Run
from analysis.stages import Product, run_stage
from data.errors import CredentialError


@pytest.fixture
def config(tmp_path):
    def write(**run):
        sample = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": None}}
        (tmp_path / "a.root").write_bytes(b"")
        (tmp_path / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
        content = {"run": {"output": str(tmp_path / "out"), **run}, "samples": "samples.yaml"}
        path = tmp_path / "search.yaml"
        path.write_text(yaml.safe_dump(content | {"search": {"data": "mock"}, "scan": {"masses": [3000]}}))
        return path

    return write


def test_outputs_of_a_stage_are_copied_and_what_is_lost_there_again(config, tmp_path):
    run = Run(*load_config(config(copy_to=str(tmp_path / "copy"))))
    output = run.root / "deep" / "a.json"
    made = []

    def work():
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{}")
        made.append(1)
        return Product([output], 0, 0)

    for _ in range(2):
        run_stage(run, "scan", {}, {}, work)
        assert (tmp_path / "copy" / "deep" / "a.json").read_text() == "{}"
        (tmp_path / "copy" / "deep" / "a.json").unlink()
    assert len(made) == 1


def test_the_validation_has_a_place_of_its_own(config):
    path = config(copy_to="root://host//store/run/")
    assert load_config(path)[0].run.copy_to == "root://host//store/run/"
    assert load_config(path, (), "validation")[0].run.copy_to == "root://host//store/run_validation"


def test_whoever_may_not_write_there_is_told_before_the_work(config, tmp_path, monkeypatch):
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none"))
    run = Run(*load_config(config(copy_to="root://host//store/run")))
    with pytest.raises(
        CredentialError, match=r"copied to root://host//store/run \(run\.copy_to\): the proxy .*/none"
    ):
        run_stage(run, "scan", {}, {}, lambda: pytest.fail("the work has begun"))
