"""A network that learns from the class proportions of samples, and from no label of any event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.networks.base import BUFFER, Batch, Network, Noise, Parameters
from models.networks.dense import Activation, apply_layers, initial_layers
from models.torch_later import torch

Distance = Literal["squared", "absolute"]


@dataclass(frozen=True)
class ProportionNetwork(Network):
    """A dense network whose mean output over each of several samples is to be that sample's signal fraction.

    The loss of a batch is the sum over samples of the distance between the weighted mean output and the fraction; every
    row carries the value of its batch. The mean of n outputs scatters by their variance / n, so the squared distance
    of batches is on average that of the whole samples plus this variance: many functions have the right means, small
    batches choose among them the one that varies least, which is the least-squares classifier of the samples. Fractions
    further apart than the classes can be told apart are not reached; the outputs then order events all the same.

    Data: ``x`` float32 (rows, inputs), ``share`` float32 (rows, samples), a row's weight in the column of its sample and
    0 in the others. Buffers ``mean`` and ``deviation`` (1, inputs) standardise the inputs.

    Parameters
    ----------
    n_inputs
        Number of inputs, in their units.
    hidden
        Units of each hidden layer.
    fractions
        Signal fraction of each sample, 0 … 1, shape (samples,).
    distance
        Between a sample's mean output and its fraction.

    References
    ----------
    L. M. Dery, B. Nachman, F. Rubbo, A. Schwartzman, "Weakly supervised classification in high energy physics",
    JHEP 05 (2017) 145, arXiv:1702.00414.
    """

    n_inputs: int
    hidden: tuple[int, ...]
    fractions: tuple[float, ...]
    distance: Distance = "squared"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, hidden layers, output."""
        return (self.n_inputs, *self.hidden, 1)

    def initial(self, generator: torch.Generator) -> Parameters:
        """Weights of one member."""
        return initial_layers(self.sizes, generator)

    def outputs(self, parameters: Parameters, x: torch.Tensor) -> torch.Tensor:
        """Outputs of raw inputs.

        Parameters
        ----------
        parameters
            With the axis of members, the buffers among them.
        x
            Inputs in their units, shape (members, rows, inputs).

        Returns
        -------
        torch.Tensor
            Between 0 and 1, shape (members, rows).
        """
        scaled = (x - parameters[f"{BUFFER}mean"]) / parameters[f"{BUFFER}deviation"]
        activations: tuple[Activation, ...] = tuple("relu" for _ in self.hidden)
        return torch.sigmoid(apply_layers(parameters, scaled, activations)[..., 0])

    def losses(self, parameters: Parameters, batch: Batch, noise: Noise) -> torch.Tensor:
        """The batch's loss in every row; a sample of which the batch holds no event adds nothing."""
        output = self.outputs(parameters, batch["x"])
        share = batch["share"]
        total = share.sum(dim=1)
        present = total > 0
        mean = (share * output[..., None]).sum(dim=1) / torch.where(present, total, 1.0)
        wanted = torch.tensor(self.fractions, dtype=mean.dtype, device=mean.device)
        away = torch.where(present, mean - wanted, 0.0)
        apart = away.square() if self.distance == "squared" else away.abs()
        return apart.sum(dim=1, keepdim=True).expand_as(output)
