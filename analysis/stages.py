"""How a stage is run: what it made stays until its inputs, its options or the code change."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.run import Run, file_labels
from data.errors import ConfigError
from data.files import hash_json, sha256_file
from data.manifest import Manifest, code_version, hash_outputs, is_current
from data.samples import Sample
from processors.corrections.config import correction_files

_LOG = logging.getLogger("oddjet")


@dataclass(frozen=True)
class Product:
    """What the work of a stage leaves: its files, and the entries expected and read."""

    outputs: list[Path]
    expected: int
    read: int


def run_stage(
    run: Run, name: str, inputs: dict[str, str], options: object, work: Callable[[], Product]
) -> None:
    """Do the work of a stage unless its manifest says that it is done."""
    path, digest = run.manifest(name), hash_json(options)
    if is_current(path, run.root, name, digest, inputs):
        _LOG.info("%s: up to date", name)
        return
    path.unlink(missing_ok=True)
    start = time.monotonic()
    product = work()
    Manifest(
        stage=name,
        config_hash=digest,
        code_version=code_version(),
        inputs=inputs,
        entries_expected=product.expected,
        entries_read=product.read,
        outputs=hash_outputs(run.root, product.outputs),
    ).write(path)
    events = f", {product.read:,} of {product.expected:,} events" if product.expected else ""
    _LOG.info("%s: done in %.1f s%s", name, time.monotonic() - start, events)


def sample_options(sample: Sample) -> dict[str, Any]:
    """What of a sample's definition its stages depend on; where its files lie is not part of it."""
    options = sample.model_dump(exclude={"files", "description", "golden_json", "luminosity_table"})
    return options | {"files": sorted(file_labels(sample))}


def event_options(run: Run, sample: Sample) -> dict[str, Any]:
    """What of the configuration both passes over a sample depend on; correction files count by their hashes."""
    options = run.config.events()
    corrections = options.corrections_of(sample)
    return {
        "selection": options.selection.model_dump(),
        "jets": options.jets.model_dump(),
        "features": options.features.model_dump(),
        "corrections": None if corrections is None else _without_folders(corrections.model_dump()),
        "seed": options.seed if corrections is not None else None,
    }


def _without_folders(value: Any) -> Any:
    """The same values with only the last name of each path: a run may move with its files."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    return value.name if isinstance(value, Path) else value


def beside(run: Run, sample: Sample) -> dict[str, str]:
    """Hashes of the files beside a sample's events: corrections, certified sections, their luminosity."""
    files = correction_files(run.config.events().corrections_of(sample))
    named = {f"corrections/{file.name}": file for file in files}
    if len(named) != len(files):
        msg = f"sample '{sample.name}': two correction files are called alike; rename one of them"
        raise ConfigError(msg)
    named |= {
        key: file for key in ("golden_json", "luminosity_table") if (file := getattr(sample, key)) is not None
    }
    return {name: sha256_file(file) for name, file in named.items()}


def filled(run: Run) -> dict[str, str]:
    """What pass 2 made, by sample."""
    return {f"hist {name}": run.identity(f"hist {name}") for name in run.filled}
