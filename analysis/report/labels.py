"""Labels of selections: as the histograms and ``fits.json`` have them, and as a reader does."""

from processors.scorers import INCLUSIVE


def fit_label(selection: str, window: str | None) -> str:
    """The label of a selection in ``fits.json`` and on the histograms' ``selection`` axis.

    Parameters
    ----------
    selection
        Name in the scan.
    window
        Window in which it is tested; the search without selection has one spectrum for all of them.

    Returns
    -------
    str
        E.g. ``cwola_B3``.
    """
    return selection if window is None or selection == INCLUSIVE else f"{selection}_{window}"


def readable(label: str) -> str:
    """A selection label for the reader's eye: ``cwola_B3`` becomes ``cwola B3``."""
    return label.replace("_", " ")
