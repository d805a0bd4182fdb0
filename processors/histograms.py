"""Pass 2: the spectra and score distributions of every selection, filled chunk by chunk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from data.errors import IncompleteError, InputError
from data.types import FloatArray, Table
from processors.loop import Recipe
from processors.scorers import (
    BANDS,
    FOLDS,
    INCLUSIVE,
    ScorerReference,
    band_of,
    judge,
    load,
)
from processors.selection import REGIONS
from processors.weights import WeightScale, check_exact

MJJ_BINS, MJJ_LOW, MJJ_HIGH = 3200, 1200.0, 14000.0
"""4 GeV bins."""
SCORE_BINS = 100
VARIATIONS = ("nominal",)

Histogram = hist.Hist[Any]
Histograms = dict[str, Histogram]


@dataclass(frozen=True)
class Fill:
    """coffea processor of pass 2: fills histograms of one sample with weight × votes (0 … 5)."""

    recipe: Recipe
    process: str
    scorers: tuple[ScorerReference, ...]
    trained_on: bool

    def __call__(self, events: Any) -> dict[str, Any]:
        """Process one chunk, given as coffea's array of virtual columns."""
        table, tally = self.recipe.table(events)
        histograms = empty_histograms([self.process], [scorer.label for scorer in self.scorers])
        if len(table["mjj"]):
            self._fill(histograms, table)
        return {**tally, "histograms": histograms}

    def _fill(self, histograms: Histograms, table: Table) -> None:
        every = np.full(len(table["mjj"]), FOLDS, dtype=np.int64)
        fill_mjj(histograms["mjj"], table, self.process, INCLUSIVE, every)
        for reference in self.scorers:
            scorer = load(reference)
            score, votes = judge(scorer, reference.label, table, trained_on=self.trained_on)
            fill_mjj(histograms["mjj"], table, self.process, reference.label, votes)
            band = band_of(scorer, table["mjj"])
            fill_score(histograms["score"], (score, band), self.process, reference.label, table["weight"])


def empty_histograms(processes: Sequence[str], selections: Sequence[str]) -> Histograms:
    """Histograms with fixed labels and nothing in them.

    Parameters
    ----------
    processes
        Labels of the axis ``process``.
    selections
        Labels of the methods' selections; ``inclusive`` is always there in ``mjj``.

    Returns
    -------
    dict
        ``mjj`` and, where there are methods, ``score``; Weight storage.
    """
    process = hist.axis.StrCategory(list(processes), name="process")
    mjj = hist.Hist(
        hist.axis.Regular(MJJ_BINS, MJJ_LOW, MJJ_HIGH, name="mjj", label="dijet mass [GeV]"),
        process,
        hist.axis.StrCategory(list(REGIONS), name="region"),
        hist.axis.StrCategory([INCLUSIVE, *selections], name="selection"),
        hist.axis.StrCategory(list(VARIATIONS), name="variation"),
        storage=hist.storage.Weight(),
    )
    if not selections:
        return {"mjj": mjj}
    score = hist.Hist(
        hist.axis.Regular(SCORE_BINS, 0.0, 1.0, name="score", label="score"),
        process,
        hist.axis.StrCategory(list(selections), name="selection"),
        hist.axis.StrCategory(list(BANDS), name="band"),
        storage=hist.storage.Weight(),
    )
    return {"mjj": mjj, "score": score}


def fill_mjj(
    histogram: Histogram, table: Table, process: str, selection: str, votes: npt.NDArray[np.int64]
) -> None:
    """Fill the dijet masses (GeV) with weight × votes.

    Raises
    ------
    InputError
        If a label is not on its axis: hist would put the events into the flow without a word.
    IncompleteError
        If the histogram does not hold what was put in.
    """
    weight = table["weight"] * votes
    for code, region in enumerate(REGIONS):
        here = (table["region"] == code) & (votes > 0)
        labels = {"process": process, "region": region, "selection": selection, "variation": VARIATIONS[0]}
        _fill(histogram, {"mjj": table["mjj"][here]}, labels, weight[here])


def fill_score(
    histogram: Histogram,
    score_and_band: tuple[FloatArray, npt.NDArray[np.int64]],
    process: str,
    selection: str,
    weight: FloatArray,
) -> None:
    """Fill scores in [0, 1] with the weights; a score of 1 goes to the last bin.

    Raises
    ------
    InputError
        If a label is not on its axis.
    IncompleteError
        If the histogram does not hold what was put in.
    """
    score, band = score_and_band
    inside = np.minimum(score, np.nextafter(1.0, 0.0))
    for number, name in enumerate(BANDS):
        here = band == number
        labels = {"process": process, "selection": selection, "band": name}
        _fill(histogram, {"score": inside[here]}, labels, weight[here])


def _fill(
    histogram: Histogram, values: dict[str, npt.NDArray[Any]], labels: dict[str, str], weight: FloatArray
) -> None:
    for axis, label in labels.items():
        known = list(histogram.axes[axis])
        if label not in known:
            msg = f"label '{label}' is not on the axis '{axis}', which has {', '.join(known)}"
            raise InputError(msg)
    before = _totals(histogram, labels["selection"])
    columns: dict[str, Any] = {**values, **labels}
    histogram.fill(**columns, weight=weight)
    filled = _totals(histogram, labels["selection"]) - before
    if not np.array_equal(filled, [weight.sum(), (weight**2).sum()]):
        msg = (
            f"{labels}: filled {filled[0]!r} of {weight.sum()!r} weighted events; sums are not exact or lost"
        )
        raise IncompleteError(msg)


def _totals(histogram: Histogram, selection: str) -> FloatArray:
    """Sums of weights and squared weights of one selection, flow included.

    Selections hold the same events: their sum could leave the range of exact sums, each of them does not.
    """
    part: Any = histogram[{"selection": selection}]
    view = part.view(flow=True)
    return np.array([view["value"].sum(), view["variance"].sum()])


def finalise(histograms: Histograms, scale: WeightScale, sample: str) -> Histograms:
    """Turn weight × votes into weight × share of the folds, once all chunks are merged.

    Parameters
    ----------
    histograms
        Merged histograms of a whole sample; ``mjj`` is changed in place.
    scale
        Unit of the weights.
    sample
        Name of the sample, for messages.

    Returns
    -------
    dict
        The same histograms: contents of ``mjj`` divided by 5, variances by 25.

    Raises
    ------
    InputError
        If the sum of squares left the range in which it does not depend on the order of filling.
    """
    for name, histogram in histograms.items():
        for selection in histogram.axes["selection"]:
            what = f"sample '{sample}', histogram '{name}', selection '{selection}'"
            check_exact(float(_totals(histogram, selection)[1]), scale, what)
    view: Any = histograms["mjj"].view(flow=True)
    view["value"] /= FOLDS
    view["variance"] /= FOLDS**2
    return histograms
