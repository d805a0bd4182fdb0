"""The supervised classifier: what could be reached if the signal were known."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from data.eventid import N_FOLDS
from data.types import FloatArray
from models.arrays import Arrays
from models.base import register
from models.classifiers import LHCO_MLP, ManyEventsOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Training
from models.labelled import labelled_problems
from models.options import FeatureOptions
from models.preprocessing import input_matrix
from models.regions import SIGNAL


class SupervisedOptions(FeatureOptions, ManyEventsOptions):
    """Options of ``supervised``."""

    features: tuple[str, ...] = ("m_j1", "delta_m", "tau41_j1", "tau41_j2")
    """Input columns; by default those of `cathode`, so that both can be compared."""


@register
class Supervised(FoldedMethod):
    """A classifier of simulated signal against simulated background, both labelled: a reference, not a search.

    It is trained in the signal region, in folds like every other method; the cut keeps a fixed fraction of the held-out
    background in the signal region. With enough simulation no method of the same inputs can be better at its signal.

    *Assumes* that the simulation is right about signal and background. *Is blind to* every other signal, and to
    differences between simulation and data; its cut sculpts mjj wherever its inputs follow mjj.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `SupervisedOptions`.

    References
    ----------
    A. Hallin et al., "Classifying anomalies through outer density estimation", Phys. Rev. D 106 (2022) 055006,
    arXiv:2109.00546, whose "fully supervised classifier" it is.
    """

    name = "supervised"
    summary = "Reference: classifier of simulated signal against simulated background (arXiv:2109.00546)"
    family = "reference"
    flat = False
    takes = {"signal": True, "background": True}
    table_needed = False
    calibrated_on = "background"
    bands = (SIGNAL,)
    score_is = "probability of signal"
    options_type = SupervisedOptions
    options: SupervisedOptions
    presets = {
        "quick": {"trees": {"bags": 1, "iterations": 60}, "mlp": {"bags": 1, "schedule": {"epochs": 10}}},
        "paper": {"classifier": "mlp", "mlp": LHCO_MLP},
    }

    def train(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> Training[list[Arrays]]:
        """5 folds × 4 inner splits of one classifier; see `FoldedMethod.train`."""
        names = ("table 'signal'", "table 'background'")
        problems = labelled_problems(extras["signal"], extras["background"], self.inputs, self.window, names)
        seeds = [self.seeds(fold) for fold in range(N_FOLDS)]
        return (yield from self.options.built.train(problems, seeds))

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Probability of signal, where both classes are as frequent."""
        return self.options.built.probability(fold, input_matrix(columns, self.inputs))

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        self.options.built.check(fold, len(self.inputs))
