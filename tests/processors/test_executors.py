"""The same bits from every executor, whatever dies on the way."""

import hashlib
import importlib
import shutil
import sys
from pathlib import Path

import pytest

from data.errors import ConfigError, IncompleteError
from data.partials import PartialStore, dump, read_partial
from processors import dask_pool, executors, tasks
from processors.config import DaskConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.loop import fill_store, merged, run_loop
from processors.preflight import plan_sample
from processors.recipe import recipe_of
from processors.resolve import Demand
from processors.run import run_histograms, run_skim
from processors.skim import Skim

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def sample(tmp_path_factory, make_nano_file, make_sample):
    folder = tmp_path_factory.mktemp("files")
    files = [
        make_nano_file(
            folder / f"{number}.root", 1500, number, simulation=True, first_event=1 + 1500 * number
        )
        for number in range(2)
    ]
    return make_sample(files, kind="simulation")


@pytest.fixture(scope="module", autouse=True)
def _close():
    yield
    executors.close_clients()


def digests(out, sample, processing):
    """SHA-256 of everything that both passes write."""
    skim = run_skim(sample, processing, EventOptions(), out)
    spectra = run_histograms(sample, processing, EventOptions(), {}, trained_on=(), out_root=out)
    assert skim.account.processed == spectra.account.processed == 3000
    files = [*skim.outputs, *spectra.outputs]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def contents(result):
    """The results of chunks without their keys, which name the work."""
    return [dump({**read_partial(path), "key": ""}) for path in result.partials]


def dask(**options):
    return ProcessingConfig(
        executor="dask", chunk_size=300, workers=2, dask=DaskConfig(cluster="local", wait=120, **options)
    )


@pytest.fixture(scope="module")
def deadly(sample):
    """Plan and work for the sample; the worker dies at some entries, some times each."""
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)  # that of this process is what workers of this machine get
    dying = importlib.import_module("dying")

    def make(folder, deaths):
        plan = plan_sample(sample, Demand())
        folder.mkdir()
        for start, times in deaths.items():
            for number in range(times):
                (folder / f"{start}.{number}").touch()
        return plan, dying.Dying(recipe_of(plan, EventOptions()), folder)

    yield make
    sys.path.remove(here)


@pytest.mark.slow
def test_local_cluster_gives_the_same_bits(tmp_path, sample):
    one = digests(tmp_path / "one", sample, ProcessingConfig())
    assert digests(tmp_path / "dask", sample, dask()) == one


@pytest.mark.slow
def test_an_address_gives_the_same_bits(tmp_path, sample):
    one = digests(tmp_path / "one", sample, ProcessingConfig())
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        processing = ProcessingConfig(
            executor="dask", chunk_size=500, dask=DaskConfig(address=cluster.scheduler_address)
        )
        assert digests(tmp_path / "dask", sample, processing) == one
        executors.close_clients()


@pytest.mark.slow
@pytest.mark.parametrize(
    "processing",
    [dask(), ProcessingConfig(executor="futures", chunk_size=300, workers=2)],
    ids=["dask", "futures"],
)
def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path, deadly, processing):
    plan, work = deadly(tmp_path / "lives", {600: 1, 900: 2})
    reports = []
    store = PartialStore(tmp_path / "store")
    result = run_loop(plan, work, processing, store, report=reports.append)
    whole = run_loop(
        plan, Skim(work.recipe), ProcessingConfig(chunk_size=300), PartialStore(tmp_path / "whole")
    )
    assert contents(result) == contents(whole)
    assert result.cutflow == whole.cutflow
    assert reports == [result.account]
    assert result.account.processed == 3000
    assert {600, 900} <= {one.start for one in result.account.failures}
    for one in result.account.failures:
        assert one.recovered
        assert 2 <= one.attempts <= 4
        assert f"'{one.file}' entries {one.start}–{one.stop - 1}: its worker process died" in one.reason
    totals = result.account.totals()
    assert totals["retried"] == 300 * len(result.account.failures)
    assert (totals["failed"], totals["expected"]) == (0, 3000)


@pytest.mark.htcondor
def test_a_condor_job_killed_in_the_middle_loses_nothing(tmp_path, deadly):
    if shutil.which("condor_submit") is None:
        pytest.skip("no HTCondor on this machine")
    pytest.importorskip("dask_jobqueue")
    plan, work = deadly(tmp_path / "lives", {600: 1})
    (work.folder / "900.job").touch()
    options = {
        "cores": 1,
        "memory": "1 GB",
        "disk": "1 GB",
        "log_directory": str(tmp_path / "logs"),
        "job_script_prologue": [f"export PYTHONPATH={Path(__file__).parent}"],
    }
    cluster = DaskConfig(cluster="htcondor", options=options)
    processing = ProcessingConfig(executor="dask", chunk_size=300, workers=2, dask=cluster)
    result = run_loop(plan, work, processing, PartialStore(tmp_path / "store"))
    executors.close_clients()
    whole = run_loop(
        plan, Skim(work.recipe), ProcessingConfig(chunk_size=300), PartialStore(tmp_path / "whole")
    )
    assert contents(result) == contents(whole)
    assert result.account.processed == 3000
    assert {(600, True), (900, True)} <= {(one.start, one.recovered) for one in result.account.failures}


@pytest.mark.slow
def test_a_chunk_that_always_kills_is_named_and_the_others_are_kept(tmp_path, deadly):
    plan, work = deadly(tmp_path / "lives", {600: 99})
    processing = ProcessingConfig(executor="futures", chunk_size=300, workers=2, retries=1)
    store = PartialStore(tmp_path / "store")
    accounts = []
    message = r"1\.root' entries 600–899: its worker process died.*lower processing.chunk_size"
    with pytest.raises(IncompleteError, match=message):
        fill_store(plan, work, processing, store, report=accounts.append)
    (account,) = accounts
    assert account.processed == 3000 - 600  # the chunk from 600 on of both files
    assert {(one.start, one.recovered) for one in account.failures if not one.recovered} == {(600, False)}
    for life in work.folder.iterdir():
        life.unlink()
    done = len(list(store.folder.rglob("*.partial")))
    assert done == 8
    assert fill_store(plan, work, processing, store).processed == 3000


def test_a_worker_that_does_not_see_the_store_hands_its_result_over(tmp_path, sample, monkeypatch):
    monkeypatch.setattr(tasks.PartialStore, "sees", lambda self, mark: False)
    plan = plan_sample(sample, Demand())
    work = Skim(recipe_of(plan, EventOptions()))
    far = run_loop(plan, work, ProcessingConfig(), PartialStore(tmp_path / "far"))
    monkeypatch.undo()
    near = run_loop(plan, work, ProcessingConfig(), PartialStore(tmp_path / "near"))
    assert [path.read_bytes() for path in far.partials] == [path.read_bytes() for path in near.partials]
    assert far.account == near.account


def test_a_worker_with_other_code_is_refused(tmp_path, sample, monkeypatch):
    plan = plan_sample(sample, Demand())
    work = Skim(recipe_of(plan, EventOptions()))
    monkeypatch.setattr(tasks, "code_version", lambda: "0.0+other")
    with pytest.raises(IncompleteError, match=r"has oddjet 0\.0\+other, this run .*; install one version"):
        run_loop(plan, work, ProcessingConfig(), PartialStore(tmp_path / "store"))


def test_an_address_where_nobody_answers(monkeypatch):
    monkeypatch.setattr(dask_pool, "_ANSWER", 0.5)
    processing = ProcessingConfig(executor="dask", dask=DaskConfig(address="tcp://127.0.0.1:9"))
    with (
        pytest.raises(ConfigError, match=r"no scheduler at tcp://127\.0\.0\.1:9 .*correct the address"),
        executors.open_pool(processing),
    ):
        pass


def test_dask_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    processing = ProcessingConfig(executor="dask")
    message = (
        r"processing.executor is dask, which is not installed; install it with pip install 'oddjet\[dask\]'"
    )
    with pytest.raises(ConfigError, match=message), executors.open_pool(processing):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "dask", "dask": {}}, "either the address of a scheduler or a cluster"),
        (
            {"executor": "dask", "dask": {"address": "tcp://a:1", "cluster": "local"}},
            "either the address of a scheduler or a cluster",
        ),
        ({"executor": "dask", "dask": {"address": "tcp://a:1", "options": {"x": 1}}}, "they change nothing"),
        ({"executor": "dask", "dask": {"address": "a:1"}}, "dask.address"),
        (
            {"executor": "dask", "dask": {"cluster": "local", "options": {"n_workers": 8}}},
            "options has n_workers: 8; set processing.workers instead",
        ),
        ({"dask": {"cluster": "local"}}, "executor is iterative; set executor: dask"),
        ({"executor": "iterative", "workers": 2}, "the iterative executor has one"),
        ({"executor": "dask", "dask": {"cluster": "htcondr"}}, "dask.cluster"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ConfigError, match=message):
        ProcessingConfig.parse(options, "search.yaml")


@pytest.mark.slow
def test_options_that_the_cluster_refuses():
    processing = ProcessingConfig(
        executor="dask", dask=DaskConfig(cluster="local", options={"no_such_option": 1})
    )
    with (
        pytest.raises(ConfigError, match=r"processing\.dask\.options: the cluster 'local' refuses them"),
        executors.open_pool(processing),
    ):
        pass


def test_only_what_is_missing_is_done_again(tmp_path, sample, caplog, monkeypatch):
    plan = plan_sample(sample, Demand())
    work = Skim(recipe_of(plan, EventOptions()))
    processing = ProcessingConfig(chunk_size=300)
    store = PartialStore(tmp_path / "store")
    whole = run_loop(plan, work, processing, store)
    before = [path.read_bytes() for path in whole.partials]
    whole.partials[2].unlink()
    whole.partials[5].write_bytes(before[5][:-1])
    ran = []
    real = Skim.__call__
    monkeypatch.setattr(
        Skim, "__call__", lambda self, events: ran.append(events.metadata["entrystart"]) or real(self, events)
    )
    again = run_loop(plan, work, processing, store)
    assert ran == [600, 0]
    assert "8 of 10 chunks were done before" in caplog.text
    assert [path.read_bytes() for path in again.partials] == before
    assert again.account == whole.account
    whole.partials[3].write_bytes(dump({"x": 1})[:-1])
    with pytest.raises(IncompleteError, match=r"0\.root' entries 900–1199 missing"):
        merged(plan, work, processing, store)
