"""Files with particles: those of CMS, and the shipped simulation as arrays that a test may change."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from processors.chunks import Chunk
from processors.config import JetsConfig
from processors.jets import Jets
from processors.resolve import resolve_jets

MINI = Path(__file__).parents[2] / "data" / "mini" / "qcd_particles_0.root"
Events = dict[str, ak.Array]


@pytest.fixture(scope="session")
def cms_file() -> Callable[[str], Path]:
    """The path of a real CMS file."""

    def find(name: str) -> Path:
        folder = os.environ.get("ODDJET_DATA")
        if folder is None:
            pytest.skip("ODDJET_DATA is not set: no CMS files to compare with")
        return Path(folder) / "cms" / name

    return find


@pytest.fixture(scope="session")
def read_events() -> Callable[..., Events]:
    """All branches of jets, particles and leptons of a file's first entries."""

    def read(path: Path = MINI, stop: int | None = 50) -> Events:
        prefixes = ("FatJet", "SubJet_", "PFCand", "Muon_", "Electron_")
        with uproot.open({path: None}) as file:
            tree = file["Events"]
            names = [
                name
                for name in tree.keys(recursive=False)
                if name.startswith(prefixes) or name in {"run", "luminosityBlock", "event"}
            ]
            return {name: tree[name].array(entry_stop=stop) for name in names}

    return read


@pytest.fixture(scope="session")
def chunk_of() -> Callable[..., Chunk]:
    """A chunk of events given as arrays."""

    def make(events: Mapping[str, Any], config: JetsConfig | None = None) -> Chunk:
        schema = resolve_jets(events.keys(), "a.root", config or JetsConfig())
        return Chunk(None, "a.root", 1000, len(events["event"]), schema, events)

    return make


@pytest.fixture(scope="session")
def jets_of(chunk_of: Callable[..., Chunk]) -> Callable[..., Jets]:
    """The jets of events given as arrays; all entries are of interest."""

    def make(events: Mapping[str, Any], **options: Any) -> Jets:
        config = JetsConfig(**options)
        chunk = chunk_of(events, config)
        return Jets(chunk, config, np.ones(chunk.size, dtype=np.bool_))

    return make
