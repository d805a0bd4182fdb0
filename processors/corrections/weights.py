"""Corrections that weight events: stored ratios of weights, and efficiencies from correction files."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from data.types import FloatArray, IntArray
from processors.corrections.config import (
    BtagConfig,
    CorrectionsConfig,
    PdfConfig,
    PileupConfig,
    TriggerConfig,
)
from processors.corrections.files import CorrectionTable, Value, correction_table
from processors.lund_reweighting_events import LundFactors

Jagged = tuple[npt.NDArray[np.floating], IntArray]
"""Any number of values an event: all values in one row, and how many each event has."""

_SCALE_ENTRIES = {"mur": (7, 1), "muf": (5, 3), "murf": (8, 0)}  # (up, down) among nine; 4 is the nominal
_SHOWER_ENTRIES = {"isr": (0, 2), "fsr": (1, 3)}
_HEAVY_FLAVOURS = (4, 5)
_FLAVOURS = (0, 4, 5)


@dataclass(frozen=True)
class Subjets:
    """Subjets of the two selected jets in one row.

    Attributes
    ----------
    event
        Position of the subjet's event in the arrays of WeightInputs.
    pt, eta
        GeV, –.
    flavour
        Hadron flavour: 5 b, 4 c, 0 others.
    score
        b score.
    """

    event: IntArray
    pt: npt.NDArray[np.floating]
    eta: npt.NDArray[np.floating]
    flavour: npt.NDArray[np.integer]
    score: npt.NDArray[np.floating]


@dataclass(frozen=True)
class WeightInputs:
    """Simulated events; one element an event, and only what the configured corrections need.

    Attributes
    ----------
    run, luminosity_block, event
        Event ids, for messages.
    n_true_interactions
        Mean number of interactions that the event was simulated with.
    prefiring_nominal, prefiring_up, prefiring_down
        Stored probabilities that no trigger fired early.
    scale_weights, pdf_weights, shower_weights
        Stored ratios to the nominal generator weight, as NanoAOD orders them.
    subjets
        For the b tag.
    features
        Feature columns by name, float64, for the trigger efficiency.
    lund
        Weights of the Lund plane.
    source
        File and sample of the events, for messages; empty where they have none.
    """

    run: npt.NDArray[np.integer]
    luminosity_block: npt.NDArray[np.integer]
    event: npt.NDArray[np.integer]
    n_true_interactions: npt.NDArray[np.floating] | None = None
    prefiring_nominal: npt.NDArray[np.floating] | None = None
    prefiring_up: npt.NDArray[np.floating] | None = None
    prefiring_down: npt.NDArray[np.floating] | None = None
    scale_weights: Jagged | None = None
    pdf_weights: Jagged | None = None
    shower_weights: Jagged | None = None
    subjets: Subjets | None = None
    features: Mapping[str, npt.NDArray[np.floating]] = field(default_factory=dict)
    lund: LundFactors | None = None
    source: str = ""

    def describe(self, event: int) -> str:
        """Name an event for messages."""
        ids = f"{self.run[event]}:{self.luminosity_block[event]}:{self.event[event]}"
        return f"event {ids} (run:luminosity block:event){self._of_source()}"

    def describe_all(self) -> str:
        """Name all the events together for messages."""
        return f"these events{self._of_source()}"

    def _of_source(self) -> str:
        return f" of {self.source}" if self.source else ""


@dataclass(frozen=True)
class _Part:
    """Factor of one correction and what replaces it in each of its variations."""

    key: str
    nominal: FloatArray
    varied: dict[str, FloatArray]


def weight_factors(
    inputs: WeightInputs, config: CorrectionsConfig | None
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Factors on the weights of simulated events.

    The ratios that the generator stored (μR, μF, PDF, parton shower) are used as they are: a variation holds
    the change of the cross section together with that of the acceptance. Nothing is normalised here.

    Parameters
    ----------
    inputs
        The events.
    config
        Corrections of the year; None gives factor 1 and no variation.

    Returns
    -------
    tuple
        Factor of each event, and for each weight variation, in the order of ``variation_names``, the whole
        factor that replaces it; float64. Ratios of generator weights may be negative as these may.

    Raises
    ------
    InputError
        Naming correction and event: if something that a correction needs is missing or is not a number, or a
        probability or scale factor is negative.
    """
    parts = [] if config is None else list(_parts(inputs, config))
    size = len(inputs.event)
    nominal = _product([part.nominal for part in parts], size)
    varied: dict[str, FloatArray] = {}
    for part in parts:
        others = _product([other.nominal for other in parts if other is not part], size)
        varied |= {name: others * factor for name, factor in part.varied.items()}
    return nominal, varied


def pdf_uncertainty(weights: FloatArray, pdf: PdfConfig) -> FloatArray:
    """Relative uncertainty of each event's weight from the parton distributions.

    Members add up event by event. A histogram of such weights has at least the uncertainty that adding up
    bin by bin would give, and more where a member moves the events of a bin both ways.

    Parameters
    ----------
    weights
        Ratios of weights, (n, entries): the central member if there is one, the members, then two sets of
        other α_s if there are.
    pdf
        Kind and number of the members.

    Returns
    -------
    numpy.ndarray
        float64, n. Hessian: √Σ(w_k − 1)². Replicas: √(Σ(w_k − ⟨w⟩)² / (N − 1)). With α_s: in quadrature with
        its factor times half the difference of the two last entries.

    References
    ----------
    J. Butterworth et al., "PDF4LHC recommendations for LHC Run II", arXiv:1510.03865, section 6.
    """
    first = int(pdf.central)
    members = weights[:, first : first + pdf.members]
    hessian = pdf.kind == "hessian"
    square = np.square(members - 1).sum(axis=1) if hessian else members.var(axis=1, ddof=1)
    if pdf.alpha_s is not None:
        square = square + np.square(pdf.alpha_s * (weights[:, -1] - weights[:, -2]) / 2)
    uncertainty: FloatArray = np.sqrt(square)
    return uncertainty


def _parts(inputs: WeightInputs, config: CorrectionsConfig) -> Iterator[_Part]:
    if config.pileup is not None:
        yield _pileup(inputs, config.pileup)
    if config.prefiring:
        yield _prefiring(inputs)
    if config.scale:
        yield _scales(inputs)
    if config.pdf is not None:
        yield _pdf(inputs, config.pdf)
    if config.parton_shower:
        yield _shower(inputs)
    if config.btag is not None:
        yield _btag(inputs, config.btag)
    if config.trigger is not None:
        yield _trigger(inputs, config.trigger)
    if inputs.lund is not None:
        yield _Part("lund", inputs.lund.nominal, inputs.lund.varied)


def _product(factors: list[FloatArray], size: int) -> FloatArray:
    return math.prod(factors, start=np.ones(size))


def _measured(key: str, inputs: WeightInputs, factors: list[FloatArray], stem: str) -> _Part:
    """A part from (nominal, up, down), checked: no probability or scale factor is negative."""
    for values in factors:
        bad = np.flatnonzero(~((values >= 0) & np.isfinite(values)))
        if len(bad):
            where = inputs.describe(int(bad[0]))
            msg = (
                f"correction '{key}': the factor of {where} is {values[bad[0]]:g}; it must be finite and not "
                "negative: repair the input or leave the correction out"
            )
            raise InputError(msg)
    nominal, up, down = (values.astype(np.float64) for values in factors)
    return _Part(key, nominal, {f"{stem}_up": up, f"{stem}_down": down})


def _pileup(inputs: WeightInputs, pileup: PileupConfig) -> _Part:
    table = correction_table(pileup.file, pileup.name)
    size = len(inputs.event)
    values: dict[str, Value] = {"NumTrueInteractions": inputs.n_true_interactions}
    factors = [
        table.evaluate(values | {"weights": name, "systematic": name}, size, inputs.describe)
        for name in pileup.systematics
    ]
    return _measured("pileup", inputs, factors, "pileup")


def _prefiring(inputs: WeightInputs) -> _Part:
    stored = (inputs.prefiring_nominal, inputs.prefiring_up, inputs.prefiring_down)
    factors = [np.asarray(values) for values in stored if values is not None]
    if len(factors) != len(stored):
        msg = f"correction 'prefiring': {inputs.describe_all()} have no L1PreFiringWeight; leave it out for them"
        raise InputError(msg)
    return _measured("prefiring", inputs, factors, "prefiring")


def _scales(inputs: WeightInputs) -> _Part:
    weights = _rectangular("scale", "LHEScaleWeight", inputs.scale_weights, inputs, (9, 8))
    # Eight entries are the nine without the nominal one in the middle.
    shift = 9 - weights.shape[1]
    columns = {
        f"{stem}_{side}": entry - shift if entry > 4 else entry
        for stem, pair in _SCALE_ENTRIES.items()
        for side, entry in zip(("up", "down"), pair, strict=True)
    }
    return _Part("scale", np.ones(len(weights)), {name: weights[:, entry] for name, entry in columns.items()})


def _pdf(inputs: WeightInputs, pdf: PdfConfig) -> _Part:
    entries = int(pdf.central) + pdf.members + (2 if pdf.alpha_s is not None else 0)
    weights = _rectangular("pdf", "LHEPdfWeight", inputs.pdf_weights, inputs, (entries,))
    shift = pdf_uncertainty(weights, pdf)
    return _Part("pdf", np.ones(len(shift)), {"pdf_up": 1 + shift, "pdf_down": 1 - shift})


def _shower(inputs: WeightInputs) -> _Part:
    weights = _rectangular("parton_shower", "PSWeight", inputs.shower_weights, inputs, (4,))
    varied = {
        f"{stem}_{side}": weights[:, entry]
        for stem, pair in _SHOWER_ENTRIES.items()
        for side, entry in zip(("up", "down"), pair, strict=True)
    }
    return _Part("parton_shower", np.ones(len(weights)), varied)


def _rectangular(
    key: str, branch: str, jagged: Jagged | None, inputs: WeightInputs, allowed: tuple[int, ...]
) -> FloatArray:
    """Stored ratios of weights as (n, entries): the same allowed number in every event, all finite."""
    if jagged is None:
        msg = (
            f"correction '{key}': {inputs.describe_all()} have no {branch}; leave the correction out for them"
        )
        raise InputError(msg)
    values, counts = jagged
    entries = int(counts[0]) if len(counts) else allowed[0]
    wrong = np.flatnonzero(counts != (entries if entries in allowed else -1))
    if len(wrong):
        where = inputs.describe(int(wrong[0]))
        wanted = " or (in every event) ".join(str(number) for number in allowed)
        msg = (
            f"correction '{key}': {where} has {counts[wrong[0]]} entries of {branch}, where {wanted} are "
            "expected; correct the options of the correction, or leave it out for these events"
        )
        raise InputError(msg)
    table: FloatArray = np.asarray(values, dtype=np.float64).reshape(len(counts), entries)
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        msg = f"correction '{key}': {branch} of {inputs.describe(int(bad[0]))} is not finite; repair the file"
        raise InputError(msg)
    return table


def _btag(inputs: WeightInputs, btag: BtagConfig) -> _Part:
    """Π SF over tagged subjets × Π (1 − SF·ε)/(1 − ε) over the others (see CMS, arXiv:1712.07158)."""
    subjets = inputs.subjets
    if subjets is None:
        msg = f"correction 'btag': {inputs.describe_all()} have no flavour of subjets; leave it out for them"
        raise InputError(msg)
    unknown = np.flatnonzero(~np.isin(subjets.flavour, _FLAVOURS))
    if len(unknown):
        where = inputs.describe(int(subjets.event[unknown[0]]))
        flavour = subjets.flavour[unknown[0]]
        msg = f"correction 'btag': a subjet of {where} has hadron flavour {flavour}, not 0, 4 or 5; repair the file"
        raise InputError(msg)
    tagged = subjets.score > btag.threshold
    efficiency = np.empty(len(tagged))
    factors = {side: np.empty(len(tagged)) for side in ("nominal", "up", "down")}
    heavy = np.isin(subjets.flavour, _HEAVY_FLAVOURS)
    for group, scale in ((heavy, btag.heavy), (~heavy, btag.light)):
        chosen = _chosen(subjets, group)
        efficiencies = correction_table(btag.efficiency_file or btag.file, btag.efficiency.name)
        efficiency[group] = _at_subjets(efficiencies, chosen, inputs, btag.efficiency.fixed)
        table = correction_table(btag.file, scale.name)
        for side, systematic in zip(factors, btag.systematics, strict=True):
            factors[side][group] = _at_subjets(
                table, chosen, inputs, {**scale.fixed, "systematic": systematic}
            )
    _check_efficiency(efficiency, tagged, subjets, inputs)
    size = len(inputs.event)

    def event_factor(heavy_side: str, light_side: str) -> FloatArray:
        scale = np.where(heavy, factors[heavy_side], factors[light_side])
        untagged = (1 - scale * efficiency) / np.where(tagged, 1.0, 1 - efficiency)
        product = np.ones(size)
        np.multiply.at(product, subjets.event, np.where(tagged, scale, untagged))
        return product

    nominal = event_factor("nominal", "nominal")
    by_heavy = [nominal, event_factor("up", "nominal"), event_factor("down", "nominal")]
    by_light = [nominal, event_factor("nominal", "up"), event_factor("nominal", "down")]
    part = _measured("btag", inputs, by_heavy, "btag_heavy")
    return _Part("btag", nominal, part.varied | _measured("btag", inputs, by_light, "btag_light").varied)


def _chosen(subjets: Subjets, group: npt.NDArray[np.bool_]) -> Subjets:
    return Subjets(*(getattr(subjets, name)[group] for name in subjets.__dataclass_fields__))


def _at_subjets(
    table: CorrectionTable, subjets: Subjets, inputs: WeightInputs, fixed: Mapping[str, Value]
) -> FloatArray:
    values: dict[str, Value] = {
        "pt": subjets.pt,
        "eta": subjets.eta,
        "abseta": np.abs(subjets.eta),
        "flavor": subjets.flavour,
        **fixed,
    }
    return table.evaluate(
        values, len(subjets.pt), lambda subjet: f"a subjet of {inputs.describe(int(subjets.event[subjet]))}"
    )


def _check_efficiency(
    efficiency: FloatArray, tagged: npt.NDArray[np.bool_], subjets: Subjets, inputs: WeightInputs
) -> None:
    bad = np.flatnonzero(~((efficiency >= 0) & np.where(tagged, efficiency <= 1, efficiency < 1)))
    if len(bad):
        where = inputs.describe(int(subjets.event[bad[0]]))
        state = "tagged" if tagged[bad[0]] else "untagged"
        msg = (
            f"correction 'btag': the efficiency of the {state} subjet of {where} is {efficiency[bad[0]]:g}, "
            "which no such subjet has; use another efficiency file"
        )
        raise InputError(msg)


def _trigger(inputs: WeightInputs, trigger: TriggerConfig) -> _Part:
    table = correction_table(trigger.file, trigger.name)
    unknown = sorted(set(trigger.inputs) - set(table.inputs))
    if unknown:
        msg = f"{table} has no input '{unknown[0]}' (key trigger.inputs); it has {', '.join(table.inputs)}"
        raise InputError(msg)
    values: dict[str, Value] = {**inputs.features}
    values |= {name: inputs.features.get(column) for name, column in trigger.inputs.items()}
    factors = [
        table.evaluate({**values, "systematic": name}, len(inputs.event), inputs.describe)
        for name in trigger.systematics
    ]
    return _measured("trigger", inputs, factors, "trigger")
