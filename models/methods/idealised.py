"""The idealised anomaly detector: data against a perfect background template."""

from collections.abc import Mapping

from models.arrays import Arrays
from models.base import register
from models.folds import TrainingSample
from models.jobs import Training
from models.labelled import LabelledMethod


@register
class Idealised(LabelledMethod):
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
        See `models.create` and `LabelledOptions`.

    References
    ----------
    A. Hallin et al., "Classifying anomalies through outer density estimation", Phys. Rev. D 106 (2022) 055006,
    arXiv:2109.00546. E. M. Metodiev, B. Nachman, J. Thaler, "Classification without labels", JHEP 10 (2017) 174,
    arXiv:1708.02949, for why its optimum is the likelihood ratio.
    """

    name = "idealised"
    summary = "Reference: data against a perfect background template in the signal region (arXiv:2109.00546)"
    takes = {"background": True}
    score_is = "probability of data, not background"

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """A classifier for each of 4 inner splits; see `FoldTraining.train_fold`."""
        names = ("the data", "table 'background'")
        return (yield from self.told_apart(sample, extras["background"], names, fold))
