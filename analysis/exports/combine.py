r"""Datacards of the CMS tool Combine (arXiv:2404.06614) with ``TH1`` templates, free of RooFit objects.

Combine normalises every template and multiplies it by its rate, so a process whose contents sum to nearly nothing or
turn negative, as a direction of the background's parameters does, is not usable there: it is refused, or its negative
bins are cut off. The background is therefore one positive process. Its normalisation is a ``rateParam``; each further
direction φ_k, which leaves the normalisation alone, is a ``shapeU`` uncertainty (flat prior on −1 … 1): templates S
standard deviations up and down. Combine morphs as b + ½ x [(u − d) + (u + d − 2b) s(x)] with s(x) = x (15 − 10 x² +
3 x⁴)/8, so that u, d = b ± S φ_k + (4/15) S² φ_k²/b follow b exp(S x φ_k/b), the log-linear function, to second order
in x; in the direction in which a signal pulls, the second order is that of the workspace, whatever the function.
Products of two directions are left out: significances stay within 1 % or 0.02 of the direct fit from 500 events on, and
differences of −2 ln L at the limits within 0.1, or 0.4 below 3000 events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.workspace import BACKGROUND, CHANNEL, POI, SIGNAL, direction_name
from analysis.workspace_index import StoredWorkspace, WorkspaceFacts
from data.errors import FitError
from data.files import atomic_path
from data.types import FloatArray

DATA = "data_obs"
_STANDARD_DEVIATIONS = 20.0
"""S, halved until both templates of a direction are positive: the larger, the better the second order holds."""
_LEAST = 1.0
_SECOND_ORDER = 4.0 / 15.0


@dataclass(frozen=True, eq=False)
class Card:
    """A datacard and its histograms.

    Attributes
    ----------
    text
        The datacard.
    histograms
        Name in the ROOT file to bin contents, shape (n,).
    edges
        Of the bins in GeV, shape (n + 1,).
    """

    text: str
    histograms: dict[str, FloatArray]
    edges: FloatArray


@dataclass(frozen=True, eq=False)
class _Background:
    """Positive templates of the background: nominal, and up and down by direction."""

    nominal: FloatArray
    varied: dict[str, tuple[FloatArray, FloatArray]]
    deviations: dict[str, float]


def build_card(stored: StoredWorkspace, root_file: str) -> Card:
    """Datacard of one workspace.

    Parameters
    ----------
    stored
        The workspace.
    root_file
        Name under which the datacard looks for its histograms.

    Returns
    -------
    Card
        ``r`` multiplies the workspace's signal at mu = 1.

    Raises
    ------
    FitError
        If a direction of the background has no positive templates.
    """
    samples = {sample["name"]: sample for sample in stored.workspace["channels"][0]["samples"]}
    background = _background(samples, stored.facts)
    histograms = {
        DATA: np.asarray(stored.workspace["observations"][0]["data"], dtype=np.float64),
        SIGNAL: np.asarray(samples[SIGNAL]["data"], dtype=np.float64),
        BACKGROUND: background.nominal,
    }
    systematics: list[tuple[str, str, str, str]] = []
    for modifier in samples[SIGNAL]["modifiers"]:
        name, values = modifier["name"], modifier["data"]
        if modifier["type"] == "histosys":
            histograms[f"{SIGNAL}_{name}Up"] = np.asarray(values["hi_data"], dtype=np.float64)
            histograms[f"{SIGNAL}_{name}Down"] = np.asarray(values["lo_data"], dtype=np.float64)
            systematics.append((name, "shape", "1", "-"))
        elif modifier["type"] == "normsys":
            systematics.append((name, "lnN", f"{values['hi']:.6g}", "-"))
    for name, (up, down) in background.varied.items():
        histograms[f"{BACKGROUND}_{name}Up"] = up
        histograms[f"{BACKGROUND}_{name}Down"] = down
        systematics.append((name, "shapeU", "-", "1"))
    text = datacard(stored.facts, root_file, systematics, background.nominal.sum(), background.deviations)
    return Card(text, histograms, np.asarray(stored.facts.edges))


def datacard(
    facts: WorkspaceFacts,
    root_file: str,
    systematics: list[tuple[str, str, str, str]],
    n_background: float,
    deviations: Mapping[str, float],
) -> str:
    """Text of a datacard of one signal and one background.

    Parameters
    ----------
    facts
        Of the workspace.
    root_file
        Name of the file with the histograms.
    systematics
        Name, type, and effect on signal and background of every uncertainty.
    n_background
        Expected background events; twenty of its standard deviations bound the normalisation.
    deviations
        Standard deviations that x = 1 stands for, by direction of the background.

    Returns
    -------
    str
        Its lines; contents of bins are in the file with the histograms.
    """
    room = 20 / np.sqrt(n_background)
    rule = "-" * 80
    meaning = ", ".join(f"{name}: {value:g}" for name, value in deviations.items())
    lines = [
        f"# {facts.selection}, resonance of {facts.mass:g} GeV; r = 1 is {facts.signal_events:.6g} signal events.",
        f"# Flat shape parameters; standard deviations at +-1 are {meaning}.",
        "imax 1  number of channels",
        "jmax 1  number of processes minus 1",
        "kmax *  number of nuisance parameters",
        rule,
        f"shapes * {CHANNEL} {root_file} $PROCESS $PROCESS_$SYSTEMATIC",
        rule,
        f"bin {CHANNEL}",
        "observation -1",
        rule,
        f"{'bin':<32}{CHANNEL:>16}{CHANNEL:>16}",
        f"{'process':<32}{SIGNAL:>16}{BACKGROUND:>16}",
        f"{'process':<32}{0:>16}{1:>16}",
        f"{'rate':<32}{-1:>16}{-1:>16}",
        rule,
        *(
            f"{name:<22} {kind:<9}{signal:>16}{background:>16}"
            for name, kind, signal, background in systematics
        ),
        f"background_norm rateParam {CHANNEL} {BACKGROUND} 1 [{max(0.1, 1 - room):.4g},{1 + room:.4g}]",
    ]
    return "\n".join(lines) + "\n"


def write_card(folder: Path, stored: StoredWorkspace) -> list[Path]:
    """Write ``SELECTION_MASS.txt`` and ``SELECTION_MASS.root``; gives their paths.

    Raises
    ------
    FitError
        As `build_card`.
    """
    import uproot  # noqa: PLC0415  (it takes a second to import)

    name = stored.facts.name
    card = build_card(stored, f"{name}.root")
    with atomic_path(folder / f"{name}.root") as path, uproot.recreate(path) as file:
        for key, values in card.histograms.items():
            file[key] = (values, card.edges)
    with atomic_path(folder / f"{name}.txt") as path:
        path.write_text(card.text)
    return [folder / f"{name}.txt", folder / f"{name}.root"]


def _background(samples: Mapping[str, Any], facts: WorkspaceFacts) -> _Background:
    nominal = _contents(samples, BACKGROUND)
    number = sum(direction_name(k) in samples for k in range(1, len(samples)))
    directions = np.stack([_contents(samples, direction_name(k)) for k in range(1, number + 1)], axis=1)
    # The normalisation is a parameter of every function. In the Fisher metric, in which the directions are
    # orthonormal, it lies along the vector of their sums; the other columns leave the sum alone, and the first of
    # them is as close as can be to the first direction, the way of the profiled background.
    basis, _ = np.linalg.qr(np.column_stack([directions.sum(axis=0), np.eye(number)]))
    shapes = directions @ basis[:, 1:]
    varied, deviations = {}, {}
    for k, shape in enumerate(shapes.T, start=1):
        name = f"{BACKGROUND}_shape_{k}"
        square = np.divide(shape**2, nominal, out=np.zeros_like(nominal), where=nominal > 0)
        square -= nominal * square.sum() / nominal.sum()
        met = (0.0, nominal)
        length = facts.exact_at[direction_name(1)] * basis[0, 1]
        if k == 1 and abs(length) > _LEAST:
            met = (length, _at_second_fit(samples, nominal, facts))
        varied[name], deviations[name] = _up_and_down(nominal, shape, square, met, f"{facts.name}, '{name}'")
    return _Background(nominal, varied, deviations)


def _contents(samples: Mapping[str, Any], name: str) -> FloatArray:
    return np.asarray(samples[name]["data"], dtype=np.float64)


def _at_second_fit(samples: Mapping[str, Any], nominal: FloatArray, facts: WorkspaceFacts) -> FloatArray:
    """The background at the second fit in which the workspace is exact, with the nominal's sum."""
    name = direction_name(1)
    bent = _contents(samples, name) + facts.exact_at[POI] * _contents(samples, f"{name}_{POI}")
    there = nominal + facts.exact_at[name] * bent
    return np.asarray(there * nominal.sum() / there.sum())


def _up_and_down(
    nominal: FloatArray, shape: FloatArray, square: FloatArray, met: tuple[float, FloatArray], what: str
) -> tuple[tuple[FloatArray, FloatArray], float]:
    """Templates at ± S standard deviations, with the nominal's sum, and S.

    ``square`` is the second derivative of the background; where ``met`` has a place in standard deviations other than 0
    the second order is the one with which the morphed template meets the background given there.
    """
    size = _STANDARD_DEVIATIONS
    while size >= _LEAST:
        even = _SECOND_ORDER * size**2 * square
        x = met[0] / size
        if 0 < abs(x) < 1:
            even = (met[1] - nominal - met[0] * shape) * 8 / (x**2 * (15 - 10 * x**2 + 3 * x**4))
        up, down = nominal + even + size * shape, nominal + even - size * shape
        if min(up.min(), down.min()) >= 0:
            return (up, down), size
        size /= 2
    msg = f"{what}: this direction of the background has no positive templates; export the HistFactory workspace"
    raise FitError(msg)
