"""QUAK: how unlike background and how like any of several assumed signals an event is, together."""

from collections.abc import Callable, Sequence

import numpy as np

from data.types import FloatArray
from models.arrays import Arrays, below
from models.atoms import Atoms
from models.base import register
from models.density import (
    QUICK_FLOW,
    DensityProblem,
    FlowSettings,
    check_density,
    fold_density,
    train_densities,
)
from models.jobs import Training
from models.loss_plane import LossPlane, LossPlaneOptions
from models.preprocessing import Inputs


class QuakOptions(LossPlaneOptions):
    """Options of ``quak``."""

    flow: FlowSettings = FlowSettings()
    """Densities of the background and of each signal prior."""


@register
class Quak(LossPlane):
    """Quasi-anomalous knowledge with normalising flows, as CMS-EXO-22-026 ran it.

    One flow learns the background, one more each signal model that the analyst thinks of. Both losses (negative log
    densities) span a plane: signals like a prior have a large background loss and a small signal loss, signals like none
    have large ones of both. The axes are freed of mjj in the side bands, and the signal axis of the background loss; the
    losses of several priors are joined by a signed L5 norm. The score says how few side-band events share the event's
    place in the plane, so that the cut takes the sparsest cells until the wanted background is reached.

    ``fit`` takes simulated signal (``signal=``; a column ``prior`` numbers the models: several for a generic search,
    one for a model-specific one) and, where there is any, simulated background (``background=``); without it the side
    bands are what the background's flow learns from.

    *Assumes* that signal is either like a prior or sparse, and that side-band events are placed in the plane as
    background in the signal region is. *Is blind to* signals that fill the cells where background is frequent;
    priors far from the signal help no more than the background flow alone does.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `QuakOptions`.

    References
    ----------
    S. E. Park, D. Rankin, S.-M. Udrescu, M. Yunus, P. Harris, "Quasi anomalous knowledge: searching for new physics with
    embedded knowledge", JHEP 06 (2021) 030, arXiv:2011.03550. CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395.
    """

    name = "quak"
    summary = "QUAK: sparse places in the plane of background and signal-prior densities (arXiv:2011.03550)"
    options_type = QuakOptions
    options: QuakOptions
    presets = {
        "quick": {"flow": QUICK_FLOW},
        "paper": {
            "tau_s": True,
            "flow": {
                "transform": "standardise",
                "transforms": 6,
                "hidden": (120, 120, 120, 120),
                "tail": 10.0,
                "schedule": {
                    "epochs": 500,
                    "batch": 10_000,
                    "learning_rate": 5e-5,
                    "decay": "constant",
                    "patience": 20,
                },
            },
            "space": {"per_area": False, "smoothing": 0.0},
        },
    }

    def learn(
        self, problems: Sequence[DensityProblem], seeds: Sequence[Callable[..., int]], rows: Sequence[int]
    ) -> Training[list[Arrays]]:
        """A flow for each problem."""
        return (yield from train_densities(self.options.flow, problems, seeds, max(rows)))

    def loss(self, arrays: Arrays, x: Inputs) -> FloatArray:
        """Negative log density."""
        return -fold_density(arrays, self.options.flow, x, np.ones(len(x)))

    def check_loss(self, arrays: Arrays) -> None:
        """See `LossPlane.check_loss`."""
        check_density(arrays, self.options.flow, self.options.width)

    def preparation(self, x: Sequence[Inputs]) -> Arrays:
        """Atoms of the inputs, which no density can describe, of background and signals together."""
        return Atoms.fit(np.concatenate(x)).arrays()

    def prepare(self, known: Arrays, x: Inputs, mjj: FloatArray) -> Inputs:
        """Inputs whose atoms (counts of particles, clipped b scores) are spread."""
        return Atoms.from_arrays(below(known, "prepared/"), x.shape[1]).spread(x, mjj)
