"""What the shell offers where a value is typed, asked as bash does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import models
from analysis import completion
from data.simulation.ready import ready_recipes

ODDJET = Path(sys.executable).with_name("oddjet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration that was scanned, and other files."""
    monkeypatch.chdir(tmp_path)
    for name in ("search.yaml", "notes.txt", ".hidden.yaml", "spectrum.json", "events.root"):
        (tmp_path / name).write_text("")
    (tmp_path / "only" / "below").mkdir(parents=True)
    (tmp_path / "only" / "below" / "deep.yml").write_text("")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fits.json").write_text('{"inclusive": 1, "cathode_A3": 2}')
    (tmp_path / "search.yaml").write_text("run: {output: out}")
    return tmp_path


def offered(*words):
    """What bash would show behind some words, of which the last one is being typed."""
    asked = {"COMP_WORDS": " ".join(("oddjet", *words)), "COMP_CWORD": str(len(words))}
    told = subprocess.run(
        [ODDJET],
        env=os.environ | asked | {"_ODDJET_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    return told.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("plan", "sea"), ["search.yaml"]),
        (("models", "describe", "cathode"), ["cathode", "cathode_b"]),
        (("bias", "search.yaml", "--selection", "cat"), ["cathode_A3"]),
        (("run", "search.yaml", "--region", "v"), ["validation"]),
        (("schema", "s"), ["samples", "search"]),
        (("simulate", "lh"), ["lhco"]),
        (("init", "ev"), ["events.root"]),
    ],
    ids=lambda words: words[0],
)
def test_bash_is_offered(folder, words, expected):
    assert sorted(offered(*words)) == expected


def test_nothing_slow_is_imported_for_it():
    code = "import sys, analysis.completion as c; c.methods(''); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "models", "torch"} & set(told.stdout.split())


def test_files_are_those_of_the_kind_and_folders_on_the_way(folder):
    assert completion.configurations("") == ["only/", "out/", "search.yaml"]
    assert completion.configurations("s") == ["search.yaml"]
    assert completion.configurations(".") == [".hidden.yaml"]
    # a folder alone would be followed by a blank: what it holds is offered
    assert completion.configurations("on") == ["only/below/deep.yml"]
    assert completion.configurations(f"{folder}/s") == [f"{folder}/search.yaml"]
    assert completion.configurations("nowhere/x") == []
    assert completion.configurations("~nosuchuser/x") == []
    # without such a file in it the folder itself is
    assert completion.files(".json")("on") == ["only/below/"]
    assert completion.files(".json")("s") == ["spectrum.json"]


def test_a_link_that_cannot_be_followed_hides_no_other(folder):
    (folder / "closed").symlink_to("x" * 300)  # too long a name: refused as a closed folder is, to root also
    with pytest.raises(OSError, match="too long"):
        (folder / "closed").stat()
    assert completion.configurations("") == ["only/", "out/", "search.yaml"]


def test_names_of_methods_and_recipes_are_those_that_there_are():
    assert completion.methods("") == sorted(models.available())
    assert completion.recipes("") == list(ready_recipes())
    assert completion.presets("q") == ["quick"]


@pytest.mark.parametrize(
    "config", [None, Path("nowhere.yaml"), Path("notes.txt"), Path("only/below/deep.yml")]
)
def test_selections_of_what_was_never_scanned_are_none(folder, config):
    context = type("Context", (), {"params": {"config": config}, "args": []})()
    assert completion.selections(context, "") == []
