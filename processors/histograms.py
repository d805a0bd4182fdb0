"""Pass 2: the spectra and score distributions of every selection, filled chunk by chunk."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from data.errors import IncompleteError, InputError
from data.trees import Tree
from data.types import FloatArray, Table
from processors.config import FeaturesConfig
from processors.further import chosen_features
from processors.lund_reweighting_histograms import TOYS, check_toys, empty_toys, fill_toys, vary_by_toys
from processors.recipe import Selected
from processors.schema import NOMINAL
from processors.scorers import (
    BANDS,
    FOLDS,
    INCLUSIVE,
    ScorerReference,
    band_of,
    judge,
    load,
)
from processors.selection import REGIONS, kept_regions
from processors.weights import WeightScale, check_exact
from processors.work import ChunkWork

MJJ_BINS, MJJ_LOW, MJJ_HIGH = 3200, 1200.0, 14000.0
"""4 GeV bins."""
SCORE_BINS = 100

Histogram = hist.Hist[Any]
Histograms = dict[str, Histogram]


@dataclass(frozen=True)
class Fill(ChunkWork):
    """Pass 2: fills histograms of one sample with weight × votes (0 … 5).

    ``trained_on`` names the selections whose methods were trained on this sample.
    """

    process: str
    scorers: tuple[ScorerReference, ...]
    trained_on: frozenset[str]
    variations: tuple[str, ...]

    def empty(self) -> Histograms:
        """Histograms of this sample with nothing in them."""
        selections = [scorer.label for scorer in self.scorers]
        regions = kept_regions(self.recipe.options.selection)
        made = empty_histograms([self.process], selections, regions=regions, variations=self.variations)
        return made | empty_toys(self.recipe.lund, [INCLUSIVE, *selections], regions)

    def identity(self) -> str:
        """Hash of all that the result depends on beside the file and the code; bundles count by their contents."""
        nowhere = tuple(replace(scorer, folder="") for scorer in self.scorers)
        return ChunkWork.identity(replace(self, scorers=nowhere))

    def __call__(self, events: Any) -> Tree:
        """Process one chunk, given as coffea's array of virtual columns."""
        histograms = self.empty()
        fill = partial(self._fill, histograms)
        tally = self.recipe.each(events, fill, self._features(), vary=len(self.variations) > 1)
        return {**tally, "histograms": {name: filled_bins(one) for name, one in histograms.items()}}

    def sum(self, parts: Iterable[Tree]) -> Histograms:
        """Add up what chunks gave; sums of whole units of weight are exact in any order."""
        total = self.empty()
        for part in parts:
            for name, histogram in total.items():
                add_bins(histogram, part["histograms"][name])
        return total

    def _features(self) -> FeaturesConfig:
        """The columns that are read: what is costly is made only where a method, or the trigger's efficiency, uses it."""
        features = self.recipe.options.features
        inputs = {name for reference in self.scorers for name in load(reference).inputs}
        constituents = any(name.startswith("constituents") for name in inputs)
        weighs = self.recipe.corrections is not None and self.recipe.corrections.trigger is not None
        further = [one for one in chosen_features(features.further) if weighs or inputs & {*one.columns()}]
        return features.model_copy(
            update={
                "further": tuple(one.name for one in further),
                "constituents": features.constituents and constituents,
                "rapidity_mass_matrix": features.rapidity_mass_matrix if "rmm" in inputs else None,
            }
        )

    def _fill(self, histograms: Histograms, part: Selected) -> None:
        table = part.table
        if not len(table["mjj"]):
            return
        every = np.full(len(table["mjj"]), FOLDS, dtype=np.int64)
        self._fill_selection(histograms, part, INCLUSIVE, every)
        for reference in self.scorers:
            scorer = load(reference)
            own = reference.label in self.trained_on
            score, votes = judge(scorer, reference.label, table, trained_on=own)
            self._fill_selection(histograms, part, reference.label, votes)
            if NOMINAL in part.weights:
                searched = table["region"] == REGIONS.index(self.recipe.options.selection.region)
                band = band_of(scorer, table["mjj"])[searched]
                values = (score[searched], band)
                fill_score(
                    histograms["score"], values, self.process, reference.label, table["weight"][searched]
                )

    def _fill_selection(
        self, histograms: Histograms, part: Selected, selection: str, votes: npt.NDArray[np.int64]
    ) -> None:
        for variation, weight in part.weights.items():
            table = {**part.table, "weight": weight}
            fill_mjj(histograms["mjj"], table, self.process, selection, votes, variation=variation)
        if part.toys:
            fill_toys(histograms[TOYS], part, selection, votes)


def filled_bins(histogram: Histogram) -> Tree:
    """The bins of a histogram with anything in them: a chunk fills few of them.

    Parameters
    ----------
    histogram
        Weight storage.

    Returns
    -------
    dict
        ``shape`` of the histogram with flow; ``at``, the flat positions of the filled bins; their ``value``
        and ``variance``.
    """
    view: Any = histogram.view(flow=True)
    value, variance = view["value"].reshape(-1), view["variance"].reshape(-1)
    at = np.flatnonzero((value != 0) | (variance != 0))
    return {"shape": list(view.shape), "at": at, "value": value[at], "variance": variance[at]}


def add_bins(histogram: Histogram, part: Tree) -> None:
    """Add what `filled_bins` gave for a histogram of the same axes.

    Parameters
    ----------
    histogram
        Changed in place.
    part
        What was given.

    Raises
    ------
    InputError
        If it had other axes.
    """
    view: Any = histogram.view(flow=True)
    if list(view.shape) != part["shape"]:
        msg = f"a partial histogram has {part['shape']} bins, not {list(view.shape)}; fill it again"
        raise InputError(msg)
    places = np.unravel_index(part["at"], view.shape)
    view["value"][places] += part["value"]
    view["variance"][places] += part["variance"]


def empty_histograms(
    processes: Sequence[str],
    selections: Sequence[str],
    *,
    regions: Sequence[str] = REGIONS[:1],
    variations: Sequence[str] = (NOMINAL,),
) -> Histograms:
    """Histograms with fixed labels and nothing in them.

    Parameters
    ----------
    processes
        Labels of the axis ``process``.
    selections
        Labels of the methods' selections; ``inclusive`` is always there in ``mjj``.
    regions, variations
        Labels of these axes.

    Returns
    -------
    dict
        ``mjj`` and, where there are methods, ``score``; Weight storage.
    """
    process = hist.axis.StrCategory(list(processes), name="process")
    mjj = hist.Hist(
        hist.axis.Regular(MJJ_BINS, MJJ_LOW, MJJ_HIGH, name="mjj", label="dijet mass [GeV]"),
        process,
        hist.axis.StrCategory(list(regions), name="region"),
        hist.axis.StrCategory([INCLUSIVE, *selections], name="selection"),
        hist.axis.StrCategory(list(variations), name="variation"),
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
    histogram: Histogram,
    table: Table,
    process: str,
    selection: str,
    votes: npt.NDArray[np.int64],
    *,
    variation: str = NOMINAL,
) -> None:
    """Fill the dijet masses with weight × votes.

    Parameters
    ----------
    histogram
        ``mjj`` of `empty_histograms`; changed in place.
    table
        ``mjj`` (GeV), ``weight`` (expected events) and ``region``, each of shape (n_events,).
    process, selection, variation
        Labels.
    votes
        Folds that select each event, 0 … 5, shape (n_events,).

    Raises
    ------
    InputError
        If a label is not on its axis: hist would put the events into the flow without a word.
    IncompleteError
        If the histogram does not hold what was put in.
    """
    weight = table["weight"] * votes
    for code in np.unique(table["region"]):
        here = (table["region"] == code) & (votes > 0)
        labels = {
            "process": process,
            "region": REGIONS[int(code)],
            "selection": selection,
            "variation": variation,
        }
        _fill(histogram, {"mjj": table["mjj"][here]}, labels, weight[here])


def fill_score(
    histogram: Histogram,
    score_and_band: tuple[FloatArray, npt.NDArray[np.int64]],
    process: str,
    selection: str,
    weight: FloatArray,
) -> None:
    """Fill scores with the weights; a score of 1 goes to the last bin.

    Parameters
    ----------
    histogram
        ``score`` of `empty_histograms`; changed in place.
    score_and_band
        Score in [0, 1] and position in ``BANDS`` of each event, shape (n_events,).
    process, selection
        Labels.
    weight
        Expected number of events of each, shape (n_events,).

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
    before = _totals(histogram, labels)
    columns: dict[str, Any] = {**values, **labels}
    histogram.fill(**columns, weight=weight)
    filled = _totals(histogram, labels) - before
    if not np.array_equal(filled, [weight.sum(), (weight**2).sum()]):
        msg = (
            f"{labels}: filled {filled[0]!r} of {weight.sum()!r} weighted events, so that sums are not exact or lost; "
            "report it with the sample's files"
        )
        raise IncompleteError(msg)


def _totals(histogram: Histogram, labels: Mapping[str, str]) -> FloatArray:
    """Sums of weights and squared weights with these labels, flow included.

    Selections and variations hold the same events: their sum could leave the range of exact sums, each of them
    does not.
    """
    index: Any = dict(labels)
    part: Any = histogram[index]
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
        The same histograms: contents of ``mjj`` divided by 5, variances by 25. The sums over toys are gone: they are the
        variations of their sources in ``mjj``.

    Raises
    ------
    InputError
        If the sum of squares left the range in which it does not depend on the order of filling.
    """
    toys = histograms.pop(TOYS, None)
    check_toys(toys, scale, sample)
    for name, histogram in histograms.items():
        axes = [axis for axis in ("selection", "variation") if axis in histogram.axes.name]
        for chosen in itertools.product(*(list(histogram.axes[axis]) for axis in axes)):
            labels = dict(zip(axes, chosen, strict=True))
            words = ", ".join(f"{axis} '{label}'" for axis, label in labels.items())
            what = f"sample '{sample}', histogram '{name}', {words}"
            check_exact(float(_totals(histogram, labels)[1]), scale, what)
    vary_by_toys(histograms["mjj"], toys)
    view: Any = histograms["mjj"].view(flow=True)
    view["value"] /= FOLDS
    view["variance"] /= FOLDS**2
    return histograms
