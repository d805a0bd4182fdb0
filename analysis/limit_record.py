"""What ``limits.json`` holds: limits with retraining, of every signal and selection."""

from typing import Literal

from analysis.exclusion import Status
from data.sections import Section

Bands = tuple[float, float, float, float, float]
"""At −2, −1, 0, +1, +2 standard deviations of the expectation without signal."""


class InjectionPoint(Section):
    """All trainings with one injected cross section.

    Parameters
    ----------
    cross_section_fb, injected
        Of the signal, and its events in the data.
    efficiency, error
        Selected signal inside the fit range, as a share of what passes the event selection: mean of the trainings, and
        its standard error.
    spread
        Standard deviation of one training.
    efficiencies
        Of each training.
    z
        Local significance found in each data set with its signal; null where the fit is not valid.
    asimov_z, asimov_z_error
        Expected for the signal injected on the background fitted with it: mean of the trainings, and its standard error.
    """

    cross_section_fb: float
    injected: int
    efficiency: float
    error: float
    spread: float
    efficiencies: tuple[float, ...]
    z: tuple[float | None, ...]
    asimov_z: float | None
    asimov_z_error: float | None


class LimitPoint(Section):
    """One limit on the cross section.

    Parameters
    ----------
    n_excluded
        Upper limit on the selected signal events.
    status, crossing_fb
        Where the efficiency's curve crosses what it excludes.
    crossing_low_fb, crossing_high_fb
        Central 68 % of the crossing for the efficiency's error; null where an end lies beyond the injections.
    grid_fb, grid_tie_fb
        Published rule on the injections without and with its tie-breaking; null for a fixed selection.
    """

    n_excluded: float
    status: Status
    crossing_fb: float | None
    crossing_low_fb: float | None
    crossing_high_fb: float | None
    grid_fb: float | None
    grid_tie_fb: float | None


class Curve(Section):
    """The efficiency's curve and its central 68 %, to be drawn.

    Parameters
    ----------
    cross_section_fb
        Where it is given, ascending.
    efficiency
        There: selected signal inside the fit range, as a share of what passes the event selection.
    low, high
        Ends of its central 68 %.
    """

    cross_section_fb: tuple[float, ...]
    efficiency: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class DiscoveryPoint(Section):
    """Cross section at which a significance is expected.

    Parameters
    ----------
    z
        The significance.
    status
        Whether the injections reach it.
    cross_section_fb
        Where it is expected; null unless the status is ``ok``.
    low_fb, high_fb
        Central 68 % for the errors of the significances; null where an end lies beyond the injections.
    """

    z: float
    status: Literal["ok", "below_smallest", "not_reached", "weak"]
    cross_section_fb: float | None
    low_fb: float | None
    high_fb: float | None


class UncertaintySource(Section):
    """What one source does to the yield of the selected signal.

    Parameters
    ----------
    name
        E.g. ``jes``; ``random_variations`` is the spread over trainings, ``signal_statistics`` that of the simulation.
    up, down
        Relative change at +1 and −1 standard deviation.
    relevance, feature
        Largest shift in a tenth of the injected signal, in a feature, over the statistical uncertainty there; null for a
        source that is not tested.
    relevant
        Whether that is more than a fifth.
    retrained
        Whether the method was trained again with the varied signal in the data; else the selection is fixed.
    """

    name: str
    up: float
    down: float
    relevance: float | None = None
    feature: str | None = None
    relevant: bool = False
    retrained: bool = False


class BackgroundCheck(Section):
    """A method that was trained with the signal, on simulated background without any: a peak there would be made by it.

    Parameters
    ----------
    effective_events
        (Σw)²/Σw² of the background after the event selection.
    selected
        Share that each training keeps.
    z
        Local significance at the signal's mass in what each keeps, as effective events; null where no fit is valid.
    """

    effective_events: float
    selected: tuple[float, ...]
    z: tuple[float | None, ...]


class Uncertainties(Section):
    """Where the uncertainty of the selected signal's yield comes from.

    Parameters
    ----------
    injection_fb
        Cross section of the signal in the data with which the method was trained for them: that of the best expected
        limit by the published rule. Null where it was not: then the sources are those of the signal before the method.
    message
        Why it was not, or null.
    sources
        All of them; their downward parts in quadrature enter the limits.
    background
        Null without simulated background or without such trainings.
    """

    injection_fb: float | None
    message: str | None
    sources: tuple[UncertaintySource, ...]
    background: BackgroundCheck | None


class SelectionLimits(Section):
    """Limits of one selection on one signal.

    Parameters
    ----------
    retrained
        False for a fixed selection: its efficiency is the same at all cross sections, and so its limit needs none.
    message
        Why there is no limit, or null.
    points
        One an injected cross section.
    curve, chi2
        The monotone curve through the efficiencies, and χ² of the points against it; null for a fixed selection.
    fb_per_event
        Cross section of one event after the event selection.
    signal_uncertainty
        Relative uncertainty of the signal's yield in the limits: all sources in quadrature, downwards.
    uncertainties
        Its sources; null where there is no limit.
    n_excluded_without
        Limits on the selected events without uncertainties of the signal: observed, then expected.
    observed, expected
        Null and empty where the fit is not valid.
    discovery
        For 3 and 5 standard deviations.
    """

    retrained: bool
    message: str | None
    points: tuple[InjectionPoint, ...]
    curve: Curve | None
    chi2: float | None
    fb_per_event: float
    signal_uncertainty: float | None
    uncertainties: Uncertainties | None
    n_excluded_without: tuple[float, ...]
    observed: LimitPoint | None
    expected: tuple[LimitPoint, ...]
    discovery: tuple[DiscoveryPoint, ...]


class SignalLimits(Section):
    """Limits on one simulated signal.

    Parameters
    ----------
    mass, window
        In GeV, and the window that tests it.
    acceptance
        Share of the signal produced that passes the event selection.
    selections
        By name, ``inclusive`` among them.
    """

    mass: float
    window: str
    acceptance: float
    selections: dict[str, SelectionLimits]


class LimitRecord(Section):
    """The content of ``limits.json``.

    Parameters
    ----------
    sample, region
        The searched data.
    luminosity_ifb, sqrt_s
        fb⁻¹ and GeV.
    study
        Whether the selections of ``limits.references`` are among the selections.
    published
        Signal whose published significances are drawn beside those found.
    signals
        By sample.
    """

    sample: str
    region: str
    luminosity_ifb: float
    sqrt_s: float
    study: bool
    published: str | None
    signals: dict[str, SignalLimits]
