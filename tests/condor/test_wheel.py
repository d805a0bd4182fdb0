"""The code that jobs run is the code that submits them."""

import os
import subprocess
import sys
import zipfile

from condor import wheel
from condor.wheel import write_wheel
from data.manifest import code_version


def unpacked(folder):
    path = write_wheel(folder)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "code")
    return path


def test_the_wheel_holds_the_running_code_under_its_version_and_commit(tmp_path):
    path = unpacked(tmp_path)
    # away from the checkout, as on a worker: the code found is that of the wheel, and of the same version
    program = "import data.manifest, condor.wheel as w; print(data.manifest.__file__, data.manifest.code_version(), w.commit())"
    environment = {"PYTHONPATH": str(tmp_path / "code"), "PYTHONSAFEPATH": "1", "PATH": os.environ["PATH"]}
    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert said == [str(tmp_path / "code/data/manifest.py"), code_version(), wheel.commit()]
    head = wheel.commit().removesuffix("+changes")
    assert path.name.split("-")[2] == f"0g{head[:12]}"


def test_the_wheel_is_the_same_each_time_and_small(tmp_path):
    one, other = write_wheel(tmp_path / "one"), write_wheel(tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size < 3_000_000


def test_the_wheel_can_be_installed(tmp_path):
    path = write_wheel(tmp_path)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--target",
        tmp_path / "site",
        path,
    ]
    subprocess.run([*command, "--quiet", "--disable-pip-version-check"], check=True)
    assert (tmp_path / "site" / "condor" / "profiles" / "lxplus.yaml").is_file()
    assert (tmp_path / "site" / "bin" / "oddjet").is_file()


def test_a_commit_is_read_without_git(tmp_path, monkeypatch):
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    monkeypatch.setattr(wheel, "_root", lambda: tmp_path)
    monkeypatch.setattr(wheel.shutil, "which", lambda name: None)
    assert wheel.commit() == "unknown"
    (git / "packed-refs").write_text("# pack-refs\nabc refs/heads/other\n0123 refs/heads/main\n")
    assert wheel.commit() == "0123"
    (git / "refs/heads/main").write_text("4567\n")
    assert wheel.commit() == "4567"
    (git / "HEAD").write_text("89ab\n")
    assert wheel.commit() == "89ab"


def test_changes_that_no_commit_has_are_said(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q", tmp_path], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "-C", tmp_path, "add", "a"], check=True)
    subprocess.run([*git, "-C", tmp_path, "commit", "-qm", "a"], check=True)
    monkeypatch.setattr(wheel, "_root", lambda: tmp_path)
    clean = wheel.commit()
    (tmp_path / "a").write_text("2")
    assert len(clean) == 40
    assert wheel.commit() == f"{clean}+changes"
