"""One chunk from branches to tables of selected events: the steps that both passes share."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data.luminosity import GoldenJson, unique_sections
from data.samples import Kind, Sample, Year, year
from data.types import FloatArray
from processors.chunks import Chunk
from processors.columns import Columns, columns
from processors.config import FeaturesConfig
from processors.corrected import variations, weight_inputs
from processors.corrections.config import CorrectionsConfig
from processors.corrections.weights import weight_factors
from processors.dijets import Cutflow, DijetCuts, Flags, cutflow_of, event_flags, find_candidates
from processors.event_options import EventOptions
from processors.features import ColumnMaker
from processors.jets import Jets
from processors.lund_reweighting_config import Source
from processors.lund_reweighting_events import SampleReweighting
from processors.lund_reweighting_prongs import Prongs
from processors.preflight import SamplePlan
from processors.resolve import FileSchema
from processors.schema import NOMINAL
from processors.selection import Dijets
from processors.weights import WeightScale, event_weights

Tally = dict[str, Any]
"""Part of the result of every chunk: ``range`` (first entry and end of what was read, entries selected), ``cutflow``,
``sum_of_squares`` of all weights, ``sections`` (list of arrays of keys), the certified luminosity sections, and
``without_particles``, the selected jets that have none."""


@dataclass(frozen=True)
class Selected:
    """The selected events of one kinematic variation.

    Attributes
    ----------
    table
        Feature table; its column ``weight`` is that of the first entry of ``weights``.
    weights
        Name of each variation with these kinematics to the weights of the events.
    toys
        Source of the Lund-plane reweighting to the weights in its toys, (T, n_events).
    prongs
        The prongs of the events' jets, while the sample is looked through for the reweighting.
    """

    table: Columns
    weights: dict[str, FloatArray]
    toys: dict[Source, FloatArray] = field(default_factory=dict)
    prongs: Prongs | None = None


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs to turn a chunk into feature tables; small to send."""

    sample: str
    kind: Kind
    year: Year
    options: EventOptions
    corrections: CorrectionsConfig | None
    golden: GoldenJson | None
    scale: WeightScale
    schemas: dict[str, FileSchema]
    lund: SampleReweighting | None = None

    def nominal(self, events: Any) -> tuple[Columns, Tally]:
        """Features of the selected events of a chunk, without variations.

        Parameters
        ----------
        events
            coffea's virtual array of one chunk.

        Returns
        -------
        tuple
            The feature table and what is counted along the way.
        """
        found: list[Selected] = []
        tally = self.each(events, found.append, self.options.features, vary=False)
        return found[0].table, tally

    def each(
        self, events: Any, use: Callable[[Selected], None], features: FeaturesConfig, *, vary: bool
    ) -> Tally:
        """Hand on the selected events of a chunk, variation by variation, the nominal ones first.

        Parameters
        ----------
        events
            coffea's virtual array of one chunk.
        use
            Called with each variation; nothing of it is kept here.
        features
            The columns that are wanted.
        vary
            Whether the variations are wanted too.

        Returns
        -------
        dict
            What is counted along the way.
        """
        chunk = self._chunk(events)
        generated = self._generated(chunk)
        flags = event_flags(chunk, self.golden)
        stored = Jets(chunk, self.options.jets, flags.failures() <= 1)
        varied = variations(chunk, stored, self.corrections, self.kind, self.options.seed, vary=vary)
        plain = self._rounded(generated)
        dijets, cutflow = self._nominal_dijets(chunk, varied[NOMINAL], flags, plain)
        columns = ColumnMaker(chunk, features, self.year.sqrt_s)
        jets = varied.pop(NOMINAL)
        nominal = self._selected(columns, jets, dijets, generated, NOMINAL, vary=vary)
        tally = self._tally(chunk, flags, cutflow, plain, nominal)
        tally["without_particles"] = jets.without_particles(np.concatenate([dijets.heavy, dijets.light]))
        use(nominal)
        del nominal
        clean = flags.failures() == 0
        for name, jets in varied.items():
            dijets = find_candidates(chunk, jets, self._cuts(), clean).selected()
            use(self._selected(columns, jets, dijets, generated, name, vary=False))
        return tally

    def _chunk(self, events: Any) -> Chunk:
        about = events.metadata
        file, start = str(about["filename"]), int(about["entrystart"])
        return Chunk(self.sample, file, start, len(events), self.schemas[file], events)

    def _cuts(self) -> DijetCuts:
        return DijetCuts.of(self.options.selection, self.year, self.kind)

    def _generated(self, chunk: Chunk) -> FloatArray:
        """The generator's weights of simulation, 1 of data."""
        if self.kind == "data":
            return np.ones(chunk.size)
        generated = chunk.role("generator_weight")
        chunk.check_finite("generator_weight", generated, np.arange(chunk.size))
        return generated.astype(np.float64)

    def _rounded(self, generated: FloatArray) -> FloatArray:
        return generated if self.kind == "data" else event_weights(generated, self.scale)

    def _nominal_dijets(
        self, chunk: Chunk, jets: Jets, flags: Flags, weight: FloatArray
    ) -> tuple[Dijets, Cutflow]:
        """The selected events, and the cutflow with N − 1 of the weights before corrections."""
        failures = flags.failures()
        found = find_candidates(chunk, jets, self._cuts(), failures <= 1)
        unidentified = find_candidates(chunk, jets, self._cuts(), failures == 0, identified=False)
        cutflow = cutflow_of(flags, found, unidentified, weight)
        kept = found.passing() & (failures[found.pairs.entry] == 0)
        return found.pairs.take(np.flatnonzero(kept)), cutflow

    def _selected(
        self,
        columns: ColumnMaker,
        jets: Jets,
        dijets: Dijets,
        generated: FloatArray,
        name: str,
        *,
        vary: bool,
    ) -> Selected:
        """Features and corrected weights of the selected events of one kinematic variation."""
        plain = generated[dijets.entry]
        table = columns.table(jets, dijets, self._rounded(plain))
        if self.kind == "data" or self.corrections is None:
            return Selected(table, {name: table["weight"]})
        inputs = weight_inputs(columns.chunk, jets, dijets, table)
        prongs = None if self.lund is None else self.lund.prongs(columns.chunk, jets, dijets)
        toys: dict[Source, FloatArray] = {}
        if self.lund is not None and self.lund.constants is not None and prongs is not None:
            lund = self.lund.factors(prongs, leading_pt(table), vary=vary)
            if lund.toys:
                others, _ = weight_factors(inputs, self.corrections)
                toys = {source: self._rounded(plain * others * toy) for source, toy in lund.toys.items()}
            inputs, prongs = replace(inputs, lund=lund), None
        nominal, varied = weight_factors(inputs, self.corrections)
        factors = {name: nominal, **(varied if vary else {})}
        weights = {variation: self._rounded(plain * factor) for variation, factor in factors.items()}
        table["weight"] = weights[name]
        return Selected(table, weights, toys, prongs)

    def _tally(
        self, chunk: Chunk, flags: Flags, cutflow: Cutflow, weight: FloatArray, nominal: Selected
    ) -> Tally:
        # The range is what was read, not what was asked for: a short read shows in the account.
        done = [chunk.start, chunk.start + chunk.size, len(nominal.table["mjj"])]
        corrected = nominal.table["weight"]
        if self.corrections is not None and self.kind != "data":
            cutflow["corrections"] = {"events": len(corrected), "weighted": float(corrected.sum())}
        sections = []
        if self.golden is not None:
            good = flags.masks["golden_json"]
            sections = [unique_sections(chunk.role("run")[good], chunk.role("luminosity_block")[good])]
        squares = max(float(np.square(weight).sum()), float(np.square(corrected).sum()))
        return {"range": done, "cutflow": cutflow, "sum_of_squares": squares, "sections": sections}


def leading_pt(table: Columns) -> FloatArray:
    """Transverse momentum of the harder jet of each event.

    Parameters
    ----------
    table
        ``pt_j1`` and ``pt_j2`` in GeV, shape (n_events,).

    Returns
    -------
    array (n_events,) of float64
        GeV.
    """
    pt: FloatArray = np.maximum(table["pt_j1"], table["pt_j2"]).astype(np.float64)
    return pt


def recipe_of(plan: SamplePlan, options: EventOptions, golden: GoldenJson | None = None) -> Recipe:
    """What a worker needs to know about a sample."""
    schemas = {file.path: file.schema for file in plan.files if file.schema is not None}
    sample: Sample = plan.sample
    return Recipe(
        sample.name,
        sample.kind,
        year(sample.year),
        options,
        options.corrections_of(sample),
        golden,
        plan.scale,
        schemas,
    )


def has_label(plan: SamplePlan) -> bool:
    """Whether the tables of a sample have the column ``label``."""
    return any(file.schema is not None and "label" in file.schema.roles for file in plan.files)


def empty_table(plan: SamplePlan, options: EventOptions) -> Columns:
    """A feature table of no event.

    Parameters
    ----------
    plan, options
        The sample and the options that say which columns there are.

    Returns
    -------
    dict
        Column to an array of shape (0,).
    """
    types = columns(options.features, label=has_label(plan))
    return {name: np.empty(0, dtype=kind) for name, kind in types.items()}
