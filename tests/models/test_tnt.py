"""Tag N' Train: whose tag a jet gets, what it weighs, and what the classifier makes of it."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import models
from data.errors import ConfigError, TrainingError
from models.driver import train_together
from models.folds import training_sample
from models.methods.tnt import of_split
from models.problems import Problem
from models.regions import HIGH, LOW, SIGNAL
from models.tagging import LabelerSettings, jet_features, tag, tag_weights

WINDOW = {"signal_region": (3000.0, 3600.0), "low_band": (2500.0, 3000.0), "high_band": (3600.0, 4400.0)}
FEATURES = ["u_j1", "v_j1", "u_j2", "v_j2"]
LABELER = {
    "hidden": (8,),
    "latent": 1,
    "schedule": {"epochs": 5, "batch": 512, "learning_rate": 2e-2, "decay": "one_cycle"},
}
TREES = {"bags": 1, "iterations": 15, "leaves": 7}


def make(**options):
    settings = {"working_point": 0.02, "seed": 5, "features": FEATURES, "labeler": LABELER, "trees": TREES}
    return models.create("tnt", **(WINDOW | settings | options))


def jets(rows, odd, seed):
    """Jets of u ~ N(0, 1) and v = u + noise, so that an autoencoder of one code learns the line; odd ones lie off it."""
    rng = np.random.default_rng(seed)
    u = rng.normal(0, 1, rows)
    return u, u + np.where(odd, rng.normal(1.8, 0.3, rows), rng.normal(0, 0.4, rows))


def make_table(background=6000, signal=0, odd_jets=2, seed=0):
    """Signal has one or two odd jets; of the background's jets 5 % are odd, each by itself."""
    rng = np.random.default_rng(seed)
    rows = background + signal
    planted = np.arange(rows) >= background
    table = {"mjj": np.where(planted, rng.normal(3300, 80, rows), 2400 + rng.exponential(800, rows))}
    for number, jet in enumerate(("j1", "j2")):
        odd = np.where(planted, number < odd_jets, rng.random(rows) < 0.05)
        table[f"u_{jet}"], table[f"v_{jet}"] = jets(rows, odd, [seed, number])
        table[f"pt_{jet}"] = 0.45 * table["mjj"] * rng.uniform(0.8, 1.1, rows)
    return table, planted


@pytest.fixture(scope="module")
def planted_table():
    return make_table(6000, 150, seed=1)


@pytest.fixture(scope="module")
def trained(planted_table):
    return make().fit(planted_table[0])


# Labels and weights


def test_the_label_is_that_of_the_opposite_jet():
    region = np.array([SIGNAL] * 5 + [LOW, HIGH])
    scores = np.array([[0.0, 9.0], [9.5, 1.0], [5.0, 2.0], [3.0, 4.0], [6.0, 7.0], [99.0, 99.0], [0.0, 99.0]])
    settings = LabelerSettings(signal_percentile=80, background_percentile=50)
    # Ten scores in the signal region: 80th percentile 7.4, median 4.5; the side bands' 99 do not count.
    wanted = [[1, 0], [0, 1], [0, -1], [0, 0], [-1, -1], [0, 0], [0, 0]]
    np.testing.assert_array_equal(tag(scores, region, settings), wanted)
    bands_only = LabelerSettings(signal_percentile=80, background_percentile=0)
    wanted = [[1, -1], [-1, 1], [-1, -1], [-1, -1], [-1, -1], [0, 0], [0, 0]]
    np.testing.assert_array_equal(tag(scores, region, bands_only), wanted)


def test_a_jets_own_score_changes_no_label_of_its_own():
    rng = np.random.default_rng(0)
    scores, region = rng.random((500, 2)), rng.integers(0, 3, 500)
    changed = scores.copy()
    changed[:, 0] = rng.permutation(
        scores[:, 0]
    )  # the same values, so the same cuts when drawn inside a region
    changed[region != SIGNAL, 0] = scores[region != SIGNAL, 0]
    inside = np.flatnonzero(region == SIGNAL)
    changed[inside, 0] = rng.permutation(scores[inside, 0])
    first, second = tag(scores, region, LabelerSettings()), tag(changed, region, LabelerSettings())
    np.testing.assert_array_equal(first[:, 0], second[:, 0])
    assert not np.array_equal(first[:, 1], second[:, 1])


def test_jets_ordered_by_mass_are_labelled_without_regard_to_their_own():
    """Two alike jets, the heavier put first; the score rises with mass. Labels must not prefer light or heavy jets."""
    rng = np.random.default_rng(1)
    mass = -np.sort(-rng.exponential(100, (40_000, 2)), axis=1)
    region = np.repeat([SIGNAL, LOW], 20_000)
    label = tag(mass + rng.normal(0, 20, mass.shape), region, LabelerSettings())
    inside = mass[:20_000]
    signal_like, background_like = (inside[label[:20_000] == which] for which in (1, 0))
    assert stats.ks_2samp(signal_like, background_like).pvalue > 0.01
    assert stats.ks_2samp(signal_like, mass[20_000:].ravel()).pvalue > 0.01


def test_bands_and_classes_weigh_the_same():
    label = np.repeat([0, 0, 0, 1, -1], [600, 300, 200, 50, 70])
    region = np.repeat([LOW, HIGH, SIGNAL, SIGNAL, SIGNAL], [600, 300, 200, 50, 70])
    weight = tag_weights(label, region)
    assert set(weight[region == LOW]) == {1.0}
    sums = [weight[(label == 0) & (region == band)].sum() for band in (LOW, SIGNAL, HIGH)]
    assert sums == pytest.approx([600.0] * 3)
    assert weight[label == 1].sum() == pytest.approx(1800.0)
    assert weight[label == -1].sum() == 0


@pytest.mark.parametrize("label", [[0, 0, 0], [0, 1, -1]])
def test_an_empty_class_is_named(label):
    with pytest.raises(TrainingError, match=r"jets are tagged signal-like.*lower labeler.signal_percentile"):
        tag_weights(np.array(label), np.array([LOW, SIGNAL, HIGH]))


def test_problems_hold_both_jets_matched_in_pt_and_balanced(planted_table):
    method = make()
    names = ("mjj", *FEATURES, "pt_j1", "pt_j2")
    sample = training_sample(planted_table[0], names, ("mjj", *FEATURES))
    x = method._jets(sample.columns)
    x[:, :, 1] = np.stack([sample.columns[f"pt_{jet}"] for jet in ("j1", "j2")], axis=1)
    region = method.window.of(sample.columns["mjj"])
    scores = np.random.default_rng(0).random((len(x), 2))
    problem = method._problem(sample, x, region, scores, 3)
    assert problem.weight.mean() == pytest.approx(1)
    assert problem.weight[problem.target].sum() == pytest.approx(problem.weight[~problem.target].sum())
    pt = problem.x[:, 1]
    edges = np.linspace(*np.percentile(pt, [1, 99]), 11)
    signal, background = (
        np.histogram(pt[which], edges, weights=problem.weight[which])[0]
        for which in (problem.target, ~problem.target)
    )
    np.testing.assert_allclose(background / background.sum(), signal / signal.sum(), atol=0.02)
    bare = make(pt_bins=0)._problem(sample, x, region, scores, 3)
    unmatched = np.histogram(pt[~bare.target], edges, weights=bare.weight[~bare.target])[0]
    assert np.abs(unmatched / unmatched.sum() - signal / signal.sum()).max() > 0.03
    assert set(problem.split) == {0, 1, 2, 3}


# Rounds


@pytest.mark.parametrize(
    "settings",
    [
        {"trees": {"bags": 2, "iterations": 30}},
        {
            "classifier": "mlp",
            "mlp": {
                "bags": 2,
                "hidden": (64,),
                "schedule": {"epochs": 40, "batch": 64, "learning_rate": 1e-2, "keep": 2},
            },
        },
    ],
)
def test_the_networks_of_a_split_did_not_learn_from_it(settings):
    """Labels drawn by lot: networks that learned from a jet remember its label, the others know nothing."""
    rng = np.random.default_rng(0)
    rows = 1200
    target = rng.random(rows) < 0.5
    split = rng.integers(0, 4, rows)
    x = rng.normal(0, 1, (rows, 8)).astype(np.float32)
    classifier = make(**settings).options.built
    seed = make().seeds(0, "classifier")
    networks = train_together([classifier.train([Problem(x, target, np.ones(rows), split)], [seed])])[0][0]
    parts = np.stack([classifier.probability(of_split(networks, number), x) for number in range(4)])
    np.testing.assert_allclose(parts.mean(axis=0), classifier.probability(networks, x), rtol=1e-6)
    own = np.arange(4)[:, None] == split

    def separation(chosen):
        labels = np.broadcast_to(target, chosen.shape)[chosen]
        return roc_auc_score(labels, parts[chosen])

    assert separation(own) == pytest.approx(0.5, abs=0.05)
    assert separation(~own) > 0.57


def test_a_second_round_tags_purer(planted_table):
    """What the first classifier says of jets is a better tag than that of an autoencoder of odd inputs."""
    table, planted = planted_table
    method = make(rounds=1)
    names = ("mjj", *FEATURES, "pt_j1", "pt_j2")
    sample = training_sample(table, names, ("mjj", *FEATURES))
    region, x = method.window.of(sample.columns["mjj"]), method._jets(sample.columns)
    true = np.isin(sample.columns["u_j1"], table["u_j1"][planted])
    asked = (region == SIGNAL) & (sample.fold != 0)
    settings = method.options.labeler
    # An autoencoder of little use: it ranks most jets by chance.
    rng = np.random.default_rng(3)
    errors = np.abs(x[..., 1] - x[..., 0])
    first = np.where(
        rng.random(errors.shape) < 0.4, errors, rng.permutation(errors.ravel()).reshape(errors.shape)
    )
    problem = method._problem(sample, x, region, first, 0)
    networks = train_together([method.options.built.train([problem], [method.seeds(0, "classifier")])])[0][0]
    second = method._tagged_again(networks, sample, x, region, 0)
    assert np.all(second[~asked] == 0)
    purity = [
        np.repeat(true[asked], 2)[tag(scores[asked], region[asked], settings).ravel() == 1].mean()
        for scores in (first, second)
    ]
    assert purity[1] > 1.3 * purity[0] > 0


# The method


def test_two_odd_jets_find_each_other(trained, planted_table):
    table, planted = planted_table
    votes = trained.fold_votes(table, trained_on=True) / 5
    inside = trained.window.of(table["mjj"]) == SIGNAL
    assert np.mean(votes[planted & inside]) > 0.6
    assert np.mean(votes[~planted & inside]) < 0.04


def test_one_odd_jet_is_not_enough(trained):
    """What the method is blind to: an event with one odd jet ranks far below one with two."""
    two, one = (make_table(0, 800, odd_jets=odd, seed=8)[0] for odd in (2, 1))
    assert np.median(trained.score(two, trained_on=False)) > np.quantile(
        trained.score(one, trained_on=False), 0.9
    )


def test_jets_may_change_places(trained, planted_table):
    """One network and one rank transform for either jet: the score is symmetric."""
    table = planted_table[0]
    swapped = {
        name.replace("j1", "j0").replace("j2", "j1").replace("j0", "j2"): values
        for name, values in table.items()
    }
    np.testing.assert_array_equal(
        trained.score(swapped, trained_on=False), trained.score(table, trained_on=False)
    )


def test_a_bundle_scores_the_same_bits(trained, planted_table, tmp_path):
    trained.save(tmp_path)
    table = planted_table[0]
    score = trained.score(table)
    part = models.load(tmp_path).score({name: values[300:407] for name, values in table.items()})
    np.testing.assert_array_equal(part, score[300:407])
    fold = dict(trained._trained.folds[0])
    fold["rank/knots"] = fold["rank/knots"][::-1].copy()
    with pytest.raises(ValueError, match="rank transform of the jets does not ascend"):
        trained.check_fold(fold)


def test_a_fold_does_not_depend_on_its_own_events(planted_table):
    labeler = LABELER | {"schedule": {"epochs": 1, "batch": 512}}
    method = make(labeler=labeler, trees={"bags": 1, "iterations": 3}, pt_bins=0)
    names = ("mjj", *FEATURES)
    sample = training_sample(planted_table[0], names, names)
    changed = dict(sample.columns) | {"u_j1": np.where(sample.fold == 2, 7.0, sample.columns["u_j1"])}
    other = type(sample)(changed, sample.hashes, sample.batch, sample.identified_by, sample.weight)
    first, second = (train_together([method.train(given, {})])[0] for given in (sample, other))
    assert all(np.array_equal(first[2][name], second[2][name]) for name in first[2])
    assert any(not np.array_equal(first[1][name], second[1][name]) for name in first[1])


def with_constituents(background, signal):
    """One-pronged jets, those of the signal two-pronged."""
    table, planted = make_table(background, signal, seed=4)
    rng, rows = np.random.default_rng(0), background + signal
    for jet in ("j1", "j2"):
        eta = rng.normal(0, 0.05, (rows, 6)) + np.where(planted[:, None] & (np.arange(6) > 2), 0.5, 0.0)
        phi, pt = rng.normal(0, 0.05, (rows, 6)), rng.uniform(20, 80, (rows, 6))
        momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
        table[f"constituents_{jet}"] = momenta.astype(np.float32)
    return table, planted


IMAGES = {"inputs": "images", "pixels": 16, "hidden": (8,), "schedule": {"epochs": 1, "batch": 64}}


@pytest.mark.parametrize("labeler", [IMAGES, LABELER])
def test_the_labeler_learns_both_jets_of_side_band_events_of_other_folds(labeler):
    table, _ = with_constituents(600, 0)
    method = make(labeler=labeler)
    names = ("mjj", *FEATURES, *method.training_columns())
    sample = training_sample(table, names, ("mjj", *FEATURES))
    jobs = next(method.train(sample, {}))
    region = method.window.of(sample.columns["mjj"])
    assert len(jobs) == 5
    for fold, job in enumerate(jobs):
        assert len(next(iter(job.data.values()))) == 2 * 600
        for member in job.members:
            fitted, validation = (set(rows // 2) for rows in (member.fitted, member.validation))
            assert fitted | validation == set(
                np.flatnonzero(np.isin(region, (LOW, HIGH)) & (sample.fold != fold))
            )
            assert not fitted & validation
            assert len(member.fitted) == 2 * len(fitted)
    if labeler is IMAGES:
        images = jobs[0].data["image"]
        assert images.shape == (1200, 16, 16)
        np.testing.assert_allclose(images.sum(axis=(1, 2)), 1, rtol=1e-5)


def fold_scores(table, **labeler):
    """Reconstruction errors of the jets, and where fold 0 learns from them."""
    method = make(labeler={"hidden": (8,), "schedule": LABELER["schedule"]} | labeler)
    sample = training_sample(table, ("mjj", *FEATURES), ("mjj", *FEATURES))
    region = method.window.of(sample.columns["mjj"])
    (scores,) = train_together([method._tagged(sample, method._jets(sample.columns), region, 0)])
    return sample, scores, (region == SIGNAL) & (sample.fold != 0)


def test_the_default_labeler_finds_odd_jets(planted_table):
    """Its narrow latent space leaves them a rest, where one that holds all features would leave them none."""
    table, planted = planted_table
    sample, scores, asked = fold_scores(table)
    odd = np.isin(sample.columns["u_j1"], table["u_j1"][planted])
    above = scores > np.percentile(scores[asked], 80)
    assert above[odd & asked].mean(axis=0).min() > 0.5
    assert above[~odd & asked].mean() < 0.2


def test_a_heavy_tail_changes_no_rank():
    """By ranks a labeler sees the same jets, whatever the unit and the tail of a feature; by deviations it does not."""
    jets = np.random.default_rng(0).normal(0, 1, (2000, 2, 2)).astype(np.float32)
    stretched = np.stack([jets[..., 0], np.exp(2 * jets[..., 1])], axis=-1)
    largest = {}
    for transform in ("rank", "standardise"):
        settings = LabelerSettings(transform=transform)
        first, second = (jet_features(settings, x.reshape(-1, 2), np.arange(4000)) for x in (jets, stretched))
        largest[transform] = np.abs(np.diff(np.stack([first, second]), axis=0))[
            :, np.abs(first[:, 1]) < 2
        ].max()
    assert largest["rank"] < 0.02
    assert largest["standardise"] > 1


@pytest.mark.parametrize(("inputs", "width"), [(2, 1), (3, 1), (5, 1), (7, 2)])
def test_the_latent_space_is_a_third_of_the_features(inputs, width):
    assert LabelerSettings().width_for(inputs) == width
    assert LabelerSettings(latent=4).width_for(inputs) == 4
    assert LabelerSettings(inputs="images").width_for(inputs) == 6


@pytest.mark.slow
def test_images_of_constituents_may_label():
    """The labeler reads the images, scoring the features alone."""
    table, planted = with_constituents(1500, 100)
    method = make(labeler=IMAGES, working_point=0.1, rounds=1).fit(table)
    assert "constituents_j1" not in method.inputs
    votes = method.fold_votes({name: table[name] for name in ("mjj", *FEATURES)}) / 5
    inside = method.window.of(table["mjj"]) == SIGNAL
    assert np.mean(votes[planted & inside]) > 3 * np.mean(votes[~planted & inside])


def test_missing_constituents_name_the_remedy():
    table, _ = make_table(300)
    with pytest.raises(TrainingError, match=r"'constituents_j1' is missing: .*labeler.inputs=features"):
        make(labeler=IMAGES).fit(table)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"features": ["u_j1", "v_j1", "u_j2"]}, "each feature of j1 needs its counterpart of j2"),
        ({"features": ["u_j1", "v_j1", "v_j2", "u_j2"]}, "in the same order"),
        ({"features": ["u_j1", "u_j2", "delta_m"]}, "each feature of j1 needs its counterpart of j2"),
        (
            {"labeler": {"background_percentile": 90}},
            "background_percentile 90 is above signal_percentile 80",
        ),
        ({"labeler": {"latent": 2}}, r"labeler.latent: 2 variables can hold all of a jet's 2 features"),
        (
            {"features": ["u_j1", "u_j2"]},
            r"1 variables can hold all of a jet's 1 features.*give more features",
        ),
        (
            {"classifier": "mlp", "mlp": {"schedule": {"patience": 3, "keep": 2}}},
            r"mlp.schedule: with rounds above 1 .*set patience to 0 or keep to 1",
        ),
        ({"labeler": {"hidden": ()}}, "key 'labeler.hidden': expected at least 1 entry, found 0"),
    ],
)
def test_wrong_options_are_named(options, match):
    with pytest.raises(ConfigError, match=match):
        models.create("tnt", **(WINDOW | {"features": FEATURES} | options))
