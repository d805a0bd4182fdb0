"""CONTRIBUTING.md: its recipes, copied out of the page into a copy of the packages, work, and change no other file."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
import yaml

import models

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PACKAGES = ("analysis", "condor", "data", "models", "processors")
DATA = ROOT / "data" / "mini" / "qcd_particles_0.root"
BLOCKS = dict(re.findall(r"^File `([^`]+)`:\n\n```\w+\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
MOST_REGISTRATIONS = 1
"""Lines that a recipe may add to a file that there is."""
FEATURES = ("girth", "met_over_mjj")
COLUMNS = ("girth_j1", "girth_j2", "met_over_mjj")
EXISTING = (
    "tests/test_architecture.py", "tests/test_docstrings.py", "tests/test_pages.py", "tests/analysis/test_plan.py",
    "tests/analysis/test_ready_configs.py", "tests/condor/test_submit_files.py",
    "tests/data/test_simulation_points.py", "tests/models/test_every_method.py",
    "tests/processors/test_further_features.py",
)  # fmt: skip
"""Tests that go over all methods, features, signals or sites, or name those that come with oddjet."""
CHOSEN = (
    "mahalanobis or girth or met_over_mjj or zprime_qq or mysite or compared or costs or schemas_are_up_to_date or ready_recipes "
    "or imported_is_ours or wrong_recipe or shipped_profiles or a_profile_may or wrong_configurations"
)
DRIVER = """
import json
import numpy as np
from typer.testing import CliRunner
import models
from analysis.cli import app
from processors.histogram_io import read_histograms
from processors.skim import read_features

def oddjet(*words):
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output

said = {"methods": models.available(), "described": oddjet("models", "describe", "mahalanobis")}
oddjet("simulate", "few.yaml", "--out", "signals")
for stage in ("skim", "train", "hist"):
    oddjet(stage, "search.yaml")
oddjet("substructure", DATA, "--out", "jets.parquet", "--further", "girth", "--pt-min", "300")
said["submitted"] = oddjet("submit", "search.yaml", "--set", "batch.profile=mysite", "--dry-run")

table = read_features(RUN / "features" / "qcd")
window = {"signal_region": (2700.0, 3200.0), "working_point": 0.05}
method = models.create("mahalanobis", **window, features=COLUMNS).fit(table)
method.save("bundle")
loaded = models.load("bundle").evaluate(table)
assert all(np.array_equal(one, other) for one, other in zip(method.evaluate(table), loaded))
alone = models.create("mahalanobis", **window, features=COLUMNS[:1]).fit(table).evaluate(table)
assert np.all(np.isfinite(alone[0]))
said["kept"] = float(np.mean(loaded[1] == 5))
mjj = read_histograms(RUN / "histograms.h5")["mjj"]
said["filled"] = {
    name: mjj[{"process": "data", "selection": name}].project("mjj").sum(flow=True).value
    for name in mjj.axes["selection"]
}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The packages with the page's files among them; the caches of compiled code come along."""
    folder = tmp_path_factory.mktemp("oddjet")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("mini"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "data" / "mini").symlink_to(ROOT / "data" / "mini")
    for name, text in BLOCKS.items():
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def result(copy):
    """What a search says and leaves behind that uses all that the page adds."""
    work = copy / "work"
    work.mkdir()
    recipe = yaml.safe_load(BLOCKS["data/simulation/recipes/zprime_qq.yaml"])
    recipe["generator"] = {"multiparton_interactions": False}
    recipe["samples"]["zprime_qq_3000"] |= {"generate": 50, "particles": True}
    profile = copy / "condor" / "profiles" / "mysite.yaml"
    profile.write_text(
        profile.read_text().replace("[/data]", f"[{ROOT}, {copy}]").replace("/home", "/nowhere")
    )
    samples = {
        "qcd": {
            "kind": "data", "mock": True, "process": "data", "year": "2017", "luminosity_ifb": 0.1,
            "files": {str(DATA): None},
        },
        "zprime_qq_3000": {
            "kind": "simulation", "process": "zprime_qq", "year": "2017", "cross_section_pb": 0.001, "mass": 3000.0,
            "files": {"signals/zprime_qq_3000_0.root": None},
        },
    }  # fmt: skip
    search = {
        "run": {"output": "run", "seed": 1},
        "samples": "samples.yaml",
        "search": {"data": "qcd", "signals": ["zprime_qq_3000"]},
        "features": {"further": list(FEATURES)},
        "methods": {"mahalanobis": {"features": list(COLUMNS)}},
        "scan": {"masses": [3000], "fit_start": 2232, "candidates": [2]},
    }
    for name, content in {"few": recipe, "samples": {"samples": samples}, "search": search}.items():
        (work / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    values = f"from pathlib import Path\nDATA, RUN, COLUMNS = {str(DATA)!r}, Path('run'), {COLUMNS!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", values + DRIVER],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return work, json.loads(done.stdout.splitlines()[-1])


def test_the_page_has_a_recipe_for_each_kind_and_changes_no_file_that_there_is():
    folders = {str(Path(name).parent) for name in BLOCKS}
    assert folders == {
        "models/methods", "processors/further_features", "data/simulation/signals", "data/simulation/recipes",
        "condor/profiles",
    }  # fmt: skip
    assert not [name for name in BLOCKS if (ROOT / name).exists()]
    registrations = re.findall(r"^In `([^`]+)`, add the line", PAGE, flags=re.MULTILINE)
    assert len(registrations) <= MOST_REGISTRATIONS


def test_its_code_is_as_the_house_rules_want_it(copy):
    files = [copy / name for name in BLOCKS if name.endswith(".py")]
    ruff = [sys.executable, "-m", "ruff"]
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *check, "--no-cache", *files], cwd=copy, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def test_the_tests_that_there_are_take_what_it_adds(copy):
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--basetemp", copy / "pytest",
            "-m", "not slow", "-k", CHOSEN, *EXISTING,
        ],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for ran in (
        "test_the_package_imported_is_ours[models]",
        "[mahalanobis]",
        "[models/methods/mahalanobis.py]",
    ):
        assert f"{ran} PASSED" in done.stdout


def test_paths_and_commands_of_the_page_are_there():
    linked = re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE)
    named = re.findall(r"`((?:data|models|processors|analysis|condor|tests|notebooks)/[\w/.]+)`", PAGE)
    missing = {name for name in (*linked, *named) if not (ROOT / name).exists()} - BLOCKS.keys()
    assert not missing
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([\w-]+)", PAGE, flags=re.MULTILINE)) <= targets


def test_the_method_is_listed_trained_saved_loaded_and_searched_with(result):
    work, said = result
    assert set(said["methods"]) == {*models.available(), "mahalanobis"}
    assert "Is blind to" in said["described"].replace("*", "")
    assert said["kept"] == pytest.approx(0.05, abs=0.03)
    selections = {name.partition("_")[0]: count for name, count in said["filled"].items()}
    every, searched = selections["inclusive"], selections["mahalanobis"]
    assert 0 < searched < 0.1 * every
    assert list((work / "run" / "models" / "mahalanobis").iterdir())


def girth(events, entry, jet):
    """Of one jet, particle by particle."""
    above = below = 0.0
    links = zip(events["FatJetPFCands_jetIdx"][entry], events["FatJetPFCands_pFCandsIdx"][entry], strict=True)
    for particle in [particle for owner, particle in links if owner == jet]:
        weighted = events["PFCands_pt"][entry][particle] * events["PFCands_puppiWeight"][entry][particle]
        d_phi = events["PFCands_phi"][entry][particle] - events["FatJet_phi"][entry][jet]
        d_eta = events["PFCands_eta"][entry][particle] - events["FatJet_eta"][entry][jet]
        above += weighted * abs(complex(d_eta, (d_phi + np.pi) % (2 * np.pi) - np.pi))
        below += weighted
    return above / below


def test_the_features_are_those_of_another_computation(result):
    work, _ = result
    table = pq.read_table(next((work / "run" / "features" / "qcd").glob("*.parquet")))
    assert set(COLUMNS) <= set(table.column_names)
    wanted = ("event", "FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx",
              "PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_puppiWeight", "PuppiMET_pt")  # fmt: skip
    with uproot.open({DATA: "Events"}) as tree:
        events = {name: ak.to_list(tree[name].array()) for name in wanted}
    entries = {event: entry for entry, event in enumerate(events["event"])}
    for row in table.slice(0, 40).to_pylist():
        entry = entries[row["event"]]
        assert row["met_over_mjj"] == pytest.approx(events["PuppiMET_pt"][entry] / row["mjj"], rel=1e-5)
        for side in ("j1", "j2"):
            place = np.float32(row[f"pt_{side}"]), np.float32(row[f"eta_{side}"])
            pairs = zip(events["FatJet_pt"][entry], events["FatJet_eta"][entry], strict=True)
            jet = list(pairs).index(place)
            assert row[f"girth_{side}"] == pytest.approx(girth(events, entry, jet), rel=1e-3)
    jets = pq.read_table(work / "jets.parquet")
    assert len(np.unique(jets["girth"].to_numpy())) > 100


def test_the_signal_is_simulated_and_skimmed(result):
    work, _ = result
    with uproot.open(work / "signals" / "zprime_qq_3000_0.root") as file:
        quarks = ak.to_numpy(ak.flatten(file["Events/FatJet_pt"].array()))
    table = pq.read_table(next((work / "run" / "features" / "zprime_qq_3000").glob("*.parquet")))
    assert len(quarks) > 40
    assert len(table) > 10
    assert np.median(table["mjj"].to_numpy()) == pytest.approx(3000, rel=0.15)
    assert set(COLUMNS) <= set(table.column_names)
    definition = yaml.safe_load((work / "signals" / "samples.yaml").read_text())["samples"]["zprime_qq_3000"]
    assert (definition["process"], definition["mass"]) == ("zprime_qq", 3000.0)


def test_the_site_gives_submit_files(result):
    work, said = result
    assert "dry run: nothing was submitted" in said["submitted"]
    submit = "".join(path.read_text() for path in (work / "run" / "condor").glob("*.sub"))
    assert '+AccountingGroup = "particles"' in submit
    assert 'OpSysAndVer == "AlmaLinux9"' in submit
