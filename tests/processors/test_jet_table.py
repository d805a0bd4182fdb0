"""``oddjet substructure``: all jets of a file with all their features."""

import re
import sys
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from analysis import cli
from data.errors import IncompleteError, InputError
from processors import jet_table
from processors.columns import JET_COLUMNS
from processors.config import JetsConfig
from processors.jet_table import write_jet_table

MINI = Path(__file__).parents[2] / "data" / "mini"
PARTICLES_ONLY = (
    *("m_ungroomed", "pt_groomed", "delta_r", "z", "c2", "d2", "n2", "n3"),
    *("jet_charge", "pt_dispersion", "n_splittings"),
)
BESIDE = tuple(f"{name}_particles" for name in ("m", "tau1", "tau2", "tau3", "tau4", "lsf3", "n_pf"))
IDS = ("run", "luminosity_block", "event", "jet")


def table_of(file, out, jets=None, **options):
    """What was written, as columns."""
    written = write_jet_table(str(file), out, jets or JetsConfig(), **options)
    table = pq.read_table(out)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    assert written.jets == len(columns["jet"])
    return written, columns


def oddjet(monkeypatch, *arguments):
    """Run ``oddjet ARGUMENTS``; its exit code."""
    monkeypatch.setattr(sys, "argv", ["oddjet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0


def flat(tree, name):
    return ak.to_numpy(ak.flatten(tree[name].array()))


def copy_of(file, path, stop, *, drop=(), tree="Events"):
    """A small file with some branches of another."""
    with uproot.open({file: None}) as root, uproot.recreate(path) as out:
        names = [name for name in root["Events"].keys(recursive=False) if name not in drop and name[0] != "n"]
        out.mktree(
            tree, {name: root["Events"][name].array(entry_stop=max(stop, 1)).type.content for name in names}
        ).extend({name: root["Events"][name].array(entry_stop=stop) for name in names})
    return path


def test_jets_of_a_file_without_particles(tmp_path):
    file = MINI / "signal_4000_400_400_0.root"
    written, table = table_of(file, tmp_path / "jets.parquet")
    with uproot.open({file: None}) as root:
        tree = root["Events"]
        assert written.entries == tree.num_entries
        assert written.empty_jets == 0
        np.testing.assert_array_equal(table["pt"], flat(tree, "FatJet_pt"))
        np.testing.assert_array_equal(table["tau3"], flat(tree, "FatJet_tau3"))
        np.testing.assert_array_equal(table["tight"], flat(tree, "FatJet_jetId") & 2 > 0)
        counts = ak.to_numpy(ak.num(tree["FatJet_pt"].array()))
        np.testing.assert_array_equal(table["event"], np.repeat(tree["event"].array(), counts))
        np.testing.assert_array_equal(table["jet"], ak.flatten(ak.local_index(tree["FatJet_pt"].array())))
    assert tuple(table) == (*IDS, *JET_COLUMNS, "tight")


def test_chunks_and_cuts_change_no_number(tmp_path):
    file = copy_of(MINI / "qcd_particles_0.root", tmp_path / "a.root", 300)
    written, table = table_of(file, tmp_path / "jets.parquet", pt_min=900)
    assert tuple(table) == (*IDS, *JET_COLUMNS, "tight", *BESIDE, *PARTICLES_ONLY)
    assert all(np.all(np.isfinite(values)) for values in table.values())
    calls = []
    other, pieces = table_of(
        file,
        tmp_path / "other.parquet",
        pt_min=900,
        chunk_size=130,
        progress=lambda *step: calls.append(step),
    )
    assert calls == [(130, 300), (260, 300), (300, 300)]
    assert other == written
    for name, values in table.items():
        np.testing.assert_array_equal(pieces[name], values)
    assert pq.ParquetFile(tmp_path / "other.parquet").num_row_groups == 3
    assert table["pt"].min() >= 900
    assert 100 < len(table["pt"]) < 600


def test_features_of_cms_jets(tmp_path, cms_file):
    """Truth: CMS's stored n2 of groomed jets (β = 1, where raw pT > 250 GeV) and fastjet on the same particles."""
    file = cms_file("pfnano.root")
    written, table = table_of(file, tmp_path / "jets.parquet")
    assert (written.entries, written.jets, written.empty_jets) == (10, 24, 0)
    for n in range(1, 5):
        assert np.median(np.abs(table[f"tau{n}_particles"] / table[f"tau{n}"] - 1)) < 0.005
    np.testing.assert_array_equal(table["n_pf_particles"], table["n_pf"])
    with uproot.open({file: None}) as root:
        tree = root["Events"]
        stored, mass = flat(tree, "FatJet_n2b1"), flat(tree, "FatJet_mass")
        raw_mass = mass * (1 - flat(tree, "FatJet_rawFactor"))
    np.testing.assert_allclose(table["m_ungroomed"], raw_mass, rtol=0.01)
    has = (stored >= 0) & (table["m_particles"] > 5)
    assert has.sum() >= 12
    assert np.median(np.abs(table["n2"][has] / stored[has] - 1)) < 0.02
    assert np.all(table["delta_r"] <= 0.8)
    assert np.all((table["z"] == 0) | ((table["z"] > 0.1) & (table["z"] <= 0.5)))
    assert np.all(table["pt_groomed"] <= table["pt"])


def test_number_of_splittings_is_that_of_fastjet(tmp_path, cms_file, read_events, jets_of):
    _, table = table_of(cms_file("pfnano.root"), tmp_path / "jets.parquet")
    jets = jets_of(read_events(cms_file("pfnano.root")))
    particles = jets.particle_jets.particles_of(np.arange(len(jets.entry))).weighted()
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10.0)
    for jet in range(24):
        rows = range(*particles.offsets[jet : jet + 2])
        momenta = [fastjet.PseudoJet(*(float(q[row]) for q in particles[:4])) for row in rows]
        sequence = fastjet._swig.ClusterSequence([p for p in momenta if p.pt() > 0], definition)
        branch, number = sequence.inclusive_jets()[0], 0
        first, second = fastjet.PseudoJet(), fastjet.PseudoJet()
        while branch.has_parents(first, second):
            branch = fastjet.PseudoJet(first if first.pt2() >= second.pt2() else second)
            number += 1
        assert number == table["n_splittings"][jet]


def test_rntuple_gives_the_same(tmp_path, cms_file):
    _, tree = table_of(cms_file("pfnano.root"), tmp_path / "tree.parquet")
    _, ntuple = table_of(cms_file("pfnano_rntuple.root"), tmp_path / "ntuple.parquet")
    assert ntuple.keys() == tree.keys()
    for name, values in tree.items():
        np.testing.assert_array_equal(ntuple[name], values)


def test_nanoaod_v15_names_its_fall_backs(tmp_path, cms_file, caplog):
    file = cms_file("nano_tt_v15.root")
    written, table = table_of(file, tmp_path / "jets.parquet")
    assert (written.entries, written.jets, written.empty_jets) == (200, 64, 2)
    assert "NanoAOD v15 with particles" in caplog.text
    assert "b_score from SubJet_btagDeepFlavB" in caplog.text
    assert "jet identification from multiplicities and energy fractions" in caplog.text
    assert caplog.text.count("has no PUPPI weights") == 1
    assert table["tight"].all()
    # these particles are stored with their weights applied
    filled = table["n_pf_particles"] > 0
    for n in range(1, 5):
        assert np.median(np.abs(table[f"tau{n}_particles"] / table[f"tau{n}"] - 1)[filled]) < 0.002


@pytest.mark.parametrize("name", ["nano_tt_v15.root", "pfnano.root"])
def test_clustered_jets_of_cms_files(tmp_path, cms_file, name):
    jets = JetsConfig(source="particles", radius=0.8, pt_min=160)
    written, table = table_of(cms_file(name), tmp_path / "jets.parquet", jets)
    assert written.empty_jets == 0
    assert table["pt"].min() >= 160
    assert tuple(table) == (*IDS, *JET_COLUMNS, "tight", *PARTICLES_ONLY)
    _, stored = table_of(cms_file(name), tmp_path / "stored.parquet", pt_min=250)
    ours = list(zip(table["event"], table["eta"], table["tau2"], strict=True))
    for event, eta, tau2 in zip(stored["event"], stored["eta"], stored["tau2_particles"], strict=True):
        near = [t for e, other, t in ours if e == event and abs(other - eta) < 0.005]
        assert any(abs(t - tau2) < 1e-5 for t in near)


def test_what_a_file_lacks_is_left_out_and_said(tmp_path, caplog):
    file = copy_of(
        MINI / "signal_4000_400_400_0.root",
        tmp_path / "a.root",
        30,
        drop=("FatJet_lsf3", "FatJet_tau4", "SubJet_btagDeepB", "FatJet_msoftdrop"),
    )
    _, table = table_of(file, tmp_path / "jets.parquet")
    lacking = {"lsf3", "tau4", "tau43", "tau41", "deepb", "m", "rho"}
    assert set(table) == {*IDS, *JET_COLUMNS, "tight"} - lacking
    assert "not in this file: deepb, lsf3, m, tau4, tau41, tau43" in caplog.text


def test_what_a_file_lacks_is_computed_of_particles(tmp_path):
    source = MINI / "qcd_particles_0.root"
    lacking = copy_of(source, tmp_path / "a.root", 40, drop=("FatJet_tau2", "FatJet_msoftdrop"))
    whole = copy_of(source, tmp_path / "b.root", 40)
    _, ours = table_of(lacking, tmp_path / "a.parquet")
    _, stored = table_of(whole, tmp_path / "b.parquet")
    np.testing.assert_array_equal(ours["tau2"], stored["tau2_particles"])
    np.testing.assert_array_equal(ours["m"], stored["m_particles"])
    assert "tau2_particles" not in ours


def test_file_without_entries(tmp_path):
    file = copy_of(MINI / "qcd_particles_0.root", tmp_path / "a.root", 0)
    written, table = table_of(file, tmp_path / "jets.parquet")
    assert (written.entries, written.jets) == (0, 0)
    assert tuple(table) == (*IDS, *JET_COLUMNS, "tight", *BESIDE, *PARTICLES_ONLY)


def test_faults_of_the_file(tmp_path):
    out = tmp_path / "jets.parquet"
    source = MINI / "signal_4000_400_400_0.root"
    jets = JetsConfig()
    with pytest.raises(InputError, match=r"file '.*gone\.root' does not exist; correct the path$"):
        write_jet_table(str(tmp_path / "gone.root"), out, jets)
    other = copy_of(source, tmp_path / "other.root", 3, tree="Tree")
    with pytest.raises(InputError, match=r"other\.root' has no tree 'Events'"):
        write_jet_table(str(other), out, jets)
    short = tmp_path / "short.root"
    short.write_bytes(source.read_bytes()[:200_000])
    with pytest.raises(
        InputError, match=r"short\.root' is truncated: it holds 200000 of \d+ bytes; replace the file"
    ):
        write_jet_table(str(short), out, jets)
    text = tmp_path / "text.root"
    text.write_text("hello" * 1000)
    with pytest.raises(InputError, match=r"text\.root' is not a ROOT file; give one"):
        write_jet_table(str(text), out, jets)
    without = copy_of(source, tmp_path / "without.root", 3, drop=("FatJet_phi",))
    with pytest.raises(InputError, match=r"without\.root' has no branch FatJet_phi \(needed for"):
        write_jet_table(str(without), out, jets)
    with pytest.raises(
        InputError, match=r"no branch PFCands_pt or PFCand_pt \(needed for the particles of jets\)"
    ):
        write_jet_table(str(source), out, JetsConfig(source="particles"))
    assert not out.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -5.0])
def test_impossible_momenta_are_refused_and_never_cut_away(tmp_path, make_nano_file, value):
    def change(columns):
        pt = ak.to_numpy(ak.flatten(columns["FatJet"]["pt"])).copy()
        pt[2] = value
        columns["FatJet"]["pt"] = ak.unflatten(pt, ak.num(columns["FatJet"]["pt"]))

    file = make_nano_file(tmp_path / "a.root", 20, change=change)
    for pt_min in (0.0, 300.0):
        with pytest.raises(
            InputError, match=rf"a\.root': branch FatJet_pt holds {value} in entry [01]; repair"
        ):
            table_of(file, tmp_path / "jets.parquet", pt_min=pt_min)
    assert not (tmp_path / "jets.parquet").exists()


def test_the_file_that_is_read_is_never_overwritten(tmp_path, monkeypatch, capsys):
    file = copy_of(MINI / "signal_4000_400_400_0.root", tmp_path / "a.root", 3)
    (tmp_path / "link.root").symlink_to(file)
    before = file.read_bytes()
    monkeypatch.chdir(tmp_path)
    for given, out in (("a.root", file), (file, "a.root"), (file, "link.root"), ("link.root", "a.root")):
        assert oddjet(monkeypatch, "substructure", given, "--out", out) == 1
        assert re.search(r"error: .*\.root is the file that is read.*another file", capsys.readouterr().err)
    assert file.read_bytes() == before
    assert oddjet(monkeypatch, "substructure", file, "--out", tmp_path) == 1
    assert re.search(r"error: .* is a folder, .*give the name of a file", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.root", "link.root"]


def test_lost_chunk(tmp_path, monkeypatch):
    whole = jet_table._chunks
    monkeypatch.setattr(jet_table, "_chunks", lambda *arguments: list(whole(*arguments))[1:])
    message = r"signal_4000_400_400_0\.root': 2967 of 3967 entries were read"
    with pytest.raises(IncompleteError, match=message):
        table_of(MINI / "signal_4000_400_400_0.root", tmp_path / "jets.parquet", chunk_size=1000)
    assert not list(tmp_path.iterdir())


def test_command(tmp_path, monkeypatch, capsys, caplog):
    out = tmp_path / "jets.parquet"
    file = copy_of(MINI / "qcd_particles_0.root", tmp_path / "a.root", 100)
    assert oddjet(monkeypatch, "substructure", file, "--out", out, "--pt-min", 700, "--chunk-size", 60) == 0
    rows = len(pq.read_table(out))
    assert f"{rows} jets of 100 events, 0 of them without particles" in " ".join(
        capsys.readouterr().out.split()
    )
    assert "jet_id from FatJet_jetId" in caplog.text

    options = ("--recluster", "--algorithm", "cambridge", "--radius", "1.0", "--pt-min", "700")
    assert oddjet(monkeypatch, "substructure", file, "--out", out, *options) == 0
    table = pq.read_table(out)
    assert table["pt"].to_numpy().min() >= 700
    assert len(table) >= rows

    assert oddjet(monkeypatch, "substructure", file, "--out", out, "--radius", 3) == 1
    assert re.search(r"options of the command: key 'radius'", capsys.readouterr().err)
