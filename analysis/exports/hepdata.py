"""A HEPData submission of a finished scan: significances, limits, efficiencies and fitted spectra as tables.

The tables are made by hepdata_lib (extra ``export``) and checked by HEPData's own validator before anybody sends them;
nothing is asked of the network. What only authors know, such as the place in the paper, is theirs to fill in.
"""

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.limit_record import LimitRecord, SelectionLimits, SignalLimits
from analysis.toy_bounds import local_limit
from data.errors import ConfigError, InputError
from data.files import read_json

TABLES = "tables"
ARCHIVE = "submission.tar.gz"
_REACTION = "P P --> JET JET X"
_BANDS = (("1 s.d.", 1, 3), ("2 s.d.", 0, 4))
"""Label of each band of an expected limit, and where its ends stand among the five values."""
Row = Mapping[str, Any]


def write_submission(folder: Path, root: Path) -> list[Path]:
    """Write the tables of a run, pack and validate them.

    Parameters
    ----------
    folder
        Where to: ``tables/*.yaml`` and ``submission.tar.gz``; tables of an earlier export are removed.
    root
        A run folder with ``scan.json`` and ``fits.json``, and ``limits.json`` where limits were found by retraining.

    Returns
    -------
    list of Path
        The archive and the tables.

    Raises
    ------
    ConfigError
        If hepdata_lib is not installed.
    InputError
        If the run is not finished or no mass is valid, or HEPData would refuse the tables.
    """
    documents = []
    for name in ("scan.json", "fits.json"):
        if not (root / name).is_file():
            msg = f"{root}: no {name}; run `oddjet scan` with this configuration first"
            raise InputError(msg)
        documents.append(read_json(root / name))
    limits = root / "limits.json"
    record = LimitRecord.parse(read_json(limits), str(limits)) if limits.is_file() else None
    submission = build_submission(documents[0], documents[1], record)
    shutil.rmtree(folder / TABLES, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):  # hepdata_lib packs into the current folder
        submission.create_files(TABLES, validate=False)
    validate_archive(folder / ARCHIVE)
    return [folder / ARCHIVE, *sorted((folder / TABLES).iterdir())]


def validate_archive(archive: Path) -> None:
    """Check a submission as HEPData does.

    Raises
    ------
    InputError
        With the validator's messages, if it is not valid.
    """
    _library()  # the validator comes with it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves files open, and uses what jsonschema deprecates
        from hepdata_validator.full_submission_validator import FullSubmissionValidator  # noqa: PLC0415

        validator = FullSubmissionValidator(autoload_remote_schemas=False)
        valid = validator.validate(archive=str(archive))
    if not valid:
        problems = [
            f"{Path(file).name}: {message.message}"
            for file, messages in validator.get_messages().items()
            for message in messages
        ]
        msg = f"{archive}: HEPData would refuse this submission; correct it:\n  " + "\n  ".join(problems)
        raise InputError(msg)


def build_submission(
    scan: Mapping[str, Any], fits: Mapping[str, Any], retraining: LimitRecord | None = None
) -> Any:
    """Tables of a scan.

    Parameters
    ----------
    scan, fits
        Contents of ``scan.json`` and ``fits.json``.
    retraining
        Content of ``limits.json``; None leaves its tables out.

    Returns
    -------
    hepdata_lib.Submission
        One table of significances, limits in events, limits in fb and efficiencies for every method, as far as they
        are known, one of the spectrum of every selection, and those of the limits with retraining: one of the limits
        on every signal, one of the efficiency of every method that was retrained.

    Raises
    ------
    ConfigError
        If hepdata_lib is not installed.
    InputError
        If no mass is valid.
    """
    library = _library()
    submission = library.Submission()
    submission.comment = f"Search for dijet resonances in sample '{scan['sample']}' ({scan['region']} region), made with oddjet."
    for method, rows in scan["selections"].items():
        for build in (_significances, _limits_in_events, _limits_in_fb, _efficiencies):
            table = build(library, method, [row for row in rows if row["valid"]], _qualifiers(scan, method))
            if table is not None:
                submission.add_table(table)
    for selection, fit in fits.items():
        if fit is not None:
            submission.add_table(_spectrum(library, selection, fit, _qualifiers(scan, selection)))
    for table in _retraining_tables(library, scan, retraining):
        submission.add_table(table)
    if not submission.tables:
        msg = f"scan of sample '{scan['sample']}': no mass is valid, so there is nothing to submit; choose other masses and scan again"
        raise InputError(msg)
    for table in submission.tables:
        table.location = "Data from the search; fill in the figure or table"
        table.keywords["reactions"] = [_REACTION]
        table.keywords["cmenergies"] = [f"{scan['sqrt_s']:g}"]
    return submission


def _library() -> Any:
    try:
        with warnings.catch_warnings():  # its import changes the filters of everybody
            warnings.simplefilter("ignore")
            import hepdata_lib  # noqa: PLC0415
    except ImportError:
        msg = (
            "exports to HEPData need the package hepdata_lib; install it with `pip install 'oddjet[export]'`"
        )
        raise ConfigError(msg) from None
    return hepdata_lib


def _qualifiers(scan: Mapping[str, Any], method: str) -> list[tuple[str, Any, str]]:
    known = [("SQRT(S)", scan["sqrt_s"], "GeV"), ("METHOD", method, "")]
    if scan["luminosity_ifb"] is not None:
        known.insert(1, ("LUMINOSITY", round(scan["luminosity_ifb"], 4), "fb$^{-1}$"))
    return known


def _significances(library: Any, method: str, rows: Sequence[Row], qualifiers: Any) -> Any:
    if not rows:
        return None
    table = _table(
        library,
        f"Significance {method}",
        f"Local p-value and significance by mass, method {method}.{_bounds(rows)}",
    )
    table.keywords["observables"] = ["P-VALUE", "SIG"]
    table.add_variable(_mass(library, rows))
    table.add_variable(_dependent(library, "Local p-value", [row["p0"] for row in rows], "", qualifiers))
    table.add_variable(_dependent(library, "Local significance", [row["z"] for row in rows], "", qualifiers))
    signal = _dependent(
        library, "Fitted signal yield", [row["signal_yield"] for row in rows], "events", qualifiers
    )
    _add_error(library, signal, "fit", [row["signal_yield_error"] for row in rows])
    table.add_variable(signal)
    return table


def _bounds(rows: Sequence[Row]) -> str:
    """Says which p-values are not measured but bounds, and what they are below."""
    limits = {row["mass"]: local_limit(row["p0"], row.get("message")) for row in rows}
    told = [f"{mass:g} GeV (p < {limit:.2g})" for mass, limit in limits.items() if limit is not None]
    if not told:
        return ""
    return (
        " Where no pseudo-experiment is as extreme as the data, the p-value is 1/(pseudo-experiments + 1) and the significance "
        f"that of it; upper limits on the p-value at 95% confidence level there: {', '.join(told)}."
    )


def _limits_in_events(library: Any, method: str, rows: Sequence[Row], qualifiers: Any) -> Any:
    what = "the number of signal events inside the fit range"
    return _limits(library, f"Limits in events {method}", "", "events", what, rows, qualifiers)


def _limits_in_fb(library: Any, method: str, rows: Sequence[Row], qualifiers: Any) -> Any:
    what = "the cross section of the signal"
    return _limits(library, f"Limits in fb {method}", "_fb", "fb", what, rows, qualifiers)


def _limits(
    library: Any, name: str, ending: str, units: str, what: str, rows: Sequence[Row], qualifiers: Any
) -> Any:
    """Observed and expected limits, the bands as errors of the expected one."""
    rows = [row for row in rows if row[f"limit_observed{ending}"] is not None]
    if not rows:
        return None
    table = _table(library, name, f"Upper CLs limits at 95% confidence level on {what}, by mass.")
    table.keywords["observables"] = ["CLS"]
    table.add_variable(_mass(library, rows))
    observed = [row[f"limit_observed{ending}"] for row in rows]
    table.add_variable(_dependent(library, "Observed upper limit", observed, units, qualifiers))
    bands = [row[f"limit_expected{ending}"] for row in rows]
    expected = _dependent(library, "Expected upper limit", [band[2] for band in bands], units, qualifiers)
    for label, low, high in _BANDS:
        _add_band(library, expected, label, [(band[low], band[high]) for band in bands])
    table.add_variable(expected)
    return table


def _efficiencies(library: Any, method: str, rows: Sequence[Row], qualifiers: Any) -> Any:
    rows = [row for row in rows if row["efficiency"] is not None]
    if not rows:
        return None
    table = _table(
        library,
        f"Signal efficiency {method}",
        "Fraction of all generated signal events that are selected and inside the fit range, by mass.",
    )
    table.keywords["observables"] = ["EFF"]
    table.add_variable(_mass(library, rows))
    table.add_variable(
        _dependent(library, "Signal efficiency", [row["efficiency"] for row in rows], "", qualifiers)
    )
    return table


def _spectrum(library: Any, selection: str, fit: Mapping[str, Any], qualifiers: Any) -> Any:
    """Counts and fits in the merged coarse bins."""
    mass = f"{fit['mass']:g}"
    table = _table(
        library,
        f"Spectrum {selection}",
        f"Dijet mass spectrum of the selection {selection}, its background-only fit ({fit['function']}), and the fit "
        f"with a resonance of {mass} GeV, where the excess is largest.",
    )
    table.keywords["observables"] = ["N"]
    bins = library.Variable("Dijet mass", is_independent=True, is_binned=True, units="GeV")
    bins.values = list(zip(fit["edges"][:-1], fit["edges"][1:], strict=True))
    table.add_variable(bins)
    table.add_variable(_dependent(library, "Observed events", fit["observed"], "events", qualifiers))
    background = _dependent(library, "Background-only fit", fit["background"], "events", qualifiers)
    _add_error(library, background, "fit", fit["background_error"])
    table.add_variable(background)
    both = fit["signal_fits"][mass]
    total = [b + s for b, s in zip(both["background"], both["signal"], strict=True)]
    table.add_variable(_dependent(library, "Fit with signal", total, "events", qualifiers))
    return table


def _retraining_tables(library: Any, scan: Mapping[str, Any], record: LimitRecord | None) -> Iterator[Any]:
    for signal, found in record.signals.items() if record is not None else ():
        known = {
            method: one
            for method, one in found.selections.items()
            if one.observed is not None and one.observed.status == "ok"
        }
        known = {
            method: one
            for method, one in known.items()
            if all(point.status == "ok" for point in one.expected)
        }
        if known:
            yield _retraining_limits(library, signal, found, known, _qualifiers(scan, signal)[:-1])
        for method, one in found.selections.items():
            if one.retrained and one.points:
                yield _retrained_efficiency(library, signal, method, one, _qualifiers(scan, method))


def _retraining_limits(
    library: Any, signal: str, found: SignalLimits, known: Mapping[str, SelectionLimits], qualifiers: Any
) -> Any:
    """Where the cross section excluded equals the one injected, by method."""
    table = _table(
        library,
        f"Limits with retraining {signal}",
        f"Upper CLs limits at 95% confidence level on the cross section of the signal {signal} ({found.mass:g} GeV), "
        "the methods trained again with injected signals. The errors of the observed limits are the central 68% for the "
        "error of the efficiency.",
    )
    table.keywords["observables"] = ["CLS"]
    methods = library.Variable("Method", is_independent=True, is_binned=False)
    methods.values = list(known)
    table.add_variable(methods)
    points = [one.observed for one in known.values()]
    values = [point.crossing_fb for point in points if point is not None]
    observed = _dependent(library, "Observed upper limit", values, "fb", qualifiers)
    ends = [(point.crossing_low_fb, point.crossing_high_fb) for point in points if point is not None]
    if all(low is not None and high is not None for low, high in ends):
        _add_band(library, observed, "efficiency", ends)
    table.add_variable(observed)
    bands = [[point.crossing_fb for point in one.expected] for one in known.values()]
    expected = _dependent(library, "Expected upper limit", [band[2] for band in bands], "fb", qualifiers)
    for label, low, high in _BANDS:
        _add_band(library, expected, label, [(band[low], band[high]) for band in bands])
    table.add_variable(expected)
    return table


def _retrained_efficiency(
    library: Any, signal: str, method: str, one: SelectionLimits, qualifiers: Any
) -> Any:
    table = _table(
        library,
        f"Efficiency with retraining {signal} {method}",
        f"Efficiency of the method {method} for the signal {signal}, trained with that signal injected, by injected "
        "cross section, as a share of what passes the event selection.",
    )
    table.keywords["observables"] = ["EFF"]
    injected = library.Variable("Injected cross section", is_independent=True, is_binned=False, units="fb")
    injected.values = [point.cross_section_fb for point in one.points]
    table.add_variable(injected)
    efficiency = _dependent(
        library, "Signal efficiency", [point.efficiency for point in one.points], "", qualifiers
    )
    _add_error(library, efficiency, "trainings", [point.error for point in one.points])
    table.add_variable(efficiency)
    return table


def _table(library: Any, name: str, description: str) -> Any:
    table = library.Table(name)
    table.description = description
    return table


def _mass(library: Any, rows: Sequence[Row]) -> Any:
    variable = library.Variable("Resonance mass", is_independent=True, is_binned=False, units="GeV")
    variable.values = [row["mass"] for row in rows]
    return variable


def _dependent(library: Any, name: str, values: Sequence[float | None], units: str, qualifiers: Any) -> Any:
    variable = library.Variable(
        name, is_independent=False, is_binned=False, units=units, zero_uncertainties_warning=False
    )
    variable.values = list(values)
    for qualifier in qualifiers:
        variable.add_qualifier(*qualifier)
    return variable


def _add_error(library: Any, variable: Any, label: str, values: Sequence[float]) -> None:
    uncertainty = library.Uncertainty(label, is_symmetric=True)
    uncertainty.values = list(values)
    variable.add_uncertainty(uncertainty)


def _add_band(library: Any, variable: Any, label: str, ends: Sequence[tuple[Any, Any]]) -> None:
    """An asymmetric error from the ends of the interval."""
    uncertainty = library.Uncertainty(label, is_symmetric=False)
    uncertainty.set_values_from_intervals(ends, variable.values)
    variable.add_uncertainty(uncertainty)
