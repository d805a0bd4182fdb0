"""Systematic uncertainties of a run found by training again, on the shipped sample."""

from pathlib import Path

import pytest
import yaml

from analysis.config import load_config
from analysis.pipeline import skim
from analysis.retraining_run import retrain_systematics
from analysis.run import Run
from processors.run import run_varied_skim

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
    run_varied_skim(run.samples["signal_3000_400_400"], run.config.processing, run.config.events(), run.root)
    found = retrain_systematics(run, "signal_3000_400_400", "cwola", 20.0, (1, 2), (2232.0, 6000.0))
    sources = {one.name: one for one in found.sources}
    assert set(sources) == {"jms", "jmr", "random_variations"}
    scale, resolution = sources["jms"], sources["jmr"]
    assert (scale.relevant, scale.retrained) == (True, True)
    assert (resolution.relevant, resolution.retrained) == (False, False)
    assert scale.feature in {"m_j1", "m_j2"}
    assert max(abs(scale.up), abs(scale.down)) < 0.5
    # A hundredth of the resolution of the jet mass changes hardly any event's fate.
    assert max(abs(resolution.up), abs(resolution.down)) < 0.02
    assert len(found.efficiencies) == 2
    assert min(found.efficiencies) > 0.2
    assert found.background is None
