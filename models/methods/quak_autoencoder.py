"""QUAK with reconstruction errors of autoencoders in place of densities."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import pydantic

from data.eventid import N_INNER
from data.types import FloatArray
from models.arrays import Arrays
from models.base import register
from models.density import DensityProblem
from models.jobs import Member, Schedule, StackJob, Training
from models.loss_plane import LossPlane, LossPlaneOptions
from models.networks.autoencoders import DenseAutoencoder
from models.networks.dense import Layers
from models.preprocessing import Inputs
from models.reconstruction import mean_errors, row_weights, schedule_within
from models.stack import merged_arrays


class QuakAutoencoderOptions(LossPlaneOptions):
    """Options of ``quak_autoencoder``."""

    hidden: Layers = (64, 32)
    """Layers between inputs and latent space."""
    latent: int = pydantic.Field(default=0, ge=0)
    """Width of the latent space, less than that of the inputs; 0: a third of it."""
    schedule: Schedule = Schedule(epochs=30, batch=512, learning_rate=1e-2, decay="one_cycle")
    most_steps: int = pydantic.Field(default=1600, ge=1)
    """Steps after which a training ends whatever its epochs: with many rows a pass over all of them teaches less."""

    @pydantic.model_validator(mode="after")
    def _something_is_lost(self) -> Self:
        if self.codes >= self.width:
            msg = (
                f"latent: {self.codes} variables can hold all of {self.width} inputs, so that nothing would be lost; "
                "choose fewer, or add features"
            )
            raise ValueError(msg)
        return self

    @property
    def codes(self) -> int:
        """Width of the latent space."""
        return self.latent or max(self.width // 3, 1)

    @property
    def network(self) -> DenseAutoencoder:
        """The autoencoder of background and of each prior."""
        return DenseAutoencoder(self.width, self.hidden, self.codes)


@register
class QuakAutoencoder(LossPlane):
    """Quasi-anomalous knowledge with autoencoders.

    As `quak`, but each loss is the reconstruction error of an autoencoder that learned background or one signal prior,
    the mean of four that validate on different inner splits; inputs are in the background's standard deviations.
    Cheaper than flows; an autoencoder's error is no density: it is small for everything simple.

    *Assumes* that signal is badly reconstructed by what learned background, or well by what learned a prior, and that
    side-band events are placed in the plane as background in the signal region is. *Is blind to* signals simpler than
    background and unlike every prior, and to those that fill the cells where background is frequent.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `QuakAutoencoderOptions`.

    References
    ----------
    S. E. Park, D. Rankin, S.-M. Udrescu, M. Yunus, P. Harris, "Quasi anomalous knowledge: searching for new physics with
    embedded knowledge", JHEP 06 (2021) 030, arXiv:2011.03550.
    """

    name = "quak_autoencoder"
    summary = "QUAK with autoencoders: background and signal-prior reconstruction errors (arXiv:2011.03550)"
    options_type = QuakAutoencoderOptions
    options: QuakAutoencoderOptions
    presets = {
        "quick": {"schedule": {"epochs": 6, "batch": 512, "learning_rate": 5e-3, "decay": "one_cycle"}},
        "paper": {
            "hidden": (64, 32, 16),
            "most_steps": 10_000_000,
            "schedule": {"epochs": 100, "batch": 256, "learning_rate": 1e-3, "decay": "constant"},
        },
    }

    def learn(
        self, problems: Sequence[DensityProblem], seeds: Sequence[Callable[..., int]], rows: Sequence[int]
    ) -> Training[list[Arrays]]:
        """Four autoencoders for each problem."""
        jobs, options = [], self.options
        for problem, seed, most in zip(problems, seeds, rows, strict=True):
            schedule = schedule_within(options.schedule, options.most_steps, most * (N_INNER - 1) // N_INNER)
            members = tuple(
                Member(
                    np.flatnonzero(problem.split != number),
                    np.flatnonzero(problem.split == number),
                    seed("split", number),
                )
                for number in range(N_INNER)
            )
            data = {"x": problem.x, "weight": row_weights(problem.weight)}
            jobs.append(StackJob(options.network, schedule, data, members))
        results = yield jobs
        return [merged_arrays(result.networks) for result in results]

    def loss(self, arrays: Arrays, x: Inputs) -> FloatArray:
        """Mean squared error of the reconstruction, the mean of all members."""
        return mean_errors(self.options.network, arrays, x)

    def check_loss(self, arrays: Arrays) -> None:
        """See `LossPlane.check_loss`."""
        self.options.network.check(arrays)

    def preparation(self, x: Sequence[Inputs]) -> Arrays:
        """Nothing: an autoencoder does not mind that many events share a value."""
        return {}

    def prepare(self, known: Arrays, x: Inputs, mjj: FloatArray) -> Inputs:
        """The scaled inputs."""
        return x
