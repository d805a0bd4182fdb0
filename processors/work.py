"""What is done with a chunk: a pure function of its events, with a name for everything that it depends on."""

import abc
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from data.trees import Tree, fingerprint

if TYPE_CHECKING:  # whoever reads tables has no need of all that makes them
    from processors.recipe import Recipe


@dataclass(frozen=True)
class ChunkWork(abc.ABC):
    """A processor of chunks; small to send.

    Attributes
    ----------
    recipe
        How events become feature tables.
    """

    recipe: "Recipe"

    @abc.abstractmethod
    def __call__(self, events: Any) -> Tree:
        """Process one chunk, given as coffea's array of virtual columns.

        Returns
        -------
        dict
            A plain tree with the recipe's tally in it.
        """

    def identity(self) -> str:
        """Hash of all that the result depends on beside the file and the code."""
        return fingerprint(replace(self, recipe=replace(self.recipe, schemas={})))

    def of_file(self, path: str) -> Self:
        """The same work with the branches of one file only."""
        return replace(self, recipe=replace(self.recipe, schemas={path: self.recipe.schemas[path]}))
