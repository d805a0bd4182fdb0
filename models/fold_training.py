"""How one fold of a method is trained: the tables that it takes, what is demanded of them, and the fold's jobs.

A task of training is (method, window, fold): a pure function of the tables, the options and the seed, which may run
anywhere, be lost, or be repeated.
"""

import abc
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from data.errors import TrainingError
from data.eventid import N_FOLDS
from data.sections import Section
from data.types import Table
from models.arrays import Arrays
from models.base import Method
from models.bundle import digest_of
from models.checks import (
    check_arrays,
    check_background,
    check_inputs,
    check_side_bands,
    check_splits,
    check_window,
)
from models.folds import TrainingSample, training_sample
from models.jobs import Training, recorded, side_by_side
from models.options import FeatureOptions, MethodOptions
from models.regions import HIGH, LOW, SIGNAL
from models.seeds import task_seed

TABLES = {
    "signal": "simulated signal",
    "background": "simulated background",
    "wide": "data of large |Δη|, where no signal is expected",
}
"""Further tables that a method may take in `Method.fit`, by keyword."""


@dataclass(frozen=True)
class TrainingTables:
    """The tables of a training, checked and in canonical order.

    Parameters
    ----------
    sample
        The data; for methods that take none, the background.
    extras
        Further tables by keyword.
    """

    sample: TrainingSample
    extras: Mapping[str, TrainingSample]

    @functools.cached_property
    def table_hash(self) -> str:
        """SHA-256 of the sample's rows, whatever order they were given in."""
        return _hash_of(self.sample)

    @functools.cached_property
    def further_hashes(self) -> dict[str, str]:
        """The same of the further tables, by keyword."""
        return {name: _hash_of(extra) for name, extra in sorted(self.extras.items())}


class FoldTraining(Method):
    """What the training of a fold is; `models.folded.FoldedMethod` makes a method of five.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create`.
    """

    bands: ClassVar[tuple[int, ...]] = (LOW, SIGNAL, HIGH)
    """Regions of the window that must hold events."""
    fixed_cut: ClassVar[float | None] = None
    """Raw score above which the method always selects, whatever the working point."""
    score_is: ClassVar[str]
    """What the raw score is, for the bundle's readers."""
    training_hint: ClassVar[str] = "training reads it"
    """What the columns of `training_columns` are for, for the message where one is missing."""
    table_needed: ClassVar[bool] = True
    """Whether `fit` needs a table of data."""
    optional_columns: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Columns of further tables, by keyword, that are read where they are there."""
    options: MethodOptions

    @classmethod
    def required_columns(cls, options: Section) -> tuple[str, ...]:
        """The inputs that the options name."""
        return cast("MethodOptions", options).inputs

    def training_columns(self) -> tuple[str, ...]:
        """Columns that training reads besides the inputs and ``mjj``."""
        return ()

    @abc.abstractmethod
    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """Train a fold: yields jobs, returns the fold's arrays.

        What is learned may depend on rows of the other four folds only, of every table; of the fold's own rows, on
        their number.

        Parameters
        ----------
        sample
            The data, in canonical order; for methods that take none, the background.
        extras
            Further tables by keyword.
        fold
            0 … 4; its rows are held out.

        Returns
        -------
        dict
            The fold's arrays, for `FoldedMethod.raw_score`.
        """

    def train(self, sample: TrainingSample, extras: Mapping[str, TrainingSample]) -> Training[list[Arrays]]:
        """Train all folds in lock step.

        Parameters
        ----------
        sample, extras
            As for `train_fold`.

        Returns
        -------
        list of dict
            Arrays of fold 0 … 4.
        """
        return side_by_side([self.recorded_fold(sample, extras, fold) for fold in range(N_FOLDS)])

    def recorded_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """`train_fold`, and the losses of its jobs.

        Parameters
        ----------
        sample, extras, fold
            As for `train_fold`.

        Returns
        -------
        dict
            The fold's arrays and losses, see `models.jobs.recorded`.
        """
        return recorded(self.train_fold(sample, extras, fold))

    def check_number(self, fold: int) -> None:
        """Refuse the number of a fold that there is not.

        Raises
        ------
        TrainingError
            Naming it.
        """
        if fold not in range(N_FOLDS):
            msg = f"method '{self.name}': there is no fold {fold}; choose from 0 … {N_FOLDS - 1}"
            raise TrainingError(msg)

    def seeds(self, fold: int, *parts: str | int) -> Callable[..., int]:
        """Gives seeds of the parts of a fold's task; a function of what the task is alone."""
        return functools.partial(task_seed, self.seed, self.name, self.window.label(), "fold", fold, *parts)

    @property
    def _hashed(self) -> tuple[str, ...]:
        return ("mjj", *self.inputs)

    def tables(self, table: Table | None, further: Mapping[str, Table]) -> TrainingTables:
        """Check the tables of a training and put them into canonical order.

        Parameters
        ----------
        table
            As for `Method.fit`.
        further
            The further tables by keyword.

        Returns
        -------
        TrainingTables
            Enough to be trained on in this window.

        Raises
        ------
        InputError, TrainingError
            As `Method.fit`.
        """
        tables = TrainingTables(*self._samples(table, further))
        self.check_tables(tables)
        return tables

    def _samples(
        self, table: Table | None, further: Mapping[str, Table]
    ) -> tuple[TrainingSample, dict[str, TrainingSample]]:
        unknown = sorted(set(further) - set(self.takes))
        lacking = sorted(name for name, required in self.takes.items() if required and name not in further)
        if unknown:
            taken = f"takes {', '.join(sorted(self.takes))}" if self.takes else "learns from the table alone"
            msg = f"method '{self.name}' {taken}; leave out {', '.join(unknown)}"
            raise TrainingError(msg)
        if lacking:
            named = ", ".join(f"{name}=… ({TABLES[name]})" for name in lacking)
            msg = f"method '{self.name}' needs further tables: pass {named} to fit"
            raise TrainingError(msg)
        names = ("mjj", *dict.fromkeys((*self.inputs, *self.training_columns())))
        for given in (table, *further.values()):
            self._training_columns_there(given)
        extras = {
            name: training_sample(
                given,
                (*names, *(extra for extra in self.optional_columns.get(name, ()) if extra in given)),
                self._hashed,
                what=f"the table '{name}'",
                weighted=name != "wide",
            )
            for name, given in further.items()
        }
        if table is not None:
            return training_sample(table, names, self._hashed), extras
        if self.table_needed:
            msg = f"method '{self.name}' learns from data: pass a table to fit"
            raise TrainingError(msg)
        return extras["background"], extras

    def _training_columns_there(self, table: Table | None) -> None:
        if table is None or any(name not in table for name in self._hashed):
            return
        for name in self.training_columns():
            if name not in table:
                msg = f"column '{name}' is missing: {self.training_hint}"
                raise TrainingError(msg)

    def check_tables(self, tables: TrainingTables) -> None:
        """Check that tables, made for this window or another one, are enough to be trained on in this window.

        Raises
        ------
        InputError, TrainingError
            As `Method.fit`.
        """
        sample, extras = tables.sample, tables.extras
        region = self.window.of(sample.columns["mjj"])
        check_window(region, sample, self.window, self.bands)
        check_inputs(sample, region, self.inputs)
        if not isinstance(self.options, FeatureOptions):
            check_arrays(sample, region, self.inputs)
        if self.calibrated_on == "background":
            check_background(extras["background"], self.window, self.working_point)
        elif self.fixed_cut is None:
            check_side_bands(region, sample, self.window, self.working_point)
        if SIGNAL in self.bands and self.calibrated_on == "side bands":
            check_splits(region, sample, self.window)


def _hash_of(sample: TrainingSample) -> str:
    return digest_of({**sample.columns, "batch": sample.batch, "weight": sample.weight})
