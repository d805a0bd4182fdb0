import os
import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

from analysis.event_reading import Wanted, read_events, wanted_events
from data.errors import IncompleteError, InputError
from data.eventid import ID_COLUMNS
from data.samples import Sample, read_samples
from processors.config import JetsConfig, ProcessingConfig
from processors.event_options import EventOptions
from processors.lund import lund_declustering
from processors.run import run_skim
from processors.skim import read_features

MINI = Path(__file__).resolve().parent.parent.parent / "data" / "mini"
SAMPLES = read_samples(MINI / "samples.yaml")
LINKS = ("FatJet_subJetIdx1", "FatJet_subJetIdx2")
SUBJETS = ("SubJet_pt", "SubJet_eta", "SubJet_phi")


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """A sample with particles and its feature table."""
    folder = tmp_path_factory.mktemp("particles")
    sample = SAMPLES["signal_particles"]
    run_skim(sample, ProcessingConfig(workers=1, executor="iterative"), EventOptions(), folder)
    return sample, read_features(folder / "features" / sample.name)


def names(table, rows):
    return [f"{table['run'][row]}:{table['luminosity_block'][row]}:{table['event'][row]}" for row in rows]


def test_jets_are_those_of_the_feature_table(particles):
    sample, table = particles
    rows = (7, 400, 3)
    wanted = wanted_events(table, names(table, rows))
    found = read_events(sample, wanted, JetsConfig())
    assert list(found) == names(table, rows)
    for row, event in zip(rows, found.values(), strict=True):
        assert event.has_particles
        for role in ("j1", "j2"):
            (jet,) = [jet for jet in event.jets if jet.role == role]
            assert jet.pt == table[f"pt_{role}"][row]
            assert jet.mass == pytest.approx(table[f"m_{role}"][row], rel=1e-6)
            assert len(jet.particles) == pytest.approx(table[f"n_pf_{role}"][row], abs=3)
            momenta = np.array([particle[0] for particle in jet.particles])
            assert np.all(np.diff(momenta) <= 0)
            assert momenta.sum() == pytest.approx(jet.pt, rel=0.1)
            assert 0 < len(jet.subjets) <= 2
            assert len(jet.lund) > 3


def test_particles_subjets_and_splittings_are_those_of_the_jet(tmp_path):
    """Of clustered jets the subjets are made of the particles too, though the file stores some."""
    sample, config = SAMPLES["signal_particles"], JetsConfig(source="particles", radius=1.0)
    options = ProcessingConfig(workers=1, executor="iterative"), EventOptions(jets=config)
    run_skim(sample, *options, tmp_path)
    table = read_features(tmp_path / "features" / sample.name)
    found = read_events(sample, wanted_events(table, names(table, range(5))), config)
    kinds = {particle[3] for event in found.values() for jet in event.jets for particle in jet.particles}
    assert {22, 130, 211, -211} <= kinds
    for jet in (jet for event in found.values() for jet in event.jets if jet.role):
        pt, eta, phi = np.array([particle[:3] for particle in jet.particles]).T
        assert np.all(np.diff(pt) <= 0)
        particles = vector.array({"pt": pt, "eta": eta, "phi": phi, "mass": 0 * pt})
        total = particles.sum()
        assert (total.pt, total.eta, total.phi) == pytest.approx(
            (jet.pt, jet.eta, jet.phi), rel=1e-4, abs=1e-3
        )
        assert len(jet.subjets) == 2
        parts = vector.array(dict(zip(("pt", "eta", "phi"), np.array(jet.subjets).T, strict=True)))
        assert np.hypot(parts.px.sum(), parts.py.sum()) == pytest.approx(jet.pt, rel=1e-6)
        again = lund_declustering(
            ak.zip({"pt": pt, "eta": eta, "phi": phi, "mass": 0 * pt})[np.newaxis], R0=1.0
        )
        # The particles' masses are not shown: without them the first splitting moves a little.
        assert jet.lund[0] == pytest.approx((again[0].ln_r0_delta[0], again[0].ln_kt[0]), abs=0.06)


def test_directions_a_turn_apart_are_the_same(particles):
    sample, table = particles
    (one,) = wanted_events(table, names(table, [0]))
    turned = Wanted(one.id, (one.j1[0], one.j1[1] - 2 * np.pi), (one.j2[0], one.j2[1] + 2 * np.pi))
    assert read_events(sample, [turned], JetsConfig()) == read_events(sample, [one], JetsConfig())


def test_all_three_numbers_tell_an_event():
    ids = [(1, 5, 7), (1, 6, 7), (2, 6, 7), (1, 6, 8)]
    table = {name: np.array(column) for name, column in zip(ID_COLUMNS, zip(*ids, strict=True), strict=True)}
    table |= {f"{name}_{jet}": np.arange(4.0) for name in ("eta", "phi") for jet in ("j1", "j2")}
    found = wanted_events(table, [":".join(map(str, one)) for one in reversed(ids)])
    assert [one.id for one in found] == ids[::-1]
    assert [one.j1[0] for one in found] == [3.0, 2.0, 1.0, 0.0]


def test_entry_is_that_of_the_file(particles, monkeypatch):
    monkeypatch.setattr("analysis.event_reading.STEP", 4)
    sample, table = particles
    (event,) = read_events(sample, wanted_events(table, names(table, [11])), JetsConfig()).values()
    with uproot.open(next(iter(sample.files))) as file:
        assert (
            file["Events"]["event"].array(entry_start=event.entry, entry_stop=event.entry + 1)[0]
            == table["event"][11]
        )
    assert event.file == "signal_particles_0.root"


def test_without_particles_the_stored_subjets_are_shown():
    path = MINI / "mock_0.root"
    with uproot.open(path) as file:
        names = ["run", "luminosityBlock", "event", "FatJet_eta", "FatJet_phi", *LINKS, *SUBJETS]
        here = file["Events"].arrays(names, entry_stop=5)[4]
    one = Wanted(
        (int(here.run), int(here.luminosityBlock), int(here.event)),
        *((float(here.FatJet_eta[k]), float(here.FatJet_phi[k])) for k in (1, 0)),
    )
    (event,) = read_events(SAMPLES["mock"], [one], JetsConfig()).values()
    assert not event.has_particles
    assert event.entry == 4
    j2, j1 = event.jets[:2]
    assert (j1.role, j2.role) == ("j1", "j2")
    assert j1.particles == j1.lund == ()
    stored = list(zip(*(here[name].tolist() for name in SUBJETS), strict=True))
    linked = zip(*(here[name].tolist() for name in LINKS), strict=True)
    assert [jet.subjets for jet in event.jets] == [
        tuple(stored[k] for k in pair if k >= 0) for pair in linked
    ]


def test_an_event_that_no_file_holds_is_named():
    with pytest.raises(
        IncompleteError,
        match=r"sample 'mock': no file holds the selected events 1:2:3 .*bring the files back.*report: \{events: 0\}",
    ):
        read_events(SAMPLES["mock"], [Wanted((1, 2, 3), (0.0, 0.0), (0.1, 0.1))], JetsConfig())


def test_other_jets_than_in_the_table_are_refused(particles):
    sample, table = particles
    (one,) = wanted_events(table, names(table, [0]))
    moved = Wanted(one.id, (one.j1[0] + 0.01, one.j1[1]), one.j2)
    with pytest.raises(
        InputError,
        match=r"signal_particles_0\.root': entry \d+, event .* has no jets at η = .*oddjet skim.*events: 0",
    ):
        read_events(sample, [moved], JetsConfig())


def event_twice(make_nano_file, folder, *, copy):
    """A file where two events share an id; a copy has the same jets too. Gives the entries and what is wanted of each."""
    kept = {}

    def change(columns):
        first, second = np.flatnonzero(ak.to_numpy(ak.num(columns["FatJet"])) >= 2)[:2].tolist()
        index = np.arange(len(columns["event"]))
        if copy:
            index[second] = first
        for name in list(columns):
            columns[name] = columns[name][index]
        for name in ("run", "luminosityBlock", "event"):
            columns[name][second] = columns[name][first]
        jets, own = (
            columns["FatJet"],
            tuple(int(columns[name][first]) for name in ("run", "luminosityBlock", "event")),
        )
        places = {
            row: [(float(jets.eta[row, k]), float(jets.phi[row, k])) for k in (0, 1)]
            for row in (first, second)
        }
        kept.update({row: Wanted(own, *of_row) for row, of_row in places.items()})

    path = make_nano_file(folder / "twice.root", 30, change=change)
    mock = SAMPLES["mock"].model_dump()
    return Sample(**(mock | {"files": {str(path): None}})), kept


def test_of_events_that_share_an_id_the_one_with_the_jets_is_read(make_nano_file, tmp_path):
    sample, kept = event_twice(make_nano_file, tmp_path, copy=False)
    assert len(kept) == 2
    for entry, one in kept.items():
        (event,) = read_events(sample, [one], JetsConfig()).values()
        assert event.entry == entry
    moved = Wanted(one.id, (one.j1[0] + 0.3, one.j1[1]), one.j2)
    both = ", ".join(map(str, kept))
    with pytest.raises(InputError, match=rf"twice\.root': entry {both}, event {one.name}, has no jets at"):
        read_events(sample, [moved], JetsConfig())


def test_an_event_that_stands_twice_in_a_file_is_refused(make_nano_file, tmp_path):
    sample, kept = event_twice(make_nano_file, tmp_path, copy=True)
    (one, _), entries = kept.values(), ", ".join(map(str, kept))
    with pytest.raises(
        InputError,
        match=rf"twice\.root': the event {one.name} .* 2 times with the same jets, in entries {entries}",
    ):
        read_events(sample, [one], JetsConfig())


def test_files_of_other_sections_are_not_opened(particles, tmp_path):
    sample, table = particles
    # Files are read in the order of their paths, until all events are found: the file without them comes first.
    other, path = (str(tmp_path / name) for name in ("other.root", "signal.root"))
    Path(other).write_text("no ROOT file: opening it fails")
    shutil.copy(next(iter(sample.files)), path)
    both = Sample(**(sample.model_dump() | {"files": {other: None, path: None}}))
    wanted = wanted_events(table, names(table, [2]))
    elsewhere = np.array([[wanted[0].id[0] + 1, wanted[0].id[1]]])
    here = np.array([wanted[0].id[:2]])
    assert list(read_events(both, wanted, JetsConfig(), {other: elsewhere, path: here})) == [wanted[0].name]
    with pytest.raises(InputError, match=r"other\.root.* not a ROOT file"):
        read_events(both, wanted, JetsConfig(), {other: None, path: here})
    with pytest.raises(IncompleteError, match="no file holds"):
        read_events(both, wanted, JetsConfig(), {other: elsewhere, path: elsewhere})


def test_a_file_that_is_gone_is_named(particles, tmp_path):
    sample, table = particles
    copied = tmp_path / "gone.root"
    shutil.copy(next(iter(sample.files)), copied)
    moved = Sample(**(sample.model_dump() | {"files": {str(copied): None}}))
    wanted = wanted_events(table, names(table, [5]))
    assert len(read_events(moved, wanted, JetsConfig())) == 1
    copied.unlink()
    with pytest.raises(InputError, match=r"gone\.root.* does not exist; correct the path"):
        read_events(moved, wanted, JetsConfig())


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("pfnano_rntuple.root", "nano_tt_v15.root")]


@pytest.mark.parametrize("name", ["pfnano.root", *SLOW])
def test_events_of_real_files(name):
    folder = os.environ.get("ODDJET_DATA")
    if folder is None:
        pytest.skip("ODDJET_DATA names no folder of CMS files")
    path = Path(folder) / "cms" / name
    with uproot.open(path) as file:
        keys = ["run", "luminosityBlock", "event", "FatJet_eta", "FatJet_phi"]
        events = file["Events"].arrays(keys, entry_stop=200)
        rows = np.flatnonzero(ak.to_numpy(ak.num(events.FatJet_eta)) >= 2)[:2]
    wanted = [
        Wanted(
            (int(events.run[row]), int(events.luminosityBlock[row]), int(events.event[row])),
            *((float(events.FatJet_eta[row, k]), float(events.FatJet_phi[row, k])) for k in (0, 1)),
        )
        for row in rows
    ]
    sample = Sample(name="real", kind="data", process="data", year="2017", files={str(path): None})
    found = read_events(sample, wanted, JetsConfig())
    assert [event.entry for event in found.values()] == rows.tolist()
    for event in found.values():
        assert event.has_particles
        assert [jet.role for jet in event.jets[:2]] == ["j1", "j2"]
        assert len(event.jets[0].subjets) <= 2
        assert sum(pt for pt, *_ in event.jets[0].particles) == pytest.approx(event.jets[0].pt, rel=0.3)
