"""Faults of files that were written by oddjet, and of simulation, as their messages tell them."""

import shutil
from pathlib import Path

import pytest

from data import remote_files
from data.errors import ConfigError, PartialError, TransferError
from data.partials import read_partial
from data.remote_files import copy_file
from data.simulation.config import Generator
from data.simulation.generator import generate
from data.simulation.signals.xyy import Xyy


def test_a_partial_result_that_is_gone(tmp_path):
    with pytest.raises(PartialError, match=r"a\.partial: no such partial result; run again"):
        read_partial(tmp_path / "a.partial")


def test_a_copy_that_differs_is_not_left_behind(tmp_path, monkeypatch):
    source, target = tmp_path / "scan.json", tmp_path / "copy" / "scan.json"
    source.write_text("results")

    def rotten(path: Path, copy: Path) -> None:
        shutil.copyfile(path, copy)
        copy.write_text("rotten")

    class Shutil:
        copyfile = staticmethod(rotten)

    monkeypatch.setattr(remote_files, "shutil", Shutil)
    told = r"scan\.json cannot be copied to .*copy/scan\.json: the copy of scan\.json has another checksum; copy it again"
    with pytest.raises(TransferError, match=told):
        copy_file(source, str(target))
    assert not target.exists()


def test_settings_that_pythia_cannot_begin_with():
    process = Xyy(type="xyy", mass=3000, mass_y=400, mass_y_prime=400)
    options = Generator(settings=("Beams:idA = 12",))
    with pytest.raises(ConfigError, match=r"pythia8 cannot be initialised for process .*mass=3000"):
        generate(process, (0.0, -1.0), 1, 1, 13000.0, options)
