"""Work that kills its worker, in a module of its own: workers must be able to import it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from data.errors import OutputError
from processors.skim import Skim
from processors.tasks import Outcome


@dataclass(frozen=True)
class Dying(Skim):
    """Pass 1 that kills its process at an entry ``N`` once for each file ``N.*`` that it finds in ``folder``.

    A file ``N.job`` kills the parent with it: of a dask worker the nanny, and so the whole batch job.
    """

    folder: Path = Path()

    def identity(self):
        return "dying"

    def __call__(self, events):
        lives = sorted(self.folder.glob(f"{int(events.metadata['entrystart'])}.*"))
        if lives:
            lives[0].unlink()
            if lives[0].suffix == ".job":
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(events)


def sum_of(table, number, folder):
    """A task that needs a large table; it kills its process once for each file ``NUMBER.*`` in a folder."""
    for life in sorted(folder.glob(f"{number}.*"))[:1]:
        life.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome((number, int(table.sum()), 0))


class Deadly:
    """A value that kills every process that receives it, but the one it comes from: dask copies it there, too."""

    def __reduce__(self):
        return _kill, (os.getpid(),)


def _kill(home):
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return Deadly()


def slow_or_wrong(number, folder):
    """Task 0 fails when all others have begun; these then take their time."""
    (folder / f"begun.{number}").touch()
    if number:
        time.sleep(1)
        return Outcome((number, 0, 0))
    while len(list(folder.glob("begun.*"))) < 2:
        time.sleep(0.01)
    return Outcome(error=OutputError("disk full"))
