"""``oddjet doctor``: checks of the environment, and of the files and options of a configuration."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli_common import (
    JsonOption,
    OutOption,
    RegionOption,
    SetOption,
    WorkersOption,
    prepare,
    quietly,
)
from analysis.completion import configurations
from data.errors import OddjetError

if TYPE_CHECKING:
    from analysis.doctor import Check
    from analysis.run import Run


OptionalConfig = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG.yaml]",
        help="A configuration; without one only the environment is checked.",
        autocompletion=configurations,
    ),
]


def doctor_command(
    config: OptionalConfig = None,
    out: OutOption = None,
    workers: WorkersOption = None,
    settings: SetOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check Python, packages, files, credentials, disk and memory; say what to mend. Exit code 1 if something fails."""
    found: list[Check] = []
    with quietly():
        for check in _checks(config, out, workers, settings, region):
            found.append(check)
            if not as_json:
                typer.echo(check.line())
    failed, warned = (sum(check.state == state for check in found) for state in ("fail", "warn"))
    if as_json:
        content = {"ok": not failed, "checks": [asdict(check) for check in found]}
        typer.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        typer.echo(f"{len(found)} checks, {failed} failed, {warned} warnings")
    if failed:
        raise typer.Exit(1)


def _checks(
    config: Path | None,
    out: Path | None,
    workers: int | None,
    settings: list[str] | None,
    region: RegionOption,
) -> "Iterator[Check]":
    """The environment's checks first, which do not need the configuration to be right."""
    from analysis.doctor import Check, environment_checks

    run: Run | None = None
    problem: OddjetError | None = None
    if config is not None:
        try:
            run = prepare(config, out, workers, settings, region)
        except OddjetError as error:
            problem = error
    if run is None:
        yield from environment_checks(())
    else:
        from analysis.doctor_files import run_checks, wanted_extras

        yield from environment_checks(wanted_extras(run))
    if problem is not None:
        yield Check("configuration", "fail", str(problem))
    elif run is not None:
        yield Check(
            "configuration",
            "ok",
            f"{config}: samples: {', '.join(run.samples)}; methods: {', '.join(run.config.methods) or 'none'}",
        )
        yield from run_checks(run)
