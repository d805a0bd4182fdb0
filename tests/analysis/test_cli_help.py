"""``oddjet --help`` as a newcomer reads it."""

import os
import subprocess
import sys

from typer.testing import CliRunner

from analysis.cli import app
from analysis.cli_help import ORDER


def test_commands_are_listed_in_the_order_of_a_search_with_whole_sentences():
    shown = CliRunner().invoke(app, ["--help"], terminal_width=100, color=False).output
    commands = shown.partition("Commands:\n")[2]
    lines = commands.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert names == list(ORDER)
    assert "..." not in commands


def test_a_terminal_without_some_character_shows_the_rest():
    told = subprocess.run(
        [sys.executable, "-m", "analysis.cli", "run", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert b"--workers" in told.stdout
    assert told.stderr == b""
