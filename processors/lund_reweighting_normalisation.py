"""Normalisation of Lund-plane weights, and what their toys add up to (CMS, arXiv:2507.07775)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import InputError
from data.types import FloatArray, IntArray

LIMITS_FIRST, LIMITS_SECOND = (0.0, 10.0), (0.1, 10.0)
"""Weights of events are clipped to these ranges before and after they are first divided by their mean."""
_PT_BINS, _EVENTS_A_BIN = 20, 100


@dataclass(frozen=True)
class Normalisation:
    """Brings weights of events to a mean of 1: the published sequence of clipping and dividing.

    Attributes
    ----------
    first : array (V,)
        Mean of the weights clipped to 0 … 10, of each variation.
    second : array (V, B)
        Mean of these over ``first``, clipped to 0.1 … 10, in each bin of pT.
    pt_edges : array (B − 1,)
        Inner edges (GeV) of the bins in pT; none where the spectrum is not kept.
    """

    first: FloatArray
    second: FloatArray
    pt_edges: FloatArray

    def only(self, variation: int) -> "Normalisation":
        """The normalisation of one variation, by its position."""
        chosen = slice(variation, variation + 1)
        return Normalisation(self.first[chosen], self.second[chosen], self.pt_edges)

    def apply(self, weights: FloatArray, pt: FloatArray) -> FloatArray:
        """Normalise raw weights.

        Parameters
        ----------
        weights
            Raw weights, shape (V, n_events).
        pt
            Transverse momentum (GeV) of which the spectrum is kept, shape (n_events,).

        Returns
        -------
        array (V, n_events)
            Normalised weights.
        """
        once = _clipped_twice(weights, self.first)
        return once / self.second[:, np.searchsorted(self.pt_edges, pt, side="right")]


def normalisation_of(
    weights: FloatArray, event_weights: FloatArray, pt: FloatArray, *, keep_pt_spectrum: bool = False
) -> Normalisation:
    """Find the normalisation of a sample.

    Weights are clipped to 0 … 10 and divided by their mean, then clipped to 0.1 … 10 and divided by their mean again:
    the sum over the sample's events does not change (CMS, arXiv:2507.07775).

    Parameters
    ----------
    weights : array (V, n_events)
        Weights of the sample's events, of each variation.
    event_weights : array (n_events,)
        What they are multiplied with: means are weighted.
    pt : array (n_events,)
        Transverse momentum (GeV) of which the spectrum may be kept.
    keep_pt_spectrum
        Take the last mean in bins of ``pt``, up to 20 of at least 100 events, rather than over all.

    Returns
    -------
    Normalisation

    Raises
    ------
    InputError
        If there is no event, or a sum of weights is not positive.
    """
    if not len(event_weights):
        msg = "no event to normalise the Lund-plane weights with; leave the reweighting out for this sample"
        raise InputError(msg)
    n_bins = max(1, min(_PT_BINS, len(pt) // _EVENTS_A_BIN)) if keep_pt_spectrum else 1
    edges = np.quantile(pt, np.arange(1, n_bins) / n_bins)
    everything = np.zeros(len(pt), dtype=np.int64)
    first = _means(np.clip(weights, *LIMITS_FIRST), event_weights, everything, 1)[:, 0]
    once = _clipped_twice(weights, first)
    second = _means(once, event_weights, np.searchsorted(edges, pt, side="right"), n_bins)
    return Normalisation(first, second, edges)


def geometric_mean(weights: FloatArray, event_weights: FloatArray) -> float:
    """Geometric mean of weights over all jets of events.

    Its inverse is that of the inverse weights: what is divided by it is as often and as far above 1 as its inverse is.

    Parameters
    ----------
    weights
        Above 0, shape (J, n_events).
    event_weights
        Shape (n_events,); their absolute values weight the mean of logarithms.

    Returns
    -------
    float
        Above 0.
    """
    logarithms = np.log(weights).mean(axis=0)
    return float(np.exp(np.average(logarithms, weights=np.abs(event_weights))))


def _clipped_twice(weights: FloatArray, first: FloatArray) -> FloatArray:
    clipped: FloatArray = np.clip(np.clip(weights, *LIMITS_FIRST) / first[:, None], *LIMITS_SECOND)
    return clipped


def _means(weights: FloatArray, event_weights: FloatArray, bins: IntArray, n_bins: int) -> FloatArray:
    """Weighted means (V, n_bins)."""
    total = np.bincount(bins, weights=event_weights, minlength=n_bins)
    sums = np.stack([np.bincount(bins, weights=row * event_weights, minlength=n_bins) for row in weights])
    if not (np.all(total > 0) and np.all(sums > 0)):
        msg = (
            "the sum of the generator's weights, or of the Lund-plane weights times them, is not positive in a bin; use "
            "more events, or do without keep_pt_spectrum"
        )
        raise InputError(msg)
    means: FloatArray = sums / total
    return means


def toy_uncertainty(nominal: FloatArray, toys: FloatArray | Sequence[FloatArray]) -> FloatArray:
    """Uncertainty of numbers from their values in toys: |mean − nominal| + standard deviation.

    Parameters
    ----------
    nominal : array (…)
        Nominal values, any shape.
    toys : array (T, …)
        Values in each toy, at least two.

    Returns
    -------
    array (…)

    References
    ----------
    CMS Collaboration, arXiv:2507.07775.
    """
    values = np.asarray(toys, dtype=np.float64)
    uncertainty: FloatArray = np.abs(values.mean(axis=0) - nominal) + values.std(axis=0, ddof=1)
    return uncertainty
