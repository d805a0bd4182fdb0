"""Which stages of a run are up to date: the pipeline walked through without doing anything."""

from dataclasses import dataclass, field
from functools import cached_property

from analysis.limit_pipeline import run_limits
from analysis.pipeline import histogram, scan, skim, train, write_run_report
from analysis.run import Run
from analysis.stages import stage_is_current
from data.errors import InputError

_TO_DO = "to do"


@dataclass(frozen=True)
class Survey(Run):
    """A run that notes its stages instead of working on them.

    Attributes
    ----------
    found
        Stage to whether it is up to date, in the order of the run.
    """

    found: dict[str, bool] = field(default_factory=dict)

    def note(self, stage: str, inputs: dict[str, str], options: object) -> None:
        """Note a stage, whose work is not done."""
        if self.manifest(stage).is_file() and _TO_DO not in inputs.values():
            self.found[stage] = stage_is_current(self, stage, inputs, options)
        else:
            self.found[stage] = False

    def identity(self, stage: str) -> str:
        """Hash of the outputs of a stage that is up to date; of others a word that no stage was made from."""
        return super().identity(stage) if self.found.get(stage) else _TO_DO

    @property
    def works(self) -> bool:
        """No: stages are only noted."""
        return False

    @cached_property
    def identities(self) -> dict[str, dict[str, str]]:
        """Hash of every input file; nothing is read where no stage has been finished."""
        if any((self.root / "manifests").glob("*.json")):
            return super().identities
        return {name: {} for name in self.samples}


def survey(run: Run) -> dict[str, bool]:
    """See which stages `oddjet run` would do.

    Parameters
    ----------
    run
        The run; nothing is written to its folder.

    Returns
    -------
    dict
        Stage to whether it is up to date, in order. With ``limits.systematics`` the stages that follow from results that
        are not there yet are left out.

    Raises
    ------
    InputError
        If the samples give a feature from different branches, or a file cannot be read.
    """
    here = run.config.processing.model_copy(update={"executor": "iterative", "workers": 1, "dask": None})
    noted = Survey(run.config.model_copy(update={"processing": here}), run.samples)
    for stage in (skim, train, histogram, scan):
        stage(noted)
    if run.config.limits is not None:
        _limits(noted)
    write_run_report(noted)
    return noted.found


def _limits(noted: Survey) -> None:
    """The stages of limits; which trainings systematic uncertainties need is told by results of the stage before."""
    try:
        run_limits(noted)
    except InputError:
        if not noted.limits.systematics:
            raise
        noted.found["limit"] = False
