"""``oddjet simulate``: plan the blocks of a recipe, make those that are missing, merge them into samples."""

import functools
import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import yaml

from data.errors import ConfigError
from data.files import atomic_path
from data.samples import year
from data.simulation.blocks import Block, produce
from data.simulation.config import FB_PER_PB, Generator, SampleRecipe, SimulationConfig
from data.simulation.generator import survey_cross_section
from data.simulation.merge import merge_sample
from data.simulation.processes import Background, Process
from data.workers import attached, starting

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)
_SURVEY_SEED = 1


def plan(config: SimulationConfig) -> dict[str, list[Block]]:
    """All blocks of a recipe, by sample.

    Parameters
    ----------
    config
        The recipe.

    Returns
    -------
    dict
        Sample name to its blocks, in the order in which they are merged.

    Raises
    ------
    ConfigError
        If two blocks would get the same Pythia seed, or a mixture comes out empty.
    """
    blocks = {name: list(_sample_blocks(name, config)) for name in config.samples}
    for name, found in blocks.items():
        if not any(block.role == "main" for block in found):
            msg = f"sample '{name}': no event in {config.samples[name].luminosity_ifb:g} fb⁻¹; raise 'luminosity_ifb'"
            raise ConfigError(msg)
    seen: dict[int, Block] = {}
    for block in (block for found in blocks.values() for block in found):
        other = seen.setdefault(block.pythia_seed(config.seed_of(block.sample)), block)
        if other is not block:
            msg = (
                f"seed {config.seed}: block {block.number} of sample '{block.sample}' and block {other.number} of "
                f"'{other.sample}' would repeat the same events; change 'seed' by one"
            )
            raise ConfigError(msg)
    return blocks


@functools.cache
def _surveyed(process: Background, sqrt_s: float, options: Generator) -> tuple[float, ...]:
    """Cross section (pb) of each slice, after its vetoes."""
    return tuple(
        survey_cross_section(process, mhat, _SURVEY_SEED, sqrt_s, options) for mhat in process.slices()
    )


def _slice_events(process: Process, sample: SampleRecipe, config: SimulationConfig) -> list[int]:
    """Events to generate of each slice of one process of a sample."""
    sqrt_s = year(config.year).sqrt_s
    if sample.luminosity_ifb is not None and isinstance(process, Background):
        shares = list(_surveyed(process, sqrt_s, config.generator))
        return allocate(round(sum(shares) * sample.luminosity_ifb * FB_PER_PB), shares)
    total = sample.generate or 0
    if len(process.slices()) == 1 or not isinstance(process, Background):
        return [total]
    return allocate(total, list(_surveyed(process, sqrt_s, config.generator)))


def _sample_blocks(name: str, config: SimulationConfig) -> Iterator[Block]:
    sample, size = config.samples[name], config.generator.block
    options = (sample.particles, sample.generator_record)
    for process in sample.main_processes():
        for index, total in enumerate(_slice_events(config.process(process), sample, config)):
            for number, start in enumerate(range(0, total, size)):
                events = min(size, total - start)
                yield Block(name, process, "main", index, number, events, *options)
    planted = sample.planted()
    if planted is not None:
        # Whole blocks: another strength of the signal then needs no new events, or only the next block.
        for number in range(-(-planted.generated // size)):
            yield Block(name, planted.process, "plant", 0, number, size, *options)


def allocate(total: int, shares: list[float]) -> list[int]:
    """Split events among slices; the rounding goes to the largest remainders.

    Parameters
    ----------
    total
        Number of events.
    shares
        Cross section (pb) of each slice, or anything in proportion to it.

    Returns
    -------
    list of int
        Events of each slice; their sum is ``total``.
    """
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def simulate(
    config: SimulationConfig,
    out: Path,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    work: Path | None = None,
) -> None:
    """Make all samples of a recipe: ROOT files and ``samples.yaml``.

    Interrupted, it goes on where it was when called again. The files depend on the recipe alone, not on ``workers``.

    Parameters
    ----------
    config
        The recipe.
    out
        Folder of the ROOT files and of ``samples.yaml``.
    workers
        Processes that make blocks.
    progress
        Called with (blocks ready, blocks in all) at the start and after each block.
    work
        Folder of block files, kept for later calls, also with a changed recipe. By default a folder in ``out``
        that is removed at the end.

    Raises
    ------
    ConfigError
        If the recipe or ``workers`` is wrong.
    """
    if workers < 1:
        msg = f"workers must be 1 or more, found {workers}"
        raise ConfigError(msg)
    folder = work if work is not None else out / ".blocks"
    blocks = plan(config)
    _produce_all([block for found in blocks.values() for block in found], config, folder, workers, progress)
    entries = {}
    for name, found in blocks.items():
        _log.info("sample %s: merging %d blocks", name, len(found))
        entries[name] = merge_sample(name, found, config, folder, out)
    header = "# Written by `oddjet simulate`; the recipe says how.\n"
    text = yaml.safe_dump({"samples": entries}, sort_keys=False, allow_unicode=True, width=110)
    with atomic_path(out / "samples.yaml") as temporary:
        temporary.write_text(header + text, encoding="utf-8")
    if work is None:
        shutil.rmtree(folder)


def _produce_all(
    blocks: list[Block], config: SimulationConfig, work: Path, workers: int, progress: Progress | None
) -> None:
    missing = [block for block in blocks if not block.file(config, work).is_file()]
    ready = len(blocks) - len(missing)
    report = progress or (lambda _done, _total: None)
    report(ready, len(blocks))
    if workers == 1:
        for block in missing:
            produce(block, config, work)
            ready += 1
            report(ready, len(blocks))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=attached()) as pool:
        with starting():
            futures = [pool.submit(produce, block, config, work) for block in missing]
        try:
            for future in as_completed(futures):
                future.result()
                ready += 1
                report(ready, len(blocks))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
