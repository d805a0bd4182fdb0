"""A look at the files of samples before anything is read of them: what they hold, and whether they go together."""

from collections.abc import Iterable

from data.samples import Sample
from processors.event_options import EventOptions
from processors.preflight import FileFacts, SamplePlan, check_same_meaning, inspect_file, plan_sample

CORRECTIONS_HEADROOM = 4.0
"""Sums of weights stay exact while corrections raise the root mean square weight by no more."""


def look_at(sample: Sample, options: EventOptions) -> SamplePlan:
    """Inspect all files of a sample, with room for the corrections of its weights."""
    corrected = sample.kind == "simulation" and options.corrections_of(sample) is not None
    return plan_sample(sample, options.demand(sample), CORRECTIONS_HEADROOM if corrected else 1.0)


def check_same_sources(samples: Iterable[Sample], options: EventOptions) -> None:
    """Check that a feature means the same in all samples of a search, by the first file with events of each.

    Raises
    ------
    InputError
        Naming the quantity and two files that have it from different branches, or a file that cannot be read.
    """
    first: FileFacts | None = None
    for sample in samples:
        facts = (inspect_file(path, sample, options.demand(sample)) for path in sorted(sample.files))
        found = next((file for file in facts if file.schema is not None), None)
        if found is None:
            continue
        first = first or found
        check_same_meaning(first, found, f"sample '{sample.name}' beside the others of this search")
