"""The report's tables of uncertainties in the limits with retraining."""

from analysis.limit_record import Uncertainties, UncertaintySource
from analysis.report.numbers import MISSING, fixed, percent, significant
from analysis.report.systematics import both_changes, plain_name
from analysis.report.tables import Table
from analysis.systematics import RANDOM, SourceShift, total


def uncertainty_table(found: Uncertainties, what: str) -> Table:
    """Sources of the uncertainty of a selected signal's yield, and how each was found.

    Parameters
    ----------
    found
        The sources.
    what
        Selection and signal, for the caption.

    Returns
    -------
    Table
        Relative changes in per cent, one row a source.
    """
    caption = f"Uncertainties of the selected yield of {what}, and how each was found: "
    if found.injection_fb is None:
        caption += "those before the method" + ("." if found.message is None else f", as {found.message}.")
    else:
        caption += (
            f"with {found.injection_fb:g} fb of the signal in the data. Shift: the largest of a tenth of this signal in a "
            "feature, over its statistical uncertainty; pairs that shift it by more than a fifth are trained again."
        )
    check = found.background
    if check is not None:
        caption += (
            f" Of simulated background without a signal these trainings keep "
            f"{', '.join(percent(share) for share in check.selected)}, with a local significance of "
            f"{', '.join(fixed(z) for z in check.z)}."
        )
    rows = tuple(
        (
            plain_name(source.name),
            both_changes(source.up, source.down),
            MISSING if source.relevance is None else significant(source.relevance, 2),
            _how(source),
        )
        for source in found.sources
    )
    both = total(SourceShift(one.name, "given", one.up, one.down) for one in found.sources)
    last = ("Total", both_changes(both.up, -both.down), MISSING, MISSING)
    return Table(caption, ("Source", "Up / down", "Shift", "Training"), (*rows, last), folded=True)


def _how(source: UncertaintySource) -> str:
    if source.retrained or source.name == RANDOM:
        return "again"
    if source.relevance is None:
        return MISSING
    return "fixed, though relevant" if source.relevant else "fixed"
