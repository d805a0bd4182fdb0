"""ANODE: the density inside the signal region against that of the side bands."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy.typing as npt

from data.types import FloatArray
from models.arrays import Arrays, below, prefixed
from models.base import register
from models.density import PAPER_FLOW, QUICK_FLOW, check_density, fold_density, train_densities, transform_of
from models.folds import TrainingSample, most_rows
from models.jobs import Training
from models.outer_density import OuterDensityMethod, OuterDensityOptions
from models.regions import SIGNAL

OUTER, INNER = "background/", "data/"


class AnodeOptions(OuterDensityOptions):
    """Options of ``anode``; ``flow`` describes both densities."""


@register
class Anode(OuterDensityMethod):
    """Anomaly detection with density estimation.

    One flow learns the density of the inputs given mjj in the side bands, from where it is interpolated into the signal
    region; a second one learns the density of the signal region's data. The score is the logarithm of their ratio, data
    over background. Both flows see the inputs through one transform, so that its details cancel. Outside the signal
    region the ratio is that at its nearest edge.

    *Assumes* that the background's density changes smoothly with mjj. Inputs may depend on mjj. *Is blind to* signals
    that fill the side bands as well, and to those so few that the second flow smooths them away; where background is
    rare, the ratio of two learnt densities fluctuates.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `AnodeOptions`.

    References
    ----------
    B. Nachman, D. Shih, "Anomaly Detection with Density Estimation", Phys. Rev. D 101 (2020) 075042,
    arXiv:2001.04990.
    """

    name = "anode"
    summary = (
        "ANODE: density of the signal region over that interpolated from the side bands (arXiv:2001.04990)"
    )
    family = "weak supervision"
    flat = False
    score_is = "log p of the signal region's data − log p of the interpolated background"
    options_type = AnodeOptions
    options: AnodeOptions
    presets: ClassVar = {
        "quick": {"flow": QUICK_FLOW},
        "paper": {"side_bands": "all", "flow": PAPER_FLOW},
    }

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Both densities; see `FoldTraining.train_fold`."""
        outer = yield from self.outer_density(sample, fold)
        transform = transform_of(outer, self.options.flow, len(self.inputs))
        inside = self.window.of(sample.columns["mjj"]) == SIGNAL
        problem = self.problem(sample, inside, fold, self.atoms(outer), transform)
        seed, rows = self.seeds(fold, "data"), most_rows(sample.fold[inside])
        (inner,) = yield from train_densities(self.options.flow, [problem], [seed], rows)
        return prefixed(OUTER, outer) | prefixed(INNER, inner)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Log of the ratio of densities."""
        x, mjj = self.continuous(below(fold, OUTER), columns), self.nearest_mass(columns["mjj"])
        data, background = (
            fold_density(below(fold, prefix), self.options.flow, x, mjj) for prefix in (INNER, OUTER)
        )
        return data - background

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod`."""
        self.check_outer(below(fold, OUTER))
        check_density(below(fold, INNER), self.options.flow, len(self.inputs))
