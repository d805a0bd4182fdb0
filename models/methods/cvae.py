"""Background interpolated by a conditional variational autoencoder, then the classifier of CATHODE."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import pydantic

from data.sections import Section
from data.types import FloatArray
from models.arrays import Arrays
from models.atoms import Atoms
from models.base import register
from models.classifiers import LHCO_MLP
from models.interpolation import Comparison, FoldRows, InterpolatedMethod, InterpolationOptions
from models.jobs import Member, Schedule, StackJob, Training
from models.networks.conditional_vae import ConditionalVae
from models.networks.dense import Layers
from models.networks.scoring import in_batches, tensors
from models.preprocessing import Inputs
from models.torch_later import torch
from models.transforms import Transform, fit_transform

CVAE_INPUTS = ("m_j1", "delta_m", "tau21_j1", "tau21_j2")
WIDTH_FLOOR = 0.05
"""Added to distances from the mean before their logarithm is taken: events at the mean must not decide the width."""
NORMAL_LOG_WIDTH = 0.53
VALIDATION_SPLIT = 0
"""Inner split whose side-band events validate the generator."""


class VaeSettings(Section):
    """The conditional autoencoder.

    Its authors publish neither layers nor the scale of their inputs, on which β depends. Here inputs are normal
    quantiles, with a mean and a width that are parabolas in log mjj taken out. β = 10⁻⁶, their number, leaves the
    latent variables free to follow mjj: on simulated dijets a classifier told the background it generated from the
    true one with an area under the curve of 0.56 to 0.63, at β = 0.03 of 0.51 (with the parabolas 0.506).
    """

    hidden: Layers = (64, 64)
    """Hidden layers of the encoder; the decoder's are the same in reverse."""
    latent: int = pydantic.Field(default=0, ge=0)
    """Latent variables; 0: as many as inputs."""
    beta: float = pydantic.Field(default=0.03, ge=0, lt=1)
    """Weight of the divergence against the mean squared error."""
    schedule: Schedule = Schedule(epochs=20, batch=1024, learning_rate=3e-3, decay="one_cycle")


class CvaeOptions(InterpolationOptions):
    """Options of ``cvae``."""

    features: tuple[str, ...] = CVAE_INPUTS
    """Input columns; τ32 of both jets may be added."""
    side_bands: Literal["window", "all"] = "window"
    """Where the background is learnt: in the window's two side bands, or (``all``) everywhere outside the signal
    region, which takes longer; codes of events far away help little."""
    vae: VaeSettings = VaeSettings()


@dataclass(frozen=True)
class _Generator:
    """A fold's autoencoder with what it was trained on.

    Parameters
    ----------
    network
        Kind of network.
    atoms, transform
        From inputs to what the network sees.
    x, context
        Side-band events as the network sees them: (rows, inputs) and (rows, 1), float32.
    scale
        Mean and standard deviation of log mjj.
    trend
        Coefficients of the inputs' means and logarithms of widths as functions of the context, each (terms, inputs).
    """

    network: ConditionalVae
    atoms: Atoms
    transform: Transform
    x: Inputs
    context: Inputs
    scale: tuple[float, float]
    trend: tuple[FloatArray, FloatArray]

    @classmethod
    def of(cls, rows: FoldRows, settings: VaeSettings) -> Self:
        """Prepare the training of a fold."""
        atoms = Atoms.fit(rows.band)
        spread = atoms.spread(rows.band, rows.band_mjj)
        transform = fit_transform("rank", spread)
        x, _ = transform.forward(spread)
        logs = np.log(rows.band_mjj)
        scale = float(logs.mean()), float(logs.std())
        context = _context(rows.band_mjj, scale)
        trend = _trend(x, context)
        center, width = _followed(trend, context)
        n_inputs = x.shape[1]
        network = ConditionalVae(n_inputs, settings.latent or n_inputs, settings.hidden, settings.beta)
        seen = ((x - center) / width).astype(np.float32)
        return cls(network, atoms, transform, seen, context, scale, trend)

    def job(self, rows: FoldRows, schedule: Schedule) -> StackJob:
        """One network, which validates on an inner quarter of the side bands."""
        fitted, validation = (
            np.flatnonzero(mask)
            for mask in (rows.band_split != VALIDATION_SPLIT, rows.band_split == VALIDATION_SPLIT)
        )
        member = Member(fitted, validation, rows.seeds("vae"))
        return StackJob(self.network, schedule, {"x": self.x, "context": self.context}, (member,))

    def generated(self, arrays: Arrays, mjj: FloatArray, seed: int) -> Inputs:
        """Background at masses ``mjj`` (GeV): codes of side-band events, decoded there.

        Each event keeps what the decoder missed of the side-band event whose code it has. That is the decoder's noise:
        drawn from the events themselves it holds its correlations with the code, which a Gaussian would lose.
        """
        rng = np.random.default_rng(seed)
        parameters = tensors({name: array[:1] for name, array in arrays.items()})
        latent = self.network.latent

        def encode(rows: torch.Tensor) -> torch.Tensor:
            mean, log_variance = self.network.encoded(parameters, rows[None, :, :-1], rows[None, :, -1:])
            return torch.cat([mean[0], log_variance[0]], dim=-1)

        def decode(rows: torch.Tensor) -> torch.Tensor:
            return self.network.decoded(parameters, rows[None, :, :-1], rows[None, :, -1:])[0]

        chosen = rng.integers(0, len(self.x), len(mjj))
        x, context = self.x[chosen], self.context[chosen]
        code = in_batches(encode, np.concatenate([x, context], axis=1))
        z = code[:, :latent] + np.exp(0.5 * code[:, latent:]) * rng.standard_normal((len(mjj), latent))
        target = _context(mjj, self.scale)
        there, here = (
            in_batches(decode, np.concatenate([z.astype(np.float32), at], axis=1)) for at in (context, target)
        )
        center, width = _followed(self.trend, target)
        moved = ((here + (x - there)) * width + center).astype(np.float32)
        return self.atoms.gathered(self.transform.inverse(moved))


def _context(mjj: FloatArray, scale: tuple[float, float]) -> Inputs:
    mean, deviation = scale
    return np.asarray((np.log(mjj) - mean) / deviation, dtype=np.float32)[:, None]


def _powers(context: Inputs) -> FloatArray:
    """1, context, context²; beyond three deviations the context counts as three, where events are few."""
    inner = np.clip(context[:, 0].astype(np.float64), -3.0, 3.0)
    return np.stack([np.ones_like(inner), inner, inner**2], axis=1)


def _trend(x: Inputs, context: Inputs) -> tuple[FloatArray, FloatArray]:
    """Parabolas of the inputs' means, and of the logarithms of their widths."""
    powers = _powers(context)
    means = np.linalg.lstsq(powers, x.astype(np.float64), rcond=None)[0]
    distance = np.abs(x - powers @ means)
    widths = np.linalg.lstsq(powers, np.log(distance + WIDTH_FLOOR), rcond=None)[0]
    return np.asarray(means), np.asarray(widths)


def _followed(trend: tuple[FloatArray, FloatArray], context: Inputs) -> tuple[FloatArray, FloatArray]:
    """Mean and width of the inputs at each context, (rows, inputs), up to a common factor of the widths."""
    means, widths = trend
    powers = _powers(context)
    # The factor of log |x| of a normal variable: exp(−(ln 2 + γ)/2) ≈ 0.53.
    return powers @ means, np.exp(powers @ widths) / NORMAL_LOG_WIDTH


@register
class Cvae(InterpolatedMethod):
    """Interpolation of the background by a conditional variational autoencoder.

    An autoencoder that knows mjj learns the side bands. Codes of side-band events decoded at masses of the signal
    region give the background there, and a classifier tells the signal region's data from it, as in CATHODE. The
    latent variables are drawn from those of the side-band events (the aggregate posterior) and the decoder's noise
    from its residuals: draws from N(0, 1) with Gaussian noise were told from true background with an area under the
    curve of 0.56 to 0.60, these with 0.51.

    *Assumes* that inputs change smoothly and little with mjj, and that the latent variables do not depend on mjj, to
    which the divergence in the loss drives them. Where an input's mean moves by several of its widths between the bands
    the interpolation does not close (on a toy that shifts by 95 GeV at a width of 24 GeV the background it generated was
    told from the true one with an area under the curve of 0.58): use `cathode` there. *Is blind to* signals that fill
    the side bands as well, to anything that its inputs do not show, and to signals too weak for the classifier to learn.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CvaeOptions`.

    References
    ----------
    E. E. Khoda et al., talk at ML4Jets 2022. A. Hallin et al., "Classifying anomalies through outer density
    estimation", Phys. Rev. D 106 (2022) 055006, arXiv:2109.00546 (the classifier). P. Ghosh et al., "From variational
    to deterministic autoencoders", arXiv:1903.12436 (sampling from the codes of the training events).
    """

    name = "cvae"
    summary = (
        "Background interpolated by a conditional variational autoencoder, then a classifier (ML4Jets 2022)"
    )
    options_type = CvaeOptions
    flat = False
    presets: ClassVar = {
        "quick": {
            "oversampling": 2.0,
            "vae": {"hidden": (32,), "schedule": {"epochs": 8, "batch": 512}},
            "trees": {"bags": 2, "iterations": 50},
            "mlp": {"bags": 1, "schedule": {"epochs": 8}},
        },
        "paper": {
            "side_bands": "all",
            "vae": {
                "beta": 1e-6,
                "schedule": {"epochs": 100, "batch": 256, "learning_rate": 1e-3, "decay": "constant"},
            },
            "classifier": "mlp",
            "mlp": LHCO_MLP,
        },
    }
    options: CvaeOptions

    def compared(self, rows: FoldRows) -> Training[Comparison]:
        """Train the autoencoder and generate the signal region's background with it."""
        generator = _Generator.of(rows, self.options.vae)
        (result,) = yield [generator.job(rows, self.options.vae.schedule)]
        background = generator.generated(result.networks[0], self.masses(rows), rows.seeds("generated"))
        return Comparison(rows.signal, background)
