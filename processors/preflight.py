"""Look at every file before the loop starts: whole, complete, and with all branches."""

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data.credentials import check_samples
from data.errors import IncompleteError, InputError, ReadError
from data.luminosity import unique_sections
from data.samples import Access, Sample, year
from data.types import IntArray
from data.xrootd import UnservedError
from processors.branch_search import Demand
from processors.remote import ReplicaTrouble, of_each, trouble_of
from processors.resolve import FileSchema, resolve
from processors.root_files import named, open_root, reading, remedy
from processors.weights import DATA_SCALE, GeneratedSums, WeightScale, total_sums, weight_scale

_LOG = logging.getLogger("oddjet")
_MOST_WRONG = 5
"""Wrong replicas that are named."""


@dataclass(frozen=True)
class FileFacts:
    """What the headers of one file say.

    Attributes
    ----------
    path, entries, uuid
        The file and the entries of its tree.
    schema
        Branches to read; None where it has no entry.
    sums
        Generated sums of simulation.
    sections
        Keys of the luminosity sections in the tree ``LuminosityBlocks`` of data; None where there is none.
    storage
        ``TTree`` or ``RNTuple``.
    """

    path: str
    entries: int
    uuid: bytes
    schema: FileSchema | None
    sums: GeneratedSums
    sections: IntArray | None
    storage: str


@dataclass(frozen=True)
class SamplePlan:
    """A sample, its files sorted by path, and the scale of its weights."""

    sample: Sample
    files: tuple[FileFacts, ...]
    scale: WeightScale


def plan_sample(sample: Sample, demand: Demand, headroom: float = 1.0) -> SamplePlan:
    """Inspect all files of a sample.

    Parameters
    ----------
    sample
        The sample.
    demand
        What the configuration wants of every file.
    headroom
        Factor by which corrections may raise weights.

    Returns
    -------
    SamplePlan
        Facts of every file, in the order of their paths.

    Raises
    ------
    CredentialError
        If a proxy or token for remote files is missing or ends too soon.
    InputError
        If a file is missing, damaged, lacks a branch, is a copy of another one, means something else than the others by
        its branches, or has a replica that is another file (`data.samples.Sites.check_replicas`).
    IncompleteError
        If a file does not hold the entries that the sample definition says.
    """
    check_samples([sample])
    shared: dict[FileSchema, FileSchema] = {}

    def look_at(path: str) -> FileFacts:
        facts = inspect_file(path, sample, demand)
        schema = facts.schema  # thousands of files share one, which is large
        return facts if schema is None else replace(facts, schema=shared.setdefault(schema, schema))

    files = of_each(look_at, sorted(sample.files))
    _check_replicas(sample, files)
    _check_copies(sample, files)
    _check_entries(sample, files)
    _check_labels(sample, files)
    _check_meaning(sample, files)
    _log_decisions(sample, files)
    _warn_of_triggers(sample, files)
    if sample.kind == "data":
        return SamplePlan(sample, tuple(files), DATA_SCALE)
    scale = weight_scale(sample, _sample_sums(sample, files), headroom)
    return SamplePlan(sample, tuple(files), scale)


def inspect_file(path: str, sample: Sample, demand: Demand) -> FileFacts:
    """Read the headers of one file, from any of its replicas.

    Raises
    ------
    UnservedError
        If no replica can be had.
    InputError
        If it is missing, is not a ROOT file, is truncated, or lacks the tree or a branch.
    """
    access = sample.access(path)
    for attempt in range(len(access.addresses) - 1):
        try:
            return _read_facts(path, sample, demand, access, attempt)
        except UnservedError:
            raise  # the others were asked too, and waited for
        except ReadError as error:
            _LOG.warning("%s; another replica is tried", error)
    return _read_facts(path, sample, demand, access, len(access.addresses) - 1)


def _read_facts(path: str, sample: Sample, demand: Demand, access: Access, attempt: int) -> FileFacts:
    with reading(path, sample.name), open_root(path, sample.name, access=access, attempt=attempt) as file:
        return _facts(file, path, sample, demand)


def _facts(file: Any, path: str, sample: Sample, demand: Demand) -> FileFacts:
    where = named(path, sample.name)
    names = set(file.keys(cycle=False))
    if sample.tree not in names:
        msg = (
            f"{where} has no tree '{sample.tree}' (it has {', '.join(sorted(names)) or 'nothing'}); correct 'tree' "
            "in the sample definition or remove the file"
        )
        raise InputError(msg)
    tree = file[sample.tree]
    entries = int(tree.num_entries)
    schema = resolve(tree.keys(), sample, year(sample.year), path, demand) if entries else None
    simulation = sample.kind == "simulation"
    from_runs = simulation and sample.generated is None
    sums = _generated(file, names, where, sample) if from_runs else GeneratedSums(0, 0, 0)
    sections = None if simulation or "LuminosityBlocks" not in names else _sections(file, where)
    storage = "TTree" if file.classname_of(sample.tree) == "TTree" else "RNTuple"
    return FileFacts(path, entries, file.file.uuid.bytes, schema, sums, sections, storage)


def _sample_sums(sample: Sample, files: list[FileFacts]) -> GeneratedSums:
    given = sample.generated
    if given is None:
        return total_sums(file.sums for file in files)
    return GeneratedSums(given.count, given.sumw, given.sumw2)


def _sections(file: Any, where: str) -> IntArray:
    """Luminosity sections that a file covers, those without a single event left included."""
    tree = file["LuminosityBlocks"]
    missing = [name for name in ("run", "luminosityBlock") if name not in set(tree.keys())]
    if missing:
        msg = f"{where}: tree 'LuminosityBlocks' has no branch {missing[0]}; keep it when skimming, or drop the tree"
        raise InputError(msg)
    run, section = (tree[name].array(library="np") for name in ("run", "luminosityBlock"))
    return unique_sections(run, section)


def _generated(file: Any, names: set[str], where: str, sample: Sample) -> GeneratedSums:
    """Sums of the Runs tree; older NanoAOD versions end the names with an underscore."""
    if "Runs" not in names:
        msg = (
            f"{where} is simulation but has no tree 'Runs' with the generated sums; keep it when skimming, or give "
            "count, sumw and sumw2 of all generated events as 'generated' in the sample definition"
        )
        raise InputError(msg)
    runs = file["Runs"]
    present = set(runs.keys())
    values: dict[str, list[float]] = {}
    for name in ("genEventCount", "genEventSumw", "genEventSumw2"):
        branch = next((key for key in (name, name + "_") if key in present), None)
        if branch is None:
            msg = (
                f"{where}: tree 'Runs' has no branch {name}, needed for the weights; use a file that holds it"
            )
            raise InputError(msg)
        values[name] = [float(value) for value in runs[branch].array(library="np")]
        if not np.all(np.isfinite(values[name])):
            msg = f"{where}: branch {name} of tree 'Runs' holds NaN or inf; {remedy(sample.name)}"
            raise InputError(msg)
    parts = zip(*values.values(), strict=True)
    return total_sums(GeneratedSums(int(count), sumw, sumw2) for count, sumw, sumw2 in parts)


def _check_replicas(sample: Sample, files: list[FileFacts]) -> None:
    """Refuse replicas that are other files; warn of those that cannot be read now, which others make up for.

    A replica's UUID is compared whenever it is read, so a wrong one never counts. Here a wrong list is found before the
    work starts and not where a server fails in its middle. Lists are mostly wrong by whole folders: unless all replicas
    are wanted, one of each folder is opened, so that many files cost no more than few.
    """
    chosen: dict[str, tuple[str, FileFacts]] = {}
    for file in files:
        for address in sample.access(file.path).addresses:
            folder = address if sample.sites.check_replicas == "all" else address.rpartition("/")[0]
            if address != file.path:
                chosen.setdefault(folder, (address, file))
    looked = dict(chosen.values())

    def look_at(address: str) -> ReplicaTrouble | None:
        return trouble_of(address, looked[address].uuid, sample.access(looked[address].path))

    wrong = []
    for address, trouble in zip(looked, of_each(look_at, looked), strict=True):
        if trouble is None:
            continue
        line = f"replica '{address}' of file '{looked[address].path}': {trouble.reason}"
        if trouble.other_file:
            wrong.append(line)
        else:
            _LOG.warning("sample '%s': %s", sample.name, line)
    if wrong:
        more = f"\n… and {len(wrong) - _MOST_WRONG} more" if len(wrong) > _MOST_WRONG else ""
        shown = "\n".join(wrong[:_MOST_WRONG])
        msg = f"sample '{sample.name}': {shown}{more}\nCorrect the replicas in the sample definition, or remove them"
        raise InputError(msg)


def _check_copies(sample: Sample, files: list[FileFacts]) -> None:
    seen: dict[bytes, str] = {}
    for file in files:
        if file.uuid in seen:
            msg = (
                f"sample '{sample.name}': files '{seen[file.uuid]}' and '{file.path}' are copies of one file "
                "(same UUID); remove one of them"
            )
            raise InputError(msg)
        seen[file.uuid] = file.path


def _check_entries(sample: Sample, files: list[FileFacts]) -> None:
    wrong = [
        f"'{file.path}' holds {file.entries} entries, the definition says {sample.files[file.path]}"
        for file in files
        if sample.files[file.path] not in {None, file.entries}
    ]
    if wrong:
        msg = f"sample '{sample.name}': file {'; file '.join(wrong)}. Fetch the files again or correct the definition"
        raise IncompleteError(msg)


def _check_labels(sample: Sample, files: list[FileFacts]) -> None:
    """One table has one set of columns: the optional branches are in all files or in none."""
    with_entries = [file for file in files if file.schema is not None]
    labelled = [file.path for file in with_entries if file.schema and "label" in file.schema.roles]
    if labelled and len(labelled) < len(with_entries):
        other = next(file.path for file in with_entries if file.path not in labelled)
        msg = (
            f"sample '{sample.name}': file '{labelled[0]}' has the branch Generator_label, file '{other}' has not; "
            "put them into two samples"
        )
        raise InputError(msg)


def _check_meaning(sample: Sample, files: list[FileFacts]) -> None:
    """Fall-backs must not change from file to file: one feature has one meaning."""
    first: FileFacts | None = None
    for file in files:
        if file.schema is None:
            continue
        first = first or file
        check_same_meaning(first, file, sample.name)


def check_same_meaning(one: FileFacts, other: FileFacts, what: str) -> None:
    """Refuse two files whose branches give a quantity in different ways.

    Raises
    ------
    InputError
        Naming the quantity and where each file has it from.
    """
    if one.schema is None or other.schema is None:
        return
    here, there = one.schema.meaning(), other.schema.meaning()
    for role in {**here, **there}:
        if here.get(role) != there.get(role):
            msg = (
                f"{what}: file '{one.path}' has {role} from {here.get(role, 'nothing')}, file "
                f"'{other.path}' from {there.get(role, 'nothing')}; use files of one version, or choose "
                "one way in the sections jets and features of the configuration"
            )
            raise InputError(msg)


def _log_decisions(sample: Sample, files: list[FileFacts]) -> None:
    """Say what was recognised and which fall-backs are used."""
    shown: set[str] = set()
    for file in files:
        if file.schema is None:
            continue
        words = "; ".join([f"{file.schema.version}, {file.storage}", *file.schema.decisions()])
        if words not in shown:
            _LOG.info("sample %s: %s", sample.name, words)
            shown.add(words)


def _warn_of_triggers(sample: Sample, files: list[FileFacts]) -> None:
    """Menus differ between eras of data, so files may lack a trigger that others have; a mistake looks the same."""
    schemas = {file.path: file.schema for file in files if file.schema is not None}
    for trigger in year(sample.year).triggers:
        lacking = [path for path, schema in schemas.items() if trigger in schema.absent_triggers]
        if 0 < len(lacking) < len(schemas):
            _LOG.warning(
                "sample %s: no trigger %s in %d of %d files, '%s' the first: their events are selected by the other "
                "triggers; check that all files belong to the year '%s'",
                sample.name,
                trigger,
                len(lacking),
                len(schemas),
                lacking[0],
                sample.year,
            )
