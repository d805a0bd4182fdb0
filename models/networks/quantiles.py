"""Network of one input that gives several quantiles at once, trained with the pinball loss."""

from __future__ import annotations

from dataclasses import dataclass

from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.networks.dense import Activation, apply_layers, initial_layers
from models.torch_later import torch


def pinball_loss(difference: torch.Tensor, quantiles: torch.Tensor) -> torch.Tensor:
    """ρ_q(u) = max(q·u, (q − 1)·u) of u = value − prediction; its mean is least at the values' quantile q.

    Parameters
    ----------
    difference
        Value minus prediction, any shape.
    quantiles
        q, of a shape that broadcasts against it.

    Returns
    -------
    torch.Tensor
        Not negative.

    References
    ----------
    R. Koenker, G. Bassett, "Regression Quantiles", Econometrica 46 (1978) 33.
    """
    return torch.maximum(quantiles * difference, (quantiles - 1.0) * difference)


@dataclass(frozen=True)
class QuantileNetwork(Network):
    """Conditional quantiles of log(s/(1 − s)), s a rank in [0, 1], as functions of mass.

    The last layer starts at zero and is added to logit(q), the quantiles of ranks that do not depend on the mass:
    what little data cannot tell stays uncorrelated. A row is a few events of neighbouring masses that share one
    evaluation of the network: ``mass`` (1,), ``value`` (events,) logits of the scores, ``weight`` (events,). Buffers
    ``mean`` and ``deviation`` (1, 1) standardise the mass.

    Parameters
    ----------
    quantiles
        Ascending, between 0 and 1.
    layers, units
        Hidden ELU layers.
    """

    quantiles: tuple[float, ...]
    layers: int
    units: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The mass, hidden layers, quantiles."""
        return (1, *(self.units,) * self.layers, len(self.quantiles))

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        parameters = initial_layers(self.sizes, generator)
        for name in (f"weight{self.layers}", f"bias{self.layers}"):
            parameters[name] = torch.zeros_like(parameters[name])
        return parameters

    def curves(self, parameters: Parameters, mass: torch.Tensor) -> torch.Tensor:
        """Quantiles of the logits at masses.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        mass
            In the units of the job's data (GeV), shape (members, rows, 1).

        Returns
        -------
        torch.Tensor
            Shape (members, rows, quantiles); neighbouring quantiles may cross.
        """
        scaled = (mass - parameters[f"{BUFFER}mean"]) / parameters[f"{BUFFER}deviation"]
        activations: list[Activation] = ["elu"] * self.layers
        offsets = apply_layers(parameters, scaled, activations)
        return offsets + torch.logit(self._levels(offsets))

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """Mean over a row's events of the pinball losses, each divided by √(q(1 − q)), the spread of its gradient."""
        predicted = self.curves(parameters, batch["mass"])
        levels = self._levels(predicted)
        spread = torch.sqrt(levels * (1.0 - levels))
        losses = pinball_loss(batch["value"][..., None] - predicted[:, :, None, :], levels) / spread
        return (losses.sum(dim=-1) * batch["weight"]).mean(dim=-1)

    def _levels(self, like: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.quantiles, dtype=like.dtype, device=like.device)
