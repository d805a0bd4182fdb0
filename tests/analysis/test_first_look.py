"""What `oddjet init` makes of files: kinds, years, masses, samples, and what their first events suggest."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import uproot

from analysis.first_events import LEAST_FOR_FIT, LEAST_IN_BAND, TESTED, can_train, fit_start, suggest
from analysis.first_look import FileLook, files_of, look_at_file, look_at_files, plain_name, what_is_possible
from analysis.first_samples import datasets_of, draft_search
from analysis.first_year import RUNS, year_of
from analysis.windows import window_of
from data.errors import ConfigError, InputError
from data.samples import years

MINI = Path(__file__).parents[2] / "data" / "mini"
MENU_2017 = frozenset({*years()["2017"].triggers, *years()["2017"].filters, "SubJet_btagDeepB"})


def look(path="/d/a.root", *, entries=1000, branches=MENU_2017, runs=(), sums=True, resonance=None, mc=False):
    names = frozenset({*branches, "genWeight"}) if mc else frozenset(branches)
    return FileLook(path, "Events", "TTree", entries, names, tuple(runs), sums, resonance)


def test_a_file_is_looked_at(tmp_path, make_nano_file):
    found = look_at_file(str(make_nano_file(tmp_path / "a.root", 300, year_name="2018")))
    assert (found.tree, found.entries, found.storage, found.simulated) == ("Events", 300, "TTree", False)
    assert found.runs == (1,)  # the tree Runs lists them
    assert found.format == "NanoAOD-like, TTree"
    assert found.resonance is None


def test_runs_are_those_of_first_and_last_event_where_no_tree_lists_them(tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 300, trees={"Runs": None})
    assert look_at_file(str(path)).runs == (297050, 297051)
    assert look_at_file(str(path)).sums is False


def test_an_empty_tree_has_no_run(tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 0, trees={"Runs": None})
    assert look_at_file(str(path)).runs == ()


def test_the_resonance_is_found_in_the_generators_record():
    assert look_at_file(str(MINI / "signal_particles_0.root")).resonance == pytest.approx(3000, rel=0.01)
    assert look_at_file(str(MINI / "qcd_particles_0.root")).resonance is None


def test_a_file_without_events_is_refused_by_name(tmp_path):
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Hits", {"x": "float64"})
    with pytest.raises(InputError, match=r"a\.root' has no tree of events .*\(it has Hits\); give files"):
        look_at_file(str(tmp_path / "a.root"))


@pytest.mark.parametrize("damage", [lambda path: path.write_text("hello"), lambda path: path.unlink()])
def test_a_file_that_cannot_be_read_is_named(tmp_path, make_nano_file, damage):
    path = make_nano_file(tmp_path / "a.root", 20)
    damage(path)
    with pytest.raises(InputError, match=r"a\.root'"):
        look_at_files([str(path)])


def test_folders_and_patterns_stand_for_files(tmp_path, make_nano_file):
    paths = [str(make_nano_file(tmp_path / name, 5)) for name in ("a.root", "b.root")]
    assert files_of([str(tmp_path)], tmp_path) == paths
    assert files_of(["*.root"], tmp_path) == paths
    with pytest.raises(ConfigError, match=r"'a\.root' and '\*\.root' both stand for .*name each file once"):
        files_of(["*.root", "a.root"], tmp_path)
    with pytest.raises(ConfigError, match=r"'c\.root' does not exist"):
        files_of(["c.root"], tmp_path)


def test_the_run_numbers_tell_the_year_of_data():
    for name, (first, last) in RUNS.items():
        assert name in years()
        assert year_of([look(runs=(first, last))]).year == name
    ordered = sorted(RUNS.values())
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ordered))


@pytest.mark.parametrize(
    ("path", "year"),
    [
        ("root://x.org//store/mc/RunIISummer20UL18NanoAODv9/QCD_HT1000/NANOAODSIM/v1/1.root", "2018"),
        ("/store/mc/Run3Summer22EENanoAODv12/TT/NANOAODSIM/v1/1.root", "2022EE"),
        ("/store/mc/Run3Summer22NanoAODv12/TT/NANOAODSIM/v1/1.root", "2022"),
        ("/store/mc/Run3Summer23BPixNanoAODv12/TT/NANOAODSIM/v1/1.root", "2023BPix"),
    ],
)
def test_the_name_of_the_campaign_tells_the_year_of_simulation(path, year):
    guess = year_of([look(path, runs=(1,), mc=True)])
    assert (guess.year, guess.others) == (year, ())


def test_a_menu_of_several_years_is_a_choice_that_is_said():
    guess = year_of([look(mc=True)])
    assert guess.year == "2017"
    assert guess.others == ("2018",)
    assert "a choice" in guess.how
    marked = year_of([look(mc=True, branches={*MENU_2017, "HLT_PFMET100_CaloBTagCSV_3p1"})])
    assert (marked.year, marked.others, marked.how) == ("2017", (), "by its triggers")
    run3 = {*years()["2022"].triggers, *years()["2022"].filters, "SubJet_btagDeepFlavB", "HLT_X_PNetBB0p06"}
    assert year_of([look(mc=True, branches=run3)]).others == ("2023BPix", "2024")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/d/mock_0.root", "mock"),
        ("/d/signal_3000_400_400_0.root", "signal_3000_400_400"),
        ("/d/QCD-part12.root", "QCD"),
        ("/d/nano.v9.root", "nano_v9"),
        ("root://x.org//store/mc/Run3Summer22/TTto4Q_13p6TeV/NANOAODSIM/v1/2/AB.root", "TTto4Q_13p6TeV"),
    ],
)
def test_the_dataset_of_a_file(path, name):
    assert datasets_of([path]) == {path: name}


@pytest.mark.parametrize(
    ("names", "datasets"),
    [
        (["wkk_3000_170", "wkk_3000_400"], ["wkk_3000_170", "wkk_3000_400"]),
        (["QCD_HT_500", "QCD_HT_700"], ["QCD_HT_500", "QCD_HT_700"]),
        (["QCD_HT_500_1", "QCD_HT_500_2", "QCD_HT_700_1"], ["QCD_HT_500", "QCD_HT_500", "QCD_HT_700"]),
        (["tt_10", "tt_0", "tt_2"], ["tt_10", "tt_0", "tt_2"]),
        (["tt_01", "tt_00", "tt_02"], ["tt", "tt", "tt"]),
        (["tt_part7", "tt_part9"], ["tt", "tt"]),
    ],
)
def test_numbers_count_files_only_where_none_is_missing(names, datasets):
    paths = [f"/d/{name}.root" for name in names]
    assert datasets_of(paths) == dict(zip(paths, datasets, strict=True))


@pytest.mark.parametrize(
    ("name", "mass", "process"),
    [
        ("graviton_2017_3000", 3000.0, "graviton_2017"),
        ("zprime_2500_2018", 2500.0, "zprime_2018"),
        ("wkk_3000_1500", 3000.0, "wkk_1500"),
        ("signal_2016", None, "signal_2016"),
        ("xyy_M2017", 2017.0, "xyy"),
        ("radion_2050", 2050.0, "radion"),
    ],
)
def test_a_year_is_no_mass(name, mass, process):
    draft = draft_search([look("/d/data.root", runs=(297050,)), look(f"/d/{name}.root", mc=True)])
    sample = next(one for one in draft.samples if one.name == name)
    assert (sample.mass, sample.process) == (mass, process)


def test_different_processes_are_different_samples():
    draft = draft_search(
        [
            look("/d/data.root", runs=(297050,)),
            *(
                look(f"/d/{name}.root", mc=True)
                for name in ("wkk_3000_170", "wkk_3000_400", "QCD_1", "QCD_2")
            ),
        ]
    )
    assert [one.name for one in draft.samples] == ["data_2017", "wkk_3000_170", "wkk_3000_400", "QCD"]


def test_names_are_plain():
    assert plain_name("a-b..c__d") == "a_b_c_d"
    assert plain_name("--") == "sample"


def test_files_become_samples():
    draft = draft_search(
        [
            look("/d/run_0.root", runs=(297050,), entries=10),
            look("/d/run_1.root", runs=(297051,), entries=20),
            look("/d/other.root", runs=(320000,), entries=5),
            look("/d/xyy_M3000_0.root", mc=True),
            look("/d/xyy_M4000_0.root", mc=True),
            look("/d/zprime_2000.root", mc=True),
            look("/d/grav.root", mc=True, resonance=3012.0),
            look("/d/wprime_9000.root", mc=True),
            look("/d/xyy_M5000.root", mc=True, sums=False),
            look("/d/QCD_HT1000to1500.root", mc=True),
        ]
    )
    assert draft.data.name == "data_2017"
    assert draft.data.entries == 30
    assert [(one.name, one.mass, one.process) for one in draft.signals] == [
        ("xyy_M3000", 3000.0, "xyy"),
        ("xyy_M4000", 4000.0, "xyy"),
    ]
    assert draft.signals[0].year.how == "as the data"
    assert draft.left_out["data_2018"] == "a search has one data sample"
    assert "generated weights" in draft.left_out["xyy_M5000"]
    assert "no mass window" in draft.left_out["wprime_9000"]
    assert draft.left_out["grav"] == draft.left_out["zprime_2000"] == "another signal is searched for"
    assert next(one for one in draft.samples if one.name == "grav").mass == 3000.0
    assert "search.background" in draft.left_out["QCD_HT1000to1500"]


def test_without_data_the_largest_background_is_mock_data():
    draft = draft_search(
        [
            look("/d/a.root", mc=True, entries=10),
            look("/d/b.root", mc=True, entries=20),
            look("/d/signal_3000.root", mc=True, entries=1000),
        ]
    )
    assert (draft.data.name, draft.data.mock, draft.data.part) == ("b", True, "data")
    assert [one.name for one in draft.signals] == ["signal_3000"]


def test_a_dataset_of_two_years_is_two_samples():
    two = [
        look(f"/store/mc/RunIISummer20UL{year}/QCD/NANOAODSIM/v1/0.root", mc=True, entries=year)
        for year in (17, 18)
    ]
    assert [one.name for one in draft_search(two).samples] == ["QCD_2017", "QCD_2018"]


def test_files_without_entries_are_refused():
    with pytest.raises(ConfigError, match=r"hold no entry .*a\.root.*give files with events"):
        draft_search([look("/d/a.root", entries=0)])


def test_what_a_file_lacks_is_left_out_or_computed(tmp_path, make_nano_file):
    path = make_nano_file(tmp_path / "a.root", 40, drop=("FatJet_lsf3", "FatJet_tau3", "FatJet_subJetIdx1"))
    possible = what_is_possible([look_at_file(str(path))])
    assert possible.without == ("tau3", "lsf3", "deepb")
    assert (possible.computed, possible.particles, possible.objects) == ((), False, False)
    particles = what_is_possible([look_at_file(str(MINI / "qcd_particles_0.root"))])
    assert particles.particles
    assert particles.objects
    assert particles.jets.source == "stored"


def test_a_file_without_entries_gives_what_its_branches_give():
    ids = {"run", "luminosityBlock", "event"}
    with pytest.raises(InputError, match=r"a\.root' has no branch FatJet_pt"):
        what_is_possible([look(branches=ids, entries=0)])
    stored = look_at_file(str(MINI / "qcd_particles_0.root"))
    names = {name for name in stored.branches if not name.startswith("PFCand")}
    possible = what_is_possible([look(branches=names, entries=0, mc=True)])
    assert (possible.particles, possible.objects) == (False, True)
    filled = look("/d/b.root", branches=stored.branches)
    assert what_is_possible([look(branches=names, entries=0), filled]).particles


def test_without_stored_jets_they_are_clustered():
    stored = look_at_file(str(MINI / "qcd_particles_0.root"))
    names = {name for name in stored.branches if not name.startswith("FatJet")}
    possible = what_is_possible([look(branches=names, mc=True)])
    assert possible.jets.source == "particles"
    assert "tau1" in possible.computed


def test_a_file_without_jets_and_particles_is_refused():
    ids = {"run", "luminosityBlock", "event"}
    with pytest.raises(InputError, match=r"NANOGEN.*give NanoAOD or PFNano files"):
        what_is_possible([look(branches={*ids, "GenPart_pt", "GenJetAK8_pt"}, mc=True)])
    with pytest.raises(InputError, match=r"a\.root' has no branch FatJet_pt"):
        what_is_possible([look(branches=ids)])
    jets = {"FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_jetId"}
    with pytest.raises(InputError, match="no branch FatJet_msoftdrop and no particles"):
        what_is_possible([look(branches=ids | jets)])


def falling(events, start=2200.0, seed=3):
    rng = np.random.default_rng(seed)
    return start + rng.exponential(450.0, events)


def test_the_fit_starts_where_the_spectrum_falls():
    assert fit_start(falling(50_000, start=1200.0)) == 1460.0
    start = fit_start(falling(50_000))
    assert 2200 < start < 2300
    assert (start - 1200) % 4 == 0


def test_masses_are_those_with_events_in_all_three_intervals():
    mjj = falling(50_000)
    found = suggest(mjj, 1.0)
    assert found.trainable
    assert set(found.masses) <= set(TESTED)
    for mass in found.masses:
        window = window_of(mass)
        assert sum(window.low_band) / 2 >= found.fit_start
        for low, high in (window.low_band, window.signal_region, window.high_band):
            assert np.count_nonzero((mjj >= low) & (mjj < high)) >= LEAST_IN_BAND
    assert max(suggest(mjj, 10.0).masses) > max(found.masses)


def test_a_threshold_needs_events_in_the_side_bands_of_every_fold():
    mjj = np.concatenate([np.full(400, 2100.0), np.full(300, 2600.0), np.full(400, 3200.0)])  # window A3: 1 %
    assert can_train(mjj, 2700.0, 1.0)
    assert not can_train(mjj[200:-200], 2700.0, 1.0)
    assert can_train(mjj[200:-200], 2700.0, 2.0)
    assert not can_train(mjj[mjj > 2200], 2700.0, 10.0)


def test_masses_lie_between_the_simulated_signals():
    found = suggest(falling(50_000), 1.0, (3000.0, 3500.0))
    assert found.masses[0] >= 3000
    assert found.masses[-1] <= 3500
    assert suggest(falling(50_000), 1.0, (3000.0,)).masses[-1] > 3500


def test_few_events_give_masses_without_training():
    few = suggest(falling(200), 1.0)
    assert not few.trainable
    assert len(few.masses) > 1
    assert few.fit_start < few.masses[0]
    assert few.masses[-1] <= falling(200).max()
    tiny = suggest(falling(9), 1.0)
    assert tiny.expected < LEAST_FOR_FIT
    assert (len(tiny.masses), tiny.trainable) == (1, False)
    assert tiny.fit_start < tiny.masses[0]
    assert len(suggest(falling(9), 100.0).masses) > 1  # nine of every hundredth event
    none = suggest(np.zeros(0), 1.0)
    assert (none.expected, none.fit_start, none.masses) == (0.0, None, (3000.0,))
