"""``oddjet run CONFIG --region validation``: the whole search in the side band, the signal region never opened."""

import hashlib
import json
import sys

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from analysis import cli
from analysis.config import load_config
from analysis.pipeline import histogram, scan, skim, train
from analysis.run import Run
from data.errors import ConfigError
from data.files import read_json
from processors.skim import read_features

SIDE_BAND_SHARE = 0.7
N_DATA, N_SIGNAL = 6000, 1200


def two_jets(mjj_of, hidden_seed=0):
    """Pairs of massive jets back to back: unbalanced ones in the side band, balanced ones in the signal region.

    ``hidden_seed`` changes the events of the signal region and nothing else.
    """

    def change(columns):
        rng, n = np.random.default_rng(7), len(columns["event"])
        mjj, side = mjj_of(rng, n), rng.random(n) < SIDE_BAND_SHARE
        distance = np.where(side, rng.uniform(2.05, 2.45, n), rng.uniform(0.0, 1.2, n))
        ratio = np.where(side, 1.4, 1.0)  # 0.4 / 2.4 > 0.1: not a balanced pair
        flat = {
            "m": rng.exponential(60, 2 * n), "tau": rng.uniform(0.1, 0.5, (4, 2 * n)),
            "lsf3": 0.01 * rng.random(2 * n), "nConstituents": rng.integers(20, 120, 2 * n),
        }  # fmt: skip
        score = rng.random(4 * n)
        hidden = np.random.default_rng(hidden_seed)
        if hidden_seed:
            mjj = np.where(side, mjj, 1900 + hidden.exponential(900, n))
            distance = np.where(side, distance, hidden.uniform(0.0, 1.29, n))
            for name, other in (("m", hidden.exponential(200, 2 * n)), ("lsf3", hidden.random(2 * n))):
                flat[name] = np.where(np.repeat(side, 2), flat[name], other)
            score = np.where(np.repeat(side, 4), score, hidden.random(4 * n))
        pt = mjj / np.sqrt(2 * ratio * (np.cosh(distance) + 1))
        jets = {
            "pt": np.stack([ratio * pt, pt], axis=1).ravel(),
            "eta": np.stack([distance / 2, -distance / 2], axis=1).ravel(),
            "phi": np.tile([0.0, np.pi], n),
            "msoftdrop": flat["m"], "mass": flat["m"] + 20, "lsf3": flat["lsf3"],
            "jetId": np.full(2 * n, 6), "nConstituents": flat["nConstituents"],
            "subJetIdx1": np.tile([0, 2], n), "subJetIdx2": np.tile([1, 3], n),
            **{f"tau{k + 1}": flat["tau"][k] for k in range(4)},
        }  # fmt: skip
        counts = np.full(n, 2)
        columns["FatJet"] = ak.zip({name: ak.unflatten(values, counts) for name, values in jets.items()})
        columns["SubJet"] = ak.zip({"btagDeepB": ak.unflatten(score, 2 * counts)})

    return change


def falling(rng, n):
    return 1900 + rng.exponential(450.0, n)


def peak(rng, n):
    return rng.normal(3000.0, 120.0, n)


def prepare(folder, make_nano_file, hidden_seed=0):
    folder.mkdir(exist_ok=True)
    make_nano_file(folder / "data.root", N_DATA, 1, change=two_jets(falling, hidden_seed))
    make_nano_file(folder / "signal.root", N_SIGNAL, 2, simulation=True, change=two_jets(peak))
    samples = {
        "mock": {
            "kind": "data", "process": "data", "year": "2017", "luminosity_ifb": 2.0, "files": {"data.root": N_DATA},
        },
        "signal": {
            "kind": "simulation", "process": "xyy", "year": "2017", "cross_section_pb": 0.01, "mass": 3000,
            "files": {"signal.root": N_SIGNAL},
        },
    }  # fmt: skip
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": samples}, sort_keys=False))
    config = {
        "run": {"output": str(folder / "out"), "seed": 3},
        "samples": "samples.yaml",
        "search": {"data": "mock", "signals": ["signal"]},
        "methods": {"cwola": {"trees": {"bags": 1, "iterations": 5, "patience": 5}}},
        # 1800 and 2200 GeV lie below the first mass of the side band.
        "scan": {"masses": [1800, 2200, 3000], "fit_start": 1800},
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    return folder / "search.yaml"


@pytest.fixture(scope="module")
def search(tmp_path_factory, make_nano_file):
    return prepare(tmp_path_factory.mktemp("side_band"), make_nano_file)


@pytest.fixture(scope="module")
def finished(search):
    """The run folder of the command line's own run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["oddjet", "run", str(search), "--region", "validation"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert stopped.value.code in {None, 0}
    return search.parent / "out_validation"


def test_the_output_has_a_folder_of_its_own(finished):
    assert not (finished.parent / "out").exists()
    assert (finished / "report" / "index.html").is_file()


def test_scan_says_region_and_masses(finished):
    result = read_json(finished / "scan.json")
    assert result["region"] == "validation"
    assert result["masses"] == [3000.0]
    assert set(result["selections"]) == {"inclusive", "cwola"}
    for rows in result["selections"].values():
        assert [row["mass"] for row in rows] == [3000.0]
        assert rows[0]["valid"]
    fits = read_json(finished / "fits.json")
    assert set(fits) == {"inclusive", "cwola_B3"}
    inclusive = result["selections"]["inclusive"][0]
    assert 0 < inclusive["efficiency"] < SIDE_BAND_SHARE  # the trigger takes a tenth


def test_every_fit_starts_above_2000_gev(search):
    config, _ = load_config(search, region="validation")
    assert config.scan.fit_start == 2000.0
    assert config.scan.masses == (3000.0,)
    assert (config.selection.region, config.selection.blind) == ("validation", True)
    higher, _ = load_config(
        search, ("scan.fit_start=2100", "scan.masses={start: 2000, stop: 2500, step: 250}"), "validation"
    )
    assert higher.scan.fit_start == 2100.0
    assert higher.scan.masses == (2250.0, 2500.0)
    assert not {"A1", "B1"} & {window.name for window in higher.windows()}
    plain, _ = load_config(search)
    assert (plain.scan.fit_start, plain.scan.masses) == (1800.0, (1800.0, 2200.0, 3000.0))
    assert (plain.selection.region, plain.selection.blind) == ("signal", False)


def test_the_signal_region_of_the_command_line(search):
    """It wins over the region of the file, but does not unblind."""
    side_band = ("selection.region=validation",)
    assert load_config(search, side_band)[0].selection.region == "validation"
    assert load_config(search, side_band, "signal")[0].selection.region == "signal"
    with pytest.raises(ConfigError, match="blind is true, but the region searched is signal"):
        load_config(search, (*side_band, "selection.blind=true"), "signal")


def test_an_output_of_the_command_line_is_kept(search, tmp_path):
    config, _ = load_config(search, (f"run.output={tmp_path / 'mine'}",), "validation")
    assert config.run.output == tmp_path / "mine"


def test_masses_below_the_side_band_alone_are_an_error(search):
    with pytest.raises(ConfigError, match=r"scan\.masses: none is 2250 GeV or more.*add masses"):
        load_config(search, ("scan.masses=[1800, 2000]",), "validation")


def test_only_events_of_the_side_band_are_kept(finished):
    table = read_features(finished / "features" / "mock")
    assert 3000 < len(table["mjj"]) < N_DATA * SIDE_BAND_SHARE
    assert (table["region"] == 1).all()
    assert table["delta_eta"].min() > 2.0
    assert table["delta_eta"].max() < 2.5
    steps = {step["step"]: step for step in read_json(finished / "cutflow.json")["mock"]}
    assert steps["blind"]["events"] < SIDE_BAND_SHARE * 1.05 * steps["two_jets"]["events"]


def hashes(folder, patterns):
    files = sorted(path for pattern in patterns for path in folder.glob(pattern))
    assert files
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_events_of_the_signal_region_change_no_bit(finished, tmp_path, make_nano_file):
    """A second data file with other events in the signal region: the same features, bundles, spectra and scan."""
    config, samples = load_config(prepare(tmp_path, make_nano_file, hidden_seed=5), region="validation")
    changed, kept = (
        ak.to_numpy(ak.flatten(uproot.open({path: None})["Events"]["FatJet_msoftdrop"].array()))
        for path in (tmp_path / "data.root", finished.parent / "data.root")
    )
    assert (changed != kept).mean() == pytest.approx(1 - SIDE_BAND_SHARE, abs=0.03)
    run = Run(config, samples)
    for stage in (skim, train, histogram, scan):
        stage(run)
    patterns = (
        "features/**/*.parquet", "models/**/*.*", "histograms.h5", "histograms/*.h5", "cutflow.json",
        "scan.json", "fits.json", "workspaces/*.json",
    )  # fmt: skip
    assert hashes(run.root, patterns) == hashes(finished, patterns)


def test_a_new_golden_json_redoes_both_passes(search, tmp_path, make_nano_file):
    """It is an input of both passes over the data sample, and of nothing that the simulation does."""
    make_nano_file(tmp_path / "data.root", 3000, 1, change=two_jets(falling))
    make_nano_file(tmp_path / "signal.root", 300, 2, simulation=True, change=two_jets(peak))
    (tmp_path / "search.yaml").write_text(search.read_text())
    samples = yaml.safe_load((search.parent / "samples.yaml").read_text())
    samples["samples"]["mock"]["golden_json"] = "golden.json"
    samples["samples"]["mock"]["luminosity_table"] = "lumi.csv"
    samples["samples"]["mock"]["files"] = {"data.root": 3000}
    samples["samples"]["signal"]["files"] = {"signal.root": 300}
    (tmp_path / "samples.yaml").write_text(yaml.safe_dump(samples, sort_keys=False))
    rows = "".join(f"{run}:1,{ls}:{ls},25.0\n" for run in (297050, 297051, 297052) for ls in range(1, 32))
    (tmp_path / "lumi.csv").write_text(f"#run:fill,ls,recorded(/pb)\n{rows}")

    def stages(last):
        (tmp_path / "golden.json").write_text(json.dumps({"297050": [[1, 30]], "297051": [[1, last]]}))
        settings = (f"run.output={tmp_path / 'run'}", "methods={}")
        run = Run(*load_config(tmp_path / "search.yaml", settings))
        before = {path.stem: path.stat().st_mtime_ns for path in run.root.glob("manifests/*")}
        for stage in (skim, histogram):
            stage(run)
        after = {path.stem: path.stat().st_mtime_ns for path in run.root.glob("manifests/*")}
        luminosity = read_json(run.root / "account.json")["luminosity"]
        return {name for name in after if after[name] != before.get(name)}, luminosity

    done, luminosity = stages(30)
    assert done == {"skim.mock", "skim.signal", "hist.mock", "hist.signal", "merge"}
    assert list(luminosity) == ["mock"]
    assert luminosity["mock"]["sections_processed"] == 60
    assert luminosity["mock"]["luminosity_ifb"] == pytest.approx(60 * 0.025)
    assert stages(30)[0] == set()
    done, luminosity = stages(20)
    assert done == {"skim.mock", "hist.mock", "merge"}
    assert luminosity["mock"]["luminosity_ifb"] == pytest.approx(50 * 0.025)
