"""A signal density beside a background density that is known: the mixture of residual ANODE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.types import FloatArray
from models.networks.base import Batch, Network, Noise, Parameters
from models.networks.flows import Flow, log_prob
from models.preprocessing import Inputs
from models.torch_later import torch

INPUTS, MASS, FRACTION = "inputs/", "mass/", "fraction"
START = (0.03, 0.05)
"""The fraction of signal begins between these. From the authors' 0.001 to 0.01 it often falls to 0 before the signal's
density has found anything, in the few steps that are taken here."""
LOGIT_SCALE = 20.0
"""The logit of the fraction in units of its parameter, which moves no faster than the learning rate."""


def log_normal(x: Inputs) -> FloatArray:
    """Log density of the standard normal distribution.

    Parameters
    ----------
    x
        Shape (rows, inputs).

    Returns
    -------
    numpy.ndarray
        float64, shape (rows,), summed over inputs.
    """
    squares = np.square(x, dtype=np.float64).sum(axis=1)
    return np.asarray(-0.5 * (squares + x.shape[1] * math.log(2.0 * math.pi)))


@dataclass(frozen=True)
class ResidualFlow(Network):
    """Learns signal density and signal fraction w from −log((1 − w) p_background + w p_signal).

    The signal's joint density of inputs and mjj is a density of mjj times one of the inputs given mjj.

    Parameters
    ----------
    inputs
        Flow of the inputs given mjj.
    mass
        Flow of mjj, without context.

    References
    ----------
    R. Das, G. Kasieczka, D. Shih, "Residual ANODE", arXiv:2312.11629.
    """

    inputs: Flow
    mass: Flow

    def initial(self, generator: torch.Generator) -> Parameters:
        """See `Network`."""
        parameters = {INPUTS + name: value for name, value in self.inputs.initial(generator).items()}
        parameters |= {MASS + name: value for name, value in self.mass.initial(generator).items()}
        low, high = START
        fraction = low + (high - low) * float(torch.rand(1, generator=generator))
        return parameters | {FRACTION: torch.tensor([math.log(fraction / (1.0 - fraction)) / LOGIT_SCALE])}

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Weight times −log of the mixture's density.

        Batch arrays: ``x`` inputs, ``context``, ``mass`` as the flow of mjj sees it, ``background`` log density of the
        background in these coordinates, ``weight``.
        """
        inputs, mass = (
            {name.removeprefix(part): value for name, value in parameters.items() if name.startswith(part)}
            for part in (INPUTS, MASS)
        )
        signal = log_prob(self.inputs, inputs, batch["x"], batch["context"])
        signal = signal + log_prob(self.mass, mass, batch["mass"], batch["mass"][..., :0])
        share = parameters[FRACTION] * LOGIT_SCALE
        logs = torch.logaddexp(
            batch["background"] + torch.nn.functional.logsigmoid(-share),
            signal + torch.nn.functional.logsigmoid(share),
        )
        return -batch["weight"] * logs
