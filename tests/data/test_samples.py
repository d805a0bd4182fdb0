import os
from pathlib import Path

import pytest
import uproot
import yaml

from data.errors import ConfigError
from data.samples import read_samples, year, years


def write(tmp_path, **samples):
    for name in ("a.root", "b.root"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "samples.yaml"
    path.write_text(yaml.safe_dump({"samples": samples}))
    return path


DATA = {"kind": "data", "process": "data", "year": "2017", "files": {"a.root": 10}}


def test_files_become_absolute_and_luminosity_falls_back_to_the_year(tmp_path):
    path = write(
        tmp_path, mock=DATA, small={**DATA, "files": {"root://host//b.root": None}, "luminosity_ifb": 2.5}
    )
    samples = read_samples(path)
    assert samples["mock"].files == {str(tmp_path / "a.root"): 10}
    assert samples["mock"].luminosity() == year("2017").luminosity_ifb == 41.5
    assert samples["small"].files == {"root://host//b.root": None}
    assert samples["small"].luminosity() == 2.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"year": "1999"}, "year '1999' is unknown; known years: 2016, 2017, 2018"),
        ({"files": {}}, "sample 'mock' lists no files"),
        ({"files": {"none.root": 1}}, "sample 'mock': file 'none.root' does not exist"),
        ({"kind": "simulation"}, "sample 'mock' is simulation without 'cross_section_pb'"),
        ({"cross_section": 1.0}, "unknown key 'samples.mock.cross_section'; did you mean 'cross_section_pb'"),
        ({"kind": "date"}, "key 'samples.mock.kind'"),
        ({"process": "a b"}, "key 'samples.mock.process'"),
        ({"luminosity_ifb": -1}, "greater than 0"),
        ({"year": 2017}, r'put it in quotes: "2017"'),
        (
            {"generated": {"count": 5, "sumw": 5.0, "sumw2": 5.0}},
            "sample 'mock' is data with 'generated', which only simulation has; remove the key",
        ),
    ],
)
def test_a_wrong_definition_is_named(tmp_path, change, message):
    path = write(tmp_path, mock={**DATA, **change})
    with pytest.raises(ConfigError, match=message):
        read_samples(path)


def test_a_file_belongs_to_one_sample(tmp_path):
    path = write(tmp_path, one=DATA, two=DATA)
    with pytest.raises(
        ConfigError, match=r"a\.root' stands in samples 'one' and 'two', an event counts once; take it out"
    ):
        read_samples(path)


def test_years_hold_the_published_luminosity():
    # CMS EXO-22-026 (arXiv:2412.03747): 138 fb⁻¹ in 2016–2018.
    assert sum(years()[name].luminosity_ifb for name in ("2016", "2017", "2018")) == pytest.approx(
        138, abs=0.5
    )
    # CMS at 13.6 TeV: 34.7 fb⁻¹ of 2022 (arXiv:2504.17755), 62 fb⁻¹ of 2022 and 2023 (arXiv:2604.02127)
    eras = {name: year(name).luminosity_ifb for name in ("2022", "2022EE", "2023", "2023BPix")}
    assert eras["2022"] + eras["2022EE"] == pytest.approx(34.7, abs=0.06)
    assert sum(eras.values()) == pytest.approx(62, abs=0.5)


def test_the_parts_of_2016_make_the_whole():
    whole, early, late = (year(name) for name in ("2016", "2016BG", "2016H"))
    assert early.luminosity_ifb + late.luminosity_ifb == pytest.approx(whole.luminosity_ifb, abs=0.05)
    assert set(early.triggers) | set(late.triggers) == set(whole.triggers)
    # EXO-22-026: PFHT800 was replaced by PFHT900, and AK8PFJet450 joined, in run H
    assert early.triggers == ("HLT_PFHT800", "HLT_PFJet450")
    assert late.triggers == ("HLT_PFHT900", "HLT_PFJet450", "HLT_AK8PFJet450")
    assert early.filters == late.filters == whole.filters


def test_each_era_has_its_own_facts():
    run3 = ("2022", "2022EE", "2023", "2023BPix", "2024")
    assert {year(name).sqrt_s for name in run3} == {13600}
    assert {known.sqrt_s for name, known in years().items() if name not in run3} == {13000}
    assert [name for name, known in years().items() if known.hem_veto] == ["2018"]
    assert {name for name, known in years().items() if known.prefiring} == {"2016", "2016BG", "2016H", "2017"}
    for name in run3:  # the noise of the HCAL's photodiodes went with them
        assert "Flag_HBHENoiseFilter" not in year(name).filters
        assert {"Flag_hfNoisyHitsFilter", "Flag_BadPFMuonDzFilter"} <= set(year(name).filters)
        assert year(name).b_score == "btagDeepFlavB"


@pytest.mark.skipif("ODDJET_DATA" not in os.environ, reason="ODDJET_DATA is not set")
def test_a_real_run_3_file_has_the_branches():
    with uproot.open(Path(os.environ["ODDJET_DATA"]) / "cms" / "nano_tt_v15.root") as file:
        branches = set(file["Events"].keys())
    known = year("2024")
    assert {*known.triggers, *known.filters, f"SubJet_{known.b_score}"} <= branches


def test_simulation_cannot_be_mock_data_of_itself(tmp_path):
    simulated = {**DATA, "kind": "simulation", "cross_section_pb": 1.0, "mock": True}
    with pytest.raises(
        ConfigError, match=r"sample 'a' is simulation with 'mock', .* set kind: data to search it"
    ):
        read_samples(write(tmp_path, a=simulated))
    assert read_samples(write(tmp_path, a={**DATA, "mock": True}))["a"].mock
