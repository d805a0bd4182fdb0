"""Batch jobs without a batch system: what is written, what a job does in a folder of its own, what is merged."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from analysis import batch_job
from analysis.batch_cli import app
from analysis.batch_job import attempt, run_job
from analysis.batch_merge import _merge_survey, _place, account_of_jobs, check_same, merge_stage
from analysis.batch_plan import campaign_of, check_visible, look, payload_of, side_files, site_of
from analysis.cli_common import prepare
from analysis.pipeline import histogram, scan, skim, train
from condor.campaign import Campaign, Folder, list_missing
from condor.jobs import OUT
from condor.profile import Profile
from data.errors import ConfigError, IncompleteError, InputError
from data.files import read_json, write_json
from data.partials import PartialStore, dump
from processors.lund_reweighting_maps import Binning, RatioMaps, write_ratio_maps
from tests.analysis.boxes import digests, found_by_survey, run_in_boxes, submitted

MINI = Path(__file__).resolve().parent.parent.parent / "data" / "mini"
SECRET = "SECRET-5b0e"  # noqa: S105 - nobody's


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A search without methods of two shipped samples, on a site that sees their folder."""
    folder = tmp_path_factory.mktemp("batch")
    samples = yaml.safe_load((MINI / "samples.yaml").read_text())["samples"]
    chosen = {name: samples[name] for name in ("mock", "signal_3000_400_400")}
    for sample in chosen.values():
        sample["files"] = {str(MINI / file): entries for file, entries in sample["files"].items()}
    documents = {
        "samples.yaml": {"samples": chosen},
        "profile.yaml": {"visible": [str(MINI)], "request": {"memory_mb": 700}},
        "search.yaml": {
            "run": {"output": "out", "seed": 1},
            "samples": "samples.yaml",
            "search": {"data": "mock", "signals": ["signal_3000_400_400"]},
            "processing": {"chunk_size": 30_000},
            "scan": {"masses": [3000], "fit_start": 2232, "candidates": [2, 3]},
            "batch": {
                "profile": str(folder / "profile.yaml"),
                "chunks_per_job": 3,
                "memory_mb": {"hist": 900},
            },
        },
    }
    for name, content in documents.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "search.yaml"


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A run whose jobs are all done and merged, and the folders that they ran in."""
    folder = tmp_path_factory.mktemp("finished")
    run, work, campaign = submitted(config, folder / "run")
    for stage in campaign.order():
        run_in_boxes(work, stage, folder / "boxes")
        merge_stage(run, work, campaign, stage)
    return run, work, campaign


@pytest.fixture
def copied(finished, config, tmp_path):
    """A copy of the work folder of the finished run."""
    _, work, _ = finished
    shutil.copytree(work.path, tmp_path / "condor")
    return Folder(tmp_path / "condor")


def test_jobs_in_boxes_give_the_bits_of_the_local_run(finished, config, tmp_path):
    run, _, campaign = finished
    assert {stage: len(record.jobs) for stage, record in campaign.stages.items()} == {
        "skim": 3, "hist": 3, "analyse": 1,
    }  # fmt: skip
    local = prepare(config, tmp_path / "local", None, ["processing.chunk_size=100000"])
    for stage in (skim, train, histogram, scan):
        stage(local)
    ours = digests(local.root)
    assert len(ours) > 10
    assert ours == {name: digest for name, digest in digests(run.root).items() if name in ours}


@pytest.mark.slow
def test_trained_methods_and_toys_in_boxes_give_the_bits_of_the_local_run(config, tmp_path):
    trees = "{bags: 1, iterations: 5, patience: 5}"
    settings = [
        "methods.cwola.classifier=trees",
        f"methods.cwola.trees={trees}",
        "scan.global_toys=20",
        "batch.trainings_per_job=2",
        "batch.chunks_per_job=100",
    ]
    run, work, campaign = submitted(config, tmp_path / "run", *settings)
    assert {stage: len(record.jobs) for stage, record in campaign.stages.items()} == {
        "skim": 2, "train": 3, "hist": 2, "analyse": 1,
    }  # fmt: skip
    for stage in campaign.order():
        run_in_boxes(work, stage, tmp_path / "boxes")
        merge_stage(run, work, campaign, stage)
    local = prepare(config, tmp_path / "local", None, settings)
    for stage in (skim, train, histogram, scan):
        stage(local)
    ours = digests(local.root)
    assert {"scan.json", "models/cwola/B3/bundle.json"} <= set(ours)
    assert read_json(local.root / "scan.json")["global"]
    assert ours == {name: digest for name, digest in digests(run.root).items() if name in ours}


def test_the_account_of_a_merged_run_is_complete(finished):
    run, _, _ = finished
    account = read_json(run.root / "account.json")
    assert account["complete"]
    assert account["expected"] == account["processed"] == 118_775
    assert [stage for stage, one in account["stages"].items() if one["complete"]] == [
        "skim mock", "skim signal_3000_400_400", "hist mock", "hist signal_3000_400_400",
    ]  # fmt: skip
    assert {file["selected"] > 0 for file in account["files"]} == {True}
    assert not list((run.root / "partials").glob("*"))


def test_the_entries_of_a_job_that_was_started_again_count_as_retried(finished, copied):
    _, _, campaign = finished
    jobs = [job for job in campaign.stages["skim"].jobs if job.task["sample"] == "mock"]
    file = copied.jobs / jobs[0].name / OUT / "manifest.json"
    write_json(file, read_json(file) | {"attempt": 2})
    account = account_of_jobs(copied, jobs)
    read = sum(part.stop - part.start for part in jobs[0].entries)
    assert account.totals() == {
        "files": 2, "expected": 108_612, "processed": 108_612, "selected": 95_777, "retried": read, "failed": 0,
    }  # fmt: skip


def test_a_manifest_says_what_was_read_by_which_code(finished):
    _, work, campaign = finished
    spec = campaign.stages["skim"].jobs[0]
    manifest = read_json(work.jobs / spec.name / OUT / "manifest.json")
    assert manifest["entries_read"] == sum(part.stop - part.start for part in spec.entries)
    assert manifest["code_version"] == campaign.code_version
    assert manifest["commit"] == campaign.commit
    assert all(name == "account.json" or name.startswith("partials/") for name in manifest["outputs"])


def test_the_merge_ends_with_the_account_and_the_results(finished, config):
    run, _, _ = finished
    done = CliRunner().invoke(app, ["merge", str(config), "--out", str(run.root)])
    assert done.exit_code == 0, done.output
    assert f"entries of {run.root}" in done.output
    assert re.search(r"hist mock +2 +108,612 +108,612 ", done.output), done.output
    assert (run.root / "report" / "index.html").is_file()


def test_the_merge_refuses_a_gap(finished, config):
    run, work, _ = finished
    manifest = work.jobs / "hist.mock.00001" / OUT / "manifest.json"
    kept = manifest.rename(manifest.with_suffix(".kept"))
    try:
        done = CliRunner().invoke(app, ["merge", str(config), "--out", str(run.root)])
    finally:
        kept.rename(manifest)
    assert isinstance(done.exception, IncompleteError)
    assert "stage 'hist': 1 problems keep this stage from being merged" in str(done.exception)
    assert f"job 'hist.mock.00001' has no manifest; its log: {work.jobs}/hist.mock.00001/job.err" in str(
        done.exception
    )


def test_a_gap_is_refused(finished, copied):
    run, _, campaign = finished
    shutil.rmtree(copied.jobs / "hist.mock.00000" / OUT)
    with pytest.raises(
        IncompleteError, match=r"(?s)stage 'hist': .*job 'hist\.mock\.00000' has no manifest; its log"
    ):
        merge_stage(run, copied, campaign, "hist")
    assert [spec.name for spec in list_missing(copied, "hist")] == ["hist.mock.00000"]


def test_the_output_of_another_job_is_refused(finished, copied):
    run, _, campaign = finished
    shutil.rmtree(copied.jobs / "hist.mock.00001" / OUT)
    shutil.copytree(copied.jobs / "hist.mock.00000" / OUT, copied.jobs / "hist.mock.00001" / OUT)
    with pytest.raises(
        IncompleteError, match=r"'hist\.mock\.00001' holds the manifest of job 'hist\.mock\.00000'"
    ):
        merge_stage(run, copied, campaign, "hist")


def test_a_truncated_output_is_refused(finished, copied):
    run, _, campaign = finished
    partial = next((copied.jobs / "skim.mock.00000" / OUT).rglob("*.partial"))
    partial.write_bytes(partial.read_bytes()[:-1])
    with pytest.raises(IncompleteError, match=r"'skim\.mock\.00000' has a damaged output partials/"):
        merge_stage(run, copied, campaign, "skim")


def test_a_manifest_of_other_code_is_refused(finished, copied):
    run, _, campaign = finished
    file = copied.jobs / "skim.mock.00000" / OUT / "manifest.json"
    write_json(file, read_json(file) | {"code_version": "0.0.1+0"})
    with pytest.raises(IncompleteError, match=r"'skim\.mock\.00000' was run by other code \(0\.0\.1\+0, not"):
        merge_stage(run, copied, campaign, "skim")


def test_a_manifest_of_another_configuration_is_refused(finished, copied):
    run, _, campaign = finished
    file = copied.jobs / "skim.mock.00000" / OUT / "manifest.json"
    write_json(file, read_json(file) | {"config_hash": "0"})
    with pytest.raises(
        IncompleteError, match=r"'skim\.mock\.00000' was run with another configuration; its log: "
    ):
        merge_stage(run, copied, campaign, "skim")


def one_more(copied: Folder, campaign: Campaign, *, start: int, stop: int) -> Campaign:
    """The same submission with one more job, done and valid, for some entries of the first one's file."""
    record = campaign.stages["hist"]
    first = record.jobs[0]
    (piece, *_) = first.entries
    entries = (piece.model_copy(update={"start": start, "stop": stop}),)
    again = first.model_copy(update={"name": "hist.mock.00009", "entries": entries})
    shutil.copytree(copied.jobs / first.name / OUT, copied.jobs / again.name / OUT)
    file = copied.jobs / again.name / OUT / "manifest.json"
    changed = {
        "job": again.name,
        "spec_hash": again.digest(),
        "entries": [one.model_dump() for one in entries],
        "entries_read": stop - start,
    }
    write_json(file, read_json(file) | changed)
    more = record.model_copy(update={"jobs": (*record.jobs, again)})
    return campaign.model_copy(update={"stages": {**campaign.stages, "hist": more}})


@pytest.mark.parametrize("start", [0, 100])
def test_entries_that_two_jobs_have_read_are_refused(finished, copied, start):
    """The same ones, and some of them."""
    run, _, campaign = finished
    stop = campaign.stages["hist"].jobs[0].entries[0].stop
    doubled = one_more(copied, campaign, start=start, stop=stop)
    with pytest.raises(
        IncompleteError,
        match=rf"stage 'hist': (?s:.*)entries {start}–{stop - 1} were read by job 'hist\.mock\.00000' and by job "
        r"'hist\.mock\.00009'",
    ):
        merge_stage(run, copied, doubled, "hist")


def test_a_submission_without_one_of_its_jobs_is_refused(finished, copied):
    run, _, campaign = finished
    record = campaign.stages["hist"]
    fewer = record.model_copy(update={"jobs": record.jobs[1:]})
    with pytest.raises(IncompleteError, match=r"stage 'hist': (?s:.*)entries 0–\d+ were read by no job"):
        merge_stage(
            run, copied, campaign.model_copy(update={"stages": {**campaign.stages, "hist": fewer}}), "hist"
        )


def test_what_an_earlier_run_left_does_not_stand_for_the_results(finished, copied, tmp_path):
    run, _, _ = finished
    old = run.root / "manifests" / "scan.json"
    assert old.is_file()
    shutil.rmtree(copied.jobs / "analyse" / OUT)
    run_in_boxes(copied, "analyse", tmp_path / "boxes")
    made = read_json(copied.jobs / "analyse" / OUT / "manifest.json")["outputs"]
    assert {"results/scan.json", "results/manifests/scan.json"} <= set(made)
    assert not any("skim" in name for name in made)


def test_a_job_that_makes_nothing_fails(finished, copied, tmp_path, monkeypatch):
    monkeypatch.setitem(batch_job._WORK, "analyse", lambda *_: 0)
    shutil.rmtree(copied.jobs / "analyse" / OUT)
    with pytest.raises(IncompleteError, match="job 'analyse' has made nothing; look at the lines above"):
        run_in_boxes(copied, "analyse", tmp_path / "boxes")


def test_the_last_job_is_given_what_its_results_need(config, tmp_path):
    def given(*settings: str) -> set[str]:
        run = prepare(config, tmp_path / "run", None, list(settings))
        campaign = campaign_of(run, look(run), site_of(run.config.batch))
        return {Path(name).name for name in campaign.stages["analyse"].inputs}

    assert given() == {"histograms", "manifests"}
    assert given("scan.global_toys=20") == {"histograms", "manifests"}
    methods = "methods.cwola.classifier=trees"
    assert given(methods) == {"histograms", "manifests"}
    # which events the selections share is read from the features and the trained methods
    assert given(methods, "scan.global_toys=20") == {"histograms", "manifests", "features", "models"}


def test_outputs_are_copied_by_the_merge_and_not_by_the_jobs(finished, config, tmp_path):
    done, work, campaign = finished
    copy = tmp_path / "copy"
    assert (
        payload_of(prepare(config, done.root, None, [f"run.copy_to={copy}"]))["config"]["run"]["copy_to"]
        is None
    )
    run = prepare(config, done.root, None, [f"run.copy_to={copy}"])
    for stage in campaign.order():
        merge_stage(run, work, campaign, stage)
    names = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert {"scan.json", "manifests/scan.json", "histograms.h5", "manifests/merge.json"} <= names
    assert all((copy / name).read_bytes() == (done.root / name).read_bytes() for name in names)


def test_a_submission_of_other_code_or_configuration_is_refused(finished, config, tmp_path):
    run, _, campaign = finished
    other = prepare(config, tmp_path / "run", None, ["run.seed=2"])
    with pytest.raises(ConfigError, match="submitted with another configuration"):
        check_same(other, campaign)
    with pytest.raises(ConfigError, match=r"submitted with code 0\.0\.1 \(commit .*\), here runs"):
        check_same(run, campaign.model_copy(update={"code_version": "0.0.1"}))
    moved = prepare(config, tmp_path / "run", None, ["processing.chunk_size=5000", "batch.chunks_per_job=1"])
    check_same(moved, campaign)  # neither decides any number


def test_a_job_refuses_other_code_than_that_of_the_submission(finished, tmp_path):
    _, _, campaign = finished
    spec = campaign.stages["skim"].jobs[0].model_dump(mode="json")
    write_json(tmp_path / "spec.json", spec | {"code_version": "0.0.1"})
    with pytest.raises(InputError, match=r"submitted with code 0\.0\.1, here runs .*same container or wheel"):
        run_job(tmp_path / "spec.json")


def test_a_job_refuses_another_configuration(finished, tmp_path):
    _, work, campaign = finished
    spec = campaign.stages["skim"].jobs[0].model_dump(mode="json")
    write_json(tmp_path / "spec.json", spec | {"config_hash": "0"})
    shutil.copyfile(work.path / "payload.json", tmp_path / "payload.json")
    with pytest.raises(InputError, match=r"payload\.json is of another configuration"):
        run_job(tmp_path / "spec.json")


def test_a_sample_that_is_looked_through_first_has_a_stage_of_its_own(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    name = "signal_3000_400_400"
    campaign = campaign_of(run, replace(look(run), surveyed=frozenset({name})), Profile(visible=(MINI,)))
    assert campaign.order() == ["survey", "skim", "hist", "analyse"]
    assert [job.task["sample"] for job in campaign.stages["survey"].jobs] == [name]
    found = str(run.root / "partials")
    assert [found in campaign.stages[stage].inputs for stage in campaign.order()] == [
        False,
        True,
        True,
        False,
    ]
    # what it finds goes to both passes
    job = campaign.stages["survey"].jobs[0]
    _merge_survey(run, found_by_survey(run, job), [job])
    assert all(run.store(f"{stage} {name}").find("ab" * 32) == {"lund": []} for stage in ("skim", "hist"))


def test_a_stage_without_a_sample_that_was_looked_through_is_given_nothing_of_the_survey(config, tmp_path):
    """There is no such folder when it begins, and a job that is given what is not there is held."""
    name = "signal_3000_400_400"
    run = prepare(config, tmp_path / "run", None, ["search.signals=[]", f"search.background=[{name}]"])
    campaign = campaign_of(run, replace(look(run), surveyed=frozenset({name})), Profile(visible=(MINI,)))
    found = str(run.root / "partials")
    given = {stage: found in record.inputs for stage, record in campaign.stages.items()}
    assert given == {"survey": False, "skim": True, "hist": False, "analyse": False}


def test_what_the_survey_found_of_a_sample_goes_only_to_the_passes_that_there_are(config, tmp_path):
    """Of simulated background no histograms are filled: nothing would ever remove a store for them."""
    name = "signal_3000_400_400"
    run = prepare(config, tmp_path / "run", None, ["search.signals=[]", f"search.background=[{name}]"])
    campaign = campaign_of(run, replace(look(run), surveyed=frozenset({name})), Profile(visible=(MINI,)))
    job = campaign.stages["survey"].jobs[0]
    _merge_survey(run, found_by_survey(run, job), [job])
    assert [path.name for path in (run.root / "partials").iterdir()] == [f"skim.{name}"]


def test_what_a_killed_run_left_is_made_again_by_the_job(copied, tmp_path):
    """It is among what jobs are given where there is a survey; if it counted as done, it would not come back."""
    name = "skim.mock.00000"
    box = tmp_path / "box"
    shutil.copytree(copied.jobs / name, box)
    made = read_json(box / OUT / "manifest.json")["outputs"]
    shutil.copytree(box / OUT / "partials", box / "partials" / "skim.mock")
    shutil.rmtree(box / OUT)
    for file in (copied.path / "payload.json", copied.path / "plans" / "mock.plan.json"):
        shutil.copyfile(file, box / file.name)
    again = run_job(box / "spec.json").outputs
    partials = {path: digest for path, digest in made.items() if path.startswith("partials/")}
    assert partials
    assert partials == {path: digest for path, digest in again.items() if path.startswith("partials/")}


def write_maps(path: Path) -> Path:
    """Ratio maps of the Lund plane that change the weights."""
    binning, rng = Binning(), np.random.default_rng(1)
    shape = binning.shape
    ratio = np.exp(0.15 * rng.standard_normal(shape))
    fits, errors = np.zeros((20, 20, 3)), np.zeros((20, 20, 3, 3))
    write_ratio_maps(
        path,
        RatioMaps(
            binning, "cambridge", ratio, np.full(shape, 0.08), 1.1 * ratio, ratio / 1.1, fits, errors, np.ones(6),
            np.full(shape, 1.2), np.exp(0.2 * rng.standard_normal(shape)) / 50,
        ),
    )  # fmt: skip
    return path


def test_what_the_survey_found_is_not_made_again_and_gives_the_bits_of_the_local_run(config, tmp_path):
    search, maps = yaml.safe_load(config.read_text()), write_maps(tmp_path / "maps.json")
    signal = {
        "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
        "without_corrections": ["prefiring"], "files": {str(MINI / "signal_particles_0.root"): 1048},
    }  # fmt: skip
    samples = yaml.safe_load((config.parent / "samples.yaml").read_text())["samples"]
    files = {"samples": {"mock": samples["mock"], "signal": signal}}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump(files, sort_keys=False))
    search["search"]["signals"] = ["signal"]
    search["processing"]["particle_chunk_size"] = 300
    search["corrections"] = {"2017": {"lund": {"file": str(maps), "toys": 4, "sources": ["sys"]}}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search, sort_keys=False))
    run, work, campaign = submitted(tmp_path / "search.yaml", tmp_path / "run")
    assert {stage: len(record.jobs) for stage, record in campaign.stages.items()} == {
        "survey": 2, "skim": 4, "hist": 4, "analyse": 1,
    }  # fmt: skip
    run_in_boxes(work, "survey", tmp_path / "boxes")
    merge_stage(run, work, campaign, "survey")
    found = {path.name: path.read_bytes() for path in run.store("skim signal").files()}
    assert len(found) == 4
    run_in_boxes(work, "skim", tmp_path / "boxes")
    given = PartialStore(tmp_path / "boxes" / "skim.signal.00000" / "partials" / "skim.signal")
    assert {path.name: path.read_bytes() for path in given.files()} == found
    made = [
        path.name
        for number in (0, 1)
        for path in (work.jobs / f"skim.signal.0000{number}").rglob("*.partial")
    ]
    assert len(made) == 4
    assert not found.keys() & set(made)
    merge_stage(run, work, campaign, "skim")
    local = prepare(
        tmp_path / "search.yaml", tmp_path / "local", None, ["processing.particle_chunk_size=500"]
    )
    skim(local)
    assert digests(local.root) == digests(run.root)


def test_only_what_a_manifest_lists_is_merged(finished, copied, tmp_path):
    """An earlier try may have left more in the same folder."""
    run, _, campaign = finished
    elsewhere = type(run)(run.config.model_copy(
        update={"run": run.config.run.model_copy(update={"output": tmp_path / "run"})}
    ), run.samples)  # fmt: skip
    job = campaign.stages["analyse"].jobs[0]
    results = copied.jobs / job.name / OUT / "results"
    (results / "manifests" / "limit.json").write_text("{}")
    merge_stage(elsewhere, copied, campaign, "analyse")
    assert (elsewhere.root / "scan.json").is_file()
    assert not (elsewhere.root / "manifests" / "limit.json").exists()
    skim_job = campaign.stages["skim"].jobs[0]
    left = PartialStore(copied.jobs / skim_job.name / OUT / "partials")
    left.put("cd" * 32, dump({"left": 1}))
    store = PartialStore(tmp_path / "store")
    _place(copied, skim_job, store)
    assert store.files()
    assert store.find("cd" * 32) is None


def test_a_dry_run_writes_everything_and_asks_no_pool(config, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BEARER_TOKEN", SECRET)
    done = CliRunner().invoke(app, ["submit", str(config), "--out", str(tmp_path / "run"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "7 jobs (3 skim, 3 hist, 1 analyse)" in done.output
    assert "dry run: nothing was submitted" in done.output
    work = tmp_path / "run" / "condor"
    assert (work / "hist.list").read_text().splitlines()[0].startswith("hist.mock.00000, 900, ")
    assert (work / "skim.list").read_text().splitlines()[0].startswith("skim.mock.00000, 700, ")
    texts = [path.read_bytes() for path in work.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in texts)


def test_the_status_as_json(config, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.batch_cli.queued", lambda _: [])
    out = ["--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, ["submit", str(config), *out, "--dry-run"]).exit_code == 0
    done = CliRunner().invoke(app, ["status", str(config), *out, "--json"])
    content = json.loads(done.stdout)
    assert done.exit_code == 1  # nobody works on it
    assert (content["complete"], content["stuck"], content["dag"]) == (False, True, None)
    assert content["stages"][0]["stage"] == "skim"
    assert content["stages"][0]["waiting"] == content["stages"][0]["jobs"]
    assert content["lacking"]["skim"][0] == "skim.mock.00000"
    assert [len(content["lacking"][one["stage"]]) for one in content["stages"]] == [3, 3, 1]


def test_status_of_nothing_says_what_to_do(config, tmp_path, monkeypatch):
    done = CliRunner().invoke(app, ["status", str(config), "--out", str(tmp_path / "run")])
    assert isinstance(done.exception, InputError)
    assert "nothing was submitted from here; run `oddjet submit`" in str(done.exception)


def test_local_files_that_workers_do_not_see_are_refused(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    with pytest.raises(
        ConfigError, match=r"sample 'mock': file '.*mock_0\.root' is local, .* see these folders: /afs"
    ):
        check_visible(run, Profile(visible=(Path("/afs"),)))


def test_files_beside_the_events_need_names_of_their_own(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, None)
    golden = [tmp_path / "one" / "golden.json", tmp_path / "other" / "golden.json"]
    samples = list(run.samples.values())
    mock = samples[0].model_copy(update={"golden_json": golden[0], "luminosity_table": golden[1]})
    with pytest.raises(ConfigError, match=r"are called alike, and a job has them in one folder; rename one"):
        side_files(type(run)(run.config, {"mock": mock}))


def test_the_number_of_a_try_comes_from_the_job(tmp_path, monkeypatch):
    monkeypatch.delenv("_CONDOR_JOB_AD", raising=False)
    assert attempt() == 1
    monkeypatch.setenv("_CONDOR_JOB_AD", str(tmp_path / "ad"))
    (tmp_path / "ad").write_text('JobStatus = 2\nNumJobStarts = 2\nOwner = "me"\n')
    assert attempt() == 3
