"""What DAGMan runs before a stage: it needs no more than the jobs' records, and starts ten times as fast as the program."""

import logging
import sys
from pathlib import Path
from typing import cast

from condor.campaign import Folder, list_missing
from condor.jobs import Stage
from condor.submit_file import LATER, SKIP
from data.errors import LockedError, OddjetError
from data.locks import run_lock

_LOG = logging.getLogger("oddjet")


def pending(folder: Path, stage: Stage) -> int:
    """Write the list of a stage's jobs that are missing, with the run folder held.

    Parameters
    ----------
    folder
        The work folder.
    stage
        The stage.

    Returns
    -------
    int
        Exit code: 0 where some are missing, else `SKIP`; `LATER` where another command holds the run folder.
    """
    work = Folder(folder)
    try:
        with run_lock(folder.parent):
            lacking = list_missing(work, stage)
    except LockedError as error:
        _LOG.info("stage %s, pending: later, as %s", stage, error)
        return LATER
    if not lacking:
        return SKIP
    _LOG.info("stage %s: %d of %d jobs to run", stage, len(lacking), len(work.read().stages[stage].jobs))
    return 0


def main() -> None:
    """Run `pending` for the stage and the work folder that the command line names."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        code = pending(Path(sys.argv[2]), cast("Stage", sys.argv[1]))
    except OddjetError as error:
        _LOG.error("error: %s", error)
        code = 1
    sys.exit(code)
