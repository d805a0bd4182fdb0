"""Learning from label proportions: samples of different signal fraction, and no label of any event."""

import functools
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.eventid import N_INNER, inner_split
from data.types import FloatArray
from models.arrays import Arrays, below, prefixed, take
from models.base import register
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
from models.heads import Head, HeadOptions
from models.jobs import Member, Schedule, StackJob, Training
from models.networks.base import BUFFER
from models.networks.dense import Layers, check_layers
from models.networks.proportions import Distance, ProportionNetwork
from models.networks.scoring import in_batches, tensors
from models.preprocessing import Inputs, RankTransform, fit_ranks, input_matrix, standardisation
from models.reconstruction import schedule_within
from models.regions import HIGH, LOW, SIGNAL
from models.stack import merged_arrays
from models.torch_later import torch
from models.weights import band_weights, match_pt

SAMPLES = (LOW, SIGNAL, HIGH)


class LlpOptions(HeadOptions):
    """Options of ``llp``.

    The fractions need not be true. The side bands share one, the signal region has a larger one; whatever the two
    values, the output rises with the likelihood ratio of signal region to side bands, and a score is only an order. What
    they set is how far apart the two mean outputs are pulled.
    """

    fractions: tuple[float, float, float] = (0.4, 0.6, 0.4)
    """Assumed signal fractions of the lower side band, the signal region and the upper side band."""
    distance: Distance = "squared"
    """Between the mean output of a sample and its fraction."""
    hidden: Layers = (64, 64)
    """Sizes of the hidden layers."""
    schedule: Schedule = Schedule(epochs=40, batch=512, learning_rate=3e-3, decay="one_cycle", keep=3)
    most_steps: int = pydantic.Field(default=1100, ge=1)
    """Steps after which a training ends whatever its epochs. With 60,000 simulated dijets that is after 12 epochs, where
    the validation loss is that of 40."""

    @pydantic.model_validator(mode="after")
    def _signal_region_is_richest(self) -> Self:
        low, signal, high = self.fractions
        if not all(0 <= fraction <= 1 for fraction in self.fractions) or signal <= max(low, high):
            msg = (
                f"fractions {self.fractions}: each must be between 0 and 1, and that of the signal region (the second) "
                "must be larger than those of the side bands; equal fractions teach nothing"
            )
            raise ValueError(msg)
        return self

    def network(self, n_inputs: int) -> ProportionNetwork:
        """The network of so many inputs."""
        return ProportionNetwork(n_inputs, self.hidden, self.fractions, self.distance)


@register
class LabelProportions(FoldedMethod):
    """A network that learns from the signal fractions of three samples: the signal region and its two side bands.

    The loss compares, batch by batch, the mean output over each sample with the signal fraction that the sample is said
    to have. Unlike classification without labels it asks for the *same* mean output in both side bands, so that an
    output that merely follows mjj is penalised. The ranks of both jets' outputs are combined as for ``cwola``.

    *Assumes* that background inputs, once the jet's pT spectrum is matched, are the same in all three samples. *Is
    blind to* what classification without labels is blind to: signals wider than the signal region, too weak ones, and,
    with a network for each jet, what only the correlation of both jets shows.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `LlpOptions`.

    References
    ----------
    L. M. Dery, B. Nachman, F. Rubbo, A. Schwartzman, "Weakly supervised classification in high energy physics", JHEP 05
    (2017) 145, arXiv:1702.00414.
    """

    name = "llp"
    summary = "Learning from label proportions: three samples of different signal fraction (arXiv:1702.00414)"
    family = "weak supervision"
    flat = False
    score_is = "largest rank of the jets' networks"
    training_hint = (
        "the side bands are matched to its spectrum; add it, or train without matching (pt_bins=0)"
    )
    options_type = LlpOptions
    options: LlpOptions
    presets = {
        "quick": {
            "schedule": {"epochs": 10, "batch": 512, "learning_rate": 3e-3, "decay": "one_cycle", "keep": 1}
        },
        "paper": {"distance": "absolute", "hidden": (30,), "most_steps": 10_000_000},
    }

    def training_columns(self) -> tuple[str, ...]:
        """The jets' pT (GeV), for the reweighting."""
        return tuple(head.pt for head in self.options.heads() if head.pt)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Each head's network, for 4 inner splits side by side; see `FoldTraining.train_fold`."""
        heads, inside = self.options.heads(), self.window.of(sample.columns["mjj"]) >= 0
        rows = most_rows(sample.fold[inside]) * (N_INNER - 1) // N_INNER
        schedule = schedule_within(self.options.schedule, self.options.most_steps, rows)
        results = yield [self._job(sample, fold, head, schedule) for head in heads]
        trained: Arrays = {}
        for head, result in zip(heads, results, strict=True):
            network = merged_arrays(result.networks)
            fitted = inside & (sample.fold != fold)
            seen = {name: sample.columns[name][fitted] for name in head.inputs}
            ranks = fit_ranks(self.output(network, input_matrix(seen, head.inputs)))
            trained |= prefixed(f"{head.name}/network/", network)
            trained |= prefixed(f"{head.name}/rank/", ranks.arrays())
        return trained

    def _job(self, sample: TrainingSample, fold: int, head: Head, schedule: Schedule) -> StackJob:
        """What the networks of a head learn while a fold is held out."""
        region, split = self.window.of(sample.columns["mjj"]), inner_split(sample.batch, fold)
        fitted = (region >= 0) & (split >= 0)
        columns = {name: values[fitted] for name, values in sample.columns.items()}
        region, split = region[fitted], split[fitted]
        weight = band_weights(region)
        if head.pt:
            weight = match_pt(columns[head.pt], region, weight, self.options.pt_bins)
        x = input_matrix(columns, head.inputs)
        mean, deviation = standardisation(x)
        seed = self.seeds(fold, head.name)
        members = tuple(
            Member(
                np.flatnonzero(split != number),
                np.flatnonzero(split == number),
                seed("split", number),
                {"mean": mean[None], "deviation": deviation[None]},
            )
            for number in range(N_INNER)
        )
        share = (region[:, None] == np.array(SAMPLES)) * (weight / weight.mean())[:, None]
        data = {"x": x, "share": share.astype(np.float32)}
        return StackJob(self.options.network(len(head.inputs)), schedule, data, members, head.name)

    def output(self, arrays: Mapping[str, npt.NDArray[Any]], x: Inputs) -> FloatArray:
        """Mean output of a head's networks.

        Parameters
        ----------
        arrays
            Their weights, float32, with a leading axis of networks.
        x
            The head's inputs in their units, float32, shape (events, inputs).

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], shape (events,); a row's value does not depend on the other rows.
        """
        network, parameters = self.options.network(x.shape[1]), tensors(arrays)
        members = len(arrays["weight0"])

        def mean_output(rows: torch.Tensor) -> torch.Tensor:
            return network.outputs(parameters, rows.expand(members, -1, -1)).double().mean(dim=0)

        return in_batches(mean_output, x)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The largest of the jets' ranks: one odd jet is enough."""
        outputs = []
        for head in self.options.heads():
            ranks = RankTransform.from_arrays(below(fold, f"{head.name}/rank/"), f"of '{head.name}'")
            x = input_matrix(columns, head.inputs)
            outputs.append(ranks(self.output(below(fold, f"{head.name}/network/"), x)))
        return functools.reduce(np.maximum, outputs)

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        for head in self.options.heads():
            arrays = below(fold, f"{head.name}/network/")
            members = check_layers(arrays, self.options.network(len(head.inputs)).sizes)
            for name in ("mean", "deviation"):
                values = take(arrays, f"{BUFFER}{name}", "float32", members, 1, len(head.inputs))
                if not np.isfinite(values).all() or (name == "deviation" and not np.all(values > 0)):
                    msg = f"the inputs' {name} is not that of a trained network"
                    raise ValueError(msg)
            RankTransform.from_arrays(below(fold, f"{head.name}/rank/"), f"of '{head.name}'")
