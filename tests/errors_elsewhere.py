"""Errors that the quick tests cannot reach in their own process, each with the reason."""

from dataclasses import dataclass

from tests.error_list import Site


@dataclass(frozen=True)
class Elsewhere:
    """An error that is made where the recorder does not see it.

    ``mark`` is that of the tests that reach it, None for quick ones in which another process makes it: ``why`` says
    which. ``text`` stands in the message and tells it from others of the function.
    """

    file: str
    function: str
    text: str
    mark: str | None
    why: str

    def is_of(self, site: Site) -> bool:
        """Whether an error is the one that is meant."""
        return (site.file, site.function) == (self.file, self.function) and any(
            self.text in template for template in site.templates
        )


ELSEWHERE: tuple[Elsewhere, ...] = ()
