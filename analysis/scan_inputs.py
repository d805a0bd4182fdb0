"""What a scan and its studies start from: spectrum, masses, signal and options, of a file or of a run."""

from dataclasses import dataclass

from analysis.run import Run, selection_label
from analysis.run_systematics import UncertainSignal, selection_systematics
from analysis.scan import ScanConfig
from analysis.signal_histogram import read_signal
from analysis.signal_template import Signal
from analysis.spectra import Spectra, signal_model
from analysis.spectrum import Spectrum
from analysis.spectrum_document import SpectrumDocument
from analysis.windows import window_of
from data.errors import ConfigError, InputError
from processors.histogram_io import read_histograms
from processors.scorers import INCLUSIVE


@dataclass(frozen=True, eq=False)
class ScanInputs:
    """Inputs of a scan.

    Attributes
    ----------
    spectrum
        Counts in fine bins.
    masses
        Tested masses in GeV.
    signal
        Its shape.
    config
        How to fit.
    """

    spectrum: Spectrum
    masses: tuple[float, ...]
    signal: Signal
    config: ScanConfig


def document_inputs(document: SpectrumDocument, *, limits: bool = True) -> ScanInputs:
    """Inputs of a spectrum file.

    The fit range is the whole spectrum unless the document gives one; it does not depend on the mass.

    Parameters
    ----------
    document
        The file.
    limits
        Compute limits.

    Returns
    -------
    ScanInputs
        Spectrum, masses in GeV, signal and options.

    Raises
    ------
    ConfigError
        If an option does not fit the spectrum, or no mass is given.
    InputError
        If the numbers are not a spectrum, or it is empty.
    """
    spectrum = Spectrum.from_document(document)
    if not document.masses:
        msg = 'no mass to test; add a key "masses", as [2000, 2500] (GeV)'
        raise ConfigError(msg)
    if spectrum.n_events == 0:
        msg = f"spectrum: no events between {spectrum.lo:g} and {spectrum.hi:g} GeV; check the counts"
        raise InputError(msg)
    shown = document.model_dump(include={"signal"}, exclude_none=True)["signal"]
    return ScanInputs(
        spectrum,
        document.masses,
        read_signal(shown, "signal"),
        _scan_config(document, spectrum, limits=limits),
    )


def _scan_config(document: SpectrumDocument, spectrum: Spectrum, *, limits: bool) -> ScanConfig:
    fit = document.fit
    given = (spectrum.lo, spectrum.hi) if fit.range is None or fit.range == "search" else fit.range
    _check_range(given, spectrum, document.sqrt_s)
    options = {
        "function": fit.function,
        "candidates": fit.candidates,
        "own_functions": {name: own.model_dump() for name, own in fit.own_functions.items()},
        "fit_start": given[0],
        "fit_stop": given[1],
        "range_search": fit.range == "search",
        "nuisances": fit.nuisances,
        "uncertainty_veto": fit.uncertainty_veto,
        "sqrt_s": document.sqrt_s,
        "calculator": document.calculator,
        "seed": document.seed,
        "limits": limits,
    }
    return ScanConfig.parse(options, "fit")


def _check_range(given: tuple[float, float], spectrum: Spectrum, sqrt_s: float) -> None:
    slack = float((spectrum.edges[1:] - spectrum.edges[:-1]).max())
    if given[0] >= given[1]:
        msg = f"fit.range [{given[0]:g}, {given[1]:g}] does not rise; give [lowest, highest] in GeV"
        raise ConfigError(msg)
    if given[0] < spectrum.lo - slack or given[1] > spectrum.hi + slack:
        msg = (
            f"fit.range [{given[0]:g}, {given[1]:g}] reaches beyond the spectrum, "
            f"{spectrum.lo:g}–{spectrum.hi:g} GeV; give a range inside"
        )
        raise ConfigError(msg)
    if given[1] >= sqrt_s:
        msg = (
            f"the fit range {given[0]:g}–{given[1]:g} GeV reaches sqrt_s = {sqrt_s:g} GeV, where every function ends; "
            "give a fit.range below it, or the right sqrt_s"
        )
        raise ConfigError(msg)


def run_inputs(run: Run, selection: str = INCLUSIVE) -> ScanInputs:
    """Inputs of one selection of a run whose histograms are filled.

    Parameters
    ----------
    run
        The run.
    selection
        ``inclusive``, or ``METHOD_WINDOW`` as in ``fits.json``: the masses are those of its window.

    Raises
    ------
    ConfigError
        If the configuration has no such selection.
    InputError
        If the histograms are missing or do not hold it.
    """
    config = run.config
    windows = {selection_label(method, window): window for method, window in run.tasks()}
    if selection not in {INCLUSIVE, *windows}:
        msg = f"--selection {selection}: the configuration has {', '.join((INCLUSIVE, *windows))}"
        raise ConfigError(msg)
    masses = sorted(config.scan.masses)
    if selection in windows:
        masses = [mass for mass in masses if window_of(mass) == windows[selection]]
    histograms = {name: read_histograms(run.root / "histograms" / f"{name}.h5")["mjj"] for name in run.filled}
    spectra = Spectra(histograms, config.selection.region)
    signals = [run.samples[name] for name in config.search.signals]
    spectrum = spectra.spectrum(run.data, selection)
    norm = selection_systematics(spectra, signals, selection, masses, spectrum, config, run.data).norm
    signal = UncertainSignal(
        signal_model(spectra, signals), config.systematics.jes, config.systematics.jer, norm
    )
    return ScanInputs(spectrum, tuple(masses), signal, config.scan)
