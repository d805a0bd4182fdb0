"""The list of commands in ``oddjet --help``: in the order in which a search needs them, no line cut off."""

from typing import Any

from typer.core import TyperGroup

ORDER = (
    "init", "doctor", "plan", "run",
    "skim", "train", "hist", "scan", "limit", "report",
    "inspect", "export", "bias", "toys",
    "submit", "status", "resubmit", "merge",
    "substructure", "simulate", "models", "demo", "schema",
)  # fmt: skip
"""All commands, as a newcomer meets them."""
_WHOLE = 1000
"""Characters of the longest line of help."""


class Commands(TyperGroup):
    """The commands of ``oddjet``."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, those of `ORDER` first."""
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list; a long line goes on below."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, command) for name, command in commands if command and not command.hidden]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in shown]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
