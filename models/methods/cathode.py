"""CATHODE: a conditional flow interpolates the background, a classifier finds where the data differ from it."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models.arrays import Arrays
from models.atoms import Atoms
from models.base import register
from models.classifiers import LHCO_MLP
from models.density import PAPER_FLOW, QUICK_FLOW, DensityProblem, FlowSettings, fold_sample, train_densities
from models.interpolation import Comparison, FoldRows, InterpolatedMethod, InterpolationOptions
from models.jobs import Training

QUICK: Mapping[str, Any] = {
    "oversampling": 2.0,
    "flow": QUICK_FLOW,
    "trees": {"bags": 2, "iterations": 50},
    "mlp": {"bags": 1, "schedule": {"epochs": 8}},
}
PAPER: Mapping[str, Any] = {
    "side_bands": "all",
    "oversampling": 10.0 / 3.0,
    "flow": PAPER_FLOW,
    "classifier": "mlp",
    "mlp": LHCO_MLP,
}
"""The authors' recipe; they drew 400,000 events for 120,000 of data."""


class CathodeOptions(InterpolationOptions):
    """Options of ``cathode``."""

    flow: FlowSettings = FlowSettings()


def learned_flows(
    folds: Sequence[FoldRows], settings: FlowSettings
) -> Training[tuple[list[Atoms], list[Arrays]]]:
    """Learn the side bands' density given mjj.

    Parameters
    ----------
    folds
        What each fold's flow may learn from.
    settings
        Of the flow.

    Returns
    -------
    atoms
        One a fold: from inputs to what the flow sees, which has no atoms.
    flows
        One a fold, for `models.density`.
    """
    atoms = [Atoms.fit(rows.band) for rows in folds]
    problems = [
        DensityProblem(
            own.spread(rows.band, rows.band_mjj), rows.band_mjj, np.ones(len(rows.band)), rows.band_split
        )
        for own, rows in zip(atoms, folds, strict=True)
    ]
    seeds = [functools.partial(rows.seeds, "flow") for rows in folds]
    flows = yield from train_densities(settings, problems, seeds)
    return atoms, flows


@register
class Cathode(InterpolatedMethod):
    """Classifying anomalies through outer density estimation.

    A normalising flow learns the density of the inputs given mjj in the side bands. Drawn at the masses of the signal
    region it gives the background there, and a classifier learns to tell the data from it: the nearest that data alone
    come to a classifier of data against true background. Inputs that follow mjj are allowed, since the flow
    interpolates them. Inputs with atoms are spread for the flow and gathered again for the classifier.

    *Assumes* that the density of the inputs changes smoothly with mjj, and that the side bands hold little signal. *Is
    blind to* signals much wider than the signal region, to anything that its inputs do not show, and to signals too
    weak for the classifier to learn. The score may follow mjj where its inputs do; see `lacathode`.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CathodeOptions`.

    References
    ----------
    A. Hallin et al., "Classifying anomalies through outer density estimation", Phys. Rev. D 106 (2022) 055006,
    arXiv:2109.00546. T. Finke et al., "Back to the roots: tree-based algorithms for weakly supervised anomaly
    detection", arXiv:2309.13111 (boosted trees). CMS, EXO-22-026, arXiv:2412.03747.
    """

    name = "cathode"
    summary = "CATHODE: a flow interpolates the background, a classifier compares (arXiv:2109.00546)"
    options_type = CathodeOptions
    flat = False
    presets: ClassVar = {"quick": QUICK, "paper": PAPER}
    options: CathodeOptions

    def compared(self, folds: Sequence[FoldRows]) -> Training[list[Comparison]]:
        """Train one flow a fold and draw the signal region's background from it."""
        settings = self.options.flow
        atoms, flows = yield from learned_flows(folds, settings)
        compared = []
        for rows, own, flow in zip(folds, atoms, flows, strict=True):
            rng = np.random.default_rng(rows.seeds("generated"))
            background = fold_sample(flow, settings, self.masses(rows), rng)
            compared.append(Comparison(rows.signal, own.gathered(background)))
        return compared
