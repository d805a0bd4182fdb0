"""Dense autoencoder of jet features."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy.typing as npt
import pydantic

from data.eventid import N_INNER
from data.types import FloatArray
from models.arrays import Arrays, below
from models.background_rows import fold_members
from models.base import register
from models.folds import TrainingSample
from models.jobs import Schedule, StackJob, Training
from models.networks.autoencoders import DenseAutoencoder
from models.reconstruction import FeatureReconstruction, LatentOptions, log_losses, mean_errors
from models.stack import merged_arrays


class AutoencoderOptions(LatentOptions):
    """Options of ``autoencoder``."""

    hidden: tuple[pydantic.PositiveInt, ...] = (64, 32)
    """Widths of the encoder's hidden layers; the decoder's are the same in reverse. With none the network is linear."""
    members: int = pydantic.Field(default=2, ge=1, le=N_INNER)
    """Networks a fold, each validating on another inner quarter of the other folds; the mean of their losses counts."""
    schedule: Schedule = Schedule(epochs=40, batch=512, learning_rate=2e-2, decay="one_cycle", clip=1.0)
    """With 180,000 simulated dijets, 10 epochs at this rate (``most_steps``) reach the side-band loss of 40 at a rate of
    0.003; 8 at that rate end a third higher."""


@register
class Autoencoder(FeatureReconstruction):
    """Events that a network which has learnt to compress ordinary ones cannot restore.

    A dense autoencoder learns the features of both jets of an event where no signal is expected: events of large |Δη|
    if the table ``wide`` is given, else the side bands. The score is the logarithm of its mean squared error, and the
    cut follows the error's quantile as a function of mjj.

    *Assumes* that what the network cannot restore is rare background or signal, and that background is the same in the
    signal region. *Is blind to* signals simpler than the background, which it restores as well or better (complexity
    bias), to those that it restores because it generalises too far, and, without ``wide``, to signals that are as
    frequent in the side bands.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `AutoencoderOptions`.

    References
    ----------
    T. Heimel, G. Kasieczka, T. Plehn, J. M. Thompson, "QCD or what?", SciPost Phys. 6 (2019) 030, arXiv:1808.08979.
    M. Farina, Y. Nakai, D. Shih, "Searching for new physics with deep autoencoders", Phys. Rev. D 101 (2020) 075021,
    arXiv:1808.08992. T. Finke, M. Krämer, A. Morandini, A. Mück, I. Oleksiyuk, "Autoencoders for unsupervised anomaly
    detection in high energy physics", JHEP 06 (2021) 161, arXiv:2104.09051 (complexity bias).
    """

    name = "autoencoder"
    summary = "Dense autoencoder of both jets' features: reconstruction error (arXiv:1808.08979)"
    score_is = "logarithm of the mean squared reconstruction error"
    options_type = AutoencoderOptions
    options: AutoencoderOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"members": 1, "hidden": (32,), "schedule": {"epochs": 8, "batch": 256}},
        "paper": {
            "members": 1,
            "most_steps": 10_000_000,
            "schedule": {
                "epochs": 200,
                "batch": 256,
                "learning_rate": 1e-3,
                "decay": "constant",
                "clip": 0.0,
                "patience": 15,
            },
        },
    }

    @property
    def _network(self) -> DenseAutoencoder:
        return DenseAutoencoder(len(self.inputs), self.options.hidden, self.options.width)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """One network a member, on an inner split each; see `FoldTraining.train_fold`."""
        own = self.fold_inputs(sample, extras, fold)
        schedule = own.within(self.options.schedule, self.options.most_steps)
        members = fold_members(own.batch, fold, self.options.members, self.seeds(fold, "network"))
        (result,) = yield [StackJob(self._network, schedule, own.data, members)]
        return self.fold_arrays(own, merged_arrays(result.networks))

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Logarithm of the mean loss of a fold's networks."""
        return log_losses(mean_errors(self._network, below(fold, "network/"), self.seen(fold, columns)))

    def check_network(self, arrays: Arrays) -> None:
        """See `DenseAutoencoder.check`."""
        self._network.check(arrays)
