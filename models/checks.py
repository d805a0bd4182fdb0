"""What a training sample must hold before anything is trained on it."""

import numpy as np

from data.errors import TrainingError
from data.eventid import N_FOLDS, N_INNER, inner_split
from data.types import IntArray
from models.folds import TrainingSample
from models.preprocessing import input_matrix, refuse_constant
from models.regions import HIGH, LOW, SIGNAL, Regions

BAND_NAMES = {LOW: "lower side band", SIGNAL: "signal region", HIGH: "upper side band"}


def check_window(region: IntArray, sample: TrainingSample, window: Regions, bands: tuple[int, ...]) -> None:
    """Refuse a window outside the data, or with an empty band that the method needs.

    Parameters
    ----------
    region
        Region of each event of the sample, as `Regions.of` gives it, shape (events,).
    sample
        The table to be trained on; its ``mjj`` is in GeV.
    window
        Signal region and side bands.
    bands
        Numbers of the regions that must hold events.

    Raises
    ------
    TrainingError
        Naming the window and what it holds, or masses that cannot be.
    """
    mjj = sample.columns["mjj"]
    if len(mjj) and mjj.min() <= 0:
        msg = (
            f"column 'mjj': {np.count_nonzero(mjj <= 0)} of {len(mjj)} masses are not above 0; select events with two "
            "jets, or check how it was filled"
        )
        raise TrainingError(msg)
    if not np.any(region >= 0):
        reach = f"{mjj.min():.0f} … {mjj.max():.0f} GeV" if len(mjj) else "no event"
        msg = f"window {window.label()} GeV holds none of the {len(mjj)} events ({reach}); choose another window"
        raise TrainingError(msg)
    counts = {band: int(np.count_nonzero(region == band)) for band in bands}
    if min(counts.values()) == 0:
        names, held = ", ".join(BAND_NAMES[band] for band in counts), ", ".join(map(str, counts.values()))
        msg = (
            f"window {window.label()} GeV: the {names} hold {held} events; each needs events: choose a window inside "
            "the data"
        )
        raise TrainingError(msg)


def check_inputs(sample: TrainingSample, region: IntArray, inputs: tuple[str, ...]) -> None:
    """Refuse inputs of one number an event that are the same in every event of the window.

    Parameters
    ----------
    sample
        The table to be trained on.
    region
        Region of each of its events, as `Regions.of` gives it, shape (events,); −1 does not count.
    inputs
        Names of the input columns.

    Raises
    ------
    TrainingError
        Naming the columns.
    """
    numbers = tuple(name for name in inputs if sample.columns[name].ndim == 1)
    inside = {name: sample.columns[name][region >= 0] for name in numbers}
    if numbers:
        refuse_constant(input_matrix(inside, numbers), numbers)


def check_arrays(sample: TrainingSample, region: IntArray, inputs: tuple[str, ...]) -> None:
    """Refuse inputs of an array an event that are the same in every event of the window.

    Parameters
    ----------
    sample
        The table to be trained on.
    region
        Region of each of its events, as `Regions.of` gives it, shape (events,); −1 does not count.
    inputs
        Names of the input columns.

    Raises
    ------
    TrainingError
        Naming the column.
    """
    rows = np.flatnonzero(region >= 0)
    for name in inputs:
        values = sample.columns[name]
        if values.ndim > 1 and len(rows) and not np.any(values[rows] != values[rows[0]]):
            msg = f"column '{name}': the same values in all {len(rows)} training events; check how it was filled"
            raise TrainingError(msg)


def check_side_bands(region: IntArray, sample: TrainingSample, window: Regions, working_point: float) -> None:
    """Refuse folds whose own side bands are too small for a threshold.

    Parameters
    ----------
    region
        Region of each event of the sample, as `Regions.of` gives it, shape (events,).
    sample
        The table to be trained on.
    window
        Signal region and side bands, for the message.
    working_point
        Fraction of the side bands that the selection keeps; each fold needs 1/working_point of their events.

    Raises
    ------
    TrainingError
        Naming window, fold and number of events.
    """
    needed = int(np.ceil(1.0 / working_point))
    for fold in range(N_FOLDS):
        held = sample.fold == fold
        low, high = (int(np.count_nonzero(held & (region == band))) for band in (LOW, HIGH))
        if low + high < needed or min(low, high) == 0:
            msg = (
                f"window {window.label()} GeV: fold {fold} holds {low} + {high} side-band events; a threshold at "
                f"working point {working_point:g} needs {needed}, some of them in each band: widen the window, "
                "raise working_point or add events"
            )
            raise TrainingError(msg)


def check_background(background: TrainingSample, window: Regions, working_point: float) -> None:
    """Refuse folds of simulated background whose own signal region is too small for a threshold.

    Parameters
    ----------
    background
        The simulated background, ``mjj`` in GeV.
    window
        Signal region and side bands.
    working_point
        Fraction that the selection keeps; each fold needs 1/working_point events.

    Raises
    ------
    TrainingError
        Naming fold and number of events.
    """
    inside = (window.of(background.columns["mjj"]) == SIGNAL) & (background.weight > 0)
    needed = int(np.ceil(1.0 / working_point))
    for fold in range(N_FOLDS):
        held = int(np.count_nonzero(inside & (background.fold == fold)))
        if held < needed:
            msg = (
                f"table 'background': fold {fold} holds {held} events of the signal region; a threshold at working "
                f"point {working_point:g} needs {needed}: raise working_point or add events"
            )
            raise TrainingError(msg)


def check_splits(region: IntArray, sample: TrainingSample, window: Regions) -> None:
    """Refuse inner splits without signal-region or side-band events.

    Parameters
    ----------
    region
        Region of each event of the sample, as `Regions.of` gives it, shape (events,).
    sample
        The table to be trained on.
    window
        Signal region and side bands, for the message.

    Raises
    ------
    TrainingError
        Naming window, fold and inner split.
    """
    for fold in range(N_FOLDS):
        split = inner_split(sample.batch, fold)
        for number in range(N_INNER):
            here = split == number
            classes = [
                int(np.count_nonzero(here & mask))
                for mask in (region == SIGNAL, np.isin(region, (LOW, HIGH)))
            ]
            if min(classes) == 0:
                msg = (
                    f"window {window.label()} GeV: inner split {number} of fold {fold} holds {classes[0]} "
                    f"signal-region and {classes[1]} side-band events; it needs both: widen the window or add events"
                )
                raise TrainingError(msg)
