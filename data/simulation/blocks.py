"""A block: some events of one process and slice from one seed, through the detector, to NanoAOD columns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.eventid import splitmix64
from data.files import hash_json
from data.samples import year
from data.simulation.columns import Collection, Events, save_block
from data.simulation.config import SimulationConfig
from data.simulation.detector import respond
from data.simulation.generator import generate
from data.simulation.jets import cluster
from data.simulation.nanoaod import reconstruct
from data.simulation.particles import has_lepton, missing_momentum, particle_collections, record_collection

_MAX_PYTHIA_SEED = 900_000_000


@dataclass(frozen=True)
class Block:
    """What a block makes: ``n_events`` of slice ``slice_index`` of a process, the ``number``-th of its pool."""

    sample: str
    """Sample that the events are for; independent of every other sample."""
    process: str
    role: str
    """``main``, or ``plant`` for signal events put among those of the sample."""
    slice_index: int
    number: int
    n_events: int
    particles: bool
    generator_record: bool

    def file(self, config: SimulationConfig, work: Path) -> Path:
        """The block's file; its name holds a hash of all that decides its contents."""
        settings = {
            "seed": config.seed_of(self.sample),
            "year": config.year,
            "generator": config.generator.model_dump(),
            "jets": config.jets.model_dump(),
            "skim": config.skim.model_dump(),
            "process": config.process(self.process).model_dump(),
            "options": [self.n_events, self.particles, self.generator_record],
        }
        stem = f"{self.process}-{self.slice_index}-{self.number:05d}-{hash_json(settings)[:12]}"
        return work / self.sample / self.role / f"{stem}.npz"

    def seed(self, recipe_seed: int, purpose: str) -> int:
        """A 64-bit seed for one purpose, from the recipe's seed and the block's place."""
        state = splitmix64(np.uint64(recipe_seed))
        words = [self.sample, self.process, self.role, str(self.slice_index), str(self.number), purpose]
        for byte in "/".join(words).encode():
            state = splitmix64(state ^ np.uint64(byte))
        return int(state)

    def pythia_seed(self, recipe_seed: int) -> int:
        """Seed of Pythia's own generator, 1 … 900,000,000."""
        return self.seed(recipe_seed, "generator") % _MAX_PYTHIA_SEED + 1


def produce(block: Block, config: SimulationConfig, work: Path) -> Path:
    """Make a block and write its file, unless it is there.

    Parameters
    ----------
    block
        What to make.
    config
        The recipe.
    work
        Folder of block files.

    Returns
    -------
    Path
        The block's file.
    """
    path = block.file(config, work)
    if path.is_file():
        return path
    process, settings = config.process(block.process), year(config.year)
    mhat = process.slices()[block.slice_index]
    seed = block.pythia_seed(config.seed_of(block.sample))
    made = generate(process, mhat, block.n_events, seed, settings.sqrt_s, config.generator)
    rng = np.random.Generator(np.random.PCG64(block.seed(config.seed_of(block.sample), "detector")))
    candidates = respond(made.stable, made.n_events, rng)
    jets = cluster(candidates, config.jets.radius, config.jets.pt_min)
    score_rng = np.random.Generator(np.random.PCG64(block.seed(config.seed_of(block.sample), "b-tag")))
    found = reconstruct(jets, candidates, made.heavy, (config.jets, config.skim, settings), score_rng)
    extra: dict[str, Collection] = {}
    columns = dict(found.events.columns)
    if block.particles:
        small_rng = np.random.Generator(
            np.random.PCG64(block.seed(config.seed_of(block.sample), "small b-tag"))
        )
        extra |= particle_collections(found.jets, candidates, made.heavy, found.passed, small_rng)
        columns |= missing_momentum(candidates, found.passed)
    if block.generator_record:
        extra["GenPart"] = record_collection(made, found.passed)
    label = np.full(len(found.passed), process.number, dtype=np.int8)
    columns |= {"Generator_label": label, "generated_number": found.passed}
    if process.leptonic:
        columns["Generator_lepton"] = has_lepton(made)[found.passed]
    meta = {"generated": made.n_events, "tried": made.n_tried, "cross_section_pb": made.cross_section_pb}
    save_block(path, Events(columns, found.events.collections | extra), meta)
    return path
