"""Training on the workers of dask: one task a fold of a method in a window.

What comes back are the parts of `models.tasks`, kept in the store of the stage that makes the method of them; a run that
is started again trains only the folds that are missing.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from analysis.run import Run, training_tables, untrained
from analysis.windows import Window
from data.errors import IncompleteError, OddjetError
from data.eventid import N_FOLDS
from data.manifest import code_version
from models.driver import train_together
from models.fold_training import TrainingTables
from models.folded import FoldedMethod
from models.tasks import PartHeader, difference, part_header, part_of
from processors.executors import Future, open_pool
from processors.schedule import Schedule
from processors.scorers import import_methods
from processors.tasks import Outcome, bug, other_code


@dataclass(frozen=True)
class FoldTask:
    """A fold to be trained; ``key`` is its name in the store of its stage."""

    method: str
    window: str
    fold: int
    key: str

    @property
    def title(self) -> str:
        """What is done, in the words of messages."""
        return f"training of method '{self.method}' in window {self.window}, fold {self.fold}"

    @property
    def order(self) -> tuple[str, int]:
        """Tasks are listed by method, window and fold."""
        return f"{self.method} {self.window}", self.fold


def train_fold(model: FoldedMethod, tables: TrainingTables, wanted: PartHeader) -> Outcome:
    """Train one fold, on a worker.

    Parameters
    ----------
    model
        Not yet trained.
    tables
        Its tables.
    wanted
        The fold, and all that its training depends on where the run is.

    Returns
    -------
    Outcome
        The part as ``content``, or what went wrong.
    """
    try:
        if code_version() != wanted.code_version:
            return Outcome(error=IncompleteError(other_code(wanted.code_version)))
        fold, header = wanted.fold, part_header(model, tables, wanted.fold)
        if (reason := difference(header, wanted)) is not None:
            msg = (
                f"a fold trained by the worker on {socket.gethostname()} would not be this run's: {reason}; install the "
                "same libraries on all machines"
            )
            return Outcome(error=IncompleteError(msg))
        arrays = train_together(
            [model.recorded_fold(tables.sample, tables.extras, fold)],
            device=model.options.device,
            precision=model.options.precision,
        )[0]
        return Outcome(content=part_of(header, arrays)[1])
    except OddjetError as error:
        what = f"training of method '{model.name}' in {model.window.label()}, fold {wanted.fold}"
        return Outcome(error=type(error)(f"{what}: {error}"))
    except Exception:  # noqa: BLE001 - whatever a bug raises is told with its traceback
        return bug()


def train_in_pool(run: Run, method: str, windows: Sequence[Window]) -> None:
    """Train the folds of a method that are not in the stores of its stages yet.

    Parameters
    ----------
    run
        A run whose samples are skimmed.
    method
        Name of the method.
    windows
        The windows to train it in.

    Raises
    ------
    TrainingError
        If a fold cannot be trained.
    IncompleteError
        If a worker died again and again.
    """
    table, further = training_tables(run, method)
    models = {
        window.name: cast("FoldedMethod", untrained(run, method, window, run.config.run.seed))
        for window in windows
    }
    first, *others = models.values()
    tables = first.tables(table, further)  # windows differ in what they make of a row, not in the rows
    for model in others:
        model.check_tables(tables)
    wanted = {
        FoldTask(method, name, fold, header.key): header
        for name, model in models.items()
        for fold in range(N_FOLDS)
        for header in [part_header(model, tables, fold)]
    }
    stores = {name: run.store(f"train {method} {name}") for name in models}
    missing = [task for task in wanted if stores[task.window].find(task.key) is None]
    if not missing:
        return
    with open_pool(run.config.processing, import_methods) as pool:
        sent = pool.share(tables)

        def start(task: FoldTask, _: int) -> Future:
            return pool.submit(train_fold, models[task.window], sent, wanted[task])

        def finished(task: FoldTask, outcome: Outcome) -> None:
            if outcome.content is not None:
                stores[task.window].put(task.key, outcome.content)

        Schedule(pool, start, finished, run.config.processing.retries).run(missing)
