"""CWoLa Hunting: what it finds, that nothing leaks, and that bits stay the same."""

import numpy as np
import pytest
from scipy import stats

import models
from data.errors import InputError
from data.eventid import batch_number, fold_of
from models.driver import train_together
from models.folds import training_sample


def test_it_finds_the_planted_signal_without_labels(trained, table):
    votes = trained.fold_votes(table, trained_on=True)
    signal, background = table["label"] == 1, table["label"] == 0
    inside = trained.window.of(table["mjj"]) == 1
    assert np.mean(votes[signal & inside] == 5) > 0.5
    assert np.mean(votes[background & inside] == 5) < 0.08


def test_scores_are_ordered_by_the_likelihood_ratio(quick, tables):
    """Classification without labels: one input, signal and background known, the optimum is known."""
    table = tables(12_000, 2500, seed=5)
    rng = np.random.default_rng(1)
    planted = table["label"] == 1
    for jet in ("j1", "j2"):
        table[f"m_{jet}"] = np.where(
            planted, rng.normal(1.5, 1, len(planted)), rng.normal(0, 1, len(planted))
        )
    method = quick(features=["m_j1"], scope="event", trees={"bags": 2, "iterations": 60, "leaves": 6}).fit(
        table
    )
    grid = np.linspace(-2, 3, 200)
    score = method.score({"mjj": np.full(200, 3300.0), "m_j1": grid}, trained_on=False)
    # Gaussians of equal width: the likelihood ratio rises with the input.
    assert stats.spearmanr(score, grid).statistic > 0.97


def test_without_signal_the_selected_fraction_is_flat_in_mjj(quick, tables):
    table = tables(16_000, 0, seed=11)
    for name in [name for name in table if name.startswith("pt_")]:
        table[name] = np.random.default_rng(2).uniform(1000, 2000, 16_000)
    method = quick(working_point=0.05, trees={"bags": 2, "iterations": 15}).fit(table)
    selected = method.fold_votes(table, trained_on=True) == 5
    edges = np.array([2300, 2500, 2700, 3000, 3300, 3600, 4000, 4400, 9000])
    total, kept = (np.histogram(table["mjj"][mask], edges)[0] for mask in (slice(None), selected))
    expected = total * selected.mean()
    assert (
        stats.chi2.sf(np.sum((kept - expected) ** 2 / (expected * (1 - selected.mean()))), len(total) - 1)
        > 1e-3
    )
    assert selected.mean() == pytest.approx(0.05, abs=0.007)


def test_own_fold_scores_do_not_depend_on_the_own_fold(quick, table, trained, rows_of):
    """Networks of a fold are the same when the fold's rows are changed, and when they are not there at all."""
    fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
    changed = dict(table)
    for name in trained.inputs:
        changed[name] = np.where(fold == 2, np.flip(table[name]), table[name])
    names, hashed = ("mjj", *trained.inputs, "pt_j1", "pt_j2"), ("mjj", *trained.inputs)
    removed = rows_of(table, fold != 2)
    kept = removed | {
        name: np.append(values, table[name][fold == 2][:400]) for name, values in removed.items()
    }
    whole, *others = (
        train_together([quick().train(training_sample(t, names, hashed), {})])[0][2]
        for t in (table, changed, kept)
    )
    for other in others:
        networks = [name for name in whole if "/network/" in name]
        assert networks
        assert all(np.array_equal(other[name], whole[name]) for name in networks)


def test_an_event_is_scored_by_its_own_fold_only(trained, table):
    score = trained.score(table, trained_on=True)
    state = trained._trained
    fold = fold_of(batch_number(table["run"], table["luminosity_block"], table["event"]))
    for number in range(5):
        own = fold == number
        raw = trained.raw_score(state.folds[number], {name: table[name][own] for name in trained.inputs})
        np.testing.assert_array_equal(score[own], state.calibrations[number].ranks(raw))


def test_other_samples_get_the_mean_over_folds_and_up_to_five_votes(trained, other):
    score, votes = trained.evaluate(other, trained_on=False)
    assert np.all((score >= 0) & (score <= 1))
    assert set(np.unique(votes)) <= set(range(6))
    assert len(np.unique(votes)) > 2
    np.testing.assert_array_equal(trained.score(other), score)


def test_rows_of_the_training_table_are_recognised_by_content(trained, table, other, rows_of):
    bare = {name: table[name] for name in ("mjj", *trained.inputs)}
    expected = trained.score(table, trained_on=True)
    np.testing.assert_array_equal(trained.score(bare), expected)
    chosen = np.random.default_rng(4).permutation(len(expected))[:300]
    mixed = {name: np.append(values[chosen], other[name]) for name, values in bare.items()}
    np.testing.assert_array_equal(trained.score(mixed), np.append(expected[chosen], trained.score(other)))


def test_a_subset_of_a_bare_table_keeps_its_folds(quick, tables, rows_of):
    table = tables(4000, 150, seed=8, ids=False)
    method = quick().fit(table)
    expected = method.score(table)
    np.testing.assert_array_equal(method.score(table, trained_on=True), expected)
    np.testing.assert_array_equal(method.score(rows_of(table, slice(100, 333))), expected[100:333])
    assert not np.array_equal(method.score(table, trained_on=False), expected)
    with pytest.raises(InputError, match="10 of 10 rows were not in the training sample"):
        method.score(tables(10, 0, seed=9, ids=False), trained_on=True)


@pytest.mark.parametrize("ids", [True, False])
def test_order_of_rows_and_further_columns_change_no_bit(quick, tables, rows_of, ids):
    table = tables(4000, 100, seed=6, ids=ids)
    order = np.random.default_rng(0).permutation(len(table["mjj"]))
    shuffled = rows_of(table, order)
    shuffled = {name: shuffled[name] for name in reversed(shuffled)}
    del shuffled["label"]
    first, second = quick().fit(table), quick().fit(shuffled)
    np.testing.assert_array_equal(first.score(table)[order], second.score(shuffled))
    np.testing.assert_array_equal(
        first.fold_votes(table, trained_on=True)[order], second.fold_votes(shuffled, trained_on=True)
    )
    assert first._trained.provenance == second._trained.provenance


def test_one_worker_or_two_give_the_same_bits(quick, table, trained, tmp_path):
    trained.save(tmp_path / "1")
    quick().fit(table, workers=2).save(tmp_path / "2")
    names = ("bundle.json", "weights.safetensors")
    assert all((tmp_path / "1" / n).read_bytes() == (tmp_path / "2" / n).read_bytes() for n in names)


def test_labels_are_never_read(quick, table, trained):
    wrong = dict(table) | {"label": np.full(len(table["mjj"]), np.nan)}
    np.testing.assert_array_equal(quick().fit(wrong).score(table), trained.score(table))


@pytest.mark.parametrize("size", [1, 7, 777])
def test_any_chunking_gives_the_same_bits(trained, table, other, rows_of, size):
    for sample, trained_on in ((table, True), (other, False)):
        whole = trained.evaluate(sample, trained_on=trained_on)
        stop = min(len(sample["mjj"]), 4 * size)
        parts = [
            trained.evaluate(rows_of(sample, slice(first, min(first + size, stop))), trained_on=trained_on)
            for first in range(0, stop, size)
        ]
        for number in (0, 1):
            np.testing.assert_array_equal(
                np.concatenate([part[number] for part in parts]), whole[number][:stop]
            )


def test_an_empty_chunk_has_no_scores(trained, other, rows_of):
    score, votes = trained.evaluate(rows_of(other, slice(0, 0)), trained_on=False)
    assert score.shape == votes.shape == (0,)
    assert votes.dtype == np.int64


def test_another_seed_or_window_gives_another_training(quick, table, trained):
    assert not np.array_equal(quick(seed=8).fit(table).score(table), trained.score(table))


def test_event_scope_and_features_without_jets(quick, tables):
    table = tables(4000, 100, ids=False)
    table["delta_m"] = table["m_j1"] - table["m_j2"]
    bare = {name: table[name] for name in ("mjj", "m_j1", "delta_m", "tau21_j1", "tau21_j2")}
    method = quick(features=["m_j1", "delta_m", "tau21_j1", "tau21_j2"]).fit(bare)
    assert [head.name for head in method.options.heads()] == ["event"]
    assert method.inputs == ("m_j1", "delta_m", "tau21_j1", "tau21_j2")
    assert np.all(np.isfinite(method.score(bare)))


def test_what_is_available_has_a_line_each():
    assert "CWoLa" in models.available()["cwola"]
    assert set(models.versions()) >= {"numpy", "scikit-learn", "torch"}
