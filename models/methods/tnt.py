"""Tag N' Train: each jet of an event says whether the other is likely signal, and a classifier learns from that."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import TrainingError
from data.eventid import N_FOLDS, N_INNER, inner_split
from data.sections import Section
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays, below, prefixed
from models.base import register
from models.classifiers import CMS_MLP, ClassifierOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.heads import JET_INPUTS, JETS
from models.jobs import Member, Schedule, StackJob, StackResult, Training
from models.kernels.images import constituent_images
from models.networks.autoencoders import DenseAutoencoder
from models.networks.convolution import ConvolutionalAutoencoder
from models.networks.scoring import in_batches, tensors
from models.options import FeatureOptions
from models.preprocessing import Inputs, RankTransform, fit_ranks, input_matrix, standardisation
from models.problems import Problem
from models.regions import HIGH, LOW, OUTSIDE, SIGNAL
from models.stack import merged_arrays
from models.weights import PT_BINS, match_pt

NEITHER, BACKGROUND_LIKE, SIGNAL_LIKE = -1, 0, 1
FARTHEST = 10.0
"""Inputs of the dense labeler, in standard deviations, end here: a single wild value must not decide."""


class LabelerSettings(Section):
    """The autoencoder that tags jets, trained on side-band events only, and where its cuts lie."""

    inputs: Literal["features", "images"] = "features"
    """``features``: dense, on the features of the jet; ``images``: convolutional, on images of its constituents
    (columns constituents_j1, constituents_j2), as CMS-EXO-22-026."""
    hidden: tuple[int, ...] = (32, 16)
    """Layers between input and latent space; of ``images`` the dense ones, after three convolutions."""
    latent: int = pydantic.Field(default=3, ge=1)
    pixels: Literal[16, 32, 40] = 32
    width: float = pydantic.Field(default=1.6, gt=0, le=4)
    """Side of the jet image, rad."""
    schedule: Schedule = Schedule(epochs=30, batch=512, learning_rate=3e-3, decay="one_cycle", patience=6)
    signal_percentile: float = pydantic.Field(default=80.0, gt=0, lt=100)
    """A jet is likely signal if the other jet's reconstruction error is above this percentile of the signal region; at
    high mass, where events are few, the search took 65 and 50."""
    background_percentile: float = pydantic.Field(default=50.0, ge=0, lt=100)
    """Below this one a jet of the signal region counts as background; 0: the side bands only."""

    @pydantic.model_validator(mode="after")
    def _cuts_are_ordered(self) -> Self:
        if self.background_percentile > self.signal_percentile:
            msg = (
                f"background_percentile {self.background_percentile:g} is above signal_percentile "
                f"{self.signal_percentile:g}: a jet would be both"
            )
            raise ValueError(msg)
        if not self.hidden or min(self.hidden) < 1:
            msg = "hidden: at least one layer of at least one unit"
            raise ValueError(msg)
        return self


class TntOptions(FeatureOptions, ClassifierOptions):
    """Options of ``tnt``."""

    features: tuple[str, ...] = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
    """Input columns, the same of both jets; by default the seven a jet of CMS-EXO-22-026."""
    labeler: LabelerSettings = LabelerSettings()
    pt_bins: int = pydantic.Field(default=PT_BINS, ge=0, le=200)
    """Bins of the jet-pT reweighting; 0 for none."""

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

    def of_jets(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Input columns of each jet."""
        first, second = (tuple(n for n in self.features if n.endswith(f"_{jet}")) for jet in JETS)
        return first, second


def tag(scores: FloatArray, region: IntArray, settings: LabelerSettings) -> IntArray:
    """Label each jet by what the other jet of its event looks like.

    The cuts are percentiles of both jets' scores together, in the signal region: no autoencoder was trained there, so
    that events it knows and events it does not are never compared. Both jets share a cut because one network serves
    either: for two jets that are drawn alike, then put in order of mass, labels do not depend on the jet's own inputs.

    Parameters
    ----------
    scores
        Reconstruction errors, shape (events, 2).
    region
        0 lower side band, 1 signal region, 2 upper side band.
    settings
        The percentiles.

    Returns
    -------
    numpy.ndarray
        int64, shape (events, 2): 1 signal-like, 0 background-like, −1 neither.
    """
    opposite = scores[:, ::-1]
    inside = (region == SIGNAL)[:, None]
    reference = scores[region == SIGNAL]
    label = np.full(scores.shape, NEITHER, dtype=np.int64)
    label[np.isin(region, (LOW, HIGH))] = BACKGROUND_LIKE
    if settings.background_percentile > 0:
        label[inside & (opposite < np.percentile(reference, settings.background_percentile))] = (
            BACKGROUND_LIKE
        )
    label[inside & (opposite > np.percentile(reference, settings.signal_percentile))] = SIGNAL_LIKE
    return label


def tag_weights(label: IntArray, region: IntArray) -> FloatArray:
    """Weights that make the background-like jets of each band count equally, and both classes too.

    Parameters
    ----------
    label
        Of each jet, as `tag` gives them.
    region
        Of its event.

    Returns
    -------
    numpy.ndarray
        float64; background-like: 1 in the lower side band, N_low/N_high in the upper, N_low/N_middle in the signal
        region; signal-like: the background's total shared equally; 0 where there is no label.

    Raises
    ------
    TrainingError
        If a class or a side band is empty.
    """
    weight = np.zeros(len(label), dtype=np.float64)
    background = [(label == BACKGROUND_LIKE) & (region == band) for band in (LOW, SIGNAL, HIGH)]
    low, middle, high = (int(np.count_nonzero(mask)) for mask in background)
    signal = int(np.count_nonzero(label == SIGNAL_LIKE))
    if min(low, high, signal) == 0:
        msg = (
            f"{signal} jets are tagged signal-like, {low} and {high} lie in the lower and the upper side band; each "
            "needs some: lower labeler.signal_percentile, widen the window or add events"
        )
        raise TrainingError(msg)
    for mask, count in zip(background, (low, middle, high), strict=True):
        weight[mask] = low / max(count, 1)
    weight[label == SIGNAL_LIKE] = weight.sum() / signal
    return weight


@register
class TagNTrain(FoldedMethod):
    """Two odd jets tag each other, as CMS-EXO-22-026 ran it.

    An autoencoder that learns the jets of the side bands gives a first idea of how odd a jet is. In an event of the
    signal region whose one jet is odd, the *other* jet is called signal-like; jets of the side bands, and those beside
    an ordinary jet, are called background-like. A classifier learns to tell both, for either jet; its outputs become
    ranks, and the product of both jets' ranks is the score. The other jet's tag enriches the signal, not the jet's own:
    for background, whose jets are independent, the tag says nothing about the jet.

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
            "trees": {"bags": 2, "iterations": 60},
            "labeler": {"schedule": {"epochs": 8, "batch": 512, "learning_rate": 3e-3, "decay": "one_cycle"}},
        },
        "paper": {
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

    def train(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> Training[list[Arrays]]:
        """Labeler, labels, classifier and rank transform of each fold."""
        region = self.window.of(sample.columns["mjj"])
        x = self._jets(sample.columns)
        scores = yield from self._tagged(sample, x, region)
        problems, seeds = [], []
        for fold in range(N_FOLDS):
            problems.append(self._problem(sample, x, region, scores[fold], fold))
            seeds.append(self.seeds(fold, "classifier"))
        networks = yield from self.options.built.train(problems, seeds)
        return [self._ranked(arrays, sample, x, region, fold) for fold, arrays in enumerate(networks)]

    def _jets(self, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Inputs of both jets, shape (events, 2, inputs of a jet)."""
        return np.stack([input_matrix(columns, names) for names in self.options.of_jets()], axis=1)

    def _tagged(self, sample: TrainingSample, x: Inputs, region: IntArray) -> Training[list[FloatArray]]:
        """Reconstruction errors of both jets of each event that a fold may learn from, shape (events, 2); 0 elsewhere.

        Only those of the signal region are used, which no autoencoder was trained on.
        """
        known = [
            _rows_of_jets(np.isin(region, (LOW, HIGH)) & (sample.fold != fold)) for fold in range(N_FOLDS)
        ]
        asked = [(region == SIGNAL) & (sample.fold != fold) for fold in range(N_FOLDS)]
        settings = self.options.labeler
        network, inputs = _labeler(settings, sample, x, known)
        key = "x" if settings.inputs == "features" else "image"
        split = [np.repeat(inner_split(sample.batch, fold), 2) for fold in range(N_FOLDS)]
        jobs = [
            StackJob(
                network,
                settings.schedule,
                {key: inputs[fold]},
                _members(known[fold], split[fold], self.seeds(fold, "labeler")),
            )
            for fold in range(N_FOLDS)
        ]
        results: Sequence[StackResult] = yield jobs
        scores = []
        for fold, result in enumerate(results):
            rows = _rows_of_jets(asked[fold])
            errors = np.zeros(2 * len(region))
            errors[rows] = _errors(network, merged_arrays(result.networks), inputs[fold][rows])
            scores.append(errors.reshape(-1, 2))
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


def _rows_of_jets(events: BoolArray) -> IntArray:
    """Row numbers of both jets of the events chosen, jets following each other."""
    return np.flatnonzero(np.repeat(events, 2))


def _members(rows: IntArray, split: IntArray, seed: Callable[..., int]) -> tuple[Member, ...]:
    return tuple(
        Member(rows[split[rows] != number], rows[split[rows] == number], seed("split", number))
        for number in range(N_INNER)
    )


def _labeler(
    settings: LabelerSettings, sample: TrainingSample, x: Inputs, known: Sequence[IntArray]
) -> tuple[DenseAutoencoder | ConvolutionalAutoencoder, list[npt.NDArray[np.float32]]]:
    """The kind of autoencoder, and its inputs for each fold, one row a jet."""
    if settings.inputs == "images":
        both = np.stack([sample.columns[f"constituents_{jet}"] for jet in JETS], axis=1)
        images = constituent_images(both.reshape(-1, *both.shape[2:]), settings.pixels, settings.width)
        network = ConvolutionalAutoencoder(settings.pixels, hidden=settings.hidden, latent=settings.latent)
        return network, [images] * len(known)
    jets = x.reshape(-1, x.shape[2])
    scaled = []
    for rows in known:
        mean, deviation = standardisation(jets[rows])
        scaled.append(np.clip((jets - mean) / deviation, -FARTHEST, FARTHEST))
    return DenseAutoencoder(jets.shape[1], settings.hidden, settings.latent), scaled


def _errors(
    network: DenseAutoencoder | ConvolutionalAutoencoder, arrays: Arrays, inputs: npt.NDArray[np.float32]
) -> FloatArray:
    """Reconstruction error of each jet, the mean of all members."""
    if isinstance(network, ConvolutionalAutoencoder):
        return network.image_losses(arrays, inputs)
    parameters = tensors(arrays)
    members = len(next(iter(arrays.values())))
    return in_batches(
        lambda rows: network.errors(parameters, rows.expand(members, -1, -1)).mean(dim=0), inputs
    )
