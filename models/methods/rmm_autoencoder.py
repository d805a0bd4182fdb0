"""Autoencoder of whole events by their rapidity–mass matrix, with the anomaly regions of ATLAS."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import InputError, TrainingError
from data.eventid import N_FOLDS
from data.types import FloatArray
from models.arrays import Arrays
from models.background_rows import DrawnRows, background_rows, drawn_rows, fold_members
from models.base import register
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Schedule, StackJob, Training
from models.networks.autoencoders import DECODER, DenseAutoencoder
from models.networks.dense import Layers
from models.networks.scoring import in_batches, tensors
from models.preprocessing import Inputs
from models.reconstruction import ReconstructionOptions, log_losses, row_weights
from models.regions import HIGH, LOW
from models.seeds import task_seed
from models.stack import merged_arrays
from models.torch_later import torch

COLUMN = "rmm"
REDUCED = 1287
"""Inputs of the published network, the reduced form of the matrix."""
Region = Literal["10 pb", "1 pb", "0.1 pb"]
CROSS_SECTIONS: Mapping[str, float] = {"10 pb": 10_000.0, "1 pb": 1000.0, "0.1 pb": 100.0}
"""Visible cross section of each anomaly region, fb."""
PUBLISHED_CUTS: Mapping[str, float] = {"10 pb": -9.10, "1 pb": -8.0, "0.1 pb": -6.50}
"""Logarithm of the loss above which an event is in each region, of the published network (ADFilter)."""


class RmmAutoencoderOptions(ReconstructionOptions):
    """Options of ``rmm_autoencoder``."""

    hidden: Layers = (800, 400)
    """Widths of the encoder's hidden layers; the decoder's are the same in reverse."""
    latent: int = pydantic.Field(default=200, ge=1)
    """Width of the latent space."""
    fraction: float = pydantic.Field(default=0.01, gt=0, le=1)
    """Share of the events outside the signal region that a fold learns from, drawn at random."""
    least: int = pydantic.Field(default=10_000, ge=1)
    """So many events at least, where there are as many: of few data a hundredth would be too little to learn from."""
    region: Region | None = None
    """Anomaly region: the visible cross section that is left. None: the working point decides as in other methods."""
    cut: Literal["data", "published"] = "data"
    """Of the anomaly region. ``data``: so that the cross section times ``luminosity`` is the number of events selected of
    the table trained on; ``published``: ln loss > −9.10, −8.0, −6.50, which means something for networks trained like
    the published one only."""
    luminosity: float | None = pydantic.Field(default=None, gt=0)
    """Integrated luminosity of the table trained on, fb⁻¹."""
    decorrelate: Literal["none", "quantile"] = "none"
    """By default no decorrelation, as published: the masses searched are not among the inputs."""
    members: int = pydantic.Field(default=1, ge=1, le=4)
    """Networks a fold, each validating on another inner quarter of the other folds; the mean of their losses counts."""
    schedule: Schedule = Schedule(
        epochs=30, batch=128, learning_rate=1e-3, decay="one_cycle", patience=8, clip=1.0
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The matrix."""
        return (COLUMN,)

    @property
    def events_left(self) -> float | None:
        """Events that the anomaly region leaves of the table trained on, where that decides; else None."""
        if self.region is None or self.luminosity is None or self.cut == "published":
            return None
        return CROSS_SECTIONS[self.region] * self.luminosity

    @pydantic.model_validator(mode="after")
    def _region_is_defined(self) -> Self:
        if self.region is None and self.cut == "published":
            msg = "cut: published cuts belong to an anomaly region; choose region: 10 pb, 1 pb or 0.1 pb"
            raise ValueError(msg)
        if self.region is not None and self.cut == "data" and self.luminosity is None:
            msg = f"region: {self.region} is a number of events once luminosity (fb⁻¹) is given; or choose cut: published"
            raise ValueError(msg)
        if self.region is not None and self.decorrelate != "none":
            msg = "region: an anomaly region is a cut on the loss itself; use decorrelate: none"
            raise ValueError(msg)
        return self


@register
class RmmAutoencoder(FoldedMethod):
    """Events whose objects, in their masses and rapidities, are unlike those of ordinary events.

    The rapidity–mass matrix holds transverse energies, masses and rapidity differences of all pairs of jets, b jets,
    leptons, photons and the missing momentum. A dense autoencoder (1287–800–400–200–400–800–1287, mean squared error)
    learns it from a small random share of the data; the score is the logarithm of the mean absolute error, ln loss.
    Anomaly regions are cuts on it that leave a visible cross section of 10, 1 or 0.1 pb.

    The column ``rmm`` is taken as it is, in any of its forms; the skim makes it with the first column and the cells
    below the diagonal times 0.15, as published. The published network learns from 1 % of all data; here from those
    outside the signal region, or from ``wide``, and each event is scored by networks that never saw it.

    *Assumes* that signal is so rare that the network does not learn it, and that the cells that remain after the nine
    masses searched are left out tell little of these masses. *Is blind to* what happens inside jets: two events of equal
    jet momenta are one to it.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `RmmAutoencoderOptions`.

    References
    ----------
    ATLAS, "Search for new phenomena in two-body invariant mass distributions using unsupervised machine learning for
    anomaly detection at √s = 13 TeV", Phys. Rev. Lett. 132 (2024) 081801, arXiv:2307.01612. S. Chekanov, "Imaging
    particle collision data for event classification using machine learning", Nucl. Instrum. Meth. A 931 (2019) 92,
    arXiv:1805.11650. S. Chekanov, W. Islam, R. Zhang, N. Luongo, "ADFilter", Information 16
    (2025) 258 (cuts and loss).
    """

    name = "rmm_autoencoder"
    summary = "Autoencoder of the event's rapidity–mass matrix, anomaly regions of ATLAS (arXiv:2307.01612)"
    family = "event level"
    flat = False
    score_is = "ln of the mean absolute reconstruction error"
    bands = (LOW, HIGH)
    takes: ClassVar[Mapping[str, bool]] = {"wide": False}
    options_type = RmmAutoencoderOptions
    options: RmmAutoencoderOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"hidden": (64,), "latent": 16, "least": 2000, "schedule": {"epochs": 5, "batch": 64}},
        "paper": {
            "least": 1,
            "schedule": {
                "epochs": 100,
                "batch": 100,
                "learning_rate": 1e-3,
                "decay": "constant",
                "patience": 10,
                "clip": 0.0,
            },
        },
    }

    def _network(self, inputs: int) -> DenseAutoencoder:
        return DenseAutoencoder(inputs, self.options.hidden, self.options.latent)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Networks on the rows that the fold draws; see `FoldTraining.train_fold`."""
        self._refuse_region(len(sample.batch), _matrix(sample.columns).shape[1])
        drawn = sample.once(f"{self.name}: drawn", lambda: self._drawn(sample, extras))
        members = fold_members(
            drawn.batch, fold, self.options.members, self.seeds(fold, "network"), among=drawn.of_fold[fold]
        )
        network = self._network(drawn.data["x"].shape[1])
        (result,) = yield [StackJob(network, self.options.schedule, drawn.data, members)]
        return merged_arrays(result.networks)

    def _drawn(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> DrawnRows:
        options = self.options
        seed = task_seed(self.seed, self.name, self.window.label(), "events")
        source, rows = background_rows(sample, extras, self.window)
        drawn = [
            drawn_rows(source, other, max(math.ceil(options.fraction * len(other)), options.least), seed)
            for other in (rows[source.fold[rows] != fold] for fold in range(N_FOLDS))
        ]
        used = np.unique(np.concatenate(drawn))
        data = {
            "x": _matrix({COLUMN: source.columns[COLUMN][used]}),
            "weight": row_weights(source.weight[used]),
        }
        return DrawnRows(data, source.batch[used], tuple(np.isin(used, own) for own in drawn))

    def _refuse_region(self, rows: int, inputs: int) -> None:
        options, left = self.options, self.options.events_left
        if options.region is not None and options.cut == "published" and inputs != REDUCED:
            msg = (
                f"column '{COLUMN}' holds {inputs} numbers an event; the published cuts are those of the reduced form, "
                f"{REDUCED}: skim with features.rapidity_mass_matrix.form: reduced, or use cut: data"
            )
            raise TrainingError(msg)
        if left is not None and left >= rows:
            msg = (
                f"region: {options.region} at {options.luminosity:g} fb⁻¹ is {left:.0f} events, the table holds {rows}; "
                "choose a smaller region, or check luminosity"
            )
            raise TrainingError(msg)

    def raw_cut(self, held: FloatArray, rows: int) -> float | None:
        """Score above which a fold selects.

        Parameters
        ----------
        held
            Raw scores of all of the fold's held-out events, whatever their mjj.
        rows
            Events of the whole table.

        Returns
        -------
        float or None
            Of the anomaly region: the published cut, or the one that leaves the fold's share of its events. None
            without a region.
        """
        options, left = self.options, self.options.events_left
        if left is None:
            return PUBLISHED_CUTS[options.region] if options.region is not None else None
        kept = round(left * len(held) / rows)
        return float(np.sort(held)[max(len(held) - kept - 1, 0)])

    @property
    def threshold_is(self) -> str:
        """Where the threshold comes from, for the bundle's readers."""
        if self.options.region is None:
            return super().threshold_is
        how = "published cut" if self.options.cut == "published" else f"at {self.options.luminosity:g} fb⁻¹"
        return f"visible cross section of {self.options.region} left, {how}"

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The ln loss: logarithm of the mean absolute error, the mean over a fold's networks."""
        x, parameters = _matrix(columns), tensors(fold)
        first = parameters["encoder/weight0"]
        members, inputs = first.shape[0], first.shape[1]
        if x.shape[1] != inputs:
            msg = (
                f"column '{COLUMN}' holds {x.shape[1]} numbers an event, the network was trained on {inputs}; skim with "
                "the same features.rapidity_mass_matrix.form"
            )
            raise InputError(msg)
        network = self._network(inputs)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            given = rows.expand(members, *rows.shape)
            return (given - network.reconstructed(parameters, given)).abs().mean(dim=(0, 2))

        return log_losses(in_batches(loss, x))

    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays that no training could have made."""
        last = fold.get(f"{DECODER}bias{len(self.options.hidden)}")
        self._network(last.shape[-1] if last is not None and last.ndim else 1).check(fold)


def _matrix(columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
    """The matrix of each event in a row, float32.

    Raises
    ------
    InputError
        If the column holds one number an event.
    """
    values = columns[COLUMN]
    if values.ndim < 2:
        msg = (
            f"column '{COLUMN}': expected a matrix an event, found shape {values.shape}; skim with "
            "features.rapidity_mass_matrix"
        )
        raise InputError(msg)
    return np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32)
