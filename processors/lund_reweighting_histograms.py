"""Toys of the Lund-plane reweighting in the histograms: sums of each selection, then its variations.

A toy moves the number of selected events: the uncertainty is that of the sum over a selection in a region,
|mean of the toys − nominal| + standard deviation (CMS, arXiv:2507.07775). Its spectrum goes up and down by this share as a
whole: where the mass of the resonance lies does not depend on the toy.
"""

from collections.abc import Sequence
from typing import Any

import hist
import numpy as np
import numpy.typing as npt

from processors.lund_reweighting_events import SampleReweighting, toy_variations
from processors.lund_reweighting_normalisation import toy_uncertainty
from processors.recipe import Selected
from processors.schema import NOMINAL
from processors.selection import REGIONS
from processors.weights import WeightScale, check_exact

TOYS = "lund_toys"
Histogram = hist.Hist[Any]


def empty_toys(
    lund: SampleReweighting | None, selections: Sequence[str], regions: Sequence[str]
) -> dict[str, Histogram]:
    """A histogram of the toys with nothing in it.

    Parameters
    ----------
    lund
        The reweighting of the sample; None for none.
    selections, regions
        Labels of these axes.

    Returns
    -------
    dict
        ``lund_toys`` with the axes region, selection, source and toy; empty where there are no toys.
    """
    sources = () if lund is None else tuple(toy_variations(lund.config.sources))
    if lund is None or not sources:
        return {}
    axes = (
        hist.axis.StrCategory(list(regions), name="region"),
        hist.axis.StrCategory(list(selections), name="selection"),
        hist.axis.StrCategory(list(sources), name="source"),
        hist.axis.Integer(0, lund.config.toys, name="toy", underflow=False, overflow=False),
    )
    return {TOYS: hist.Hist(*axes, storage=hist.storage.Weight())}


def fill_toys(histogram: Histogram, part: Selected, selection: str, votes: npt.NDArray[np.int64]) -> None:
    """Add the sums of weight × votes, and of their squares, in each toy.

    Parameters
    ----------
    histogram
        Of `empty_toys`; changed in place.
    part
        Selected events with the weights of their toys.
    selection
        Label.
    votes
        Folds that select each event, 0 … 5, shape (n_events,).
    """
    view: Any = histogram.view()
    position = list(histogram.axes["selection"]).index(selection)
    for s, source in enumerate(histogram.axes["source"]):
        for r, region in enumerate(histogram.axes["region"]):
            here = (part.table["region"] == REGIONS.index(region)) & (votes > 0)
            weight = part.toys[source][:, here] * votes[here]
            view["value"][r, position, s] += weight.sum(axis=1)
            view["variance"][r, position, s] += np.square(weight).sum(axis=1)


def check_toys(histogram: Histogram | None, scale: WeightScale, sample: str) -> None:
    """Check that the sums stayed exact.

    Parameters
    ----------
    histogram
        Of `empty_toys`; None for no toys.
    scale
        Unit of the weights.
    sample
        Name of the sample, for the message.

    Raises
    ------
    InputError
        If one did not.
    """
    if histogram is not None:
        view: Any = histogram.view()
        squares = view["variance"]
        check_exact(float(squares.max()), scale, f"sample '{sample}', toys of the Lund-plane weights")


def vary_by_toys(mjj: Histogram, toys: Histogram | None) -> None:
    """Fill the variations of the sources with toys: the nominal spectrum, up and down by the share that the toys give.

    Parameters
    ----------
    mjj
        Spectra; the variations of the sources are filled in place.
    toys
        Of `empty_toys`; None for no toys.
    """
    if toys is None:
        return
    view: Any = mjj.view(flow=True)
    labels = {name: list(mjj.axes[name]) for name in ("region", "selection", "variation")}
    made: Any = toys.view()
    sums = made["value"]
    nominal = labels["variation"].index(NOMINAL)
    for s, sides in enumerate(toy_variations(tuple(toys.axes["source"])).values()):
        for r, region in enumerate(toys.axes["region"]):
            for k, selection in enumerate(toys.axes["selection"]):
                at = (
                    slice(None),
                    slice(None),
                    labels["region"].index(region),
                    labels["selection"].index(selection),
                )
                events = float(view["value"][(*at, nominal)].sum())
                shift = (
                    float(toy_uncertainty(np.array(events), sums[r, k, s])) / abs(events) if events else 0.0
                )
                for side, factor in zip(sides, (1 + shift, max(1 - shift, 0.0)), strict=True):
                    target = (*at, labels["variation"].index(side))
                    view["value"][target] = view["value"][(*at, nominal)] * factor
                    view["variance"][target] = view["variance"][(*at, nominal)] * factor**2
