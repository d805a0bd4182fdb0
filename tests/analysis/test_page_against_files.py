"""Numbers of the page and of the run's files against code of its own: numpy and scipy, nothing of the fits."""

import numpy as np
import pytest
from scipy import stats

from analysis.method_study import flatness, improvement
from analysis.report.figures import side_bands_kept
from analysis.report.record import read_record
from analysis.scan import analyse
from analysis.scan_config import ScanConfig
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from models.complementarity import complementarity
from processors.histogram_io import read_histograms
from tests.analysis.report_folder import make_run_folder

SQRT_S = 13000.0
EDGES = np.arange(1460.0, 5001.0, 20.0)
PLACES, WEIGHTS = np.polynomial.legendre.leggauss(5)
QUANTILES = (-2, -1, 0, 1, 2)


class Dijet:
    """CMS's dijetK (arXiv:1911.03947, eq. 1): ln f is linear in its parameters, so Newton's steps are those of a GLM."""

    def __init__(self, shape_parameters):
        half, middle = np.diff(EDGES) / 2, (EDGES[1:] + EDGES[:-1]) / 2
        x = (middle[:, None] + half[:, None] * PLACES) / SQRT_S
        powers = [np.log(x) ** k for k in range(1, shape_parameters)]
        columns = np.stack([np.ones_like(x), np.log1p(-x), *powers], axis=-1)
        # Orthogonal columns: nothing but a change of the parameters.
        self.columns = np.linalg.qr(columns.reshape(-1, columns.shape[-1]))[0].reshape(columns.shape)
        self.size = half[:, None] * WEIGHTS

    def bins(self, theta):
        parts = np.exp(np.clip(self.columns @ theta, -500, 500)) * self.size
        return parts.sum(axis=1), np.einsum("iq,iqk->ik", parts, self.columns), parts


def saturated(counts, expected):
    """−ln L relative to the saturated model; ∞ where an expectation is negative."""
    if np.any(expected <= 0):
        return np.inf
    logs = np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1.0) / expected), 0.0)
    return float(np.sum(expected - counts + logs))


def fitted(counts, model, template, start, fixed=None):
    """−ln L, parameters, yield and covariance of the best fit; the yield fixed, or free where it is None."""
    size = model.columns.shape[-1]
    values = np.append(start, 0.0 if fixed is None else fixed)

    def cost(values):
        return saturated(counts, model.bins(values[:-1])[0] + values[-1] * template)

    for _ in range(200):
        background, slopes, parts = model.bins(values[:-1])
        expected = background + values[-1] * template
        rows = np.column_stack([slopes, template])[:, : size + (fixed is None)]
        gradient = rows.T @ (1 - counts / expected)
        fisher = (rows * (counts / expected**2)[:, None]).T @ rows
        curved = (1 - counts / expected)[:, None] * parts
        second = np.einsum("iq,iqk,iql->kl", curved, model.columns, model.columns)
        hessian = fisher.copy()
        hessian[:size, :size] += second
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            hessian = (rows / expected[:, None]).T @ rows
        step = np.zeros(size + 1)
        step[: rows.shape[1]] = -np.linalg.solve(hessian, gradient)
        share, now = 1.0, cost(values)
        while share > 1e-9 and not cost(values + share * step) <= now + 1e-12 * abs(now):
            share /= 2
        values = values + share * step
        if -gradient @ step[: rows.shape[1]] < 1e-12:
            break
    return cost(values), values[:-1], values[-1], np.linalg.inv(hessian)


def background_only(counts, model):
    flat = np.log((counts + 0.3) / np.diff(EDGES))
    columns = model.columns.mean(axis=1)[:, :3]
    weight = np.sqrt(counts + 0.3)
    start = np.zeros(model.columns.shape[-1])
    start[:3] = np.linalg.lstsq(columns * weight[:, None], flat * weight, rcond=None)[0]
    return fitted(counts, model, np.zeros(len(counts)), start, fixed=0.0)


@pytest.fixture(scope="module")
def analysed():
    """A scan of a spectrum with 90 signal events on some 20,000 at 2.6 TeV, and its template."""
    generator = np.random.default_rng(11)
    x = EDGES[:-1] / SQRT_S
    shape = (1 - x) ** 9.3 / x**4.8
    template = SignalModel.generic().template(2600.0, EDGES).nominal
    counts = generator.poisson(shape * 20000 / shape.sum() + 240 * template)
    config = ScanConfig(fit_start=1460, fit_stop=5000)
    found = analyse(
        Spectrum(EDGES, counts), "x", [2600.0], None, config, efficiencies={2600.0: 0.3}, luminosity_ifb=12.5
    )
    return counts.astype(float), template, found


def test_fit_quality_and_f_tests(analysed):
    counts, _, found = analysed
    entry = found.fit
    first = np.searchsorted(EDGES, entry["edges"])
    merged = np.add.reduceat(counts, first[:-1])
    assert entry["observed"] == merged.tolist()
    assert merged.min() >= 5
    quality, taken = {}, None
    for step in entry["f_test"]:
        model = Dijet(step["n"])
        _, theta, _, covariance = background_only(counts, model)
        bins, slopes, _ = model.bins(theta)
        expected = np.add.reduceat(bins, first[:-1])
        chi2, ndf = float(np.sum((merged - expected) ** 2 / expected)), len(merged) - step["n"] - 1
        assert (step["chi2"], step["ndf"]) == (pytest.approx(chi2, rel=1e-5), ndf)
        assert step["p"] == pytest.approx(stats.chi2.sf(chi2, ndf), rel=1e-4)
        if taken is not None:
            before, free = quality[taken]
            ratio = (before - chi2) / (free - ndf) / (chi2 / ndf)
            assert step["p_f"] == pytest.approx(stats.f.sf(max(ratio, 0), free - ndf, ndf), rel=1e-3)
        quality[step["n"]] = chi2, ndf
        if step["accepted"]:
            taken = step["n"]
            slopes = np.add.reduceat(slopes, first[:-1], axis=0)
            spread = np.sqrt(np.einsum("ik,kl,il->i", slopes, covariance, slopes))
    assert entry["function"] == f"dijet{taken}"
    np.testing.assert_allclose(entry["background_error"], spread, rtol=1e-3)
    pulls = (merged - np.array(entry["background"])) / np.sqrt(entry["background"])
    np.testing.assert_allclose(entry["pull"], pulls)


def test_p_value_yield_and_limits(analysed):
    counts, template, found = analysed
    (row,) = found.rows
    model = Dijet(int(row["function"].removeprefix("dijet")))
    null, start, _, _ = background_only(counts, model)
    best, _, signal, covariance = fitted(counts, model, template, start)
    z = np.sqrt(2 * (null - best))
    assert row["z"] == pytest.approx(z, abs=1e-4)
    assert row["p0"] == pytest.approx(stats.norm.sf(z), rel=1e-3)
    assert row["signal_yield"] == pytest.approx(signal, rel=1e-3)
    assert row["signal_yield_error"] == pytest.approx(np.sqrt(covariance[-1, -1]), rel=1e-3)

    asimov = model.bins(start)[0]

    def root(events):  # of q_A
        return np.sqrt(2 * fitted(asimov, model, template, start, fixed=events)[0])

    def cls(events):
        q = max(2 * (fitted(counts, model, template, start, fixed=events)[0] - best), 0.0)
        a = root(events)
        d = np.sqrt(q) - a if q <= a**2 else (q - a**2) / (2 * a)
        return stats.norm.cdf(-d - a) / stats.norm.cdf(-d)

    assert cls(row["limit_observed"]) == pytest.approx(0.05, rel=1e-3)
    for size, limit in zip(QUANTILES, row["limit_expected"], strict=True):
        assert root(limit) == pytest.approx(stats.norm.isf(0.05 * stats.norm.cdf(size)) + size, rel=1e-4)
    assert row["limit_observed_fb"] == pytest.approx(row["limit_observed"] / 0.3 / 12.5)


def test_the_sculpting_test_is_that_of_a_contingency_table():
    generator = np.random.default_rng(4)
    edges = np.arange(2000.0, 6001.0, 4.0)
    events = generator.poisson(2e5 * np.exp(-(edges[:-1] - 2000) / 450) / 112).astype(float)
    selected = generator.binomial(events.astype(int), 0.012 + 4e-6 * (edges[:-1] - 2000)).astype(float)
    found = flatness(edges, events, selected, (2725.0, 3331.0))
    outside = (edges[1:] <= 2725) | (edges[:-1] >= 3331)
    middle = ((edges[1:] + edges[:-1]) / 2)[outside]
    events, selected = events[outside], selected[outside]
    number = np.clip(np.searchsorted(found.edges, middle, side="right") - 1, 0, len(found.edges) - 2)
    kept, every = (np.bincount(number, one) for one in (selected, events))
    table = stats.chi2_contingency([kept, every - kept], correction=False)
    assert (found.chi2, found.dof) == (pytest.approx(table.statistic), table.dof)
    assert found.p_value == pytest.approx(table.pvalue)
    assert table.expected_freq.min() >= 10
    # Cochran and Armitage.
    share, away = selected.sum() / events.sum(), middle - np.average(middle, weights=events)
    trend = np.sum(selected * away) / np.sqrt(share * (1 - share) * np.sum(events * away**2))
    assert found.slope / found.slope_error == pytest.approx(trend)
    assert found.slope_p_value == pytest.approx(2 * stats.norm.sf(abs(trend)))
    line = np.polyfit(middle, selected / np.maximum(events, 1), 1, w=np.sqrt(events))
    assert found.slope == pytest.approx(line[0] * (found.edges[-1] - found.edges[0]) / share)


def test_significance_improvement_is_that_of_every_cut():
    generator = np.random.default_rng(6)
    signal, background = generator.beta(4, 1, 500), generator.random(4000).round(3)
    weight = generator.choice([0.5, 2.0], 500)
    found = improvement((signal, weight), (background, np.ones(4000)), "side bands")
    cuts = np.sort(np.unique(background))[::-1]
    cut_b = np.array([np.mean(background > cut) for cut in cuts])
    cut_s = np.array([weight[signal > cut].sum() / weight.sum() for cut in cuts])
    for kept, efficiency, value in zip(
        found.background_efficiency, found.signal_efficiency, found.value, strict=True
    ):
        assert value == pytest.approx(efficiency / np.sqrt(kept))
        # Between two cuts; events with the score of a cut itself do not pass.
        below, above = cut_s[cut_b <= kept + 1e-12].max(), cut_s[cut_b >= kept - 1e-12].min(initial=1.0)
        assert below - 1e-9 <= efficiency <= above + 1e-9
    assert found.background_efficiency[0] * 4000 == pytest.approx(25)


def test_methods_are_compared_by_spearman_and_jaccard():
    generator = np.random.default_rng(8)
    first, chosen = generator.random(300).round(2), generator.random((2, 300)) < 0.2
    second = (first + generator.random(300)).round(1)
    found = complementarity({"a": first, "b": second}, {"a": chosen[0], "b": chosen[1]})
    assert found.correlation[0, 1] == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.overlap[0, 1] == pytest.approx((chosen[0] & chosen[1]).sum() / (chosen[0] | chosen[1]).sum())


def test_the_share_kept_is_counted_in_the_side_bands(tmp_path):
    record = read_record(make_run_folder(tmp_path / "run"))
    histogram = read_histograms(tmp_path / "run" / "histograms" / "mock.h5")["mjj"]
    names, edges = list(histogram.axes["selection"]), histogram.axes["mjj"].edges
    counts = histogram.values()[:, 0, list(histogram.axes["region"]).index("signal"), :, 0]
    shares = []
    for low, high in ((2230, 2725), (3331, 4071)):
        here = counts[(edges[:-1] >= low) & (edges[1:] <= high)].sum(axis=0)
        shares.append(here[names.index("cwola_B3")] / here[names.index("inclusive")])
    assert side_bands_kept(record)["cwola_B3"] == pytest.approx(np.mean(shares))
    assert "inclusive" not in side_bands_kept(record)
