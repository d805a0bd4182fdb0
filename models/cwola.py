"""CWoLa Hunting: a classifier of signal region against side bands, which needs no label."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import InputError, TrainingError
from data.eventid import N_FOLDS
from data.sections import Section
from data.types import FloatArray, IntArray, Table
from models.base import Method, register
from models.bundle import (
    Arrays,
    Calibration,
    FoldScheme,
    Header,
    Training,
    digest_of,
    serialise,
    versions,
    write_bundle,
)
from models.classifiers import Classifier, Kind, MlpSettings, TreeSettings
from models.cwola_training import FoldResult, FoldTask, Head, checked_sample, train_folds
from models.folds import NOT_TRAINED, KnownRows, own_folds, remember
from models.preprocessing import column, input_matrix
from models.regions import HIGH, LOW, SIGNAL, Regions
from models.weights import PT_BINS

JETS = ("j1", "j2")
JET_INPUTS = ("m", "tau21", "tau32", "tau43", "lsf3", "deepb", "n_pf")
_NOT_INPUTS = frozenset({"mjj", "label", "weight", "region", "run", "luminosity_block", "event"})


class CwolaOptions(Section):
    """Options of ``cwola``."""

    features: tuple[str, ...] = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
    """Input columns; by default the seven a jet of CMS-EXO-22-026."""
    scope: Literal["jet", "event"] | None = None
    """``jet``: one classifier a jet, the larger rank counts; ``event``: one classifier of all inputs. By default
    ``jet`` where every feature is of a jet (its name ends in _j1 or _j2)."""
    classifier: Kind = "trees"
    trees: TreeSettings = TreeSettings()
    mlp: MlpSettings = MlpSettings()
    pt_bins: int = pydantic.Field(default=PT_BINS, ge=0, le=200)
    """Bins of the jet-pT reweighting in scope ``jet``; 0 for none."""

    @pydantic.model_validator(mode="after")
    def _features_are_inputs(self) -> Self:
        forbidden = sorted(_NOT_INPUTS.intersection(self.features))
        if forbidden or not self.features or len(set(self.features)) != len(self.features):
            reason = (
                f"{', '.join(forbidden)} may not be used"
                if forbidden
                else "name each input once, at least one"
            )
            msg = f"features: {reason}"
            raise ValueError(msg)
        other = [name for name in self.features if not name.endswith(tuple(f"_{jet}" for jet in JETS))]
        if self.scope == "jet" and other:
            msg = f"features: {', '.join(other)} belong to no jet; use scope: event"
            raise ValueError(msg)
        return self

    def heads(self) -> tuple[Head, ...]:
        """The classifiers of a fold."""
        of_jets = {jet: tuple(name for name in self.features if name.endswith(f"_{jet}")) for jet in JETS}
        in_jets = sum(len(names) for names in of_jets.values())
        if self.scope == "event" or (self.scope is None and in_jets < len(self.features)):
            return (Head("event", self.features, None),)
        return tuple(
            Head(jet, names, f"pt_{jet}" if self.pt_bins else None) for jet, names in of_jets.items() if names
        )


@dataclass(frozen=True)
class _Trained:
    """State after training."""

    folds: tuple[FoldResult, ...]
    known: KnownRows
    training: Training
    identified_by: Literal["event id", "row contents"]


@register
class Cwola(Method):
    """Classification without labels in a mass window, as CMS-EXO-22-026 ran it.

    For each jet a classifier learns to tell the signal region from its two side bands. If the inputs of background
    jets do not depend on mjj, the best such classifier is a monotonic function of the likelihood ratio of signal to
    background, whatever the signal is. The classifier's outputs are turned into ranks, the larger of both jets is the
    score, and the cut keeps a fixed fraction of the side bands; the whole mjj spectrum is then kept for the fit.

    *Assumes* that background inputs, once the jet's pT spectrum is matched, are the same in signal region and side
    bands. *Is blind to* signals wider than the signal region, to signals so weak that the classifier learns
    fluctuations instead, and to what only the correlation of both jets shows.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CwolaOptions`.

    References
    ----------
    J. H. Collins, K. Howe, B. Nachman, "Anomaly Detection for Resonant New Physics with Machine Learning",
    Phys. Rev. Lett. 121 (2018) 241803, arXiv:1805.02664. E. M. Metodiev, B. Nachman, J. Thaler, "Classification
    without labels", JHEP 10 (2017) 174, arXiv:1708.02949. CMS, EXO-22-026, arXiv:2412.03747 and arXiv:2512.20395.
    """

    name = "cwola"
    summary = "CWoLa Hunting: signal region against side bands, a classifier for each jet (arXiv:1805.02664)"
    options_type = CwolaOptions
    options: CwolaOptions

    def __init__(self, window: Regions, working_point: float, seed: int, options: Section) -> None:
        super().__init__(window, working_point, seed, options)
        self._heads = self.options.heads()
        self._trained: _Trained | None = None

    @classmethod
    def required_columns(cls, options: Section) -> tuple[str, ...]:
        """The features."""
        return cast("CwolaOptions", options).features

    @property
    def _hashed(self) -> tuple[str, ...]:
        return ("mjj", *self.inputs)

    @property
    def _classifier(self) -> Classifier:
        kind = self.options.classifier
        return Classifier(kind, self.options.trees if kind == "trees" else self.options.mlp)

    def task(self) -> FoldTask:
        """All that the training of a fold depends on besides sample and fold; see `cwola_training.train_fold`."""
        return FoldTask(
            self._heads,
            self._classifier,
            self.window,
            self.working_point,
            self.seed,
            self.name,
            self.options.pt_bins,
        )

    def fit(self, table: Table, *, workers: int = 1) -> Self:
        """Train 5 folds × 4 inner splits of each jet's classifier and calibrate each fold on its held-out events.

        Parameters
        ----------
        table
            ``mjj``, the inputs, and ``pt_j1``, ``pt_j2`` (GeV) for the reweighting; event ids where there are any.
        workers
            Processes that train folds side by side.

        Raises
        ------
        InputError
            If a column is missing or holds values that are not finite.
        TrainingError
            If a band is empty, an input constant, a fold too small, an event doubled, or the table weighted.
        """
        task = self.task()
        sample = checked_sample(table, task, self._hashed)
        folds = train_folds(sample, task, workers)
        region = self.window.of(sample.columns["mjj"])
        counts = {number: int(np.count_nonzero(region == number)) for number in (LOW, SIGNAL, HIGH)}
        training = Training(
            table_hash=digest_of({**sample.columns, "batch": sample.batch}),
            rows=len(region),
            rows_low=counts[LOW],
            rows_signal=counts[SIGNAL],
            rows_high=counts[HIGH],
            versions=versions(),
        )
        self._trained = _Trained(folds, remember(sample), training, sample.identified_by)
        return self

    def evaluate(self, table: Table, *, trained_on: bool | None = None) -> tuple[FloatArray, IntArray]:
        """Larger rank of both jets, and votes; networks of a fold see only the events that they may score.

        See `Method.evaluate`.
        """
        trained = self._state()
        rows = len(column(table, "mjj"))
        x = {head.name: input_matrix(table, head.inputs) for head in self._heads}
        other = [head.name for head in self._heads if len(x[head.name]) != rows]
        if other:
            msg = f"inputs of {', '.join(other)}: another number of rows than mjj ({rows})"
            raise InputError(msg)
        own = own_folds(table, self._hashed, trained.known, trained_on=trained_on)
        everyone = own == NOT_TRAINED
        score, votes = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        for number, fold in enumerate(trained.folds):
            chosen = np.flatnonzero(everyone | (own == number))
            rank = fold.score(
                {name: values[chosen] for name, values in x.items()}, self._heads, self._classifier
            )
            score[chosen] += rank
            votes[chosen] += np.where(everyone[chosen], 1, N_FOLDS) * (rank > fold.threshold)
        return np.where(everyone, score / N_FOLDS, score), votes

    def _state(self) -> _Trained:
        if self._trained is None:
            msg = f"method '{self.name}' is not trained; call fit(table) or load a bundle first"
            raise TrainingError(msg)
        return self._trained

    def save(self, folder: str | Path) -> None:
        """Write ``weights.safetensors`` and ``bundle.json``.

        Parameters
        ----------
        folder
            Made where it is missing.

        Raises
        ------
        TrainingError
            If the method is not trained.
        """
        trained = self._state()
        arrays: Arrays = {"trained/hashes": trained.known.hashes, "trained/folds": trained.known.folds}
        for number, fold in enumerate(trained.folds):
            arrays |= {f"fold{number}/{name}": array for name, array in fold.arrays().items()}
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
            calibration=Calibration(
                ranks="of each classifier's output among the fold's held-out events in the window",
                combination="largest rank of the classifiers",
                threshold="weighted quantile of the fold's held-out side-band events, both bands equal",
            ),
            thresholds=tuple(fold.threshold for fold in trained.folds),
            training=trained.training,
            weights_sha256=digest,
        )
        write_bundle(Path(folder), header, content)

    @classmethod
    def restore(cls, header: Header, arrays: Arrays, source: str) -> Self:
        """The trained method that a bundle holds."""
        options = CwolaOptions.parse(header.options, f"{source}: options")
        window = Regions(header.low_band, header.signal_region, header.high_band)
        method = cls(window, header.working_point, header.seed, options)
        try:
            folds = tuple(
                FoldResult.from_arrays(
                    _below(arrays, f"fold{number}/"), method._heads, method._classifier, threshold
                )
                for number, threshold in enumerate(header.thresholds)
            )
            known = KnownRows.checked(arrays)
        except ValueError as error:
            msg = f"{source}: {error}; the bundle is damaged: train the method again"
            raise InputError(msg) from None
        method._trained = _Trained(folds, known, header.training, header.folds.identified_by)
        return method


def _below(arrays: Arrays, prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
