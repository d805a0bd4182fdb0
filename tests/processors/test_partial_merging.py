"""Whatever happens to partial results, the merge of them is exact or refused."""

import functools
import os
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import IncompleteError, InputError
from data.partials import PartialStore, dump
from data.samples import Sample
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.histogram_io import write_histograms
from processors.histograms import Fill, add_bins, empty_histograms, fill_mjj, filled_bins
from processors.loop import chunk_tasks, merged, share
from processors.parts import skim_part
from processors.plan_io import read_plan, write_plan
from processors.preflight import FileFacts, SamplePlan, plan_sample
from processors.recipe import recipe_of
from processors.resolve import Demand
from processors.run import run_skim
from processors.skim import Skim
from processors.weights import DATA_SCALE, GeneratedSums

ENTRIES = {"a": 97, "b": 0, "c": 41}
SAMPLE = Sample(name="mock", kind="data", process="data", year="2017", files=dict(ENTRIES))
PLAN = SamplePlan(
    SAMPLE,
    tuple(
        FileFacts(path, entries, path.encode(), None, GeneratedSums(0, 0, 0), None, "TTree")
        for path, entries in ENTRIES.items()
    ),
    DATA_SCALE,
)


@functools.cache
def work():
    return Skim(recipe_of(PLAN, EventOptions()))


def result(task):
    """What a chunk would give: each entry is one event with a known weight."""
    item = task.item
    entries = np.arange(item.entrystart, item.entrystop)
    weight = (entries % 5 - 1).astype(np.float64)
    step = {"events": len(entries), "weighted": float(weight.sum())}
    return {
        "key": task.key,
        "range": [item.entrystart, item.entrystop, int((weight > 0).sum())],
        "cutflow": {"all": step},
        "sum_of_squares": float(np.square(weight).sum()),
        "sections": [],
        "without_particles": 0,
        "tables": {},
    }


def expected():
    weight = np.concatenate([np.arange(n) % 5 - 1 for n in ENTRIES.values()])
    return {"step": "all", "events": 138, "weighted": float(weight.sum())}, int((weight > 0).sum())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_merge_is_exact_or_refused(tmp_path_factory, data):
    """Splits into chunks and jobs, orders, duplicates, damage, losses and results under wrong names, all at random."""
    processing = ProcessingConfig(chunk_size=data.draw(st.integers(5, 120), label="chunk size"))
    tasks = chunk_tasks(PLAN, work(), processing)
    n_jobs = data.draw(st.integers(1, 6), label="jobs")
    jobs = [share(tasks, (number, n_jobs)) for number in range(n_jobs)]
    assert [task for job in jobs for task in job] == tasks
    jobs += [job for job in jobs if data.draw(st.booleans(), label="job done twice")]
    other = ProcessingConfig(chunk_size=data.draw(st.integers(5, 120), label="chunk size of another run"))
    jobs.append([task for task in chunk_tasks(PLAN, work(), other) if task not in tasks])
    jobs = data.draw(st.permutations(jobs), label="order")
    store = PartialStore(tmp_path_factory.mktemp("store"))
    for task in (task for job in jobs for task in job):
        store.put(task.key, dump(result(task)))
    whole = {task: store.path(task.key).read_bytes() for task in (task for job in jobs for task in job)}
    some = st.lists(st.sampled_from(tasks), unique=True, max_size=3)
    lost, damaged, mistaken = (data.draw(some, label=name) for name in ("lost", "damaged", "mistaken"))
    for task in damaged:
        content = bytearray(whole[task])
        content[data.draw(st.integers(0, len(content) - 1), label="place")] ^= data.draw(st.integers(1, 255))
        store.path(task.key).write_bytes(content[: data.draw(st.integers(0, len(content)), label="length")])
    for task in mistaken:
        source = data.draw(st.sampled_from([one for one in whole if one != task]), label="source")
        store.path(task.key).write_bytes(whole[source])
    for task in lost:
        store.path(task.key).unlink()
    if bad := {*lost, *damaged, *mistaken}:
        with pytest.raises(IncompleteError, match=r"'[ac]': entries|'[ac]' entries") as caught:
            merged(PLAN, work(), processing, store)
        assert {task for task in tasks if f"{task.place} missing" in str(caught.value)} == bad
        for task in bad:
            store.put(task.key, whole[task])
    found = merged(PLAN, work(), processing, store)
    step, selected = expected()
    assert found.cutflow == [step]
    assert found.account.totals() == {
        "files": 3,
        "expected": 138,
        "processed": 138,
        "selected": selected,
        "retried": 0,
        "failed": 0,
    }
    assert found.partials == tuple(store.path(task.key) for task in tasks)


def test_results_of_other_chunk_sizes_do_not_mix(tmp_path):
    store = PartialStore(tmp_path)
    for task in chunk_tasks(PLAN, work(), ProcessingConfig(chunk_size=10)):
        store.put(task.key, dump(result(task)))
    with pytest.raises(IncompleteError, match="'a' entries 80–96 missing"):
        merged(PLAN, work(), ProcessingConfig(chunk_size=20), store)


def test_a_result_that_says_another_range_is_refused(tmp_path):
    store = PartialStore(tmp_path)
    first, second, *others = chunk_tasks(PLAN, work(), ProcessingConfig(chunk_size=40))
    for task, content in ((first, second), (second, second), *((task, task) for task in others)):
        store.put(task.key, dump(result(content) | {"key": task.key}))
    with pytest.raises(IncompleteError, match="entries 40–79 processed 2 times"):
        merged(PLAN, work(), ProcessingConfig(chunk_size=40), store)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 200))
def test_shares_are_balanced(count):
    tasks = chunk_tasks(PLAN, work(), ProcessingConfig(chunk_size=7))
    sizes = [sum(len(task.item) for task in share(tasks, (number, count))) for number in range(count)]
    assert sum(sizes) == 138
    assert max(sizes) <= 138 / count + 7


@pytest.mark.parametrize("part", [(-1, 2), (2, 2), (0, 0)])
def test_a_share_that_is_none(part):
    with pytest.raises(ValueError, match="must be numbered from 0"):
        share([], part)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(1100, 15000), st.integers(-3, 3)), max_size=30), st.randoms())
def test_sparse_histograms_add_up_to_the_dense_ones(events, random):
    whole = empty_histograms(["data"], [])["mjj"]
    total = whole.copy()
    random.shuffle(events)
    cut = len(events) // 3
    for part in (events[:cut], events[cut:]):
        mass, weight = (np.array([event[k] for event in part], dtype=np.float64) for k in (0, 1))
        table = {"mjj": mass, "weight": weight, "region": np.zeros(len(part), dtype=np.int8)}
        one = whole.copy().reset()
        fill_mjj(one, table, "data", "inclusive", np.full(len(part), 5))
        fill_mjj(whole, table, "data", "inclusive", np.full(len(part), 5))
        add_bins(total, filled_bins(one))
    assert np.array_equal(total.view(flow=True), whole.view(flow=True))


def test_a_histogram_of_other_axes_is_refused():
    one, other = (empty_histograms(processes, [])["mjj"] for processes in (["data"], ["data", "qcd"]))
    with pytest.raises(InputError, match="a partial histogram has"):
        add_bins(other, filled_bins(one))


def test_the_name_of_a_result_holds_all_that_it_depends_on(monkeypatch):
    def keys(plan=PLAN, options=None, size=50, made=Skim):
        one = made(recipe_of(plan, options or EventOptions()))
        return [task.key for task in chunk_tasks(plan, one, ProcessingConfig(chunk_size=size))]

    first, base = PLAN.files[0], keys()
    others = [
        keys(plan=SamplePlan(SAMPLE, PLAN.files, type(DATA_SCALE)(1.0, 0.5))),
        keys(options=EventOptions(seed=1)),
        keys(
            plan=SamplePlan(
                SAMPLE, (type(first)(**vars(first) | {"uuid": b"x"}), *PLAN.files[1:]), DATA_SCALE
            )
        ),
        keys(made=lambda recipe: Fill(recipe, "data", (), frozenset(), ("nominal",))),
    ]
    assert keys() == base
    assert all(one[0] != base[0] for one in others)
    assert keys(size=40)[0] != base[0]
    monkeypatch.setattr("processors.loop.code_version", lambda: "another")
    assert not set(keys()) & set(base)


def test_a_moved_file_keeps_its_results():
    moved = tuple(type(file)(**vars(file) | {"path": f"/elsewhere/{file.path}"}) for file in PLAN.files)
    plan = SamplePlan(SAMPLE, moved, DATA_SCALE)
    here, there = (
        [task.key for task in chunk_tasks(one, work(), ProcessingConfig(chunk_size=50))]
        for one in (PLAN, plan)
    )
    assert here == there


def test_jobs_of_a_batch_and_one_process_give_the_same_bytes(tmp_path, make_nano_file, make_sample):
    """Parts are filled into stores of their own from a plan file; then only merged."""
    files = [
        make_nano_file(tmp_path / f"{n}.root", 700, n, simulation=True, first_event=1 + 700 * n)
        for n in range(2)
    ]
    sample, processing = make_sample(files, kind="simulation"), ProcessingConfig(chunk_size=200)
    write_plan(tmp_path / "plan.json", plan_sample(sample, Demand()))
    plan = read_plan(tmp_path / "plan.json")
    together = PartialStore(tmp_path / "together")
    read = 0
    for number in range(3):
        store = PartialStore(tmp_path / f"job_{number}")
        account = skim_part(sample, processing, EventOptions(), store=store, part=(number, 3), plan=plan)
        read += account.processed
        assert account.complete
        for path in store.folder.rglob("*.partial"):
            together.put(path.stem, path.read_bytes())
    assert read == 1400
    options = {"plan": plan, "store": together, "only_merge": True}
    batch = run_skim(sample, processing, EventOptions(), tmp_path / "batch", **options)
    alone = run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path / "alone")
    assert [p.read_bytes() for p in batch.outputs] == [p.read_bytes() for p in alone.outputs]
    assert (batch.cutflow, batch.account) == (alone.cutflow, alone.account)
    one, other, *_ = together.files()
    one.write_bytes(other.read_bytes())
    with pytest.raises(IncompleteError, match=r"\.root' entries \d+–\d+ missing"):
        run_skim(sample, processing, EventOptions(), tmp_path / "batch", **options)


def test_a_plan_comes_back_and_a_wrong_one_is_refused(tmp_path, make_nano_file, make_sample):
    files = [make_nano_file(tmp_path / f"{n}.root", 50 * n, n, simulation=True) for n in range(3)]
    plan = plan_sample(make_sample(files, kind="simulation"), Demand())
    path = tmp_path / "plan.json"
    write_plan(path, plan, "id")
    assert read_plan(path, "id") == plan
    with pytest.raises(InputError, match=r"plan\.json: not the plan of these files and options"):
        read_plan(path, "other")
    path.write_text(path.read_text().replace('"unit"', '"unity"'))
    with pytest.raises(InputError, match=r"plan\.json: not a plan of this version \(KeyError"):
        read_plan(path, "id")


def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path):
    """HDF5 that writes to a full disk itself takes the process with it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    histograms = empty_histograms(["a", "b"], ["cwola_B3"])
    for histogram in histograms.values():
        view = histogram.view(flow=True)
        view["value"] = np.random.default_rng(1).random(view.shape)
    try:
        with pytest.raises(OSError, match="No space left on device"):
            write_histograms(folder / "a.h5", histograms)
        assert not list(folder.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
