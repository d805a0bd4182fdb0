"""The luminosity of the certified sections that were processed, against what the sample definition says."""

import logging

from data.luminosity import (
    GoldenJson,
    ProcessedLuminosity,
    merge_sections,
    processed_luminosity,
    read_luminosity_table,
)
from data.types import IntArray
from processors.preflight import SamplePlan

MOST_DIFFERENT = 0.01
_LOG = logging.getLogger("oddjet")


def certified_luminosity(
    plan: SamplePlan, golden: GoldenJson | None, found: list[IntArray]
) -> ProcessedLuminosity | None:
    """The certified luminosity of a sample; says so where it is not what its definition makes one expect.

    Parameters
    ----------
    plan
        The sample, with the sections that its files list.
    golden
        The certified sections; None where there is no list.
    found
        Keys of the sections that the events were of, one array a chunk.

    Returns
    -------
    ProcessedLuminosity
        What was processed; None without a list.
    """
    if golden is None:
        return None
    listed = [file.sections for file in plan.files if file.sections is not None]
    sections = merge_sections([*listed, *found])
    table = plan.sample.luminosity_table
    processed = processed_luminosity(
        sections, golden, None if table is None else read_luminosity_table(table)
    )
    if not processed.sections_processed:
        _LOG.warning(
            "sample %s: %s certifies none of its luminosity sections, every event was dropped; is it of another year?",
            plan.sample.name,
            plan.sample.golden_json,
        )
    elif processed.luminosity_ifb is None and processed.sections_processed < processed.sections_certified:
        _LOG.warning(
            "sample %s: %d of %d certified luminosity sections were processed; their luminosity needs a "
            "luminosity_table, and %.4g fb⁻¹ is taken for all",
            plan.sample.name,
            processed.sections_processed,
            processed.sections_certified,
            plan.sample.luminosity(),
        )
    given = plan.sample.luminosity()
    if processed.luminosity_ifb is not None and abs(processed.luminosity_ifb / given - 1) > MOST_DIFFERENT:
        _LOG.warning(
            "sample %s: %.4g fb⁻¹ were processed, but its luminosity is given as %.4g fb⁻¹; limits and "
            "simulation use the latter: set luminosity_ifb, or process all files",
            plan.sample.name,
            processed.luminosity_ifb,
            given,
        )
    return processed
