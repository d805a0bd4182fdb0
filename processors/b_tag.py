"""The stored subjets of jets, and their b-tag scores."""

import numpy as np

from data.types import FloatArray, IntArray
from processors.chunks import Chunk
from processors.ragged import offsets_of, ranges, wrap


def linked_subjets(chunk: Chunk, entry: IntArray, indices: dict[str, IntArray]) -> tuple[IntArray, IntArray]:
    """The subjets that jets point to.

    Parameters
    ----------
    chunk
        The chunk.
    entry
        Entry of each jet.
    indices
        Role (``subjet1``, ``subjet2``) to the jets' indices within the entry; negative where there is none.

    Returns
    -------
    row, owner : array (n_subjets,)
        Position of each subjet in the row of all subjets, and of its jet in ``entry``.

    Raises
    ------
    InputError
        If an index points to nothing; the message names file, branch and entry.
    """
    _, counts = chunk.jagged(chunk.schema.roles["b_score"])
    first = offsets_of(counts)
    rows, owner = [], []
    for role, index in indices.items():
        chunk.refuse_outside(role, "subjet", index, entry, counts)
        has = np.flatnonzero(index >= 0)
        rows.append(first[entry[has]] + index[has])
        owner.append(has)
    return np.concatenate(rows), np.concatenate(owner)


def subjets_inside(
    chunk: Chunk, entry: IntArray, eta: FloatArray, phi: FloatArray, radius: float
) -> tuple[IntArray, IntArray]:
    """The subjets within ``radius`` (rad, in pseudorapidity and azimuth) of jets.

    Parameters
    ----------
    chunk
        The chunk.
    entry, eta, phi
        Entry and direction (–, rad) of each jet.
    radius
        Largest distance.

    Returns
    -------
    row, owner : array (n_subjets,)
        Position of each subjet in the row of all subjets, and of its jet in ``entry``.

    Raises
    ------
    InputError
        If a direction is NaN or inf.
    """
    subjet_eta, counts = chunk.jagged(chunk.schema.roles["subjet_eta"])
    subjet_phi = chunk.jagged_as("subjet_phi", "subjet_eta", counts)
    row = ranges(offsets_of(counts)[entry], counts[entry])
    owner = np.repeat(np.arange(len(entry)), counts[entry])
    for role, values in (("subjet_eta", subjet_eta), ("subjet_phi", subjet_phi)):
        chunk.check_finite(role, values[row], entry[owner])
    d_eta = subjet_eta[row].astype(np.float64) - eta[owner]
    d_phi = wrap(subjet_phi[row].astype(np.float64) - phi[owner])
    inside = np.hypot(d_eta, d_phi) < radius
    return row[inside], owner[inside]


def largest_b_score(chunk: Chunk, entry: IntArray, row: IntArray, owner: IntArray) -> FloatArray:
    """Largest b-tag score of the subjets of each jet.

    NanoAOD marks failures by negative scores: these, and jets without a subjet, count as 0.

    Parameters
    ----------
    chunk
        The chunk.
    entry
        Entry of each jet.
    row, owner
        Subjets in the row of all subjets, and the positions of their jets in ``entry``; shape (n,).

    Returns
    -------
    array (n_jets,)

    Raises
    ------
    InputError
        If a score is NaN or inf.
    """
    scores, _ = chunk.jagged(chunk.schema.roles["b_score"])
    score = scores[row].astype(np.float64)
    chunk.check_finite("b_score", score, entry[owner])
    largest = np.zeros(len(entry))
    np.maximum.at(largest, owner, score)
    return largest
