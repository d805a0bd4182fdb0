"""Combinations of methods as methods of their own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pydantic

from data.errors import ConfigError, TrainingError
from data.sections import Section
from data.types import FloatArray, IntArray
from models.arrays import Arrays, below, prefixed, take
from models.base import check_options, create, register
from models.combination import Trials, maximum_rank, mean_rank, working_point_of_each
from models.cuts import CutOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Training
from models.options import MethodOptions
from models.preprocessing import RankTransform, fit_ranks
from models.regions import HIGH, LOW, Regions
from models.thresholds import side_band_threshold

_OF_THE_WHOLE = frozenset({"device", "precision", "decorrelate", "quantile", "preset"})


class PartsOptions(MethodOptions):
    """Options of a combination."""

    methods: tuple[str, ...] = ("cwola", "tnt")
    """The methods combined, two or more."""
    settings: Mapping[str, Mapping[str, Any]] = {}
    """Options of the methods, by name."""
    preset_of_methods: Literal["default", "quick", "paper"] = "default"
    """Preset of each method; ``settings`` win."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of all methods."""
        columns = [column for name in self.methods for column in self._columns_of(name)]
        return tuple(dict.fromkeys(columns))

    def options_of(self, name: str) -> dict[str, Any]:
        """Options of a method, its preset among them."""
        return {"preset": self.preset_of_methods, **self.settings.get(name, {})}

    def _columns_of(self, name: str) -> tuple[str, ...]:
        return check_options(name, self.options_of(name), f"settings.{name}")

    @pydantic.model_validator(mode="after")
    def _methods_exist(self) -> Self:
        if len(set(self.methods)) != len(self.methods) or len(self.methods) < 2:
            msg = f"methods: expected two or more, each named once, found {', '.join(self.methods) or 'none'}"
            raise ValueError(msg)
        other = sorted(set(self.settings).difference(self.methods))
        if other:
            msg = (
                f"settings: {', '.join(other)} not among methods ({', '.join(self.methods)}); add them there, or leave "
                "their settings out"
            )
            raise ValueError(msg)
        for name in self.methods:
            own = sorted(_OF_THE_WHOLE.intersection(self.settings.get(name, {})))
            if own:
                msg = f"settings.{name}: set {', '.join(own)} for the whole combination (preset as preset_of_methods)"
                raise ValueError(msg)
            try:
                self._columns_of(name)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self


class CombinationOptions(PartsOptions):
    """Options of ``combination``."""

    how: Literal["mean_rank", "maximum_rank"] = "mean_rank"
    """``mean_rank``: what all methods find a little odd; ``maximum_rank``: what one of them finds very odd."""


class UnionOptions(CutOptions, PartsOptions):
    """Options of ``union``."""

    trials: Trials = "bonferroni"
    """How the working point is shared: ``bonferroni`` ε/n, ``sidak`` 1 − (1 − ε)^(1/n)."""


class _Combined(FoldedMethod):
    """Base of combinations: trains its methods in the same folds and puts them on one footing.

    A method's rank here is the share of the fold's held-out side-band events below, both bands equal: two methods with
    equal ranks would keep the same background if they were cut there.
    """

    takes = {"signal": False, "background": False, "wide": False}
    optional_columns = {"signal": ("prior",)}
    family = "combination"
    flat = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"preset_of_methods": "quick"},
        "paper": {"preset_of_methods": "paper"},
    }
    options: PartsOptions

    def __init__(self, window: Regions, working_point: float, seed: int, options: Section) -> None:
        super().__init__(window, working_point, seed, options)
        self.parts: dict[str, FoldedMethod] = {}
        for name in self.options.methods:
            part = create(
                name,
                signal_region=window.signal,
                low_band=window.low,
                high_band=window.high,
                working_point=working_point,
                seed=seed,
                **self.options.options_of(name),
            )
            self.parts[name] = cast("FoldedMethod", part)

    def training_columns(self) -> tuple[str, ...]:
        """Further columns that the methods' trainings read."""
        columns = [column for part in self.parts.values() for column in part.training_columns()]
        return tuple(column for column in dict.fromkeys(columns) if column not in self.inputs)

    def train_fold(
        self, sample: TrainingSample, extras: Mapping[str, TrainingSample], fold: int
    ) -> Training[Arrays]:
        """All methods one after the other, then their ranks; see `FoldTraining.train_fold`."""
        for name, part in self.parts.items():
            lacking = sorted(table for table, needed in part.takes.items() if needed and table not in extras)
            if lacking:
                msg = f"method '{name}' of the combination needs further tables: pass {', '.join(lacking)} to fit"
                raise TrainingError(msg)
        trained: Arrays = {}
        for name, part in self.parts.items():
            own = {table: extra for table, extra in extras.items() if table in part.takes}
            trained |= prefixed(f"{name}/method/", (yield from part.train_fold(sample, own, fold)))
        region = self.window.of(sample.columns["mjj"])
        held = (sample.fold == fold) & np.isin(region, (LOW, HIGH))
        columns = {column: sample.columns[column][held] for column in ("mjj", *self.inputs)}
        for name, part in self.parts.items():
            raw = part.raw_score(below(trained, f"{name}/method/"), columns)
            trained |= prefixed(f"{name}/", self.calibration(raw, region[held]))
        return trained

    def calibration(self, raw: FloatArray, region: IntArray) -> Arrays:
        """What a fold keeps of a method's held-out side-band scores: its ranks."""
        high = region == HIGH
        equal = np.where(high, np.count_nonzero(~high) / np.count_nonzero(high), 1.0)
        return prefixed("rank/", fit_ranks(raw, equal).arrays())

    def ranks(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, FloatArray]:
        """Rank of each event with each method."""
        return {
            name: _transform(fold, name)(part.raw_score(below(fold, f"{name}/method/"), columns))
            for name, part in self.parts.items()
        }

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        for name, part in self.parts.items():
            part.check_fold(below(fold, f"{name}/method/"))
            _transform(fold, name)


def _transform(fold: Arrays, name: str) -> RankTransform:
    return RankTransform.from_arrays(below(fold, f"{name}/rank/"), f"of '{name}'")


@register
class Combination(_Combined):
    """Mean or largest rank of several methods as one score.

    The methods learn in the same folds, each as it would alone; their raw scores, before any decorrelation of their
    own, become ranks among the held-out side-band events, and the combined rank (made flat in mjj by ``decorrelate`` of
    the whole) is cut so that the working point's fraction of the side bands
    is kept. The largest rank selects the union of the methods at a common working point of their own, chosen such that
    the union keeps what one method would: the correlations of the background are paid for as they are in the data.

    *Assumes* what each of its methods assumes. *Is blind to* what all of them are blind to; a method that sees nothing
    costs the others sensitivity.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `CombinationOptions`.

    References
    ----------
    CMS-EXO-22-026, arXiv:2412.03747, where scores of the methods are found to be little correlated.
    """

    name = "combination"
    summary = "Several methods as one score: mean or largest of their ranks"
    score_is = "mean or largest of the methods' ranks"
    options_type = CombinationOptions
    options: CombinationOptions

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """The combined rank."""
        how: Mapping[str, Callable[[Sequence[FloatArray]], FloatArray]] = {
            "mean_rank": mean_rank,
            "maximum_rank": maximum_rank,
        }
        return how[self.options.how](list(self.ranks(fold, columns).values()))


@register
class Union(_Combined):
    """What at least one of several methods selects, the working point shared among them.

    Each of n methods keeps ε/n of the side bands (or 1 − (1 − ε)^(1/n), Šidák), so that together they keep no more than
    the working point ε whatever their correlations: the trial factor n is paid in advance. The score is the distance
    of the nearest method's rank to its threshold. `combination` with ``maximum_rank`` instead keeps exactly ε.

    *Assumes* what each of its methods assumes. *Is blind to* what all of them are blind to at the tighter cut.

    Parameters
    ----------
    window, working_point, seed, options
        See `models.create` and `UnionOptions`.

    References
    ----------
    Z. Šidák, J. Am. Stat. Assoc. 62 (1967) 626. CMS-EXO-22-026, arXiv:2412.03747, where scores of the methods are found
    to be little correlated.
    """

    name = "union"
    summary = "What at least one of several methods selects, at a working point of ε/n each"
    score_is = "largest distance of a method's rank to its threshold"
    fixed_cut = 0.0
    options_type = UnionOptions
    options: UnionOptions

    def calibration(self, raw: FloatArray, region: IntArray) -> Arrays:
        """Ranks, and the threshold of the shared working point."""
        arrays = super().calibration(raw, region)
        rank = RankTransform.from_arrays(below(arrays, "rank/"), "of a method")(raw)
        own = working_point_of_each(self.working_point, len(self.parts), self.options.trials)
        if len(raw) * own < 1.0:
            msg = (
                f"window {self.window.label()} GeV: a fold holds {len(raw)} side-band events; a threshold at the working "
                f"point {own:g} of each of {len(self.parts)} methods needs {np.ceil(1.0 / own):.0f}: raise "
                "working_point or add events"
            )
            raise TrainingError(msg)
        return arrays | {"threshold": np.array([side_band_threshold(rank, region, own)])}

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Above 0 where a method selects the event."""
        ranks = self.ranks(fold, columns)
        return maximum_rank([rank - fold[f"{name}/threshold"][0] for name, rank in ranks.items()])

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        super().check_fold(fold)
        for name in self.parts:
            if not 0 <= take(fold, f"{name}/threshold", "float64", 1)[0] <= 1:
                msg = f"the threshold of '{name}' is not a rank"
                raise ValueError(msg)
