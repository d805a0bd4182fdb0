"""A cluster of HTCondor jobs where there is no HTCondor."""

import pytest

from data.errors import ConfigError
from processors.config import DaskConfig
from processors.dask_pool import connected

pytest.importorskip("dask_jobqueue")


def test_a_machine_without_condor_submit_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {"memory": "1 GB", "disk": "1 GB"}
    with pytest.raises(
        ConfigError, match=r"cluster is htcondor, but condor_submit is not on this machine; run this where"
    ):
        connected(DaskConfig(cluster="htcondor", options=options), 1)
