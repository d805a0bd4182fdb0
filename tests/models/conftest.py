"""Toy tables with a planted resonance."""

import numpy as np
import pytest

import models

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
INPUTS = ("m", "tau21", "tau32", "tau43", "lsf3", "deepb", "n_pf")
QUICK_TREES = {"bags": 1, "iterations": 12, "patience": 5}
QUICK_MLP = {"bags": 1, "schedule": {"epochs": 4}}


def make_table(background=4000, signal=0, seed=0, *, ids=True):
    """Falling spectrum; the signal's jets are heavy and two-pronged. The label is the table's last column."""
    rng = np.random.default_rng(seed)
    rows = background + signal
    planted = np.arange(rows) >= background
    mjj = np.where(planted, rng.normal(3250, 80, rows), 2300 + rng.exponential(700, rows))
    table = {"mjj": mjj}
    for jet in ("j1", "j2"):
        table[f"pt_{jet}"] = 0.45 * mjj * rng.uniform(0.8, 1.1, rows)
        table[f"m_{jet}"] = np.where(planted, rng.normal(400, 25, rows), rng.exponential(90, rows)).astype(
            np.float32
        )
        table[f"tau21_{jet}"] = np.where(planted, rng.beta(2, 8, rows), rng.beta(5, 4, rows)).astype(
            np.float32
        )
        for name in ("tau32", "tau43", "deepb"):
            table[f"{name}_{jet}"] = rng.beta(5, 3, rows).astype(np.float32)
        table[f"lsf3_{jet}"] = np.where(rng.random(rows) < 0.8, 0, rng.random(rows)).astype(np.float32)
        table[f"n_pf_{jet}"] = rng.poisson(60, rows).astype(np.float32)
    if ids:
        table |= {"run": np.full(rows, 1), "luminosity_block": np.arange(rows) // 50 + 100 * seed}
        table["event"] = np.arange(rows)
    table["label"] = planted.astype(np.int64)
    return table


def take_rows(table, chosen):
    return {name: values[chosen] for name, values in table.items()}


def make_quick(classifier="trees", **options):
    settings = {"working_point": 0.05, "seed": 7, "trees": QUICK_TREES, "mlp": QUICK_MLP} | options
    return models.create("cwola", **(WINDOW | settings), classifier=classifier)


@pytest.fixture(scope="session")
def table():
    return make_table(4000, 150)


@pytest.fixture(scope="session")
def trained(table):
    return make_quick().fit(table)


@pytest.fixture(scope="session")
def other():
    return make_table(900, 60, seed=3)


@pytest.fixture(scope="session")
def tables():
    """Makes toy tables."""
    return make_table


@pytest.fixture(scope="session")
def rows_of():
    """Rows of a table."""
    return take_rows


@pytest.fixture(scope="session")
def quick():
    """Makes a method with small settings in the toy's window."""
    return make_quick


def jet_cloud(rng, rows, prongs):
    """Momenta (rows, 100, 3) of jets of some 40 particles in so many prongs, zero-padded, hardest first."""
    number = rng.integers(25, 60, rows)
    pt = np.sort(rng.exponential(20, (rows, 100)), axis=1)[:, ::-1] * (np.arange(100) < number[:, None])
    angle = 2 * np.pi * rng.integers(0, prongs, (rows, 100)) / prongs
    spread = np.where(prongs > 1, 0.3, 0.0)
    eta = spread * np.cos(angle) + 0.1 * rng.normal(size=(rows, 100))
    phi = spread * np.sin(angle) + 0.1 * rng.normal(size=(rows, 100)) + rng.uniform(-3, 3, (rows, 1))
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=2).astype(np.float32)


def make_full_table(background=4000, signal=0, seed=0, *, arrays=()):
    """As `make_table`, with every feature column, and the array columns named."""
    table = make_table(background, signal, seed)
    rng = np.random.default_rng(1000 + seed)
    rows, planted = len(table["mjj"]), table["label"] == 1
    heavy = np.maximum(table["m_j1"], table["m_j2"])
    table["m_j2"], table["m_j1"] = np.minimum(table["m_j1"], table["m_j2"]), heavy
    for jet in ("j1", "j2"):
        tau = rng.uniform(0.05, 0.3, rows)
        for number, ratio in ((1, None), (2, "tau21"), (3, "tau32"), (4, "tau43")):
            tau = tau if ratio is None else tau * table[f"{ratio}_{jet}"]
            table[f"tau{number}_{jet}"] = tau.astype(np.float32)
        table[f"tau41_{jet}"] = (table[f"tau4_{jet}"] / (table[f"tau1_{jet}"] + 1e-6)).astype(np.float32)
        table[f"rho_{jet}"] = (table[f"m_{jet}"] / table[f"pt_{jet}"]).astype(np.float32)
        table[f"eta_{jet}"] = rng.normal(0, 0.6, rows).astype(np.float32)
        table[f"phi_{jet}"] = rng.uniform(-3, 3, rows).astype(np.float32)
        if f"constituents_{jet}" in arrays:
            plain, odd = jet_cloud(rng, rows, 1), jet_cloud(rng, rows, 3)
            table[f"constituents_{jet}"] = np.where(planted[:, None, None], odd, plain)
    table["delta_m"] = (table["m_j1"] - table["m_j2"]).astype(np.float32)
    if "rmm" in arrays:
        hidden = np.abs(rng.normal(size=(rows, 6))) * (table["mjj"] / 3000)[:, None]
        hidden[planted, 0] += 4
        pattern = np.abs(np.random.default_rng(0).normal(size=(6, 1287))) / 50
        table["rmm"] = (hidden @ pattern + 0.001 * rng.normal(size=(rows, 1287))).astype(np.float32)
    return table


@pytest.fixture(scope="session")
def full_tables():
    """Makes toy tables with every feature."""
    return make_full_table
