"""Small NanoAOD-like files, made on the fly."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import hypothesis
import numpy as np
import pytest
import uproot

from data.errors import OddjetError
from data.samples import Sample, year
from tests.error_list import sites
from tests.error_messages import ROOT
from tests.error_recorder import Recorder
from tests.errors_elsewhere import ELSEWHERE
from tests.file_order import longest_first

Columns = dict[str, Any]
FAT_JET_TYPE = (
    "var * {pt: float32, eta: float32, phi: float32, mass: float32, msoftdrop: float32, tau1: float32, "
    "tau2: float32, tau3: float32, tau4: float32, lsf3: float32, jetId: int32, nConstituents: uint8, "
    "subJetIdx1: int32, subJetIdx2: int32}"
)


# The same examples each time, however busy the machine: `--hypothesis-profile default` looks for others.
hypothesis.settings.register_profile("oddjet", deadline=None, derandomize=True)
hypothesis.settings.load_profile("oddjet")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take longest."""
    items[:] = longest_first(items, lambda item: item.nodeid.partition("::")[0])


def pytest_configure(config: pytest.Config) -> None:
    """Note which errors of the program the tests reach."""
    config.pluginmanager.register(Recorder(config, sites, ROOT, OddjetError, ELSEWHERE))


def _event_columns(rng: np.random.Generator, n: int, first_event: int, spec: Any) -> Columns:
    ids = np.arange(first_event, first_event + n)
    columns: Columns = {
        "run": np.full(n, 297050, dtype=np.uint32) + (ids % 3).astype(np.uint32),
        "luminosityBlock": (ids // 100 + 1).astype(np.uint32),
        "event": ids.astype(np.uint64),
    }
    columns |= {trigger: rng.random(n) < 0.9 for trigger in spec.triggers}
    columns |= {flag: rng.random(n) < 0.995 for flag in spec.filters}
    return columns


def _jets(rng: np.random.Generator, n: int) -> tuple[ak.Array, ak.Array]:
    """Two hard jets back to back and up to three more, not in the order of pT; two subjets in most of them."""
    hard = 280 + rng.exponential(500, n)
    counts = np.where(hard < 300, rng.integers(0, 3, n), rng.integers(2, 6, n))
    pt = ak.unflatten(np.repeat(hard, counts) * rng.uniform(0.6, 1.1, counts.sum()), counts)
    total = int(counts.sum())
    flat = {
        "pt": ak.flatten(pt).to_numpy(),
        "eta": rng.normal(0, 1.0, total),
        "phi": rng.uniform(-np.pi, np.pi, total),
        "msoftdrop": rng.exponential(60, total) - 1,
        "lsf3": np.where(rng.random(total) < 0.1, rng.random(total) * 1.05, 0.0),
        "jetId": rng.choice([0, 2, 6], total, p=[0.05, 0.05, 0.9]),
        "nConstituents": rng.integers(10, 150, total),
    }
    flat["mass"] = np.maximum(flat["msoftdrop"], 0) + 20
    tau = np.sort(rng.uniform(0.001, 0.5, (total, 4)), axis=1)[:, ::-1]
    flat |= {f"tau{k + 1}": tau[:, k] for k in range(4)}
    position = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    flat["subJetIdx1"] = np.where(rng.random(total) < 0.95, 2 * position, -1)
    flat["subJetIdx2"] = np.where(flat["subJetIdx1"] >= 0, 2 * position + 1, -1)
    scores = ak.unflatten(np.where(rng.random(2 * total) < 0.1, -2.0, rng.random(2 * total)), 2 * counts)
    jets = ak.zip({name: ak.unflatten(values, counts) for name, values in flat.items()})
    return jets, ak.zip({"score": scores})


def make_nano_file(
    path: Path,
    n: int,
    seed: int = 1,
    *,
    simulation: bool = False,
    label: bool = False,
    first_event: int = 1,
    year_name: str = "2017",
    drop: tuple[str, ...] = (),
    change: Callable[[Columns], None] | None = None,
    basket: int = 1000,
    trees: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write a TTree ``Events`` of ``n`` events (about a third pass the selection) and a tree ``Runs``.

    ``simulation`` adds genWeight, one in ten negative; ``label`` adds Generator_label; ``drop`` leaves out
    branches (``FatJet_tau3``); ``change`` edits the columns before they are written, and may add fields of FatJet and
    SubJet and columns of its own, jagged ones too; ``trees`` are written beside ``Events`` (``Runs``: instead of the
    usual one, None for none).
    """
    rng = np.random.default_rng(seed)
    spec = year(year_name)
    columns = _event_columns(rng, n, first_event, spec)
    jets, subjets = _jets(rng, n)
    columns |= {"FatJet": jets, "SubJet": ak.zip({spec.b_score: subjets["score"]})}
    generated = (rng.lognormal(0, 0.5, n) * np.where(rng.random(n) < 0.1, -1, 1)).astype(np.float32)
    labels = (rng.random(n) < 0.1).astype(np.int32)
    if simulation:
        columns["genWeight"] = generated
    if label:
        columns["Generator_label"] = labels
    if change is not None:
        change(columns)
    _write(path, columns, drop, basket, {"Runs": _runs(columns), **(trees or {})})
    return path


def _runs(columns: Columns) -> dict[str, np.ndarray[Any, Any]]:
    weight = np.asarray(columns.get("genWeight", np.ones(len(columns["event"]))), dtype=np.float64)
    weight = weight[np.isfinite(weight)]
    return {
        "run": np.array([1], dtype=np.uint32),
        "genEventCount": np.array([2 * len(weight)], dtype=np.int64),
        "genEventSumw": np.array([2 * weight.sum()]),
        "genEventSumw2": np.array([2 * (weight**2).sum()]),
    }


def _write(
    path: Path, columns: Columns, drop: tuple[str, ...], basket: int, trees: Mapping[str, Mapping[str, Any]]
) -> None:
    known = dict(field.split(": ") for field in FAT_JET_TYPE[7:-1].split(", "))
    written = {name: values for name, values in columns.items() if name not in drop}
    for name, values in written.items():
        if not isinstance(values, np.ndarray):
            written[name] = _typed(values, name, known if name == "FatJet" else {}, drop)
    types = {
        name: values.dtype if isinstance(values, np.ndarray) else str(values.type.content)
        for name, values in written.items()
    }
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", types)
        for start in range(0, len(columns["event"]), basket):
            tree.extend({name: values[start : start + basket] for name, values in written.items()})
        for name, content in trees.items():
            if content is not None:
                file.mktree(name, {key: values.dtype for key, values in content.items()}).extend(content)


def _typed(values: ak.Array, name: str, known: Mapping[str, str], drop: tuple[str, ...]) -> ak.Array:
    """Fields as NanoAOD stores them: 32 bits, the known ones first, those in ``drop`` left out."""
    if not values.fields:
        return ak.values_astype(values, _narrow(values))
    fields = [*known, *(field for field in values.fields if field not in known)]
    kept = [field for field in fields if f"{name}_{field}" not in drop]
    return ak.zip(
        {field: ak.values_astype(values[field], known.get(field, _narrow(values[field]))) for field in kept}
    )


def _narrow(values: ak.Array) -> str:
    kind = ak.to_numpy(ak.flatten(values)).dtype.kind
    return "float32" if kind == "f" else "int32"


def make_sample(files: list[Path] | dict[Path, int | None], **options: Any) -> Sample:
    """A sample of local files: data of 2017 unless said otherwise."""
    entries = files if isinstance(files, dict) else dict.fromkeys(files)
    simulation = options.get("kind") == "simulation"
    facts: dict[str, Any] = {"name": "mock", "kind": "data", "process": "data", "year": "2017"}
    if simulation:
        facts |= {"process": "qcd", "cross_section_pb": 0.37}
    return Sample(files={str(path): n for path, n in entries.items()}, **(facts | options))


@pytest.fixture(name="make_nano_file", scope="session")
def make_nano_file_fixture() -> Callable[..., Path]:
    return make_nano_file


@pytest.fixture(name="make_sample", scope="session")
def make_sample_fixture() -> Callable[..., Sample]:
    return make_sample


def add_correction_branches(columns: Columns, *, simulation: bool = True) -> None:
    """What corrections read: stored scale factors of jets, generator jets, pile-up, stored weights, flavours."""
    rng = np.random.default_rng(17)
    n = len(columns["event"])
    counts = ak.to_numpy(ak.num(columns["FatJet"]))
    total = int(counts.sum())
    jets = {"rawFactor": rng.uniform(-0.1, 0.2, total), "area": rng.uniform(1.9, 2.1, total)}
    columns["fixedGridRhoFastjetAll"] = rng.uniform(5, 60, n).astype(np.float32)
    if simulation:
        number = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        jets["genJetAK8Idx"] = np.where(rng.random(total) < 0.7, number, -1)
        stored = {name: ak.to_numpy(ak.flatten(columns["FatJet"][name])) for name in ("pt", "eta", "phi")}
        generated = {
            "pt": stored["pt"] * rng.normal(1, 0.1, total),
            "eta": stored["eta"] + rng.normal(0, 0.1, total),
            "phi": stored["phi"] + rng.normal(0, 0.1, total),
        }
        columns["GenJetAK8"] = ak.zip(
            {name: ak.unflatten(values, counts) for name, values in generated.items()}
        )
        columns["Pileup_nTrueInt"] = rng.uniform(0, 80, n).astype(np.float32)
        for name, shift in (("Nom", 0.0), ("Up", 0.03), ("Dn", -0.03)):
            columns[f"L1PreFiringWeight_{name}"] = (0.95 - shift * rng.random(n)).astype(np.float32)
        for name, entries in (("LHEScaleWeight", 9), ("LHEPdfWeight", 103), ("PSWeight", 4)):
            values = rng.normal(1, 0.05, n * entries)
            columns[name] = ak.unflatten(values, np.full(n, entries))
        subjets = ak.to_numpy(ak.num(columns["SubJet"]))
        flat = {
            "pt": rng.uniform(20, 800, subjets.sum()),
            "eta": rng.uniform(-2.4, 2.4, subjets.sum()),
            "hadronFlavour": rng.choice([0, 4, 5], subjets.sum()),
        }
        for name, values in flat.items():
            columns["SubJet"] = ak.with_field(columns["SubJet"], ak.unflatten(values, subjets), name)
    for name, values in jets.items():
        columns["FatJet"] = ak.with_field(columns["FatJet"], ak.unflatten(values, counts), name)


@pytest.fixture(name="add_correction_branches", scope="session")
def add_correction_branches_fixture() -> Callable[..., None]:
    return add_correction_branches
