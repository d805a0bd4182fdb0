"""How the entries of a sample are cut into chunks: fewer at once where particles are read."""

from collections.abc import Iterator

from processors.config import ProcessingConfig
from processors.preflight import FileFacts, SamplePlan

_WIDE = frozenset({"particle_pt", "small_jet_pt"})  # roles of collections that take much memory


def is_wide(file: FileFacts) -> bool:
    """Whether collections are read of a file that take much memory and time."""
    return file.schema is not None and not _WIDE.isdisjoint(file.schema.roles)


def chunk_ranges(plan: SamplePlan, processing: ProcessingConfig) -> Iterator[tuple[FileFacts, int, int]]:
    """The chunks of a sample, in the order of its files.

    Parameters
    ----------
    plan
        The sample and what its files hold.
    processing
        Sizes of chunks.

    Yields
    ------
    file, start, stop
        A file, the first entry of a chunk and the one after its last.
    """
    for file in plan.files:
        size = processing.particle_chunk_size if is_wide(file) else processing.chunk_size
        for start in range(0, file.entries, size):
            yield file, start, min(start + size, file.entries)
