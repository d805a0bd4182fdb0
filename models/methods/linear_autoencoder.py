"""Linear autoencoder of jet features: principal components, found exactly."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.types import FloatArray
from models.arrays import Arrays, take
from models.base import register
from models.folds import TrainingSample
from models.jobs import Training
from models.networks.autoencoders import minor_components
from models.networks.dense import product
from models.networks.scoring import in_batches
from models.reconstruction import FeatureReconstruction, LatentOptions, log_losses
from models.torch_later import torch

ORTHONORMAL = 1e-4
"""Directions of a bundle may be that far from orthonormal."""


@register
class LinearAutoencoder(FeatureReconstruction):
    """Events far from the hyperplane in which most of the background lies.

    The linear autoencoder of least squared error keeps the largest principal components, so that it is found by one
    diagonalisation instead of a training: the same features, transforms and events as ``autoencoder``, for a second's
    time. The score is the logarithm of the mean squared residual, the cut its quantile as a function of mjj.

    *Assumes* that background features depend on each other linearly. *Is blind to* signals within
    the hyperplane, that is with the background's correlations, and, without ``wide``, to signals that are as frequent
    in the side bands.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `LatentOptions`.

    References
    ----------
    P. Baldi, K. Hornik, "Neural networks and principal component analysis: learning from examples without local
    minima", Neural Networks 2 (1989) 53. As a jet tagger: T. Heimel, G. Kasieczka, T. Plehn, J. M. Thompson, SciPost
    Phys. 6 (2019) 030, arXiv:1808.08979.
    """

    name = "linear_autoencoder"
    summary = (
        "Linear autoencoder of both jets' features: residual of principal components (Baldi, Hornik 1989)"
    )
    score_is = "logarithm of the mean squared residual of the largest principal components"
    options_type = LatentOptions
    options: LatentOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """One diagonalisation; see `FoldTraining.train_fold`."""
        yield from ()
        own = self.fold_inputs(sample, extras, fold)
        weight = own.weight.astype(np.float64)
        mean = np.average(own.x.astype(np.float64), axis=0, weights=weight)
        directions = minor_components(own.x - mean, weight, self.options.width)
        return self.fold_arrays(own, {"mean": mean.astype(np.float32), "directions": directions})

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Logarithm of the mean over the features of the squared residual."""
        mean, directions = (torch.from_numpy(fold[f"network/{name}"]) for name in ("mean", "directions"))
        inputs, nothing = len(self.inputs), torch.zeros(1, 1, directions.shape[1])

        def loss(rows: torch.Tensor) -> torch.Tensor:
            residual = product((rows - mean)[None], directions[None], nothing)[0]
            return residual.square().sum(dim=-1) / inputs

        return log_losses(in_batches(loss, self.seen(fold, columns)))

    def check_network(self, arrays: Arrays) -> None:
        """Mean and orthonormal directions."""
        inputs, lost = len(self.inputs), len(self.inputs) - self.options.width
        mean = take(arrays, "mean", "float32", inputs)
        directions = take(arrays, "directions", "float32", inputs, lost).astype(np.float64)
        if not (
            np.isfinite(mean).all()
            and np.allclose(directions.T @ directions, np.eye(lost), rtol=0.0, atol=ORTHONORMAL)
        ):
            msg = "the directions of the linear autoencoder are not orthonormal"
            raise ValueError(msg)
