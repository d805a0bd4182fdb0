"""Pseudo-experiments as files, and their largest significances."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2, kstest

from analysis.fit import fit_background
from analysis.functions import density
from analysis.scan import scan
from analysis.scan_config import ScanConfig
from analysis.scan_inputs import ScanInputs
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.toy_spectra import toy_spectra, write_toys
from data.errors import ConfigError

EDGES = np.arange(2000.0, 6001.0, 50.0)
MIDDLES = 0.5 * (EDGES[1:] + EDGES[:-1])
MASSES = (2600.0, 3000.0, 3400.0)


@pytest.fixture(scope="module")
def inputs():
    shape = density(MIDDLES, 0.0, np.array([9.3, 4.8]))
    counts = np.random.default_rng(1).poisson(10_000 * shape / shape.sum())
    config = ScanConfig(fit_start=2000, fit_stop=6000, function="dijet2", limits=False, minuit=False)
    return ScanInputs(Spectrum(EDGES, counts), MASSES, SignalModel.generic(), config)


@pytest.fixture(scope="module")
def toys(inputs):
    return toy_spectra(inputs, 400, 3, masses=MASSES)


def test_counts_are_poisson_about_the_fit(inputs, toys):
    expected = fit_background(inputs.spectrum, "dijet2").expected
    assert toys.expected == pytest.approx(expected)
    assert toys.function == "dijet2"
    sums = toys.counts.sum(axis=0)
    residual = (sums - 400 * expected) / np.sqrt(400 * expected)
    assert chi2.sf(np.sum(residual**2), residual.size) > 1e-3
    assert np.var(toys.counts[:, 0]) == pytest.approx(expected[0], rel=0.25)


def test_the_largest_significance_is_that_of_a_scan(inputs, toys):
    for toy in range(5):
        found = scan(Spectrum(EDGES, toys.counts[toy]), MASSES, inputs.signal, inputs.config)
        assert toys.max_z[toy] == pytest.approx(found.reference.z, abs=0.01)


def test_significances_of_one_mass_follow_half_a_chi2(inputs):
    """q0 of background toys: ½ δ(0) + ½ χ²₁ (arXiv:1007.1727, eq. 49)."""
    z = toy_spectra(inputs, 600, 11, masses=(3000.0,)).max_z
    positive = z[z > 0]
    assert positive.size / z.size == pytest.approx(0.5, abs=3.5 * 0.5 / np.sqrt(z.size))
    assert kstest(positive**2, chi2(1).cdf).pvalue > 0.01


def test_the_seed_and_nothing_else_decides(inputs, toys):
    again = toy_spectra(inputs, 400, 3, masses=MASSES, workers=2)
    assert np.array_equal(again.counts, toys.counts)
    assert np.array_equal(again.max_z, toys.max_z)
    alone = toy_spectra(inputs, 400, 3)
    assert alone.max_z is None
    assert np.array_equal(alone.counts, toys.counts)
    assert not np.array_equal(toy_spectra(inputs, 400, 4).counts, toys.counts)


def test_files_hold_the_same(tmp_path, toys):
    write_toys(toys, tmp_path / "toys.json")
    write_toys(toys, tmp_path / "toys.parquet")
    content = json.loads((tmp_path / "toys.json").read_text())
    table = pq.read_table(tmp_path / "toys.parquet")
    assert table["counts"].to_pylist() == content["counts"] == toys.counts.tolist()
    assert table["max_z"].to_pylist() == content["max_z"] == toys.max_z.tolist()
    facts = json.loads(table.schema.metadata[b"oddjet"])
    assert facts == {key: content[key] for key in facts}
    assert facts["edges"] == EDGES.tolist()
    assert facts["masses"] == list(MASSES)
    assert (facts["function"], facts["seed"]) == ("dijet2", 3)


def test_other_formats_are_refused(tmp_path, toys):
    with pytest.raises(ConfigError, match=r"toys.csv: toys are written as .json or .parquet"):
        write_toys(toys, tmp_path / "toys.csv")


def test_ranges_that_follow_the_mass_are_refused(inputs):
    loose = ScanInputs(
        inputs.spectrum, inputs.masses, inputs.signal, inputs.config.model_copy(update={"fit_stop": None})
    )
    with pytest.raises(ConfigError, match=r"the fit range depends on the mass; give one, as fit\.range"):
        toy_spectra(loose, 10, 1, masses=(2600.0, 4900.0))
