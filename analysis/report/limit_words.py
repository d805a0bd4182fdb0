"""What the page says above its limits: how they are made, and what those of learned selections are worth."""

from analysis.report.numbers import count
from analysis.report.record import RunRecord
from processors.scorers import INCLUSIVE


def limit_words(record: RunRecord) -> str:
    """How the limits of a run are made, and what holds for those after a method that learns from the data.

    Parameters
    ----------
    record
        The run.

    Returns
    -------
    str
        Sentences.
    """
    selections = record.scan.selections
    used = [point.calculator for points in selections.values() for point in points if point.calculator]
    if not used:
        return "No mass has a limit."
    toys = used.count("toys")
    how = {0: "asymptotic formulae", len(used): "toys"}.get(
        toys, f"asymptotic formulae, at {count(toys)} of {count(len(used))} masses and selections by toys"
    )
    words = (
        f"Upper limits at 95 % confidence level: CLs with the profile likelihood ratio q̃, by {how}. Expected: median, 68 % "
        "and 95 % intervals without signal."
    )
    points = [point for points in selections.values() for point in points]
    if all(point.limit_observed_fb is None for point in points):
        return words
    words += (
        " Limits on σ × B, the cross section times the branching fraction into the simulated decay, are those on the events "
        "over luminosity and efficiency."
    )
    if selections.keys() <= {INCLUSIVE}:
        return words
    retrained = (
        "those of 'Limits with retraining' have no such flaw"
        if record.limits is not None
        else "a section limits in the configuration makes limits that train again with each cross section"
    )
    return (
        f"{words} Where a method learns from the data, the efficiency of one training holds only for the signal that its data "
        "had in them: the more of a signal there is, the more of it is kept. Its limits on σ × B, and their comparison with "
        f"those of the whole spectrum, hold for the signal as it was in training and exclude no other; {retrained}."
    )
