"""Where the submission of a run lies."""

from analysis.run import Run
from condor.campaign import Folder


def folder_of(run: Run) -> Folder:
    """The work folder of a run's submission."""
    return Folder(run.root.resolve() / "condor")
