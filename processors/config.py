"""Options of the event loop and of the dijet selection."""

from typing import Literal, Self

import pydantic

from data.sections import Section


class ProcessingConfig(Section):
    """How the files are walked through; no number of any result depends on it."""

    chunk_size: int = pydantic.Field(default=100_000, ge=1, le=10_000_000)
    """Largest number of entries read at a time."""
    executor: Literal["iterative", "futures"] = "iterative"
    """``iterative``: in this process; ``futures``: in ``workers`` processes of this machine."""
    workers: int = pydantic.Field(default=1, ge=1, le=1024)
    """Number of processes of the futures executor."""

    @pydantic.model_validator(mode="after")
    def _workers_need_processes(self) -> Self:
        if self.executor == "iterative" and self.workers > 1:
            msg = f"workers is {self.workers}, but the iterative executor has one; set executor: futures"
            raise ValueError(msg)
        return self


class SelectionConfig(Section):
    """Cuts of the dijet selection.

    The defaults are those of CMS EXO-22-026 (arXiv:2412.03747).
    """

    jet_pt_min: float = pydantic.Field(default=300.0, gt=0, le=5000)
    """Both jets have a larger transverse momentum, GeV."""
    jet_eta_max: float = pydantic.Field(default=2.5, gt=0, le=5)
    """Both jets have a smaller absolute pseudorapidity."""
    mjj_min: float = pydantic.Field(default=1200.0, ge=1200, lt=14000)
    """The dijet mass is larger, GeV; the histograms begin at 1200 GeV, so no less is possible."""
    delta_eta_max: float = pydantic.Field(default=1.3, gt=0, le=5)
    """The jets' pseudorapidities differ by less in the signal region."""
