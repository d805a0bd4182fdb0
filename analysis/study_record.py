"""What ``studies.json`` and ``events.json`` hold: what the report shows beyond the scan."""

from typing import Literal

from data.sections import Section

Numbers = tuple[float, ...]


class FeatureShape(Section):
    """One feature in a window, as counts in the same bins; the first and last bin hold what lies beyond.

    Parameters
    ----------
    edges
        Of the bins, in the feature's unit.
    signal_region, side_bands
        Events of the data.
    selected
        Method to the events of the signal region that it selects.
    signals
        Sample to the weight of its events in the signal region, for those that peak there.
    """

    edges: Numbers
    signal_region: Numbers
    side_bands: Numbers
    selected: dict[str, Numbers]
    signals: dict[str, Numbers]


class FeatureComparison(Section):
    """One feature in data and simulated background, in the region that is searched.

    Parameters
    ----------
    edges
        Of the bins, in the feature's unit; the first and last bin hold what lies beyond.
    data
        Events.
    simulation, variance
        Sum of weights of all background samples, and of their squares.
    """

    edges: Numbers
    data: Numbers
    simulation: Numbers
    variance: Numbers


class Flatness(Section):
    """Selected fraction against the dijet mass (GeV) beside the signal region; see `models.sculpting.Sculpting`.

    Attributes
    ----------
    mean
        Fraction of the events beside the signal region that is selected.
    chi2, p_value
        χ² of a constant fraction, and its p-value.
    slope, slope_error
        Relative change of the fraction from the first edge to the last, and its standard deviation.
    slope_p_value
        Two-sided probability of such a slope where the fraction is flat.
    """

    edges: Numbers
    fraction: Numbers
    error: Numbers
    mean: float
    chi2: float
    dof: int
    p_value: float
    slope: float
    slope_error: float
    slope_p_value: float


class Improvement(Section):
    """Significance improvement of a simulated signal in the signal region.

    Parameters
    ----------
    reference
        What the background efficiency is of: simulated background of the signal region, or data of the side bands.
    background_efficiency, signal_efficiency, value, error
        Of cuts from tight to loose: efficiencies, their ε_S/√ε_B, and its binomial standard deviation.
    background_events
        Events of the reference that were scored; of weighted events their effective number.
    """

    reference: Literal["simulation", "side bands"]
    background_efficiency: Numbers
    signal_efficiency: Numbers
    value: Numbers
    error: Numbers
    background_events: float


class TrainingCurve(Section):
    """Losses of the networks of one part of a method, all folds together.

    Parameters
    ----------
    members
        Networks, or ensembles of trees.
    first
        Trees or epochs before the first loss: 0 for trees, 1 for networks.
    median, low, high
        Validation losses of those that still train after each epoch or tree; ``low`` to ``high`` holds all of them.
    training
        Median of their training losses: of trees after each tree, of networks the mean over each epoch.
    """

    members: int
    first: Literal[0, 1]
    median: Numbers
    low: Numbers
    high: Numbers
    training: Numbers


class Contribution(Section):
    """What a feature, of this value where the side bands have ``median``, adds to the rarity of an event.

    Of all that is known of a jet (``j1``, ``j2``), beside the jets (``event``) or of an object of the rapidity–mass matrix
    (in words) there is neither value nor median.

    Attributes
    ----------
    value
        Of this event, in the feature's unit.
    median
        Of the events in the side bands.
    rarity
        What it adds.
    """

    feature: str
    value: float | None
    median: float | None
    rarity: float


class Anomalous(Section):
    """One of the most anomalous selected events of a signal region.

    Parameters
    ----------
    run, luminosity_block, event
        Its id.
    mjj, masses
        Dijet mass and soft-drop masses of j1 and j2, GeV.
    score
        Rank among the events that `MethodStudy.ranked_in` names.
    rarity
        −log₁₀(1 − score): 3 is one event in a thousand of these.
    typical
        Rarity of an event whose features are the medians of the side bands, or the mean of some side-band events where
        jets are exchanged as a whole.
    contributions
        They add up to ``rarity`` − ``typical``; empty where the method is not explained, which ``message`` then says.
    """

    run: int
    luminosity_block: int
    event: int
    mjj: float
    masses: tuple[float, float]
    score: float
    rarity: float
    typical: float | None
    contributions: tuple[Contribution, ...]
    message: str | None

    @property
    def name(self) -> str:
        """The event id in the experiments' way."""
        return f"{self.run}:{self.luminosity_block}:{self.event}"


class MethodStudy(Section):
    """A method in a window.

    Parameters
    ----------
    in_signal_region, selected
        Events of the data there, and those of them that are selected.
    ranked_in
        The events among which scores are ranks: data of the window, or simulated background of its signal region.
    flatness
        None where too few events are selected for a test.
    improvement
        Signal sample to its significance improvement.
    anomalous
        The most anomalous events first.
    training
        Kind of network (or ``trees``) to the parts of the method (e.g. ``j1``) that are of this kind, with their losses;
        empty where nothing is trained.
    """

    in_signal_region: int
    selected: int
    ranked_in: Literal["window", "background"]
    training: dict[str, dict[str, TrainingCurve]]
    flatness: Flatness | None
    improvement: dict[str, Improvement]
    anomalous: tuple[Anomalous, ...]


class Matrices(Section):
    """Pairs of methods: rank correlation of scores, and overlap (Jaccard) and number of events selected by both.

    Attributes
    ----------
    correlation, overlap
        Of n methods, shape (n, n); None where there is nothing to compare.
    """

    methods: tuple[str, ...]
    correlation: tuple[tuple[float | None, ...], ...]
    overlap: tuple[tuple[float | None, ...], ...]
    both: tuple[Numbers, ...]


class WindowStudy(Section):
    """A window: its features, methods, and by sample how alike these are in the signal region."""

    features: dict[str, FeatureShape]
    methods: dict[str, MethodStudy]
    alike: dict[str, Matrices]


class StudyRecord(Section):
    """``studies.json``: windows by name, and features of data and simulated background where there is some."""

    windows: dict[str, WindowStudy]
    simulation: dict[str, FeatureComparison]


class DisplayJet(Section):
    """A jet of a displayed event, momenta in GeV.

    Parameters
    ----------
    role
        ``j1`` and ``j2`` are those of the dijet; None: another one.
    pt, eta, phi
        GeV, and rad.
    mass
        Soft-drop mass.
    subjets
        (pT, η, φ) of each: those of the file, or where it stores none the two hardest of an exclusive kT clustering.
    particles
        (pT, η, φ, PDG code) of each, pT with its weight; the hardest first.
    lund
        (ln(R/Δ), ln(kT/GeV)) of the primary declusterings, the widest first.
    """

    role: Literal["j1", "j2"] | None
    pt: float
    eta: float
    phi: float
    mass: float | None
    subjets: tuple[tuple[float, float, float], ...]
    particles: tuple[tuple[float, float, float, int], ...]
    lund: tuple[tuple[float, float], ...]


class DisplayEvent(Section):
    """An event as its file has it.

    Parameters
    ----------
    file, entry
        Where it stands.
    has_particles
        Whether the file has particles; without, nothing is known inside the jets but the stored subjets.
    radius
        Of the jets.
    """

    file: str
    entry: int
    has_particles: bool
    radius: float
    jets: tuple[DisplayJet, ...]


class EventRecord(Section):
    """``events.json``: displayed events by their id."""

    events: dict[str, DisplayEvent]


def names_of_events(record: StudyRecord) -> dict[str, Anomalous]:
    """The anomalous events of all selections by id, each once, in the order of windows and methods."""
    found: dict[str, Anomalous] = {}
    for study in record.windows.values():
        for method in study.methods.values():
            found |= {event.name: event for event in method.anomalous if event.name not in found}
    return found
