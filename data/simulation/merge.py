"""From the blocks of a sample to its ROOT files and its entry in the sample definition."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.simulation.blocks import Block
from data.simulation.columns import Collection, Events, concatenate, load_block, reduce_precision
from data.simulation.config import FB_PER_PB, SampleRecipe, SimulationConfig, Skim
from data.simulation.processes import Signal
from data.simulation.rootfile import RunSummary, write_root

_EVENTS_PER_LUMI_BLOCK = 1000
_COMPACT_BITS = 7


@dataclass(frozen=True)
class Pool:
    """Events of all blocks of one process and role, in the order of their slices and numbers.

    Attributes
    ----------
    events
        The events.
    generated
        Events generated, before the skim.
    cross_section_pb
        Cross section, pb.
    """

    events: Events
    generated: int
    cross_section_pb: float


def read_pool(blocks: Sequence[Block], config: SimulationConfig, work: Path) -> Pool:
    """Join blocks of one sample, process and role.

    The cross section is the sum over slices of the mean over the slice's blocks, weighted by phase-space points
    tried, which is what one long run would have given.
    """
    parts: list[Events] = []
    generated = 0
    sums: dict[int, tuple[float, float]] = {}
    for block in blocks:
        events, meta = load_block(block.file(config, work))
        number = events.columns["generated_number"] + generated
        parts.append(events.with_columns(generated_number=number))
        generated += int(meta["generated"])
        weighted, tried = sums.get(block.slice_index, (0.0, 0.0))
        sums[block.slice_index] = (weighted + meta["cross_section_pb"] * meta["tried"], tried + meta["tried"])
    return Pool(concatenate(parts), generated, sum(weighted / tried for weighted, tried in sums.values()))


def _as_data(events: Events) -> Events:
    """Without what data know nothing of; the label stays, for evaluation."""
    hidden = {"genWeight", "Generator_lepton"}
    return Events({k: v for k, v in events.columns.items() if k not in hidden}, events.collections)


def _final_columns(events: Events, recipe: SampleRecipe) -> Events:
    """Branches as NanoAOD has them."""
    columns = dict(events.columns)
    del columns["generated_number"]
    collections = dict(events.collections)
    if recipe.compact_subjets:
        collections["SubJet"] = _compact(collections["SubJet"])
    total = len(events)
    position = np.arange(total)
    return Events(
        {
            "run": np.full(total, recipe.run, dtype=np.uint32),
            "luminosityBlock": (1 + position // _EVENTS_PER_LUMI_BLOCK).astype(np.uint32),
            "event": (1 + position).astype(np.uint64),
            **columns,
        },
        collections,
    )


def _compact(subjets: Collection) -> Collection:
    momenta = {
        name: reduce_precision(subjets.fields[name], _COMPACT_BITS) for name in ("pt", "eta", "phi", "mass")
    }
    return Collection(subjets.counts, {**subjets.fields, **momenta})


def merge_sample(
    name: str, blocks: Sequence[Block], config: SimulationConfig, work: Path, out: Path
) -> dict[str, Any]:
    """Write the ROOT files of one sample.

    Background slices and planted signal are mixed by a seeded permutation, so every part of every file is the same
    mixture.

    Parameters
    ----------
    name
        The sample.
    blocks
        All blocks of the sample, already made.
    config
        The recipe.
    work, out
        Folder of the blocks; folder of the ROOT files.

    Returns
    -------
    dict
        The sample's entry in the sample definition.
    """
    recipe = config.samples[name]
    made: dict[tuple[str, str], list[Block]] = {}
    for block in blocks:
        made.setdefault((block.role, block.process), []).append(block)
    pools = {key: read_pool(found, config, work) for key, found in made.items()}
    main = [pool for (role, _), pool in pools.items() if role == "main"]
    parts = [pool.events for pool in main]
    planted = recipe.planted()
    if planted is not None:
        signal = pools["plant", planted.process].events
        parts.append(signal.take(np.flatnonzero(signal.columns["generated_number"] < planted.generated)))
    if recipe.kind == "data":
        parts = [_as_data(part) for part in parts]
    events = concatenate(parts)
    total = sum(pool.generated for pool in main)
    rng = np.random.Generator(np.random.PCG64(blocks[0].seed(config.seed_of(name), "order")))
    events = _final_columns(events.take(rng.permutation(len(events))), recipe)
    bounds = [len(events) * i // recipe.files for i in range(recipe.files + 1)]
    shares = [total * i // recipe.files for i in range(recipe.files + 1)]
    files: dict[str, int] = {}
    for i in range(recipe.files):
        file = f"{name}_{i}.root"
        generated = shares[i + 1] - shares[i] if recipe.kind == "simulation" else None
        write_root(
            out / file, events.take(np.arange(bounds[i], bounds[i + 1])), RunSummary(recipe.run, generated)
        )
        files[file] = bounds[i + 1] - bounds[i]
    return _definition(recipe, main[0], config, files)


def _definition(
    recipe: SampleRecipe, pool: Pool, config: SimulationConfig, files: dict[str, int]
) -> dict[str, Any]:
    """The sample's entry; ``pool`` holds its only process where it is no mixture."""
    process = config.process(recipe.main_processes()[0])
    entry: dict[str, Any] = {
        "kind": recipe.kind,
        "process": "data" if recipe.kind == "data" else process.label(),
        "year": config.year,
        "description": " ".join([recipe.description, _skim_text(config.skim)]).strip(),
    }
    if recipe.luminosity_ifb is not None:
        entry["luminosity_ifb"] = recipe.luminosity_ifb
    elif recipe.kind == "data":
        luminosity = pool.generated / (pool.cross_section_pb * FB_PER_PB)
        entry["luminosity_ifb"] = float(f"{luminosity:.6g}")
    elif isinstance(process, Signal):
        entry["cross_section_pb"] = recipe.cross_section_pb
        entry["mass"] = process.mass
    else:
        entry["cross_section_pb"] = float(f"{pool.cross_section_pb:.6g}")
    entry["files"] = files
    return entry


def _skim_text(skim: Skim) -> str:
    leading = ""
    if skim.leading_pt_min > 0:
        leading = (
            f", the leading one above {skim.leading_pt_min:g} GeV and within |η| < {skim.leading_eta_max:g}"
        )
    return (
        f"Skimmed: two leading jets above {skim.pt_min:g} GeV, mjj > {skim.mjj_min:g} GeV, "
        f"|Δη| < {skim.delta_eta_max:g}{leading}; Runs counts all generated events."
    )
