"""CWoLa Hunting: a classifier of signal region against side bands, which needs no label."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from data.eventid import inner_split
from data.types import FloatArray
from models.arrays import Arrays, below, prefixed
from models.base import register
from models.classifiers import CMS_MLP, ClassifierOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.heads import Head, HeadOptions
from models.jobs import Training
from models.preprocessing import RankTransform, fit_ranks, input_matrix
from models.problems import Problem
from models.regions import SIGNAL
from models.weights import band_weights, match_pt


class CwolaOptions(HeadOptions, ClassifierOptions):
    """Options of ``cwola``."""


@register
class Cwola(FoldedMethod):
    """Classification without labels in a mass window, as CMS-EXO-22-026 ran it.

    For each jet a classifier learns to tell the signal region from its two side bands. If the inputs of background
    jets do not depend on mjj, the best such classifier is a monotonic function of the likelihood ratio of signal to
    background, whatever the signal is. The classifier's outputs are turned into ranks, the larger of both jets is the
    score, and the cut keeps a fixed fraction of the side bands; the whole mjj spectrum is then kept for the fit.

    *Assumes* that background inputs, once the jet's pT spectrum is matched, are the same in signal region and side
    bands. *Is blind to* signals wider than the signal region, to signals so weak that the classifier learns
    fluctuations instead, and to what only the correlation of both jets shows.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CwolaOptions`.

    References
    ----------
    J. H. Collins, K. Howe, B. Nachman, "Anomaly Detection for Resonant New Physics with Machine Learning",
    Phys. Rev. Lett. 121 (2018) 241803, arXiv:1805.02664. E. M. Metodiev, B. Nachman, J. Thaler, "Classification
    without labels", JHEP 10 (2017) 174, arXiv:1708.02949. CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395.
    """

    name = "cwola"
    summary = "CWoLa Hunting: signal region against side bands, a classifier for each jet (arXiv:1805.02664)"
    family = "weak supervision"
    flat = False
    score_is = "largest rank of the jets' classifiers"
    training_hint = (
        "the side bands are matched to its spectrum; add it, or train without matching (pt_bins=0)"
    )
    options_type = CwolaOptions
    options: CwolaOptions
    presets = {
        "quick": {"trees": {"bags": 2, "iterations": 60}, "mlp": {"bags": 1, "schedule": {"epochs": 10}}},
        "paper": {"classifier": "mlp", "mlp": CMS_MLP},
    }

    @property
    def _heads(self) -> tuple[Head, ...]:
        return self.options.heads()

    def training_columns(self) -> tuple[str, ...]:
        """The jets' pT (GeV), for the reweighting."""
        return tuple(head.pt for head in self._heads if head.pt)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Each jet's classifier, for 4 inner splits side by side; see `FoldTraining.train_fold`."""
        problems = [self.problem(sample, fold, head) for head in self._heads]
        seeds = [self.seeds(fold, head.name) for head in self._heads]
        networks = yield from self.options.built.train(problems, seeds, [head.name for head in self._heads])
        held = (self.window.of(sample.columns["mjj"]) >= 0) & (sample.fold == fold)
        trained: Arrays = {}
        for head, network in zip(self._heads, networks, strict=True):
            own = {name: sample.columns[name][held] for name in head.inputs}
            ranks = fit_ranks(self.options.built.probability(network, input_matrix(own, head.inputs)))
            trained |= prefixed(f"{head.name}/network/", network)
            trained |= prefixed(f"{head.name}/rank/", ranks.arrays())
        return trained

    def problem(self, sample: TrainingSample, fold: int, head: Head) -> Problem:
        """What the classifiers of a jet learn while a fold is held out."""
        region, split = self.window.of(sample.columns["mjj"]), inner_split(sample.batch, fold)
        fitted = (region >= 0) & (split >= 0)
        columns = {name: values[fitted] for name, values in sample.columns.items()}
        weight = band_weights(region[fitted])
        if head.pt:
            weight = match_pt(columns[head.pt], region[fitted], weight, self.options.pt_bins)
        x = input_matrix(columns, head.inputs)
        return Problem(x, region[fitted] == SIGNAL, weight / weight.mean(), split[fitted])

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The largest of the jets' ranks: one odd jet is enough."""
        outputs = []
        for head in self._heads:
            network = below(fold, f"{head.name}/network/")
            ranks = RankTransform.from_arrays(below(fold, f"{head.name}/rank/"), f"of '{head.name}'")
            x = input_matrix(columns, head.inputs)
            outputs.append(ranks(self.options.built.probability(network, x)))
        return functools.reduce(np.maximum, outputs)

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        for head in self._heads:
            self.options.built.check(below(fold, f"{head.name}/network/"), len(head.inputs))
            RankTransform.from_arrays(below(fold, f"{head.name}/rank/"), f"of '{head.name}'")
