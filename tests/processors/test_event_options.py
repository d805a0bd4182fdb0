"""Options that contradict each other, and what the two passes need not make."""

import logging
from pathlib import Path

import awkward as ak
import pytest
import uproot

from data.errors import ConfigError
from processors import rmm_columns
from processors.config import FeaturesConfig, JetsConfig, MatrixConfig, ProcessingConfig, SelectionConfig
from processors.corrections.config import CorrectionsConfig
from processors.event_options import EventOptions
from processors.jets import Jets
from processors.loop import work_items
from processors.preflight import plan_sample
from processors.run import run_histograms, run_skim
from processors.skim import read_features

JMS = CorrectionsConfig.parse({"jms": {"scale": 1.0, "uncertainty": 0.02}}, "test.yaml")
BTAG = {
    "file": "sf.json", "heavy": {"name": "h"}, "light": {"name": "l"}, "efficiency": {"name": "e"}, "threshold": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("jets", "selection"), [({"pt_min": 250}, {}), ({"pt_min": 170}, {"jet_pt_min": 200})]
)
def test_clustering_may_not_drop_jets_that_the_selection_wants(jets, selection):
    with pytest.raises(ConfigError, match=r"jets\.pt_min is \d+ GeV, but .* set it to (240|160) or less"):
        EventOptions(SelectionConfig(**selection), JetsConfig(source="particles", **jets))
    EventOptions(SelectionConfig(**selection), JetsConfig(**jets))  # stored jets have no such cut


def test_b_tag_weights_need_the_b_score(tmp_path, make_sample):
    options = EventOptions(
        features=FeaturesConfig(without=("deepb",)),
        corrections={"2017": CorrectionsConfig.parse({"btag": BTAG}, "test.yaml")},
    )
    sample = make_sample([tmp_path / "a.root"], kind="simulation").model_copy(
        update={"without_corrections": ("btag",)}
    )
    options.demand(sample)
    with pytest.raises(
        ConfigError, match=r"corrections\.2017\.btag needs the b score, which features\.without"
    ):
        options.demand(sample.model_copy(update={"without_corrections": ()}))


def test_forgotten_prefiring_is_said(make_sample, tmp_path):
    options = EventOptions(corrections={"2017": JMS, "2018": JMS})
    sample = make_sample([tmp_path / "a.root"], kind="simulation")
    assert options.forgets_prefiring(sample)
    assert not options.forgets_prefiring(sample.model_copy(update={"without_corrections": ("prefiring",)}))
    assert not options.forgets_prefiring(sample.model_copy(update={"year": "2018"}))
    assert not options.forgets_prefiring(make_sample([tmp_path / "a.root"]))


def test_pass_two_makes_no_array_that_no_method_reads(tmp_path, make_sample, monkeypatch):
    path = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"
    sample = make_sample([path], kind="simulation")
    features = FeaturesConfig(constituents=True, rapidity_mass_matrix=MatrixConfig())
    options = EventOptions(features=features, corrections={"2017": JMS})
    calls = []
    for owner, name in ((rmm_columns, "rapidity_mass_columns"), (Jets, "constituents")):
        original = getattr(owner, name)

        def counted(*arguments, original=original, name=name):
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)
    result = run_histograms(sample, ProcessingConfig(), options, {}, trained_on=(), out_root=tmp_path)
    assert list(result.histograms["mjj"].axes["variation"]) == ["nominal", "jms_up", "jms_down"]
    assert not calls
    run_skim(sample, ProcessingConfig(), options, tmp_path)
    assert {"rapidity_mass_columns", "constituents"} == set(calls)


def test_chunks_are_small_where_much_is_read(make_sample):
    path = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"
    sample = make_sample([path], kind="simulation")
    sizes = ProcessingConfig(chunk_size=1500, particle_chunk_size=500)
    chunks = {}
    for name, features in (
        ("jets", FeaturesConfig()),
        ("constituents", FeaturesConfig(constituents=True)),
        ("matrix", FeaturesConfig(rapidity_mass_matrix=MatrixConfig())),
    ):
        options = EventOptions(features=features)
        chunks[name] = len(work_items(plan_sample(sample, options.demand(sample)), sizes))
    assert chunks == {"jets": 2, "constituents": 4, "matrix": 4}


def test_equal_problems_of_chunks_are_said_once(tmp_path, make_nano_file, make_sample):
    table = tmp_path / "pileup.json"
    table.write_text('{"schema_version": 2, "corrections": []}')
    corrections = {"pileup": {"file": str(table), "name": "missing"}}
    options = EventOptions(corrections={"2017": CorrectionsConfig.parse(corrections, "test.yaml")})

    def add(columns):
        columns["Pileup_nTrueInt"] = columns["event"].astype("float32")

    path = make_nano_file(tmp_path / "a.root", 900, simulation=True, change=add)
    sample = make_sample([path], kind="simulation")
    with pytest.raises(Exception, match="missing") as caught:
        run_histograms(
            sample, ProcessingConfig(chunk_size=300), options, {}, trained_on=(), out_root=tmp_path
        )
    assert str(caught.value).count("'missing'") == 1


def test_no_bar_outside_a_terminal(caplog, capsys, tmp_path, make_nano_file, make_sample):
    caplog.set_level(logging.INFO)
    path = make_nano_file(tmp_path / "a.root", 50)
    run_histograms(
        make_sample([path]), ProcessingConfig(), EventOptions(), {}, trained_on=(), out_root=tmp_path
    )
    assert capsys.readouterr() == ("", "")


def test_selected_jets_without_particles_are_counted_and_said(tmp_path, make_sample, caplog):
    source = Path(__file__).parents[2] / "data" / "mini" / "signal_particles_0.root"
    with uproot.open({source: None}) as file:
        names = [branch.name for branch in file["Events"].branches if not branch.name.startswith("n")]
        columns = {name: file["Events"][name].array() for name in names}
        runs = file["Runs"].arrays(library="np")
    links = columns["FatJetPFCands_jetIdx"]
    columns["FatJetPFCands_jetIdx"] = ak.where(links == 0, -1, links)
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Events", {name: ak.type(values).content for name, values in columns.items()}).extend(
            columns
        )
        file.mktree("Runs", {name: values.dtype for name, values in runs.items()}).extend(runs)
    sample = make_sample([tmp_path / "a.root"], kind="simulation")
    options = EventOptions(jets=JetsConfig(substructure="particles"))
    result = run_skim(sample, ProcessingConfig(), options, tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    empty = int((table["n_pf_j1"] == 0).sum() + (table["n_pf_j2"] == 0).sum())
    assert result.without_particles == empty > 100
    assert f"{empty} selected jets have no particles" in caplog.text
