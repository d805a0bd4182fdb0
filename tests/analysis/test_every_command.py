"""Every command of ``oddjet``: help with an example that names a command which there is."""

import click
import pytest
import typer

from analysis.cli import app


def commands(group, path=()):
    for name, command in group.commands.items():
        here = (*path, name)
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from commands(command, here)
        elif not command.hidden:
            yield " ".join(here), command


ROOT = typer.main.get_command(app)
ALL = dict(commands(ROOT))


@pytest.mark.parametrize("name", ALL)
def test_it_has_a_summary_and_an_example_of_itself(name):
    command = ALL[name]
    assert command.help
    assert (command.epilog or "").startswith(f"Example: oddjet {name}"), name


@pytest.mark.parametrize("name", ALL)
def test_its_options_say_what_they_are(name):
    silent = [
        option.name
        for option in ALL[name].params
        if hasattr(option, "help") and option.name != "help" and not option.help
    ]
    assert not silent


@pytest.mark.parametrize("name", ["plan", "doctor", "status", "run"])
def test_programs_can_read_it(name):
    assert any("--json" in option.opts for option in ALL[name].params)


def test_the_examples_take_options_that_there_are():
    for name, command in ALL.items():
        known = {one for option in command.params for one in (*option.opts, *option.secondary_opts)}
        used = {word for word in command.epilog.split() if word.startswith("--")}
        assert used <= known, name
