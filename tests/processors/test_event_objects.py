import os
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from data.errors import ConfigError, InputError
from processors.config import RmmConfig
from processors.event_objects import event_objects
from processors.rapidity_mass_matrix import rapidity_mass_matrix

FIELDS = {
    "jets": ("pt", "eta", "phi", "mass", "b_score"),
    "muons": ("pt", "eta", "phi", "mass", "isolation"),
    "electrons": ("pt", "eta", "phi", "mass", "isolation"),
    "photons": ("pt", "eta", "phi", "isolation"),
}
OFF = RmmConfig(delta_r_min=0.0, isolation_max=None)


def chosen(config=None, met=(50.0, 0.0), **objects):
    """Objects chosen in one event of tuples in the order of FIELDS; the momenta (pt, eta, phi) of each type."""
    records = {}
    for kind, fields in FIELDS.items():
        columns = np.array(objects.get(kind, []), dtype=np.float64).reshape(-1, len(fields)).T
        records[kind] = ak.zip(
            {f: ak.unflatten(column, [len(column)]) for f, column in zip(fields, columns, strict=True)}
        )
    met = ak.Array([{"pt": met[0], "phi": met[1]}])
    found = event_objects(**records, met=met, config=config or RmmConfig())
    assert all(ak.fields(found[kind]) == ["pt", "eta", "phi", "mass"] for kind in found if kind != "met")
    return {k: [tuple(o.values()) for o in v[0].to_list()] for k, v in found.items() if k != "met"} | {
        "met": found["met"].to_list()[0]
    }


def test_cuts_and_the_split_into_jets_and_b_jets():
    jets = [
        (90, 0, 0, 9, 0.1),
        (80, 2.39, 1, 8, 0.5),
        (30, 0, 2, 7, 0),
        (31, -2.41, 3, 6, 0),
        (70, 1, -1, 5, 0.3),
    ]
    found = chosen(jets=jets)
    assert found["jets"] == [(90, 0, 0, 9), (70, 1, -1, 5)]
    assert found["bjets"] == [(80, 2.39, 1, 8)]
    found = chosen(RmmConfig(b_score_min=0.2, jet_pt_min=75.0), jets=jets)
    assert (found["jets"], found["bjets"]) == ([(90, 0, 0, 9)], [(80, 2.39, 1, 8)])


def test_leptons_and_photons_are_central_and_isolated():
    leptons = [(40, 0, 0, 0.1, 0.05), (40, 2.5, 1, 0.1, 0), (29, 0, 2, 0.1, 0), (50, 0, 3, 0.1, 0.2)]
    photons = [(45, 1, -1, 0.0), (60, 1, -2, 0.11)]
    found = chosen(muons=leptons, photons=photons)
    assert found["muons"] == [(40, 0, 0, 0.1)]
    assert found["photons"] == [(45, 1, -1, 0.0)]  # photons without a stored mass are massless
    assert chosen(OFF, electrons=leptons)["electrons"] == [(40, 0, 0, 0.1), (50, 0, 3, 0.1)]
    found = chosen(
        RmmConfig(lepton_pt_min=45.0, photon_pt_min=50.0, isolation_max=0.3), muons=leptons, photons=photons
    )
    assert found["muons"] == [(50, 0, 3, 0.1)]
    assert found["photons"] == [(60, 1, -2, 0.0)]


def test_an_isolated_lepton_is_not_a_jet_too():
    # the second jet lies across the seam in azimuth from the electron: Δφ = 2π − 6.2 = 0.083
    jets = [(90, 0, 0, 9, 0), (80, 0.3, 3.1, 8, 0.9), (70, 0, 2.0, 5, 0)]
    electrons = [(60, 0.1, -3.1, 0, 0.0)]
    found = chosen(jets=jets, electrons=electrons)
    assert found["jets"] == [(90, 0, 0, 9), (70, 0, 2.0, 5)]
    assert found["bjets"] == []
    assert found["electrons"] == [(60, 0.1, -3.1, 0)]
    found = chosen(RmmConfig(overlap="keep_jets"), jets=jets, electrons=electrons)
    assert len(found["jets"]) == 2
    assert found["bjets"] == [(80, 0.3, 3.1, 8)]
    assert found["electrons"] == []
    found = chosen(RmmConfig(delta_r_min=0.2), jets=jets, electrons=electrons)  # ΔR = 0.216
    assert (len(found["jets"]), len(found["bjets"]), len(found["electrons"])) == (2, 1, 1)


def test_a_photon_beside_a_lepton_is_the_lepton():
    muons, photons = [(60, 0, 0, 0.1, 0)], [(50, 0.3, 0, 0), (50, 0, 0.5, 0)]
    jets = [(40, 0.6, 0.0, 5, 0)]  # close to the photon that is dropped, and to nothing that is kept
    found = chosen(jets=jets, muons=muons, photons=photons)
    assert found["photons"] == [(50, 0, 0.5, 0)]
    assert found["jets"] == [(40, 0.6, 0.0, 5)]


def test_small_missing_momentum_counts_as_none():
    assert chosen(met=(29.9, 1.0))["met"] == {"pt": 0.0, "phi": 1.0}
    assert chosen(met=(30.0, 1.0))["met"] == {"pt": 30.0, "phi": 1.0}
    assert chosen(RmmConfig(met_min=0.0), met=(1.0, 1.0))["met"] == {"pt": 1.0, "phi": 1.0}


def test_a_value_that_would_slip_through_a_cut_is_refused():
    good = (40, 0, 0, 0.1, 0.05)
    with pytest.raises(InputError, match="pt number 1 of the muons in event 0 is nan"):
        chosen(muons=[good, (np.nan, 0, 0, 0, 0)])
    with pytest.raises(InputError, match="isolation number 0 of the electrons in event 0 is inf"):
        chosen(electrons=[(40, 0, 0, 0, np.inf)])
    with pytest.raises(InputError, match="b_score number 0 of the jets in event 0 is nan"):
        chosen(jets=[(40, 0, 0, 0, np.nan)])
    with pytest.raises(InputError, match="pt number 0 of the missing momenta in event 0 is -1"):
        chosen(met=(-1.0, 0.0))


def test_a_missing_field_is_named():
    record = ak.Array([[{"pt": 1.0, "eta": 0.0, "phi": 0.0}]])
    met = ak.Array([{"pt": 1.0, "phi": 0.0}])
    with pytest.raises(InputError, match="jets have no field 'mass', only pt, eta, phi: read its branch"):
        event_objects(record, record, record, record, met, OFF)
    jets = ak.Array([[{"pt": 1.0, "eta": 0.0, "phi": 0.0, "mass": 1.0, "b_score": 0.0}]])
    with pytest.raises(InputError, match="muons have no field 'isolation'"):
        event_objects(jets, record, record, record, met, RmmConfig())


def test_options_are_checked():
    with pytest.raises(ConfigError, match=r"unknown key 'jet_pt'; did you mean 'jet_pt_min'\?"):
        RmmConfig.parse({"jet_pt": 30}, "rmm.yaml")
    with pytest.raises(ConfigError, match="key 'overlap'"):
        RmmConfig.parse({"overlap": "both"}, "rmm.yaml")


@pytest.mark.skipif("ODDJET_DATA" not in os.environ, reason="ODDJET_DATA is not set")
def test_real_top_quark_pairs_have_their_objects():
    # 200 simulated tt̄ → 4q events of NanoAOD v15 (no lepton of a W in GenPart): two b jets at most times, no
    # isolated leptons or photons, though 150 are above 30 GeV inside jets
    path = Path(os.environ["ODDJET_DATA"]) / "cms" / "nano_tt_v15.root"
    branches = {
        "jets": ("Jet", {"b_score": "btagDeepFlavB", "mass": "mass"}),
        "muons": ("Muon", {"isolation": "pfRelIso03_all", "mass": "mass"}),
        "electrons": ("Electron", {"isolation": "pfRelIso03_all", "mass": "mass"}),
        "photons": ("Photon", {"isolation": "pfRelIso03_all_quadratic"}),
    }
    with uproot.open(path) as file:
        tree = file["Events"]
        records = {}
        for kind, (collection, extra) in branches.items():
            names = {name: name for name in ("pt", "eta", "phi")} | extra
            records[kind] = ak.zip({n: tree[f"{collection}_{b}"].array() for n, b in names.items()})
        met = ak.zip({"pt": tree["PuppiMET_pt"].array(), "phi": tree["PuppiMET_phi"].array()})
        objects = event_objects(**records, met=met, config=RmmConfig())
    mean = {kind: ak.mean(ak.num(objects[kind])) for kind in FIELDS | {"bjets": ()}}
    assert 0.8 < mean["bjets"] < 2.0
    assert 2.0 < mean["jets"] < 5.0
    assert all(ak.sum(records[kind].pt > 30) >= 10 for kind in ("muons", "electrons", "photons"))
    assert all(mean[kind] < 0.05 for kind in ("muons", "electrons", "photons"))
    matrix = rapidity_mass_matrix(objects, sqrt_s=13600.0, form="reduced")
    assert matrix.shape == (200, 1287)
    assert np.isfinite(matrix).all()
    assert matrix.max() < 2  # 0.15 brings the rapidities to the size of the rest
    assert matrix.min() >= 0
