import numpy as np
import pytest

import models
from data.errors import IncompleteError, InputError
from processors import scorers
from processors.config import ProcessingConfig, SelectionConfig
from processors.event_options import EventOptions
from processors.histogram_io import merge_histograms, read_histograms, write_histograms
from processors.histograms import Fill, empty_histograms, fill_mjj, fill_score, finalise
from processors.preflight import plan_sample
from processors.recipe import recipe_of
from processors.run import run_histograms, run_skim
from processors.skim import read_features
from processors.weights import DATA_SCALE, WeightScale


class Method:
    inputs = ("m_j1",)
    signal_region = (2000.0, 2500.0)
    low_band = (1600.0, 2000.0)
    high_band = (2500.0, 3000.0)
    votes_of_untrained = 3

    def evaluate(self, table, *, trained_on=None):
        return self.score(table), self.fold_votes(table, trained_on=trained_on)

    def score(self, table):
        return np.where(table["m_j1"] > 50, 1.0, 0.25)

    def fold_votes(self, table, *, trained_on):
        return np.where(table["m_j1"] > 50, 5 if trained_on else self.votes_of_untrained, 0)


@pytest.fixture
def use_method(tmp_path, monkeypatch):
    def use(method):
        folder = tmp_path / "bundle"
        folder.mkdir(exist_ok=True)
        (folder / "bundle.json").write_text("{}")
        monkeypatch.setattr(models, "load", lambda folder: method, raising=False)
        scorers.load.cache_clear()
        return {"fake_B3": folder}

    yield use
    scorers.load.cache_clear()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory, make_nano_file, make_sample):
    path = make_nano_file(tmp_path_factory.mktemp("simulated") / "a.root", 2000, simulation=True)
    return make_sample([path], kind="simulation")


def fill(sample, out, method_folders, *, trained_on=()):
    return run_histograms(
        sample,
        ProcessingConfig(chunk_size=700),
        EventOptions(),
        method_folders,
        trained_on=trained_on,
        out_root=out,
    )


def test_spectra_hold_the_selected_weights(tmp_path, simulated, use_method):
    result = fill(simulated, tmp_path, use_method(Method()))
    run_skim(simulated, ProcessingConfig(), EventOptions(), tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    weight, heavy = table["weight"], table["m_j1"] > 50
    mjj, score = result.histograms["mjj"], result.histograms["score"]

    inclusive = mjj[{"selection": "inclusive", "process": "qcd", "region": "signal", "variation": "nominal"}]
    assert inclusive.sum(flow=True).value == weight.sum()
    assert inclusive.sum(flow=True).variance == (weight**2).sum()
    expected, _ = np.histogram(table["mjj"], bins=inclusive.axes[0].edges, weights=weight)
    assert np.array_equal(inclusive.values(), expected)

    selected = mjj[{"selection": "fake_B3"}].sum(flow=True)
    assert selected.value == pytest.approx((3 * weight[heavy]).sum() / 5, rel=1e-12)
    assert selected.variance == pytest.approx(((3 * weight[heavy]) ** 2).sum() / 25, rel=1e-12)

    assert score.sum(flow=True).value == score.sum().value == weight.sum()
    band = {"low": (1600, 2000), "signal": (2000, 2500), "high": (2500, 3000)}
    for name, (low, high) in band.items():
        here = (table["mjj"] >= low) & (table["mjj"] < high)
        counts = score[{"selection": "fake_B3", "band": name, "process": "qcd"}].values()
        assert counts[99] == weight[here & heavy].sum()  # a score of 1 is in the last bin
        assert counts[25] == weight[here & ~heavy].sum()


def test_training_sample_counts_whole_events(tmp_path, make_nano_file, make_sample, use_method):
    path = make_nano_file(tmp_path / "a.root", 900)
    result = fill(make_sample([path]), tmp_path, use_method(Method()), trained_on=("fake_B3",))
    selected = result.histograms["mjj"][{"selection": "fake_B3"}].sum(flow=True)
    assert selected.value == selected.variance == int(selected.value) > 0


def test_each_selection_has_its_own_training_samples(tmp_path, simulated, use_method):
    """A simulated sample may have trained one method and not another: votes 5 of 5 here, 3 of 5 there."""
    (folder,) = use_method(Method()).values()
    folders = {"prior_B3": folder, "fake_B3": folder}
    mjj = fill(simulated, tmp_path, folders, trained_on=("prior_B3",)).histograms["mjj"]
    own, others = (mjj[{"selection": label}].sum(flow=True).value for label in ("prior_B3", "fake_B3"))
    assert own != 0
    assert others == pytest.approx(3 / 5 * own, rel=1e-12)
    with pytest.raises(
        InputError, match="trained_on names the selection 'quak_B3'; the selections are: fake_B3"
    ):
        fill(simulated, tmp_path, use_method(Method()), trained_on=("quak_B3",))


def test_file_round_trip_and_bytes(tmp_path, simulated, use_method):
    result = fill(simulated, tmp_path, use_method(Method()))
    back = read_histograms(result.outputs[0])
    assert back == result.histograms
    assert [axis.name for axis in back["mjj"].axes] == ["mjj", "process", "region", "selection", "variation"]
    assert back["mjj"].axes["mjj"].label == "dijet mass [GeV]"
    write_histograms(tmp_path / "again.h5", result.histograms)
    assert (tmp_path / "again.h5").read_bytes() == result.outputs[0].read_bytes()


def test_damaged_histogram_file(tmp_path):
    path = tmp_path / "a.h5"
    write_histograms(path, empty_histograms(["data"], ["x"]))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"a\.h5: no readable histograms .*run `oddjet hist` again"):
        read_histograms(path)
    with pytest.raises(InputError, match=r"gone\.h5: does not exist; run `oddjet hist` first"):
        read_histograms(tmp_path / "gone.h5")


def one_event(mjj=2000.0, weight=1.0, region=0):
    return {"mjj": np.array([mjj]), "weight": np.array([weight]), "region": np.array([region], dtype=np.int8)}


def test_merge_unites_processes_and_adds():
    parts = [empty_histograms([process], ["x"]) for process in ("qcd", "data", "qcd")]
    for part, process in zip(parts, ("qcd", "data", "qcd"), strict=True):
        fill_mjj(part["mjj"], one_event(), process, "x", np.array([5]))
        fill_mjj(part["mjj"], one_event(mjj=20000.0), process, "x", np.array([5]))
        fill_score(part["score"], (np.array([0.5]), np.array([1])), process, "x", np.array([1.0]))
    total = merge_histograms(parts)
    assert list(total["mjj"].axes["process"]) == ["data", "qcd"]
    assert total["mjj"][{"process": "qcd"}].sum(flow=True).value == 20
    assert total["mjj"][{"process": "data"}].sum(flow=True).value == 10
    assert total["mjj"][{"process": "data"}].sum().value == 5  # one is in the overflow
    assert total["score"].sum(flow=True).value == 3
    assert total == merge_histograms(reversed(parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "different names"),
        ([(["data"], ["x"]), (["data"], [])], "different names"),
        ([(["data"], ["x"]), (["data"], ["y"])], "axes differ"),
    ],
)
def test_merge_refuses_what_does_not_match(parts, message):
    with pytest.raises(InputError, match=message):
        merge_histograms([empty_histograms(*part) for part in parts])


def test_unknown_labels_are_refused():
    empty = empty_histograms(["data"], ["x"])
    with pytest.raises(
        InputError, match="label 'typo' is not on the axis 'selection', which has inclusive, x"
    ):
        fill_mjj(empty["mjj"], one_event(), "data", "typo", np.array([5]))
    with pytest.raises(InputError, match="label 'typo' is not on the axis 'process'"):
        fill_score(empty["score"], (np.array([0.5]), np.array([1])), "typo", "x", np.array([1.0]))


def test_lost_weight_is_noticed():
    empty = empty_histograms(["data"], ["x"])
    with pytest.raises(IncompleteError, match="sums are not exact or lost"):
        fill_mjj(empty["mjj"], one_event(weight=np.nan), "data", "x", np.array([5]))


def test_sum_of_squares_beyond_the_exact_range():
    empty = empty_histograms(["data"], ["x"])
    fill_mjj(empty["mjj"], one_event(weight=2.0**26), "data", "x", np.array([5]))
    with pytest.raises(InputError, match="selection 'x', variation 'nominal': the sum of squared weights"):
        finalise(empty, DATA_SCALE, "mock")
    finalise(empty, WeightScale(1.0, 8.0), "mock")


class Broken(Method):
    def __init__(self, **what):
        self.what = what

    def score(self, table):
        return self.what.get("score", super().score(table))

    def fold_votes(self, table, *, trained_on):
        return self.what.get("votes", lambda n: super(Broken, self).fold_votes(table, trained_on=trained_on))(
            len(table["mjj"])
        )

    @property
    def inputs(self):
        return self.what.get("inputs", ("m_j1",))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"inputs": ("m_j1", "nonsense")}, "selection 'fake_B3': its method needs the columns nonsense"),
        ({"votes": lambda n: np.full(n, 6)}, "selection 'fake_B3': the method's votes are not one of"),
        ({"votes": lambda n: np.zeros(n - 1)}, "selection 'fake_B3': the method's votes"),
        ({"score": np.zeros(0)}, "selection 'fake_B3': the method's scores"),
    ],
)
def test_methods_that_answer_nonsense(tmp_path, simulated, use_method, what, message):
    with pytest.raises(InputError, match=message):
        fill(simulated, tmp_path, use_method(Broken(**what)))


def test_scores_must_be_ranks(tmp_path, simulated, use_method):
    class Wild(Method):
        def score(self, table, *, trained_on=None):
            return np.full(len(table["mjj"]), np.nan)

    with pytest.raises(InputError, match="scores are not one number in"):
        fill(simulated, tmp_path, use_method(Wild()))


def test_split_votes_are_refused_for_the_training_sample(tmp_path, simulated, use_method):
    method = Broken(votes=lambda n: np.full(n, 3))
    with pytest.raises(InputError, match=r"votes are not one of \[0, 5\]"):
        fill(simulated, tmp_path, use_method(method), trained_on=("fake_B3",))


def test_folders_without_a_method(tmp_path, simulated):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no trained method for selection 'x'; run `oddjet train`"):
        fill(simulated, tmp_path, {"x": tmp_path / "empty"})
    with pytest.raises(InputError, match="'inclusive' is the label of all events"):
        fill(simulated, tmp_path, {"inclusive": tmp_path / "empty"})


def test_a_new_training_is_loaded_again(tmp_path, simulated, use_method):
    folders = use_method(Method())
    fill(simulated, tmp_path, folders)
    newer = Method()
    newer.votes_of_untrained = 5
    models.load = lambda folder: newer  # undone by use_method's monkeypatch
    (folders["fake_B3"] / "bundle.json").write_text('{"seed": 2}')
    again = fill(simulated, tmp_path, folders)
    view = again.histograms["mjj"][{"selection": "fake_B3"}].sum(flow=True)
    heavy = again.histograms["score"][{"score": 99}].sum(flow=True)
    assert view.value == heavy.value


def test_histograms_hold_the_regions_that_are_kept(simulated):
    for options, regions in (
        ({}, ["signal"]),
        ({"train_wide": True}, ["signal", "validation", "wide"]),
        ({"region": "validation", "blind": True}, ["validation"]),
        ({"region": "validation", "train_wide": True}, ["validation", "wide"]),
    ):
        chosen = EventOptions(SelectionConfig(**options))
        recipe = recipe_of(plan_sample(simulated, chosen.demand(simulated)), chosen)
        empty = Fill(recipe, "qcd", (), trained_on=frozenset(), variations=("nominal",)).empty()
        assert list(empty["mjj"].axes["region"]) == regions
