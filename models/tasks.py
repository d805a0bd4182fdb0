"""Training as tasks that may run anywhere: a fold of a method in a window, its result as a file, five files a method.

A part is a partial result (`data.partials`) under a hash of all that it depends on: the method with its options and seed,
the window, the fold, the contents of the tables, the code and the libraries. Trained twice it is the same file; trained
otherwise it has another name, and a header that says in what it differs.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic

from data.errors import ConfigError, IncompleteError, InputError
from data.eventid import N_FOLDS
from data.files import hash_json
from data.manifest import code_version
from data.partials import PartialStore, dump, read_partial
from data.sections import Section
from models.arrays import Arrays, without
from models.bundle import versions
from models.driver import train_together
from models.fold_training import TrainingTables
from models.folded import FoldedMethod
from models.jobs import LOSSES

_SOURCES = {
    "method": "it is of another method",
    "signal_region": "it is of another window",
    "low_band": "it is of another window",
    "high_band": "it is of another window",
    "working_point": "it was trained for another working point",
    "seed": "it was trained with another seed",
    "options": "it was trained with other options",
    "table_hash": "it was trained on another table",
    "further": "it was trained on other tables",
    "code_version": "it was trained by other code",
    "versions": "it was trained with other libraries",
}


class PartHeader(Section):
    """What a trained fold depends on."""

    format: Literal["oddjet fold"] = "oddjet fold"
    version: Literal[1] = 1
    method: str
    signal_region: tuple[float, float]
    """Edges, GeV."""
    low_band: tuple[float, float]
    """Edges, GeV."""
    high_band: tuple[float, float]
    """Edges, GeV."""
    working_point: float = pydantic.Field(gt=0, lt=1)
    """Fraction of the side bands that the selection keeps."""
    seed: int = pydantic.Field(ge=0)
    options: dict[str, Any]
    fold: int = pydantic.Field(ge=0, lt=N_FOLDS)
    table_hash: str = pydantic.Field(pattern="^[0-9a-f]{64}$")
    further: dict[str, str]
    """Hashes of the further tables by keyword."""
    code_version: str
    versions: dict[str, str]
    """Of the libraries that a training depends on."""

    @property
    def key(self) -> str:
        """Name of the part in a store, 64 hexadecimal digits."""
        return hash_json(self.model_dump(mode="json"))


def part_header(method: FoldedMethod, tables: TrainingTables, fold: int) -> PartHeader:
    """What a fold depends on that is trained here and now.

    Parameters
    ----------
    method
        The method; whether it is trained already is of no account.
    tables
        Its tables, from `models.fold_training.FoldTraining.tables`.
    fold
        0 … 4.
    """
    return PartHeader(
        method=method.name,
        signal_region=method.signal_region,
        low_band=method.low_band,
        high_band=method.high_band,
        working_point=method.working_point,
        seed=method.seed,
        options=method.options.model_dump(mode="json"),
        fold=fold,
        table_hash=tables.table_hash,
        further=tables.further_hashes,
        code_version=code_version(),
        versions=versions(),
    )


def train_parts(
    method: FoldedMethod,
    tables: TrainingTables,
    folds: Sequence[int],
    store: PartialStore,
    *,
    workers: int = 1,
) -> list[Path]:
    """Train folds of a method, side by side, and keep each as a file; those that are kept already are not trained again.

    Parameters
    ----------
    method
        Not yet trained, and not trained by this.
    tables
        Its tables, from `models.fold_training.FoldTraining.tables`.
    folds
        Some of 0 … 4. A fold's bits do not depend on which others are trained beside it.
    store
        Where the parts are kept.
    workers
        Processes that train side by side.

    Returns
    -------
    list of Path
        The file of each fold, in the order of ``folds``.

    Raises
    ------
    TrainingError
        If there is no such fold, or as `models.Method.fit`.
    OutputError
        If the disk does not take a part.
    """
    for fold in folds:
        method.check_number(fold)
    headers = {fold: part_header(method, tables, fold) for fold in folds}
    lacking = [fold for fold, header in headers.items() if store.find(header.key) is None]
    trained = train_together(
        [method.recorded_fold(tables.sample, tables.extras, fold) for fold in lacking],
        workers=workers,
        device=method.options.device,
        precision=method.options.precision,
    )
    for fold, arrays in zip(lacking, trained, strict=True):
        store.put(*part_of(headers[fold], arrays))
    return [store.path(headers[fold].key) for fold in folds]


def part_of(header: PartHeader, arrays: Arrays) -> tuple[str, bytes]:
    """Key and file of a trained fold, as a store takes them.

    Parameters
    ----------
    header
        What the fold depends on.
    arrays
        Its arrays, as `FoldTraining.train_fold` gives them.

    Returns
    -------
    key, content
        64 hexadecimal digits; the bytes of the file.
    """
    return header.key, dump({"header": header.model_dump(mode="json"), "arrays": arrays})


def collect_parts(method: FoldedMethod, tables: TrainingTables, files: Iterable[Path]) -> list[Arrays]:
    """Read the parts of all folds of a method and check that they belong together.

    Parameters
    ----------
    method
        As it was trained.
    tables
        The tables that it was trained on.
    files
        One a fold, in any order.

    Returns
    -------
    list of dict
        Arrays of fold 0 … 4, for `models.folded.FoldedMethod.assemble`.

    Raises
    ------
    InputError
        If a file is damaged, or of another method, window, seed, table, code …, or if two are of one fold; the message
        names it. PartialError, one of these, where the file itself is damaged.
    IncompleteError
        If folds are missing, naming them.
    """
    found: dict[int, Path] = {}
    arrays: dict[int, Arrays] = {}
    for file in files:
        header, own = _read_part(file)
        _check_header(file, header, part_header(method, tables, header.fold))
        if header.fold in found:
            msg = f"{file}: fold {header.fold} of '{method.name}' is in {found[header.fold]} already; give each once"
            raise InputError(msg)
        try:
            method.check_fold(without(own, LOSSES))
        except ValueError as error:
            msg = f"{file}: {error}; the part is damaged: train the fold again"
            raise InputError(msg) from None
        found[header.fold], arrays[header.fold] = file, own
    if missing := [str(fold) for fold in range(N_FOLDS) if fold not in found]:
        msg = (
            f"method '{method.name}' in {method.window.label()}: {len(missing)} of {N_FOLDS} folds are missing "
            f"({', '.join(missing)}); train these, then collect again"
        )
        raise IncompleteError(msg)
    return [arrays[fold] for fold in range(N_FOLDS)]


def collect_kept(method: FoldedMethod, tables: TrainingTables, store: PartialStore) -> list[Arrays]:
    """Read the parts of all folds of a method from a store; those of other trainings are passed over.

    Parameters
    ----------
    method, tables
        As for `collect_parts`.
    store
        Where the parts are kept.

    Returns
    -------
    list of dict
        As `collect_parts`.

    Raises
    ------
    InputError
        If a part of this training is damaged.
    IncompleteError
        If folds are missing, naming them, and in what a part that is there instead differs.
    """
    own = [store.path(part_header(method, tables, fold).key) for fold in range(N_FOLDS)]
    try:
        return collect_parts(method, tables, [path for path in own if path.is_file()])
    except IncompleteError as error:
        others = [path for path in store.files() if path not in own]
        if not others:
            raise
        msg = f"{error}\n  {_why_not(others[0], method, tables)}"
        raise IncompleteError(msg) from None


def _why_not(file: Path, method: FoldedMethod, tables: TrainingTables) -> str:
    """Why a part of some other training is not counted; it may be damaged, which concerns nobody here."""
    try:
        header, _ = _read_part(file)
    except InputError as error:
        return str(error)
    reason = difference(header, part_header(method, tables, header.fold))
    return f"{file}: this part of fold {header.fold} is not counted: {reason}"


def _read_part(file: Path) -> tuple[PartHeader, Arrays]:
    tree = read_partial(file)
    try:
        header = PartHeader.parse(tree.get("header"), str(file))
    except ConfigError as error:
        msg = f"{error}; this is no trained fold, or one of another version: train the fold again"
        raise InputError(msg) from None
    # Copies: the file may go, and torch wants memory that can be written to.
    return header, {name: np.array(values) for name, values in tree.get("arrays", {}).items()}


def _check_header(file: Path, header: PartHeader, expected: PartHeader) -> None:
    if (reason := difference(header, expected)) is not None:
        msg = (
            f"{file}: this part of method '{header.method}', fold {header.fold}, does not belong here: {reason}; train "
            "the fold again"
        )
        raise InputError(msg)


def difference(header: PartHeader, expected: PartHeader) -> str | None:
    """In what a training differs from the one expected, in words; None where it is the same but for the fold."""
    have, want = header.model_dump(mode="json"), expected.model_dump(mode="json")
    for key, reason in _SOURCES.items():
        if have[key] != want[key]:
            place, found, wished = _first_difference(key, have[key], want[key])
            return f"{reason} ({place} is {found}, expected {wished})"
    return None


def _first_difference(place: str, have: Any, want: Any) -> tuple[str, Any, Any]:
    """Where two plain values first differ, and what stands there."""
    if isinstance(have, dict) and isinstance(want, dict):
        for key in sorted(have.keys() | want.keys()):
            if have.get(key) != want.get(key):
                return _first_difference(f"{place}.{key}", have.get(key), want.get(key))
    return place, have, want
