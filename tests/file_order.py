"""The files of tests that take longest, which processes begin with: a long one at the end leaves the others idle."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
LONGEST = (
    "tests/test_demo.py",
    "tests/analysis/test_pipeline.py",
    "tests/notebooks/test_notebooks.py",
    "tests/notebooks/test_notebooks_of_methods.py",
    "tests/models/test_every_method.py",
    "tests/analysis/test_limit_stage.py",
    "tests/models/test_cwola.py",
    "tests/analysis/test_killed_runs.py",
    "tests/test_contributor_page.py",
    "tests/analysis/test_validation_region.py",
    "tests/analysis/test_batch_commands.py",
    "tests/analysis/test_plots.py",
    "tests/analysis/test_studies.py",
    "tests/analysis/test_fold_tasks.py",
    "tests/data/test_simulation_run.py",
    "tests/data/test_simulation_mixture.py",
    "tests/processors/test_certified_luminosity.py",
    "tests/processors/test_cutflow.py",
    "tests/processors/test_schema_map.py",
    "tests/browser/test_report_page.py",
    "tests/test_error_list.py",
)
"""Roughly by their time. The contributor's page copies the kernels' compiled code, so others that compile them come before."""


def longest_first(items: Iterable[Item], file_of: Callable[[Item], str]) -> list[Item]:
    """Tests in their order, but those of the longest files first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    return sorted(items, key=lambda item: place.get(file_of(item), len(place)))
