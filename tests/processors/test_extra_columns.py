"""The columns ``rmm`` and ``constituents``: in the loop and in Parquet as from the functions themselves."""

from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from data.errors import InputError
from processors.config import FeaturesConfig, MatrixConfig, ProcessingConfig
from processors.event_objects import RmmConfig, event_objects
from processors.event_options import EventOptions
from processors.images import constituent_array
from processors.rapidity_mass_matrix import rapidity_mass_matrix
from processors.run import run_histograms, run_skim
from processors.skim import read_features
from processors.tables import from_arrow, gather, sorted_rows, to_arrow

MINI = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"
SHAPES = {"full": (51, 51), "reduced": (1287,), "compact": (46,)}


def add_objects(columns):
    """AK4 jets, leptons, photons and missing momentum, some below the cuts, some close to each other."""
    rng = np.random.default_rng(13)
    n = len(columns["event"])
    extra = {
        "Jet": {"btagDeepFlavB": rng.random},
        "Muon": {"pfRelIso04_all": lambda k: rng.exponential(0.1, k)},
        "Electron": {"pfRelIso03_all": lambda k: rng.exponential(0.1, k)},
        "Photon": {"pfRelIso03_all": lambda k: rng.exponential(0.1, k)},
    }
    for (name, fields), mean in zip(extra.items(), (6, 1, 1, 1), strict=True):
        counts = rng.poisson(mean, n)
        k = int(counts.sum())
        flat = {
            "pt": 20 + rng.exponential(100, k), "eta": rng.normal(0, 1.5, k), "phi": rng.uniform(-np.pi, np.pi, k),
            "mass": rng.exponential(5, k), **{field: make(k) for field, make in fields.items()},
        }  # fmt: skip
        columns[name] = ak.zip({field: ak.unflatten(values, counts) for field, values in flat.items()})
    columns["PuppiMET_pt"] = rng.exponential(60, n).astype(np.float32)
    columns["PuppiMET_phi"] = rng.uniform(-np.pi, np.pi, n).astype(np.float32)


@pytest.fixture(scope="module")
def objects_file(tmp_path_factory, make_nano_file):
    return make_nano_file(tmp_path_factory.mktemp("objects") / "a.root", 500, 3, change=add_objects)


def selected_rows(path, table):
    """Entry of each row of a feature table in its file."""
    with uproot.open({path: None}) as file:
        numbers = file["Events"]["event"].array(library="np")
    return np.array([int(np.flatnonzero(numbers == event)[0]) for event in table["event"]])


def options(**features):
    return EventOptions(features=FeaturesConfig(**features))


@pytest.mark.parametrize("form", list(SHAPES))
def test_matrix_is_that_of_the_function(tmp_path, objects_file, make_sample, form):
    chosen = RmmConfig(jet_pt_min=40.0, met_min=20.0)
    events = options(rapidity_mass_matrix=MatrixConfig(form=form, objects=chosen))
    result = run_skim(make_sample([objects_file]), ProcessingConfig(chunk_size=250), events, tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    assert table["rmm"].shape == (len(table["mjj"]), *SHAPES[form])
    assert len(table["mjj"]) > 70
    assert table["rmm"].dtype == np.float32
    assert pq.read_schema(result.outputs[0]).names == list(table)
    with uproot.open({objects_file: None}) as file:
        arrays = file["Events"].arrays()[selected_rows(objects_file, table)]

    def collection(name, **fields):
        return ak.zip({to: arrays[f"{name}_{field}"] for to, field in fields.items()})

    four = {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "mass"}
    light = {key: key for key in ("pt", "eta", "phi")}
    expected = rapidity_mass_matrix(
        event_objects(
            collection("Jet", **four, b_score="btagDeepFlavB"),
            collection("Muon", **four, isolation="pfRelIso04_all"),
            collection("Electron", **four, isolation="pfRelIso03_all"),
            collection("Photon", **light, isolation="pfRelIso03_all"),
            collection("PuppiMET", pt="pt", phi="phi"),
            chosen,
        ),
        sqrt_s=13000.0,
        form=form,
    )
    assert np.array_equal(table["rmm"], expected)
    assert (table["rmm"] != 0).any(axis=0).sum() > 20


def test_matrix_in_the_second_pass_and_in_other_chunks(tmp_path, objects_file, make_sample):
    sample = make_sample([objects_file])
    events = options(rapidity_mass_matrix=MatrixConfig(form="compact"))
    contents = []
    for chunk_size in (100, 10_000):
        result = run_skim(sample, ProcessingConfig(chunk_size=chunk_size), events, tmp_path)
        contents.append(result.outputs[0].read_bytes())
    assert contents[0] == contents[1]
    spectra = run_histograms(sample, ProcessingConfig(), events, {}, trained_on=(), out_root=tmp_path)
    rows = len(read_features(tmp_path / "features" / "mock")["mjj"])
    assert spectra.histograms["mjj"].sum(flow=True).value == rows


def test_missing_and_damaged_objects(tmp_path, make_nano_file, make_sample):
    events = options(rapidity_mass_matrix=MatrixConfig())
    plain = make_sample([make_nano_file(tmp_path / "a.root", 50)])
    message = r"no branch Jet_pt \(needed for the rapidity–mass matrix\).*no branch PuppiMET_pt or MET_pt or PFMET_pt"
    with pytest.raises(InputError, match=message):
        run_skim(plain, ProcessingConfig(), events, tmp_path)

    def damage(columns):
        add_objects(columns)
        columns["Muon"] = ak.with_field(columns["Muon"], columns["Muon"]["pt"] * np.nan, "pt")

    damaged = make_sample([make_nano_file(tmp_path / "b.root", 300, change=damage)])
    with pytest.raises(InputError, match=r"b\.root' of sample 'mock': branch Muon_pt holds nan in entry \d+"):
        run_skim(damaged, ProcessingConfig(), events, tmp_path)


@pytest.fixture(scope="module")
def with_constituents(tmp_path_factory, make_sample):
    out = tmp_path_factory.mktemp("constituents")
    sample = make_sample([MINI], kind="simulation")
    run_skim(sample, ProcessingConfig(particle_chunk_size=700), options(constituents=True), out)
    return read_features(out / "features" / "mock")


def test_constituents_are_those_of_the_function(with_constituents):
    table = {name: values[::10] for name, values in with_constituents.items()}
    assert len(table["mjj"]) > 100
    with uproot.open({MINI: None}) as file:
        arrays = file["Events"].arrays(filter_name=["FatJet*", "PFCands_*"])[selected_rows(MINI, table)]
    for jet in ("j1", "j2"):
        same = [arrays[f"FatJet_{name}"] == table[f"{name}_{jet}"][:, None] for name in ("pt", "eta", "phi")]
        number = ak.argmax(same[0] & same[1] & same[2], axis=1)
        chosen = arrays["FatJetPFCands_pFCandsIdx"][arrays["FatJetPFCands_jetIdx"] == number]
        particles = ak.zip({name: arrays[f"PFCands_{name}"][chosen] for name in ("pt", "eta", "phi", "mass")})
        expected = constituent_array(particles, n=100, weights=arrays["PFCands_puppiWeight"][chosen])
        column = table[f"constituents_{jet}"]
        assert column.shape == (len(table["mjj"]), 100, 3)
        assert column.dtype == np.float32
        np.testing.assert_allclose(column, expected, rtol=2e-6, atol=1e-4)
        # The particles add up to the jet, whose stored momentum has further corrections.
        pt = np.hypot(*column.astype(np.float64).sum(axis=1)[:, :2].T)
        assert np.median(np.abs(pt / table[f"pt_{jet}"] - 1)) < 0.1


def test_constituents_need_particles(tmp_path, make_nano_file, make_sample):
    sample = make_sample([make_nano_file(tmp_path / "a.root", 50)])
    with pytest.raises(
        InputError, match=r"no branch PFCands_pt or PFCand_pt \(needed for the particles of jets\)"
    ):
        run_skim(sample, ProcessingConfig(), options(constituents=True), tmp_path)


def test_arrow_keeps_shapes_and_bits():
    rng = np.random.default_rng(0)
    for rows in (0, 1, 7):
        table = {
            "a": rng.random(rows),
            "b": rng.random((rows, 5)).astype(np.float32),
            "c": rng.random((rows, 4, 3)).astype(np.float32),
        }
        again = from_arrow(to_arrow(table))
        for name, values in table.items():
            assert again[name].shape == values.shape
            assert again[name].dtype == values.dtype
            assert again[name].tobytes() == values.tobytes()


def test_sorting_does_not_depend_on_the_order_of_rows_with_arrays():
    """Events of one id differ in the last number of an array only."""
    rng = np.random.default_rng(1)
    n = 12
    base = {
        "run": np.ones(n, dtype=np.uint32),
        "luminosity_block": np.ones(n, dtype=np.uint32),
        "event": np.repeat(np.array([3, 9], dtype=np.uint64), n // 2),
        "weight": np.ones(n),
        "constituents_j1": np.zeros((n, 4, 3), dtype=np.float32),
    }
    base["constituents_j1"][:, 3, 2] = rng.permutation(n)
    base["constituents_j1"][: n // 4, 0, 0] = 1.0
    tables = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(n)
        parts = [{name: values[rows] for name, values in base.items()} for rows in np.array_split(order, 3)]
        tables.append(gather(parts, sorted_rows(parts)))
    for other in tables[1:]:
        assert all(np.array_equal(other[name], tables[0][name]) for name in base)
    rows = [tuple(row) for row in tables[0]["constituents_j1"].reshape(n, -1).tolist()]
    assert rows[: n // 2] == sorted(rows[: n // 2])
    assert rows[n // 2 :] == sorted(rows[n // 2 :])
    assert tables[0]["event"].tolist() == base["event"].tolist()
