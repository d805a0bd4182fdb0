"""The idealised anomaly detector: data against a perfect background template."""

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


class IdealisedOptions(FeatureOptions, ManyEventsOptions):
    """Options of ``idealised``."""

    features: tuple[str, ...] = ("m_j1", "delta_m", "tau41_j1", "tau41_j2")
    """Input columns; by default those of `cathode`, so that both can be compared."""


@register
class Idealised(FoldedMethod):
    """Data in the signal region against true background there: the best that a background template can do.

    CATHODE, ANODE and their like estimate the background of the signal region from the side bands; here it is given, as
    simulation that follows the same distribution. What they lose to this reference they lose to their template; what it
    loses to the supervised classifier is lost to the small share of signal in the data. The cut keeps a fixed
    fraction of the held-out background in the signal region.

    *Assumes* a background sample distributed as the background of the data, which a search does not have. *Is blind to*
    signals so weak that the classifier learns fluctuations instead.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `IdealisedOptions`.

    References
    ----------
    A. Hallin et al., "Classifying anomalies through outer density estimation", Phys. Rev. D 106 (2022) 055006,
    arXiv:2109.00546. E. M. Metodiev, B. Nachman, J. Thaler, "Classification without labels", JHEP 10 (2017) 174,
    arXiv:1708.02949, for why its optimum is the likelihood ratio.
    """

    name = "idealised"
    summary = "Reference: data against a perfect background template in the signal region (arXiv:2109.00546)"
    family = "reference"
    flat = False
    takes = {"background": True}
    calibrated_on = "background"
    bands = (SIGNAL,)
    score_is = "probability of data, not background"
    options_type = IdealisedOptions
    options: IdealisedOptions
    presets = {
        "quick": {"trees": {"bags": 2, "iterations": 60}, "mlp": {"bags": 1, "schedule": {"epochs": 10}}},
        "paper": {"classifier": "mlp", "mlp": LHCO_MLP},
    }

    def train(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> Training[list[Arrays]]:
        """5 folds × 4 inner splits of one classifier; see `FoldedMethod.train`."""
        names = ("the data", "table 'background'")
        problems = labelled_problems(sample, extras["background"], self.inputs, self.window, names)
        seeds = [self.seeds(fold) for fold in range(N_FOLDS)]
        return (yield from self.options.built.train(problems, seeds))

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Probability of data, where both classes are as frequent."""
        return self.options.built.probability(fold, input_matrix(columns, self.inputs))

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        self.options.built.check(fold, len(self.inputs))
