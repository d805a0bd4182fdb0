"""How a stage is run: what it made stays until its inputs, its options or the code change."""

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.run import Run, file_labels
from data.credentials import check_target
from data.errors import ConfigError, InputError
from data.files import hash_json, sha256_file, writing
from data.manifest import Manifest, code_version, hash_outputs, is_current
from data.partials import PartialStore
from data.remote_files import copy_out
from data.samples import Sample
from data.trees import as_tree
from processors.corrections.config import correction_files
from processors.look import look_at
from processors.plan_io import read_plan, write_plan
from processors.preflight import SamplePlan

_LOG = logging.getLogger("oddjet")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class Product:
    """What the work of a stage leaves: its files, and the entries expected and read."""

    outputs: list[Path]
    expected: int
    read: int


def run_stage(
    run: Run, name: str, inputs: dict[str, str], options: object, work: Callable[[], Product]
) -> bool:
    """Do the work of a stage unless its manifest says that it is done, and copy its outputs where they should go.

    Returns
    -------
    bool
        Whether work was done.
    """
    if not run.works:
        run.note(name, inputs, options)
        return False
    path, digest = run.manifest(name), hash_json(options)
    target = run.config.run.copy_to
    if target is not None:
        check_target(target, run.samples.values())
    if stage_is_current(run, name, inputs, options):
        _LOG.info("%s: up to date", name)
        run.store(name).remove()  # left by a run that was killed just after it had finished this
        _copy_out(run, name)
        return False
    path.unlink(missing_ok=True)
    start = time.monotonic()
    with _disk_named(run):
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
    run.store(name).remove()
    seconds = time.monotonic() - start
    rate = f" ({product.read / max(seconds, 1e-9):,.0f} a second)"
    events = f", {product.read:,} of {product.expected:,} events{rate}" if product.expected else ""
    _LOG.info("%s: done in %.1f s%s", name, seconds, events)
    _copy_out(run, name)
    return True


@contextlib.contextmanager
def _disk_named(run: Run) -> Iterator[None]:
    """Name the run folder where its disk takes no more: the system's own error says only that some disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        with writing(run.root):
            raise


def survey_store(run: Run, sample: str) -> PartialStore:
    """Where the survey of a sample for its Lund-plane weights is until no pass over the sample is to come."""
    return run.store(f"survey {sample}")


def forget_survey(run: Run, sample: str) -> None:
    """Remove what the survey of a sample found: no pass over it is to come, or a run that was killed has left it."""
    if run.works:
        survey_store(run, sample).remove()


def study_stage(signal: str, method: str) -> str:
    """The stage of the trainings of a method with a signal in the data."""
    return f"limit {signal} {method}"


def varied_stage(signal: str) -> str:
    """The stage of the pass over a signal with all its variations."""
    return f"limit {signal} varied"


def varied_signals(run: Run) -> tuple[str, ...]:
    """The signals of which a pass with all variations may come."""
    limits = run.config.limits
    return tuple(limits.signals) if limits is not None and limits.systematics else ()


def stage_is_current(run: Run, name: str, inputs: dict[str, str], options: object) -> bool:
    """Whether the work of a stage is done, from these inputs and with these options."""
    return is_current(run.manifest(name), run.root, name, hash_json(options), inputs)


def _copy_out(run: Run, name: str) -> None:
    target = run.config.run.copy_to
    if target is not None:
        copied = copy_out(run.root, run.manifest(name), target, timeout=run.data.sites.timeout)
        _LOG.info("%s: %d files copied to %s", name, copied, target)


def planned(run: Run, sample: Sample, *, keep: bool = True) -> SamplePlan:
    """What a sample's files hold: all passes, and a run that is resumed, open them all only once.

    ``keep``: write it down where it is not known yet.
    """
    path = run.root / "plans" / f"{sample.name}.json"
    if not keep and not path.is_file():
        return look_at(sample, run.config.events())
    facts = [code_version(), as_tree(sample), event_options(run, sample), run.identities[sample.name]]
    identity = hash_json(facts)
    if path.is_file():
        try:
            return read_plan(path, identity)
        except InputError as error:
            _LOG.info("%s", error)
    plan = look_at(sample, run.config.events())
    if keep:
        write_plan(path, plan, identity)
    return plan


def sample_options(sample: Sample) -> dict[str, Any]:
    """What of a sample's definition its stages depend on; where its files lie is not part of it."""
    places = {"files", "replicas", "sites", "golden_json", "luminosity_table"}
    options = sample.model_dump(exclude={*places, "description"})
    return options | {"files": sorted(file_labels(sample))}


def event_options(run: Run, sample: Sample) -> dict[str, Any]:
    """What of the configuration all passes over a sample depend on; correction files count by their hashes."""
    options = run.config.events()
    corrections = options.corrections_of(sample)
    return {
        "selection": options.selection.model_dump(),
        "jets": options.jets.model_dump(),
        "features": options.features.model_dump(),
        "corrections": None if corrections is None else without_folders(corrections.model_dump()),
        "seed": options.seed if corrections is not None else None,
    }


def without_folders(value: Any) -> Any:
    """The same values with only the last name of each path: a run may move with its files."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    return value.name if isinstance(value, Path) else value


def beside(run: Run, sample: Sample) -> dict[str, str]:
    """Hashes of the files beside a sample's events: corrections, certified sections, their luminosity."""
    files = correction_files(run.config.events().corrections_of(sample))
    named: dict[str, Path] = {}
    for file in files:
        if (other := named.setdefault(f"corrections/{file.name}", file)) != file:
            msg = f"sample '{sample.name}': correction files '{other}' and '{file}' are called alike; rename one of them"
            raise ConfigError(msg)
    named |= {
        key: file for key in ("golden_json", "luminosity_table") if (file := getattr(sample, key)) is not None
    }
    return {name: sha256_file(file) for name, file in named.items()}


def filled(run: Run) -> dict[str, str]:
    """What pass 2 made, by sample."""
    return {f"hist {name}": run.identity(f"hist {name}") for name in run.filled}
