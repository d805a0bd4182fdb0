"""Methods trained side by side."""

from collections.abc import Mapping, Sequence

from data.errors import ConfigError
from data.types import Table
from models.driver import train_together
from models.folded import FoldedMethod


def fit_together(
    methods: Sequence[FoldedMethod],
    tables: Sequence[Table | None],
    *,
    workers: int = 1,
    further: Sequence[Mapping[str, Table]] | None = None,
) -> None:
    """Train several methods side by side: windows, seeds, injected signals.

    Networks of one kind train in common stacks, which is what makes many trainings affordable. Each method comes out
    as `FoldedMethod.fit` would train it alone: to the bit on one CPU.

    Parameters
    ----------
    methods
        Not yet trained.
    tables
        The table of each.
    workers
        Processes that train side by side.
    further
        Further tables of each, by keyword.

    Raises
    ------
    ConfigError
        If the methods are to train on different devices.
    TrainingError
        As `Method.fit`.
    """
    places = {(method.options.device, method.options.precision) for method in methods}
    if len(places) > 1:
        found = " and ".join(", ".join(place) for place in sorted(places))
        msg = f"methods trained together need one device and one precision, found {found}; give all the same"
        raise ConfigError(msg)
    given = further if further is not None else [{}] * len(methods)
    trainings = [
        method.training(table, extra) for method, table, extra in zip(methods, tables, given, strict=True)
    ]
    for device, precision in places:
        train_together(trainings, workers=workers, device=device, precision=precision)
