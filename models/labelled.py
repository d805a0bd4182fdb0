"""Two samples to be told apart in the signal region, fold by fold: what the reference classifiers share."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from data.errors import TrainingError
from data.eventid import N_INNER, inner_split
from data.types import FloatArray
from models.arrays import Arrays
from models.classifiers import LHCO_MLP, ManyEventsOptions
from models.folded import FoldedMethod
from models.folds import TrainingSample
from models.jobs import Training
from models.options import FeatureOptions
from models.preprocessing import input_matrix
from models.problems import Problem
from models.regions import SIGNAL, Regions


def labelled_problem(
    first: TrainingSample,
    second: TrainingSample,
    inputs: tuple[str, ...],
    window: Regions,
    names: tuple[str, str],
    fold: int,
) -> Problem:
    """A fold's classification problem: events of the first sample against those of the second, the fold's own left out.

    Both classes weigh the same in total; inside a class events keep their weights.

    Parameters
    ----------
    first, second
        The samples; the first is the class whose probability is wanted.
    inputs
        Columns that the classifier reads.
    window
        Only events of its signal region are used.
    names
        What the two samples are, for messages.
    fold
        The fold held out.

    Returns
    -------
    Problem
        Of all inner splits, target True for the first sample.

    Raises
    ------
    TrainingError
        If a sample has no event of positive weight in an inner split of the fold.
    """
    parts = [
        _part(sample, inputs, window, fold, name) for sample, name in zip((first, second), names, strict=True)
    ]
    target = np.repeat([True, False], [len(part.target) for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    x, split = np.concatenate([part.x for part in parts]), np.concatenate([part.split for part in parts])
    return Problem(x, target, weight / weight.mean(), split)


def _part(sample: TrainingSample, inputs: tuple[str, ...], window: Regions, fold: int, name: str) -> Problem:
    """One class of a fold's problem, of total weight 1."""
    split = inner_split(sample.batch, fold)
    fitted = (split >= 0) & (window.of(sample.columns["mjj"]) == SIGNAL) & (sample.weight > 0)
    for number in range(N_INNER):
        if not np.any(split[fitted] == number):
            low, high = window.signal
            msg = (
                f"{name}: no event with {low:g} ≤ mjj < {high:g} GeV in inner split {number} of fold {fold} "
                f"({np.count_nonzero(fitted)} in the fold's training); add events or widen the signal region"
            )
            raise TrainingError(msg)
    weight = sample.weight[fitted] / sample.weight[fitted].sum()
    columns = {column: sample.columns[column][fitted] for column in inputs}
    return Problem(input_matrix(columns, inputs), np.ones(len(weight), dtype=bool), weight, split[fitted])


class LabelledOptions(FeatureOptions, ManyEventsOptions):
    """Options of the reference classifiers."""

    features: tuple[str, ...] = ("m_j1", "delta_m", "tau41_j1", "tau41_j2")
    """Input columns; by default those of `cathode`, so that both can be compared."""


class LabelledMethod(FoldedMethod):
    """One classifier of two samples in the signal region."""

    family = "reference"
    flat = False
    calibrated_on = "background"
    bands = (SIGNAL,)
    options_type = LabelledOptions
    options: LabelledOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"trees": {"bags": 2, "iterations": 60}, "mlp": {"bags": 1, "schedule": {"epochs": 10}}},
        "paper": {"classifier": "mlp", "mlp": LHCO_MLP},
    }

    def told_apart(
        self, first: TrainingSample, second: TrainingSample, names: tuple[str, str], fold: int
    ) -> Training[Arrays]:
        """A fold's classifier, for each of 4 inner splits.

        Parameters
        ----------
        first, second
            The samples; the first is the class whose probability is wanted.
        names
            What the two samples are, for messages.
        fold
            The fold held out.

        Returns
        -------
        dict
            Arrays of the classifier.

        Raises
        ------
        TrainingError
            As `labelled_problem`.
        """
        problem = labelled_problem(first, second, self.inputs, self.window, names, fold)
        (networks,) = yield from self.options.built.train([problem], [self.seeds(fold)])
        return networks

    def raw_score(self, fold: Arrays, columns: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Probability of the first sample, where both are as frequent."""
        return self.options.built.probability(fold, input_matrix(columns, self.inputs))

    def check_fold(self, fold: Arrays) -> None:
        """See `FoldedMethod.check_fold`."""
        self.options.built.check(fold, len(self.inputs))
