"""Systematic uncertainties of a run found by training again, on the shipped sample."""

from pathlib import Path

import pytest
import yaml

from analysis.config import load_config
from analysis.pipeline import skim
from analysis.retraining_run import retrain_systematics
from analysis.run import Run

MINI = Path(__file__).parents[2] / "data" / "mini" / "samples.yaml"


@pytest.mark.slow  # four trainings on 50,000 events
def test_relevant_sources_of_a_run_are_retrained(tmp_path):
    path = tmp_path / "search.yaml"
    config = {
        "run": {"output": str(tmp_path / "run"), "seed": 1},
        "samples": str(MINI),
        "search": {"data": "mock", "signals": ["signal_3000_400_400"]},
        "corrections": {
            "2017": {
                "jms": {"uncertainty": 0.02},
                "jmr": {"resolution": 0.08, "scale_factor": 1.05, "uncertainty": 0.0005},
            }
        },
        "methods": {"cwola": {"classifier": "trees", "trees": {"bags": 1, "iterations": 10, "patience": 5}}},
        "scan": {"masses": [3000], "fit_start": 2232},
    }
    path.write_text(yaml.safe_dump(config))
    run = Run(*load_config(path))
    skim(run)
    found = retrain_systematics(run, "signal_3000_400_400", "cwola", 20.0, (1, 2))
    relevant = {one.source: one.relevant for one in found.relevance}
    assert relevant == {"jms": True, "jmr": False}
    assert next(one for one in found.relevance if one.source == "jms").feature in {"m_j1", "m_j2"}
    (scale,) = found.retrained.shifts
    assert scale.retrained
    assert max(abs(scale.up), abs(scale.down)) < 0.5
    assert len(found.retrained.efficiencies) == 2
    assert min(found.retrained.efficiencies) > 0.2
    document = found.to_dict()
    assert [one["name"] for one in document["sources"]] == ["jms", "random_variations"]
    assert {one["source"]: one["relevant"] for one in document["relevance"]} == relevant
