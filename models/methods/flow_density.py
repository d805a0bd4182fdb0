"""Outliers of the side bands' density."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy.typing as npt

from data.types import FloatArray
from models.arrays import Arrays
from models.base import register
from models.density import PAPER_FLOW, QUICK_FLOW, fold_density
from models.folds import TrainingSample
from models.jobs import Training
from models.outer_density import OuterDensityMethod, OuterDensityOptions


class FlowDensityOptions(OuterDensityOptions):
    """Options of ``flow_density``."""

    decorrelate: Literal["none", "quantile"] = "quantile"
    """How improbable background is follows mjj where density is learnt less well; by default the cut follows it."""


@register
class FlowDensity(OuterDensityMethod):
    """How improbable an event is under the background's density, as a flow learns it from the side bands.

    The score is −log p(x | mjj). It is the simplest use of a density, and a baseline for those that compare two.

    *Assumes* that signal lies where background is rare. *Is blind to* signals in regions where background is common,
    however many there are, and depends on the choice of inputs: a density changes with their coordinates (G. Kasieczka
    et al., arXiv:2209.06225), so that the score of the same events differs between m and log m. Inputs with atoms count
    in the coordinate in which these are spread, the normal quantile of the rank.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `FlowDensityOptions`.

    References
    ----------
    C. M. Bishop, "Novelty detection and neural network validation", IEE Proc. Vis. Image Signal Process. 141 (1994) 217.
    C. Durkan et al., "Neural Spline Flows", arXiv:1906.04032.
    """

    name = "flow_density"
    summary = "Outliers: minus the log density of the side bands, learnt by a flow (arXiv:1906.04032)"
    family = "unsupervised"
    flat = True
    score_is = "−log p of the inputs given mjj under the side bands' density"
    options_type = FlowDensityOptions
    options: FlowDensityOptions
    presets: ClassVar = {"quick": {"flow": QUICK_FLOW}, "paper": {"flow": PAPER_FLOW}}

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Density of the side bands; see `FoldTraining.train_fold`."""
        return (yield from self.outer_density(sample, fold))

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """−log p(x | mjj)."""
        return -fold_density(fold, self.options.flow, self.continuous(fold, columns), columns["mjj"])

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod`."""
        self.check_outer(fold)
