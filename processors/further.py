"""Further columns of the feature table: each a function in a file of `processors.further_features`, found by itself.

A search computes those that its configuration names in ``features.further``, in both passes and in every variation of
the jets, and its methods read them by name as any other column.
"""

import difflib
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

import processors.further_features
from data.types import IntArray
from processors.schema import (
    B_TAG_ROLES,
    CLUSTERED_B_TAG_ROLES,
    CORRECTION_ROLES,
    DISPENSABLE,
    EVENT_ROLES,
    FEATURE_ROLES,
    FRACTION_ROLES,
    JET_ID_ROLES,
    JET_ROLES,
    LABEL,
    LEPTON_LINK_ROLES,
    LINK_ROLES,
    OBJECT_ROLES,
    PARTICLE_EXTRAS,
    PARTICLE_ROLES,
    QUARK_FLAGS,
    Role,
)

if TYPE_CHECKING:  # these read the configuration, which looks up names here
    from processors.chunks import Chunk
    from processors.jets import Jets
    from processors.selection import Dijets

JetValues = Callable[["Chunk", "Jets", IntArray], npt.NDArray[Any]]
"""Of a chunk, its jets, and positions (n,) in the row of jets: n numbers."""
EventValues = Callable[["Chunk", "Jets", "Dijets"], npt.NDArray[Any]]
"""Of a chunk, its jets and n selected events: n numbers."""

JET_COLLECTION = "FatJet_"
"""Branches of stored jets; jets that are clustered anew have none of them."""
VARIED_WEIGHTS = "weight_"
"""Begins the columns of a varied table that hold further weights."""
_TAKEN: Mapping[str, Role] = {
    **EVENT_ROLES,
    **JET_ROLES,
    **JET_ID_ROLES,
    **FRACTION_ROLES,
    **FEATURE_ROLES,
    **B_TAG_ROLES,
    **CLUSTERED_B_TAG_ROLES,
    **PARTICLE_ROLES,
    **PARTICLE_EXTRAS,
    **LINK_ROLES,
    **LEPTON_LINK_ROLES,
    **CORRECTION_ROLES,
    **QUARK_FLAGS,
    **OBJECT_ROLES,
    "label": LABEL,
}


@dataclass(frozen=True)
class Feature:
    """A further column, or two: one of each jet.

    Attributes
    ----------
    name
        The column; that of a jet ends in ``_j1`` and ``_j2`` in the table.
    of
        What has one number: a jet or an event.
    values
        Gives the numbers: a pure function of the chunk and its jets.
    summary
        What it is, with its unit, in one line.
    branches
        Role, a name of the author's choice, to the branches that are tried in order.
    particles
        Whether the particles of the jets are read.
    made_of
        Columns of `processors.schema.DISPENSABLE` that it is made of.
    """

    name: str
    of: Literal["jet", "event"]
    values: Callable[..., npt.NDArray[Any]]
    summary: str
    branches: Mapping[str, tuple[str, ...]]
    particles: bool
    made_of: tuple[str, ...]

    def columns(self) -> tuple[str, ...]:
        """Its columns in the feature table."""
        return tuple(f"{self.name}_{jet}" for jet in ("j1", "j2")) if self.of == "jet" else (self.name,)

    def roles(self) -> dict[str, Role]:
        """What is looked for in a file."""
        return {role: Role(names, f"the feature {self.name}") for role, names in self.branches.items()}

    def of_stored_jets(self) -> tuple[str, ...]:
        """The branches that only jets stored in the file have."""
        return tuple(
            name for names in self.branches.values() for name in names if name.startswith(JET_COLLECTION)
        )


_FEATURES: dict[str, Feature] = {}


def jet_feature(
    name: str,
    summary: str,
    *,
    branches: Mapping[str, tuple[str, ...]] | None = None,
    particles: bool = False,
    made_of: tuple[str, ...] = (),
) -> Callable[[JetValues], JetValues]:
    """Decorator of a function that gives one number a jet: the columns ``NAME_j1`` and ``NAME_j2``.

    Parameters
    ----------
    name, summary, branches, particles, made_of
        See `Feature`. In the function ``jets.of(role, jet)`` gives a role of the jets, ``chunk.jagged`` any other
        branch, and ``jets.particle_jets.particles_of(jet)`` the particles.

    Raises
    ------
    ValueError
        If the declaration contradicts what there is; see `register`.
    """

    def declared(values: JetValues) -> JetValues:
        register(Feature(name, "jet", values, summary, branches or {}, particles, made_of))
        return values

    return declared


def event_feature(
    name: str,
    summary: str,
    *,
    branches: Mapping[str, tuple[str, ...]] | None = None,
    particles: bool = False,
    made_of: tuple[str, ...] = (),
) -> Callable[[EventValues], EventValues]:
    """Decorator of a function that gives one number an event: the column ``NAME``.

    Parameters
    ----------
    name, summary, branches, particles, made_of
        See `Feature`. In the function ``chunk.role(role)[dijets.entry]`` gives a branch with one value an event, and
        ``dijets.heavy`` and ``dijets.light`` are the positions of both jets.

    Raises
    ------
    ValueError
        If the declaration contradicts what there is; see `register`.
    """

    def declared(values: EventValues) -> EventValues:
        register(Feature(name, "event", values, summary, branches or {}, particles, made_of))
        return values

    return declared


def register(feature: Feature) -> None:
    """Make a feature known by its name.

    Raises
    ------
    ValueError
        If its name is no plain word, another feature has it, a column of it begins as those of varied weights, a role
        stands for other branches already, or it is made of a column that there is not.
    """
    before = _FEATURES.get(feature.name)
    if before is not None and not _is_run_again(before, feature):
        places = [f"{one.values.__module__}.{one.values.__qualname__}" for one in (before, feature)]
        msg = f"feature '{feature.name}' is declared twice, by {places[0]} and {places[1]}; rename one"
        raise ValueError(msg)
    if not feature.name.isidentifier():
        msg = f"feature '{feature.name}': a name is letters, digits and underscores; rename it"
        raise ValueError(msg)
    weights = [column for column in feature.columns() if column.startswith(VARIED_WEIGHTS)]
    if weights:
        msg = (
            f"feature '{feature.name}': its column {weights[0]} begins with {VARIED_WEIGHTS}, as those of varied "
            "weights do; rename it"
        )
        raise ValueError(msg)
    roles = {**_TAKEN, **{role: one for other in _FEATURES.values() for role, one in other.roles().items()}}
    for role, own in feature.roles().items():
        if role in roles and roles[role].branches != own.branches:
            msg = f"feature '{feature.name}': the role '{role}' stands for {' or '.join(roles[role].branches)}; rename it"
            raise ValueError(msg)
    unknown = [name for name in feature.made_of if name not in DISPENSABLE]
    if unknown:
        msg = f"feature '{feature.name}': made_of names '{unknown[0]}'; choose among {', '.join(DISPENSABLE)}"
        raise ValueError(msg)
    _FEATURES[feature.name] = feature


def _is_run_again(before: Feature, feature: Feature) -> bool:
    """Whether a cell of a notebook declares its feature anew; a file that is imported declares each once."""
    names = [(one.values.__module__, one.values.__qualname__) for one in (before, feature)]
    return names[0] == names[1] and names[0][0] == "__main__"


def known_features() -> dict[str, Feature]:
    """Every feature by name, sorted."""
    _import_files()
    return dict(sorted(_FEATURES.items()))


@functools.cache
def _import_files() -> None:
    for module in pkgutil.iter_modules(processors.further_features.__path__):
        importlib.import_module(f"processors.further_features.{module.name}")


def chosen_features(names: Iterable[str]) -> tuple[Feature, ...]:
    """The features of some names, in the order given.

    Raises
    ------
    ValueError
        If there is no such feature, or one is named twice.
    """
    names = tuple(names)
    if not names:  # then no file of features has to be imported, which takes seconds
        return ()
    known, chosen = known_features(), dict[str, Feature]()
    for name in names:
        if name in chosen:
            msg = f"'{name}' is named twice; leave one out"
            raise ValueError(msg)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose among {', '.join(known)}"
            msg = f"there is no feature '{name}'; {hint}"
            raise ValueError(msg)
        chosen[name] = known[name]
    return tuple(chosen.values())
