"""Every fault of the input ends in one clear message, or in a correct count."""

import awkward as ak
import numpy as np
import pytest
import uproot

from data.errors import IncompleteError, InputError, ReadError
from data.partials import PartialStore
from processors import loop
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.preflight import plan_sample
from processors.recipe import recipe_of
from processors.resolve import Demand
from processors.root_files import file_identity
from processors.run import run_histograms, run_skim
from processors.schedule import ChunkBugError
from processors.skim import Skim, read_features
from processors.work import ChunkWork


def work_on(plan):
    return Skim(recipe_of(plan, EventOptions()))


def skim(sample, out, **processing):
    return run_skim(sample, ProcessingConfig(**{"chunk_size": 300, **processing}), EventOptions(), out)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated_file(tmp_path, make_nano_file, make_sample, fraction):
    path = make_nano_file(tmp_path / "a.root", 500)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(InputError, match=r"file '.*a\.root' of sample 'mock'.* truncated.*replace the file"):
        skim(make_sample([path]), tmp_path)


def overwrite_basket(path, branch):
    with uproot.open({path: None}) as file:
        tree_branch = file["Events"][branch]
        seek = tree_branch.member("fBasketSeek")[1]
        size = tree_branch.member("fBasketBytes")[1]
    content = bytearray(path.read_bytes())
    content[seek + 20 : seek + size] = b"\xa5" * (size - 20)
    path.write_bytes(content)


@pytest.mark.parametrize("branch", ["FatJet_eta", "HLT_PFHT1050", "SubJet_btagDeepB"])
def test_damage_that_shows_only_in_the_loop(tmp_path, make_nano_file, make_sample, branch):
    path = make_nano_file(tmp_path / "a.root", 2500)
    overwrite_basket(path, branch)
    plan_sample(make_sample([path]), Demand())  # the headers are fine
    message = rf"file '.*a\.root' of sample 'mock': branch {branch} in entries \d+ to \d+ cannot be read"
    with pytest.raises(InputError, match=message):
        skim(make_sample([path]), tmp_path)
    assert not (tmp_path / "features" / "mock").exists()


def test_not_a_root_file(tmp_path, make_sample):
    path = tmp_path / "a.root"
    path.write_text("hello " * 1000)
    with pytest.raises(InputError, match="not a ROOT file"):
        skim(make_sample([path]), tmp_path)


def test_missing_file(tmp_path, make_sample):
    with pytest.raises(InputError, match=r"gone\.root' of sample 'mock' does not exist; correct the path"):
        skim(make_sample([tmp_path / "gone.root"]), tmp_path)


def test_file_that_vanishes_during_the_loop(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 500)
    plan = plan_sample(make_sample([path]), Demand())
    path.unlink()
    with pytest.raises(
        ReadError, match=r"(?s)file '.*a\.root' of sample 'mock': it cannot be read.*\(tried 2 times\)"
    ):
        loop.run_loop(plan, work_on(plan), ProcessingConfig(retries=1), PartialStore(tmp_path / "store"))


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (("FatJet_tau3",), r"no branch FatJet_tau3 \(needed for the features tau3, tau32 and tau43\)"),
        (("Flag_goodVertices",), r"no branch Flag_goodVertices \(noise filter of 2017\)"),
        (("HLT_PFHT1050", "HLT_AK8PFJet500"), r"HLT_PFHT1050 or HLT_AK8PFJet500 \(trigger of 2017"),
        (("FatJet_nConstituents",), "FatJet_nConstituents or FatJetPFCands_jetIdx"),
    ],
)
def test_missing_branch(tmp_path, make_nano_file, make_sample, drop, message):
    path = make_nano_file(tmp_path / "a.root", 50, drop=drop)
    with pytest.raises(InputError, match=rf"file '.*a\.root' of sample 'mock' has .*{message}"):
        skim(make_sample([path]), tmp_path)


def test_one_trigger_is_enough(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 200, drop=("HLT_PFHT1050",))
    assert skim(make_sample([path]), tmp_path).account.processed == 200


def test_simulation_without_weights(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50)
    with pytest.raises(InputError, match=r"no branch genWeight \(needed for the weight"):
        skim(make_sample([path], kind="simulation"), tmp_path)


def test_simulation_without_runs(tmp_path, make_sample):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"run": "uint32"})
    with pytest.raises(InputError, match="simulation but has no tree 'Runs'"):
        skim(make_sample([path], kind="simulation"), tmp_path)


def test_no_tree(tmp_path, make_sample):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("Other", {"run": "uint32"})
    with pytest.raises(InputError, match=r"has no tree 'Events' \(it has Other\)"):
        skim(make_sample([path]), tmp_path)


def test_empty_file_is_counted(tmp_path, make_nano_file, make_sample):
    full, empty = make_nano_file(tmp_path / "a.root", 700), make_nano_file(tmp_path / "b.root", 0)
    result = skim(make_sample({full: 700, empty: 0}), tmp_path)
    assert [(file.expected, file.processed) for file in result.account.files] == [(700, 700), (0, 0)]
    assert result.account.to_json()["complete"] is True
    alone = run_skim(make_sample([empty], name="none"), ProcessingConfig(), EventOptions(), tmp_path)
    assert alone.account.expected == 0
    table = read_features(tmp_path / "features" / "none")
    assert len(table["mjj"]) == 0
    assert list(table) == list(read_features(tmp_path / "features" / "mock"))
    spectra = run_histograms(
        make_sample([empty], name="none"),
        ProcessingConfig(),
        EventOptions(),
        {},
        trained_on=(),
        out_root=tmp_path,
    )
    assert spectra.histograms["mjj"].sum(flow=True).value == 0


def test_wrong_number_of_entries(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50)
    with pytest.raises(IncompleteError, match=r"a\.root' holds 50 entries, the definition says 60"):
        skim(make_sample({path: 60}), tmp_path)


def test_copy_of_a_file(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50)
    copy = tmp_path / "b.root"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"'.*a\.root' and '.*b\.root' are copies of one file"):
        skim(make_sample([path, copy]), tmp_path)


def poison(field, value):
    """Put a value into the first jet of the first entry from 400 on that is sure to be selected."""

    def change(columns):
        jets = {name: ak.to_list(columns["FatJet"][name]) for name in columns["FatJet"].fields}
        for name in [*columns]:
            if name.startswith(("HLT_", "Flag_")):
                columns[name][400] = True
        good = {"pt": 900.0, "eta": 0.1, "phi": 0.0, "msoftdrop": 50.0, "jetId": 6, "subJetIdx1": -1}
        other = {"pt": 850.0, "eta": 0.2, "phi": 3.1, "msoftdrop": 40.0, "jetId": 6, "subJetIdx1": -1}
        for name, values in jets.items():
            pair = [values[400][0] if values[400] else 0.1] * 2
            jets[name][400] = [good.get(name, pair[0]), other.get(name, pair[1])]
        jets["subJetIdx2"][400] = [-1, -1]
        jets[field][400][0] = value
        columns["FatJet"] = ak.zip({name: ak.Array(values) for name, values in jets.items()})

    return change


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("pt", np.nan, "holds nan"),
        ("pt", np.inf, "holds inf"),
        ("eta", np.nan, "holds nan"),
        ("phi", np.nan, "holds nan"),
        ("msoftdrop", np.nan, "holds nan"),
        ("tau2", -np.inf, "holds -inf"),
        ("lsf3", np.nan, "holds nan"),
        ("subJetIdx1", 1000, "points to subjet 1000"),
    ],
)
def test_values_that_cannot_be(tmp_path, make_nano_file, make_sample, field, value, shown):
    path = make_nano_file(tmp_path / "a.root", 600, change=poison(field, value))
    message = rf"file '.*a\.root' of sample 'mock': branch FatJet_{field} {shown}.* in entry 400"
    with pytest.raises(InputError, match=message):
        skim(make_sample([path]), tmp_path)


def test_weight_that_is_not_a_number(tmp_path, make_nano_file, make_sample):
    def change(columns):
        columns["genWeight"][321] = np.nan

    path = make_nano_file(tmp_path / "a.root", 600, simulation=True, change=change)
    with pytest.raises(InputError, match="branch genWeight holds nan in entry 321"):
        skim(make_sample([path], kind="simulation"), tmp_path)


def test_all_bad_chunks_are_named(tmp_path, make_nano_file, make_sample):
    files = [
        make_nano_file(tmp_path / f"{name}.root", 600, change=poison("pt", np.nan), first_event=first)
        for name, first in (("a", 1), ("b", 1001))
    ]
    with pytest.raises(InputError, match=r"(?s)a\.root.*entry 400.*\n.*b\.root.*entry 400"):
        skim(make_sample(files), tmp_path)


def test_label_in_some_files_only(tmp_path, make_nano_file, make_sample):
    files = [
        make_nano_file(tmp_path / f"{name}.root", 50, simulation=True, label=label)
        for name, label in (("a", True), ("b", False))
    ]
    with pytest.raises(
        InputError, match=r"'.*a\.root' has the branch Generator_label, file '.*b\.root' has not"
    ):
        skim(make_sample(files, kind="simulation"), tmp_path)


def test_duplicate_events_of_data(tmp_path, make_nano_file, make_sample):
    files = [make_nano_file(tmp_path / f"{name}.root", 300, seed) for name, seed in (("a", 1), ("b", 1))]
    with pytest.raises(InputError, match=r"sample 'mock': \d+ selected events have .*: 29705\d:\d+:\d+"):
        skim(make_sample(files), tmp_path)


def test_lost_chunk(tmp_path, make_nano_file, make_sample, monkeypatch):
    path = make_nano_file(tmp_path / "a.root", 900)
    whole = loop.work_items
    monkeypatch.setattr(
        loop, "work_items", lambda *args: [item for item in whole(*args) if item.entrystart != 300]
    )
    with pytest.raises(IncompleteError, match=r"a\.root': entries 300–599 missing"):
        skim(make_sample([path]), tmp_path)
    assert not (tmp_path / "features" / "mock").exists()


def test_repeated_chunk(tmp_path, make_nano_file, make_sample, monkeypatch):
    path = make_nano_file(tmp_path / "a.root", 900)
    whole = loop.work_items
    monkeypatch.setattr(loop, "work_items", lambda *args: whole(*args) + whole(*args)[:1])
    with pytest.raises(IncompleteError, match=r"a\.root': entries 0–299 processed 2 times"):
        run_histograms(
            make_sample([path]),
            ProcessingConfig(chunk_size=300),
            EventOptions(),
            {},
            trained_on=(),
            out_root=tmp_path,
        )


class Broken(ChunkWork):
    def __call__(self, events):
        msg = "bug"
        raise KeyError(msg)


def test_errors_of_the_code_are_not_hidden(tmp_path, make_nano_file, make_sample):
    plan = plan_sample(make_sample([make_nano_file(tmp_path / "a.root", 50)]), Demand())
    work = Broken(recipe_of(plan, EventOptions()))
    with pytest.raises(
        ChunkBugError, match=r"(?s)chunk .*a\.root.*0–49 failed by an error of the code.*KeyError: 'bug'"
    ):
        loop.run_loop(plan, work, ProcessingConfig(), PartialStore(tmp_path / "store"))


def test_identity_follows_the_content(tmp_path):
    path = tmp_path / "a.root"
    path.write_bytes(b"one")
    before = file_identity(str(path))
    path.write_bytes(b"two")
    assert file_identity(str(path)) != before
    with pytest.raises(InputError, match="cannot be read"):
        file_identity(str(tmp_path / "gone.root"))
