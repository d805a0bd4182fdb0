"""Options of the event loop, the jets, the dijet selection and the features."""

import os
from typing import Any, Literal, Self

import pydantic

from data.sections import Section
from processors.further import chosen_features
from processors.schema import DISPENSABLE


class DaskConfig(Section):
    """Where the workers of dask are, each of one thread: behind an ``address``, or in a ``cluster`` started for the run."""

    address: str | None = pydantic.Field(default=None, pattern=r"^(tcp|tls|ws|wss|ucx)://.+")
    """Of a scheduler that runs already, e.g. ``tcp://127.0.0.1:8786``. It tries a task whose worker died again by itself,
    unseen: `processing.retries` counts only what its ``distributed.scheduler.allowed-failures`` (dask's default: 3) did
    not mend. Start it with ``DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0`` to have every death told and counted."""
    cluster: Literal["local", "htcondor"] | None = None
    """``local``: processes of this machine; ``htcondor``: jobs of an HTCondor pool."""
    options: dict[str, Any] = pydantic.Field(default_factory=dict)
    """Handed on to dask's LocalCluster or dask-jobqueue's HTCondorCluster, e.g. memory: 2 GB, disk: 1 GB."""
    wait: float = pydantic.Field(default=300.0, gt=0)
    """Seconds to wait for the first worker."""

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.address is None) == (self.cluster is None):
            msg = "give either the address of a scheduler or a cluster to start: local or htcondor"
            raise ValueError(msg)
        if self.address is not None and self.options:
            msg = "options are those of a cluster that is started; at an address they change nothing: remove them"
            raise ValueError(msg)
        if "n_workers" in self.options:
            msg = f"options has n_workers: {self.options['n_workers']}; set processing.workers instead"
            raise ValueError(msg)
        return self


class ProcessingConfig(Section):
    """How the files are walked through; no number of any result depends on it."""

    chunk_size: int = pydantic.Field(default=100_000, ge=1, le=10_000_000)
    """Largest number of entries read at a time where only jets are read."""
    particle_chunk_size: int = pydantic.Field(default=10_000, ge=1, le=1_000_000)
    """Largest number of entries read at a time where particles, or the objects of the rapidity–mass matrix, are read
    too: they take twenty times the memory."""
    executor: Literal["iterative", "futures", "dask"] = "iterative"
    """``iterative``: in this process; ``futures``: in ``workers`` processes of this machine; ``dask``: see ``dask``."""
    workers: int = pydantic.Field(default=1, ge=1, le=10_000)
    """Number of processes of the futures executor, of workers in a dask cluster that is started."""
    dask: DaskConfig | None = None
    """The workers of the dask executor; by default processes of this machine."""
    retries: int = pydantic.Field(default=3, ge=0, le=100)
    """How often a chunk is tried again whose bytes could not be had or whose worker died."""

    @property
    def local_workers(self) -> int:
        """Processes of this machine for what is done on it: workers elsewhere do not count."""
        return min(self.workers, os.cpu_count() or 1) if self.executor == "dask" else self.workers

    @pydantic.model_validator(mode="after")
    def _workers_need_processes(self) -> Self:
        if self.executor == "iterative" and self.workers > 1:
            msg = f"workers is {self.workers}, but the iterative executor has one; set executor: futures"
            raise ValueError(msg)
        if self.executor != "dask" and self.dask is not None:
            msg = f"the section dask is for the executor dask, but executor is {self.executor}; set executor: dask"
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
    wide_delta_eta_min: float = pydantic.Field(default=1.4, gt=0, le=5)
    """The jets' pseudorapidities differ by more in the region ``wide``, rich in QCD: there autoencoders are trained."""
    region: Literal["signal", "validation"] = "signal"
    """Which region is searched: |Δη| < ``delta_eta_max``, or the side band 2.0 < |Δη| < 2.5 that validates a search."""
    blind: bool = False
    """Never look at data in the signal region: their events are counted and dropped before any feature is made."""
    train_wide: bool = False
    """Keep the events of the region ``wide`` too, for the methods that are trained there."""

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.blind and self.region == "signal":
            msg = "blind is true, but the region searched is signal; set region: validation or blind: false"
            raise ValueError(msg)
        if self.wide_delta_eta_min < self.delta_eta_max:
            msg = (
                f"wide_delta_eta_min {self.wide_delta_eta_min:g} lies below delta_eta_max {self.delta_eta_max:g}, and the "
                "regions would overlap; raise it"
            )
            raise ValueError(msg)
        return self


class JetsConfig(Section):
    """Where the large-radius jets and their substructure come from."""

    source: Literal["stored", "particles"] = "stored"
    """``stored``: the file's AK8 jets; ``particles``: jets clustered from the file's particles."""
    algorithm: Literal["antikt", "cambridge", "kt"] = "antikt"
    """Algorithm of clustered jets."""
    radius: float = pydantic.Field(default=0.8, gt=0, lt=1.6)
    """Radius of clustered jets (rad), and R0 of N-subjettiness, soft drop and the Lund plane of all jets."""
    pt_min: float = pydantic.Field(default=150.0, gt=0)
    """Clustered jets below this transverse momentum (GeV) are dropped."""
    substructure: Literal["auto", "stored", "particles"] = "auto"
    """``auto``: the stored value of an observable where the file has it, else computed from the particles."""
    links: Literal["auto", "file", "clustering"] = "auto"
    """Which particles belong to a stored jet: by the file's cross-references, or by clustering the particles again
    (anti-kT, R = 0.8) and taking the nearest jet; ``auto``: the cross-references where the file has them."""
    pt_weights: Literal["auto", "puppi", "none"] = "auto"
    """Weights of the particles' momenta; ``auto``: PUPPI where the file has them, else 1 with a warning."""
    z_cut: float = pydantic.Field(default=0.1, ge=0, le=0.5)
    """Soft-drop threshold of groomed masses computed from particles."""
    soft_drop_beta: float = 0.0
    """Angular exponent of soft drop."""

    @pydantic.model_validator(mode="after")
    def _clustered_jets_have_no_stored_values(self) -> Self:
        if self.source == "particles" and self.substructure == "stored":
            msg = "substructure is stored, but source: particles makes new jets; set substructure: auto"
            raise ValueError(msg)
        return self


class RmmConfig(Section):
    """Selection of the objects of the rapidity–mass matrix.

    The defaults are those of the ATLAS search arXiv:2307.01612 where they carry over to CMS files; what differs is
    said at the option.
    """

    jet_pt_min: float = pydantic.Field(default=30.0, gt=0)
    """Jets (anti-kT, R = 0.4) have a larger transverse momentum, GeV."""
    lepton_pt_min: float = pydantic.Field(default=30.0, gt=0)
    """Muons and electrons have a larger transverse momentum, GeV."""
    photon_pt_min: float = pydantic.Field(default=30.0, gt=0)
    """Photons have a larger transverse momentum, GeV."""
    eta_max: float = pydantic.Field(default=2.4, gt=0, le=5)
    """All objects have a smaller absolute pseudorapidity."""
    b_score_min: float = pydantic.Field(default=0.304, ge=0, le=1)
    """Jets with a larger b-tag score are b jets, the others jets; 0.304 is DeepJet's medium working point of 2017."""
    isolation_max: float | None = pydantic.Field(default=0.1, gt=0)
    """Muons, electrons and photons have a smaller relative isolation (field ``isolation``); null: no such cut."""
    delta_r_min: float = pydantic.Field(default=0.4, ge=0)
    """Two objects that are closer (ΔR in η and φ) are one; 0 keeps all."""
    overlap: Literal["keep_leptons", "keep_jets"] = "keep_leptons"
    """Which of the two stays: the isolated muon, electron or photon (CMS makes a jet of each of them too), or, as in
    arXiv:2307.01612, the jet."""
    met_min: float = pydantic.Field(default=30.0, ge=0)
    """Missing transverse momentum of less counts as none, GeV."""


class MatrixConfig(Section):
    """The rapidity–mass matrix of jets, b jets, muons, electrons, photons and missing momentum."""

    form: Literal["reduced", "full", "compact"] = "reduced"
    """``reduced``: the 1287 inputs of arXiv:2307.01612; ``full``: all 51 × 51 cells; ``compact``: 46 numbers."""
    objects: RmmConfig = RmmConfig()
    """Selection of the objects."""


class FeaturesConfig(Section):
    """What is computed of selected events beyond the standard columns."""

    without: tuple[str, ...] = ()
    """Columns (of a jet, e.g. ``lsf3``) that the files cannot give and the search does without; the methods that
    need them are not available."""
    constituents: bool = False
    """Also ``constituents_j1`` and ``_j2``: px, py, pz (GeV) of the 100 hardest particles of each jet, 100 × 3."""
    rapidity_mass_matrix: MatrixConfig | None = None
    """Also ``rmm``: the rapidity–mass matrix of the event."""

    further: tuple[str, ...] = ()
    """Also these columns, each of a file in ``processors/further_features``: of both jets (``d2_j1``) or of the event."""

    @pydantic.model_validator(mode="after")
    def _further_are_there(self) -> Self:
        for feature in chosen_features(self.further):
            lost = [name for name in feature.made_of if name in self.without]
            if lost:
                msg = f"'{feature.name}' in further is made of {lost[0]}, which without leaves out; remove one of them"
                raise ValueError(msg)
        return self

    @pydantic.field_validator("without")
    @classmethod
    def _known(cls, without: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in without if name not in DISPENSABLE]
        if unknown:
            msg = f"'{unknown[0]}' cannot be left out; choose among {', '.join(DISPENSABLE)}"
            raise ValueError(msg)
        return without
