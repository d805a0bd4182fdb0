"""The networks of a fold that share a set of columns: one for each jet, or one for the event."""

from dataclasses import dataclass
from typing import Literal, Self

import pydantic

from models.options import FeatureOptions
from models.weights import PT_BINS

JETS = ("j1", "j2")
JET_INPUTS = ("m", "tau21", "tau32", "tau43", "lsf3", "deepb", "n_pf")


@dataclass(frozen=True)
class Head:
    """One network of a fold.

    Parameters
    ----------
    name
        ``j1``, ``j2`` or ``event``.
    inputs
        Its input columns.
    pt
        Column whose spectrum the side bands are matched in; None for no matching.
    """

    name: str
    inputs: tuple[str, ...]
    pt: str | None


class HeadOptions(FeatureOptions):
    """Options of methods with a network for each jet or one for the event."""

    features: tuple[str, ...] = tuple(f"{name}_{jet}" for jet in JETS for name in JET_INPUTS)
    """Input columns; by default the seven a jet of CMS-EXO-22-026."""
    scope: Literal["jet", "event"] | None = None
    """``jet``: one network a jet, the larger rank counts; ``event``: one network of all inputs. By default ``jet``
    where every feature is of a jet (its name ends in _j1 or _j2)."""
    pt_bins: int = pydantic.Field(default=PT_BINS, ge=0, le=200)
    """Bins of the jet-pT reweighting in scope ``jet``; 0 for none."""

    @pydantic.model_validator(mode="after")
    def _features_are_of_jets(self) -> Self:
        other = [name for name in self.features if not name.endswith(tuple(f"_{jet}" for jet in JETS))]
        if self.scope == "jet" and other:
            msg = f"features: {', '.join(other)} belong to no jet; use scope: event"
            raise ValueError(msg)
        return self

    def heads(self) -> tuple[Head, ...]:
        """The networks of a fold."""
        of_jets = {jet: tuple(name for name in self.features if name.endswith(f"_{jet}")) for jet in JETS}
        in_jets = sum(len(names) for names in of_jets.values())
        if self.scope == "event" or (self.scope is None and in_jets < len(self.features)):
            return (Head("event", self.features, None),)
        return tuple(
            Head(jet, names, f"pt_{jet}" if self.pt_bins else None) for jet, names in of_jets.items() if names
        )
