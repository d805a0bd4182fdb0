"""The report's tables of entries: files, luminosity sections, cutflow."""

from collections.abc import Mapping, Sequence

from analysis.report.account_record import Account, CutflowStep
from analysis.report.numbers import MISSING, count, counted, percent, significant
from analysis.report.tables import Table


def account_tables(account: Account) -> list[Table]:
    """Entries expected and processed: a row a sample, and a folded table with a row a file.

    Parameters
    ----------
    account
        Entries expected and processed.

    Returns
    -------
    list of Table
        One row a sample, and one a file.
    """
    samples = list(dict.fromkeys(file.sample for file in account.files))
    head = ("Sample", "Files", "Expected", "Processed", "Selected", "Selected / processed")
    rows = []
    for sample in samples:
        files = [file for file in account.files if file.sample == sample]
        processed = sum(file.processed for file in files)
        selected = sum(file.selected for file in files)
        numbers = [len(files), sum(file.expected for file in files), processed, selected]
        rows.append((sample, *map(count, numbers), percent(selected / processed) if processed else MISSING))
    by_file = tuple(
        (file.sample, file.file, count(file.expected), count(file.processed), count(file.selected))
        for file in account.files
    )
    return [
        Table("Entries of each sample: from the files' headers, and as processed.", head, tuple(rows)),
        Table(
            f"Entries of {'the file' if len(by_file) == 1 else f'each of the {count(len(by_file))} files'}.",
            ("Sample", "File", "Expected", "Processed", "Selected"),
            by_file,
            text_columns=2,
            folded=True,
        ),
    ]


def luminosity_tables(account: Account) -> list[Table]:
    """Certified luminosity sections of each data sample, where there is a golden JSON.

    Parameters
    ----------
    account
        With the certified sections of data.

    Returns
    -------
    list of Table
        Luminosity in fb⁻¹; none where no sample has certified sections.
    """
    if not account.luminosity:
        return []
    rows = tuple(
        (
            sample,
            count(sections.sections_certified),
            count(sections.sections_processed),
            percent(sections.fraction),
            significant(sections.certified_ifb, 4),
            significant(sections.luminosity_ifb, 4),
            count(sections.sections_without_luminosity),
        )
        for sample, sections in account.luminosity.items()
    )
    head = (
        "Sample",
        "Certified sections",
        "Processed",
        "Share",
        "Certified [fb⁻¹]",
        "Processed [fb⁻¹]",
        "Processed without luminosity",
    )
    caption = (
        "Certified luminosity sections (golden JSON), and their recorded luminosity. Processed sections that the table of "
        "luminosities does not hold add nothing to the fb⁻¹."
    )
    return [Table(caption, head, rows)]


def cutflow_tables(cutflow: Mapping[str, Sequence[CutflowStep]]) -> list[Table]:
    """One table a sample: events and weighted events left after each step; folded from the third on.

    Parameters
    ----------
    cutflow
        Sample to its steps.

    Returns
    -------
    list of Table
        One a sample: events, sums of weights, fractions.
    """
    return [
        _cutflow_table(sample, steps, folded=number > 1)
        for number, (sample, steps) in enumerate(cutflow.items())
    ]


def _cutflow_table(sample: str, steps: Sequence[CutflowStep], *, folded: bool) -> Table:
    rows = []
    for i, step in enumerate(steps):
        before = steps[i - 1].weighted if i else step.weighted
        step_fraction = percent(step.weighted / before) if before > 0 else MISSING
        first = steps[0].weighted
        total_fraction = percent(step.weighted / first) if first > 0 else MISSING
        name = step.step.replace("_", " ")
        alone = _kept_alone(steps, step)
        rows.append(
            (name, count(step.events), significant(step.weighted, 4), step_fraction, total_fraction, alone)
        )
    head = ("Step", "Events", "Weighted", "Of step before", "Of first", "Kept by it alone")
    return Table(f"{sample}: events left after each step.", head, tuple(rows), folded=folded)


def _kept_alone(steps: Sequence[CutflowStep], step: CutflowStep) -> str:
    """Share that a step keeps of what passes all others."""
    if not step.n_minus_1_weighted or step.n_minus_1_weighted < 0:
        return MISSING
    last = [other for other in steps if other.n_minus_1_weighted is not None][-1]
    return percent(last.weighted / step.n_minus_1_weighted)


def account_counts(account: Account) -> dict[str, str]:
    """Totals of the account as strings."""
    return {
        "expected": count(account.expected),
        "processed": count(account.processed),
        "selected": count(sum(file.selected for file in account.files)),
        "files": counted(len(account.files), "file"),
    }
