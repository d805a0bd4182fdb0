"""Residual ANODE: only the signal's density is learnt in the signal region, beside a frozen background density."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from data.eventid import N_INNER
from data.types import FloatArray
from models.arrays import Arrays, below, prefixed, take
from models.base import register
from models.density import (
    PAPER_FLOW,
    QUICK_FLOW,
    DensityProblem,
    SplineSettings,
    context_of,
    fold_latent,
)
from models.folds import TrainingSample, most_rows
from models.jobs import Member, Schedule, StackJob, Training
from models.networks import flows
from models.networks.flows import SplineFlow
from models.networks.residual import FRACTION, INPUTS, MASS, ResidualFlow, log_normal
from models.outer_density import OuterDensityMethod, OuterDensityOptions
from models.regions import SIGNAL, Interval
from models.stack import merged_arrays
from models.transforms import RankToNormal, fit_transform

OUTER, MIXTURE, MASS_TRANSFORM = "background/", "signal/", "mass/transform/"


class RAnodeOptions(OuterDensityOptions):
    """Options of ``r_anode``; ``flow`` describes the background, ``signal`` the density that is learnt beside it."""

    signal: SplineSettings = SplineSettings(
        transforms=2,
        hidden=(32,),
        schedule=Schedule(epochs=12, batch=512, learning_rate=4e-3, decay="one_cycle"),
    )
    """Density of the signal in the background's latent space. By the validation likelihood of 29,000 simulated dijets
    with 330 signal events, three times as many steps are no better, one transform is worse."""
    mass_in_score: bool = False
    """Whether the density of mjj itself counts in the score, as in the paper. It prefers events where the signal's mjj
    peaks: best for finding signal events, but a selection by it makes a peak of background."""


def power_law(mjj: FloatArray, region: Interval) -> float:
    """Slope a of the density ∝ mjj^(a − 1) inside a region, by maximum likelihood.

    Parameters
    ----------
    mjj
        GeV, inside the region, shape (events,).
    region
        Edges, GeV.

    Returns
    -------
    float
        −60 … 60. One number for a whole region cannot follow a resonance in it.
    """
    width = np.log(region[1] / region[0])
    wanted = float(np.mean(np.log(mjj / region[0]))) / width

    def excess(a: float) -> float:
        # Mean of an exponential of slope a on (0, 1), by its series where that is near flat.
        mean = 0.5 + a / 12.0 if abs(a) < 1e-4 else 1.0 / -np.expm1(-a) - 1.0 / a
        return float(mean - wanted)

    edge = 60.0 * width
    if excess(-edge) >= 0 or excess(edge) <= 0:
        return -60.0 if wanted < 0.5 else 60.0
    return float(brentq(excess, -edge, edge) / width)


def log_power_law(mjj: FloatArray, slope: float, region: Interval) -> FloatArray:
    """Log density of mjj inside a region, for a power law.

    Parameters
    ----------
    mjj
        GeV, shape (events,), inside the region.
    slope
        a of the density ∝ mjj^(a − 1), as `power_law` gives it.
    region
        Edges, GeV.

    Returns
    -------
    numpy.ndarray
        Log of the density in 1/GeV, float64, shape (events,).
    """
    low, high = np.log(region[0]), np.log(region[1])
    a = slope if abs(slope) > 1e-6 else 1e-6
    norm = np.log(abs(a)) - np.log(abs(np.expm1(a * (high - low)))) - a * low
    return np.asarray(norm + (a - 1.0) * np.log(mjj))


@register
class RAnode(OuterDensityMethod):
    """Residual anomaly detection with density estimation.

    The background's density is that of a flow learnt in the side bands, times a power law of mjj fitted to the signal
    region. With it frozen, a second flow learns in the signal region what is left over: data = (1 − w) background +
    w signal, the fraction w of signal learnt as well. The score is the logarithm of signal over background density at
    the event's mjj; the density of mjj itself does not count unless ``mass_in_score`` says so.

    The signal's flow follows the background's (of an ensemble, its best network): it acts on the latent values of the
    background's flow, where background is a standard normal distribution. So it begins at the background's density and
    learns where data exceed it; one that begins elsewhere finds first the tails that the background's flow describes
    badly, and often nothing else. w is not the share of signal events: the signal's density may hold background as
    well, which leaves the order of the scores as it is.

    *Assumes* that the background's density changes smoothly with mjj and its rate there follows a power law. *Is blind
    to* signals that fill the side bands as well; where the interpolation is wrong, the signal's flow learns its error.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `RAnodeOptions`.

    References
    ----------
    R. Das, G. Kasieczka, D. Shih, "Residual ANODE", arXiv:2312.11629.
    """

    name = "r_anode"
    summary = "Residual ANODE: signal density learnt beside a frozen background density (arXiv:2312.11629)"
    family = "weak supervision"
    flat = False
    score_is = "log p of the signal − log p of the interpolated background"
    options_type = RAnodeOptions
    options: RAnodeOptions
    presets: ClassVar = {
        "quick": {"flow": QUICK_FLOW, "signal": QUICK_FLOW},
        "paper": {
            "side_bands": "all",
            "flow": PAPER_FLOW,
            "signal": {
                "transforms": 6,
                "schedule": {
                    "epochs": 300,
                    "batch": 256,
                    "learning_rate": 3e-4,
                    "decay": "constant",
                    "weight_decay": 1e-2,
                    "keep": 10,
                },
                "least_steps": 1,
            },
            "mass_in_score": True,
        },
    }

    @property
    def _network(self) -> ResidualFlow:
        return ResidualFlow(
            self.options.signal.network(len(self.inputs)), SplineFlow(1, 0, transforms=2, hidden=(16,))
        )

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Background density, then signal density and fraction; see `FoldTraining.train_fold`."""
        outer = yield from self.outer_density(sample, fold)
        inside = self.window.of(sample.columns["mjj"]) == SIGNAL
        problem = self.problem(sample, inside, fold, self.atoms(outer))
        known = self._mass(problem)
        rows = most_rows(sample.fold[inside]) * (N_INNER - 1) // N_INNER
        (result,) = yield [self._job(fold, outer, known, problem, self.options.signal.schedule_for(rows))]
        return prefixed(OUTER, outer) | known | prefixed(MIXTURE, merged_arrays(result.networks))

    def _mass(self, problem: DensityProblem) -> Arrays:
        """Transform of mjj and the background's slope."""
        transform = fit_transform("rank", problem.mjj[:, None])
        slope = power_law(problem.mjj, self.window.signal)
        return prefixed(MASS_TRANSFORM, transform.arrays()) | {"mass/slope": np.array([slope])}

    def _coordinates(
        self, fold: Mapping[str, npt.NDArray[Any]], x: npt.NDArray[np.float32], mjj: FloatArray
    ) -> tuple[dict[str, npt.NDArray[np.float32]], FloatArray]:
        """What the signal's flows see, and the log density of the background's mjj there."""
        background = below(fold, OUTER)
        latent = fold_latent(background, self.options.flow, x, mjj)
        transform = RankToNormal.from_arrays(below(fold, MASS_TRANSFORM), 1)
        mass, log_jacobian = transform.forward(mjj[:, None])
        of_mass = log_power_law(mjj, float(fold["mass/slope"][0]), self.window.signal) - log_jacobian
        return {"x": latent, "context": context_of(background, mjj), "mass": mass}, of_mass

    def _job(
        self, fold: int, background: Arrays, known: Arrays, problem: DensityProblem, schedule: Schedule
    ) -> StackJob:
        arrays = prefixed(OUTER, background) | known
        data, of_mass = self._coordinates(arrays, problem.x, problem.mjj)
        data |= {
            "background": (log_normal(data["x"]) + of_mass).astype(np.float32),
            "weight": (problem.weight / problem.weight.mean()).astype(np.float32),
        }
        seed = self.seeds(fold, "signal")
        members = tuple(
            Member(
                np.flatnonzero(problem.split != number),
                np.flatnonzero(problem.split == number),
                seed("split", number),
            )
            for number in range(self.options.signal.members)
        )
        return StackJob(self._network, schedule, data, members)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Log of signal over background density."""
        x, mjj = self.continuous(below(fold, OUTER), columns), self.nearest_mass(columns["mjj"])
        seen, of_mass = self._coordinates(fold, x, mjj)
        network, mixture = self._network, below(fold, MIXTURE)
        signal = flows.density(network.inputs, below(mixture, INPUTS), seen["x"], seen["context"])
        ratio = signal - log_normal(seen["x"])
        if self.options.mass_in_score:
            mass = flows.density(network.mass, below(mixture, MASS), seen["mass"], seen["mass"][:, :0])
            ratio += mass - of_mass
        return ratio

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod`."""
        self.check_outer(below(fold, OUTER))
        RankToNormal.from_arrays(below(fold, MASS_TRANSFORM), 1)
        mixture = below(fold, MIXTURE)
        flows.check(self._network.inputs, below(mixture, INPUTS))
        flows.check(self._network.mass, below(mixture, MASS))
        slope = take(fold, "mass/slope", "float64", 1)
        fraction = take(mixture, FRACTION, "float32", None, 1)
        if not (np.isfinite(slope).all() and np.isfinite(fraction).all()):
            msg = "the slope of mjj or the fraction of signal is not finite"
            raise ValueError(msg)
