"""The event account of a run: what each pass over each sample expected, processed, tried again and lost.

It says how a run went, not only what it gave: two runs with equal results may have retried different chunks. So it is
written whenever a pass ends, well or not, and is no output that a stage is judged by.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from analysis.run import Run
from analysis.stages import varied_signals, varied_stage
from data.errors import OddjetError
from data.files import read_json, write_json, writing
from processors.account import Account

_LOG = logging.getLogger("oddjet")
_COLUMNS = ("files", "expected", "processed", "selected", "retried", "failed")
_MOST_FAILURES = 20


def keep_account(run: Run, stage: str, account: Account) -> None:
    """Write down the account of a pass, and the whole run's anew.

    It is called while a pass fails, too: a full disk then loses the account, with a warning, but not the error.
    """
    try:
        write_json(_path(run, stage), account.to_json() | {"stage": stage})
        write_account(run)
    except (OSError, OddjetError) as error:
        _LOG.warning("%s: the account of stage '%s' is not written (%s)", run.root, stage, error)


def begin_account(run: Run, stage: str) -> None:
    """Write down that a pass has begun and read nothing yet: what the account was before stands for it no more.

    The old files go first, which a full disk allows: it then has no account rather than one of another run.
    """
    forget_account(run, stage)
    (run.root / "account.json").unlink(missing_ok=True)
    keep_account(run, stage, Account(()))


def forget_account(run: Run, stage: str) -> None:
    """Remove the account of a pass over events that are others now."""
    _path(run, stage).unlink(missing_ok=True)


def settle_account(run: Run) -> None:
    """Write ``account.json`` when the passes of a stage are over; a full disk is named."""
    if run.works:
        with writing(run.root):
            write_account(run)


def write_account(run: Run) -> None:
    """Write ``account.json``: the entries of pass 2 file by file, and the account of every pass.

    Until the second pass over a sample has got anywhere, the first one stands for it.
    """
    stages = {stage: read_json(_path(run, stage)) for stage in _stages(run)}
    files_of = {stage: account["files"] for stage, account in stages.items() if account["files"]}
    last = [files_of.get(f"hist {name}", files_of.get(f"skim {name}", [])) for name in run.filled]
    files = [file for own in last for file in own]
    expected, processed = (sum(file[key] for file in files) for key in ("expected", "processed"))
    records = {
        name: read_json(path)
        for name in run.filled
        if f"hist {name}" in files_of and (path := run.root / "histograms" / f"{name}.json").is_file()
    }
    content = {
        "files": files,
        "expected": expected,
        "processed": processed,
        "complete": bool(stages) and all(account["complete"] for account in stages.values()),
        "luminosity": {
            name: record["luminosity"] for name, record in records.items() if record["luminosity"]
        },
        "jets_without_particles": {name: record["without_particles"] for name, record in records.items()},
        "stages": {
            stage: {
                **{key: account[key] for key in _COLUMNS[1:]},
                "files": len(account["files"]),
                "complete": account["complete"],
            }
            for stage, account in stages.items()
        },
        "failures": [
            {"stage": stage, **one} for stage, account in stages.items() for one in account["failures"]
        ],
    }
    write_json(run.root / "account.json", content)


def account_table(run: Run) -> Table | None:
    """The account as a table of the terminal, a row a pass.

    Parameters
    ----------
    run
        The run folder.

    Returns
    -------
    rich.table.Table
        None where no pass has begun.
    """
    path = run.root / "account.json"
    if not path.is_file():
        return None
    table = Table(title=f"entries of {run.root}", title_justify="left", box=SIMPLE)
    table.add_column("stage", no_wrap=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for stage, account in read_json(path)["stages"].items():
        style = None if account["complete"] else "red"
        table.add_row(stage, *(f"{account[column]:,}" for column in _COLUMNS), style=style)
    return table


def failure_lines(run: Run) -> list[str]:
    """Chunks that needed several attempts or failed for good, a line each."""
    path = run.root / "account.json"
    failures = read_json(path)["failures"] if path.is_file() else []
    lines = [
        f"{one['stage']}: '{one['file']}' entries {one['start']}–{one['stop'] - 1}, {one['attempts']} attempts, "
        f"{'recovered' if one['recovered'] else 'FAILED'}: {one['reason'].splitlines()[0]}"
        for one in failures
    ]
    more = [f"… and {len(lines) - _MOST_FAILURES} more in {path}"] if len(lines) > _MOST_FAILURES else []
    return [*lines[:_MOST_FAILURES], *more]


def _stages(run: Run) -> Iterator[str]:
    """The passes that have begun, in order."""
    names = [
        *(f"skim {name}" for name in run.samples),
        *(f"hist {name}" for name in run.filled),
        *(varied_stage(name) for name in varied_signals(run)),
    ]
    return (name for name in names if _path(run, name).is_file())


def _path(run: Run, stage: str) -> Path:
    return run.root / "accounts" / f"{stage.replace(' ', '.')}.json"
