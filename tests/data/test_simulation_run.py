import numpy as np
import pytest
import uproot

from data.errors import ConfigError
from data.samples import read_samples
from data.simulation import generator, run
from data.simulation.config import Generator, SimulationConfig
from data.simulation.generator import generate, survey_cross_section
from data.simulation.processes import Qcd
from data.simulation.run import allocate, plan, simulate

pytest.importorskip("pythia8mc", reason="the extra [simulation] is not installed")

RECIPE = {
    "seed": 5,
    "year": "2017",
    "generator": {"multiparton_interactions": False, "block": 20},
    "skim": {"pt_min": 300, "mjj_min": 1500, "delta_eta_max": 1.5},
    "processes": {
        "qcd": {
            "type": "qcd",
            "mhat_edges": [1700, 2500],
            "early_veto": {"mjj_min": 1400, "delta_eta_max": 1.6},
        },
        "xyy": {"type": "xyy", "mass": 3000, "mass_y": 400, "mass_y_prime": 170},
    },
    "samples": {
        "mock": {
            "process": "qcd",
            "kind": "data",
            "generate": 50,
            "files": 2,
            "run": 300001,
            "plant": {"process": "xyy", "generated": 15},
        },
        "particles": {
            "process": "xyy",
            "kind": "simulation",
            "generate": 30,
            "run": 2,
            "cross_section_pb": 0.5,
            "particles": True,
            "generator_record": True,
        },
    },
}


def parse(**changes):
    return SimulationConfig.parse({**RECIPE, **changes}, "recipe")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    simulate(parse(), folder / "out", work=folder / "work")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def branches(path, names):
    with uproot.open(path) as file:
        return file["Events"].arrays(names, library="np")


def test_the_sample_definition_can_be_read(made):
    samples = read_samples(made / "out" / "samples.yaml")
    assert list(samples) == ["mock", "particles"]
    assert samples["mock"].kind == "data"
    # σ(QCD, parton mass > 1.7 TeV, |Δη| < 1.8) is some 60 pb: 50 events are a thousandth of an fb⁻¹.
    assert 0.0003 < samples["mock"].luminosity() < 0.01
    assert (samples["particles"].cross_section_pb, samples["particles"].mass) == (0.5, 3000)
    assert samples["particles"].process == "xyy_400_170"
    for sample in samples.values():
        for path, entries in sample.files.items():
            with uproot.open(path) as file:
                assert file["Events"].num_entries == entries
                assert entries > 0


def test_events_are_numbered_across_files_and_mixed(made):
    files = [made / "out" / f"mock_{i}.root" for i in range(2)]
    parts = [branches(path, ["run", "event", "Generator_label"]) for path in files]
    event = np.concatenate([part["event"] for part in parts])
    assert event.tolist() == list(range(1, len(event) + 1))
    assert {int(part["run"][0]) for part in parts} == {300001}
    label = np.concatenate([part["Generator_label"] for part in parts])
    assert 0 < label.sum() <= 15
    assert label[: label.sum()].sum() < label.sum()


def test_data_carry_no_weight_and_simulation_counts_all_that_was_generated(made):
    with uproot.open(made / "out" / "mock_0.root") as file:
        assert "genWeight" not in file["Events"]
        assert "genEventCount" not in file["Runs"]
    with uproot.open(made / "out" / "particles_0.root") as file:
        assert file["Runs"]["genEventCount"].array(library="np").tolist() == [30]
        assert set(file["Events"]["genWeight"].array(library="np")) == {1.0}


def test_files_with_particles_hold_what_pfnano_holds(made):
    with uproot.open(made / "out" / "particles_0.root") as file:
        tree = file["Events"].arrays()
    for name in ("Jet_pt", "Electron_pt", "Muon_charge", "Photon_pt", "PuppiMET_pt", "PFCands_puppiWeight"):
        assert name in tree.fields
    for i in range(len(tree)):
        link, jet = tree["FatJetPFCands_pFCandsIdx"][i].to_numpy(), tree["FatJetPFCands_jetIdx"][i].to_numpy()
        pt, phi = tree["PFCands_pt"][i].to_numpy()[link], tree["PFCands_phi"][i].to_numpy()[link]
        for j in range(len(tree["FatJet_pt"][i])):
            mine = jet == j
            total = np.hypot((pt * np.cos(phi))[mine].sum(), (pt * np.sin(phi))[mine].sum())
            assert total == pytest.approx(tree["FatJet_pt"][i][j], rel=2e-3)
            assert mine.sum() == tree["FatJet_nConstituents"][i][j]
    identities = tree["GenPart_pdgId"].to_list()
    assert all({34, 9000001, 9000002} <= {abs(x) for x in event} for event in identities)
    mothers = tree["GenPart_genPartIdxMother"].to_list()
    assert all(abs(ids[m[ids.index(9000002)]]) == 34 for ids, m in zip(identities, mothers, strict=True))


def test_the_jets_have_the_masses_of_the_daughters(made):
    with uproot.open(made / "out" / "particles_0.root") as file:
        mass = file["Events"]["FatJet_msoftdrop"].array()
    heavier, lighter = np.maximum(mass[:, 0], mass[:, 1]), np.minimum(mass[:, 0], mass[:, 1])
    # Soft drop loses a prong of some jets: most, not all, peak at the mass of what they come from.
    assert np.mean((heavier > 350) & (heavier < 430)) > 0.5
    assert np.mean((lighter > 140) & (lighter < 200)) > 0.4


def test_two_workers_and_a_second_run_give_the_same_bytes(made, tmp_path):
    progress = []
    simulate(
        parse(), tmp_path / "out", workers=2, progress=lambda done, total: progress.append((done, total))
    )
    assert contents(tmp_path / "out") == contents(made / "out")
    assert not (tmp_path / "out" / ".blocks").exists()
    assert progress == [(i, len(progress) - 1) for i in range(len(progress))]


def test_interrupted_work_goes_on_where_it_was(made, tmp_path, monkeypatch):
    blocks = sorted((made / "work").rglob("*.npz"))
    lost = blocks[0]
    content = lost.read_bytes()
    lost.unlink()
    calls = []
    genuine = run.produce
    monkeypatch.setattr(run, "produce", lambda *args: calls.append(args[0]) or genuine(*args))
    simulate(parse(), tmp_path / "out", work=made / "work")
    assert len(calls) == 1
    assert lost.read_bytes() == content
    assert contents(tmp_path / "out") == contents(made / "out")


def test_another_signal_strength_needs_no_new_events(made, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "produce", lambda *_: pytest.fail("a block was made again"))
    mock = {**RECIPE["samples"]["mock"], "plant": {"process": "xyy", "generated": 5}, "compact_subjets": True}
    simulate(parse(samples={**RECIPE["samples"], "mock": mock}), tmp_path / "out", work=made / "work")
    label = [
        branches(tmp_path / "out" / f"mock_{i}.root", ["Generator_label"])["Generator_label"]
        for i in range(2)
    ]
    assert 0 < np.concatenate(label).sum() <= 5
    with uproot.open(tmp_path / "out" / "mock_0.root") as file:
        compact = file["Events"]["SubJet_pt"].array()
    dropped = (1 << 16) - 1  # of 23 bits of mantissa, 7 are kept
    assert not np.any(np.asarray(compact.layout.content.data).view(np.uint32) & dropped)


def test_every_block_has_its_own_seed_and_another_recipe_seed_changes_all():
    blocks = [block for found in plan(parse()).values() for block in found]
    seeds = [{block.pythia_seed(n) for block in blocks} for n in (5, 6)]
    assert len(seeds[0]) == len(seeds[1]) == len(blocks)
    assert not seeds[0] & seeds[1]


def test_a_repeated_seed_is_refused(monkeypatch):
    monkeypatch.setattr(run.Block, "pythia_seed", lambda *_: 7)
    with pytest.raises(ConfigError, match="would repeat the same events; change 'seed'"):
        plan(parse())


def test_events_are_shared_out_in_proportion():
    assert allocate(10, [2.0, 1.0, 1.0]) == [5, 3, 2]
    assert sum(allocate(1001, [0.1, 0.7, 0.2])) == 1001


def test_vetoed_events_leave_the_cross_section():
    options = Generator(multiparton_interactions=False)
    loose, tight = (Qcd(type="qcd", mhat_edges=(2000,), delta_eta_max=limit) for limit in (3.0, 1.0))
    early = tight.model_copy(
        update={"early_veto": parse().processes["qcd"].early_veto.model_copy(update={"mjj_min": 3000.0})}
    )
    full, part = (
        survey_cross_section(process, (2000.0, -1.0), 3, 13000.0, options) for process in (loose, tight)
    )
    # Massless 2 → 2 scattering falls with |Δη| far slower than 1/3 of the range.
    assert 0.02 < part / full < 0.34
    made = generate(early, (2000.0, -1.0), 20, 3, 13000.0, options)
    assert made.cross_section_pb < 0.5 * part
    momenta = made.hard[np.abs(made.hard_status) == 23]
    eta = np.arcsinh(momenta.pz / np.hypot(momenta.px, momenta.py)).reshape(-1, 2)
    assert np.all(np.abs(eta[:, 0] - eta[:, 1]) <= 1.0)


def test_a_w_prime_decays_to_b_prime_and_top():
    process = SimulationConfig.parse(
        {
            **RECIPE,
            "processes": {
                **RECIPE["processes"],
                "wp": {"type": "wprime_bprime_top", "mass": 3000, "mass_b_prime": 400},
            },
        },
        "recipe",
    ).processes["wp"]
    made = generate(process, (0.0, -1.0), 5, 4, 13000.0, Generator(multiparton_interactions=False))
    for event in range(5):
        identities = set(np.abs(made.hard.pdg_id[made.hard.event == event]).tolist())
        assert {34, 7, 6, 5, 23, 24} <= identities
    assert len(made.heavy.event) > 0


def test_a_missing_pythia_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(ConfigError, match=r"pip install 'oddjet\[simulation\]'"):
        generator._pythia()


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="workers must be 1 or more, found 0"):
        simulate(parse(), tmp_path, workers=0)
