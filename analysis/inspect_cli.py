"""``oddjet inspect``: what any file of a run holds."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from analysis.cli_common import JsonOption

_MOST = 12
"""Entries of a list that are shown on a terminal."""


def inspect_command(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A ROOT file of events, a feature table, the folder of a trained method, histograms, a JSON file of "
            "a run, or a run folder.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what a file or folder holds, in short."""
    from analysis.inspect_files import inspect

    facts = inspect(path)
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{path}: {facts.pop('kind')}")
    for line in fact_lines(facts):
        typer.echo(line)


def fact_lines(facts: dict[str, Any], indent: int = 2) -> Iterator[str]:
    """Facts in words, one a line, what is below another one further to the right."""
    width = max((len(key) for key, value in facts.items() if not isinstance(value, dict)), default=0)
    for key, value in facts.items():
        name = " " * indent + key
        if isinstance(value, dict) and value:
            yield name
            yield from fact_lines(value, indent + 2)
        else:
            yield f"{name:<{width + indent}}  {_plain(value)}"


def _plain(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        more = f" … and {len(value) - _MOST} more" if len(value) > _MOST else ""
        shown = (str(one) if isinstance(one, int) else _plain(one) for one in value[:_MOST])
        return ", ".join(shown) + more
    return str(value)
