"""What the stages of a run left in its folder, read and checked before anything is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pydantic
from scipy.stats import norm

from analysis.limit_record import LimitRecord
from analysis.report.account_record import Account, CutflowStep, Entry
from analysis.study_record import EventRecord, StudyRecord
from analysis.toy_bounds import local_limit
from data.errors import InputError
from data.files import read_json
from data.sections import reason_of
from processors.histogram_io import read_histograms
from processors.histograms import Histograms


class ScanPoint(Entry):
    """One tested mass (GeV) of one selection; numbers are None where the fit is not valid.

    Attributes
    ----------
    mass, z, p0
        Mass in GeV, local significance and p-value.
    signal_yield, signal_yield_error
        Events in the fit range.
    limit_observed, limit_expected
        Upper limits at 95 % confidence level, events; expected at −2, −1, 0, 1, 2 standard deviations.
    limit_observed_fb, limit_expected_fb
        The same as cross sections, fb.
    calculator
        How the limits are made, ``asymptotic`` or ``toys``.
    efficiency, signal_uncertainty
        Of the signal, selected and in the fit range, of all generated; relative uncertainty of the selected yield.
    fit_p, signal_fit_p
        p-values of χ² of the fits without and with a signal.
    """

    mass: float
    z: float | None = None
    p0: float | None = None
    signal_yield: float | None = None
    signal_yield_error: float | None = None
    limit_observed: float | None = None
    limit_expected: tuple[float | None, ...] | None = None
    limit_observed_fb: float | None = None
    limit_expected_fb: tuple[float | None, ...] | None = None
    calculator: str | None = None
    efficiency: float | None = None
    signal_uncertainty: float | None = None
    function: str | None = None
    fit_p: float | None = None
    signal_fit_p: float | None = None
    window: str | None = None
    message: str | None = None
    valid: bool

    @property
    def is_bound(self) -> bool:
        """Whether p₀ is an upper bound and Z a lower one: no toy was as extreme as the data."""
        return local_limit(self.p0, self.message) is not None

    @property
    def told_p0(self) -> float | None:
        """p₀ as the page tells it: where no toy was as extreme as the data its upper limit at 95 % CL."""
        return local_limit(self.p0, self.message) or self.p0

    @property
    def told_z(self) -> float | None:
        """Z as the page tells it: where no toy was as extreme as the data its lower limit at 95 % CL."""
        limit = local_limit(self.p0, self.message)
        return self.z if limit is None else float(norm.isf(limit))


class GlobalEntry(Entry):
    """Global significance of one selection; numbers are None where there is none, and ``message`` says why.

    Attributes
    ----------
    p_global, p_global_error
        Global p-value and its standard deviation.
    gross_vitells
        Bound on it of Gross and Vitells.
    """

    p_global: float | None = None
    p_global_error: float | None = None
    n_toys: int = 0
    gross_vitells: float | None = None
    message: str | None = None


class LookElsewhere(Entry):
    """Global significances by selection, and over all of them."""

    selections: dict[str, GlobalEntry]
    over_methods: GlobalEntry | None = None


class Scan(Entry):
    """``scan.json``: energies in GeV, luminosity in fb⁻¹.

    Attributes
    ----------
    masses, sqrt_s
        Tested masses, and the centre-of-mass energy; GeV.
    luminosity_ifb
        fb⁻¹.
    """

    masses: tuple[float, ...]
    selections: dict[str, tuple[ScanPoint, ...]]
    sqrt_s: float
    luminosity_ifb: float | None = None
    sample: str
    region: str
    look_elsewhere: LookElsewhere | None = pydantic.Field(default=None, alias="global")


class FTestStep(Entry):
    """One function of the F-test: ``n`` shape parameters, the p-value of its χ², and ``p_f`` of needing more.

    Attributes
    ----------
    chi2, p, p_f
        χ², its p-value, and that of F against the last function before that was taken.
    """

    n: int
    chi2: float | None = None
    ndf: int | None = None
    p: float | None = None
    p_f: float | None = None


class SignalFit(Entry):
    """Fitted events per bin of a signal-plus-background fit.

    Attributes
    ----------
    signal, background
        Events of each of n bins.
    """

    signal: tuple[float, ...]
    background: tuple[float, ...]


class BackgroundFit(Entry):
    """One entry of ``fits.json``: edges in GeV, the rest in events per bin.

    Attributes
    ----------
    range
        Ends of the fit, GeV.
    chi2, fit_p
        χ² and its p-value.
    edges
        Of n bins, n + 1 values, GeV.
    observed, background, background_error
        Events of each of n bins.
    pull
        (observed − background)/√background of each bin; None where a bin is left out.
    """

    range: tuple[float, float]
    function: str
    f_test: tuple[FTestStep, ...] = ()
    chi2: float
    ndf: int
    fit_p: float | None
    edges: tuple[float, ...]
    observed: tuple[float, ...]
    background: tuple[float, ...]
    background_error: tuple[float, ...]
    pull: tuple[float | None, ...]
    signal_fits: dict[str, SignalFit] = pydantic.Field(default_factory=dict)


class YieldShift(Entry):
    """What one standard deviation of a source changes of the selected signal in the fit range.

    Attributes
    ----------
    up, down
        Relative change of the yield at +1 and −1 standard deviation; 0.1 is 10 % more.
    mean
        Largest relative change of the mean of the binned mass spectrum, its tails included.
    """

    name: str
    up: float
    down: float
    mean: float


class MassSystematics(Entry):
    """Uncertainties of the signal at a mass (GeV): totals in quadrature, and their sources.

    Attributes
    ----------
    mass
        GeV.
    down, up
        Of all sources in quadrature, relative.
    """

    mass: float
    down: float
    up: float
    sources: tuple[YieldShift, ...]


class SelectionSystematics(Entry):
    """Uncertainties of the signal in one selection, at the tested and at the simulated masses."""

    masses: tuple[MassSystematics, ...]
    signals: tuple[MassSystematics, ...]


class Systematics(Entry):
    """``systematics.json``: uncertainties by selection, and whether they are in the limits.

    Attributes
    ----------
    jes
        Relative uncertainty of the peak's place in the fits.
    """

    in_limits: bool
    jes: float
    selections: dict[str, SelectionSystematics]


@dataclass(frozen=True)
class RunRecord:
    """Everything that the report shows.

    Attributes
    ----------
    scan, fits, systematics, cutflow, account
        The JSON files of the run folder; ``fits`` by selection label, those with a valid fit; ``cutflow`` by
        sample.
    histograms
        Sample to its histograms: ``mjj``, and ``score`` where there are methods.
    studies, events
        What is shown beyond the scan.
    limits
        Limits with retraining, where there are some.
    """

    scan: Scan
    fits: Mapping[str, BackgroundFit]
    systematics: Systematics
    cutflow: Mapping[str, tuple[CutflowStep, ...]]
    account: Account
    histograms: Mapping[str, Histograms]
    studies: StudyRecord
    events: EventRecord
    limits: LimitRecord | None = None

    @property
    def searched(self) -> Histograms:
        """Histograms of the searched sample."""
        return self.histograms[self.scan.sample]


_STAGES = {
    "scan.json": "scan",
    "fits.json": "scan",
    "systematics.json": "scan",
    "cutflow.json": "hist",
    "account.json": "hist",
    "limits.json": "limit",
    "studies.json": "report",
    "events.json": "report",
}
_T = TypeVar("_T")


def read_record(run_folder: Path) -> RunRecord:
    """Read a run folder.

    Parameters
    ----------
    run_folder
        The folder that ``oddjet run`` writes.

    Returns
    -------
    RunRecord
        Its contents.

    Raises
    ------
    InputError
        If a file is missing, naming the stage that makes it, or does not hold what it should.
    """
    for name, stage in _STAGES.items():
        if name != "limits.json":
            _need(run_folder / name, stage)
    scan = _parse(Scan, run_folder / "scan.json")
    fits = _parse(dict[str, BackgroundFit | None], run_folder / "fits.json")
    cutflow = _parse(dict[str, tuple[CutflowStep, ...]], run_folder / "cutflow.json")
    # Sample by sample, not merged: signals of several masses may be one process.
    filled = {name: run_folder / "histograms" / f"{name}.h5" for name in (scan.sample, *cutflow)}
    for path in filled.values():
        _need(path, "hist")
    return RunRecord(
        scan=scan,
        fits={label: fit for label, fit in fits.items() if fit is not None},
        systematics=_parse(Systematics, run_folder / "systematics.json"),
        cutflow=cutflow,
        account=_parse(Account, run_folder / "account.json"),
        histograms={name: read_histograms(path) for name, path in filled.items()},
        studies=_parse(StudyRecord, run_folder / "studies.json"),
        events=_parse(EventRecord, run_folder / "events.json"),
        limits=_parse(LimitRecord, limits) if (limits := run_folder / "limits.json").is_file() else None,
    )


def _need(path: Path, stage: str) -> None:
    if not path.is_file():
        msg = (
            f"{path} is missing; stage '{stage}' makes it: "
            f"run `oddjet {stage} CONFIG.yaml` (or `oddjet run CONFIG.yaml`) first"
        )
        raise InputError(msg)


def _parse(kind: type[_T], path: Path) -> _T:
    try:
        return pydantic.TypeAdapter(kind).validate_python(read_json(path))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        stage = _STAGES[path.name]
        msg = f"{path}: key '{key}': {reason_of(first)}; write it again with `oddjet {stage} CONFIG.yaml`"
        raise InputError(msg) from None


def largest_excess(points: tuple[ScanPoint, ...]) -> ScanPoint | None:
    """The valid point with the largest local Z, at the lowest mass where several share it; None if none is."""
    tested = [point for point in points if point.valid and point.z is not None]
    return max(tested, key=lambda point: (point.z or 0.0, -point.mass), default=None)
