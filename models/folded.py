"""What all trained methods share: folds, calibration, scoring by own folds, bundles.

A method says how the networks of a fold are trained (`models.fold_training`) and what they give for an event;
everything else is here, so that no method can score an event with networks that have seen it.
"""

import abc
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TrainingError
from data.eventid import N_FOLDS
from data.sections import Section
from data.types import FloatArray, IntArray, Table
from models.arrays import Arrays, below, prefixed, without
from models.bundle import (
    CalibrationNote,
    FoldScheme,
    Header,
    Provenance,
    serialise,
    versions,
    write_bundle,
)
from models.calibration import Calibration, Reference, ranks_of, threshold_of
from models.driver import train_together
from models.fold_training import FoldTraining, TrainingTables
from models.folds import NOT_TRAINED, KnownRows, TrainingSample, own_folds, remember, same_length
from models.jobs import LOSSES, Training, with_losses
from models.preprocessing import array_column
from models.quantile_regression import train_quantiles
from models.regions import HIGH, LOW, SIGNAL, Regions
from models.seeds import task_seed


@dataclass(frozen=True)
class _Trained:
    """State after training: arrays, losses and calibration of each fold."""

    folds: tuple[Arrays, ...]
    losses: tuple[Arrays, ...]
    calibrations: tuple[Calibration, ...]
    known: KnownRows
    provenance: Provenance
    identified_by: Literal["event id", "row contents"]


class FoldedMethod(FoldTraining):
    """A method trained in five folds.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create`.
    """

    def __init__(self, window: Regions, working_point: float, seed: int, options: Section) -> None:
        super().__init__(window, working_point, seed, options)
        self._trained: _Trained | None = None

    @abc.abstractmethod
    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Raw score of a fold's networks: finite, larger is more anomalous, independent of the other rows.

        Parameters
        ----------
        fold
            Arrays of the fold.
        columns
            ``mjj`` (GeV) and the inputs: float64, or float32 where a column holds an array an event.

        Returns
        -------
        numpy.ndarray
            float64, shape (events,).
        """

    @abc.abstractmethod
    def check_fold(self, fold: Arrays) -> None:
        """Refuse arrays of a bundle that could not have been saved.

        Parameters
        ----------
        fold
            Arrays of the fold.

        Raises
        ------
        ValueError
            Saying what is wrong with them.
        """

    def raw_cut(self, held: FloatArray, rows: int) -> float | None:
        """Raw score above which a fold selects; None where the working point decides.

        Parameters
        ----------
        held
            Raw scores of all of the fold's held-out events, whatever their mjj; shape (events,).
        rows
            Events of the whole table.

        Returns
        -------
        float or None
            In units of the raw score.
        """
        return self.fixed_cut

    @property
    def threshold_is(self) -> str:
        """Where the threshold comes from, for the bundle's readers."""
        if self.fixed_cut is not None:
            return f"fixed at a raw score of {self.fixed_cut:g}"
        if self.calibrated_on == "background":
            return "weighted quantile of the fold's held-out background in the signal region"
        return "weighted quantile of the fold's held-out events, both side bands equal"

    def fit(self, table: Table | None = None, *, workers: int = 1, **further: Table) -> Self:
        """Train on a table and the further tables that the method takes; see `Method.fit`."""
        return self._driven(self.training(table, further), workers)

    def training(self, table: Table | None, further: Mapping[str, Table]) -> Training[None]:
        """The whole training as a generator of jobs.

        Parameters
        ----------
        table
            As for `Method.fit`.
        further
            The further tables by keyword.

        Returns
        -------
        None
            The method is trained once the generator has returned.

        Raises
        ------
        InputError, TrainingError
            As `Method.fit`, when the generator runs.
        """
        tables = self.tables(table, further)
        folds = yield from self.train(tables.sample, tables.extras)
        yield from self._assembling(tables, folds)

    def assemble(self, tables: TrainingTables, folds: Sequence[Arrays], *, workers: int = 1) -> Self:
        """Make the trained method of five folds that were trained one by one.

        The result is that of `fit`, to the bit on one CPU.

        Parameters
        ----------
        tables
            Those that the folds were trained on.
        folds
            Arrays of fold 0 … 4, as `models.tasks.collect_parts` gives them.
        workers
            As for `Method.fit`.

        Returns
        -------
        FoldedMethod
            The method itself, trained.

        Raises
        ------
        TrainingError
            As `Method.fit`.
        InputError
            If the arrays of a fold are not those of this method.
        """
        if len(folds) != N_FOLDS:
            msg = f"method '{self.name}' is made of {N_FOLDS} folds, found {len(folds)}; train those that are missing"
            raise InputError(msg)
        for number, fold in enumerate(folds):
            try:
                self.check_fold(without(fold, LOSSES))
            except ValueError as error:
                msg = f"method '{self.name}', fold {number}: {error}; train the fold again with these options"
                raise InputError(msg) from None
        return self._driven(self._assembling(tables, folds), workers)

    def _driven(self, training: Training[None], workers: int) -> Self:
        place = self.options.device, self.options.precision
        train_together([training], workers=workers, device=place[0], precision=place[1])
        return self

    def _assembling(self, tables: TrainingTables, folds: Sequence[Arrays]) -> Training[None]:
        """Calibrate trained folds, each with its own rows, and take them over."""
        sample, extras = tables.sample, tables.extras
        own = tuple(without(fold, LOSSES) for fold in folds)
        calibrations, learned = yield from with_losses(self._calibrated(sample, extras, own))
        # What a calibration trains has one member a fold.
        losses = tuple(
            {**below(fold, LOSSES), **{name: each[[number]] for name, each in learned.items()}}
            for number, fold in enumerate(folds)
        )
        region = self.window.of(sample.columns["mjj"])
        counts = {number: int(np.count_nonzero(region == number)) for number in (LOW, SIGNAL, HIGH)}
        provenance = Provenance(
            table_hash=tables.table_hash,
            rows=len(region),
            rows_low=counts[LOW],
            rows_signal=counts[SIGNAL],
            rows_high=counts[HIGH],
            further=tables.further_hashes,
            versions=versions(),
        )
        known = remember(sample, *extras.values())
        self._trained = _Trained(own, losses, tuple(calibrations), known, provenance, sample.identified_by)

    def _calibrated(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], folds: Sequence[Arrays]
    ) -> Training[list[Calibration]]:
        """Ranks and thresholds of all folds, each from events that the fold's networks never saw."""
        source = extras["background"] if self.calibrated_on == "background" else sample
        region = self.window.of(source.columns["mjj"])
        wanted = region == SIGNAL if self.calibrated_on == "background" else region >= 0
        decorrelated = self.options.decorrelate == "quantile"
        raws, ranks, references, cuts = [], [], [], []
        for number, fold in enumerate(folds):
            own = source.fold == number
            raws.append(self._raw(fold, {name: source.columns[name][own] for name in self._hashed}))
            # A score that follows mjj is largest beyond the window: ranks that are to be made flat must not end there.
            ranked = np.ones_like(wanted[own]) if decorrelated else wanted[own]
            weight = source.weight[own]
            cuts.append(self.raw_cut(raws[number], len(source.fold)))
            ranks.append(ranks_of(raws[number][ranked], weight[ranked], cuts[number]))
            inside = wanted[own]
            references.append(
                Reference(source.columns["mjj"][own][inside], region[own][inside], weight[inside])
            )
        curves: Sequence[Any] = [None] * N_FOLDS
        if decorrelated:
            curves = yield from self._curves(source, raws, ranks)
        calibrations = []
        for number, reference in enumerate(references):
            own = Calibration(ranks[number], 0.0, curves[number])
            inside = wanted[source.fold == number]
            score = own.score(raws[number][inside], reference.mjj)
            cut = cuts[number]
            threshold = (
                threshold_of(score, reference, self.working_point)
                if cut is None
                else float(own.ranks(np.array([cut]))[0])
            )
            calibrations.append(Calibration(own.ranks, threshold, own.curves))
        return calibrations

    def _curves(
        self, source: TrainingSample, raws: Sequence[FloatArray], ranks: Sequence[Any]
    ) -> Training[Any]:
        """Quantiles of the rank against mjj, from the events of the whole spectrum."""
        pooled = np.zeros(len(source.fold))
        for number, raw in enumerate(raws):
            pooled[source.fold == number] = ranks[number](raw)
        settings = self.options.quantile
        seeds = functools.partial(task_seed, self.seed, self.name, self.window.label(), "quantiles")
        levels = settings.levels(self.working_point)
        curves = yield from train_quantiles(
            pooled, source.columns["mjj"], source.fold, levels, settings, seeds, source.weight
        )
        return curves

    def _raw(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        raw = self.raw_score(fold, columns)
        bad = np.flatnonzero(~np.isfinite(raw))
        if len(bad):
            values = ", ".join(
                f"{name} {columns[name][bad[0]]:g}" for name in columns if columns[name].ndim == 1
            )
            msg = (
                f"method '{self.name}': {len(bad)} of {len(raw)} scores are not finite, the first for {values}; "
                "look for extreme values among these"
            )
            raise InputError(msg)
        return raw

    def evaluate(self, table: Table, *, trained_on: bool | None = None) -> tuple[FloatArray, IntArray]:
        """Rank and votes; networks of a fold see only the events that they may score. See `Method.evaluate`."""
        trained = self._state()
        columns = {name: array_column(table, name) for name in self._hashed}
        rows = len(columns["mjj"])
        same_length(columns, self._hashed, rows)
        own = own_folds(table, self._hashed, trained.known, trained_on=trained_on)
        everyone = own == NOT_TRAINED
        score, votes = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        for number, (fold, calibration) in enumerate(zip(trained.folds, trained.calibrations, strict=True)):
            chosen = np.flatnonzero(everyone | (own == number))
            if len(chosen) == 0:
                continue
            here = {name: values[chosen] for name, values in columns.items()}
            rank = calibration.score(self._raw(fold, here), here["mjj"])
            score[chosen] += rank
            votes[chosen] += np.where(everyone[chosen], 1, N_FOLDS) * (rank > calibration.threshold)
        return np.where(everyone, score / N_FOLDS, score), votes

    def _state(self) -> _Trained:
        if self._trained is None:
            msg = f"method '{self.name}' is not trained; call fit(table) or load a bundle first"
            raise TrainingError(msg)
        return self._trained

    def save(self, folder: str | Path) -> None:
        """Write ``weights.safetensors`` and ``bundle.json``; see `Method.save`."""
        trained = self._state()
        arrays: Arrays = {"trained/hashes": trained.known.hashes, "trained/folds": trained.known.folds}
        for number, calibration in enumerate(trained.calibrations):
            arrays |= prefixed(f"fold{number}/", trained.folds[number])
            arrays |= prefixed(f"fold{number}/{LOSSES}", trained.losses[number])
            arrays |= prefixed(f"calibration{number}/", calibration.arrays())
        content, digest = serialise(arrays)
        header = Header(
            method=self.name,
            signal_region=self.signal_region,
            low_band=self.low_band,
            high_band=self.high_band,
            working_point=self.working_point,
            seed=self.seed,
            options=self.options.model_dump(mode="json"),
            inputs=self.inputs,
            folds=FoldScheme(identified_by=trained.identified_by, hashed=self._hashed),
            calibration=self._note(),
            thresholds=tuple(calibration.threshold for calibration in trained.calibrations),
            training=trained.provenance,
            weights_sha256=digest,
        )
        write_bundle(Path(folder), header, content)

    def _note(self) -> CalibrationNote:
        where = "window" if self.calibrated_on == "side bands" else "signal region of the background"
        if self.options.decorrelate == "quantile":
            where = "whole table" if self.calibrated_on == "side bands" else "whole background"
        return CalibrationNote(
            score=self.score_is,
            ranks=f"among the fold's held-out events in the {where}",
            decorrelation="none" if self.options.decorrelate == "none" else "quantile regression against mjj",
            threshold=self.threshold_is,
        )

    @classmethod
    def restore(cls, header: Header, arrays: Arrays, source: str) -> Self:
        """The trained method that a bundle holds."""
        options = cls.options_type.parse(header.options, f"{source}: options")
        window = Regions(header.low_band, header.signal_region, header.high_band)
        method = cls(window, header.working_point, header.seed, options)
        try:
            found = [below(arrays, f"fold{number}/") for number in range(N_FOLDS)]
            losses = tuple(below(fold, LOSSES) for fold in found)
            folds = tuple(without(fold, LOSSES) for fold in found)
            for fold in folds:
                method.check_fold(fold)
            calibrations = tuple(
                Calibration.from_arrays(below(arrays, f"calibration{number}/"), threshold)
                for number, threshold in enumerate(header.thresholds)
            )
            known = KnownRows.checked(arrays)
        except ValueError as error:
            msg = f"{source}: {error}; the bundle is damaged: train the method again"
            raise InputError(msg) from None
        by = header.folds.identified_by
        method._trained = _Trained(folds, losses, calibrations, known, header.training, by)
        return method
