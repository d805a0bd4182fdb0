"""The Lund-plane reweighting on the whole way from files to tables and histograms."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

import models
from data.errors import ConfigError, InputError
from processors import scorers
from processors.chunks import Chunk
from processors.config import ProcessingConfig, SelectionConfig
from processors.corrections.config import CorrectionsConfig, correction_files, variation_names
from processors.event_options import EventOptions
from processors.kernels.buffers import flat_jets
from processors.look import check_same_sources
from processors.lund_reweighting import LundReweighter, event_products
from processors.lund_reweighting_events import quarks_of
from processors.lund_reweighting_maps import Binning, RatioMaps, read_ratio_maps, write_ratio_maps
from processors.lund_reweighting_normalisation import normalisation_of, toy_uncertainty
from processors.lund_reweighting_planes import measure_plane
from processors.lund_reweighting_prongs import Quarks, find_prongs
from processors.resolve import FileSchema
from processors.run import run_histograms, run_skim
from processors.skim import read_features

DATA = Path(__file__).parents[3] / "data" / "mini"
SIGNAL, MOCK = DATA / "signal_particles_0.root", DATA / "mock_0.root"
SOURCES = ("stat", "pt", "sys", "bquark", "prongs", "unclust", "distortion")
SEED, TOYS = 5, 12


class Method:
    """Stands in for a trained method; selects events by the order of their jets."""

    inputs = ("pt_j1", "pt_j2")
    signal_region = (2000.0, 2500.0)
    low_band = (1600.0, 2000.0)
    high_band = (2500.0, 3000.0)

    def evaluate(self, table, *, trained_on=None):
        votes = np.where(table["pt_j1"] > table["pt_j2"], 5, 0)
        return np.full(len(votes), 0.5), votes


@pytest.fixture
def method(tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    monkeypatch.setattr(models, "load", lambda folder: Method(), raising=False)
    scorers.load.cache_clear()
    yield {"fake_B3": folder}
    scorers.load.cache_clear()


@pytest.fixture(scope="module")
def maps_file(tmp_path_factory):
    binning, rng = Binning(), np.random.default_rng(1)
    shape = binning.shape
    ratio = np.exp(0.15 * rng.standard_normal(shape))
    coefficients, covariance = np.zeros((20, 20, 3)), np.zeros((20, 20, 3, 3))
    coefficients[..., 0] = np.exp(0.1 * rng.standard_normal((20, 20)))
    covariance[..., 0, 0] = 0.01
    path = tmp_path_factory.mktemp("lund") / "maps.json"
    maps = RatioMaps(
        binning, "cambridge", ratio, np.full(shape, 0.08), 1.1 * ratio, ratio / 1.1, coefficients, covariance,
        np.ones(6), np.full(shape, 1.2), np.exp(0.2 * rng.standard_normal(shape)) / 50,
    )  # fmt: skip
    write_ratio_maps(path, maps)
    return path


@pytest.fixture(scope="module")
def signal(make_sample):
    return make_sample({SIGNAL: 1048}, kind="simulation", name="signal", without_corrections=["prefiring"])


def options(path, **lund):
    section = {"lund": {"file": str(path), "toys": TOYS, **lund}}
    return EventOptions(corrections={"2017": CorrectionsConfig.parse(section, "corrections.2017")}, seed=SEED)


def skim(sample, chosen, out, chunk=100_000):
    processing = ProcessingConfig(chunk_size=chunk, particle_chunk_size=chunk)
    result = run_skim(sample, processing, chosen, out)
    return result, read_features(out / "features" / sample.name)


def by_hand(table, path):
    """Reweighter, prongs, pT and base of the events of a feature table, from the file's own arrays."""
    with uproot.open(SIGNAL) as file:
        events = file["Events"].arrays(
            filter_name=["PFCands_*", "FatJetPFCands_*", "FatJet_*", "GenPart_*", "event", "genWeight"]
        )
    events = events[np.argsort(events.event.to_numpy())]
    events = events[np.isin(events.event.to_numpy(), table["event"])]
    rows, linked = events.FatJetPFCands_pFCandsIdx, events.FatJetPFCands_jetIdx
    particles = ak.zip({q: events[f"PFCands_{q}"][rows] for q in ("pt", "eta", "phi", "mass")})
    leading = events.FatJet_pt[:, :2]
    heavier = ak.to_numpy(events.FatJet_msoftdrop[:, 1] > events.FatJet_msoftdrop[:, 0]).astype(np.int64)
    assert ak.all(leading[:, 0] >= leading[:, 1])
    places = (heavier, 1 - heavier)  # the heavier jet of all, then the lighter
    jets = ak.concatenate([particles[linked == place] for place in places])
    of_place = [ak.local_index(events.FatJet_pt) == place for place in places]
    eta, phi = (
        np.concatenate([ak.to_numpy(ak.flatten(events[f"FatJet_{q}"][mask])) for mask in of_place])
        for q in ("eta", "phi")
    )
    axes = eta.astype(np.float64), phi.astype(np.float64)
    hard = (events.GenPart_status == 23) & (abs(events.GenPart_pdgId) <= 5) & (events.GenPart_pdgId != 0)
    columns = {q: ak.to_numpy(ak.flatten(events[f"GenPart_{q}"][hard])) for q in ("eta", "phi", "pdgId")}
    counts = ak.to_numpy(ak.sum(hard, axis=1))
    quarks = Quarks(
        np.concatenate([counts, counts]),
        *(np.concatenate([columns[q], columns[q]]).astype(np.float64) for q in ("eta", "phi")),
        np.concatenate([columns["pdgId"], columns["pdgId"]]).astype(np.int64),
    )
    maps = read_ratio_maps(path)
    prongs = find_prongs(flat_jets(jets), axes, quarks, maps.binning, "cambridge")
    plane = measure_plane(prongs.nominal, maps.binning).density
    reweighter = LundReweighter(maps, SOURCES, TOYS, SEED, plane)
    logarithms = np.log(event_products(reweighter.distortion(prongs)))
    centre = np.exp(np.average(logarithms, weights=table["weight"]) / 2)
    return (
        replace(reweighter, centre=centre),
        prongs,
        ak.to_numpy(leading[:, 0]).astype(np.float64),
    )


def test_variations_and_files(maps_file):
    config = options(maps_file).corrections["2017"]
    names = tuple(f"lund_{source}_{side}" for source in SOURCES for side in ("up", "down"))
    assert variation_names(config, "simulation") == (("nominal",), names)
    assert variation_names(config, "data") == (("nominal",), ())
    assert correction_files(config) == (maps_file,)
    with pytest.raises(ConfigError, match=r"key 'lund.sources': 'sys' stands twice; name each source once"):
        options(maps_file, sources=["sys", "pt", "sys"])
    with pytest.raises(ConfigError, match=r"unknown key 'lund.toy'; did you mean 'toys'\?"):
        options(maps_file, toy=3)
    some = options(maps_file, sources=["sys"]).corrections["2017"]
    assert variation_names(some, "simulation")[1] == ("lund_sys_up", "lund_sys_down")


@pytest.mark.parametrize("keep", [False, True])
def test_weights_of_tables_are_those_made_by_hand(tmp_path, signal, maps_file, keep, caplog):
    chosen = options(maps_file, keep_pt_spectrum=keep)
    with caplog.at_level(logging.INFO):
        result, table = skim(signal, chosen, tmp_path)
    assert "1970 jets with 1.73 quarks each; 5.9 % are badly matched" in caplog.text
    _, plain = skim(signal, EventOptions(), tmp_path)
    reweighter, prongs, pt = by_hand(plain, maps_file)
    raw = event_products(reweighter.nominal(prongs))[None]
    expected = normalisation_of(raw, plain["weight"], pt, keep_pt_spectrum=keep).apply(raw, pt)[0]
    np.testing.assert_allclose(table["weight"] / plain["weight"], expected, rtol=1e-3)
    assert expected.std() > 0.2
    # rounding of the weights alone moves the sum
    assert table["weight"].sum() == pytest.approx(plain["weight"].sum(), rel=1e-4)
    assert result.cutflow[-1]["weighted"] == table["weight"].sum()
    _, again = skim(signal, chosen, tmp_path, chunk=170)
    assert again["weight"].tobytes() == table["weight"].tobytes()


def test_histograms_hold_every_variation(tmp_path, signal, maps_file, method):
    chosen = options(maps_file)
    made = {
        chunk: run_histograms(
            signal, ProcessingConfig(chunk_size=chunk, particle_chunk_size=chunk), chosen, method,
            trained_on=(), out_root=tmp_path,
        ).histograms
        for chunk in (100_000, 300)
    }  # fmt: skip
    assert sorted(made[300]) == ["mjj", "score"]  # the sums over toys are gone
    mjj = made[300]["mjj"]
    assert mjj.view(flow=True).tobytes() == made[100_000]["mjj"].view(flow=True).tobytes()
    _, plain = skim(signal, EventOptions(), tmp_path)
    reweighter, prongs, pt = by_hand(plain, maps_file)
    base, everything = plain["weight"], plain["weight"].sum()
    selected = plain["pt_j1"] > plain["pt_j2"]

    def sum_of(selection, variation):
        return mjj[{"selection": selection, "variation": variation}].sum(flow=True).value

    def normalised(raw):
        return normalisation_of(raw, base, pt).apply(raw, pt)

    rows = {"nominal": reweighter.nominal(prongs), **reweighter.varied(prongs)}
    sums = {}
    for name, jets in rows.items():
        weight = base * normalised(event_products(jets)[None])[0]
        label = name if name == "nominal" else f"lund_{name}"
        assert sum_of("inclusive", label) == pytest.approx(everything, rel=1e-4)
        assert sum_of("fake_B3", label) == pytest.approx(weight[selected].sum(), rel=1e-4)
        sums[label] = weight[selected].sum()
    assert len({round(value, 6) for value in sums.values()}) > 8
    # the distortion and its inverse both spread the weights: neither is clipped to one number
    spreads = [
        mjj[{"selection": "inclusive", "variation": name}].sum(flow=True).variance
        for name in ("nominal", "lund_distortion_up", "lund_distortion_down")
    ]
    assert min(spreads[1:]) > 1.1 * spreads[0]
    for source, jets in reweighter.toy_weights(prongs).items():
        toys = (base * normalised(event_products(jets)))[:, selected].sum(axis=1)
        shift = toy_uncertainty(np.array(sums["nominal"]), toys)
        assert shift > 1e-4 * sums["nominal"]
        for side, sign in (("up", 1), ("down", -1)):
            name = f"lund_{source}_{side}"
            assert sum_of("fake_B3", name) - sum_of("fake_B3", "nominal") == pytest.approx(
                sign * shift, rel=0.05
            )
            assert sum_of("inclusive", name) == pytest.approx(everything, rel=1e-4)


def test_other_corrections_keep_the_reweighting(tmp_path, signal, maps_file):
    section = {
        "lund": {"file": str(maps_file), "sources": ["sys"]},
        "jms": {"scale": 1.0, "uncertainty": 0.1},
    }
    chosen = EventOptions(
        corrections={"2017": CorrectionsConfig.parse(section, "corrections.2017")}, seed=SEED
    )
    mjj = run_histograms(signal, ProcessingConfig(), chosen, {}, trained_on=(), out_root=tmp_path).histograms[
        "mjj"
    ]
    assert list(mjj.axes["variation"]) == ["nominal", "jms_up", "jms_down", "lund_sys_up", "lund_sys_down"]
    _, table = skim(signal, chosen, tmp_path)
    nominal = mjj[{"variation": "nominal"}].sum(flow=True)
    assert nominal.value == table["weight"].sum()
    moved = mjj[{"variation": "jms_up"}].sum(flow=True)
    assert moved.variance == pytest.approx(nominal.variance, rel=0.01)  # the same weights, other masses


def test_data_and_samples_that_do_without_are_left_alone(tmp_path, make_sample, maps_file):
    chosen = options(maps_file)
    without = make_sample(
        {SIGNAL: 1048}, kind="simulation", name="plain", without_corrections=["lund", "prefiring"]
    )
    _, table = skim(without, chosen, tmp_path)
    assert chosen.variations(without) == ("nominal",)
    _, plain = skim(without, EventOptions(), tmp_path)
    assert table["weight"].tobytes() == plain["weight"].tobytes()
    data = make_sample([MOCK], name="data")
    assert chosen.variations(data) == ("nominal",)
    assert chosen.demand(data).corrections == ()


def test_particles_read_for_weights_alone_do_not_change_what_features_mean(make_sample, signal, maps_file):
    check_same_sources([make_sample([MOCK], name="data"), signal], options(maps_file))


def test_files_without_quarks_or_particles(tmp_path, make_nano_file, make_sample, maps_file):
    path = make_nano_file(tmp_path / "a.root", 50, simulation=True)
    sample = make_sample([path], kind="simulation", without_corrections=["prefiring"])
    with pytest.raises(
        InputError, match=r"no branch PFCands_pt or PFCand_pt .*no branch GenPart_status"
    ) as error:
        skim(sample, options(maps_file), tmp_path)
    assert "needed for the Lund-plane weights; without_corrections: [lund]" in str(error.value)


def test_maps_that_are_missing_or_lack_a_table(tmp_path, signal, maps_file):
    with pytest.raises(InputError, match=r"none.json: cannot be read"):
        skim(signal, options(tmp_path / "none.json"), tmp_path)
    content = json.loads(maps_file.read_text())
    del content["b_to_light"]
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"some.json: the ratio maps have no 'b_to_light', which the source 'bquark'"
    ):
        skim(signal, options(path), tmp_path)


def test_too_few_jets_for_the_distortion(tmp_path, make_sample, maps_file, monkeypatch, caplog):
    monkeypatch.setattr("processors.lund_reweighting_survey.DISTORTION_JETS_MIN", 5000)
    sample = make_sample({SIGNAL: 1048}, kind="simulation", name="small", without_corrections=["prefiring"])
    message = (
        "sample 'small', corrections.2017.lund: 1970 selected jets with quarks are too few for the source 'distortion'.*"
        "needs 5000.*leave it out of sources"
    )
    with pytest.raises(InputError, match=message):
        skim(sample, options(maps_file), tmp_path)
    monkeypatch.setattr("processors.lund_reweighting_survey.BADLY_MATCHED_MAX", 0.01)
    skim(sample, options(maps_file, sources=["stat", "sys"]), tmp_path)
    assert "5.9 % are badly matched to subjets, which is much" in caplog.text


def test_no_event_and_no_quark(tmp_path, signal, maps_file, monkeypatch, caplog):
    nothing = replace(options(maps_file), selection=SelectionConfig(jet_pt_min=4000))
    with pytest.raises(InputError, match="sample 'signal': no event is selected whose Lund-plane weights"):
        skim(signal, nothing, tmp_path)
    monkeypatch.setattr("processors.lund_reweighting_events.OUTGOING", 99)
    _, table = skim(signal, options(maps_file, sources=[]), tmp_path)
    assert "no selected jet has a quark of the hard process, so none is reweighted" in caplog.text
    assert len(np.unique(table["weight"])) == len(
        np.unique(skim(signal, EventOptions(), tmp_path)[1]["weight"])
    )


ROLES = {"quark_status": "GenPart_status", "quark_eta": "GenPart_eta", "quark_phi": "GenPart_phi", "quark_id": "GenPart_pdgId"}  # fmt: skip


def generator_chunk(particles, *, flags=False):
    """A chunk of entries given as lists of (PDG number, status, flags)."""
    columns = {
        "GenPart_pdgId": [[p[0] for p in entry] for entry in particles],
        "GenPart_status": [[p[1] for p in entry] for entry in particles],
        "GenPart_statusFlags": [[p[2] for p in entry] for entry in particles],
        "GenPart_eta": [[0.5 * i for i in range(len(entry))] for entry in particles],
        "GenPart_phi": [[0.1 * i for i in range(len(entry))] for entry in particles],
    }
    roles = ROLES | ({"quark_flags": "GenPart_statusFlags"} if flags else {})
    schema = FileSchema(roles, frozenset(), (), (), (), "")
    return Chunk("signal", "a.root", 0, len(particles), schema, ak.Array(columns))


def test_quarks_of_the_hard_process():
    hard = 1 << 7
    entries = [
        [(21, 21, hard), (-34, 22, hard), (5, 23, hard), (-5, 23, 0), (24, 23, hard), (21, 23, hard)],
        [],
        [(6, 23, hard), (-4, 71, hard), (1, 23, hard)],
    ]
    quarks = quarks_of(generator_chunk(entries))
    assert (quarks.counts.tolist(), quarks.identity.tolist()) == ([2, 0, 1], [5, -5, 1])
    assert quarks.eta.tolist() == [1.0, 1.5, 1.0]
    flagged = quarks_of(generator_chunk(entries, flags=True))
    assert (flagged.counts.tolist(), flagged.identity.tolist()) == ([1, 0, 1], [5, 1])


def test_a_quark_without_a_direction_is_named():
    chunk = generator_chunk([[(1, 23, 0)], [(21, 23, 0), (2, 23, 0)]])
    chunk.events["GenPart_eta"] = ak.Array([[0.1], [np.nan, np.nan]])
    with pytest.raises(
        InputError, match=r"'a.root' of sample 'signal': branch GenPart_eta holds nan in entry 1"
    ):
        quarks_of(chunk)


def test_quarks_of_a_cms_file(cms_file):
    names = {**ROLES, "quark_flags": "GenPart_statusFlags"}
    with uproot.open(cms_file("nano_tt_v15.root")) as file:
        events = file["Events"].arrays(list(names.values()))
    schema = FileSchema(names, frozenset(), (), (), (), "")
    quarks = quarks_of(Chunk("tt", "tt.root", 0, len(events), schema, events))
    # tt̄ → 4q of NanoAOD v15: two b quarks and four of the W bosons, and what is radiated off at matrix-element level
    b_quarks = np.bincount(
        np.repeat(np.arange(200), quarks.counts)[np.abs(quarks.identity) == 5], minlength=200
    )
    assert np.mean(b_quarks >= 2) > 0.95
    assert np.median(quarks.counts) >= 6
