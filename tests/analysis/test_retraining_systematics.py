"""Which sources matter for a training, and retraining with varied signals, on toys."""

import numpy as np
import pytest

import models
from analysis.retraining_systematics import InjectedTraining, propagated_shifts, relevance, retrained_shifts
from analysis.systematics import SourceShift
from analysis.variation_sources import sources_of
from data.errors import InputError

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
EVENTS = 20_000


def signal(*, shift=0.0, weight=1.0, tilt=0.0, events=EVENTS):
    """Two features; ``shift`` moves the first by parts of its width, ``tilt`` gives weights that rise with it."""
    x = np.random.default_rng(3).normal(0, 1, (2, events))
    return {
        "mjj": np.full(events, 3200.0), "x": x[0] + shift, "y": x[1],
        "weight": weight * (1 + tilt * np.tanh(x[0])),
    }  # fmt: skip


def relevant(injected=1000, **varied):
    found = relevance(signal(), varied, sources_of(varied), ("x", "y"), injected)
    return {one.source: one for one in found}


def test_a_planted_shift_is_relevant_and_a_small_one_is_not():
    found = relevant(
        large_up=signal(shift=0.1),
        large_down=signal(shift=-0.1),
        small_up=signal(shift=0.004),
        small_down=signal(shift=-0.004),
    )
    assert found["large"].relevant
    assert found["large"].feature == "x"
    assert not found["small"].relevant
    # The outer decile gains 0.1 · φ(1.2816) of the signal; ten bins of 100 events, Poisson uncertainty 10.
    assert found["large"].shift == pytest.approx(1000 * 0.1 * 0.1755 / 10, rel=0.15)


def test_relevance_grows_with_the_injection_and_counts_weights():
    tilted = {"tilt_up": signal(tilt=0.05), "tilt_down": signal(tilt=-0.05)}
    few, many = relevant(100, **tilted)["tilt"], relevant(10_000, **tilted)["tilt"]
    assert many.shift == pytest.approx(10 * few.shift)
    assert (few.relevant, many.relevant) == (False, True)
    # All bins alike by 4 %: 4 of 100 events at an uncertainty of 10.
    found = relevant(1000, norm_up=signal(weight=1.04), norm_down=signal(weight=0.99))["norm"]
    assert found.shift == pytest.approx(0.4, rel=0.01)


def test_an_ensemble_counts_by_its_spread():
    rng = np.random.default_rng(1)
    members = {f"toy_{k}": signal(weight=1 + 0.01 * rng.normal()) for k in range(20)}
    sizes = [table["weight"][0] - 1 for table in members.values()]
    found = relevance(signal(), members, sources_of(members), ("x",), 1000)[0]
    assert found.shift == pytest.approx((abs(np.mean(sizes)) + np.std(sizes, ddof=1)) * 10, rel=0.01)


def test_features_with_few_values_have_fewer_bins():
    nominal = signal() | {"n": np.zeros(EVENTS)}
    varied = {"flag": signal(weight=1.1) | {"n": np.zeros(EVENTS)}}
    (found,) = relevance(nominal, varied, sources_of(varied), ("n",), 1000)
    assert found.shift == pytest.approx(0.1 * np.sqrt(1000))


def test_what_is_missing_for_relevance_is_named():
    sources = sources_of(["jes_up", "jes_down"])
    with pytest.raises(InputError, match="variation 'jes_down' is missing; give its feature table"):
        relevance(signal(), {"jes_up": signal()}, sources, ("x",), 100)
    with pytest.raises(InputError, match="0 injected events"):
        relevance(signal(), {}, [], ("x",), 0)


def jets(events, seed, *, planted, lighter=1.0):
    """Falling background or heavy two-pronged signal."""
    rng = np.random.default_rng(seed)
    mjj = rng.normal(3250, 80, events) if planted else 2300 + rng.exponential(700, events)
    table = {"mjj": mjj, "weight": np.ones(events)}
    for jet in ("j1", "j2"):
        mass = rng.normal(400 * lighter, 25, events) if planted else rng.exponential(90, events)
        tau = rng.beta(2, 8, events) if planted else rng.beta(5, 4, events)
        table |= {f"m_{jet}": mass.astype(np.float32), f"tau21_{jet}": tau.astype(np.float32)}
    table |= {
        "run": np.full(events, 1 + planted),
        "luminosity_block": np.full(events, seed),
        "event": np.arange(events),
    }
    return table


@pytest.fixture(scope="module")
def retrained():
    nominal = jets(3000, 11, planted=True)
    varied = {
        "twin_up": nominal, "twin_down": nominal | {"weight": np.full(3000, 0.9)},
        # A fifth of the mass and one prong: the jets look like background, and the method finds them no more.
        "jms": jets(3000, 11, planted=True, lighter=0.2) | {f"tau21_{j}": jets(3000, 5, planted=False)[f"tau21_{j}"] for j in ("j1", "j2")},
    }  # fmt: skip

    def make(seed):
        trees = {"bags": 1, "iterations": 6, "patience": 3}
        return models.create(
            "cwola", **WINDOW, classifier="trees", trees=trees, working_point=0.05, pt_bins=0, seed=seed, features=("m_j1", "m_j2", "tau21_j1", "tau21_j2"),
        )  # fmt: skip

    training = InjectedTraining(make, jets(2500, 2, planted=False), 15.0, 10.0, 1.0, seeds=(1, 2))
    return retrained_shifts(training, nominal, varied, sources_of(varied))


def test_retraining_compares_yields_at_one_cross_section(retrained):
    twin, scale = retrained.shifts
    assert twin.retrained
    assert len(retrained.efficiencies) == 2
    assert np.mean(retrained.efficiencies) > 0.3
    # The same signal is no shift, though the two seeds find more and less of it.
    assert retrained.efficiencies[0] != retrained.efficiencies[1]
    assert twin.up == 0
    # A tenth less weight is a tenth less yield, but for the training with fewer injected events.
    assert twin.down < -0.05
    assert scale.up < -0.5
    assert scale.down == -scale.up
    spread = retrained.efficiencies / np.mean(retrained.efficiencies) - 1
    assert (retrained.random.up, retrained.random.down) == pytest.approx((spread.max(), spread.min()))


def test_retrained_shifts_replace_the_fixed_ones(retrained):
    fixed = [SourceShift("jms", "one_sided", 0.01, -0.01), SourceShift("pileup", "up_down", 0.02, -0.02)]
    found = retrained.replacing(fixed)
    assert [shift.name for shift in found] == ["jms", "pileup", "random_variations"]
    assert (found[0].retrained, found[1].retrained) == (True, False)
    assert found[0] == retrained.shifts[1]


class Cut:
    """Stands in for a trained method: every fold selects x above a threshold."""

    inputs = ("x",)

    def __init__(self, threshold):
        self.threshold = threshold

    def fold_votes(self, table, *, trained_on=None):
        return np.where(table["x"] > self.threshold, 5, 0)


def uniform():
    x = np.linspace(0, 1, 1000, endpoint=False) + 0.0005
    nominal = {"mjj": np.full(1000, 3000.0), "x": x, "weight": np.ones(1000)}
    varied = {
        "jms_up": nominal | {"x": x + 0.1}, "jms_down": nominal | {"x": x - 0.05},
        "pileup_up": nominal | {"weight": 1 + 0.2 * x}, "pileup_down": nominal | {"weight": 1 - 0.2 * x},
        "jes": nominal | {"mjj": np.where(x > 0.9, 9000.0, 3000.0)},
        "stat_0": nominal | {"weight": np.full(1000, 1.1)}, "stat_1": nominal | {"weight": np.full(1000, 0.9)},
    }  # fmt: skip
    return nominal, varied


def test_a_fixed_selection_propagates_shifts_of_features_and_weights():
    nominal, varied = uniform()
    options = {"within": (2000.0, 5000.0)}
    found = propagated_shifts([Cut(0.5)], nominal, varied, sources_of(varied), **options)
    shifts = {shift.name: (shift.up, shift.down) for shift in found}
    # Half of a uniform distribution is selected; a shift by 0.1 selects 0.1 more.
    assert shifts["jms"] == pytest.approx((0.2, -0.1))
    assert shifts["pileup"] == pytest.approx((0.2 * 0.75, -0.2 * 0.75))  # the mean of x above a half
    assert shifts["jes"] == pytest.approx((-0.2, 0.2))  # a tenth of all leaves the range of the fit
    assert shifts["stat"] == pytest.approx((0.1 * np.sqrt(2), -0.1 * np.sqrt(2)))
    assert not any(shift.retrained for shift in found)
    both = propagated_shifts([Cut(0.5), Cut(0.0)], nominal, varied, sources_of(varied), **options)
    pooled = next(shift for shift in both if shift.name == "jms")
    # 500 and 1000 events selected; 100 more of the first for up, 50 fewer of both for down
    assert (pooled.up, pooled.down) == pytest.approx((100 / 1500, -100 / 1500))


def test_a_training_that_selects_next_to_nothing_does_not_decide():
    nominal, varied = uniform()
    found = propagated_shifts([Cut(0.5), Cut(0.9985), Cut(99.0)], nominal, varied, sources_of(varied))
    jms = next(shift for shift in found if shift.name == "jms")
    # 500 and 1 of 1000 events selected, and 100 more of each for up
    assert jms.up == pytest.approx(200 / 501)


def test_a_selection_of_no_signal_has_no_relative_uncertainty():
    nominal = signal()
    with pytest.raises(InputError, match="uncertainty 'jms': the nominal training selects no signal; inject"):
        propagated_shifts([Cut(99.0)], nominal, {"jms": nominal}, sources_of(["jms"]))


def test_retraining_needs_variations_and_seeds():
    table = jets(10, 1, planted=True)
    training = InjectedTraining(lambda seed: None, table, 1.0, 1.0, 1.0, seeds=(1,))
    sources = sources_of(["jes_up", "jes_down"])
    with pytest.raises(InputError, match="variation 'jes_up' is missing"):
        retrained_shifts(training, table, {}, sources)
    with pytest.raises(InputError, match="1 seeds have no spread"):
        retrained_shifts(training, table, {}, [])
