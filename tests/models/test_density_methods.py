"""Densities given mjj, and the methods made of them."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm
from sklearn.metrics import roc_auc_score

import models
from data.errors import ConfigError, TrainingError
from models import density
from models.density import DensityProblem, FlowSettings, train_densities
from models.driver import train_together
from models.jobs import Member
from models.methods.kde import _log_density
from models.methods.r_anode import log_power_law, power_law
from models.networks import flows
from models.networks.flows import SplineFlow
from models.networks.residual import INPUTS as INPUTS_OF
from models.networks.residual import ResidualFlow, log_normal
from models.seeds import task_seed
from models.stack import train_stack

SIGNAL = (3000.0, 3600.0)
WINDOW = {"signal_region": SIGNAL, "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
INPUTS = ["m_j1", "delta_m"]
SMALL_FLOW = {
    "transforms": 2,
    "hidden": (24,),
    "least_steps": 100,
    "schedule": {"epochs": 4, "batch": 256, "learning_rate": 1e-2, "decay": "one_cycle"},
}
SMALL = {
    "kde": {"events": 800},
    "flow_density": {"flow": SMALL_FLOW},
    "anode": {"flow": SMALL_FLOW},
    "r_anode": {"flow": SMALL_FLOW, "signal": SMALL_FLOW},
}


def seeds(*parts):
    return task_seed(1, *parts)


def events(count, rng, mjj=None):
    """Two inputs: a falling one whose scale grows with mjj, and one that follows the first."""
    mjj = np.exp(rng.uniform(np.log(2500), np.log(4400), count)) if mjj is None else mjj
    first = rng.exponential(0.03 * mjj)
    second = rng.normal(0.5 * first, 20.0)
    logs = -np.log(0.03 * mjj) - first / (0.03 * mjj) + norm.logpdf(second, 0.5 * first, 20.0)
    return np.stack([first, second], axis=1).astype(np.float32), mjj, logs


def learned(settings, x, mjj):
    problem = DensityProblem(x, mjj, np.ones(len(x)), np.arange(len(x)) % 4)
    return train_together([train_densities(settings, [problem], [seeds], len(problem.x))])[0][0]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    background, signal = 5000, 110
    x, mjj, _ = events(background, rng)
    planted = rng.normal([250.0, 60.0], [15.0, 8.0], (signal, 2))
    mjj = np.concatenate([mjj, rng.normal(3300, 80, signal)])
    x = np.concatenate([x, planted.astype(np.float32)])
    label = np.arange(len(mjj)) >= background
    return {"mjj": mjj, "m_j1": x[:, 0], "delta_m": x[:, 1], "label": label.astype(np.int64)}


@pytest.mark.parametrize("transform", ["rank", "logit"])
def test_density_in_units_of_the_inputs_is_interpolated_over_a_gap(transform):
    rng = np.random.default_rng(0)
    x, mjj, _ = events(16_000, rng)
    band = (mjj < SIGNAL[0]) | (mjj > SIGNAL[1])
    settings = FlowSettings(transform=transform, transforms=2, hidden=(32,), least_steps=300)
    arrays = learned(settings, x[band], mjj[band])
    there, at, truth = events(3000, rng, rng.uniform(3100, 3500, 3000))
    found = density.fold_density(arrays, settings, there, at)
    assert -0.02 < (truth - found).mean() < 0.08
    drawn = density.fold_sample(arrays, settings, at, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(axis=0), there.mean(axis=0), rtol=0.1)
    z = density.fold_latent(arrays, settings, there, at)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=0.1)
    density.check_density(arrays, settings, 2)


def test_members_validate_on_their_own_splits_and_kept_epochs_join_the_ensemble():
    x, mjj, _ = events(800, np.random.default_rng(0))
    schedule = {"epochs": 3, "batch": 256, "keep": 2}
    settings = FlowSettings(kind="affine", blocks=2, hidden=(8,), members=3, schedule=schedule, least_steps=1)
    arrays = learned(settings, x, mjj)
    assert len(arrays["flow/0.weight0"]) == 6
    assert len({row.tobytes() for row in arrays["flow/0.weight0"]}) == 6
    density.check_density(arrays, settings, 2)


@pytest.mark.parametrize(("rows", "batch", "epochs"), [(400_000, 2048, 3), (30_000, 128, 3), (5000, 128, 10)])
def test_few_events_are_seen_in_smaller_batches_then_more_often(rows, batch, epochs):
    schedule = FlowSettings().schedule_for(rows)
    assert (schedule.batch, schedule.epochs) == (batch, epochs)
    assert schedule.epochs * -(-rows // schedule.batch) >= 400


def test_too_few_events_for_a_density():
    x, mjj, _ = events(3, np.random.default_rng(0))
    with pytest.raises(
        TrainingError, match=r"3 events in 3 of 4 inner splits; widen the bands or add events"
    ):
        learned(FlowSettings(), x, mjj)


def test_a_layer_without_units_is_refused():
    with pytest.raises(ConfigError, match=r"key 'flow.hidden': expected a number greater than 0, found "):
        models.create("anode", **WINDOW, flow={"hidden": (0,)})


def test_arrays_of_another_density_are_refused():
    x, mjj, _ = events(400, np.random.default_rng(0))
    settings = FlowSettings(**SMALL_FLOW)
    arrays = learned(settings, x, mjj)
    with pytest.raises(ValueError, match="not those of its settings"):
        density.check_density(arrays, FlowSettings(**SMALL_FLOW | {"transforms": 3}), 2)
    with pytest.raises(ValueError, match="scale of mjj"):
        density.check_density(arrays | {"context/scale": np.zeros(2)}, settings, 2)


@pytest.fixture(scope="module")
def fitted(table):
    """Each method trained once."""
    data = {key: value for key, value in table.items() if key != "label"}
    return {name: make(name).fit(data) for name in SMALL}


def make(name, **options):
    usual = WINDOW | {"working_point": 0.05, "seed": 3, "features": INPUTS} | SMALL[name]
    return models.create(name, **(usual | options))


@pytest.mark.parametrize("name", SMALL)
def test_finds_a_resonance(name, table, fitted):
    score = fitted[name].score({key: value for key, value in table.items() if key != "label"})
    inside = (table["mjj"] > SIGNAL[0]) & (table["mjj"] < SIGNAL[1])
    # The signal is a spot at 250 GeV in a falling spectrum of mean 100 GeV: for outliers it is far from extreme.
    assert roc_auc_score(table["label"][inside], score[inside]) > (0.93 if "anode" in name else 0.8)


@pytest.mark.parametrize("name", SMALL)
def test_damaged_arrays_of_a_bundle_are_refused(name, fitted):
    fold = dict(fitted[name]._trained.folds[0])
    fitted[name].check_fold(fold)
    broken = next(key for key in fold if key.endswith(("bias0", "width")))
    with pytest.raises(ValueError, match=r"not finite|widths"):
        fitted[name].check_fold(fold | {broken: fold[broken] * np.nan})
    if name == "r_anode":
        with pytest.raises(ValueError, match="slope of mjj or the fraction of signal is not finite"):
            fitted[name].check_fold(fold | {"mass/slope": np.array([np.inf])})


def test_outlier_scores_of_a_known_density(fitted):
    """A flow's and a kernel's −log p order background events nearly as the true density does."""
    x, mjj, truth = events(1500, np.random.default_rng(9))
    for name, least in (("flow_density", 0.9), ("kde", 0.85)):
        score = fitted[name].score({"mjj": mjj, "m_j1": x[:, 0], "delta_m": x[:, 1]})
        order = [np.argsort(np.argsort(values)) for values in (score, -truth)]
        assert np.corrcoef(*order)[0, 1] > least


def test_ratio_outside_the_signal_region_is_that_at_its_edge(table, fitted):
    fold = fitted["anode"]._trained.folds[0]
    columns = {name: table[name][:50].astype(np.float64) for name in INPUTS}
    edge, far = (
        fitted["anode"].raw_score(fold, columns | {"mjj": np.full(50, mass)}) for mass in (3600.0, 4200.0)
    )
    assert np.array_equal(edge, far)


def test_mass_counts_in_the_score_of_residual_anode_only_if_asked(table, fitted):
    fold = fitted["r_anode"]._trained.folds[0]
    columns = {name: np.full(2, table[name][-1], dtype=np.float64) for name in INPUTS}
    columns["mjj"] = np.array([3300.0, 3590.0])
    at_peak, off_peak = make("r_anode", mass_in_score=True).raw_score(fold, columns) - fitted[
        "r_anode"
    ].raw_score(fold, columns)
    assert at_peak > off_peak + 0.5


def test_power_law_of_mjj():
    rng = np.random.default_rng(0)
    for slope in (-8.0, 0.0, 3.0):
        u = rng.random(40_000)
        low, high = SIGNAL
        mjj = (
            low * (high / low) ** u
            if slope == 0
            else (low**slope + u * (high**slope - low**slope)) ** (1 / slope)
        )
        assert power_law(mjj, SIGNAL) == pytest.approx(slope, abs=0.35)
        grid = np.linspace(low, high, 2001)
        assert np.trapezoid(np.exp(log_power_law(grid, slope, SIGNAL)), grid) == pytest.approx(1.0, rel=1e-5)


def test_kernel_density_is_that_of_scipy():
    rng = np.random.default_rng(0)
    reference, points = rng.normal(size=(300, 2)), rng.normal(size=(50, 2)) * 3
    # scipy's kernels have the sample's covariance: whitened, they are ours.
    whitened = np.linalg.cholesky(np.linalg.inv(np.cov(reference.T)))
    oracle = gaussian_kde((reference @ whitened).T, bw_method=0.3)
    scale = np.sqrt(np.diag(np.atleast_2d(oracle.covariance)))
    found = _log_density(points @ whitened, reference @ whitened, scale)
    np.testing.assert_allclose(found, oracle.logpdf((points @ whitened).T), rtol=1e-6)
    assert np.isfinite(_log_density(points + 1e6, reference, np.ones(2))).all()


@pytest.mark.parametrize("name", ["kde", "anode"])
def test_an_input_of_few_values_does_not_drown_the_others(name, table):
    """A b score that is 0 in 60 % of the events, of signal as of background, says nothing."""
    rng = np.random.default_rng(8)
    rows = len(table["mjj"])
    data = {key: value for key, value in table.items() if key != "label"}
    data["deepb_j1"] = np.where(rng.random(rows) < 0.6, 0.0, rng.beta(2, 3, rows)).astype(np.float32)
    method = make(name, features=[*INPUTS, "deepb_j1"]).fit(data)
    inside = (table["mjj"] > SIGNAL[0]) & (table["mjj"] < SIGNAL[1])
    score = method.score(data)
    assert roc_auc_score(table["label"][inside], score[inside]) > (0.93 if name == "anode" else 0.75)
    if name == "kde":
        assert roc_auc_score(data["deepb_j1"] == 0, score) == pytest.approx(0.5, abs=0.08)
    fold = method._trained.folds[0]
    atoms = next(key for key in fold if "atoms/" in key and key.endswith("ranks"))
    with pytest.raises(ValueError, match="not a distribution function"):
        method.check_fold(fold | {atoms: -fold[atoms]})


PUBLISHED_SCHEDULES = {
    "cathode": ("flow",),
    "r_anode": ("flow", "signal"),
    "quak": ("flow",),
    "quak_autoencoder": (),
    "cvae": ("vae",),
    "vae_qr": (),
    "autoencoder": (),
    "rmm_autoencoder": (),
}


@pytest.mark.parametrize("name", PUBLISHED_SCHEDULES)
def test_the_published_recipes_train_at_a_constant_rate(name):
    """None of the authors used a one-cycle rate, which is the default of many methods here."""
    options = models.create(name, signal_region=SIGNAL, preset="paper").options
    for part in PUBLISHED_SCHEDULES[name] or (None,):
        schedule = (options if part is None else getattr(options, part)).schedule
        assert schedule.decay == "constant"


def test_masses_that_cannot_be_are_named(table):
    data = {key: value for key, value in table.items() if key != "label"}
    data["mjj"] = np.where(np.arange(len(data["mjj"])) < 3, 0.0, data["mjj"])
    with pytest.raises(TrainingError, match=r"column 'mjj': 3 of \d+ masses are not above 0"):
        make("kde").fit(data)


def test_the_residual_density_finds_a_spot_of_one_percent_from_any_start():
    """From a start at the background's density, whatever the seed; the true log ratio in the spot is 4.5."""
    rng = np.random.default_rng(2)
    rows, signal = 12_000, 120
    x = np.concatenate([rng.normal(size=(rows, 2)), rng.normal([1.4, -1.2], 0.15, (signal, 2))])
    mass = rng.normal(size=(len(x), 1))
    data = {
        "x": x.astype(np.float32),
        "context": np.zeros((len(x), 1), dtype=np.float32),
        "mass": mass.astype(np.float32),
        "background": (log_normal(x) + log_normal(mass)).astype(np.float32),
        "weight": np.ones(len(x), dtype=np.float32),
    }
    np.testing.assert_allclose(log_normal(x), norm.logpdf(x).sum(axis=1), rtol=1e-12)
    settings = models.create("r_anode", **WINDOW).options.signal
    network = ResidualFlow(settings.network(2), SplineFlow(1, 0, transforms=2, hidden=(16,)))
    split = np.arange(len(x)) % 4
    members = [Member(np.flatnonzero(split != 0), np.flatnonzero(split == 0), seed) for seed in range(2)]
    result = train_stack(network, settings.schedule_for(9000), data, members)
    gain = -np.mean(data["background"][split == 0]) - result.validation
    assert np.all(gain * len(members[0].validation) > 5)
    spot = np.array([[1.4, -1.2]], dtype=np.float32)
    for arrays in result.networks:
        inputs = {n.removeprefix(INPUTS_OF): v for n, v in arrays.items() if n.startswith(INPUTS_OF)}
        found = flows.density(network.inputs, inputs, spot, np.zeros((1, 1), dtype=np.float32))
        assert found - log_normal(spot) > 2
