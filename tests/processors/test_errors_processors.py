"""Values that no file should hold and options that make no sense, as their messages tell them."""

import sys

import awkward as ak
import numpy as np
import pytest

from data.errors import ConfigError, InputError
from data.luminosity import GoldenJson
from processors.branch_search import Demand
from processors.chunks import Chunk
from processors.config import JetsConfig, ProcessingConfig
from processors.dask_pool import _jobqueue
from processors.dijets import event_flags
from processors.loop import work_items
from processors.lund import lund_image
from processors.lund_reweighting_config import LundConfig
from processors.lund_reweighting_events import SampleReweighting
from processors.preflight import plan_sample
from processors.resolve import FileSchema
from processors.root_files import reading
from processors.substructure import nsubjettiness
from processors.tasks import open_events

JETS = ak.Array([[{"pt": 100.0, "eta": 0.0, "phi": 0.0, "mass": 0.0}] * 3])


def test_a_run_number_that_is_none_is_told_with_its_file():
    branches = {"run": "run", "luminosity_block": "luminosityBlock"}
    schema = FileSchema(branches, frozenset(), (), (), (), "NanoAOD v9")
    events = ak.Array(
        {"run": np.array([1, 2**31], np.uint32), "luminosityBlock": np.array([1, 1], np.uint32)}
    )
    golden = GoldenJson("golden.json", np.array([2**32 + 1]), np.array([2**32 + 9]))
    told = r"file 'a\.root' of sample 'mock': run 2147483648 is not between 0 and 2\^31; replace the file"
    with pytest.raises(InputError, match=told):
        event_flags(Chunk("mock", "a.root", 0, 2, schema, events), golden)
    sound = event_flags(Chunk("mock", "a.root", 0, 1, schema, events[:1]), golden)
    assert sound.masks["golden_json"].tolist() == [True]


def test_clustered_jets_have_no_stored_substructure():
    told = "substructure is stored, but source: particles makes new jets; set substructure: auto"
    with pytest.raises(ConfigError, match=told):
        JetsConfig.parse({"source": "particles", "substructure": "stored"}, "search.yaml")


def test_ranges_of_a_lund_image():
    splittings = ak.Array([[{"ln_r0_delta": 1.0, "ln_kt": 2.0}]])
    for name in ("ln_r0_delta", "ln_kt"):
        with pytest.raises(ConfigError, match=rf"{name} = \(2, 2\) must be a range of increasing numbers"):
            lund_image(splittings, **{name: (2, 2)})


def test_one_pass_axes_of_a_large_exponent():
    with pytest.raises(ConfigError, match=r"beta = 2\.5 is above 2, .*: use axes='kt'"):
        nsubjettiness(JETS, 2, beta=2.5)
    assert nsubjettiness(JETS, 2, beta=2.5, axes="kt").shape == (1,)


def test_lund_weights_before_the_sample_was_looked_through(tmp_path):
    reweighting = SampleReweighting(LundConfig(file=tmp_path / "maps.json"), seed=1)
    with pytest.raises(ValueError, match=r"constants is None: .*look through it first"):
        reweighting.factors(None, np.zeros(0), vary=False)


def test_batch_workers_of_dask_need_its_job_queue(tmp_path, monkeypatch):
    command = tmp_path / "condor_submit"
    command.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    told = r"dask-jobqueue is not installed; install it with pip install 'oddjet\[dask\]'"
    with pytest.raises(ConfigError, match=told):
        _jobqueue()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"genEventSumw": None},
            "tree 'Runs' has no branch genEventSumw, needed for the weights; use a file",
        ),
        (
            {"genEventSumw2": np.array([np.nan])},
            "branch genEventSumw2 of tree 'Runs' holds NaN or inf; replace the file by a whole copy",
        ),
    ],
)
def test_generated_sums_that_are_none(tmp_path, make_nano_file, make_sample, change, told):
    runs = {
        "genEventCount": np.array([100]),
        "genEventSumw": np.array([90.0]),
        "genEventSumw2": np.array([100.0]),
    }
    kept = {name: values for name, values in (runs | change).items() if values is not None}
    path = make_nano_file(tmp_path / "a.root", 50, simulation=True, trees={"Runs": kept})
    with pytest.raises(InputError, match=rf"a\.root' of sample '.*': {told}"):
        plan_sample(make_sample([path], kind="simulation"), Demand())


def test_a_file_that_was_exchanged_since_the_run_began(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50)
    (item,) = work_items(plan_sample(make_sample([path]), Demand()), ProcessingConfig())
    make_nano_file(path, 50)
    told = r"a\.root' of sample '.*' is not the one that was there when the run began; run it again"
    with pytest.raises(InputError, match=told), open_events(item, frozenset({"event"})):
        pass


def test_a_file_that_may_not_be_read_is_told():
    with (
        pytest.raises(
            InputError, match=r"file 'a\.root' of sample 'mock' may not be read; ask for permission"
        ),
        reading("a.root", "mock"),
    ):
        raise PermissionError
