"""The pass over a sample that finds what its Lund-plane weights are normalised with.

A sample's mean weights and its Lund plane are known only when all of its events have been seen, so a pass of its own
comes before the one that fills tables or histograms. What it returns is sorted by file and entry, and sums that are made
chunk by chunk are of rounded weights, which add up exactly: the weights do not depend on the chunks.
"""

import functools
import logging
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.partials import PartialStore, read_partial
from data.trees import Tree, as_tree, from_tree
from data.types import BoolArray, FloatArray
from processors.account import Account, ChunkFailure
from processors.config import FeaturesConfig, ProcessingConfig
from processors.loop import Report, fill_store, merged
from processors.lund_reweighting import DISTORTION_JETS_MIN, event_products, reweighter
from processors.lund_reweighting_config import LundConfig, Source
from processors.lund_reweighting_events import (
    LundConstants,
    SampleReweighting,
    single_weights,
    toy_variations,
)
from processors.lund_reweighting_normalisation import Normalisation, geometric_mean, normalisation_of
from processors.lund_reweighting_planes import LundPlane, measure_plane
from processors.lund_reweighting_prongs import Prongs
from processors.preflight import SamplePlan
from processors.recipe import Recipe, Selected, leading_pt
from processors.selection import REGIONS
from processors.work import ChunkWork

BADLY_MATCHED_MAX = 0.1
"""Healthy signals have a share of badly matched jets below this times their mean number of prongs."""
_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class _Part:
    """The selected events of a chunk: their jets, pT (GeV), weights, and the sums of their Lund plane."""

    prongs: Prongs
    pt: FloatArray
    weight: FloatArray
    plane: LundPlane


@dataclass(frozen=True)
class _Parts:
    """What the chunks found, read again whenever it is gone through: the jets of a sample are too many to hold."""

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[_Part]:
        return (from_tree(_Part, tree) for path in self.paths for tree in read_partial(path)["lund"])


@dataclass(frozen=True)
class Survey(ChunkWork):
    """The prongs of the selected events in the region that is searched."""

    def __call__(self, events: Any) -> Tree:
        """Process one chunk, given as coffea's array of virtual columns."""
        found: list[Selected] = []
        wanted = self.recipe.options.features
        features = FeaturesConfig(without=wanted.without, further=wanted.further)
        tally = self.recipe.each(events, found.append, features, vary=False)
        parts = []
        prongs, lund = found[0].prongs, self.recipe.lund
        if prongs is not None and lund is not None:
            table = found[0].table
            searched = table["region"] == REGIONS.index(self.recipe.options.selection.region)
            weight = np.where(searched, table["weight"], 0.0)
            binning = reweighter(lund.config).maps.binning
            plane = measure_plane(prongs.nominal, binning, np.concatenate([weight, weight]))
            parts = [as_tree(_Part(prongs, leading_pt(table), weight, plane))]
        return {**tally, "lund": parts}


def survey_of(recipe: Recipe) -> Survey | None:
    """The pass that a sample needs before its Lund-plane weights are known; None where it has none."""
    config = None if recipe.corrections is None or recipe.kind == "data" else recipe.corrections.lund
    if config is None:
        return None
    # without constants the weights are those of the other corrections
    return Survey(replace(recipe, lund=SampleReweighting(config, recipe.options.seed)))


def with_lund_weights(
    plan: SamplePlan,
    recipe: Recipe,
    processing: ProcessingConfig,
    store: PartialStore,
    *,
    only_merge: bool = False,
    prepare: Callable[[], None] | None = None,
    report: Report | None = None,
) -> tuple[Recipe, tuple[ChunkFailure, ...]]:
    """The recipe with the Lund-plane reweighting of its sample, where the corrections have one.

    Parameters
    ----------
    plan
        The sample.
    recipe
        What a worker needs to know so far.
    processing
        Chunk size and executor.
    store
        Where the results of chunks are kept.
    only_merge
        Read no events: the results of all chunks are there.
    prepare
        What each worker process does once before its first chunk: that of the pass that follows, whose workers these are.
    report
        Called with the account of this pass where it fails; else that of the pass that follows stands for both.

    Returns
    -------
    recipe
        With the weights.
    failures
        Chunks that did not succeed at once, for the account of the pass that follows.

    Raises
    ------
    InputError
        If the sample has too few events for what is wanted, or a value in it is wrong.
    """
    survey = survey_of(recipe)
    if survey is None or survey.recipe.lund is None:
        return recipe, ()
    config, seed = survey.recipe.lund.config, recipe.options.seed
    failures = () if only_merge else _looked_through(plan, survey, processing, store, prepare, report)
    parts = _Parts(merged(plan, survey, processing, store).partials)
    if not any(len(part.weight) for part in parts):
        msg = (
            f"sample '{plan.sample.name}': no event is selected whose Lund-plane weights could be normalised; check the "
            "cuts, or give it without_corrections: [lund]"
        )
        raise InputError(msg)
    _report(plan.sample.name, parts)
    try:
        constants = _constants(parts, config, seed)
    except InputError as error:
        msg = f"sample '{plan.sample.name}', corrections.{plan.sample.year}.lund: {error}"
        raise InputError(msg) from None
    return replace(recipe, lund=SampleReweighting(config, seed, constants)), failures


def _looked_through(
    plan: SamplePlan,
    survey: Survey,
    processing: ProcessingConfig,
    store: PartialStore,
    prepare: Callable[[], None] | None,
    report: Report | None,
) -> tuple[ChunkFailure, ...]:
    """Process all chunks of the survey; what went wrong on the way is told as the survey's."""
    accounts: list[Account] = []
    try:
        fill_store(plan, survey, processing, store, prepare=prepare, report=accounts.append)
    finally:
        accounts = [replace(account, failures=told_as_survey(account.failures)) for account in accounts]
        if report is not None and accounts and not accounts[0].complete:
            report(accounts[0])
    return accounts[0].failures


def told_as_survey(failures: Iterable[ChunkFailure]) -> tuple[ChunkFailure, ...]:
    """Failures of this pass as they stand in the account of the one that follows: the reason says whose they are."""
    return tuple(
        replace(one, reason=f"looked through for Lund-plane weights: {one.reason}") for one in failures
    )


def _constants(parts: _Parts, config: LundConfig, seed: int) -> LundConstants:
    """Normalisation of all weights, the sample's Lund plane and the centre of its distortion."""
    # sums of rounded weights are exact in any order
    plane = functools.reduce(operator.add, (part.plane for part in parts)).density
    weigh = reweighter(config, seed, plane)
    weight, pt = (np.concatenate([getattr(part, name) for part in parts]) for name in ("weight", "pt"))
    chosen = weight != 0
    if "distortion" in config.sources:
        _check_jets(parts)
        # both jets of an event side by side: in the order of events, whatever the chunks
        factors = np.concatenate([weigh.distortion(part.prongs).reshape(2, -1) for part in parts], axis=1)
        weigh = replace(weigh, centre=geometric_mean(factors[:, chosen], weight[chosen]))

    def normalisation(raw: list[FloatArray]) -> Normalisation:
        together = np.concatenate(raw, axis=1)
        return normalisation_of(
            together[:, chosen], weight[chosen], pt[chosen], keep_pt_spectrum=config.keep_pt_spectrum
        )

    def toys(source: Source) -> Normalisation:
        one = replace(weigh, sources=(source,))  # toys of all events take memory: one source at a time
        return normalisation([event_products(one.toy_weights(part.prongs)[source]) for part in parts])

    single = normalisation([single_weights(weigh, part.prongs)[1] for part in parts])
    return LundConstants(
        plane, weigh.centre, single, {source: toys(source) for source in toy_variations(config.sources)}
    )


def _check_jets(parts: _Parts) -> None:
    n_jets = sum(int(np.count_nonzero(part.prongs.n_quarks[_of_jets(part)])) for part in parts)
    if n_jets < DISTORTION_JETS_MIN:
        msg = (
            f"{n_jets} selected jets with quarks are too few for the source 'distortion', which compares their Lund plane "
            f"and needs {DISTORTION_JETS_MIN}, better 5000: use more events, or leave it out of sources"
        )
        raise InputError(msg)


def _of_jets(part: _Part) -> BoolArray:
    """Whether each jet's event counts."""
    counts: BoolArray = np.concatenate([part.weight, part.weight]) != 0
    return counts


def _report(sample: str, parts: _Parts) -> None:
    """Say how well subjets and quarks go together."""
    n_quarks = np.concatenate([part.prongs.n_quarks for part in parts])
    bad = np.concatenate([part.prongs.bad for part in parts])
    with_quarks = int(np.count_nonzero(n_quarks))
    if not with_quarks:
        _LOG.warning(
            "sample %s: no selected jet has a quark of the hard process, so none is reweighted", sample
        )
        return
    share, prongs = int(bad.sum()) / with_quarks, int(n_quarks.sum()) / with_quarks
    words = (
        "sample %s: Lund-plane weights of %d jets with %.2f quarks each; %.1f %% are badly matched to subjets"
    )
    if share > BADLY_MATCHED_MAX * prongs:
        _LOG.warning(
            words + ", which is much: see lund_prongs and lund_unclust",
            sample,
            with_quarks,
            prongs,
            100 * share,
        )
    else:
        _LOG.info(words, sample, with_quarks, prongs, 100 * share)
