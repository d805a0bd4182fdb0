"""Kernel density of the side bands."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import inner_split
from data.types import FloatArray
from models.arrays import Arrays, below, prefixed, take
from models.atoms import Atoms
from models.base import register
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.interpolation import CATHODE_INPUTS, side_band_rows
from models.jobs import Training
from models.kernels.kernel_density import log_kernel_sums
from models.options import FeatureOptions
from models.preprocessing import input_matrix
from models.transforms import TransformKind, fit_transform, restored_transform

FACTORS = (0.35, 0.5, 0.7, 1.0, 1.4)
"""Bandwidths that are tried, in units of Scott's rule."""
VALIDATION_SPLIT, VALIDATION_EVENTS = 0, 2000
ATOMS, TRANSFORM = "atoms/", "transform/"


class KdeOptions(FeatureOptions):
    """Options of ``kde``."""

    features: tuple[str, ...] = CATHODE_INPUTS
    """Input columns; kernels serve few inputs only. Values that many events share are spread over the ranks that they
    fill."""
    decorrelate: Literal["none", "quantile"] = "quantile"
    """Inputs that follow mjj leave the density of the side bands at high mjj; by default the cut follows them."""
    side_bands: Literal["window", "all"] = "window"
    """Where the density is taken from: the window's two side bands, or everywhere outside the signal region."""
    transform: TransformKind = "rank"
    """Preparation of the inputs, so that one width serves all; see `models.transforms`."""
    events: int = pydantic.Field(default=5000, ge=10, le=200_000)
    """Side-band events that carry a kernel, drawn at random; scoring time grows with it."""
    bandwidth: Literal["validation", "scott"] = "validation"
    """``validation``: of 0.35 … 1.4 times Scott's rule, the largest likelihood of side-band events that carry no
    kernel; ``scott``: n^(−1/(inputs + 4)) standard deviations."""


@register
class Kde(FoldedMethod):
    """How improbable an event is under a Gaussian kernel density of the side bands.

    The oldest outlier score: no training, no assumption about shapes, and a check of what networks add. It is
    −log p(x), mjj not considered.

    *Assumes* that signal lies where background is rare. *Is blind to* signals where background is common; it loses
    its resolution with more than some five inputs, and depends on the choice of inputs.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `KdeOptions`.

    References
    ----------
    E. Parzen, Ann. Math. Stat. 33 (1962) 1065. D. W. Scott, "Multivariate Density Estimation", Wiley (1992).
    """

    name = "kde"
    summary = "Outliers: minus the log of a Gaussian kernel density of the side bands (Parzen 1962)"
    family = "unsupervised"
    flat = True
    score_is = "−log p of the inputs under the side bands' kernel density"
    options_type = KdeOptions
    options: KdeOptions
    presets: ClassVar = {
        "quick": {"events": 1000, "bandwidth": "scott"},
        "paper": {"transform": "standardise", "events": 20_000, "bandwidth": "scott"},
    }

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Reference events and bandwidth; nothing is left to the driver. See `FoldTraining.train_fold`."""
        yield from ()
        x, mjj = input_matrix(sample.columns, self.inputs), sample.columns["mjj"]
        split = inner_split(sample.batch, fold)
        known = side_band_rows(mjj, self.window, self.options.side_bands) & (split >= 0)
        atoms = Atoms.fit(x[known])
        continuous = atoms.spread(x[known], mjj[known])
        transform = fit_transform(self.options.transform, continuous)
        z = transform.forward(continuous)[0].astype(np.float64)
        rng = np.random.default_rng(self.seeds(fold)("reference"))
        chosen = rng.permutation(len(z))[: self.options.events]
        width = z.std(axis=0) * len(chosen) ** (-1.0 / (z.shape[1] + 4))
        width = np.where(width > 0, width, 1.0)
        if self.options.bandwidth == "validation":
            width = width * _best_factor(z, split[known] == VALIDATION_SPLIT, width, len(chosen), rng)
        return (
            prefixed(ATOMS, atoms.arrays())
            | prefixed(TRANSFORM, transform.arrays())
            | {"reference": z[np.sort(chosen)], "width": width}
        )

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """−log p(x)."""
        atoms = Atoms.from_arrays(below(fold, ATOMS), len(self.inputs))
        x = atoms.spread(input_matrix(columns, self.inputs), columns["mjj"])
        transform = restored_transform(self.options.transform, below(fold, TRANSFORM), x.shape[1])
        z, log_jacobian = transform.forward(x)
        return -(_log_density(z.astype(np.float64), fold["reference"], fold["width"]) + log_jacobian)

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod`."""
        n_inputs = len(self.inputs)
        Atoms.from_arrays(below(fold, ATOMS), n_inputs)
        restored_transform(self.options.transform, below(fold, TRANSFORM), n_inputs)
        reference = take(fold, "reference", "float64", None, n_inputs)
        width = take(fold, "width", "float64", n_inputs)
        if not (
            len(reference) and np.isfinite(reference).all() and np.isfinite(width).all() and np.all(width > 0)
        ):
            msg = "the kernels' places or widths are not those of a sample"
            raise ValueError(msg)


def _log_density(z: FloatArray, reference: FloatArray, width: FloatArray) -> FloatArray:
    norm = np.log(len(reference)) + np.log(width).sum() + 0.5 * z.shape[1] * np.log(2.0 * np.pi)
    return np.asarray(log_kernel_sums(z / width, reference / width) - norm)


def _best_factor(
    z: FloatArray, validation: npt.NDArray[np.bool_], width: FloatArray, events: int, rng: np.random.Generator
) -> float:
    """Factor of the width that gives validation events the largest likelihood, with as many kernels as will be used."""
    held = rng.permutation(z[validation])[:VALIDATION_EVENTS]
    reference = rng.permutation(z[~validation])[:events]
    likelihood = [float(_log_density(held, reference, width * factor).mean()) for factor in FACTORS]
    return FACTORS[int(np.argmax(likelihood))]
