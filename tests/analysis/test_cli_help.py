"""``oddjet --help`` as a newcomer reads it."""

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
