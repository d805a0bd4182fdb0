"""The shipped sample keeps what the recipe promises."""

from pathlib import Path

import numpy as np
import pytest
import uproot

import data
from data.samples import read_samples, year
from data.sections import read_yaml
from data.simulation.config import SimulationConfig
from data.simulation.jets import dijet_mass

MINI = Path(data.__file__).parent / "mini"


@pytest.fixture(scope="module")
def samples():
    return read_samples(MINI / "samples.yaml")


@pytest.fixture(scope="module")
def recipe():
    return SimulationConfig.parse(read_yaml(MINI / "recipe.yaml"), "recipe.yaml")


def leading_pairs(sample):
    names = ["FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_msoftdrop", "Generator_label"]
    parts = []
    for path in sample.files:
        with uproot.open(path) as file:
            found = file["Events"].arrays(names)
        jets = [found[name][:, :2].to_numpy().astype(np.float64) for name in names[:4]]
        parts.append(
            (dijet_mass(*jets), np.abs(jets[1][:, 0] - jets[1][:, 1]), found["Generator_label"].to_numpy())
        )
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def test_the_sample_is_small():
    assert sum(path.stat().st_size for path in MINI.iterdir()) < 25e6


def test_the_recipe_made_the_sample_definition(samples, recipe):
    assert list(samples) == list(recipe.samples)
    for name, made in recipe.samples.items():
        assert samples[name].kind == made.kind
        assert len(samples[name].files) == made.files


def test_every_file_holds_what_the_definition_says(samples, recipe):
    needed = {"run", "luminosityBlock", "event", "FatJet_msoftdrop", "FatJet_tau4", "SubJet_btagDeepB"}
    needed |= {*year(recipe.year).triggers, *year(recipe.year).filters}
    for name, sample in samples.items():
        wanted = needed | (
            {"PFCands_pt", "Jet_pt", "PuppiMET_pt"} if recipe.samples[name].particles else set()
        )
        generated = 0
        for path, entries in sample.files.items():
            with uproot.open(path) as file:
                assert file["Events"].classname == "TTree"
                assert file["Events"].num_entries == entries
                assert wanted <= set(file["Events"].keys())
                if sample.kind == "simulation":
                    generated += int(file["Runs"]["genEventCount"].array(library="np").sum())
        assert generated in {0, recipe.samples[name].generate}
    assert sum(sum(samples[name].files.values()) for name in samples if recipe.samples[name].particles) > 3000


@pytest.mark.parametrize("name", ["mock", "pseudo_1"])
def test_mock_data_are_large_and_whole_above_the_skim(samples, recipe, name):
    mjj, delta_eta, label = leading_pairs(samples[name])
    # Stored precision is what the skim saw: nothing lies below it.
    assert mjj.min() > recipe.skim.mjj_min
    assert delta_eta.max() < recipe.skim.delta_eta_max
    assert ((mjj > 2230) & (delta_eta < 1.3)).sum() > 80_000
    planted = recipe.samples[name].plant
    assert (label.sum() == 0) if planted is None else (0.5 < label.sum() / planted.generated < 0.8)


def test_the_two_mock_data_sets_share_no_event(samples):
    first, second = (leading_pairs(samples[name])[0] for name in ("mock", "pseudo_1"))
    assert len(np.intersect1d(first, second)) < 5  # by chance, at reduced precision


def test_jets_of_the_three_prong_sample_have_three_prongs(samples):
    def jets(name):
        (path,) = samples[name].files
        with uproot.open(path) as file:
            found = file["Events"].arrays(["FatJet_msoftdrop", "FatJet_tau2", "FatJet_tau3"])
        return [found[field][:, :2].to_numpy().ravel() for field in found.fields]

    def tau32(name):
        mass, tau2, tau3 = jets(name)
        heavy = mass > 100
        return np.median(tau3[heavy] / tau2[heavy])

    mass = jets("three_prong_particles")[0]
    assert np.mean((mass > 150) & (mass < 190)) > 0.15  # t → b q q̄
    assert np.mean((mass > 350) & (mass < 420)) > 0.15  # B′ → b Z
    # Three prongs, two prongs, one prong.
    assert tau32("three_prong_particles") < 0.6 < tau32("signal_particles") < tau32("qcd_particles") + 0.05
