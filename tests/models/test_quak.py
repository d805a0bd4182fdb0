"""QUAK: the plane of losses, its cells, and what priors are good for."""

import numpy as np
import pytest
from scipy import stats

import models
from data.errors import ConfigError, InputError, TrainingError
from models.driver import train_together
from models.folds import training_sample
from models.quak_space import (
    SpaceSettings,
    cell_score,
    check_axis,
    check_cells,
    fit_axis,
    fit_cells,
    on_axis,
    signed_norm,
)
from models.regions import regions

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
REGIONS = regions(*WINDOW.values())
FEATURES = ["a", "b", "c"]
FLOW = {
    "transforms": 1,
    "hidden": (16,),
    "bins": 6,
    "schedule": {"epochs": 5, "batch": 256, "learning_rate": 1e-2, "decay": "one_cycle"},
}
LIKE, OTHER, UNLIKE = (1.6, 1.6, -1.6), (-1.9, 0.0, 1.9), (-3.6, 3.6, 0.0)


def background(rows, seed):
    rng = np.random.default_rng(seed)
    table = {"mjj": 2400 + rng.exponential(700, rows)}
    return table | {name: rng.normal(size=rows) for name in FEATURES}


def signal(centre, rows, seed):
    """A spot where the background is rare but not rarest (LIKE, OTHER), or in its far tail (UNLIKE)."""
    rng = np.random.default_rng(seed)
    table = {"mjj": rng.normal(3300, 80, rows)}
    return table | {name: rng.normal(at, 0.25, rows) for name, at in zip(FEATURES, centre, strict=True)}


def joined(*tables):
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def make(name="quak", **options):
    own = {"flow": FLOW} if name in ("quak", "flow_density") else {"hidden": (16,), "latent": 1}
    return models.create(
        name, **(WINDOW | {"working_point": 0.02, "seed": 4, "features": FEATURES} | own | options)
    )


@pytest.fixture(scope="module")
def data():
    return background(3000, 1)


@pytest.fixture(scope="module")
def prior():
    return signal(LIKE, 700, 2)


@pytest.fixture(scope="module")
def trained(data, prior):
    return make().fit(data, signal=prior)


def efficiency(method, centre):
    return np.mean(method.fold_votes(signal(centre, 600, 7), trained_on=False)) / 5


def test_a_signal_like_the_prior_is_found_where_a_density_alone_is_blind(trained, data):
    assert efficiency(trained, LIKE) > 0.9
    assert efficiency(make("flow_density").fit(data), LIKE) < 0.25
    assert np.mean(trained.fold_votes(background(3000, 8), trained_on=False)) / 5 < 0.04


def test_a_signal_unlike_the_prior_still_lands_in_sparse_cells(trained):
    assert efficiency(trained, UNLIKE) > 0.9


def test_several_priors_share_the_plane(data, prior):
    """A generic search: two models numbered in `prior`, each of them found."""
    other = signal(OTHER, 700, 3)
    both = joined(prior, other) | {"prior": np.repeat([7, 2], 700)}
    method = make().fit(data, signal=both)
    np.testing.assert_array_equal(method._trained.folds[0]["priors"], [2, 7])
    assert efficiency(method, LIKE) > 0.6
    assert efficiency(method, OTHER) > 0.6


def test_simulated_background_may_stand_in_for_side_bands(data, prior):
    """The background's networks learn from the simulation: with another one, they are others."""
    methods = [make("quak_autoencoder", schedule={"epochs": 1}) for _ in range(2)]
    first, second = (
        m.fit(data, signal=prior, background=background(3000, s))
        for m, s in zip(methods, (5, 6), strict=True)
    )
    names = ("mjj", *FEATURES)
    assert first._trained.folds[0]["mean"] == pytest.approx(
        np.mean(
            [
                np.stack([sample.columns[n] for n in FEATURES], 1)[rows].mean(0)
                for sample in [training_sample(background(3000, 5), names, names)]
                for rows in [(REGIONS.of(sample.columns["mjj"]) >= 0) & (sample.fold != 0)]
            ],
            axis=0,
        ),
        abs=1e-5,
    )
    assert not np.array_equal(first.score(data), second.score(data))


def test_autoencoders_span_the_plane_too(data, prior, tmp_path):
    method = make(
        "quak_autoencoder", schedule={"epochs": 12, "batch": 128, "learning_rate": 2e-2, "decay": "one_cycle"}
    ).fit(data, signal=prior)
    assert efficiency(method, UNLIKE) > 0.9
    assert efficiency(method, LIKE) > 0.6
    method.save(tmp_path)
    np.testing.assert_array_equal(models.load(tmp_path).score(data), method.score(data))


def test_score_does_not_depend_on_the_chunk_and_survives_a_bundle(trained, data, tmp_path):
    trained.save(tmp_path)
    again, score = models.load(tmp_path), trained.score(data)
    np.testing.assert_array_equal(again.score({n: v[700:801] for n, v in data.items()}), score[700:801])


def test_a_fold_does_not_depend_on_its_own_events_of_any_table(data, prior):
    method = make("quak_autoencoder", schedule={"epochs": 1})
    names = ("mjj", *FEATURES)
    tables = [training_sample(table, names, names) for table in (data, prior)]
    changed = [
        type(t)(
            {**t.columns, "a": np.where(t.fold == 2, 7.0, t.columns["a"])},
            t.hashes,
            t.batch,
            t.identified_by,
            t.weight,
        )
        for t in tables
    ]
    first, second = (
        train_together([method.train(sample, {"signal": extra})])[0] for sample, extra in (tables, changed)
    )
    assert all(np.array_equal(first[2][name], second[2][name]) for name in first[2])
    assert not np.array_equal(first[1]["cells"], second[1]["cells"])


def test_root_tau21_over_tau1_is_an_input_where_asked_for():
    columns = {"tau21_j1": [0.25], "tau1_j1": [0.1], "tau21_j2": [0.64], "tau1_j2": [0.2], "m_j1": [90.0]}
    columns = {name: np.array(values) for name, values in columns.items()}
    options = models.create("quak", **WINDOW, features=["m_j1"], tau_s=True).options
    assert set(options.inputs) == set(columns)
    np.testing.assert_allclose(options.matrix(columns), [[90.0, 5.0, 4.0]], rtol=1e-4)


# The plane


def test_axes_are_free_of_mjj_and_of_each_other():
    rng = np.random.default_rng(0)
    mjj = rng.uniform(2500, 4400, 8000)
    first = np.exp(0.7 * rng.normal(size=8000)) + mjj / 800
    second = 3 * first + mjj / 500 + rng.gamma(2.0, size=8000)
    weight, settings = np.ones(8000), SpaceSettings()
    axis = fit_axis(first, mjj, weight, REGIONS, settings)
    x = on_axis(axis, first, mjj, REGIONS)
    other = fit_axis(second, mjj, weight, REGIONS, settings, x)
    y = on_axis(other, second, mjj, REGIONS, x)
    for values in (x, y):
        assert abs(np.corrcoef(values, mjj)[0, 1]) < 1e-6
        assert (values.mean(), values.std()) == pytest.approx((0, 1), abs=1e-6)
    assert abs(np.corrcoef(x, y)[0, 1]) < 1e-6
    assert abs(np.corrcoef(first, mjj)[0, 1]) > 0.4


def test_a_tail_does_not_set_the_scale_and_order_is_kept():
    """The power is that of scipy's likelihood; without it the axis is the loss, shifted and scaled."""
    rng = np.random.default_rng(1)
    loss = np.append(np.exp(rng.normal(size=3000)), 1e6)
    mjj, weight = rng.uniform(2500, 4400, 3001), np.ones(3001)
    axis = fit_axis(loss, mjj, weight, REGIONS, SpaceSettings(order=0))
    bare = fit_axis(loss, mjj, weight, REGIONS, SpaceSettings(order=0, power=False))
    assert abs(stats.skew(on_axis(axis, loss, mjj, REGIONS)[:-1])) < 1
    assert np.ptp(on_axis(axis, loss, mjj, REGIONS)[:-1]) > 1000 * np.ptp(
        on_axis(bare, loss, mjj, REGIONS)[:-1]
    )
    assert stats.spearmanr(on_axis(axis, loss, mjj, REGIONS), loss).statistic == pytest.approx(1)
    scaled = (loss[:-1] - axis["map"][0]) / axis["map"][1]
    oracle = stats.yeojohnson(scaled, axis["map"][2])
    ours = on_axis(axis, loss[:-1], mjj[:-1], REGIONS) * axis["map"][3] + axis["coefficients"][0]
    np.testing.assert_allclose(ours, oracle, rtol=1e-9, atol=1e-9)


def test_beyond_the_window_mjj_counts_as_its_edge():
    rng = np.random.default_rng(2)
    mjj = rng.uniform(2500, 4400, 500)
    axis = fit_axis(mjj / 100 + rng.normal(size=500), mjj, np.ones(500), REGIONS, SpaceSettings())
    values = on_axis(axis, np.full(4, 30.0), np.array([2500.0, 1200.0, 4400.0, 9000.0]), REGIONS)
    assert values[0] == values[1]
    assert values[2] == values[3] < values[0]


def test_the_norm_of_priors_follows_the_one_that_says_most():
    losses = np.array([[-4.0, 1.0], [1.0, -4.0], [3.0, 1.0], [0.0, 0.0], [1e200, -1e200]])
    wanted = [-((4.0**5 - 1) ** 0.2), -((4.0**5 - 1) ** 0.2), (3.0**5 + 1) ** 0.2, 0, 0]
    np.testing.assert_allclose(signed_norm(losses, 5.0), wanted, rtol=1e-12)
    np.testing.assert_array_equal(signed_norm(losses[:, :1], 5.0), losses[:, 0])


@pytest.mark.parametrize("settings", [SpaceSettings(), SpaceSettings(smoothing=0.0, per_area=False)])
def test_a_cut_takes_the_sparsest_cells_first(settings):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 40_000))
    rank = fit_cells(x, y, np.ones(40_000), settings)
    check_cells(rank, settings)
    score = cell_score(rank, x, y, settings)
    cell = np.floor(score)
    population = np.bincount(cell.astype(int), minlength=500)
    if not settings.smoothing:
        assert np.all(np.diff(population) <= 0)
    kept = score > np.quantile(score, 0.99)
    assert np.mean(kept) == pytest.approx(0.01, abs=1e-3)
    # The 1 % sparsest of a normal distribution lie beyond r = √(−2 ln 0.01) = 3.03, give or take a ring of 0.5.
    assert np.hypot(x, y)[kept].min() > 2.5
    assert np.mean(kept[np.hypot(x, y) > 3.6]) > 0.95


def test_the_middle_of_the_background_is_not_sparse():
    """Its cells are small: their bare population is among the lowest, per area it is the highest."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 40_000))
    middle = np.hypot(x, y) < 0.5
    position = {}
    for per_area in (True, False):
        settings = SpaceSettings(per_area=per_area)
        rank = fit_cells(x, y, np.ones(40_000), settings)
        position[per_area] = stats.rankdata(cell_score(rank, x, y, settings))[middle].mean() / 40_000
    assert position[True] < 0.1 < position[False]


def test_inside_a_cell_the_more_signal_like_event_scores_higher_and_far_ones_stay_finite():
    settings = SpaceSettings()
    rank = np.arange(500.0)
    scores = cell_score(rank, np.array([1.0, 1.0, 1e9, -1e9]), np.array([-0.10, -0.12, 1e9, 0.0]), settings)
    assert scores[1] > scores[0]
    assert np.floor(scores[1]) == np.floor(scores[0])
    assert np.isfinite(scores).all()


# Wrong use


def test_tables_that_are_missing_or_too_many_are_named(data, prior):
    with pytest.raises(
        TrainingError, match=r"'quak' needs further tables: pass signal=… \(simulated signal\) to fit"
    ):
        make().fit(data)
    with pytest.raises(TrainingError, match="leave out wide"):
        make().fit(data, signal=prior, wide=data)


def test_priors_that_cannot_be_learned_are_named(data, prior):
    few = prior | {"prior": np.where(np.arange(700) < 20, 5, 1)}
    with pytest.raises(TrainingError, match=r"signal prior 5: \d+ events outside fold 0.*at least 40"):
        make().fit(data, signal=few)
    with pytest.raises(
        InputError, match=r"column 'prior' numbers the signal models; expected integers, found 0\.5"
    ):
        make().fit(data, signal=prior | {"prior": np.full(700, 0.5)})


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match=r"unknown key 'space.angels'; did you mean 'angles'"):
        make(space={"angels": 3})
    with pytest.raises(ConfigError, match="key 'hidden': expected at least 1 entry, found 0"):
        make("quak_autoencoder", hidden=())


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("cells", lambda a: a[::-1] * 2, "no order of them"),
        ("deviation", lambda a: 0 * a, "scale of the inputs"),
        ("priors", lambda a: a[:0], "no signal prior"),
        ("axis/signal0/coefficients", lambda a: a[:1], "expected float64 of shape"),
        ("axis/background/map", lambda a: 0 * a, "has no spread"),
        ("prepared/9/values", np.copy, "atoms of inputs 9, but there are 3 inputs"),
    ],
)
def test_damaged_bundles_are_refused(trained, name, change, match):
    fold = dict(trained._trained.folds[1])
    fold[name] = change(fold[name]) if name in fold else np.zeros(3)
    with pytest.raises(ValueError, match=match):
        trained.check_fold(fold)
    check_axis({"map": np.ones(4), "coefficients": np.zeros(2)}, 2)


def test_an_autoencoder_that_loses_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"latent: 2 variables can hold all of 2 inputs"):
        models.create("quak_autoencoder", signal_region=(3000.0, 3600.0), features=["m_j1", "m_j2"], latent=2)
