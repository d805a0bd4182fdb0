"""The report of a run: reading the run folder, tables, figures and the self-contained page."""

from analysis.report.page import write_report

__all__ = ["write_report"]
