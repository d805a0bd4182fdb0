"""Batch jobs without a batch system: each runs in a folder with nothing but its inputs."""

import hashlib
import shutil
from pathlib import Path

from analysis import batch_cli
from analysis.batch_folder import folder_of
from analysis.batch_job import run_job
from analysis.batch_plan import campaign_of, look, payload_of, site_of, write_plans
from analysis.cli_common import prepare
from condor.campaign import Folder, list_missing, write_campaign
from condor.jobs import OUT
from data.files import write_json
from data.partials import PartialStore, dump

RESULTS = (
    "features/**/*",
    "models/**/*",
    "histograms*",
    "histograms/*",
    "workspaces/*",
    "manifests/*",
    "limits/**/*",
    "scan.json",
    "limits.json",
)


def submitted(config: Path, out: Path, *settings: str):
    """A run with everything written for its jobs."""
    run = prepare(config, out, None, list(settings))
    plans = look(run)
    campaign = campaign_of(run, plans, site_of(run.config.batch))
    write_plans(run, plans)
    write_json(folder_of(run).path / batch_cli.RUN, batch_cli._as_json(run))
    write_campaign(folder_of(run), campaign, payload_of(run))
    return run, folder_of(run), campaign


def run_in_boxes(folder: Folder, stage: str, boxes: Path) -> None:
    """Run the jobs of a stage that are missing, each in a folder with nothing but its inputs."""
    record = folder.read().stages[stage]
    lines = (folder.path / f"{stage}.sub").read_text().splitlines()
    inputs = (
        next(line for line in lines if line.startswith("transfer_input_files")).split(" = ")[1].split(", ")
    )
    for spec in list_missing(folder, stage):
        own = folder.jobs / spec.name
        box = boxes / spec.name
        box.mkdir(parents=True)
        for name in inputs:
            path = own / name.replace("$(own)", record.own.get(spec.name, ""))
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, box / path.name)
        run_job(box / "spec.json")
        shutil.copytree(box / OUT, own / OUT)


def found_by_survey(run, job) -> Folder:
    """A work folder with what a job of the survey has found."""
    folder = folder_of(run)
    out = folder.jobs / job.name / OUT
    store = PartialStore(out / "partials")
    store.put("ab" * 32, dump({"lund": []}))
    write_json(out / "manifest.json", {"outputs": {str(store.path("ab" * 32).relative_to(out)): ""}})
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in RESULTS
        for path in folder.glob(pattern)
        if path.is_file()
    }
