"""Jet images on flat buffers.

L. de Oliveira, M. Kagan, L. Mackey, B. Nachman, A. Schwartzman, JHEP 07 (2016) 069; the order of the steps (centre,
rotate and flip the particles, then make pixels) is that of S. Macaluso, D. Shih, JHEP 10 (2018) 121.
"""

import math

import numpy as np
import numpy.typing as npt

from data.types import FloatArray, IntArray
from models.kernels.images import draw
from processors.kernels.clustering import (
    PHI,
    PT2,
    PX,
    PY,
    PZ,
    RAPIDITY,
    E,
    complete_node,
    largest_jet,
    load_jet,
    new_nodes,
)
from processors.kernels.compiled import compiled
from processors.kernels.taus import wrapped


@compiled
def _offsets_from_axis(nodes: FloatArray, n: int, points: FloatArray) -> None:
    """Fill ``points`` (3, ≥ n) with Δy, Δφ (rad) from the jet's axis and pT (GeV); column n of ``nodes`` is used."""
    for q in (PX, PY, PZ, E):
        nodes[q, n] = 0.0
        for i in range(n):
            nodes[q, n] += nodes[q, i]
    complete_node(nodes, n)
    for i in range(n):
        points[0, i] = nodes[RAPIDITY, i] - nodes[RAPIDITY, n]
        points[1, i] = wrapped(nodes[PHI, i] - nodes[PHI, n])
        points[2, i] = math.sqrt(nodes[PT2, i])


@compiled
def flat_images(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    e: FloatArray,
    offsets: IntArray,
    pixels: int,
    width: float,
    steps: tuple[bool, bool, bool, bool],
) -> npt.NDArray[np.float32]:
    """pT-weighted image of every jet.

    Parameters
    ----------
    px, py, pz, e : array (n_particles,)
        Four-momenta (GeV) of the particles of all jets, end to end; finite.
    offsets : array (n_jets + 1,)
        First row of each jet, and the end.
    pixels : int
        Pixels on a side.
    width : float
        Side of the window (rad), with the origin in its middle.
    steps : (bool, bool, bool, bool)
        Whether to centre, rotate, flip and normalise.

    Returns
    -------
    array (n_jets, pixels, pixels) of float32
        Rows are azimuth, columns rapidity (before rotation). All 0 for jets without particles in the window.
    """
    n_jets = len(offsets) - 1
    images = np.zeros((n_jets, pixels, pixels), dtype=np.float32)
    largest = largest_jet(offsets)
    nodes = new_nodes(largest)
    origin, points = np.empty(largest, dtype=np.int64), np.empty((3, largest), dtype=np.float64)
    image = np.empty((pixels, pixels), dtype=np.float64)
    for jet in range(n_jets):
        n = load_jet(nodes, origin, (px, py, pz, e), offsets[jet], offsets[jet + 1])
        if n == 0:
            continue
        _offsets_from_axis(nodes, n, points)
        draw(points, n, width, steps, image, images[jet])
    return images
