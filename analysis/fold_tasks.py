"""Training on the workers of dask: one task a fold of a method in a window.

What comes back are the parts of `models.tasks`, kept in the store of the stage that makes the method of them; a run that
is started again trains only the folds that are missing.
"""

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
from models.tasks import part_header, part_of
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


def train_fold(model: FoldedMethod, tables: TrainingTables, fold: int, code: str) -> Outcome:
    """Train one fold, on a worker.

    Parameters
    ----------
    model
        Not yet trained.
    tables
        Its tables.
    fold
        0 … 4.
    code
        The version of oddjet that is expected here.

    Returns
    -------
    Outcome
        The part as ``content``, or what went wrong.
    """
    try:
        if code_version() != code:
            return Outcome(error=IncompleteError(other_code(code)))
        arrays = train_together(
            [model.train_fold(tables.sample, tables.extras, fold)],
            device=model.options.device,
            precision=model.options.precision,
        )[0]
        return Outcome(content=part_of(part_header(model, tables, fold), arrays)[1])
    except OddjetError as error:
        what = f"training of method '{model.name}' in {model.window.label()}, fold {fold}"
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
    tables = {name: model.tables(table, further) for name, model in models.items()}
    tasks = [
        FoldTask(method, name, fold, part_header(model, tables[name], fold).key)
        for name, model in models.items()
        for fold in range(N_FOLDS)
    ]
    stores = {name: run.store(f"train {method} {name}") for name in models}
    missing = [task for task in tasks if stores[task.window].find(task.key) is None]
    if not missing:
        return
    with open_pool(run.config.processing, import_methods) as pool:
        sent = {name: pool.share(tables[name]) for name in {task.window for task in missing}}

        def start(task: FoldTask, _: int) -> Future:
            return pool.submit(train_fold, models[task.window], sent[task.window], task.fold, code_version())

        def finished(task: FoldTask, outcome: Outcome) -> None:
            if outcome.content is not None:
                stores[task.window].put(task.key, outcome.content)

        Schedule(pool, start, finished, run.config.processing.retries).run(missing)
