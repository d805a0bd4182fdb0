"""How far a training is: a bar of its epochs on a terminal, nothing elsewhere."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models.epochs import heard

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("epoch {task.completed:.0f} of {task.total:.0f}"),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


@contextlib.contextmanager
def training_bar(what: str, console: Console | None = None) -> Iterator[None]:
    """Show how far the networks of a block are that a method trains, one round of them after the other.

    Networks that train side by side count in the mean; those that stop early end theirs. A round of
    trees only, which have no epochs, tells nothing.

    Parameters
    ----------
    what
        What is trained.
    console
        By default the standard error.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with Progress(*_COLUMNS, console=console, transient=True) as bar:
        line = bar.add_task("", visible=False)
        shown = [0, 0, 0.0]

        def told(number: int, done: float, most: int) -> None:
            if [number, most] != shown[:2] or done < shown[2]:  # other networks, or those of another training
                bar.reset(line, total=most, visible=True, description=f"{what}, networks {number}")
            shown[:] = [number, most, done]
            bar.update(line, completed=done)

        with heard(told):
            yield
