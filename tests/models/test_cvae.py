"""The conditional autoencoder as a generator of background."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import models
from data.errors import ConfigError
from models.driver import train_together
from models.folds import training_sample
from models.networks.base import Noise
from models.networks.conditional_vae import ConditionalVae
from models.threads import one_thread

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
INPUTS = ("m_j1", "tau21_j1")
SETTINGS = {
    "seed": 2,
    "working_point": 0.05,
    "features": INPUTS,
    "oversampling": 2.0,
    "vae": {"hidden": (32,), "schedule": {"epochs": 15, "batch": 512, "learning_rate": 5e-3}},
    "trees": {"bags": 1, "iterations": 12},
}


def inputs_at(mjj, rng):
    """The mass shifts with mjj, the other input depends on it."""
    m_j1 = 100 + 0.02 * (mjj - 2500) + rng.gamma(4.0, 12.0, len(mjj))
    return m_j1, 0.5 + 0.1 * np.tanh((m_j1 - 150) / 40) + 0.08 * rng.standard_normal(len(mjj))


def toy(rows, signal=0, seed=0):
    rng = np.random.default_rng(seed)
    mjj = 2500 * (1 - rng.uniform(0, 0.8, rows)) ** -0.35
    m_j1, tau21 = inputs_at(mjj, rng)
    table = {
        "mjj": np.append(mjj, rng.normal(3300, 80, signal)),
        "m_j1": np.append(m_j1, rng.normal(330, 12, signal)),
        "tau21_j1": np.append(tau21, rng.normal(0.2, 0.05, signal)),
    }
    return {name: values.astype(np.float32) for name, values in table.items()}


def compared(method, table):
    """Rows and comparison of fold 0."""
    names = ("mjj", *method.inputs)
    rows = method.fold_rows(training_sample(table, names, names), 0)
    return rows, train_together([method.compared(rows)])[0]


def area(first, second):
    n = min(len(first), len(second))
    x, y = np.concatenate([first[:n], second[:n]]), np.arange(2 * n) < n
    learnt = np.random.default_rng(0).random(2 * n) < 0.5
    with one_thread():
        model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=12, random_state=0)
        model.fit(x[learnt], y[learnt])
        return roc_auc_score(y[~learnt], model.predict_proba(x[~learnt])[:, 1])


@pytest.fixture(scope="module")
def template():
    method = models.create("cvae", **WINDOW, **SETTINGS)
    rows, pair = compared(method, toy(16_000, seed=1))
    mjj = method.masses(rows)
    true = np.stack(inputs_at(mjj, np.random.default_rng(8)), axis=1)
    return rows, mjj, pair.background, true


def test_generated_background_is_the_true_one(template):
    _, _, made, true = template
    assert 0.45 < area(made, true) < 0.55
    for generated, expected in zip(made[::4].T, true[::4].T, strict=True):
        edges = np.concatenate([[-np.inf], np.quantile(expected, np.arange(1, 12) / 12), [np.inf]])
        counts = np.stack([np.histogram(sample, edges)[0] for sample in (generated, expected)])
        assert stats.chi2_contingency(counts).pvalue > 1e-3


def test_an_input_that_follows_mjj_is_interpolated(template):
    """The toy's mean mass is 148 + 0.02 (mjj − 2500)."""
    _, mjj, made, _ = template
    slope, offset = np.polyfit(mjj - 3300.0, made[:, 0], 1)
    assert slope == pytest.approx(0.02, abs=0.006)
    assert offset == pytest.approx(164, abs=1.5)


def test_a_planted_signal_is_found():
    table = toy(8000, 120, seed=2)
    method = models.create("cvae", **WINDOW, **SETTINGS).fit(table)
    votes = method.fold_votes(table, trained_on=True)
    signal = np.arange(8120) >= 8000
    inside = method.window.of(table["mjj"].astype(np.float64)) == 1
    assert np.mean(votes[signal & inside] == 5) > 0.5
    assert np.mean(votes[~signal & inside] == 5) < 0.1


def test_tail_events_do_not_spoil_the_training(template):
    table = toy(16_000, seed=1)
    rng = np.random.default_rng(4)
    wild = rng.random(16_000) < 0.005
    table["m_j1"][wild] += (rng.uniform(20, 50, wild.sum()) * 30).astype(np.float32)
    _, pair = compared(models.create("cvae", **WINDOW, **SETTINGS), table)
    made, true = pair.background, template[3]
    core = made[made[:, 0] < true[:, 0].max()]
    assert len(core) > 0.985 * len(made)
    assert 0.45 < area(core, true) < 0.55


def test_the_loss_is_the_published_one():
    """(1 − β)·MSE + β·KL, computed with plain numpy."""
    network = ConditionalVae(3, 2, (5,), 0.25)
    generator = torch.Generator().manual_seed(1)
    parameters = {name: value[None] for name, value in network.initial(generator).items()}
    x = torch.randn(1, 7, 3, generator=generator)
    context = torch.randn(1, 7, 1, generator=generator)
    losses = network.losses(
        parameters, {"x": x, "context": context}, Noise([torch.Generator().manual_seed(3)], training=True)
    )
    draw = torch.randn((7, 2), generator=torch.Generator().manual_seed(3)).numpy()

    def dense(part, values):
        weights = {
            name.removeprefix(part): p[0].numpy() for name, p in parameters.items() if name.startswith(part)
        }
        hidden = values @ weights["weight0"] + weights["bias0"]
        return (hidden / (1 + np.exp(-hidden))) @ weights["weight1"] + weights["bias1"]

    rows, at = x[0].numpy(), context[0].numpy()
    code = dense("encoder/", np.hstack([rows, at]))
    mean, log_variance = code[:, :2], code[:, 2:]
    decoded = dense("decoder/", np.hstack([mean + np.exp(log_variance / 2) * draw, at]))
    # D. P. Kingma, M. Welling, arXiv:1312.6114, appendix B.
    divergence = -0.5 * (1 + log_variance - mean**2 - np.exp(log_variance)).sum(axis=1)
    expected = 0.75 * ((decoded - rows) ** 2).mean(axis=1) + 0.25 * divergence
    np.testing.assert_allclose(losses[0].detach().numpy(), expected, rtol=1e-5)


def test_options():
    paper = models.create("cvae", **WINDOW, preset="paper").options
    assert paper.vae.beta == 1e-6
    assert models.create("cvae", **WINDOW).inputs == ("m_j1", "delta_m", "tau21_j1", "tau21_j2")
    with pytest.raises(ConfigError, match=r"vae\.beta"):
        models.create("cvae", **WINDOW, vae={"beta": 1.0})
    with pytest.raises(ConfigError, match=r"vae\.hidden"):
        models.create("cvae", **WINDOW, vae={"hidden": ()})
