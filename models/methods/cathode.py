"""CATHODE: a conditional flow interpolates the background, a classifier finds where the data differ from it."""

import functools
from collections.abc import Mapping
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


def learned_flow(rows: FoldRows, settings: FlowSettings) -> Training[tuple[Atoms, Arrays]]:
    """Learn the side bands' density given mjj.

    Parameters
    ----------
    rows
        What the flow may learn from.
    settings
        Of the flow.

    Returns
    -------
    atoms
        From inputs to what the flow sees, which has no atoms.
    flow
        For `models.density`.
    """
    atoms = Atoms.fit(rows.band)
    spread = atoms.spread(rows.band, rows.band_mjj)
    problem = DensityProblem(spread, rows.band_mjj, np.ones(len(spread)), rows.band_split)
    seed = functools.partial(rows.seeds, "flow")
    (flow,) = yield from train_densities(settings, [problem], [seed], rows.most)
    return atoms, flow


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

    def compared(self, rows: FoldRows) -> Training[Comparison]:
        """Train the flow and draw the signal region's background from it."""
        atoms, flow = yield from learned_flow(rows, self.options.flow)
        rng = np.random.default_rng(rows.seeds("generated"))
        background = fold_sample(flow, self.options.flow, self.masses(rows), rng)
        return Comparison(rows.signal, atoms.gathered(background))
