"""CATHODE, CATHODE-b and LaCATHODE on toys whose background is known at every mass."""

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import models
from data.errors import ConfigError, TrainingError
from models.atoms import Atoms, Steps
from models.driver import train_together
from models.folds import training_sample
from models.interpolation import drawn_masses, side_band_rows
from models.regions import regions
from models.threads import one_thread

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
INPUTS = ("m_j1", "tau41_j1", "deepb_j1")
FLOW = {
    "transforms": 2,
    "hidden": (32,),
    "schedule": {"epochs": 12, "batch": 256, "learning_rate": 8e-3},
    "least_steps": 1,
}
TREES = {"bags": 1, "iterations": 12}
SETTINGS = {
    "seed": 3,
    "working_point": 0.05,
    "features": INPUTS,
    "oversampling": 2.0,
    "flow": FLOW,
    "trees": TREES,
}


def background(rows, rng, mjj=None):
    """One input shifts linearly with mjj, one depends on the first, one has an atom at 0."""
    mjj = 2500 * (1 - rng.uniform(0, 0.8, rows)) ** -0.35 if mjj is None else mjj
    m_j1 = 100 + 0.05 * (mjj - 2500) + rng.gamma(4.0, 12.0, rows)
    tau41 = 0.5 + 0.1 * np.tanh((m_j1 - 170) / 40) + 0.08 * rng.standard_normal(rows)
    deepb = np.where(rng.random(rows) < 0.3, 0.0, rng.beta(1.0, 3.0, rows))
    return {"mjj": mjj, "m_j1": m_j1, "tau41_j1": tau41, "deepb_j1": deepb}


def toy(rows, signal=0, seed=0):
    rng = np.random.default_rng(seed)
    table = background(rows, rng)
    planted = {
        "mjj": rng.normal(3300, 80, signal),
        "m_j1": rng.normal(330, 12, signal),
        "tau41_j1": rng.normal(0.25, 0.05, signal),
        "deepb_j1": rng.beta(5.0, 2.0, signal),
    }
    table = {name: np.append(values, planted[name]).astype(np.float32) for name, values in table.items()}
    return table | {"label": np.arange(rows + signal) >= rows}


def compared(method, table, folds=1):
    """Rows and what is compared of the first folds."""
    names = ("mjj", *method.inputs)
    sample = training_sample(table, names, names)
    rows = [method.fold_rows(sample, fold) for fold in range(folds)]
    return rows, train_together([method.compared(own) for own in rows])


def area(first, second):
    """Area under the curve of a classifier of two samples, on events that it did not learn from."""
    n = min(len(first), len(second))
    x = np.concatenate([first[:n], second[:n]])
    y = np.arange(2 * n) < n
    learnt = np.random.default_rng(0).random(2 * n) < 0.5
    with one_thread():
        model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=12, random_state=0)
        model.fit(x[learnt], y[learnt])
        return roc_auc_score(y[~learnt], model.predict_proba(x[~learnt])[:, 1])


def true_background(mjj, seed=9):
    columns = background(len(mjj), np.random.default_rng(seed), mjj)
    return np.stack([columns[name] for name in INPUTS], axis=1).astype(np.float32)


def misfit(found, expected):
    """χ² per degree of freedom of two histograms in quantile bins; an atom at 0 has a bin of its own."""
    inner = expected[expected > 0] if np.mean(expected == 0) > 0.1 else expected
    atom = [1e-12] if len(inner) < len(expected) else []
    edges = np.concatenate([[-np.inf], atom, np.quantile(inner, np.arange(1, 10) / 10), [np.inf]])
    counts = np.stack([np.histogram(sample, edges)[0] for sample in (found, expected)])
    test = stats.chi2_contingency(counts)
    return test.statistic / test.dof


@pytest.fixture(scope="module")
def clean():
    return toy(16_000, seed=1)


@pytest.fixture(scope="module")
def template(clean):
    """Generated background of fold 0, and true background at masses of the same distribution."""
    method = models.create("cathode", **WINDOW, **SETTINGS)
    rows, pairs = compared(method, clean)
    return method, rows[0], pairs[0].background, true_background(method.masses(rows[0]))


def test_generated_background_is_the_true_one(template):
    _, rows, made, true = template
    assert made.shape == true.shape
    assert 0.45 < area(made, true) < 0.55
    # Seven thousand training events leave a few per cent to the flow; without interpolation it is far worse.
    assert max(misfit(*pair) for pair in zip(made[::4].T, true[::4].T, strict=True)) < 4
    assert misfit(rows.band[:2000, 0], true[::4, 0]) > 10


def test_an_input_that_follows_mjj_is_interpolated(template):
    """The toy's mean mass is 148 + 0.05 (mjj − 2500)."""
    method, rows, made, _ = template
    mjj = method.masses(rows)
    slope, offset = np.polyfit(mjj - 3300.0, made[:, 0], 1)
    assert slope == pytest.approx(0.05, abs=0.012)
    # An eighth of the width; the side bands' own mean is fifteen off.
    assert offset == pytest.approx(100 + 0.05 * 800 + 48, abs=3.0)
    assert abs(rows.band[:, 0].mean() - offset) > 6.0
    # The side bands' own mean, without interpolation, is told apart.
    assert area(rows.band[:, :1], made[:, :1]) > 0.51


def test_atoms_come_out_as_they_went_in(template):
    _, _, made, true = template
    zero = [np.mean(sample[:, 2] == 0) for sample in (made, true)]
    assert zero[0] == pytest.approx(zero[1], abs=0.03)
    assert made[:, 2].min() == 0.0
    assert made[:, 2].max() <= 1.0


def test_tail_events_do_not_spoil_the_flow(template):
    """Half a percent of the events far out move neither the centre nor the spread of the rest."""
    table = toy(16_000, seed=1)
    rng = np.random.default_rng(4)
    wild = rng.random(16_000) < 0.005
    for name, scale in (("m_j1", 30.0), ("tau41_j1", 0.1)):
        table[name][wild] += (rng.uniform(20, 50, wild.sum()) * scale).astype(np.float32)
    method = models.create("cathode", **WINDOW, **SETTINGS)
    _, pairs = compared(method, table)
    made, true = pairs[0].background, template[3]
    assert np.isfinite(made).all()
    core = made[(made[:, 0] < true[:, 0].max()) & (made[:, 1] < true[:, 1].max())]
    assert len(core) > 0.985 * len(made)
    assert 0.45 < area(core, true) < 0.55


@pytest.mark.parametrize("name", ["cathode", "lacathode"])
def test_a_planted_signal_is_found(name):
    table = toy(8000, 120, seed=2)
    rough = SETTINGS | {"flow": FLOW | {"schedule": {"epochs": 3, "batch": 256, "learning_rate": 1e-2}}}
    method = models.create(name, **WINDOW, **rough).fit(table)
    votes = method.fold_votes(table, trained_on=True)
    inside = method.window.of(table["mjj"].astype(np.float64)) == 1
    kept = [np.mean(votes[(table["label"] == label) & inside] == 5) for label in (True, False)]
    assert kept[0] > 0.5
    assert kept[1] < 0.1


def test_latent_space_is_normal_and_does_not_know_mjj(clean):
    method = models.create("lacathode", **WINDOW, **SETTINGS)
    rows, pairs = compared(method, clean)
    data, normal = pairs[0].data, pairs[0].background
    assert 0.45 < area(data, normal) < 0.55
    np.testing.assert_allclose(data.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(data.std(axis=0), 1.0, atol=0.1)
    mjj = rows[0].signal_mjj
    follows = [abs(stats.spearmanr(values, mjj).statistic) for values in data.T]
    assert max(follows) < 0.07
    assert abs(stats.spearmanr(rows[0].signal[:, 0], mjj).statistic) > 0.1


def test_the_own_fold_is_never_used(clean):
    """What a fold compares stays the same to the bit when the fold's rows are changed."""
    changed = {name: values.copy() for name, values in clean.items()}
    identity = {
        "run": np.ones(16_000, int),
        "luminosity_block": np.arange(16_000) // 50,
        "event": np.arange(16_000),
    }
    sample = training_sample(clean | identity, ("mjj", *INPUTS), ("mjj", *INPUTS))
    own = np.zeros(16_000, dtype=bool)
    own[sample.columns["mjj"].argsort()] = (sample.fold == 0)[sample.columns["mjj"].argsort()]
    order = np.lexsort((identity["event"], identity["luminosity_block"]))
    for name in INPUTS:
        changed[name][order[own]] *= 1.7
    small = {"transforms": 1, "hidden": (8,), "schedule": {"epochs": 1, "batch": 512}, "least_steps": 1}
    quick = SETTINGS | {"flow": small, "oversampling": 0.5}
    for name in ("cathode", "lacathode"):
        method = models.create(name, **WINDOW, **quick)
        first, second = (compared(method, table | identity)[1][0] for table in (clean, changed))
        np.testing.assert_array_equal(first.data, second.data)
        np.testing.assert_array_equal(first.background, second.background)
        assert all(np.array_equal(first.arrays[key], second.arrays[key]) for key in first.arrays)


def test_default_inputs_and_presets():
    cathode, with_b = (models.create(name, **WINDOW) for name in ("cathode", "cathode_b"))
    assert cathode.inputs == ("m_j1", "delta_m", "tau41_j1", "tau41_j2")
    assert with_b.inputs == (*cathode.inputs, "deepb_j1", "deepb_j2")
    # arXiv:2109.00546, section III: 15 blocks, batches of 256, 100 epochs, learning rate 1e-4, ten best epochs.
    paper = models.create("cathode", **WINDOW, preset="paper").options
    schedule = paper.flow.schedule
    assert (paper.flow.kind, paper.flow.blocks, paper.flow.transform) == ("affine", 15, "logit")
    assert (schedule.batch, schedule.epochs, schedule.learning_rate, schedule.keep) == (256, 100, 1e-4, 10)
    # Classifier of 3 × 64, batches of 128, 100 epochs, mean of the ten best; 400,000 events for 121,352 of data.
    assert (paper.mlp.hidden, paper.mlp.schedule.batch, paper.mlp.schedule.keep) == ((64, 64, 64), 128, 10)
    assert paper.oversampling * 121_352 == pytest.approx(400_000, rel=0.02)


def test_masses_follow_the_data_and_stay_inside():
    data = 3000 + 600 * np.random.default_rng(0).beta(1, 3, 4000)
    drawn = drawn_masses(data, 20_000, (3000.0, 3600.0), seed=1)
    assert drawn.min() >= 3000
    assert drawn.max() < 3600
    assert stats.ks_2samp(drawn, data).pvalue > 1e-3
    np.testing.assert_array_equal(drawn, drawn_masses(data, 20_000, (3000.0, 3600.0), seed=1))


def test_side_bands_are_the_windows_or_everything_outside():
    window = regions((3000.0, 3600.0), (2500.0, 3000.0), (3600.0, 4400.0))
    mjj = np.array([2000.0, 2600.0, 3000.0, 3600.0, 4400.0])
    assert side_band_rows(mjj, window, "window").tolist() == [False, True, False, True, False]
    assert side_band_rows(mjj, window, "all").tolist() == [True, True, False, True, True]


def test_spread_atoms_are_uniform_in_rank_and_come_back():
    rng = np.random.default_rng(2)
    x = np.stack(
        [
            rng.poisson(30, 8000),
            np.where(rng.random(8000) < 0.4, 0.0, rng.random(8000)),
            rng.standard_normal(8000),
        ],
        axis=1,
    ).astype(np.float32)
    atoms = Atoms.fit(x)
    assert set(atoms.steps) == {0, 1}
    spread = atoms.spread(x, np.arange(8000.0))
    for column in (0, 1):
        assert stats.kstest(spread[:, column], "norm").pvalue > 1e-3
        assert len(np.unique(spread[:, column])) > 7900
    back = atoms.gathered(spread)
    np.testing.assert_array_equal(back[:, 0], x[:, 0])
    np.testing.assert_array_equal(back[:, 1] == 0, x[:, 1] == 0)
    np.testing.assert_allclose(back[:, 1], x[:, 1], atol=2e-5)
    np.testing.assert_array_equal(spread[:, 2], x[:, 2])
    # A row's values do not depend on the chunk in which it comes.
    np.testing.assert_array_equal(atoms.spread(x[5:9], np.arange(5.0, 9.0)), spread[5:9])
    again = Atoms.from_arrays(atoms.arrays(), 3)
    np.testing.assert_array_equal(again.spread(x, np.arange(8000.0)), spread)
    assert Steps.fit(x[:, 2].astype(np.float64)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a | {"7/values": a["0/values"]}, "atoms of inputs 0, 7, but there are 1 inputs"),
        (lambda a: a | {"0/ranks": a["0/ranks"][::-1].copy()}, "not a distribution function"),
        (lambda a: {"0/values": a["0/values"]}, "array 'ranks' is missing"),
    ],
)
def test_damaged_atoms_are_refused(change, message):
    atoms = Atoms.fit(np.random.default_rng(0).poisson(5, (500, 1)).astype(np.float32))
    with pytest.raises(ValueError, match=message):
        Atoms.from_arrays(change(atoms.arrays()), 1)


def test_wrong_options_and_tables_have_clear_errors(clean):
    with pytest.raises(ConfigError, match="side_bands"):
        models.create("cathode", **WINDOW, side_bands="near")
    with pytest.raises(ConfigError, match="oversampling"):
        models.create("cathode", **WINDOW, oversampling=0)
    none = {name: values[clean["mjj"] > 3000] for name, values in clean.items()}
    with pytest.raises(TrainingError, match="lower side band"):
        models.create("cathode", **WINDOW, **SETTINGS).fit(none)
