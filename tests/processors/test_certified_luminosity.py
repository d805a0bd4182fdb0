"""Golden JSON and luminosity in both passes."""

import json
import logging

import numpy as np
import pytest
import uproot
import yaml

from data.errors import ConfigError, InputError
from data.samples import read_samples
from processors.config import ProcessingConfig
from processors.event_options import EventOptions
from processors.run import run_histograms, run_skim
from processors.skim import read_features

# Blocks of 100 events, runs 297050 … 297052: see make_nano_file. Block 50 has no event.
GOLDEN = {"297050": [[2, 4], [50, 50]], "297051": [[1, 3]], "297055": [[1, 10]]}
CERTIFIED = 3 + 1 + 3 + 10


@pytest.fixture
def files(tmp_path, make_nano_file):
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    return [make_nano_file(tmp_path / f"{n}.root", 500, n, first_event=1 + 450 * n) for n in (0, 1)]


def brilcalc(path, picobarns):
    """A table as ``brilcalc lumi --byls -u /pb --output-style csv`` writes it."""
    rows = [
        "#Data tag : v1 , Norm tag: none",
        "#run:fill,ls,time,beamstatus,E(GeV),delivered(/pb),recorded(/pb)",
    ]
    rows += [f"{run}:1,{ls}:{ls},0,STABLE BEAMS,6500,9.9,{value}" for (run, ls), value in picobarns.items()]
    path.write_text("\n".join(rows) + "\n")


def both_passes(sample, out):
    first = run_skim(sample, ProcessingConfig(chunk_size=200), EventOptions(), out)
    second = run_histograms(
        sample, ProcessingConfig(chunk_size=333), EventOptions(), {}, trained_on=(), out_root=out
    )
    assert first.luminosity == second.luminosity
    assert first.cutflow == second.cutflow
    return first


def seen_sections(files):
    """Certified sections with an event, by a plain loop."""
    seen = set()
    for path in files:
        ids = uproot.open({path: None})["Events"].arrays(["run", "luminosityBlock"])
        for run, block in zip(ids["run"].tolist(), ids["luminosityBlock"].tolist(), strict=True):
            if any(low <= block <= high for low, high in GOLDEN.get(str(run), [])):
                seen.add((run, block))
    return seen


def test_events_outside_are_dropped_and_counted(tmp_path, files, make_sample):
    plain = run_skim(make_sample(files[:1], name="plain"), ProcessingConfig(), EventOptions(), tmp_path)
    result = both_passes(make_sample(files[:1], golden_json=tmp_path / "golden.json"), tmp_path)
    table = read_features(tmp_path / "features" / "mock")
    whole = read_features(tmp_path / "features" / "plain")

    def good(run, block):
        return any(low <= block <= high for low, high in GOLDEN.get(str(run), []))

    kept = [good(*ids) for ids in zip(whole["run"], whole["luminosity_block"], strict=True)]
    assert 0 < sum(kept) < len(kept)
    assert table["event"].tolist() == whole["event"][np.array(kept)].tolist()
    steps = {step["step"]: step for step in result.cutflow}
    assert list(steps)[:3] == ["all", "golden_json", "trigger"]
    ids = uproot.open({files[0]: None})["Events"].arrays(["run", "luminosityBlock"])
    certified = sum(
        good(*pair) for pair in zip(ids["run"].tolist(), ids["luminosityBlock"].tolist(), strict=True)
    )
    assert steps["golden_json"]["events"] == certified
    assert steps["golden_json"]["n_minus_1_events"] == len(kept) == plain.cutflow[-1]["events"]


def test_sections_of_events(tmp_path, files, make_sample, caplog):
    """Without a tree of sections those with an event count; a block in two files and many chunks counts once."""
    found = both_passes(make_sample(files, golden_json=tmp_path / "golden.json"), tmp_path).luminosity
    seen = seen_sections(files)
    assert len(seen) == 6
    assert (found.sections_certified, found.sections_processed) == (CERTIFIED, len(seen))
    assert found.fraction == len(seen) / CERTIFIED
    assert found.luminosity_ifb is None
    assert f"{len(seen)} of {CERTIFIED} certified luminosity sections were processed" in caplog.text


@pytest.mark.parametrize("with_tree", [False, True])
def test_luminosity_of_the_sections(tmp_path, files, make_sample, make_nano_file, caplog, with_tree):
    """The tree LuminosityBlocks knows of sections without an event."""
    seen = seen_sections(files)
    recorded = {section: 100.0 + k for k, section in enumerate(sorted(seen))}
    recorded |= {(297050, 50): 1000.0, (297055, 1): 5000.0, (297050, 9): 77.0}
    brilcalc(tmp_path / "lumi.csv", recorded)
    if with_tree:
        blocks = {
            "run": np.array([297050, 297050, 297052], dtype=np.uint32),
            "luminosityBlock": np.array([50, 9, 3], dtype=np.uint32),
        }
        make_nano_file(files[0], 500, 0, trees={"LuminosityBlocks": blocks})
        seen = seen | {(297050, 50)}
    expected = sum(recorded[section] for section in seen) / 1000
    beside = {"golden_json": tmp_path / "golden.json", "luminosity_table": tmp_path / "lumi.csv"}
    for given, warned in ((expected * 1.009, False), (expected * 1.02, True), (expected * 0.98, True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="oddjet"):
            sample = make_sample(files, **beside, luminosity_ifb=given)
            found = run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path).luminosity
        assert found.luminosity_ifb == pytest.approx(expected, rel=1e-12)
        assert found.certified_ifb == pytest.approx((sum(recorded.values()) - 77.0) / 1000, rel=1e-12)
        assert found.sections_processed == len(seen)
        assert found.sections_without_luminosity == 0
        messages = [record.getMessage() for record in caplog.records]
        wanted = f"{expected:.4g} fb⁻¹ were processed, but its luminosity is given as {given:.4g} fb⁻¹"
        assert [wanted in message for message in messages] == [True] * warned


def test_tree_of_sections_without_a_branch(tmp_path, files, make_sample, make_nano_file):
    make_nano_file(files[0], 50, trees={"LuminosityBlocks": {"run": np.array([297050], dtype=np.uint32)}})
    sample = make_sample(files[:1], golden_json=tmp_path / "golden.json")
    with pytest.raises(InputError, match="tree 'LuminosityBlocks' has no branch luminosityBlock; keep it"):
        run_skim(sample, ProcessingConfig(), EventOptions(), tmp_path)


def definition(folder, **options):
    sample = {"kind": "data", "process": "data", "year": "2017", "files": {"0.root": None}, **options}
    (folder / "samples.yaml").write_text(yaml.safe_dump({"samples": {"mock": sample}}))
    return folder / "samples.yaml"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "simulation", "cross_section_pb": 1.0, "golden_json": "golden.json"},
            "sample 'mock' is simulation with 'golden_json', which only data have; remove the key",
        ),
        ({"luminosity_table": "golden.json"}, "'luminosity_table' without 'golden_json'; add the list"),
        ({"golden_json": "gone.json"}, "golden_json 'gone.json' does not exist in .*; correct the path"),
    ],
)
def test_definitions_that_cannot_be(tmp_path, files, options, message):
    with pytest.raises(ConfigError, match=message):
        read_samples(definition(tmp_path, **options))


def test_the_files_beside_a_sample_are_found_from_its_definition(tmp_path, files):
    samples = read_samples(definition(tmp_path, golden_json="golden.json"))
    assert samples["mock"].golden_json == tmp_path / "golden.json"


def test_every_event_outside(tmp_path, files, make_sample, caplog):
    """No certified event at all: an empty table and zero sections, and a word about it."""
    (tmp_path / "golden.json").write_text(json.dumps({"1": [[1, 2]]}))
    result = both_passes(make_sample(files, golden_json=tmp_path / "golden.json"), tmp_path)
    assert result.luminosity.sections_processed == 0
    assert "golden.json certifies none of its luminosity sections, every event was dropped" in caplog.text
    assert len(read_features(tmp_path / "features" / "mock")["mjj"]) == 0
