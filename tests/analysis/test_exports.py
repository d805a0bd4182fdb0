"""Exports of workspaces: pyhf reads the patch set, cabinetry's commands run, a datacard's likelihood is rebuilt."""

import dataclasses
import json
import re
import subprocess
import sys

import iminuit
import numpy as np
import pyhf
import pytest
import uproot
import yaml
from scipy.special import xlogy

from analysis.exports.cabinetry_config import build_config, write_cabinetry
from analysis.exports.combine import build_card, write_card
from analysis.fit import fit_background
from analysis.functions import density
from analysis.limits import asymptotic_limit
from analysis.patchset import build_patchset, write_patchset
from analysis.profile_likelihood import SignalTest
from analysis.results import MassResult
from analysis.signal_shape import SignalModel
from analysis.spectrum import Spectrum
from analysis.workspace import build_workspace
from analysis.workspace_index import StoredWorkspace, WorkspaceFacts
from data.errors import FitError, InputError

# pyhf 0.7.6 resolves its schemas by a class that jsonschema 4.18 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")

EDGES = np.arange(2232.0, 5001.0, 4.0)
MASS = 3000.0


def stored_workspace(n_events, signal, seed, function, *, nuisances=False, mass=MASS, edges=EDGES, merge=1):
    """A workspace of a spectrum of ``n_events`` and an injected signal, and the test it was made of."""
    model = SignalModel.generic()
    middles = 0.5 * (edges[1:] + edges[:-1])
    shape = density(middles, 0.0, np.array([9.3, 4.8, -0.1]))
    expected = shape * n_events / shape.sum() + signal * model.template(MASS, edges).nominal
    fit = fit_background(Spectrum(edges, np.random.default_rng(seed).poisson(expected)), function)
    uncertain = {"nuisances": True, "norm_uncertainty": 0.15} if nuisances else {}
    template = model.template(mass, edges, **uncertain)
    test = SignalTest(fit.spectrum.counts.astype(float), fit.model, template, fit.minimum.theta)
    point = MassResult(mass, fit, (), test, None)
    export = build_workspace(point, luminosity_uncertainty=0.016 if nuisances else 0.0)
    facts = {"selection": "toy", "mass": mass, "window": None, "file": f"workspaces/toy_{mass:g}.json"}
    facts = WorkspaceFacts.model_validate(facts | export.facts())
    return StoredWorkspace(facts, export.workspace), test


@pytest.fixture(scope="module")
def with_nuisances():
    return stored_workspace(30_000, 300, 4, "dijet3", nuisances=True)


class CardLikelihood:
    """−2 ln L of a datacard, as Combine reads it: normalised vertical morphing, log-normal rates."""

    def __init__(self, path):
        lines = [line.split() for line in path.read_text().splitlines() if line and line[0] not in "#-"]
        keyed = {line[0]: line[1:] for line in lines}
        assert keyed["imax"][0] == "1"
        rows = [line for line in lines if line[0] == "process"]
        self.processes, numbers = rows[0][1:], [int(number) for number in rows[1][1:]]
        assert numbers == [0, 1]  # a signal is 0 or less
        with uproot.open(path.parent / keyed["shapes"][2]) as root:
            self.templates = {key.split(";")[0]: root[key].values() for key in root}
        self.systematics = [line for line in lines if len(line) > 1 and line[1] in {"lnN", "shape", "shapeU"}]
        scales = [line for line in lines if len(line) > 1 and line[1] == "rateParam"]
        self.rates = {line[0]: line[3] for line in scales}
        self.limits = {line[0]: [float(end) for end in line[5].strip("[]").split(",")] for line in scales}
        self.limits |= {line[0]: [-1.0, 1.0] for line in self.systematics if line[1] == "shapeU"}
        self.names = ["r", *(line[0] for line in self.systematics), *self.rates]
        self.counts = self.templates["data_obs"]

    def expected(self, values):
        total = np.zeros_like(self.counts)
        for column, process in enumerate(self.processes):
            nominal = self.templates[process]
            rate = nominal.sum() * (values["r"] if column == 0 else 1.0)
            shape = nominal / nominal.sum()
            change = np.zeros_like(shape)
            for name, kind, *effects in self.systematics:
                if effects[column] == "-":
                    continue
                x = values[name]
                if kind == "lnN":
                    rate *= float(effects[column]) ** x
                    continue
                up, down = (self.templates[f"{process}_{name}{side}"] for side in ("Up", "Down"))
                rate *= ((up if x > 0 else down).sum() / nominal.sum()) ** abs(x)
                up, down = up / up.sum(), down / down.sum()
                smooth = np.sign(x) if abs(x) >= 1 else x * (15 - 10 * x**2 + 3 * x**4) / 8
                change += 0.5 * x * ((up - down) + (up + down - 2 * shape) * smooth)
            for name, scaled in self.rates.items():
                rate *= values[name] if scaled == process else 1.0
            total += rate * (shape + change)
        return total

    def __call__(self, parameters):
        values = dict(zip(self.names, parameters, strict=True))
        total = np.maximum(self.expected(values), 1e-9)
        constrained = [values[name] for name, kind, *_ in self.systematics if kind != "shapeU"]
        terms = total - self.counts + xlogy(self.counts, self.counts) - xlogy(self.counts, total)
        return float(2 * terms.sum() + np.sum(np.square(constrained)))

    def minimum(self, r=None):
        start = [1.0 if name in {"r", *self.rates} else 0.0 for name in self.names]
        if r is not None:
            start[0] = r
        minuit = iminuit.Minuit(self, start, name=self.names)
        minuit.errordef = 1
        minuit.strategy = 2
        for name, ends in self.limits.items():
            minuit.limits[name] = ends
            minuit.errors[name] = 0.02
        minuit.fixed["r"] = r is not None
        minuit.migrad()
        assert minuit.fmin.edm < 1e-2
        return minuit

    @property
    def z(self):
        return np.sqrt(max(self.minimum(0.0).fval - self.minimum().fval, 0.0))


@pytest.mark.parametrize(
    ("n_events", "signal", "seed", "function"), [(500, 40, 3, "dijet2"), (100_000, 700, 5, "atlas5")]
)
def test_the_likelihood_of_the_files_has_the_direct_fits_z(tmp_path, n_events, signal, seed, function):
    stored, test = stored_workspace(n_events, signal, seed, function)
    card, _ = write_card(tmp_path, stored)
    likelihood = CardLikelihood(card)
    assert likelihood.z == pytest.approx(test.z, rel=0.01, abs=0.02)
    high = test.best.signal_yield + 2 * test.yield_error
    change = likelihood.minimum(high / stored.facts.signal_events).fval - likelihood.minimum(0.0).fval
    assert change == pytest.approx(2 * (test.at(high).value - test.null.value), abs=0.2)


def test_uncertainties_of_the_signal_are_in_the_card(tmp_path, with_nuisances):
    stored, test = with_nuisances
    card, _ = write_card(tmp_path, stored)
    likelihood = CardLikelihood(card)
    kinds = {line[0]: line[1] for line in likelihood.systematics}
    assert {name: kinds[name] for name in ("jes", "jer", "signal_norm", "luminosity")} == {
        "jes": "shape", "jer": "shape", "signal_norm": "lnN", "luminosity": "lnN",
    }  # fmt: skip
    fit = likelihood.minimum()
    assert fit.values["r"] * stored.facts.signal_events == pytest.approx(
        test.best.signal_yield, abs=0.05 * test.yield_error
    )
    assert likelihood.z == pytest.approx(test.z, rel=0.01, abs=0.02)


def test_text_of_the_datacard(with_nuisances):
    lines = build_card(with_nuisances[0], "toy_3000.root").text.splitlines()
    fields = [line.split() for line in lines]
    assert ["shapes", "*", "mjj", "toy_3000.root", "$PROCESS", "$PROCESS_$SYSTEMATIC"] in fields
    assert ["process", "signal", "background"] in fields
    assert ["process", "0", "1"] in fields
    assert ["rate", "-1", "-1"] in fields
    assert ["luminosity", "lnN", "1.016", "-"] in fields
    assert ["background_shape_1", "shapeU", "-", "1"] in fields
    assert "background_norm rateParam mjj background 1 [" in lines[-1]


def test_templates_are_positive_with_the_sums_that_combine_needs(with_nuisances):
    histograms = build_card(with_nuisances[0], "toy_3000.root").histograms
    total = histograms["background"].sum()
    varied = {key: values for key, values in histograms.items() if key.startswith("background_")}
    assert len(varied) == 6
    for values in varied.values():
        assert values.min() >= 0
        assert values.sum() == pytest.approx(total, rel=1e-9)


def test_root_file_holds_the_bins_of_the_workspace(tmp_path, with_nuisances):
    stored, _ = with_nuisances
    _, root = write_card(tmp_path, stored)
    with uproot.open(root) as file:
        assert file["signal"].classname.startswith("TH1")
        values, edges = file["data_obs"].to_numpy()
    assert values.tolist() == stored.workspace["observations"][0]["data"]
    assert edges.tolist() == list(stored.facts.edges)


def test_a_direction_without_positive_templates_is_refused(with_nuisances):
    stored, _ = with_nuisances
    broken = json.loads(json.dumps(stored.workspace))
    for sample in broken["channels"][0]["samples"]:
        if sample["name"] == "background":
            sample["data"][100] = 0.0
    with pytest.raises(FitError, match=r"toy_3000, 'background_shape_1': .* has no positive templates"):
        build_card(dataclasses.replace(stored, workspace=broken), "toy.root")


def test_a_patched_background_is_the_workspace_of_its_mass(tmp_path):
    narrow = EDGES[EDGES <= 4600]
    stored = [
        stored_workspace(3000, 60, 4, "dijet2", mass=2800.0)[0],
        stored_workspace(3000, 60, 4, "dijet2", mass=3000.0, nuisances=True)[0],
        stored_workspace(3000, 60, 4, "dijet3", mass=3200.0, edges=narrow)[0],
    ]
    paths = write_patchset(tmp_path, stored, "toys")
    background, patches = (json.loads(path.read_text()) for path in paths)
    patchset = pyhf.PatchSet(patches)  # validates against the schema
    assert patchset.labels == ["mass_gev"]
    assert [patch.name for patch in patchset] == ["mass_2800", "mass_3000", "mass_3200"]
    for entry in stored:
        patched = patchset.apply(background, (entry.facts.mass,))  # checks the digest
        assert dict(patched) == entry.workspace
        assert patched.model().config.poi_name == "mu"


def test_the_background_only_workspace_stands_alone():
    stored, test = stored_workspace(3000, 60, 4, "dijet2")
    workspace = pyhf.Workspace(build_patchset([stored], "toys").background_only)
    model = workspace.model()
    assert model.config.poi_name is None
    assert model.config.par_names == ["background_1", "background_2", "background_3"]
    expected = test.likelihood.background.expected(test.null.theta)
    assert model.expected_data([0.0] * 3).tolist() == pytest.approx(expected.tolist())


def test_a_patch_set_has_one_workspace_a_mass():
    stored, _ = stored_workspace(3000, 60, 4, "dijet2")
    with pytest.raises(InputError, match=r"patch set 'toys': .*one workspace a mass; .* 3000, 3000 \(GeV\)"):
        build_patchset([stored, stored], "toys")
    with pytest.raises(InputError, match=r"the masses are none"):
        build_patchset([], "toys")


CABINETRY = """
import logging, sys, warnings
import matplotlib
matplotlib.use("Agg")
warnings.simplefilter("ignore")
from cabinetry.cli import cabinetry
for line in sys.argv[1:]:
    cabinetry(line.split(), standalone_mode=False)
"""


def run_cabinetry(folder, *commands):
    """Run commands of cabinetry's own command line, one after the other in one process; what they log."""
    done = subprocess.run(
        [sys.executable, "-c", CABINETRY, *commands], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_cabinetry_builds_fits_and_ranks_from_the_shell(tmp_path):
    stored, test = stored_workspace(30_000, 300, 4, "dijet2", nuisances=True, edges=EDGES[::4])
    write_cabinetry(tmp_path, stored)
    log = run_cabinetry(
        tmp_path,
        "workspace config.yml workspace.json",
        "fit workspace.json --pulls",
        "ranking workspace.json",
        "significance workspace.json",
    )
    built = json.loads((tmp_path / "workspace.json").read_text())
    ours = {sample["name"]: sample for sample in stored.workspace["channels"][0]["samples"]}
    for sample in built["channels"][0]["samples"]:
        assert sample["data"] == ours[sample["name"]]["data"]
        assert not any(modifier["type"] == "staterror" for modifier in sample["modifiers"])
    assert built["observations"] == stored.workspace["observations"]
    found = re.search(r"observed significance: ([0-9.]+)", log)
    assert float(found[1]) == pytest.approx(test.z, rel=0.01, abs=0.02)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"pulls", "ranking"}


@pytest.mark.slow
def test_cabinetry_finds_the_limits_from_the_shell(tmp_path):
    stored, test = stored_workspace(5000, 50, 4, "dijet2", edges=EDGES[::4])
    write_cabinetry(tmp_path, stored)
    log = run_cabinetry(tmp_path, "workspace config.yml workspace.json", "limit workspace.json")
    limit = asymptotic_limit(test)
    for label, wanted in (("observed", limit.observed), ("expected", limit.expected[2])):
        found = re.search(rf"- {label} upper limit: ([0-9.]+)", log)
        assert float(found[1]) * stored.facts.signal_events == pytest.approx(wanted, rel=0.01)


def test_cabinetry_configuration_names_every_uncertainty(with_nuisances):
    config = build_config(with_nuisances[0].workspace)
    assert yaml.safe_load(yaml.safe_dump(config)) == config
    assert {entry["Name"]: entry["Type"] for entry in config["Systematics"]} == {
        "jes": "NormPlusShape", "jer": "NormPlusShape", "signal_norm": "Normalization", "luminosity": "Normalization",
    }  # fmt: skip
    factors = {entry["Name"]: entry["Samples"] for entry in config["NormFactors"]}
    assert factors["background_1"] == ["background_1", "background_1_mu"]
    assert factors["mu"][0] == "signal"
    assert all(entry["DisableStaterror"] for entry in config["Samples"] if "Data" not in entry)
