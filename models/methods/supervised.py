"""The supervised classifier: what could be reached if the signal were known."""

from collections.abc import Mapping

from models.arrays import Arrays
from models.base import register
from models.folds import TrainingSample
from models.jobs import Training
from models.labelled import LabelledMethod


@register
class Supervised(LabelledMethod):
    """A classifier of simulated signal against simulated background, both labelled: a reference, not a search.

    It is trained in the signal region, in folds like every other method; the cut keeps a fixed fraction of the held-out
    background in the signal region. With enough simulation no method of the same inputs can be better at its signal.

    *Assumes* that the simulation is right about signal and background. *Is blind to* every other signal, and to
    differences between simulation and data; its cut sculpts mjj wherever its inputs follow mjj.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `LabelledOptions`.

    References
    ----------
    A. Hallin et al., "Classifying anomalies through outer density estimation", Phys. Rev. D 106 (2022) 055006,
    arXiv:2109.00546, whose "fully supervised classifier" it is.
    """

    name = "supervised"
    summary = "Reference: classifier of simulated signal against simulated background (arXiv:2109.00546)"
    takes = {"signal": True, "background": True}
    table_needed = False
    score_is = "probability of signal"

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """A classifier for each of 4 inner splits; see `FoldTraining.train_fold`."""
        names = ("table 'signal'", "table 'background'")
        return (yield from self.told_apart(extras["signal"], extras["background"], names, fold))
