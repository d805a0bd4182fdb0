"""Which places that make errors the tests reach: a whole run fails over those that none does."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pydantic
import pytest

from tests.error_list import Site
from tests.errors_elsewhere import Elsewhere

LEFT_OUT = {"": set(), "not htcondor": {"htcondor"}, "not slow and not htcondor": {"slow", "htcondor"}}
"""Marks of the tests that a whole run may leave out, by its option ``-m``."""
NO_LOSS = {"learns nothing", "needs a GPU", "there is a GPU", "no HTCondor on this machine"}
"""Why tests are skipped that reach no error which others do not; whatever else is skipped may."""


class Recorder:
    """A plugin of pytest that notes where errors are made and raised.

    Errors of ``base`` count where they are made, all others where the traceback seen by ``pytest.raises``, or by an
    error of ``base`` made of them, begins. Workers of pytest-xdist hand their notes to the controller.
    """

    def __init__(
        self,
        config: pytest.Config,
        sites: Callable[[], Iterable[Site]],
        root: Path,
        base: type,
        elsewhere: Iterable[Elsewhere],
    ) -> None:
        self.config, self.root, self.base = config, root, base
        self.sites, self.elsewhere = sites, tuple(elsewhere)
        self.reached: set[str] = set()
        self.problems: list[str] = []
        self.skipped: set[str] = set()
        self._restore: list[tuple[type, str, Any]] = []

    def pytest_sessionstart(self) -> None:
        raises = type(pytest.raises(self.base))
        made, left = self.base.__init__, raises.__exit__

        def note_made(error: BaseException, *arguments: Any) -> None:
            frame = sys._getframe(1)
            self._note(frame.f_code.co_filename, frame.f_lineno)
            self._note_raised(sys.exc_info()[1])
            made(error, *arguments)

        def note_left(
            self_: Any, kind: type | None, error: BaseException | None, traceback: TracebackType | None
        ) -> bool:
            self._note_raised(error)
            return left(self_, kind, error, traceback)

        self._replace(self.base, "__init__", note_made)
        self._replace(raises, "__exit__", note_left)

    def pytest_unconfigure(self) -> None:
        for owner, name, function in self._restore:
            setattr(owner, name, function)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.reached |= set(getattr(node, "workeroutput", {}).get("errors_reached", ()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note_skipped(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note_skipped(report)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["errors_reached"] = sorted(self.reached)
        elif self._is_whole(session) and exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            unreached, excused = self.judge()
            self.problems = [*unreached, *excused]
            if excused or (unreached and not self.skipped):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.problems:
            terminalreporter.section("errors that no test reaches")
            terminalreporter.line("\n".join(self.problems))
            if self.skipped:
                terminalreporter.line(
                    f"tests that may reach them were skipped: {'; '.join(sorted(self.skipped))}"
                )

    def judge(self) -> tuple[list[str], list[str]]:
        """One line for each error that no test reached, and for each that is excused and was reached."""
        left_out = LEFT_OUT[self.config.option.markexpr]
        unreached, excused = [], []
        for site in self.sites():
            excuse = next((one for one in self.elsewhere if one.is_of(site)), None)
            reached = any(f"{site.file}:{line}" in self.reached for line in range(site.first, site.last + 1))
            where = f"{site.file}:{site.first} {site.function} {site.error} {site.templates[0]!r}"
            if not reached and excuse is None:
                unreached.append(f"{where}: no test reaches it; add one")
            elif reached and excuse is not None and excuse.mark in {None, *left_out}:
                excused.append(f"{where}: a test reaches it; take it out of tests/errors_elsewhere.py")
        return unreached, excused

    def _is_whole(self, session: pytest.Session) -> bool:
        option = self.config.option
        partial = (
            option.keyword,
            option.deselect,
            option.ignore,
            option.collectonly,
            getattr(option, "lf", None),
            session.shouldfail,
        )
        return (
            self.config.args == self.config.getini("testpaths")
            and option.markexpr in LEFT_OUT
            and not any(partial)
            and "ODDJET_DATA" in os.environ
        )

    def _replace(self, owner: type, name: str, function: Any) -> None:
        self._restore.append((owner, name, getattr(owner, name)))
        setattr(owner, name, function)

    def _note_skipped(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Note why a test was skipped, where that leaves an error unreached that it is there for."""
        if report.skipped and isinstance(report.longrepr, tuple | list):  # not so for an expected failure
            why = str(report.longrepr[2]).removeprefix("Skipped: ")
            self.skipped |= {why} - NO_LOSS

    def _note(self, file: str, line: int) -> None:
        path = Path(file)
        if path.is_relative_to(self.root):
            self.reached.add(f"{path.relative_to(self.root).as_posix()}:{line}")

    def _note_raised(self, error: BaseException | None) -> None:
        """Note the innermost of our frames of an error and of those that it comes from."""
        seen: set[int] = set()
        waiting = [error]
        while waiting:
            error = waiting.pop()
            if error is None or id(error) in seen:
                continue
            seen.add(id(error))
            waiting += [error.__cause__, error.__context__]
            if isinstance(error, pydantic.ValidationError):
                waiting += [one["ctx"]["error"] for one in error.errors() if "error" in one.get("ctx", {})]
            places = []
            traceback = error.__traceback__
            while traceback is not None:
                places.append((traceback.tb_frame.f_code.co_filename, traceback.tb_lineno))
                traceback = traceback.tb_next
            ours = [place for place in places if Path(place[0]).is_relative_to(self.root)]
            if ours:
                self._note(*ours[-1])
