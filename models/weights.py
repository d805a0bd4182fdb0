"""Event weights of the classifier trainings (CMS-EXO-22-026, arXiv:2412.03747; methods in arXiv:2512.20395)."""

import numpy as np

from data.errors import TrainingError
from data.types import FloatArray, IntArray
from models.regions import HIGH, LOW, SIGNAL

PT_BINS = 20
PT_PERCENTILES = (1.0, 99.0)


def _band_counts(region: IntArray) -> tuple[int, int, int]:
    """Events in the lower side band, the signal region and the upper side band.

    Raises
    ------
    TrainingError
        If one of them is empty.
    """
    low, signal, high = (int(np.count_nonzero(region == number)) for number in (LOW, SIGNAL, HIGH))
    if min(low, signal, high) == 0:
        msg = (
            f"the lower side band, signal region and upper side band hold {low}, {signal} and {high} events; "
            "each needs events: choose a window inside the data"
        )
        raise TrainingError(msg)
    return low, signal, high


def band_weights(region: IntArray) -> FloatArray:
    """Weights that make both side bands count equally, and the signal region as much as both together.

    Parameters
    ----------
    region
        0 lower side band, 1 signal region, 2 upper side band, −1 outside; one an event.

    Returns
    -------
    numpy.ndarray
        float64: 1 in the lower band, N_low/N_high in the upper, 2 N_low/N_signal in the signal region, 0 outside.
    """
    low, signal, high = _band_counts(region)
    weight = np.zeros(len(region), dtype=np.float64)
    weight[region == LOW] = 1.0
    weight[region == HIGH] = low / high
    weight[region == SIGNAL] = 2.0 * low / signal
    return weight


def match_pt(pt: FloatArray, region: IntArray, weight: FloatArray, bins: int = PT_BINS) -> FloatArray:
    """Side-band weights changed so that a jet's pT spectrum there is that of the signal region.

    pT and with it every substructure variable follow mjj; matched spectra keep the classifier from telling the
    bands apart by pT, which would sculpt the mjj spectrum of the events that it selects.

    Parameters
    ----------
    pt
        Transverse momentum of the jet, GeV, shape (n,); taken into the range between its 1st and 99th percentile.
    region
        As for `band_weights`.
    weight
        Weights so far, shape (n,).
    bins
        Number of bins of the spectrum.

    Returns
    -------
    numpy.ndarray
        float64; the signal region's weights are left as they are, and the sum over the side bands is that of the
        signal region.
    """
    inside = region >= 0
    low, high = np.percentile(pt[inside], PT_PERCENTILES)
    if not low < high:
        return weight
    width = (high - low) / bins
    number = np.clip(((np.clip(pt, low, high) - low) / width).astype(np.int64), 0, bins - 1)
    signal, bands = region == SIGNAL, inside & (region != SIGNAL)
    target = np.bincount(number[signal], weight[signal], bins)
    found = np.bincount(number[bands], weight[bands], bins)
    ratio = np.divide(target, found, out=np.zeros(bins), where=found > 0)
    matched = weight.copy()
    matched[bands] *= ratio[number[bands]]
    # Bins without a side-band event lose their share of the target: put the total back.
    matched[bands] *= target.sum() / matched[bands].sum()
    return matched
