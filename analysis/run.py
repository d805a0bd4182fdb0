"""A configured run: its samples, its folder, and what its methods are trained on."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import models
from analysis.config import Config
from analysis.limit_config import LimitConfig
from analysis.training_tables import columns_read, regions_beside, stacked
from analysis.windows import Window
from data.credentials import check_samples
from data.errors import ConfigError, IncompleteError
from data.manifest import read_manifest
from data.partials import PartialStore
from data.samples import Sample
from processors.columns import Columns
from processors.remote import of_each
from processors.root_files import file_identity
from processors.scorers import INCLUSIVE
from processors.skim import read_features

if TYPE_CHECKING:  # networks need seconds to import, which a command without any should not wait
    from models.folded import FoldedMethod


@dataclass(frozen=True)
class Run:
    """A configured run: its options and the samples that it reads: data, signals, background."""

    config: Config
    samples: dict[str, Sample]
    known_identities: dict[str, dict[str, str]] | None = None
    """`identities` as they were when the run was submitted; None to look at the files."""

    @property
    def works(self) -> bool:
        """Whether stages are worked on, and not only noted."""
        return True

    def note(self, stage: str, inputs: dict[str, str], options: object) -> None:
        """Called with each stage that is not to be worked on."""

    @property
    def root(self) -> Path:
        """The run folder."""
        return self.config.run.output

    @property
    def data(self) -> Sample:
        """The sample that is searched."""
        return self.samples[self.config.search.data]

    @property
    def filled(self) -> dict[str, Sample]:
        """The samples of which histograms are filled: all but the simulated background."""
        return {
            name: sample for name, sample in self.samples.items() if name not in self.config.search.background
        }

    @cached_property
    def identities(self) -> dict[str, dict[str, str]]:
        """Hash of every input file, by sample and file name: a run may move with its files."""
        if self.known_identities is not None:
            return self.known_identities
        check_samples(self.samples.values())
        return {name: _identities(sample) for name, sample in self.samples.items()}

    @property
    def limits(self) -> LimitConfig:
        """Options of the limits with retraining.

        Raises
        ------
        ConfigError
            If the configuration has none.
        """
        if self.config.limits is None:
            msg = (
                f"{self.root}: the configuration has no section 'limits'; add one that names a signal and the cross "
                "sections to inject, as in limits: {signals: {SAMPLE: [5, 10, 20]}}"
            )
            raise ConfigError(msg)
        return self.config.limits

    def limit_selections(self) -> tuple[str, ...]:
        """Selections that the limits with retraining are for: the whole spectrum, methods, and references in a study."""
        methods = self.config.methods if self.limits.methods is None else self.limits.methods
        references = self.limits.references if self.limits.study else ()
        return tuple(dict.fromkeys([INCLUSIVE, *methods, *references]))

    def tasks(self) -> list[tuple[str, Window]]:
        """Training tasks: every method in every window that the scanned masses need."""
        return [(method, window) for method in self.config.methods for window in self.config.windows()]

    def further_samples(self, method: str) -> dict[str, tuple[str, ...]]:
        """The simulated samples that a method is trained on, by keyword of the table."""
        takes = {} if method == INCLUSIVE else models.describe(method).takes
        return {key: names for key, names in self.config.search.tables().items() if key in takes}

    def trained_on(self, sample: str) -> list[str]:
        """Labels of the selections whose methods were trained on a sample."""
        return [
            selection_label(method, window)
            for method, window in self.tasks()
            if sample == self.data.name
            or any(sample in names for names in self.further_samples(method).values())
        ]

    def manifest(self, stage: str) -> Path:
        """Where a stage's manifest stands."""
        return self.root / "manifests" / f"{stage.replace(' ', '.')}.json"

    def store(self, stage: str) -> PartialStore:
        """Where the results of a stage's chunks are until it is done."""
        return PartialStore(self.root / "partials" / stage.replace(" ", "."))

    def identity(self, stage: str) -> str:
        """Hash of the outputs of a finished stage.

        Raises
        ------
        IncompleteError
            If the stage has not been run.
        """
        if not self.manifest(stage).is_file():
            command = stage.split(maxsplit=1)[0]
            msg = (
                f"{self.root}: stage '{stage}' is not done; run `oddjet {command}` with this configuration first, or "
                "`oddjet run`, which does all stages"
            )
            raise IncompleteError(msg)
        return read_manifest(self.manifest(stage)).identity()


def selection_label(method: str, window: Window) -> str:
    """Name of a trained method's selection in histograms."""
    return f"{method}_{window.name}"


def untrained(run: Run, method: str, window: Window, seed: int) -> models.Method:
    """A method as this search configures it, not yet trained; one that it does not name has its defaults."""
    options = {"working_point": window.working_point, **run.config.methods.get(method, {})}
    return models.create(
        method,
        signal_region=window.signal_region,
        low_band=window.low_band,
        high_band=window.high_band,
        seed=seed,
        **options,
    )


def training_tables(run: Run, method: str) -> tuple[Columns, dict[str, Columns]]:
    """What a method is trained on.

    Parameters
    ----------
    run
        A run whose samples are skimmed.
    method
        Name of the method.

    Returns
    -------
    table
        The searched data: rows of the region that is searched, columns that the method reads.
    further
        The other tables that the method takes and this search has: ``signal`` and ``background``, simulation in the
        same region; ``wide``, the data beside it, where some were kept.
    """
    columns = method_columns(run, [method])
    further = {
        keyword: stacked([searched_table(run, name, columns) for name in names])
        for keyword, names in run.further_samples(method).items()
    }
    if "wide" in models.describe(method).takes:
        regions = regions_beside(run.config.selection.region)
        wide = read_features(run.root / "features" / run.data.name, columns, regions)
        further |= {"wide": wide} if len(wide["mjj"]) else {}
    return searched_table(run, run.data.name, columns), further


def method_columns(run: Run, methods: Iterable[str]) -> frozenset[str]:
    """The columns that methods read as this search configures them; their windows are of no account."""
    window = run.config.windows()[0]
    trained = (untrained(run, name, window, run.config.run.seed) for name in methods)
    return frozenset().union(*(columns_read(cast("FoldedMethod", method)) for method in trained))


def searched_table(run: Run, sample: str, columns: Collection[str]) -> Columns:
    """Some columns of a sample's feature table in the region that is searched.

    Parameters
    ----------
    run
        A run whose sample is skimmed.
    sample
        Its name.
    columns
        Names of the columns.

    Returns
    -------
    Columns
        Shape (events, …) each.
    """
    return read_features(run.root / "features" / sample, columns, [run.config.selection.region])


def _identities(sample: Sample) -> dict[str, str]:
    labels = dict(sorted(file_labels(sample).items()))
    hashes = of_each(lambda file: file_identity(file, sample.access(file)), labels.values())
    return dict(zip(labels, hashes, strict=True))


def file_labels(sample: Sample) -> dict[str, str]:
    """Label to address of each file of a sample: its last name where that is unique, else the address."""
    files = {Path(file).name: file for file in sample.files}
    return files if len(files) == len(sample.files) else {file: file for file in sample.files}
