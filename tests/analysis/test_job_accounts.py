"""What a batch job writes down of the events that it read, also where it fails."""

import shutil

import pytest
import yaml

from analysis.batch_job import ACCOUNT, run_job
from analysis.batch_plan import campaign_of, folder_of, look, payload_of, site_of, write_plans
from analysis.cli_common import prepare
from condor.campaign import PAYLOAD, list_missing, write_campaign
from condor.jobs import MANIFEST, OUT
from data.errors import InputError
from data.files import read_json


@pytest.fixture
def box(tmp_path, make_nano_file):
    """The folder of a job that skims two files; and these."""
    files = [
        make_nano_file(tmp_path / f"data_{n}.root", 300, seed=n, first_event=1 + 1000 * n) for n in range(2)
    ]
    mock = {"kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0}
    mock["files"] = {str(file): 300 for file in files}
    documents = {
        "samples": {"samples": {"mock": mock}},
        "profile": {"visible": [str(tmp_path)]},
        "search": {
            "samples": "samples.yaml",
            "search": {"data": "mock"},
            "scan": {"masses": [3000], "fit_start": 1960},
            "processing": {"chunk_size": 100, "retries": 0},
            "batch": {"profile": str(tmp_path / "profile.yaml"), "chunks_per_job": 6},
        },
    }
    for name, content in documents.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    run = prepare(tmp_path / "search.yaml", tmp_path / "run", None, None)
    plans = look(run)
    work, campaign = folder_of(run), campaign_of(run, plans, site_of(run.config.batch))
    write_plans(run, plans)
    write_campaign(work, campaign, payload_of(run))
    (spec,) = list_missing(work, "skim")
    shutil.copytree(work.jobs / spec.name, tmp_path / "box")
    for name in (PAYLOAD, "mock.plan.json"):
        shutil.copyfile(next(work.path.rglob(name)), tmp_path / "box" / name)
    return tmp_path / "box", files


def test_a_job_that_fails_says_what_it_read_and_what_not(box):
    folder, (_, second) = box
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"data_1.root"):
        run_job(folder / "spec.json")
    account = read_json(folder / OUT / ACCOUNT)
    assert not account["complete"]
    assert {file["file"].rsplit("/", 1)[1]: file["processed"] for file in account["files"]} == {
        "data_0.root": 300, "data_1.root": 0,
    }  # fmt: skip
    assert account["failed"] == 300
    assert {one["file"] for one in account["failures"]} == {str(second)}
    assert not (folder / OUT / MANIFEST).exists()
    second.write_bytes(content)
    assert run_job(folder / "spec.json").entries_read == 600
    assert read_json(folder / OUT / ACCOUNT)["complete"]
