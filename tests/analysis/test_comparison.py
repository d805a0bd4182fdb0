"""Comparison of methods: the numbers against closed forms, and that no label reaches a method."""

import numpy as np
import pytest

import models
from analysis.comparison import (
    Judged,
    Settings,
    compare,
    figures,
    labelled,
    sculpting_or_none,
    spread,
    train_and_judge,
)
from analysis.comparison_plots import comparison_figures
from analysis.comparison_values import comparison_json, plain_numbers
from analysis.plots.style import PlotLabel, save_figure
from data.errors import InputError
from models.regions import regions

WINDOW = (3300.0, 3700.0)


def power_law_scores(power, n=20_000):
    """Scores whose ROC is ε_S = ε_B^(1/power), at the middles of equal shares; all in the signal region."""
    share = (np.arange(n) + 0.5) / n
    score = np.r_[1 - share, 1 - share**power]
    label = np.r_[np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)]
    mjj = np.tile(np.linspace(3301, 3699, n), 2)
    return score, labelled({"mjj": mjj, "label": label}, trained_on=None)


def judged(score, test, cut=0.99, seconds=1.0):
    return Judged(score, score > cut, np.ones(len(test.label), dtype=np.int64), seconds)


def test_a_spread_is_the_central_68_percent():
    found = spread([float(k) for k in range(101)])
    assert (found.median, found.low, found.high) == pytest.approx((50, 15.8655, 84.1345), abs=1e-3)
    assert spread([2.0]).low == spread([2.0]).high == 2.0


def test_figures_of_a_power_law_roc():
    score, test = power_law_scores(4.0)
    found = figures("x", [judged(score, test, seconds=s) for s in (1.0, 2.0, 6.0)], test)
    assert found.auc.median == pytest.approx(4 / 5, abs=1e-4)
    for efficiency in (1e-2, 1e-3):
        assert found.sic[efficiency][0].median == pytest.approx(efficiency**-0.25, rel=0.01)
    # ε_S/√ε_B = ε_B^(−1/4) rises to the last cut that 25 of 20,000 background events pass.
    assert found.max_sic.median == pytest.approx((25 / 20_000) ** -0.25, rel=0.02)
    assert found.cpu_seconds.values == (1.0, 2.0, 6.0)
    assert found.cpu_seconds.median == 2.0
    # The selection keeps the largest scores, and background scores fall with the mass here: it is sculpted.
    assert found.sculpting is not None
    assert found.sculpting.p_value < 1e-10


def test_a_selection_independent_of_the_mass_is_flat():
    score, test = power_law_scores(4.0)
    mixed = np.random.default_rng(3).permutation(20_000)
    shuffled = np.r_[score[:20_000][mixed], score[20_000:]]
    found = figures("x", [judged(shuffled, test)], test)
    assert found.sculpting.p_value > 0.01


def test_too_few_selected_events_are_no_test(caplog):
    few = np.arange(30.0)
    assert sculpting_or_none("prong3", few + 3000, few > 28, few >= 0, np.ones(30)) is None
    assert "prong3: no test of a flat selection" in caplog.text


def test_labels_of_background_processes_are_no_signal():
    table = {"mjj": np.ones(4), "label": np.array([0, 1, -2, -1]), "m_j1": np.ones(4)}
    test = labelled(table, trained_on=True)
    assert test.label.tolist() == [0, 1, 0, 0]
    assert set(test.table) == {"mjj", "m_j1"}
    with pytest.raises(InputError, match="no column 'label'; columns here: m_j1, mjj"):
        labelled({"mjj": np.ones(4), "m_j1": np.ones(4)}, trained_on=None)


class Spy:
    """Stands in for a method: remembers how it was made and what it saw."""

    def __init__(self, name, seen, **made):
        self.takes = {"signal": True}
        self.window = regions(WINDOW)
        seen.append({"name": name, **made})
        self.seen = seen[-1]

    def fit(self, table, **further):
        self.seen |= {"table": set(table), "further": set(further)}

    def evaluate(self, table, *, trained_on):
        self.seen |= {"judged": set(table), "trained_on": trained_on}
        rank = np.linspace(0, 1, len(table["mjj"]))
        return rank, np.where(rank > 0.5, 5, 0)


def test_no_method_sees_a_label_and_each_training_has_its_seed(monkeypatch):
    seen = []
    monkeypatch.setattr(models, "create", lambda name, **made: Spy(name, seen, **made))
    table = {"mjj": np.linspace(3000, 4000, 400), "label": np.tile([0, 1], 200)}
    settings = Settings(WINDOW, {"x": {"preset": "quick"}}, 0.03, 2, 7)
    further = {"signal": {"mjj": table["mjj"]}, "background": {"mjj": table["mjj"]}}
    for number in range(2):
        train_and_judge("x", settings, table, further, labelled(table, trained_on=True), number)
    assert [one["seed"] for one in seen] == [7, 8]
    for one in seen:
        assert one["table"] == one["judged"] == {"mjj"}
        assert one["further"] == {"workers", "signal"}  # what the method does not take is not given
        assert one["trained_on"] is True
        assert (one["working_point"], one["preset"], one["signal_region"]) == (0.03, "quick", WINDOW)


@pytest.fixture
def compared(monkeypatch):
    """Two methods, one of which gives nothing but the mass."""
    monkeypatch.setattr(models, "create", lambda name, **made: Spy(name, [], **made))
    rng = np.random.default_rng(5)
    table = {"mjj": np.sort(rng.uniform(3000, 4000, 4000)), "label": np.tile([0, 0, 0, 1], 1000)}
    return compare(
        Settings(WINDOW, {"a": {}, "b": {}}, trainings=2), table, {}, labelled(table, trained_on=True)
    )


def test_equal_methods_are_not_complementary(compared):
    assert set(compared.complementarity) == {"background", "signal"}
    for matrix in compared.complementarity.values():
        np.testing.assert_allclose(matrix.correlation, 1.0)
        np.testing.assert_allclose(matrix.overlap, 1.0)
    counts = comparison_json(compared)["test_events"]
    assert counts["background"] == pytest.approx(3 * counts["signal"], abs=3)


def test_the_json_holds_plain_numbers():
    assert plain_numbers(np.array([[1.0, np.nan], [np.inf, 2.0]])) == [[1.0, None], [None, 2.0]]


def test_every_plot_is_drawn_and_can_be_saved(compared, tmp_path):
    drawn = comparison_figures(compared, PlotLabel())
    assert set(drawn) == {
        *("sic", "roc", "selected_fraction"),
        *("complementarity_background", "complementarity_signal"),
    }
    axes = drawn["sic"].axes[0]
    assert [line.get_label() for line in axes.get_lines() if not line.get_label().startswith("_")] == [
        "a",
        "b",
    ]
    assert len(drawn["selected_fraction"].axes) == 2
    for path in save_figure(drawn["complementarity_signal"], tmp_path, "matrix"):
        assert path.stat().st_size > 1000
