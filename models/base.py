"""What every anomaly method is, and the list of those that there are."""

import abc
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from data.errors import ConfigError, InputError
from data.sections import Section
from data.types import FloatArray, IntArray, Table
from models.arrays import Arrays
from models.bundle import HEADER, Header, read_bundle
from models.regions import Interval, Regions, regions
from models.registry import all_methods, find_method
from models.registry import register as register  # noqa: PLC0414 - methods take it from here


class Method(abc.ABC):
    """An anomaly method in one mjj window.

    Parameters
    ----------
    window
        Signal region and side bands, GeV.
    working_point
        Fraction of the side bands that the selection keeps.
    seed
        Seed of everything random.
    options
        The method's own options.
    """

    name: ClassVar[str]
    """Name in `models.create` and in the configuration."""
    summary: ClassVar[str]
    """One line for `models.available`."""
    options_type: ClassVar[type[Section]]
    """Section that validates the method's options."""
    family: ClassVar[str]
    """Weak supervision, unsupervised, hybrid, event level or reference."""
    flat: ClassVar[bool]
    """Whether a selection with the default options is promised to be flat in mjj."""
    takes: ClassVar[Mapping[str, bool]] = {}
    """Further tables that `fit` takes by keyword: ``signal``, ``background``, ``wide``; True where it needs them."""
    calibrated_on: ClassVar[Literal["side bands", "background"]] = "side bands"
    """``background``: ranks and thresholds come from the held-out simulated background in the signal region."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Options of the presets ``quick`` (minutes become seconds) and ``paper`` (the authors' recipe)."""

    def __init__(self, window: Regions, working_point: float, seed: int, options: Section) -> None:
        self.window = window
        self.working_point = working_point
        self.seed = seed
        self.options = options

    @property
    def signal_region(self) -> Interval:
        """Edges of the signal region, GeV."""
        return self.window.signal

    @property
    def low_band(self) -> Interval:
        """Edges of the lower side band, GeV."""
        return self.window.low

    @property
    def high_band(self) -> Interval:
        """Edges of the upper side band, GeV."""
        return self.window.high

    @classmethod
    @abc.abstractmethod
    def required_columns(cls, options: Section) -> tuple[str, ...]:
        """Columns that a method of these options reads, ``mjj`` not among them."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns that scoring reads, ``mjj`` not among them."""
        return self.required_columns(self.options)

    @abc.abstractmethod
    def fit(self, table: Table | None = None, *, workers: int = 1, **further: Table) -> Self:
        """Train on a table; labels are never read.

        Parameters
        ----------
        table
            Column name to array, one entry an event, ``mjj`` (GeV) among them. Only `supervised` does without.
        workers
            Processes that train side by side; the result is the same to the bit.
        **further
            The tables of `takes`: ``signal`` and ``background`` (simulation, with ``weight`` where events have one),
            ``wide`` (data of large |Δη|).

        Returns
        -------
        Method
            The method itself, trained.

        Raises
        ------
        InputError
            If a column is missing or holds values that are not finite.
        TrainingError
            If the method cannot be trained on these tables: the window is outside the data, a band is empty, an input
            constant, a fold too small, an event doubled, the data weighted, a table missing or not one that it takes.
        """

    @abc.abstractmethod
    def evaluate(self, table: Table, *, trained_on: bool | None = None) -> tuple[FloatArray, IntArray]:
        """Score and votes of each event, from one evaluation of the networks.

        Parameters
        ----------
        table
            ``mjj`` and the columns of `inputs`.
        trained_on
            True: the table is part of the training sample, each event is scored by its own fold's networks, which
            never saw it. False: another sample, the mean over folds. None: rows are recognised by their contents.

        Returns
        -------
        score
            float64, a rank in [0, 1], larger is more anomalous.
        votes
            int64, number of folds that select the event: 0 … 5; 0 or 5 for events trained on.

        Raises
        ------
        InputError
            If a column is missing, of another length, or not finite, a score is not finite, or a table
            without event ids is said to be trained on and holds other rows.
        TrainingError
            If the method is not trained yet.
        """

    def score(self, table: Table, *, trained_on: bool | None = None) -> FloatArray:
        """Score of each event; see `evaluate`.

        Parameters
        ----------
        table, trained_on
            As for `evaluate`.

        Returns
        -------
        numpy.ndarray
            float64 in [0, 1], one an event.
        """
        return self.evaluate(table, trained_on=trained_on)[0]

    def fold_votes(self, table: Table, *, trained_on: bool | None = None) -> IntArray:
        """Number of folds that select each event.

        Parameters
        ----------
        table, trained_on
            As for `evaluate`.

        Returns
        -------
        numpy.ndarray
            int64, 0 … 5, one an event.
        """
        return self.evaluate(table, trained_on=trained_on)[1]

    @abc.abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the trained method as a bundle (`models.bundle`).

        Parameters
        ----------
        folder
            Made where it is missing.

        Raises
        ------
        TrainingError
            If the method is not trained yet.
        OutputError
            If the disk does not take the files.
        """

    @classmethod
    @abc.abstractmethod
    def restore(cls, header: Header, arrays: Arrays, source: str) -> Self:
        """The method that a bundle holds.

        Parameters
        ----------
        header
            What the bundle says of it.
        arrays
            All arrays of the bundle.
        source
            Names the bundle in messages.

        Returns
        -------
        Method
            Trained.

        Raises
        ------
        ConfigError
            If the header's options are not those of the method.
        InputError
            If arrays are missing or could not have been saved.
        """


def available() -> dict[str, str]:
    """The methods: name to one line, sorted by name."""
    return {name: method.summary for name, method in all_methods().items()}


def describe(name: str) -> type[Method]:
    """The class of a method: its docstring, options, presets and the tables that it takes.

    Raises
    ------
    ConfigError
        If there is no such method.
    """
    return find_method(name, "models.describe")


PRESETS = ("default", "quick", "paper")


def _with_preset(method: type[Method], options: Mapping[str, Any], source: str) -> Section:
    """The options of a preset with the given ones over them."""
    given = {key: value for key, value in options.items() if value is not None}
    preset = given.pop("preset", "default")
    if preset not in PRESETS:
        msg = f"{source}: unknown preset '{preset}'; known presets: {', '.join(PRESETS)}"
        raise ConfigError(msg)
    # A part of a nested section given alone must leave the method's own defaults of the others as they are.
    base = method.options_type.parse({}, source).model_dump()
    if preset != "default":
        base = _merged(base, method.presets[preset])
    return method.options_type.parse(_merged(base, given), source)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged


def check_options(name: str, options: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """Validate a method's options without making it.

    Parameters
    ----------
    name
        The method.
    options
        Its options as plain values, ``preset`` among them.
    source
        Where they come from, for messages.

    Returns
    -------
    tuple of str
        The columns that the method will read, ``mjj`` not among them.

    Raises
    ------
    ConfigError
        If the method or an option is unknown or out of range.
    """
    method = find_method(name, source)
    return method.required_columns(_with_preset(method, options, source))


def needing(columns: Collection[str]) -> list[str]:
    """The methods that by default read one of these columns, sorted by name."""
    wanted = set(columns)
    return [
        name
        for name, method in all_methods().items()
        if wanted.intersection(method.required_columns(method.options_type.parse({}, name)))
    ]


def create(
    name: str,
    *,
    signal_region: Interval,
    low_band: Interval | None = None,
    high_band: Interval | None = None,
    working_point: float = 0.01,
    seed: int = 0,
    **options: Any,
) -> Method:
    """A method ready to be trained.

    Parameters
    ----------
    name
        One of `available`.
    signal_region
        Edges in mjj, GeV.
    low_band, high_band
        Edges of the side bands, GeV; by default the neighbouring bins with the same ratio of edges.
    working_point
        Fraction of the side bands that the selection keeps.
    seed
        Not negative; the same seed gives the same bits.
    **options
        ``preset`` (default, quick or paper) and the method's own, among them ``features`` and ``classifier``; what is
        given here wins over the preset.

    Returns
    -------
    Method
        Not yet trained.

    Raises
    ------
    ConfigError
        If the name, an option or an interval is wrong.
    """
    source = f"models.create('{name}')"
    method = find_method(name, source)
    if not 0 < working_point < 1:
        msg = f"{source}: working_point is the fraction kept, between 0 and 1, found {working_point}"
        raise ConfigError(msg)
    if not 0 <= seed < 2**64:
        msg = f"{source}: seed must be in 0 … 2⁶⁴ − 1, found {seed}"
        raise ConfigError(msg)
    window = regions(signal_region, low_band, high_band)
    return method(window, float(working_point), int(seed), _with_preset(method, options, source))


def load(folder: str | Path) -> Method:
    """A trained method from its bundle; no code is run.

    Parameters
    ----------
    folder
        Where `Method.save` wrote it.

    Returns
    -------
    Method
        Trained.

    Raises
    ------
    InputError
        If the bundle is missing, damaged or of an unknown method; the message names the file.
    """
    header, arrays = read_bundle(Path(folder))
    source = str(Path(folder) / HEADER)
    try:
        return find_method(header.method, source).restore(header, arrays, source)
    except ConfigError as error:
        raise InputError(str(error)) from None
