"""Autoencoder of the jets' particles with a cut at a quantile that follows mjj, as CMS-EXO-22-026 ran it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import InputError, TrainingError
from data.eventid import N_FOLDS, N_INNER, inner_split
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays
from models.base import register
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Member, Schedule, StackJob, Training
from models.networks.scoring import in_batches, tensors
from models.networks.vae import COORDINATES, LEAST_PARTICLES, ParticleVae
from models.options import MethodOptions
from models.preprocessing import Inputs, standardisation
from models.regions import HIGH, LOW, SIGNAL
from models.stack import merged_arrays

COLUMNS = ("constituents_j1", "constituents_j2")
JETS_AT_ONCE = 256
"""Jets of one scoring batch; distances of all pairs of their particles fit the cache."""
FRAMED_AT_ONCE = 4096
"""Jets whose momenta are held in double precision."""


class VaeQrOptions(MethodOptions):
    """Options of ``vae_qr``."""

    particles: int = pydantic.Field(default=50, ge=LEAST_PARTICLES, le=1000)
    """Hardest particles of a jet that are used; 100 in the search. The time of training is in proportion."""
    frame: Literal["jet", "lab"] = "jet"
    """``jet``: momenta are turned and boosted along the beam so that the jet lies at φ = 0 and rapidity 0, where
    background looks the same everywhere; ``lab``: momenta as they are."""
    latent: int = pydantic.Field(default=12, ge=1, le=1000)
    """Dimensions of the latent space; the dense layers have 17 and 4 times as many units."""
    beta: float = pydantic.Field(default=0.01, ge=0)
    """Weight of the KL divergence in the loss; the search trained with 0.5 at last."""
    kl_weight: float = pydantic.Field(default=0.5, ge=0)
    """Weight of the KL divergence in the score."""
    members: int = pydantic.Field(default=1, ge=1, le=N_INNER)
    """Networks a fold, each validating on another quarter of the events; their scores are averaged."""
    most_jets: int = pydantic.Field(default=100_000, ge=100)
    """A network learns from at most so many jets, drawn at random from those allowed."""
    schedule: Schedule = Schedule(
        epochs=15, batch=256, learning_rate=2e-3, decay="one_cycle", patience=8, clip=1.0
    )
    """The search trained up to 400 epochs on some ten million jets; see the preset ``paper``."""
    decorrelate: Literal["none", "quantile"] = "quantile"
    """``none`` leaves a cut that keeps more at high mjj."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The constituents of both jets."""
        return COLUMNS


def jet_frame(constituents: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Momenta turned about and boosted along the beam so that their sum has φ = 0 and rapidity 0.

    Parameters
    ----------
    constituents
        px, py, pz (GeV) of massless particles, shape (jets, particles, 3); zeros where there is none.

    Returns
    -------
    numpy.ndarray
        float64, the same shape.
    """
    momenta = constituents.astype(np.float64)
    energy = np.sqrt((momenta**2).sum(axis=2))
    total, total_energy = momenta.sum(axis=1), energy.sum(axis=1)
    pt, mt = np.hypot(total[:, 0], total[:, 1]), np.sqrt(np.maximum(total_energy**2 - total[:, 2] ** 2, 0.0))
    cosine, sine = (np.divide(total[:, k], pt, out=np.zeros_like(pt), where=pt > 0)[:, None] for k in (0, 1))
    gamma, gamma_beta = (
        np.divide(value, mt, out=np.zeros_like(mt), where=mt > 0)[:, None]
        for value in (total_energy, total[:, 2])
    )
    px, py, pz = momenta[:, :, 0], momenta[:, :, 1], momenta[:, :, 2]
    turned = (cosine * px + sine * py, cosine * py - sine * px, gamma * pz - gamma_beta * energy)
    return np.stack(turned, axis=2)


@dataclass(frozen=True)
class _DrawnJets:
    """The jets that networks learn from: their rows, ascending, their particles, and the two parts of each network's."""

    rows: IntArray
    x: Inputs
    of_network: list[list[tuple[IntArray, IntArray]]]


def _constituents(columns: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    """Momenta of the particles of each event's jet, shape (events, particles, 3)."""
    constituents = columns[name]
    if constituents.ndim != 3 or constituents.shape[2] != COORDINATES:
        msg = (
            f"column '{name}': expected px, py, pz of the particles of each event's jet, shape (events, "
            f"particles, 3), found {constituents.shape}; skim with features.constituents: true"
        )
        raise InputError(msg)
    return constituents


@register
class VaeQr(FoldedMethod):
    """Jets that an autoencoder of ordinary jets cannot reproduce, at a cut that keeps the mjj spectrum as it is.

    A variational autoencoder learns the particles of jets where no signal is expected: events of large |Δη| if the
    table ``wide`` is given, else events outside the signal region. One network serves both jets. A jet's score is the
    distance between its particles and their reconstruction plus half the KL divergence of its latent distribution;
    an event's is the *smaller* of its two jets', so that both must be odd. The cut is a quantile of the score as a
    function of mjj, found by quantile regression, so that the same fraction of the background passes at every mass.

    The search took momenta in the laboratory, 100 particles, and millions of jets; by default the jet's own frame and
    50 particles are used here, with which fewer jets suffice. How places without particles are treated, and a loss of
    which each particle has an equal share whatever their number, are choices of this package.

    *Assumes* that ordinary jets are well described by what the network learns, and that the signal's jets are both
    harder to reproduce. *Is blind to* signals of one odd jet, to signal jets simpler than ordinary ones, and, without
    ``wide``, to signals that are also common outside the signal region.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `VaeQrOptions`.

    References
    ----------
    CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395. D. P. Kingma, M. Welling, "Auto-Encoding Variational
    Bayes", arXiv:1312.6114.
    """

    name = "vae_qr"
    summary = "Autoencoder of both jets' particles, cut at a quantile that follows mjj (arXiv:2412.03747)"
    family = "unsupervised"
    options_type = VaeQrOptions
    options: VaeQrOptions
    score_is = "smaller of both jets' reconstruction distance + KL divergence"
    flat = True
    bands = (LOW, HIGH)
    takes: ClassVar[Mapping[str, bool]] = {"wide": False}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "particles": 20,
            "latent": 6,
            "most_jets": 4000,
            "schedule": {"epochs": 8, "batch": 128, "learning_rate": 3e-3, "decay": "one_cycle"},
        },
        "paper": {
            "particles": 100,
            "frame": "lab",
            "most_jets": 10_000_000,
            "schedule": {
                "epochs": 400,
                "batch": 256,
                "learning_rate": 1e-3,
                "decay": "constant",
                "clip": 0.0,
                "plateau": 3,
                "plateau_factor": 0.3,
                "patience": 30,
            },
        },
    }

    @property
    def _network(self) -> ParticleVae:
        return ParticleVae(self.options.particles, self.options.latent, self.options.beta)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """One autoencoder or more, each standardised with its own training jets; see `FoldTraining.train_fold`."""
        source = extras.get("wide", sample)
        drawn = source.once(f"{self.name}: drawn", lambda: self._drawn(source, wide="wide" in extras))
        members = []
        for number in range(self.options.members):
            fitted, validation = (
                np.searchsorted(drawn.rows, rows) for rows in drawn.of_network[fold][number]
            )
            particles = drawn.x[fitted].reshape(-1, COORDINATES)
            mean, deviation = standardisation(particles[(particles != 0).any(axis=1)])
            buffers = {"mean": mean[None], "deviation": deviation[None]}
            seed = self.seeds(fold, "split", number)("network")
            members.append(Member(fitted, validation, seed, buffers))
        (result,) = yield [StackJob(self._network, self.options.schedule, {"x": drawn.x}, tuple(members))]
        return merged_arrays(result.networks)

    def _drawn(self, source: TrainingSample, *, wide: bool) -> _DrawnJets:
        allowed = np.full(len(source.fold), fill_value=True)
        if not wide:
            allowed = self.window.of(source.columns["mjj"]) != SIGNAL
        jets = [_constituents(source.columns, name)[:, : self.options.particles] for name in COLUMNS]
        filled = np.stack([(own != 0).any(axis=(1, 2)) for own in jets], axis=1) & allowed[:, None]
        of_network = [
            [self._parts(source, filled.ravel(), fold, number) for number in range(self.options.members)]
            for fold in range(N_FOLDS)
        ]
        rows = np.unique(np.concatenate([part for fold in of_network for parts in fold for part in parts]))
        x = np.empty((len(rows), self.options.particles, COORDINATES), dtype=np.float32)
        for jet, name in enumerate(COLUMNS):
            own = rows % len(COLUMNS) == jet
            x[own] = self._framed(source.columns[name][rows[own] // len(COLUMNS)])
        return _DrawnJets(rows, x, of_network)

    def _parts(
        self, source: TrainingSample, usable: BoolArray, fold: int, number: int
    ) -> tuple[IntArray, IntArray]:
        """Rows of the jets that a network learns from and validates on, both jets of an event on the same side."""
        split = np.repeat(inner_split(source.batch, fold), len(COLUMNS))
        rng = np.random.default_rng(self.seeds(fold, "split", number)("jets"))
        parts = []
        for share, mask in ((0.75, split != number), (0.25, split == number)):
            jets = np.flatnonzero(usable & (split >= 0) & mask)
            if len(jets) == 0:
                msg = (
                    f"fold {fold}: inner split {number} leaves no jet with constituents to train or validate on; "
                    "check the columns constituents_j1 and constituents_j2, add events, or give the table 'wide'"
                )
                raise TrainingError(msg)
            most = max(int(share * self.options.most_jets), 1)
            parts.append(np.sort(rng.permutation(jets)[:most]))
        return parts[0], parts[1]

    def _jets(self, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Particles of both jets, the jets of an event following each other, float32, shape (2·events, particles, 3)."""
        jets = [self._framed(_constituents(columns, name)) for name in COLUMNS]
        return np.stack(jets, axis=1).reshape(-1, *jets[0].shape[1:])

    def _framed(self, constituents: npt.NDArray[Any]) -> Inputs:
        """The hardest particles in the frame wanted, float32, shape (jets, particles, 3)."""
        wanted = self.options.particles
        padded = np.zeros((len(constituents), wanted, COORDINATES), dtype=np.float32)
        for first in range(0, len(constituents), FRAMED_AT_ONCE):
            block = constituents[first : first + FRAMED_AT_ONCE]
            momenta = jet_frame(block) if self.options.frame == "jet" else block
            padded[first : first + len(block), : momenta.shape[1]] = momenta[:, :wanted]
        return padded

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Smaller of both jets' scores, each the mean of the fold's networks."""
        network, parameters = self._network, tensors(fold)
        members = len(fold["in0/weight0"])
        terms = in_batches(
            lambda jets: network.terms(parameters, jets.expand(members, -1, -1, -1)).mean(dim=0),
            self._jets(columns),
            JETS_AT_ONCE,
        )
        of_jets = terms[:, 0] + self.options.kl_weight * terms[:, 1]
        return np.asarray(of_jets.reshape(-1, 2).min(axis=1))

    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays that no training could have made."""
        self._network.check(fold)
