"""Which branch plays which part: versions of NanoAOD, fall-backs, what a search does without, mixed files."""

import logging
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from analysis.config import load_config
from data.errors import ConfigError, InputError
from data.samples import year
from processors.config import FeaturesConfig, JetsConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.look import check_same_sources
from processors.preflight import FileFacts, check_same_meaning, plan_sample
from processors.resolve import Demand, absent_columns, resolve
from processors.run import run_skim
from processors.skim import read_features
from processors.weights import GeneratedSums

MINI = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"


def skim(sample, out, **options):
    chosen = EventOptions(**options)
    result = run_skim(sample, ProcessingConfig(chunk_size=300), chosen, out)
    return result, read_features(out / "features" / sample.name)


def as_v15(columns):
    """No FatJet_jetId, but what jets are made of; the b score of subjets is DeepJet's."""
    rng = np.random.default_rng(2)
    counts = ak.to_numpy(ak.num(columns["FatJet"]))
    total = int(counts.sum())
    made_of = {
        "chHEF": rng.choice([0.0, 0.6], total, p=[0.1, 0.9]),
        "neHEF": rng.choice([0.1, 0.995], total, p=[0.95, 0.05]),
        "neEmEF": rng.choice([0.2, 0.95], total, p=[0.95, 0.05]),
        "chMultiplicity": rng.choice([0, 30], total, p=[0.05, 0.95]),
        "neMultiplicity": rng.choice([0, 20], total, p=[0.05, 0.95]),
    }
    for name, values in made_of.items():
        columns["FatJet"] = ak.with_field(columns["FatJet"], ak.unflatten(values, counts), name)
    columns["FatJet"] = ak.with_field(columns["FatJet"], columns["FatJet"]["msoftdrop"], "globalParT3_QCD")


def test_names_of_nanoaod_v15(tmp_path, make_nano_file, make_sample, caplog):
    path = make_nano_file(
        tmp_path / "a.root", 900, 6, year_name="2022", drop=("FatJet_jetId",), change=as_v15
    )
    sample = make_sample([path], year="2022")
    with caplog.at_level(logging.INFO):
        result, table = skim(sample, tmp_path)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert (
        "sample mock: NanoAOD v15, TTree; b_score from SubJet_btagDeepFlavB; jet identification from" in said
    )
    # Tight identification of PUPPI jets at 13.6 TeV in |η| < 2.6, event by event.
    pairs = {}
    for event in ak.to_list(uproot.open({path: None})["Events"].arrays()):
        tight = [
            jet
            for jet in range(len(event["FatJet_pt"]))
            if abs(event["FatJet_eta"][jet]) < 2.5
            and event["FatJet_neHEF"][jet] < 0.99
            and event["FatJet_neEmEF"][jet] < 0.9
            and event["FatJet_chMultiplicity"][jet] + event["FatJet_neMultiplicity"][jet] > 1
            and event["FatJet_chHEF"][jet] > 0.01
            and event["FatJet_chMultiplicity"][jet] > 0
        ]
        hardest = sorted(tight, key=lambda jet, event=event: -event["FatJet_pt"][jet])[:2]
        pairs[event["event"]] = {event["FatJet_pt"][jet] for jet in hardest}
    assert len(table["mjj"]) > 50
    for row, event in enumerate(table["event"].tolist()):
        assert {float(table["pt_j1"][row]), float(table["pt_j2"][row])} == pairs[event]
    clean = {step["step"]: step for step in result.cutflow}["two_jets"]["events"]
    assert clean < sum(len(pair) == 2 for pair in pairs.values())


def test_decision_is_printed_once_a_kind_of_file(tmp_path, make_nano_file, make_sample, caplog):
    files = [make_nano_file(tmp_path / f"{k}.root", 50, k, first_event=1 + 100 * k) for k in range(3)]
    with caplog.at_level(logging.INFO):
        plan_sample(make_sample(files), Demand())
    said = [record.getMessage() for record in caplog.records]
    expected = (
        "sample mock: NanoAOD-like, TTree; b_score from SubJet_btagDeepB; jet_id from FatJet_jetId; "
        "n_pf from FatJet_nConstituents; trigger HLT_PFHT1050 or HLT_AK8PFJet500"
    )
    assert said == [expected]


@pytest.mark.parametrize("lacking", [1, 2, 3])
def test_a_missing_trigger_is_said(tmp_path, make_nano_file, make_sample, caplog, lacking):
    files = [
        make_nano_file(
            tmp_path / f"{k}.root",
            50,
            k,
            first_event=1 + 100 * k,
            drop=("HLT_PFHT1050",) if k < lacking else (),
        )
        for k in range(3)
    ]
    with caplog.at_level(logging.INFO):
        plan_sample(make_sample(files), Demand())
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert said[0].endswith("trigger HLT_AK8PFJet500; without the trigger HLT_PFHT1050")
    assert len(said) == (1 if lacking == 3 else 2)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    # one menu in all files is what the year may be; two menus in one sample may be a file of another year
    expected = f"sample mock: no trigger HLT_PFHT1050 in {lacking} of 3 files, '{files[0]}' the first"
    assert [text.startswith(expected) for text in warnings] == ([] if lacking == 3 else [True])


def test_substructure_of_particles_is_never_the_stored_one(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50)
    message = (
        r"no branch PFCands_pt or PFCand_pt \(needed for the particles of jets\); .*PFCands_pdgId or PFCand_pdgId "
        r"\(.*or set jets\.substructure: auto$"
    )
    with pytest.raises(InputError, match=message):
        skim(make_sample([path]), tmp_path, jets=JetsConfig(substructure="particles"))
    skim(make_sample([path]), tmp_path, jets=JetsConfig(substructure="auto"))


def test_clustered_jets_need_particles_alone(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50, drop=("FatJet_tau4", "FatJet_pt"))
    with pytest.raises(InputError, match=r"no branch PFCands_pt or PFCand_pt") as caught:
        skim(make_sample([path]), tmp_path, jets=JetsConfig(source="particles"))
    assert "FatJet" not in str(caught.value)
    assert "substructure: auto" not in str(caught.value)


def schema_of(make_sample, jets, drop=(), add=()):
    """The branches chosen of the shipped simulation's file with particles."""
    with uproot.open({MINI: None}) as file:
        keys = (set(file["Events"].keys(recursive=False)) | set(add)) - set(drop)
    sample = make_sample([MINI], kind="simulation")
    return resolve(keys, sample, year("2017"), "a.root", Demand(jets=JetsConfig(**jets)))


LINKS = ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx")
LEPTONS = (
    "FatJet_muonIdx3SJ",
    "FatJet_electronIdx3SJ",
    *(f"{lepton}_{name}" for lepton in ("Muon", "Electron") for name in ("pt", "eta", "phi")),
)


def test_links_of_the_file_that_it_has_not(make_sample):
    message = (
        r"no branch FatJetPFCands_jetIdx or FatJetPFCand_jetIdx \(needed for the links from particles to jets\); no "
        r"branch FatJetPFCands_pFCandsIdx or .* or set jets\.links: auto$"
    )
    with pytest.raises(InputError, match=message):
        schema_of(make_sample, {"substructure": "particles", "links": "file"}, drop=LINKS)
    schema_of(make_sample, {"substructure": "auto", "links": "file"}, drop=LINKS)
    found = schema_of(make_sample, {"substructure": "particles"}, drop=LINKS)
    assert "particles linked to jets by clustering" in found.decisions()


@pytest.mark.parametrize("config", [{"substructure": "particles"}, {"source": "particles"}])
def test_jets_of_a_file_without_particles(read_events, jets_of, config):
    events = {name: values for name, values in read_events(stop=3).items() if not name.startswith("PFCand")}
    with pytest.raises(InputError, match=r"file 'a\.root' has no branch PFCands_pt or PFCand_pt"):
        jets_of(events, **config)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            {},
            {"drop": LINKS},
            r"'a\.root' has links from cross-references, file 'b\.root' from clustering",
        ),
        (
            {"add": LEPTONS},
            {"add": LEPTONS[1:]},
            r"'a\.root' has leptons from links of the file, file 'b\.root' from the hardest among the particles",
        ),
        (
            {"add": LEPTONS},
            {"add": (*LEPTONS, "Electron_eCorr")},
            r"'a\.root' has electron_correction from nothing, file 'b\.root' from Electron_eCorr",
        ),
    ],
)
def test_particles_of_different_meaning(make_sample, one, other, message):
    jets = {"substructure": "particles"}
    facts = [
        FileFacts(path, 1, b"", schema_of(make_sample, jets, **how), GeneratedSums(0, 0, 0), None, "TTree")
        for path, how in (("a.root", one), ("b.root", other))
    ]
    check_same_meaning(facts[0], facts[0], "mock")
    with pytest.raises(InputError, match=f"mock: file {message}"):
        check_same_meaning(*facts, "mock")


def test_number_of_particles_of_different_meaning(tmp_path, make_nano_file, make_sample):
    def link(columns):
        n = ak.num(columns["FatJet"])
        columns["FatJetPFCands"] = ak.zip({"jetIdx": ak.local_index(columns["FatJet"]["pt"])})
        assert ak.sum(n) == ak.count(columns["FatJetPFCands"]["jetIdx"])

    stored = make_nano_file(tmp_path / "a.root", 50)
    counted = make_nano_file(
        tmp_path / "b.root", 50, first_event=1000, drop=("FatJet_nConstituents",), change=link
    )
    message = r"has n_pf from FatJet_nConstituents, file '.*b\.root' from the number of cross-references; use files of one"
    with pytest.raises(InputError, match=message):
        skim(make_sample([stored, counted]), tmp_path)
    without = FeaturesConfig(without=("n_pf",))
    assert skim(make_sample([stored, counted]), tmp_path, features=without)[0].account.processed == 100


def test_columns_that_a_search_does_without(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(
        tmp_path / "a.root", 300, 4, drop=("FatJet_lsf3", "FatJet_tau1", "FatJet_subJetIdx1")
    )
    sample = make_sample([path])
    whole = make_sample([make_nano_file(tmp_path / "b.root", 300, 4)], name="whole")
    _, table = skim(sample, tmp_path, features=FeaturesConfig(without=("lsf3", "tau1", "deepb")))
    _, everything = skim(whole, tmp_path)
    gone = {f"{name}_{jet}" for name in ("lsf3", "deepb", "tau1", "tau21", "tau41") for jet in ("j1", "j2")}
    assert set(everything) - set(table) == gone
    assert list(table) == [name for name in everything if name not in gone]
    assert all(np.array_equal(table[name], everything[name]) for name in table)


def test_missing_branch_tells_what_is_lost(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50, drop=("FatJet_lsf3", "FatJet_tau4", "Flag_goodVertices"))
    message = (
        r"no branch FatJet_tau4 \(needed for the features tau4, tau43 and tau41\); "
        r"no branch FatJet_lsf3 \(needed for the feature lsf3\); no branch Flag_goodVertices \(noise filter of 2017\)\. "
        r"Use a file that holds it, or correct the sample's year \('2017'\) and kind \('data'\), "
        r"or list lsf3, tau4 in features\.without; then the methods .*cwola.* are not available"
    )
    with pytest.raises(InputError, match=message):
        skim(make_sample([path]), tmp_path)
    assert not (tmp_path / "features" / "mock").exists()


def test_no_search_does_without_the_masses(tmp_path, make_nano_file, make_sample):
    path = make_nano_file(tmp_path / "a.root", 50, drop=("FatJet_msoftdrop",))
    with pytest.raises(
        InputError, match=r"FatJet_msoftdrop \(needed for mjj, the order of the jets"
    ) as caught:
        skim(make_sample([path]), tmp_path)
    assert "features.without" not in str(caught.value)


@pytest.mark.parametrize("name", ["m", "lsf", "tau21", "pt"])
def test_unknown_column_in_without(name):
    message = (
        rf"features.*'{name}' cannot be left out; choose among tau1, tau2, tau3, tau4, lsf3, n_pf, deepb"
    )
    with pytest.raises(ConfigError, match=message):
        FeaturesConfig.parse({"without": [name]}, "features")


def test_ratios_go_with_their_parts():
    assert absent_columns(("tau2",)) == {"tau2", "tau21", "tau32"}
    assert absent_columns(()) == frozenset()


def search_of(folder, **changes):
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": None}}
    (folder / "a.root").write_bytes(b"")
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    config = {
        "run": {"output": "out"},
        "samples": "samples.yaml",
        "search": {"data": "mock"},
        "methods": {"cwola": {}},
        "scan": {"masses": [3000]},
    }
    (folder / "search.yaml").write_text(yaml.safe_dump({**config, **changes}))
    return folder / "search.yaml"


def test_method_that_needs_an_absent_column_is_refused(tmp_path):
    path = search_of(tmp_path, features={"without": ["lsf3", "tau1"]})
    message = (
        r"method 'cwola' needs the columns lsf3_j1, lsf3_j2, tau21_j1, tau21_j2, which features\.without leaves out; "
        r"give it others in methods\.cwola\.features, or remove the method"
    )
    with pytest.raises(ConfigError, match=message):
        load_config(path)
    load_config(path, ("methods.cwola.features=[m_j1, tau32_j1]",))
    load_config(path, ("methods={}",))


@pytest.fixture
def two_meanings(tmp_path, make_nano_file):
    """Two files of 2017, one with DeepCSV, one with DeepJet."""

    def change(columns):
        columns["SubJet"] = ak.zip({"btagDeepFlavB": columns["SubJet"]["btagDeepB"]})

    return [
        make_nano_file(tmp_path / "a.root", 50),
        make_nano_file(tmp_path / "b.root", 50, first_event=1000, change=change),
    ]


MEANINGS = (
    r"file '.*a\.root' has b_score from SubJet_btagDeepB, file '.*b\.root' from SubJet_btagDeepFlavB; use files of "
    r"one version"
)


def test_files_of_different_meaning_in_one_sample(tmp_path, two_meanings, make_sample):
    with pytest.raises(InputError, match=rf"mock: {MEANINGS}"):
        skim(make_sample(two_meanings), tmp_path)


def test_samples_of_different_meaning_in_one_search(two_meanings, make_sample):
    samples = [make_sample([path], name=path.stem) for path in two_meanings]
    with pytest.raises(InputError, match=rf"sample 'b' beside the others of this search: {MEANINGS}"):
        check_same_sources(samples, EventOptions())
    check_same_sources(samples, EventOptions(features=FeaturesConfig(without=("deepb", "tau1"))))


def test_identification_of_different_meaning(tmp_path, make_nano_file, make_sample):
    new = make_nano_file(
        tmp_path / "b.root", 50, first_event=1000, year_name="2022", drop=("FatJet_jetId",), change=as_v15
    )
    old = make_nano_file(tmp_path / "a.root", 50, year_name="2022")
    with pytest.raises(InputError, match=r"has jet_id from FatJet_jetId, file '.*b\.root' from nothing"):
        skim(make_sample([old, new], year="2022"), tmp_path)


def test_simulation_in_a_data_sample(tmp_path, make_nano_file, make_sample):
    files = [
        make_nano_file(tmp_path / f"{name}.root", 50, simulation=simulation, first_event=first)
        for name, simulation, first in (("a", False, 1), ("b", True, 1000))
    ]
    message = r"file '.*b\.root' of sample 'mock' has the branch genWeight, so it is simulation, but the sample is data"
    with pytest.raises(InputError, match=message):
        skim(make_sample(files), tmp_path)
    with pytest.raises(InputError, match=r"file '.*a\.root' of sample 'mock' has no branch genWeight"):
        skim(make_sample(files, kind="simulation"), tmp_path)


def test_simulation_as_mock_data_counts_every_event_once(tmp_path, make_nano_file, make_sample):
    """Weights of the generator, negative ones too, are not read; data that say they are simulated are refused."""
    simulated = make_nano_file(tmp_path / "a.root", 400, simulation=True)
    _, table = skim(make_sample([simulated], mock=True), tmp_path)
    assert len(table["weight"]) > 50
    assert np.all(table["weight"] == 1.0)
    data = make_nano_file(tmp_path / "b.root", 50)
    with pytest.raises(
        InputError, match=r"b\.root' .* so it is data, but the sample says mock: true; remove the key"
    ):
        skim(make_sample([data], mock=True), tmp_path)


def test_generated_sums_of_the_definition(tmp_path, make_nano_file, make_sample):
    """They stand for the trees Runs, present or not, and are named where they are missing."""
    bare = make_nano_file(tmp_path / "a.root", 400, 8, simulation=True, trees={"Runs": None})
    full = make_nano_file(tmp_path / "b.root", 400, 8, simulation=True)
    runs = uproot.open({full: None})["Runs"].arrays(library="np")
    sums = {
        "count": int(runs["genEventCount"].sum()),
        "sumw": float(runs["genEventSumw"].sum()),
        "sumw2": float(runs["genEventSumw2"].sum()),
    }
    with pytest.raises(InputError, match=r"no tree 'Runs' .* give count, sumw and sumw2 .* as 'generated'"):
        skim(make_sample([bare], kind="simulation"), tmp_path)
    _, expected = skim(make_sample([full], kind="simulation", name="full"), tmp_path)
    _, given = skim(make_sample([bare], kind="simulation", generated=sums), tmp_path)
    assert all(np.array_equal(given[name], expected[name]) for name in expected)
    doubled = sums | {"sumw": 2 * sums["sumw"], "sumw2": 4 * sums["sumw2"]}
    _, half = skim(make_sample([full], kind="simulation", name="half", generated=doubled), tmp_path)
    assert half["weight"] == pytest.approx(expected["weight"] / 2, rel=1e-3, abs=1e-3)


def own_sums(path):
    with uproot.open({path: None}) as file:
        weight = file["Events"]["genWeight"].array(library="np").astype(np.float64)
    return {"count": len(weight), "sumw": float(weight.sum()), "sumw2": float((weight**2).sum())}


def test_cms_nanoaod_v15(tmp_path, cms_file, make_sample, caplog):
    """Top quark pairs of CMS open data: 2 of 200 events fired, none of them has mjj > 1200 GeV."""
    path = cms_file("nano_tt_v15.root")
    sample = make_sample([path], kind="simulation", year="2022", generated=own_sums(path))
    with caplog.at_level(logging.INFO):
        result, _ = skim(sample, tmp_path, features=FeaturesConfig(constituents=True))
    steps = {step["step"]: step for step in result.cutflow}
    with uproot.open({path: None}) as file:
        names = ["HLT_PFHT1050", "HLT_AK8PFJet500"]
        fired = file["Events"].arrays(names, library="np")
    assert steps["all"]["events"] == 200
    assert steps["trigger"]["events"] == (fired[names[0]] | fired[names[1]]).sum() == 2
    assert steps["two_jets"]["events"] == 2
    assert steps["mjj"]["n_minus_1_events"] == 2
    said = " ".join(record.getMessage() for record in caplog.records)
    for words in (
        "NanoAOD v15 with particles, TTree",
        "b_score from SubJet_btagDeepFlavB",
        "from multiplicities",
    ):
        assert words in said
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["no PUPPI weights" in text for text in warnings] == [True]


def test_cms_rntuple_holds_what_the_ttree_holds(tmp_path, cms_file, make_sample, caplog):
    """The same ten events in both storages; the RNTuple has no Runs."""
    tables = {}
    for name in ("pfnano", "pfnano_rntuple"):
        path = cms_file(f"{name}.root")
        sample = make_sample([path], kind="simulation", year="2018", name=name, generated=own_sums(path))
        with caplog.at_level(logging.INFO):
            _, tables[name] = skim(sample, tmp_path)
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "sample pfnano: NanoAOD v9 with particles, TTree; b_score from SubJet_btagDeepB" in said
    assert "sample pfnano_rntuple: NanoAOD v9 with particles, RNTuple; b_score" in said
    one, other = tables.values()
    assert len(one["mjj"]) == 9
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    bare = make_sample([cms_file("pfnano_rntuple.root")], kind="simulation", year="2018")
    with pytest.raises(InputError, match=r"pfnano_rntuple\.root' .* has no tree 'Runs'"):
        skim(bare, tmp_path)
