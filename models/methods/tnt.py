"""Tag N' Train: each jet of an event says whether the other is likely signal, and a classifier learns from that."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import N_INNER, inner_split
from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.base import register
from models.classifiers import CMS_MLP, ClassifierOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.heads import JET_INPUTS, JETS
from models.jobs import StackJob, Training
from models.options import FeatureOptions
from models.preprocessing import Inputs, RankTransform, fit_ranks, input_matrix
from models.problems import Problem
from models.regions import HIGH, LOW, OUTSIDE, SIGNAL
from models.stack import merged_arrays
from models.tagging import (
    BACKGROUND_LIKE,
    NEITHER,
    SIGNAL_LIKE,
    LabelerSettings,
    errors_of_jets,
    jet_features,
    jet_images,
    labeler,
    members_of_splits,
    rows_of_jets,
    tag,
    tag_weights,
)
from models.weights import PT_BINS, match_pt


class TntOptions(FeatureOptions, ClassifierOptions):
    """Options of ``tnt``."""

    features: tuple[str, ...] = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
    """Input columns, the same of both jets; by default the seven a jet of CMS-EXO-22-026."""
    labeler: LabelerSettings = LabelerSettings()
    rounds: int = pydantic.Field(default=2, ge=1, le=10)
    """Classifiers trained one after another: the first learns from the autoencoder's tags, each further one from those
    of the classifier before it, with the same percentiles. 1: as the search, in three quarters of the time; on
    simulated two-pronged jets the largest significance improvement was 3.8 ± 0.5 then, with two 5.9 ± 0.7 (one
    training each)."""
    pt_bins: int = pydantic.Field(default=PT_BINS, ge=0, le=200)
    """Bins of the jet-pT reweighting; 0 for none."""

    @pydantic.model_validator(mode="after")
    def _members_are_alike(self) -> Self:
        schedule = self.mlp.schedule
        if self.classifier == "mlp" and self.rounds > 1 and schedule.patience and schedule.keep > 1:
            msg = "mlp.schedule: with rounds above 1 every network must keep as many epochs; set patience to 0 or keep to 1"
            raise ValueError(msg)
        return self

    @pydantic.model_validator(mode="after")
    def _jets_have_the_same_features(self) -> Self:
        first, second = self.of_jets()
        odd = set(self.features) - {name for pair in zip(first, second, strict=False) for name in pair}
        bare = [
            [name.removesuffix(f"_{jet}") for name in names]
            for jet, names in zip(JETS, (first, second), strict=True)
        ]
        if odd or bare[0] != bare[1]:
            msg = (
                "features: one network serves either jet, so each feature of j1 needs its counterpart of j2, in the same "
                f"order; found {', '.join(first) or 'none'} and {', '.join(second) or 'none'}"
            )
            raise ValueError(msg)
        return self

    @pydantic.model_validator(mode="after")
    def _labeler_leaves_a_rest(self) -> Self:
        inputs, latent = len(self.of_jets()[0]), self.labeler.width_for(len(self.of_jets()[0]))
        if self.labeler.inputs == "features" and latent >= inputs:
            msg = (
                f"labeler.latent: {latent} variables can hold all of a jet's {inputs} features, so that no jet would be "
                "odd; choose fewer, or give more features"
            )
            raise ValueError(msg)
        return self

    def of_jets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Input columns of each jet."""
        first, second = (tuple(n for n in self.features if n.endswith(f"_{jet}")) for jet in JETS)
        return first, second


@register
class TagNTrain(FoldedMethod):
    """Two odd jets tag each other, as CMS-EXO-22-026 ran it.

    An autoencoder that learns the jets of the side bands gives a first idea of how odd a jet is. In an event of the
    signal region whose one jet is odd, the *other* jet is called signal-like; jets of the side bands, and those beside
    an ordinary jet, are called background-like. A classifier learns to tell both, for either jet; its outputs become
    ranks, and the product of both jets' ranks is the score. The other jet's tag enriches the signal, not the jet's own:
    for background, whose jets are independent, the tag says nothing about the jet.

    The classifier tags better than the autoencoder, so a second one learns from its tags (``rounds``).

    Labels of the paper's batches are dropped before batches are made here, so that the batch is that of labelled jets.
    The background in the middle of mjj counts as much as each side band. The weights, pT matching and percentiles
    follow the search.

    *Assumes* that both jets of the signal are odd, and that background jets are independent of each other once pT is
    matched. *Is blind to* signals of one odd jet, to signals that the autoencoder reconstructs as well as background,
    and to those wider than the signal region.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `TntOptions`.

    References
    ----------
    O. Amram, C. M. Suarez, "Tag N' Train: a technique to train improved classifiers on unlabeled data", JHEP 01 (2021)
    153, arXiv:2002.12376. CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395.
    """

    name = "tnt"
    summary = "Tag N' Train: each jet tags the other, a classifier learns from the tags (arXiv:2002.12376)"
    family = "weak supervision"
    flat = False
    score_is = "product of both jets' ranks"
    training_hint = "training matches spectra in pt (pt_bins=0: not) and labels images of constituents (labeler.inputs=features: not)"
    options_type = TntOptions
    options: TntOptions
    presets = {
        "quick": {
            "rounds": 1,
            "trees": {"bags": 2, "iterations": 60},
            "labeler": {"schedule": {"epochs": 8, "batch": 512, "learning_rate": 3e-3, "decay": "one_cycle"}},
        },
        "paper": {
            "rounds": 1,
            "classifier": "mlp",
            "mlp": CMS_MLP,
            "labeler": {
                "inputs": "images",
                "hidden": (128, 32),
                "latent": 6,
                "schedule": {
                    "epochs": 30,
                    "batch": 200,
                    "learning_rate": 1e-3,
                    "patience": 6,
                },
            },
        },
    }

    def training_columns(self) -> tuple[str, ...]:
        """Jet pT for the matching, constituents for a labeler of images."""
        pt = ("pt_j1", "pt_j2") if self.options.pt_bins else ()
        images = self.options.labeler.inputs == "images"
        return (*pt, *(("constituents_j1", "constituents_j2") if images else ()))

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Labeler, labels, classifier and rank transform; see `FoldTraining.train_fold`."""
        region = self.window.of(sample.columns["mjj"])
        x = self._jets(sample.columns)
        scores = yield from self._tagged(sample, x, region, fold)
        networks: Arrays = {}
        for number in range(self.options.rounds):
            if networks:
                scores = self._tagged_again(networks, sample, x, region, fold)
            problem, seed = (
                self._problem(sample, x, region, scores, fold),
                self.seeds(fold, "classifier", number),
            )
            (networks,) = yield from self.options.built.train([problem], [seed])
        return self._ranked(networks, sample, x, region, fold)

    def _jets(self, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Inputs of both jets, shape (events, 2, inputs of a jet)."""
        return np.stack([input_matrix(columns, names) for names in self.options.of_jets()], axis=1)

    def _tagged(self, sample: TrainingSample, x: Inputs, region: IntArray, fold: int) -> Training[FloatArray]:
        """Reconstruction errors of both jets of each event that a fold may learn from, shape (events, 2); 0 elsewhere.

        Only those of the signal region are used, which no autoencoder was trained on.
        """
        known = rows_of_jets(np.isin(region, (LOW, HIGH)) & (sample.fold != fold))
        settings = self.options.labeler
        network = labeler(settings, x.shape[2])
        if settings.inputs == "images":
            inputs = sample.once(f"{self.name}: images", lambda: jet_images(settings, sample.columns))
            data = {"image": inputs}
        else:
            inputs = jet_features(settings, x.reshape(-1, x.shape[2]), known)
            data = {"x": inputs}
        split = np.repeat(inner_split(sample.batch, fold), 2)
        members = members_of_splits(known, split, self.seeds(fold, "labeler"))
        (result,) = yield [StackJob(network, settings.schedule, data, members)]
        rows = rows_of_jets((region == SIGNAL) & (sample.fold != fold))
        errors = np.zeros(2 * len(region))
        errors[rows] = errors_of_jets(network, merged_arrays(result.networks), inputs[rows])
        return errors.reshape(-1, 2)

    def _tagged_again(
        self, networks: Arrays, sample: TrainingSample, x: Inputs, region: IntArray, fold: int
    ) -> FloatArray:
        """Outputs of a fold's classifier for the jets of its signal region, shape (events, 2); 0 elsewhere.

        Each by the networks that did not learn from the event: others remember a jet's label, which was this jet's
        neighbour's doing, so that in the end the neighbour would be tagged by its own oddness.
        """
        split = inner_split(sample.batch, fold)
        scores = np.zeros((len(region), 2))
        for number in range(N_INNER):
            asked = (region == SIGNAL) & (split == number)
            jets = x[asked].reshape(-1, x.shape[2])
            scores[asked] = self.options.built.probability(of_split(networks, number), jets).reshape(-1, 2)
        return scores

    def _problem(
        self, sample: TrainingSample, x: Inputs, region: IntArray, scores: FloatArray, fold: int
    ) -> Problem:
        """Labelled jets of the other folds, both jets of an event in the same inner split."""
        split = inner_split(sample.batch, fold)
        fitted = (region != OUTSIDE) & (split >= 0)
        label = tag(scores[fitted], region[fitted], self.options.labeler).ravel()
        of_jet = np.repeat(region[fitted], 2)
        weight = tag_weights(label, of_jet)
        if self.options.pt_bins:
            pt = np.stack([sample.columns[f"pt_{jet}"][fitted] for jet in JETS], axis=1).ravel()
            # match_pt makes spectra of side bands follow that of the signal region: here the classes take their parts.
            classes = np.select([label == SIGNAL_LIKE, label == BACKGROUND_LIKE], [SIGNAL, LOW], OUTSIDE)
            weight = match_pt(pt, classes, weight, self.options.pt_bins)
        kept = label != NEITHER
        return Problem(
            x[fitted].reshape(len(label), -1)[kept],
            label[kept] == SIGNAL_LIKE,
            weight[kept] / weight[kept].mean(),
            np.repeat(split[fitted], 2)[kept],
        )

    def _ranked(
        self, networks: Arrays, sample: TrainingSample, x: Inputs, region: IntArray, fold: int
    ) -> Arrays:
        """A fold's arrays: the classifier, and the rank transform of its outputs on the fold's training events."""
        fitted = (region != OUTSIDE) & (sample.fold != fold)
        output = self.options.built.probability(networks, x[fitted].reshape(-1, x.shape[2]))
        return prefixed("classifier/", networks) | prefixed("rank/", fit_ranks(output).arrays())

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Product of both jets' ranks."""
        x = self._jets(columns)
        output = self.options.built.probability(below(fold, "classifier/"), x.reshape(-1, x.shape[2]))
        ranks = RankTransform.from_arrays(below(fold, "rank/"), "of the jets")
        rank = ranks(output).reshape(-1, 2)
        return np.asarray(rank[:, 0] * rank[:, 1])

    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays that no training could have made."""
        self.options.built.check(below(fold, "classifier/"), len(self.options.of_jets()[0]))
        RankTransform.from_arrays(below(fold, "rank/"), "of the jets")


def of_split(networks: Arrays, number: int) -> Arrays:
    """The part of a trained classifier that validated on an inner split, and did not learn from its events.

    Parameters
    ----------
    networks
        What `models.classifiers.Classifier.train` gives: members in the order of their inner splits.
    number
        0 … 3.

    Returns
    -------
    dict
        Arrays for `models.classifiers.Classifier.probability`.
    """
    if "member_start" in networks:
        members = len(networks["baseline"]) // N_INNER
        own = slice(number * members, (number + 1) * members)
        starts = networks["member_start"][own.start : own.stop + 1]
        return networks | {"baseline": networks["baseline"][own], "member_start": starts}
    members = len(networks["weight0"]) // N_INNER
    own = slice(number * members, (number + 1) * members)
    return {name: values[own] for name, values in networks.items()}
