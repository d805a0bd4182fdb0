"""Named variations of a signal grouped into sources of uncertainty, and how those of one source combine."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data.errors import InputError
from data.types import FloatArray
from processors.schema import NOMINAL

Ensemble = Literal["toys", "replicas", "hessian"]
"""What numbered variations are: throws of an uncertainty, replicas of a fit, or eigenvectors of a symmetric Hessian."""
Combination = Literal["up_down", "one_sided", "envelope", "toys", "replicas", "hessian"]

ENVELOPES: Mapping[str, tuple[str, ...]] = {"scales": ("mur", "muf", "murf")}
"""Sources that are the envelope of several pairs of variations."""
_NUMBERED = re.compile(r"(.+)_(\d+)")


@dataclass(frozen=True)
class Source:
    """The variations that make one uncertainty.

    Attributes
    ----------
    name
        Of the source, e.g. ``jes``.
    kind
        How its variations combine.
    members
        Their names; of a pair the one upwards first.
    """

    name: str
    kind: Combination
    members: tuple[str, ...]


def sources_of(
    variations: Iterable[str],
    ensembles: Mapping[str, Ensemble] | None = None,
    leave_out: Iterable[str] = (),
    *,
    what: str = "signal",
) -> list[Source]:
    """Group the variations of a histogram into sources.

    ``NAME_up`` and ``NAME_down`` are a pair, ``NAME_0``, ``NAME_1``, … an ensemble, and any other name is a variation to
    one side, which stands for both. The pairs of the renormalisation and factorisation scales become one envelope.

    Parameters
    ----------
    variations
        Their names; ``nominal`` is passed over.
    ensembles
        Name of each ensemble to what it is; ``toys`` where nothing is said, the largest of the three.
    leave_out
        Sources that are not to count, e.g. ``isr`` and ``fsr`` where the jets' substructure is calibrated.
    what
        The signal, for messages.

    Returns
    -------
    list of Source
        In the order of the names.

    Raises
    ------
    InputError
        If one side of a pair is missing, an ensemble has less than two members or a gap, or a source that is to be left
        out, or an ensemble with a kind, does not exist.
    """
    names = [name for name in variations if name != NOMINAL]
    members: dict[str, dict[str, str]] = {}
    for name in names:
        stem, _, side = name.rpartition("_")
        numbered = _NUMBERED.fullmatch(name)
        if side in {"up", "down"} and stem:
            members.setdefault(stem, {})[side] = name
        elif numbered is not None:
            members.setdefault(numbered[1], {})[str(int(numbered[2]))] = name
        else:
            members.setdefault(name, {})[""] = name
    kinds = dict(ensembles or {})
    found = [_source(stem, sides, kinds, what) for stem, sides in members.items()]
    found = _with_envelopes(found)
    unknown = [name for name in leave_out if name not in {source.name for source in found}]
    unknown += [name for name in kinds if name not in {source.name for source in found}]
    if unknown:
        msg = (
            f"{what}: there is no source of uncertainty '{unknown[0]}'; there are "
            f"{', '.join(source.name for source in found) or 'none'}"
        )
        raise InputError(msg)
    return [source for source in found if source.name not in set(leave_out)]


def _source(name: str, sides: Mapping[str, str], kinds: Mapping[str, Ensemble], what: str) -> Source:
    if set(sides) == {"up", "down"}:
        return Source(name, "up_down", (sides["up"], sides["down"]))
    if set(sides) == {""}:
        return Source(name, "one_sided", (sides[""],))
    if all(side.isdigit() for side in sides):
        first = min(int(side) for side in sides)
        wanted = [str(number) for number in range(first, first + max(len(sides), 2))]
        lacking = [f"{name}_{number}" for number in wanted if number not in sides]
        if not lacking:
            return Source(name, kinds.get(name, "toys"), tuple(sides[number] for number in wanted))
    else:
        lacking = [f"{name}_{side}" for side in ("up", "down") if side not in sides]
    if not lacking:
        msg = f"{what}: the variations {', '.join(sides.values())} of '{name}' do not belong together; rename some"
        raise InputError(msg)
    msg = (
        f"{what}: variation '{lacking[0]}' is missing beside '{next(iter(sides.values()))}'; fill the histograms with it, "
        f"or call a variation that has one side only '{name}'"
    )
    raise InputError(msg)


def _with_envelopes(sources: Sequence[Source]) -> list[Source]:
    """The sources, those of an envelope in one at the place of its first."""
    found: list[Source] = []
    for source in sources:
        name = next((name for name, parts in ENVELOPES.items() if source.name in parts), None)
        if name is None or source.kind != "up_down":
            found.append(source)
        elif all(other.name != name for other in found):
            parts = [other for other in sources if other.name in ENVELOPES[name] and other.kind == "up_down"]
            found.append(Source(name, "envelope", tuple(member for part in parts for member in part.members)))
    return found


def combined_change(
    kind: Combination, nominal: FloatArray, varied: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Change at +1 and −1 standard deviation of numbers of which the variations of one source are known.

    Parameters
    ----------
    kind
        Of the source.
    nominal
        Shape (n,).
    varied
        Shape (members, n).

    Returns
    -------
    tuple
        Two arrays of shape (n,), in the units of the numbers. Pair: its two changes. One side: its change and the
        opposite. Envelope: the largest and the smallest change, 0 among them. Toys: ±(|mean − nominal| + standard
        deviation). Replicas: ± standard deviation. Hessian: ±√Σ change² (the last two: arXiv:1510.03865, section 6).
    """
    change = np.asarray(varied, dtype=np.float64) - np.asarray(nominal, dtype=np.float64)
    if kind == "up_down":
        return change[0], change[1]
    if kind == "one_sided":
        return change[0], -change[0]
    if kind == "envelope":
        return np.maximum(change.max(axis=0), 0.0), np.minimum(change.min(axis=0), 0.0)
    size = {
        "toys": lambda: np.abs(change.mean(axis=0)) + change.std(axis=0, ddof=1),
        "replicas": lambda: change.std(axis=0, ddof=1),
        "hessian": lambda: np.sqrt(np.sum(change**2, axis=0)),
    }[kind]()
    return np.asarray(size), np.asarray(-size)
