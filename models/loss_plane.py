"""What both kinds of QUAK share: losses of background and of signal priors span a plane with sparse places."""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.eventid import N_INNER, inner_split
from data.types import BoolArray, FloatArray, IntArray
from models.arrays import Arrays, below, prefixed, take
from models.density import DensityProblem
from models.folded import FoldedMethod
from models.folds import TrainingSample, most_rows
from models.heads import JETS
from models.jobs import Training
from models.options import FeatureOptions
from models.preprocessing import Inputs, input_matrix, standardisation
from models.quak_space import (
    SpaceSettings,
    cell_score,
    check_axis,
    check_cells,
    fit_axis,
    fit_cells,
    on_axis,
    signed_norm,
)
from models.regions import HIGH, LOW

JET_INPUTS = ("rho", "tau21", "tau32", "tau43", "deepb", "n_pf")
FARTHEST = 10.0
"""Inputs, in the background's standard deviations, end here."""
FEWEST = 40
"""Events of a signal prior from which something can be learned."""
TAU_MIN = 1e-6
"""Added to τ1, as to the denominators of the ratios."""


class LossPlaneOptions(FeatureOptions):
    """Options that both kinds of QUAK share."""

    features: tuple[str, ...] = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
    """Input columns. ρ = m/pT in place of the mass depends less on mjj."""
    tau_s: bool = False
    """Add √τ21/τ1 of each jet (from tau21 and tau1), as CMS-EXO-22-026."""
    space: SpaceSettings = SpaceSettings()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features, and what √τ21/τ1 is made of."""
        further = [f"{name}_{jet}" for jet in JETS for name in ("tau21", "tau1")] if self.tau_s else []
        return tuple(dict.fromkeys((*self.features, *further)))

    @property
    def width(self) -> int:
        """Number of inputs of each network."""
        return len(self.features) + (len(JETS) if self.tau_s else 0)

    def matrix(self, columns: Mapping[str, npt.NDArray[Any]]) -> Inputs:
        """Inputs of the networks, not yet scaled.

        Parameters
        ----------
        columns
            The columns of `inputs`, each of shape (events,).

        Returns
        -------
        numpy.ndarray
            float32, shape (events, width).
        """
        x = input_matrix(columns, self.features)
        if not self.tau_s:
            return x
        further = [
            np.sqrt(np.maximum(columns[f"tau21_{jet}"], 0.0)) / (columns[f"tau1_{jet}"] + TAU_MIN)
            for jet in JETS
        ]
        return np.ascontiguousarray(np.column_stack([x, *further]).astype(np.float32))


class LossPlane(FoldedMethod):
    """What both kinds of QUAK share: the tables, the plane of losses and its cells.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create`.
    """

    family = "hybrid"
    flat = False
    bands = (LOW, HIGH)
    takes: ClassVar = {"signal": True, "background": False}
    optional_columns: ClassVar = {"signal": ("prior",)}
    score_is = "how few side-band events share the place in the plane of background and signal loss"
    options: LossPlaneOptions

    @abc.abstractmethod
    def learn(
        self, problems: Sequence[DensityProblem], seeds: Sequence[Callable[..., int]], rows: Sequence[int]
    ) -> Training[list[Arrays]]:
        """Learn what each problem's events look like; mjj is the same for all of them.

        Parameters
        ----------
        problems
            Of a fold: the background's, then one for each prior.
        seeds
            One a problem: gives the seed of a part of the task.
        rows
            Rows of each problem in the largest fold, see `models.folds.most_rows`.

        Returns
        -------
        list of dict
            Arrays of each problem, for `loss`.
        """

    @abc.abstractmethod
    def loss(self, arrays: Arrays, x: Inputs) -> FloatArray:
        """How unlike the events that were learned from each event is.

        Parameters
        ----------
        arrays
            Of one problem, as `learn` gives them.
        x
            What `prepare` gives, float32, shape (events, width).

        Returns
        -------
        numpy.ndarray
            float64, shape (events,); larger is less alike.
        """

    @abc.abstractmethod
    def check_loss(self, arrays: Arrays) -> None:
        """Refuse arrays that `learn` could not have given.

        Parameters
        ----------
        arrays
            Supposedly of one problem.

        Raises
        ------
        ValueError
            Saying what is wrong with them.
        """

    @abc.abstractmethod
    def prepare(self, known: Arrays, x: Inputs, mjj: FloatArray) -> Inputs:
        """Scaled inputs as `loss` wants them.

        Parameters
        ----------
        known
            Arrays of the fold, what `preparation` gave among them under ``prepared/``.
        x
            Scaled inputs, float32, shape (events, width).
        mjj
            GeV, shape (events,).

        Returns
        -------
        numpy.ndarray
            float32, shape (events, width).
        """

    @abc.abstractmethod
    def preparation(self, x: Sequence[Inputs]) -> Arrays:
        """What `prepare` needs.

        Parameters
        ----------
        x
            Scaled inputs of the background and of each prior, each float32 of shape (events, width).

        Returns
        -------
        dict
            Arrays that the fold keeps under ``prepared/``.
        """

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Losses of background and of each prior, axes and cells; see `FoldTraining.train_fold`."""
        priors = _prior_numbers(extras["signal"])
        names = self._names(len(priors))
        tables = self._tables(sample, extras, priors)
        known, problems = self._problems(tables, priors, fold)
        seeds = [self.seeds(fold, name) for name in names]
        rows = [most_rows(table.fold[chosen]) for table, chosen in tables]
        learned = yield from self.learn(problems, seeds, rows)
        for name, arrays in zip(names, learned, strict=True):
            known |= prefixed(f"{name}/", arrays)
        self._add_plane(known, sample, fold)
        return known

    @staticmethod
    def _names(priors: int) -> list[str]:
        return ["background", *(f"signal{number}" for number in range(priors))]

    def _tables(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], priors: IntArray
    ) -> list[tuple[TrainingSample, BoolArray]]:
        """Table and rows of the background, then of each prior."""
        background, signal = extras.get("background", sample), extras["signal"]
        inside = self.window.of(background.columns["mjj"])
        chosen = inside >= 0 if "background" in extras else np.isin(inside, (LOW, HIGH))
        own, weighs = _prior_of(signal), signal.weight > 0
        return [
            (background, chosen & (background.weight > 0)),
            *((signal, (own == prior) & weighs) for prior in priors),
        ]

    def _problems(
        self, given: Sequence[tuple[TrainingSample, BoolArray]], priors: IntArray, fold: int
    ) -> tuple[Arrays, list[DensityProblem]]:
        """What a fold's networks learn from: background first, then each prior."""
        tables = [(table, chosen & (table.fold != fold)) for table, chosen in given]
        for (table, rows), name in zip(
            tables, ["table 'background'", *(f"signal prior {p}" for p in priors)], strict=True
        ):
            _refuse_few(table, rows, fold, name)
        matrices = [self._rows(table, rows) for table, rows in tables]
        mean, deviation = standardisation(matrices[0])
        known: Arrays = {"mean": mean, "deviation": deviation, "priors": priors}
        scaled = [_scaled(known, x) for x in matrices]
        known |= prefixed("prepared/", self.preparation(scaled))
        problems = []
        for (table, rows), x in zip(tables, scaled, strict=True):
            prepared = self.prepare(known, x, table.columns["mjj"][rows])
            split = inner_split(table.batch[rows], fold)
            problems.append(DensityProblem(prepared, np.ones(len(x)), table.weight[rows], split))
        return known, problems

    def _rows(self, table: TrainingSample, rows: BoolArray) -> Inputs:
        return self.options.matrix({name: table.columns[name][rows] for name in self.inputs})

    def _losses(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> tuple[FloatArray, FloatArray]:
        """Background loss (events,), signal losses (events, priors)."""
        x = self.prepare(fold, _scaled(fold, self.options.matrix(columns)), columns["mjj"])
        background, *signals = [
            self.loss(below(fold, f"{name}/"), x) for name in self._names(len(fold["priors"]))
        ]
        return background, np.stack(signals, axis=1)

    def _add_plane(self, fold: Arrays, sample: TrainingSample, number: int) -> None:
        """Axes and cells, from side-band data of the other folds, both bands equal."""
        settings, window = self.options.space, self.window
        region = window.of(sample.columns["mjj"])
        rows = np.isin(region, (LOW, HIGH)) & (sample.fold != number)
        high = region[rows] == HIGH
        weight = np.where(high, np.count_nonzero(~high) / np.count_nonzero(high), 1.0)
        columns = {name: sample.columns[name][rows] for name in ("mjj", *self.inputs)}
        mjj = columns["mjj"]
        background, signals = self._losses(fold, columns)
        fold |= prefixed("axis/background/", fit_axis(background, mjj, weight, window, settings))
        first = on_axis(below(fold, "axis/background/"), background, mjj, window)
        second = []
        for place, loss in enumerate(signals.T):
            fold |= prefixed(f"axis/signal{place}/", fit_axis(loss, mjj, weight, window, settings, first))
            second.append(on_axis(below(fold, f"axis/signal{place}/"), loss, mjj, window, first))
        joined = signed_norm(np.stack(second, axis=1), settings.norm)
        fold |= prefixed("axis/signal/", fit_axis(joined, mjj, weight, window, settings))
        signal = on_axis(below(fold, "axis/signal/"), joined, mjj, window)
        fold["cells"] = fit_cells(first, signal, weight, settings)

    def plane(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> tuple[FloatArray, FloatArray]:
        """Positions of events in the plane of losses.

        Parameters
        ----------
        fold
            Arrays of the fold.
        columns
            ``mjj`` (GeV) and the inputs, each of shape (events,).

        Returns
        -------
        background, signal
            float64, shape (events,), in units of each axis' spread in the side bands; low on the second is
            signal-like.
        """
        mjj = columns["mjj"]
        background, signals = self._losses(fold, columns)
        first = on_axis(below(fold, "axis/background/"), background, mjj, self.window)
        second = [
            on_axis(below(fold, f"axis/signal{place}/"), loss, mjj, self.window, first)
            for place, loss in enumerate(signals.T)
        ]
        joined = signed_norm(np.stack(second, axis=1), self.options.space.norm)
        return first, on_axis(below(fold, "axis/signal/"), joined, mjj, self.window)

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """How sparse the cell of an event is, and inside the cell how signal-like the event."""
        return cell_score(fold["cells"], *self.plane(fold, columns), self.options.space)

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        mean, deviation = (take(fold, name, "float32", self.options.width) for name in ("mean", "deviation"))
        if not np.isfinite(mean).all() or not np.all(deviation > 0):
            msg = "the scale of the inputs is not that of a sample"
            raise ValueError(msg)
        priors = len(take(fold, "priors", "int64", None))
        if priors == 0:
            msg = "there is no signal prior"
            raise ValueError(msg)
        self.prepare(fold, np.zeros((0, self.options.width), np.float32), np.zeros(0))
        order = self.options.space.order
        check_axis(below(fold, "axis/background/"), order + 1)
        check_axis(below(fold, "axis/signal/"), order + 1)
        for name in self._names(priors):
            self.check_loss(below(fold, f"{name}/"))
        for place in range(priors):
            check_axis(below(fold, f"axis/signal{place}/"), order + 2)
        cells = self.options.space.angles * self.options.space.radii
        check_cells(take(fold, "cells", "float64", cells), self.options.space)


def _scaled(known: Arrays, x: Inputs) -> Inputs:
    return np.clip((x - known["mean"]) / known["deviation"], -FARTHEST, FARTHEST)


def _prior_of(signal: TrainingSample) -> FloatArray:
    return np.asarray(signal.columns.get("prior", np.zeros(len(signal.batch))))


def _prior_numbers(signal: TrainingSample) -> IntArray:
    """Numbers of the signal priors, ascending: of column ``prior``, one prior where there is none.

    Raises
    ------
    InputError
        If the column holds other numbers than integers.
    """
    numbers = np.unique(_prior_of(signal))
    if np.any(numbers != np.round(numbers)):
        first = numbers[numbers != np.round(numbers)][0]
        msg = f"table 'signal': column 'prior' numbers the signal models; expected integers, found {first:g}"
        raise InputError(msg)
    return numbers.astype(np.int64)


def _refuse_few(table: TrainingSample, rows: BoolArray, fold: int, name: str) -> None:
    """Refuse a table too small to learn from without one fold."""
    count = int(np.count_nonzero(rows))
    splits = len(np.unique(inner_split(table.batch[rows], fold)))
    if count < FEWEST or splits < N_INNER:
        msg = (
            f"{name}: {count} events outside fold {fold}, in {splits} of {N_INNER} inner splits; at least {FEWEST} in all "
            "of them are needed: add events, or give priors of too few events one number in column 'prior'"
        )
        raise TrainingError(msg)
