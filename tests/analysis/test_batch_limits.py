"""Limits with retraining as batch jobs: one a signal and method, and the pass over the varied signal in parts."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from analysis import batch_merge
from analysis.batch_cli import app
from analysis.batch_merge import _merge_survey, _vary_all, merge_stage
from analysis.batch_plan import campaign_of, look, site_of
from analysis.cli_common import prepare
from analysis.limit_pipeline import run_limits
from analysis.pipeline import histogram, scan, skim, train
from analysis.stages import survey_store
from data.files import read_json
from data.partials import dump
from tests.analysis.boxes import digests, found_by_survey, run_in_boxes, submitted
from tests.analysis.test_limit_stage import TREES, jets_of

DATA, SIGNAL = 6000, 4000
CORRECTIONS = (
    "corrections={'2017': {jms: {uncertainty: 0.1}, "
    "jmr: {resolution: 0.08, scale_factor: 1.05, uncertainty: 0.0005}}}"
)
SYSTEMATICS = (CORRECTIONS, "limits.systematics=true")


@pytest.fixture(scope="module")
def config(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("limits")
    make_nano_file(folder / "data.root", DATA, seed=1, change=jets_of())
    make_nano_file(
        folder / "signal.root", SIGNAL, seed=2, first_event=50_001, simulation=True, change=jets_of(3000.0)
    )
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0,
            "files": {str(folder / "data.root"): DATA},
        },
        "signal": {
            "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
            "files": {str(folder / "signal.root"): SIGNAL},
        },
    }  # fmt: skip
    search = {
        "run": {"output": "out", "seed": 3},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal"]},
        "methods": {"cwola": {"trees": TREES, "classifier": "trees", "scope": "event"}},
        "scan": {
            "masses": [3000], "fit_start": 1960, "minuit": False, "calculator": "asymptotic", "candidates": [2],
        },
        "limits": {"signals": {"signal": [20.0, 120.0, 400.0]}, "seeds": 2},
        "processing": {"chunk_size": 1500},
        "batch": {
            "profile": str(folder / "profile.yaml"),
            "chunks_per_job": 2,
            "trainings_per_job": 5,
            "memory_mb": {"limit": 3000},
        },
    }  # fmt: skip
    documents = {
        "samples.yaml": {"samples": samples},
        "profile.yaml": {"visible": [str(folder)]},
        "search.yaml": search,
    }
    for name, content in documents.items():
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "search.yaml"


def planned_jobs(config: Path, out: Path, *settings: str):
    run = prepare(config, out, None, list(settings))
    return campaign_of(run, look(run), site_of(run.config.batch))


def names(campaign, stage: str) -> list[str]:
    return [job.name for job in campaign.stages[stage].jobs]


def given(campaign, stage: str) -> set[str]:
    return {Path(name).name for name in campaign.stages[stage].inputs}


def test_every_signal_and_method_is_a_job(config, tmp_path):
    campaign = planned_jobs(config, tmp_path / "run")
    assert campaign.order() == ["skim", "train", "hist", "limit", "analyse"]
    assert names(campaign, "limit") == ["limit.signal.inclusive", "limit.signal.cwola"]
    assert campaign.stages["limit"].memory_mb == 3000
    assert given(campaign, "limit") == {"features", "histograms", "manifests"}
    # the last job only fits
    assert given(campaign, "analyse") == {"histograms", "manifests", "limits"}
    study = planned_jobs(config, tmp_path / "run", "limits.study=true")
    assert names(study, "limit")[2:] == ["limit.signal.prong2", "limit.signal.prong3"]
    assert planned_jobs(config, tmp_path / "run", "limits=null").order() == [
        "skim",
        "train",
        "hist",
        "analyse",
    ]


def test_systematic_uncertainties_are_a_pass_in_parts_and_jobs_that_train_again(config, tmp_path):
    campaign = planned_jobs(config, tmp_path / "run", *SYSTEMATICS)
    assert campaign.order() == ["skim", "train", "hist", "limit", "vary", "retrain", "analyse"]
    assert names(campaign, "vary") == ["vary.signal.00000", "vary.signal.00001"]
    assert campaign.stages["vary"].files == {"signal": campaign.stages["skim"].files["signal"]}
    assert (
        sum(part.stop - part.start for job in campaign.stages["vary"].jobs for part in job.entries) == SIGNAL
    )
    assert names(campaign, "retrain") == ["retrain.signal.cwola"]
    assert given(campaign, "retrain") == {"features", "histograms", "manifests", "limits", "varied"}


def test_what_the_survey_found_goes_to_the_variations_too(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, list(SYSTEMATICS))
    surveyed = replace(look(run), surveyed=frozenset({"signal"}))
    campaign = campaign_of(run, surveyed, site_of(run.config.batch))
    assert "partials" in given(campaign, "vary")
    (job, *_) = campaign.stages["survey"].jobs
    _merge_survey(run, found_by_survey(run, job), [job])
    stores = ["hist.signal", "limit.signal.varied", "skim.signal"]
    assert sorted(path.name for path in (run.root / "partials").iterdir()) == stores


def test_variations_of_a_signal_that_was_not_looked_through_are_given_nothing_of_the_survey(config, tmp_path):
    run = prepare(config, tmp_path / "run", None, list(SYSTEMATICS))
    other = replace(look(run), surveyed=frozenset({"mock"}))
    campaign = campaign_of(run, other, site_of(run.config.batch))
    told = {stage: "partials" in given(campaign, stage) for stage in ("skim", "hist", "vary")}
    assert told == {"skim": True, "hist": True, "vary": False}


def test_what_a_killed_local_run_left_of_its_survey_goes_with_the_last_pass(config, tmp_path, monkeypatch):
    run = prepare(config, tmp_path / "run", None, list(SYSTEMATICS))
    survey_store(run, "signal").put("ab" * 32, dump({"lund": []}))
    monkeypatch.setattr(batch_merge, "vary", lambda *_, **__: None)
    _vary_all(run)
    assert not (run.root / "partials").exists()


def test_the_dag_has_the_stages_of_the_limits(config, tmp_path):
    settings = [word for text in SYSTEMATICS for word in ("--set", text)]
    done = CliRunner().invoke(
        app, ["submit", str(config), "--out", str(tmp_path / "run"), "--dry-run", *settings]
    )
    assert done.exit_code == 0, done.output
    assert "2 limit, 2 vary, 1 retrain, 1 analyse)" in done.output
    dag = (tmp_path / "run" / "condor" / "oddjet.dag").read_text()
    chain = ["skim", "train", "hist", "limit", "vary", "retrain", "analyse"]
    for one, other in itertools.pairwise(chain):
        assert f"PARENT {one} CHILD {other}" in dag


@pytest.mark.slow
def test_limits_in_boxes_give_the_bits_of_the_local_run(config, tmp_path):
    run, work, campaign = submitted(config, tmp_path / "run", *SYSTEMATICS)
    for stage in campaign.order():
        run_in_boxes(work, stage, tmp_path / "boxes")
        merge_stage(run, work, campaign, stage)
    # what the jobs trained was not trained again by the last one
    made = read_json(work.jobs / "analyse" / "out" / "manifest.json")["outputs"]
    assert {"results/limits.json", "results/manifests/limit.json"} <= set(made)
    assert not any(name.startswith("results/limits/") for name in made)
    account = read_json(run.root / "account.json")
    assert account["stages"]["limit signal varied"]["processed"] == SIGNAL
    assert account["complete"]
    assert not list((run.root / "partials").glob("*"))
    local = prepare(config, tmp_path / "local", None, list(SYSTEMATICS))
    for step in (skim, train, histogram, scan, run_limits):
        step(local)
    ours = digests(local.root)
    wanted = {
        "limits.json",
        "limits/signal/cwola.json",
        "limits/signal/cwola.retraining.json",
        "manifests/limit.json",
    }
    assert wanted <= set(ours)
    assert ours == {name: digest for name, digest in digests(run.root).items() if name in ours}
