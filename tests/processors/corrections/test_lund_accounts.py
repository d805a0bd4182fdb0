"""What the pass that looks for Lund-plane weights leaves in the account of the pass that uses them."""

import weakref
from pathlib import Path

import numpy as np
import pytest

import models
from data.errors import ReadError
from data.partials import PartialStore
from processors import loop, lund_reweighting_survey, schedule, scorers
from processors.config import ProcessingConfig
from processors.corrections.config import CorrectionsConfig
from processors.event_options import EventOptions
from processors.lund_reweighting_maps import Binning, RatioMaps, write_ratio_maps
from processors.lund_reweighting_survey import Survey
from processors.parts import skim_part
from processors.pools import InlinePool
from processors.run import run_histograms, run_skim, run_varied_skim

SIGNAL = Path(__file__).parents[3] / "data" / "mini" / "signal_particles_0.root"
PROCESSING = ProcessingConfig(particle_chunk_size=400, retries=1)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    binning = Binning()
    ones = np.ones(binning.shape)
    path = tmp_path_factory.mktemp("lund") / "maps.json"
    coefficients, covariance = np.zeros((20, 20, 3)), np.zeros((20, 20, 3, 3))
    coefficients[..., 0] = 1
    maps = RatioMaps(
        binning, "cambridge", ones, ones / 10, ones, ones, coefficients, covariance, np.ones(6), ones, ones / 50
    )  # fmt: skip
    write_ratio_maps(path, maps)
    section = {"lund": {"file": str(path), "toys": 2, "sources": ["pt"]}}
    return EventOptions(corrections={"2017": CorrectionsConfig.parse(section, "corrections.2017")})


@pytest.fixture(scope="module")
def signal(make_sample):
    return make_sample({SIGNAL: 1048}, kind="simulation", name="signal", without_corrections=["prefiring"])


@pytest.fixture
def deaf(monkeypatch):
    """The server does not answer the survey at entry 400, so many times."""
    real = Survey.__call__

    def make(times):
        left = [times]

        def call(self, events):
            if events.metadata["entrystart"] == 400 and left[0]:
                left[0] -= 1
                msg = "file 'a': no answer"
                raise ReadError(msg)
            return real(self, events)

        monkeypatch.setattr(Survey, "__call__", call)
        monkeypatch.setattr(schedule, "_PAUSE", 0.01)

    return make


def told(account):
    return [
        (one.start, one.stop, one.attempts, one.recovered, one.reason)
        for one in account.failures
    ]  # fmt: skip


REASON = "looked through for Lund-plane weights: file 'a': no answer"


@pytest.mark.parametrize("run", [run_skim, run_varied_skim])
def test_a_chunk_that_the_survey_tried_again_is_in_the_account_of_the_pass(
    tmp_path, signal, chosen, deaf, run
):
    deaf(1)
    reports = []
    result = run(signal, PROCESSING, chosen, tmp_path, report=reports.append)
    assert reports == [result.account]
    assert told(result.account) == [(400, 800, 2, True, REASON)]
    assert result.account.totals()["retried"] == 400
    assert result.account.complete


def test_the_account_of_a_job_tells_it_too(tmp_path, signal, chosen, deaf):
    deaf(1)
    store = PartialStore(tmp_path)
    account = skim_part(signal, PROCESSING, chosen, store=store, part=(0, 2))
    assert told(account) == [(400, 800, 2, True, REASON)]


def test_a_survey_that_fails_gives_an_account(tmp_path, signal, chosen, deaf):
    deaf(99)
    reports = []
    with pytest.raises(ReadError, match=r"no answer \(tried 2 times\)"):
        run_skim(signal, PROCESSING, chosen, tmp_path, report=reports.append)
    (account,) = reports
    assert not account.complete
    assert told(account) == [(400, 800, 2, False, REASON)]


def test_survey_and_pass_have_the_same_workers(tmp_path, signal, chosen, monkeypatch):
    """Workers that are prepared in another way would be started anew between the two."""
    asked = []

    class Method:
        inputs = ()
        signal_region, low_band, high_band = (2000.0, 2500.0), (1600.0, 2000.0), (2500.0, 3000.0)

        def evaluate(self, table, *, trained_on=None):
            return np.full(len(table["mjj"]), 0.5), np.zeros(len(table["mjj"]), dtype=np.int64)

    class Recorded:
        def __init__(self, _, prepare):
            asked.append(prepare)

        def __enter__(self):
            return InlinePool()

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(loop, "open_pool", Recorded)
    monkeypatch.setattr(models, "load", lambda folder: Method())
    scorers.load.cache_clear()
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    run_histograms(signal, PROCESSING, chosen, {"fake": folder}, trained_on=(), out_root=tmp_path)
    scorers.load.cache_clear()
    assert asked == [scorers.import_methods] * 2


def test_one_chunk_of_jets_is_held_at_a_time(tmp_path, signal, chosen, monkeypatch):
    """What the survey found is gone through many times, and read anew each time."""
    seen, most, read = [], [], lund_reweighting_survey.from_tree

    def watched(kind, tree):
        part = read(kind, tree)
        seen.append(weakref.ref(part.prongs))
        most.append(sum(one() is not None for one in seen))
        return part

    monkeypatch.setattr(lund_reweighting_survey, "from_tree", watched)
    processing = PROCESSING.model_copy(update={"particle_chunk_size": 100})
    result = run_skim(signal, processing, chosen, tmp_path)
    assert result.account.complete
    assert len(most) >= 5 * 11
    assert max(most) <= 2  # the one at hand, and the next before it is let go
