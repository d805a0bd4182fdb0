"""LaCATHODE: the classifier of CATHODE in the flow's latent space, where background does not know mjj."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from models.arrays import Arrays, below, prefixed
from models.atoms import Atoms
from models.base import register
from models.density import check_density, fold_latent
from models.interpolation import Comparison, FoldRows, InterpolatedMethod
from models.jobs import Training
from models.methods.cathode import PAPER, QUICK, CathodeOptions, learned_flow
from models.preprocessing import Inputs, input_matrix

ATOMS, FLOW = "atoms/", "flow/"


class LacathodeOptions(CathodeOptions):
    """Options of ``lacathode``."""


@register
class Lacathode(InterpolatedMethod):
    """Latent CATHODE: classification in the latent space of the conditional flow.

    The flow of CATHODE maps the inputs, given mjj, to a latent space in which background is a standard normal
    distribution at every mjj. The classifier learns there to tell the signal region's data from draws of that
    distribution. Its score can be evaluated at every mjj, and as background looks the same at every mjj, a cut on it
    does not sculpt the mjj spectrum even where the inputs follow mjj.

    *Assumes* that the density of the inputs changes smoothly with mjj, and that the flow describes it inside and
    outside the signal region. *Is blind to* what `cathode` is blind to; its sensitivity is slightly lower, since the
    flow's imperfections blur the signal.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `LacathodeOptions`.

    References
    ----------
    A. Hallin et al., "Resonant anomaly detection without background sculpting", Phys. Rev. D 107 (2023) 114012,
    arXiv:2210.14924.
    """

    name = "lacathode"
    summary = "LaCATHODE: CATHODE in the flow's latent space, flat in mjj (arXiv:2210.14924)"
    options_type = LacathodeOptions
    flat = True
    score_is = "probability to be data of the signal region rather than a draw from the latent space"
    presets: ClassVar = {"quick": QUICK, "paper": PAPER}
    options: LacathodeOptions

    def compared(self, rows: FoldRows) -> Training[Comparison]:
        """Train the flow and compare latent data with normal draws."""
        atoms, flow = yield from learned_flow(rows, self.options.flow)
        rng = np.random.default_rng(rows.seeds("generated"))
        shape = len(self.masses(rows)), len(self.inputs)
        arrays = prefixed(FLOW, flow) | prefixed(ATOMS, atoms.arrays())
        data = self._latent(arrays, rows.signal, rows.signal_mjj)
        return Comparison(data, rng.standard_normal(shape, dtype=np.float32), arrays)

    def _latent(self, arrays: Arrays, x: Inputs, mjj: npt.NDArray[np.float64]) -> Inputs:
        atoms = Atoms.from_arrays(below(arrays, ATOMS), len(self.inputs))
        return fold_latent(below(arrays, FLOW), self.options.flow, atoms.spread(x, mjj), mjj)

    def seen(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Latent values of events."""
        return self._latent(fold, input_matrix(columns, self.inputs), columns["mjj"])

    def check_fold(self, fold: Arrays) -> None:
        """Raise ValueError where the arrays of flow or classifier could not have been saved."""
        super().check_fold(fold)
        check_density(below(fold, FLOW), self.options.flow, len(self.inputs))
        Atoms.from_arrays(below(fold, ATOMS), len(self.inputs))
