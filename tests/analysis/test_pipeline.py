"""A whole run on small files: what it writes, what it redoes, and that nothing but the events decides its bits."""

import hashlib
import logging
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import yaml

import models
from analysis import fold_tasks
from analysis.cli_common import CONSOLE, show_account, working
from analysis.config import load_config
from analysis.inspect_files import inspect
from analysis.pipeline import histogram, scan, skim, train, write_run_report
from analysis.run import Run
from analysis.scan import scan as scan_spectrum
from analysis.shared_events import shared_events
from analysis.spectra import Spectra
from analysis.spectrum import Spectrum
from data.errors import IncompleteError, InputError, OutputError
from data.files import read_json, write_json
from data.manifest import read_manifest
from data.partials import PartialStore
from models import registry
from models.methods.cwola import Cwola
from processors.histogram_io import read_histograms
from processors.skim import read_features

STAGE_FUNCTIONS = (skim, train, histogram, scan, write_run_report)
TREES = {"bags": 1, "iterations": 5, "patience": 5}


def _falling(scale, mean=None):
    """Make the two leading jets back to back and central, with a falling or peaked dijet mass."""

    def change(columns):
        rng = np.random.default_rng(7)
        jets = columns["FatJet"]
        n = len(columns["event"])
        mjj = 1900 + rng.exponential(scale, n) if mean is None else rng.normal(mean, 0.04 * mean, n)
        first_two = {
            "pt": np.repeat(mjj / 2, 2),
            "eta": np.tile([0.05, -0.05], n),
            "phi": np.tile([0.0, np.pi], n),
        }
        import awkward as ak

        counts = np.full(n, 2)
        total = 2 * n
        flat = {name: rng.uniform(0.1, 0.5, total) for name in ("tau1", "tau2", "tau3", "tau4")}
        flat |= {
            "msoftdrop": rng.exponential(60, total), "mass": rng.exponential(60, total) + 90,
            "lsf3": np.zeros(total) + 0.01 * rng.random(total), "jetId": np.full(total, 6),
            "nConstituents": rng.integers(20, 120, total), "subJetIdx1": np.tile([0, 2], n),
            "subJetIdx2": np.tile([1, 3], n), **first_two,
        }  # fmt: skip
        columns["FatJet"] = ak.zip({name: ak.unflatten(flat[name], counts) for name in jets.fields})
        score = next(iter(columns["SubJet"].fields))
        columns["SubJet"] = ak.zip({score: ak.unflatten(rng.random(2 * total), 2 * counts)})

    return change


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, make_nano_file):
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(2):
        make_nano_file(
            folder / f"data_{number}.root", 4000, seed=number, first_event=1 + 10_000 * number, label=True,
            change=_falling(450.0),
        )  # fmt: skip
    make_nano_file(folder / "signal.root", 1500, seed=9, simulation=True, change=_falling(0, 3000.0))
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0,
            "files": {"data_0.root": 4000, "data_1.root": 4000},
        },
        "signal": {
            "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
            "files": {"signal.root": 1500},
        },
    }  # fmt: skip
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}, sort_keys=False))
    config = {
        "run": {"output": "out", "seed": 3},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal"]},
        "methods": {"cwola": {"trees": TREES}},
        "scan": {"masses": [3000], "fit_start": 1960},
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    return folder


def run_in(inputs: Path, out: Path, *settings: str, stages=STAGE_FUNCTIONS) -> Run:
    run = Run(*load_config(inputs / "search.yaml", (f"run.output={out}", *settings)))
    for stage in stages:
        stage(run)
    return run


def results_of(inputs: Path, out: Path, *settings: str) -> dict[str, str]:
    """Hashes of all that a run leaves but its report, which takes most of its time."""
    run_in(inputs, out, *settings, stages=STAGE_FUNCTIONS[:-1])
    return digests(out, *RESULTS)


@pytest.fixture(scope="module")
def finished(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "run"
    run_in(inputs, out)
    return out


def test_every_file_of_a_run_can_be_inspected(finished):
    kinds = {path: inspect(str(path))["kind"] for path in sorted(finished.rglob("*.json"))}
    assert {"cutflow", "fits of the background", "systematic uncertainties"} <= set(kinds.values())
    assert {"index of the workspaces", "record of pass 2 over a sample"} <= set(kinds.values())
    assert {"what the files of a sample hold", "events of the report's displays"} <= set(kinds.values())
    assert inspect(str(finished / "plans" / "mock.json"))["entries"] == 8000


@pytest.fixture
def copy(finished, inputs, tmp_path):
    """A copy of the finished run and of its inputs."""
    shutil.copytree(finished, tmp_path / "run")
    shutil.copytree(inputs, tmp_path / "inputs")
    return tmp_path / "inputs", tmp_path / "run"


@pytest.fixture
def no_plots(monkeypatch):
    """A report of one empty page: for tests of when it is made, for its plots take half of a run's time."""

    def write_page(folder, *_facts, **_options):
        page = folder / "report" / "index.html"
        page.write_text("")
        return [page]

    monkeypatch.setattr("analysis.report.write_report", write_page)


def digests(out: Path, *patterns: str) -> dict[str, str]:
    files = [path for pattern in patterns for path in sorted(out.glob(pattern))]
    assert files
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


RESULTS = (
    "features/**/*.parquet",
    "models/**/*.*",
    "histograms.h5",
    "histograms/*.h5",
    "scan.json",
    "fits.json",
)
RESULTS += ("workspaces/*.json", "cutflow.json")


def redone(out: Path, before: dict[str, int]) -> set[str]:
    return {
        path.stem
        for path in (out / "manifests").iterdir()
        if path.stat().st_mtime_ns != before.get(path.stem)
    }


def times(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (out / "manifests").iterdir()}


STAGES = {
    "skim.mock", "skim.signal", "train.cwola.B3", "hist.mock", "hist.signal", "merge", "scan", "studies", "report",
}  # fmt: skip


def test_a_run_writes_every_file_of_the_design(finished):
    assert set(times(finished)) == STAGES
    for name in (
        "scan.json",
        "fits.json",
        "cutflow.json",
        "account.json",
        "histograms.h5",
        "report/index.html",
    ):
        assert (finished / name).stat().st_size > 0
    rows = read_json(finished / "scan.json")["selections"]
    assert list(rows) == ["inclusive", "cwola"]
    assert [row["window"] for row in rows["cwola"]] == ["B3"]
    assert rows["inclusive"][0]["valid"]
    assert (finished / "workspaces" / "cwola_B3_3000.json").is_file()
    account = read_json(finished / "account.json")
    assert account["expected"] == account["processed"] == 9500
    assert account["complete"] is True


def test_training_fold_by_fold_in_a_pool_gives_the_same_bits(copy, monkeypatch):
    inputs, out = copy
    before = digests(out, "models/**/*.*")
    run = Run(*load_config(inputs / "search.yaml", (f"run.output={out}",)))
    for path in out.glob("manifests/train.*"):
        path.unlink()
    shutil.rmtree(out / "models")
    trained = []
    real = fold_tasks.train_fold
    monkeypatch.setattr(
        fold_tasks,
        "train_fold",
        lambda model, tables, wanted: trained.append(wanted.fold) or real(model, tables, wanted),
    )
    fold_tasks.train_in_pool(run, "cwola", run.config.windows())
    parts = run.store("train cwola B3").files()
    assert len(parts) == len(trained) == 5
    parts[2].unlink()
    fold_tasks.train_in_pool(run, "cwola", run.config.windows())
    assert len(trained) == 6
    train(run, only_merge=True)
    assert digests(out, "models/**/*.*") == before
    assert not (out / "partials").exists()


def test_limits_in_fb_follow_from_events_efficiency_and_luminosity(finished):
    scan = read_json(finished / "scan.json")
    for row in (rows[0] for rows in scan["selections"].values()):
        assert 0 < row["efficiency"] < 1
        assert row["limit_observed_fb"] == pytest.approx(row["limit_observed"] / (row["efficiency"] * 2.0))
    inclusive, cwola = (scan["selections"][name][0] for name in ("inclusive", "cwola"))
    assert cwola["efficiency"] < inclusive["efficiency"]


def test_a_second_run_does_nothing(inputs, copy, caplog):
    _, out = copy
    before = times(out)
    with caplog.at_level(logging.INFO, logger="oddjet"):
        run_in(inputs, out)
    assert redone(out, before) == set()
    assert [record.message.endswith("up to date") for record in caplog.records] == [True] * len(STAGES)


@pytest.mark.usefixtures("no_plots")
def test_another_seed_trains_again_but_skims_not(inputs, copy):
    _, out = copy
    before = times(out)
    run_in(inputs, out, "run.seed=4")
    assert redone(out, before) == STAGES - {"skim.mock", "skim.signal"}


@pytest.mark.usefixtures("no_plots")
def test_another_fit_option_only_fits_again(inputs, copy):
    _, out = copy
    before = times(out)
    run_in(inputs, out, "scan.candidates=[2, 3]")
    assert redone(out, before) == {"scan", "report"}


@pytest.mark.usefixtures("no_plots")
def test_another_signal_file_leaves_the_training_alone(copy, make_nano_file):
    inputs, out = copy
    before = times(out)
    make_nano_file(inputs / "signal.root", 1500, seed=10, simulation=True, change=_falling(0, 3000.0))
    # The copied data files have other paths: only the signal's contents may matter.
    run_in(inputs, out)
    assert redone(out, before) == {"skim.signal", "hist.signal", "merge", "scan", "studies", "report"}


def test_a_lost_or_damaged_output_is_made_again(inputs, copy):
    _, out = copy
    before = times(out)
    (out / "models" / "cwola" / "B3" / "bundle.json").unlink()
    run_in(inputs, out)
    assert redone(out, before) == {"train.cwola.B3"}


def test_what_a_killed_run_left_of_a_finished_stage_is_removed(inputs, copy, monkeypatch):
    """Killed after the manifest and before the results of the chunks were removed."""
    _, out = copy
    (out / "manifests" / "skim.mock.json").unlink()

    def interrupt(_store):
        raise KeyboardInterrupt

    monkeypatch.setattr(PartialStore, "remove", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_in(inputs, out, stages=(skim,))
    monkeypatch.undo()
    assert list((out / "partials" / "skim.mock").rglob("*.partial"))
    before = times(out)
    assert "skim.mock" in before
    run_in(inputs, out, stages=(skim,))
    assert redone(out, before) == set()
    assert not (out / "partials").exists()


def test_the_account_of_an_old_second_pass_does_not_stand_for_new_events(copy, make_nano_file):
    inputs, out = copy
    make_nano_file(
        inputs / "data_1.root", 5000, seed=8, first_event=20_001, label=True, change=_falling(450.0)
    )
    samples = (inputs / "samples.yaml").read_text()
    (inputs / "samples.yaml").write_text(samples.replace("data_1.root: 4000", "data_1.root: 5000"))
    run_in(inputs, out, stages=(skim,))
    account = read_json(out / "account.json")
    assert set(account["stages"]) == {"skim mock", "skim signal", "hist signal"}
    assert account["expected"] == account["processed"] == 10_500
    assert set(account["jets_without_particles"]) == {"signal"}
    run_in(inputs, out, stages=(train, histogram))
    account = read_json(out / "account.json")
    assert set(account["stages"]) == {"skim mock", "skim signal", "hist mock", "hist signal"}
    assert account["stages"]["hist mock"]["expected"] == 9000


def test_no_number_of_the_account_is_cut_off(inputs, copy, capsys, monkeypatch):
    """Nor where lines are short."""
    _, out = copy
    run = Run(*load_config(inputs / "search.yaml", (f"run.output={out}",)))
    account = read_json(out / "account.json")
    names = ("expected", "processed", "selected", "retried", "failed")
    numbers = {name: 1_000_000_000 + place for place, name in enumerate(names)}
    account["stages"]["hist signal"].update(numbers)
    write_json(out / "account.json", account)
    monkeypatch.setattr(CONSOLE, "width", 80)
    show_account(run)
    shown = capsys.readouterr().err
    for number in numbers.values():
        assert f"{number:,}" in shown
    assert all(name in shown for name in numbers)


def test_the_account_of_a_second_pass_over_the_same_events_stays(inputs, copy):
    _, out = copy
    before = read_json(out / "account.json")["stages"]
    next((out / "features" / "mock").iterdir()).unlink()
    run_in(inputs, out, stages=(skim,))
    assert read_json(out / "account.json")["stages"] == before


def test_an_interrupted_second_pass_has_no_account_of_the_one_before(inputs, copy, monkeypatch):
    _, out = copy
    (out / "manifests" / "hist.mock.json").unlink()

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("processors.run.run_histograms", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_in(inputs, out, stages=(histogram,))
    account = read_json(out / "account.json")
    assert not account["complete"]
    assert {stage: one["processed"] for stage, one in account["stages"].items()} == {
        "skim mock": 8000, "skim signal": 1500, "hist mock": 0, "hist signal": 1500,
    }  # fmt: skip
    assert account["expected"] == 9500  # the first pass stands for the one that has not got anywhere
    monkeypatch.undo()
    run_in(inputs, out, stages=(histogram,))
    assert read_json(out / "account.json")["complete"]


def test_a_pass_that_cannot_begin_leaves_no_account_of_the_run_before(inputs, copy, monkeypatch):
    _, out = copy
    (out / "manifests" / "skim.mock.json").unlink()

    def refuse(*_args):
        msg = "disk full"
        raise OutputError(msg)

    monkeypatch.setattr("analysis.pipeline.planned", refuse)
    run = Run(*load_config(inputs / "search.yaml", (f"run.output={out}",)))
    with pytest.raises(OutputError, match="disk full"), working(run):
        skim(run)
    account = read_json(out / "account.json")
    assert not account["complete"]
    assert account["stages"]["skim mock"]["processed"] == 0
    # nor where the disk does not even take that
    monkeypatch.setattr("analysis.accounts.write_json", refuse)
    with pytest.raises(OutputError, match="disk full"):
        skim(run)
    assert not (out / "account.json").exists()
    assert not (out / "accounts" / "skim.mock.json").exists()


def test_the_account_is_shown_also_where_everything_is_up_to_date(inputs, copy, capsys):
    _, out = copy
    for stage in (skim, histogram):
        run = Run(*load_config(inputs / "search.yaml", (f"run.output={out}",)))
        with working(run):
            stage(run)
        assert "hist mock" in capsys.readouterr().err
    with working(run):
        train(run)
    assert "hist mock" not in capsys.readouterr().err


def test_an_interrupted_stage_is_not_taken_for_done(inputs, copy, monkeypatch):
    _, out = copy

    def interrupt(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("analysis.search.analyse_run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_in(inputs, out, "scan.candidates=[2]")
    assert "scan" not in times(out)


@pytest.mark.parametrize(
    "settings",
    [
        ("processing.chunk_size=1000",),
        ("processing.chunk_size=777",),
        ("processing.workers=2", "processing.executor=futures", "processing.chunk_size=1500"),
    ],
    ids=["chunks of 1000", "chunks of 777", "two workers"],
)
def test_chunks_and_workers_change_no_bit(inputs, finished, tmp_path, settings):
    assert results_of(inputs, tmp_path / "run", *settings) == digests(finished, *RESULTS)


def test_the_order_of_the_files_changes_no_bit(copy, finished, tmp_path):
    inputs, _ = copy
    samples = yaml.safe_load((inputs / "samples.yaml").read_text())
    files = samples["samples"]["mock"]["files"]
    samples["samples"]["mock"]["files"] = dict(reversed(files.items()))
    (inputs / "samples.yaml").write_text(yaml.safe_dump(samples, sort_keys=False))
    assert results_of(inputs, tmp_path / "other") == digests(finished, *RESULTS)


def test_truth_labels_are_used_nowhere(copy, finished, tmp_path, make_nano_file):
    inputs, _ = copy
    for number in range(2):
        make_nano_file(
            inputs / f"data_{number}.root",
            4000,
            seed=number,
            first_event=1 + 10_000 * number,
            change=_falling(450.0),
        )
    assert results_of(inputs, tmp_path / "other") == digests(finished, *RESULTS)


def test_stages_out_of_order_say_what_to_run_first(inputs, tmp_path):
    run = Run(*load_config(inputs / "search.yaml", (f"run.output={tmp_path / 'new'}",)))
    with pytest.raises(IncompleteError, match="stage 'skim mock' is not done; run `oddjet skim`"):
        train(run)
    with pytest.raises(IncompleteError, match="stage 'hist mock' is not done; run `oddjet hist`"):
        scan(run)


def _positive(scale, mean=None):
    """As `_falling`, without negative weights: nothing can be trained on those."""

    def change(columns):
        _falling(scale, mean)(columns)
        columns["genWeight"] = np.abs(columns["genWeight"])

    return change


class OnSimulation(Cwola):
    """Trains as CWoLa does, but asks for simulation too, and keeps what it was given."""

    name = "on_simulation"
    takes: ClassVar = {"signal": True, "background": False, "wide": False}
    optional_columns: ClassVar = {"signal": ("prior",)}
    given: ClassVar = {}

    def train(self, sample, extras):
        self.given.update(extras)
        return super().train(sample, extras)


def test_methods_are_trained_on_simulation_and_judge_it_by_its_own_folds(copy, make_nano_file, monkeypatch):
    monkeypatch.setitem(registry.METHODS, OnSimulation.name, OnSimulation)
    inputs, out = copy
    make_nano_file(inputs / "signal.root", 1500, seed=9, simulation=True, change=_positive(0, 3000.0))
    make_nano_file(inputs / "qcd.root", 1500, seed=5, simulation=True, change=_positive(450.0))
    defined = yaml.safe_load((inputs / "samples.yaml").read_text())
    defined["samples"]["qcd"] = {
        "kind": "simulation", "process": "qcd", "year": "2017", "cross_section_pb": 1, "files": {"qcd.root": 1500}
    }  # fmt: skip
    (inputs / "samples.yaml").write_text(yaml.safe_dump(defined, sort_keys=False))
    before = times(out)
    methods = f"methods={{cwola: {{trees: {TREES}}}, on_simulation: {{trees: {TREES}}}}}"
    settings = (methods, "search.background=[qcd]")
    run = run_in(inputs, out, *settings, stages=STAGE_FUNCTIONS[:3])
    new = {"skim.qcd", "train.on_simulation.B3"}
    # CWoLa is trained already: the table that it does not take changes nothing of it.
    assert redone(out, before) == new | {"skim.signal", "hist.mock", "hist.signal", "merge"}
    assert run.trained_on("mock") == ["cwola_B3", "on_simulation_B3"]
    assert run.trained_on("signal") == run.trained_on("qcd") == ["on_simulation_B3"]
    assert set(read_manifest(run.manifest("train on_simulation B3")).inputs) == {
        "features/mock", "features/signal", "features/qcd"
    }  # fmt: skip
    assert read_json(out / "account.json")["expected"] == 9500  # background enters no histogram

    tables = {name: read_features(out / "features" / name) for name in ("signal", "qcd")}
    given = OnSimulation.given
    assert set(given) == {"signal", "background"}  # nothing lies at large |Δη| here
    for keyword, name in (("signal", "signal"), ("background", "qcd")):
        assert given[keyword].weight.sum() == pytest.approx(tables[name]["weight"].sum(), rel=1e-12)
    assert not given["signal"].columns["prior"].any()

    table = tables["signal"]
    histogram = read_histograms(out / "histograms" / "signal.h5")["mjj"]
    for method, trained_on in (("on_simulation", True), ("cwola", False)):
        votes = models.load(out / "models" / method / "B3").fold_votes(table, trained_on=trained_on)
        filled = histogram[{"selection": f"{method}_B3"}].sum(flow=True).value
        assert filled == pytest.approx((table["weight"] * votes).sum() / 5, rel=1e-12)

    make_nano_file(inputs / "qcd.root", 1500, seed=6, simulation=True, change=_positive(450.0))
    before = times(out)
    run_in(inputs, out, *settings, stages=STAGE_FUNCTIONS[:2])
    assert redone(out, before) == new


def test_manifests_count_the_entries(finished):
    manifest = read_manifest(finished / "manifests" / "skim.mock.json")
    assert manifest.entries_expected == manifest.entries_read == 8000


def test_global_significance_is_asked_for_by_its_toys(copy):
    inputs, out = copy
    assert "global" not in read_json(out / "scan.json")
    run_in(inputs, out, "scan.global_toys=40", stages=(scan,))
    found = read_json(out / "scan.json")["global"]
    assert {name: entry["n_toys"] + entry["n_failed"] for name, entry in found["selections"].items()} == {
        "inclusive": 40,
        "cwola": 40,
    }
    assert found["over_methods"]["correlation"] == "shared events"
    assert read_manifest(out / "manifests" / "scan.json").inputs.keys() == {
        "hist mock", "hist signal", "features/mock", "models/cwola/B3",
    }  # fmt: skip


def test_selections_share_the_events_that_both_keep(finished, inputs, monkeypatch):
    config, samples = load_config(inputs / "search.yaml")
    spectra = Spectra({"mock": read_histograms(finished / "histograms" / "mock.h5")["mjj"]})
    spectrum = {label: spectra.spectrum(samples["mock"], label) for label in ("inclusive", "cwola_B3")}

    def scans(**changed):
        masses, options = [3000], config.scan.model_copy(update={"limits": False})
        return {
            label.split("_")[0]: {label: scan_spectrum(one, masses, None, options)}
            for label, one in (spectrum | changed).items()
        }

    known, read = scans(), []
    monkeypatch.setattr(
        "analysis.shared_events.read_features",
        lambda folder, columns, regions: (
            read.append((columns, regions)) or read_features(folder, columns, regions)
        ),
    )
    found = shared_events(finished, config, known)
    needed = {"mjj", "weight", "run", "luminosity_block", "event"}
    inputs_of = set(models.load(finished / "models" / "cwola" / "B3").inputs)
    assert read == [(needed, ["signal"]), (needed | inputs_of, ["signal"])]
    assert found.names == ("inclusive", "cwola_B3")
    every = known["inclusive"]["inclusive"].points[0].background.spectrum.n_events
    assert found.events.sum() == every
    kept = found.events[found.passed[:, 1]].sum()
    assert kept == spectrum["cwola_B3"].between(1960, spectrum["inclusive"].hi).n_events > 20
    assert shared_events(finished, config, {"inclusive": known["inclusive"]}) is None
    others = Spectrum(spectrum["cwola_B3"].edges, 2 * spectrum["cwola_B3"].counts)
    with pytest.raises(
        InputError, match=r"selection 'cwola_B3': .* events of the table of features pass it, and"
    ):
        shared_events(finished, config, scans(cwola_B3=others))
