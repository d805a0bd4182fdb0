"""Work that kills its worker, in a module of its own: workers must be able to import it."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from processors.skim import Skim


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
