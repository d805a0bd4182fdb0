"""The command line as its users call it, within the process of the tests."""

import sys
from typing import Any

import pytest

from analysis import cli


def called(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of ``oddjet ARGUMENTS``."""
    monkeypatch.setattr(sys, "argv", ["oddjet", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


def told(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> tuple[int, str]:
    """Exit code of ``oddjet ARGUMENTS``, and all that it says as one line."""
    code, out, err = called(monkeypatch, capsys, *arguments)
    return code, " ".join((out + err).split())
